"""The Python door: standard library and cryptography only."""
