"""The trust logic: pure functions and frozen values. No IO, no clock, no randomness, no threads."""
