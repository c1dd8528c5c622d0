"""What a person is shown of a case before they order something about it.

Who writes something down is shown which case it is: what is noticed meanwhile does not void what they wrote. Who ends
it, or agrees to what another one proposed, is shown how it stands: whatever is noticed since makes them look again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from failwell.core import orders
from failwell.core.errors import NotFound
from failwell.core.projections import Projections

_WRITES = (
    orders.IncidentNote, orders.IncidentGiveTask, orders.IncidentEndTask, orders.IncidentHand, orders.IncidentClaim,
)  # fmt: skip
_ENDS = (
    orders.IncidentMerge, orders.IncidentResolve, orders.IncidentPropose, orders.IncidentAgree, orders.IncidentClose,
)  # fmt: skip


def case_shown(state: Projections, details: orders.Details) -> dict[str, dict[str, Any]]:
    """What an order about a case is signed over; nothing for other orders. NotFound for no such case."""
    if not isinstance(details, (*_WRITES, *_ENDS)):
        return {}
    shown = {"case": _case(state, details.incident, ends=isinstance(details, _ENDS))}
    if isinstance(details, orders.IncidentMerge):
        shown["into"] = _case(state, details.into, ends=True)
    return shown


def _case(state: Projections, number: int, *, ends: bool) -> dict[str, Any]:
    row = state.incident.get(number)
    if row is None:
        raise NotFound(f"there is no incident {number}", hint="failwell incident list shows those there are.")
    shown = {"incident": number, "agent": row.agent, "opened": row.opened, "title": row.title}
    if not ends:
        return shown
    return shown | {
        "kind": row.kind,
        "severity": row.severity,
        "state": row.state,
        "serious": row.serious is not None,
        "signals": row.signals,
        "notes": row.notes,
        "findings": row.findings,
        "factors": row.factors,
        "tasks": [task.number for task in row.tasks],
        "failed": list(row.failed),
        "proposed": None if row.proposed is None else msgspec.structs.asdict(row.proposed),
    }
