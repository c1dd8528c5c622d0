"""Failwell: when an agent fails, it fails well."""

__version__ = "0.1.0"
