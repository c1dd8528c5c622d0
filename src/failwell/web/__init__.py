"""The HTTP door: who calls, what they may ask, and how much of it at once."""
