"""Who is enrolled, as the node said last: so that a stop can be taken from a person also while the node is silent.

What is known here permits nothing. It only keeps strangers from stopping somebody where nobody else can look.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections import OrderedDict
from typing import Any

from failwell.core.errors import FailwellError, Refused
from failwell.core.instants import parse_at
from failwell.core.orders import Order, SignedOrder, parse_order
from failwell.identity.persons import verify_order
from failwell.web.node_line import NodeLine

#: How often the node is asked once more.
LEARN_S = 15.0
#: Orders that the node has answered and that are remembered here, and how old one may be that it does not answer.
MOST_GIVEN, OLD_S = 10_000, 24 * 3600.0
_LATER = "Give it again once the node answers."


class Persons:
    """The public keys of enrolled persons."""

    def __init__(self, node: NodeLine) -> None:
        self._node = node
        self._keys: dict[str, str] = {}
        self._origin: str | None = None
        self._given: OrderedDict[str, None] = OrderedDict()

    async def learn(self) -> None:
        """Ask again and again; nothing is forgotten where nobody answers."""
        while True:
            with contextlib.suppress(FailwellError):
                rows = await self._node.ask("persons")
                self._origin = (await self._node.wire()).greeting["origin"]
                self._keys = {name: row["key"] for name, row in rows.items() if row["key"]}
            await asyncio.sleep(LEARN_S)

    def signed(self, signed: SignedOrder) -> Order[Any]:
        """The order, where it holds with the key of a person, for this ledger and for now; Refused otherwise.

        Attack: stops of a year, read in an export of the record, or another ledger's, shown when the node is silent.
        """
        key = self._keys.get(parse_order(signed.order).person)
        if key is None:
            raise Refused("whoever signed this is not known here", hint=_LATER)
        order = verify_order(signed, base64.b64decode(key))
        if order.origin != self._origin:
            raise Refused(f"the order is for ledger {order.origin}, this is {self._origin}")
        if order.nonce in self._given:
            raise Refused("the order was given here before", hint="Sign a new one.", code="replayed")
        # No clock delays a stop by minutes or a time zone (I8); what is older than this was not signed for now.
        if abs(time.time() - parse_at(order.at) / 1e6) > OLD_S:
            raise Refused(f"the order was signed at {order.at}", hint="Sign a new one, and look at the clocks.")
        return order

    def answered(self, signed: SignedOrder) -> None:
        """The node has judged it: it is not for the time in which the node is silent any more."""
        self._given[parse_order(signed.order).nonce] = None
        while len(self._given) > MOST_GIVEN:
            self._given.popitem(last=False)

    def know(self, signed: SignedOrder) -> bool:
        """Whether it holds with a key that is known."""
        try:
            self.signed(signed)
        except FailwellError:
            return False
        return True
