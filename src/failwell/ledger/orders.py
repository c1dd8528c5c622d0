"""Admitting a signed order: is it this ledger's, this person's, over what stands now, and not used before (I7).

What an order then does is for the rooms above; this writes the order entry that must come first. Signatures are
verified through a function that is passed in (`identity.persons.verify_order`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, NamedTuple

from failwell.core import kinds
from failwell.core.errors import Refused
from failwell.core.orders import Order, SignedOrder, check_order, parse_order
from failwell.core.records import Draft
from failwell.core.sight import sight_digest
from failwell.ledger.jobs import Turn

VerifyOrder = Callable[[SignedOrder, bytes], Order[Any]]


class Admitted(NamedTuple):
    """An order that may be carried out, and the entry that records it."""

    order: Order[Any]
    draft: Draft


def admit(
    turn: Turn, signed: SignedOrder, verify: VerifyOrder, *, wanted: str, agent: str | None = None, source: str
) -> Admitted:  # fmt: skip
    """Hold a signed order against the enrolled key of its person, this ledger, the sight and the used nonces.

    `source` is how it came: `node` (over the socket) or `orders` (left in the workspace while the node was wedged).
    Raises Refused, NotFound, InputError.
    """
    claimed = parse_order(signed.order)
    if claimed.order != wanted:
        raise Refused(f"this takes an order {wanted}, not {claimed.order}")
    person = turn.state.person.get(claimed.person)
    if person is None:
        raise Refused(
            f"{claimed.person} is not enrolled here", hint="An operator enrols a person: failwell person add."
        )
    if person.left is not None:
        # Attack: a leaver's key, kept or copied, that goes on ordering. Not even a stop: it is nobody's word any more.
        raise Refused(f"{claimed.person} has left (entry {person.left}): their key orders nothing any more")
    order = verify(signed, base64.b64decode(person.key))
    shown = None if order.power.restricts else sight_digest(turn.state, order.order, order.details)
    # A stop that was ordered before the log went on under another name still stops (I8).
    named = order.power.restricts and any(order.origin == name for _, name in turn.state.origins)
    check_order(
        order, origin=order.origin if named else turn.state.origin, shown=shown, now_us=turn.now_us,
        used=lambda nonce: (order.person, nonce) in turn.state.nonces,
    )  # fmt: skip
    body = kinds.Order(
        order=order.order, person=order.person, key=signed.key, text=signed.order, signature=signed.signature,
        source=source,
    )  # fmt: skip
    return Admitted(order, Draft(body=body, actor=f"person:{order.person}", agent=agent))


def need_role(turn: Turn, person: str, role: str, what: str) -> None:
    """Raises Refused unless the enrolled `person` holds `role`."""
    if role not in turn.state.person[person].roles:
        raise Refused(f"{what} takes a person with the role {role}; {person} does not hold it")
