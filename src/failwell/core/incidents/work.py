"""The work that a stopped agent leaves: which runs, who is asked to take them, what became of each (R7)."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.incidents.tables import Fold, Reaction, case_of
from failwell.core.projections import Projections
from failwell.core.records import Entry

ENDS = ("taken", "finished", "dropped")


def place_of(incident: int, run: int) -> str:
    """The key of a left run's row."""
    return f"{incident}/{run}"


def _left(state: Projections, entry: Entry[Any], body: kinds.WorkLeft, at_us: int) -> None:
    case_of(state, entry, body.incident)
    for run in body.runs:
        row = rows.Work(agent=str(entry.agent), to=body.to, state="left", person=None, entry=entry.seq)
        state.put("work", place_of(body.incident, run), row)


def _ended(state: Projections, entry: Entry[Any], body: kinds.WorkEnded, at_us: int) -> None:
    place = place_of(body.incident, body.run)
    row = state.work.get(place)
    if row is None or row.state in ("finished", "dropped") or body.state not in ENDS:
        raise Corrupt(f"entry {entry.seq} says what became of run {body.run}, which nobody was asked to take")
    state.put("work", place, replace(row, state=body.state, person=body.person, entry=entry.seq))


def _run_stopped(state: Projections, entry: Entry[Any], body: kinds.RunStopped, at_us: int) -> None:
    for run in body.runs:
        if run in state.run:
            state.change("run", run, open=False)
            state.forget("run", run)
            state.calls.pop(run, None)


FOLDS: dict[type, Fold] = {kinds.WorkLeft: _left, kinds.WorkEnded: _ended, kinds.RunStopped: _run_stopped}
REACTIONS: dict[type, Reaction] = {}
