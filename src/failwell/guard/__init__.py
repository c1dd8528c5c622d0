"""The guard: a process of its own that signs the heads of one log, and remembers the last one (D18)."""
