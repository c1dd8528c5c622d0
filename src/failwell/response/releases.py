"""What people order about release beyond the two of them: one alone in an emergency, and the review that is owed."""

from __future__ import annotations

from failwell.response.said import MakeJob

JOBS: dict[str, MakeJob] = {}
