"""Rehearsed failures through the real path; the demo is one."""
