"""Settings to a wired, running workspace."""
