"""Measurements: ratios to a probe in the same process and run, never tests."""
