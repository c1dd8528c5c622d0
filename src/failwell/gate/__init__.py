"""The verdict before the act."""
