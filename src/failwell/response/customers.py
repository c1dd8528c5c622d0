"""What people say of an incident's customers: who was told, who was made whole."""

from __future__ import annotations

from failwell.response.said import MakeJob

JOBS: dict[str, MakeJob] = {}
