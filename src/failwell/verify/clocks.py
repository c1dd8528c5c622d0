"""Duties to inform, held against what persons ordered: each says what its order says, and by whom (R17).

Whether somebody was informed no record can show: it is that person's word, and whether it was in time is counted anew.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.escalation import clocks
from failwell.core.instants import parse_at
from failwell.core.orders import Order
from failwell.core.records import Body, Entry
from failwell.core.state import State

NEEDED: dict[type[Body], tuple[frozenset[str], ...]] = {
    kinds.ClockStarted: (frozenset({"clock.start"}),),
    kinds.ClockMet: (frozenset({"clock.meet"}),),
    kinds.ClockEnded: (frozenset({"clock.end"}),),
}


def order_fault(entry: Entry[Any], body: Any, order: Order[Any], state: State) -> str | None:
    """What an entry about a duty says that its order does not; None if nothing, or if it is about none."""
    if type(body) not in NEEDED:
        return None
    details = order.details
    if (details.incident, details.clock, order.person) != (body.incident, body.clock, body.person):
        return "the incident, clock or person is not that of the order"
    if isinstance(body, kinds.ClockStarted):
        same = (details.data, parse_at(details.aware)) == (body.data, body.aware_us)
        signed = [(each.deadline, parse_at(each.at), each.incomplete) for each in details.deadlines]
        same = same and signed == [(each.deadline, each.due_us, each.incomplete) for each in body.deadlines]
        return None if same else "the data, what is due when, or since when it is known of, is not that of the order"
    if isinstance(body, kinds.ClockEnded):
        return None if details.reason == body.why else "the reason is not that of the order"
    return _met(body, details, state)


def _met(body: kinds.ClockMet, details: Any, state: State) -> str | None:
    said = (details.deadline, details.told, details.at, details.complete, details.words)
    if said != (body.deadline, body.told, body.informed_at, body.complete, body.words):
        return "what was told to whom, when, is not that of the order"
    row = state.clock.get(clocks.key_of(body.incident, body.clock))
    due = None if row is None else next((each for each in row.deadlines if each.deadline == body.deadline), None)
    if due is None or body.late_us != max(0, parse_at(body.informed_at) - due.due_us):
        return "how late that was is not what its deadline and its time give"
    return None
