"""What people order about a case: report, note, hand over, merge, reopen, resolve, close; by two where it takes two."""

from __future__ import annotations

from failwell.response.said import MakeJob

JOBS: dict[str, MakeJob] = {}
