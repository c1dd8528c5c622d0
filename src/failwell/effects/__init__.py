"""Readers of the tool side's own logs: the independent witnesses of effects."""
