"""What people say of an incident's customers, held against the record: each stands on an entry that names them (R11).

That a person said so is in their order, and held there (`verify.powers`). Whether the customer was told, or is whole,
no record can show: it is that person's word.
"""

from __future__ import annotations

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
        #: The customers that decisions and effects have named.
        self._named: set[int] = set()

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """Note whom an entry names, and hold what is said of a customer against that; what is wrong."""
        body = entry.body
        if isinstance(body, kinds.Decision | kinds.EffectWitnessed):
            if body.customer is not None and (number := _number(body.customer)) is not None:
                self._named.add(number)
        elif isinstance(body, kinds.CustomerTold | kinds.CustomerRestored):
            if _number(body.customer) not in self._named:
                return "it speaks of a customer whom no entry before it names"
            if [ref.seq for ref in entry.refs[1:]] != [body.shown]:
                return f"it does not cite entry {body.shown}, by which it says that the customer was reached"
            if entry.blob is None:
                return "it commits to words, and there are none"
        return None


def _number(token: str) -> int | None:
    try:
        return int(token[_PART], 16)
    except ValueError:
        return None


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
