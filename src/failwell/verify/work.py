"""Runs and actions that were stopped, and work that persons say they took, held against orders and rules (I7, I8).

A stop of a run follows by rule from a signal or from a person's order, and is held as every reaction is: one that is
told by anybody else is nobody's. That a person took work is that person's word, and needs their order.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, orders
from failwell.core.incidents.containing import ACTOR
from failwell.core.incidents.work import may_end, place_of
from failwell.core.records import Body, Entry
from failwell.core.state import State

#: Which orders must stand before an entry of a kind, where it does not follow by rule.
NEEDED: dict[type[Body], tuple[frozenset[str], ...]] = {
    kinds.WorkEnded: (frozenset({"work.end"}),),
    kinds.RunStopped: (frozenset({"run.stop"}),),
    kinds.InterruptOrdered: (frozenset({"run.stop", "action.stop"}),),
}


def by_rule(entry: Entry[Any]) -> bool:
    """Whether a stop follows by rule: then the rule is held. A person's stop of a scope is held against its order."""
    body = entry.body
    if isinstance(body, kinds.ScopeStopped):
        return entry.actor == ACTOR and body.by == ACTOR
    return entry.actor == ACTOR and isinstance(body, kinds.RunStopped | kinds.InterruptOrdered)


def order_fault(entry: Entry[Any], body: Any, order: orders.Order[Any], state: State) -> str | None:
    """What an entry says that the order before it does not bear out; None for nothing."""
    if isinstance(body, kinds.RunStopped | kinds.InterruptOrdered):
        return "what an order to stop leads to follows by rule, and is told by nobody else"
    if not isinstance(body, kinds.WorkEnded):
        return None
    details = order.details
    row = state.work.get(place_of(details.incident, details.run))
    said = (body.incident, body.run, body.person, body.state, body.words, entry.actor)
    ordered = (
        details.incident, details.run, order.person, details.state, details.words, f"person:{order.person}",
    )  # fmt: skip
    if row is None or said != ordered or entry.agent != row.agent:
        return "it is not what the order says of a run that was left"
    person = state.person.get(order.person)
    if order.person in may_end(state, row) or (person is not None and "operator" in person.roles):
        return None
    return f"{order.person} was not asked to take it, and is no operator"
