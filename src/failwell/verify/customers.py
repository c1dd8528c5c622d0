"""What people say of an incident's customers, held against the record: each stands on an entry that names them (R11).

That a person said so is in their order, and held there (`verify.powers`). Whether the customer was told, or is whole,
no record can show: it is that person's word.
"""

from __future__ import annotations

from array import array
from typing import Any

from failwell.core import kinds
from failwell.core.orders import CustomerRestore, CustomerTell, Order
from failwell.core.records import Entry
from failwell.core.state import State

#: Letters of a token that tell it from others; kept as a number, since there may be many.
_PART = slice(2, 18)


class CustomersShown:
    """See `verify.conduct.Rule`: takes the entries in order, each before it is folded."""

    code = "customer"

    def __init__(self) -> None:
        #: The customer that each entry names, 0 for none: eight bytes an entry, of which there may be many.
        self._named = array("Q")

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """Note whom an entry names, and hold what is said of a customer against that; what is wrong."""
        body = entry.body
        names = isinstance(body, kinds.Decision | kinds.EffectWitnessed) and body.customer is not None
        self._named.append(_number(str(body.customer)) if names else 0)
        if isinstance(body, kinds.CustomerTold | kinds.CustomerRestored):
            if not 0 <= body.shown < len(self._named) or self._named[body.shown] != _number(body.customer):
                return f"it speaks of a customer whom entry {body.shown} does not name"
            if [ref.seq for ref in entry.refs[1:]] != [body.shown]:
                return f"it does not cite entry {body.shown}, by which it says that the customer was reached"
            if entry.blob is None:
                return "it commits to words, and there are none"
        return None


def _number(token: str) -> int:
    """64 bits of a token, not 0; of what is no token, 1."""
    try:
        return int(token[_PART], 16) or 1
    except ValueError:
        return 1


def order_fault(entry: Entry[Any], body: Any, order: Order[Any], state: State) -> str | None:
    """What an entry about a customer says that its order does not; None if nothing, or if it is about none."""
    if not isinstance(body, kinds.CustomerTold | kinds.CustomerRestored):
        return None
    details: CustomerTell | CustomerRestore = order.details
    same = (details.customer, details.shown, details.words, order.person) == (
        body.customer, body.shown, body.words, body.person,
    )  # fmt: skip
    if not same or getattr(details, "how", None) != getattr(body, "how", None):
        return "the customer, entry, words, way or person is not that of the order"
    case = state.incident.get(body.incident)
    return None if case is not None and (case.agent or None) == entry.agent else "it is about another agent's incident"
