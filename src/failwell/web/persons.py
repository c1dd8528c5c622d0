"""Who is enrolled, as the node said last: so that a stop can be taken from a person also while the node is silent.

What is known here permits nothing. It only keeps strangers from stopping somebody where nobody else can look.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import Any

from failwell.core.errors import FailwellError, Refused
from failwell.core.orders import Order, SignedOrder, parse_order
from failwell.identity.persons import verify_order
from failwell.web.node_line import NodeLine

#: How often the node is asked once more.
LEARN_S = 15.0


class Persons:
    """The public keys of enrolled persons."""

    def __init__(self, node: NodeLine) -> None:
        self._node = node
        self._keys: dict[str, str] = {}

    async def learn(self) -> None:
        """Ask again and again; nothing is forgotten where nobody answers."""
        while True:
            with contextlib.suppress(FailwellError):
                rows = await self._node.ask("persons")
                self._keys = {name: row["key"] for name, row in rows.items() if row["key"]}
            await asyncio.sleep(LEARN_S)

    def signed(self, signed: SignedOrder) -> Order[Any]:
        """The order, where it holds with the key of a person; Refused otherwise."""
        key = self._keys.get(parse_order(signed.order).person)
        if key is None:
            raise Refused("whoever signed this is not known here", hint="Give it again once the node answers.")
        return verify_order(signed, base64.b64decode(key))

    def know(self, signed: SignedOrder) -> bool:
        """Whether it holds with a key that is known."""
        try:
            self.signed(signed)
        except FailwellError:
            return False
        return True
