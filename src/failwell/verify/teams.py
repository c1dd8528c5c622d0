"""Who is on call, in the record: covers as they were ordered, turns as the settings and covers have them (R10)."""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, orders
from failwell.core.escalation.calendars import members, on_call
from failwell.core.instants import parse_at
from failwell.core.records import Body, Entry
from failwell.core.state import State

NEEDED: dict[type[Body], tuple[frozenset[str], ...]] = {
    kinds.TeamCovered: (frozenset({"team.cover"}),),
    kinds.TeamUncovered: (frozenset({"team.uncover"}),),
}
_NODE = "node"


def order_fault(entry: Entry[Any], body: Any, order: orders.Order[Any], state: State) -> str | None:
    """What a cover, or its end, says that the order does not; None for nothing."""
    person = state.person.get(order.person)
    operates = person is not None and "operator" in person.roles
    if isinstance(body, kinds.TeamCovered):
        since_us = max(parse_at(order.details.since), parse_at(entry.at))
        said = (body.team, body.person, body.instead_of, body.since_us, body.until_us)
        details = order.details
        if said != (details.team, details.person, details.instead_of, since_us, parse_at(details.until)):
            return "it is another cover than was ordered"
        own = order.person == body.person and order.person in members(state, body.team)
        return None if own or operates else f"{order.person} may not put {body.person} on call for {body.team}"
    if isinstance(body, kinds.TeamUncovered):
        row = state.cover.get(body.cover)
        if body.cover != order.details.cover or body.person != order.person or row is None:
            return "it is another cover than was ordered to end"
        return None if operates or order.person in (row.person, row.instead_of) else f"it is no cover of {order.person}"
    return None


class TurnsAsDeclared:
    """Whoever is said to be on call is, by the settings, the covers and the offsets in force."""

    code = "team.turn"

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        body = entry.body
        if isinstance(body, kinds.TimeZones):
            return None if entry.actor == _NODE else f"offsets of time zones by {entry.actor}"
        if not isinstance(body, kinds.TeamTurned):
            return None
        now = tuple(person for person in on_call(state, body.team, parse_at(entry.at)) if state.enrolled(person))
        if entry.actor != _NODE or body.now != now:
            return f"others are on call for {body.team} than the settings and covers say"
        return None
