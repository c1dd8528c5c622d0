"""Which agents are there: traces of agents in files, held against those that are registered (R32)."""
