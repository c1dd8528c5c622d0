"""Recorded runs through the real gate."""
