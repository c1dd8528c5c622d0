"""What a running tool writes, told to its caller on the way: `output` pushes, which its answer then holds in whole.

Nothing leaves here that the record will not have: what is beyond the output's cap is not passed on. A caller that does
not read is not written to any more; it finds the rest in the answer. What this does NOT do: look for secrets. Where a
tool holds one nothing is passed on, since only the whole of what it said can be searched (`node.redacting`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from failwell.node.preparing import Prepared
from failwell.node.requests import Act

if TYPE_CHECKING:
    from failwell.node.door import Connection


def passing_on(connection: Connection, request: Act, prepared: Prepared) -> Prepared:
    """The same action, whose output its caller is told on the way, if it wants that and may have it."""
    if request.how != "execute" or not request.progress or not prepared.redaction.holds_none:
        return prepared
    passing, loop = _Passing(connection, request), asyncio.get_running_loop()

    def heard(data: bytes) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and its callers with it
            loop.call_soon_threadsafe(passing.push, data)

    return replace(prepared, heard=heard)


class _Passing:
    """The output of one action on its way to the connection that asked for it."""

    def __init__(self, connection: Connection, request: Act) -> None:
        self._connection = connection
        self._named = {"push": "output", "run": request.run, "call": request.call}
        self._behind = False

    def push(self, data: bytes) -> None:
        """Tell the next part, unless one was left out before it: what is told is the beginning, without a gap."""
        # Attack: a caller that has a tool write, and reads nothing of it: it fills the node's memory.
        self._behind = self._behind or self._connection.unread
        if not self._behind:
            self._connection.push({**self._named, "data": base64.b64encode(data).decode()})
