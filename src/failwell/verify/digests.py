"""Digests in the record: made by the node of what was counted, received by an order or by what was sent with them.

That they tell what was noticed, all of it and nothing else, is the fold's to hold: it counts the same.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.escalation.digests import BY_ORDER, owed
from failwell.core.instants import parse_at
from failwell.core.records import Body, Entry
from failwell.core.state import State

NEEDED: dict[type[Body], tuple[frozenset[str], ...]] = {kinds.DigestReceived: (frozenset({"digest.receive"}),)}
_NODE = "node"


def by_rule(entry: Entry[Any]) -> bool:
    """Whether an entry says that somebody answered without a key."""
    return isinstance(entry.body, kinds.DigestReceived) and entry.body.how != BY_ORDER and entry.actor == _NODE


class DigestsInTime:
    """Each digest is the node's, and made when its time had come."""

    code = "digest.made"

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        body = entry.body
        if isinstance(body, kinds.DigestReceived):
            own = entry.actor in (_NODE, f"person:{body.person}")
            return None if own else f"{entry.actor} says that {body.person} has digest {body.digest}"
        if not isinstance(body, kinds.DigestMade):
            return None
        if entry.actor != _NODE:
            return f"a digest by {entry.actor}"
        return None if body.person in owed(state, parse_at(entry.at)) else f"no digest for {body.person} was due"
