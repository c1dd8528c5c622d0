"""What is agreed for incidents by severity, and whether it happened in time: acknowledge, investigate, resolve (R22).

An objective counts from the detection, or from when a case turned out not to be over, and is met by the case's state.
"""

from __future__ import annotations

from typing import NamedTuple

from failwell.core import rows
from failwell.core.incidents.agreed import OBJECTIVES
from failwell.core.projections import Projections

#: The states in which an objective is not met yet.
UNMET = {
    "acknowledge": frozenset({"OPEN", "REOPENED"}),
    "investigate": frozenset({"OPEN", "REOPENED", "TRIAGED"}),
    "resolve": frozenset({"OPEN", "REOPENED", "TRIAGED", "INVESTIGATING"}),
}


class Due(NamedTuple):
    """An objective of an incident and until when it is to be met (ledger time)."""

    incident: int
    objective: str
    severity: str
    due_us: int


def agreed(state: Projections, number: int, row: rows.Incident) -> tuple[Due, ...]:
    """All objectives of an incident, in the order of the steps; those of its severity now."""
    since_us = row.opened_us if row.reopened_us is None else row.reopened_us
    within = {name: us for severity, name, us in state.workspace[1].objectives if severity == row.severity}
    return tuple(Due(number, name, row.severity, since_us + within[name]) for name in OBJECTIVES if name in within)


def next_due(state: Projections, number: int, row: rows.Incident) -> Due | None:
    """The objective that comes due next, of those neither met nor missed; None where nothing is owed."""
    owed = [due for due in agreed(state, number, row) if _owed(row, due)]
    return min(owed, key=lambda due: due.due_us, default=None)


def overdue(state: Projections, now_us: int) -> tuple[Due, ...]:
    """What was agreed and did not happen in time, and is not on record yet."""
    if not state.workspace or not state.workspace[1].objectives:
        return ()
    return tuple(
        due
        for number, row in sorted(state.incident.items())
        for due in agreed(state, number, row)
        if _owed(row, due) and due.due_us < now_us
    )


def met_late(state: Projections, number: int, was: str, now_us: int) -> tuple[Due, ...]:
    """What a step from `was` met, or ended, only after its time: on record in the commit of the step."""
    row = state.incident[number]
    return tuple(
        due
        for due in agreed(state, number, row)
        if was in UNMET[due.objective]
        and row.state not in UNMET[due.objective]
        and due.objective not in row.missed
        and due.due_us < now_us
    )


def _owed(row: rows.Incident, due: Due) -> bool:
    return row.state in UNMET[due.objective] and due.objective not in row.missed
