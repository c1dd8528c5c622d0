"""Proofs of channels, held against what was asked and what persons ordered (R10)."""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.escalation.proofs import ACTOR, CODE, PROOF, PROVEN, due, key_of
from failwell.core.instants import parse_at
from failwell.core.orders import Order
from failwell.core.records import Body, Entry
from failwell.core.state import State

NEEDED: dict[type[Body], tuple[frozenset[str], ...]] = {
    kinds.ChannelAsked: (frozenset({"channel.ask"}),),
    kinds.ChannelProven: (frozenset({"channel.confirm"}),),
}
_NODE = "node"


def by_rule(entry: Entry[Any]) -> bool:
    """Whether no person has to have ordered it: the node asks as time goes by, and a link or reply is no order. That it
    carries what was asked for, the fold holds.
    """
    body = entry.body
    asked = isinstance(body, kinds.ChannelAsked)
    return entry.actor == _NODE and (asked or (isinstance(body, kinds.ChannelProven) and body.how != CODE))


def order_fault(entry: Entry[Any], body: Any, order: Order[Any], state: State) -> str | None:
    """What an entry about a channel says that its order does not; None if nothing, or if it is about none."""
    if type(body) not in NEEDED:
        return None
    if (order.details.channel, order.details.person) != (body.channel, body.person):
        return "the channel or person is not that of the order"
    if order.person == body.person:
        return None if isinstance(body, kinds.ChannelAsked) or body.how == CODE else "a person gives back a code"
    row = state.person.get(order.person)
    if isinstance(body, kinds.ChannelAsked) and row is not None and "operator" in row.roles:
        return None
    return f"{order.person} may not say so of {body.person}"


class AskedInTime:
    """Whom the clock has asked was to be asked; and no message asks, or says that it came back, where nothing did."""

    code = "channel.asked"

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """See `verify.conduct.Rule`."""
        body = entry.body
        if isinstance(body, kinds.ChannelAsked) and entry.actor == _NODE:
            in_time = due(state, body.channel, body.person, parse_at(entry.at))
            return None if in_time else f"{body.person} was not to be asked over {body.channel} by then"
        if not isinstance(body, kinds.PageQueued4):
            return None
        if body.about == PROOF and entry.actor != ACTOR:
            return f"{body.person} is asked over {body.channel} by nobody's asking"
        row = state.channel.get(key_of(body.channel, body.person))
        if body.about == PROVEN and (row is None or row.proven is None or row.proven_us != parse_at(entry.at)):
            return f"{body.channel} is told that it reaches {body.person}, which nothing showed just now"
        return None
