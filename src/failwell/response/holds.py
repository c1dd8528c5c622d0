"""What people order about holds and authorities: place, lift by two, mark as serious, say who was informed."""

from __future__ import annotations

from failwell.response.said import MakeJob

JOBS: dict[str, MakeJob] = {}
