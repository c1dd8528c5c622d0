"""What people order about runs and single actions, and say of the work that a stopped agent left."""

from __future__ import annotations

from failwell.response.said import MakeJob

JOBS: dict[str, MakeJob] = {}
