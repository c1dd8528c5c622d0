"""Giving authority back: PROBATION and its end, the release by one person alone and the review that it owes (R23)."""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.incidents.tables import Fold, Reaction, case_of
from failwell.core.projections import Projections
from failwell.core.records import Entry


def _approved(state: Projections, entry: Entry[Any], body: kinds.ReleaseApproved2, at_us: int) -> None:
    case_of(state, entry, body.incident)
    if body.until_us is not None and entry.agent in state.agent:
        probation = rows.Probation(body.incident, at_us, body.until_us, None)
        state.change("agent", entry.agent, probation=probation)


def _broken(state: Projections, entry: Entry[Any], body: kinds.ReleaseBroken, at_us: int) -> None:
    case_of(state, entry, body.incident)
    state.change("incident", body.incident, broken=entry.seq)
    probation = rows.Probation(body.incident, at_us, body.until_us, entry.seq)
    state.change("agent", entry.agent, probation=probation)


def _reviewed(state: Projections, entry: Entry[Any], body: kinds.ReleaseReviewed, at_us: int) -> None:
    row = case_of(state, entry, body.incident)
    if row.broken is None or row.broken != body.broken:
        raise Corrupt(f"entry {entry.seq} reviews a release that is not the one that is owed a review")
    state.change("incident", body.incident, broken=None)


FOLDS: dict[type, Fold] = {
    kinds.ReleaseApproved2: _approved,
    kinds.ReleaseBroken: _broken,
    kinds.ReleaseReviewed: _reviewed,
}
REACTIONS: dict[type, Reaction] = {}
