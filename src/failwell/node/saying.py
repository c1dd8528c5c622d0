"""What those who prove themselves at the door say beside their actions: why, and that something is off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from failwell.core.errors import Refused
from failwell.gate.explaining import explain
from failwell.gate.noticing import notice
from failwell.node.requests import Explain, Say

if TYPE_CHECKING:
    from failwell.node.door import Connection
    from failwell.node.service import Node


async def say(node: Node, connection: Connection, request: Explain | Say) -> int:
    """Record it; answers its entry. What an agent says about itself is no notice: the host's own key speaks for it."""
    if isinstance(request, Explain):
        connection.need(request.agent)
        return await node.writer.submit_async(explain(request.agent, request.action, request.reason))
    if connection.host is None:
        node.refusals.count(f"pid:{connection.peer_pid}", "no proof of identity")
        raise Refused(
            "this connection has proved to be no host", code="unauthenticated",
            hint="failwell agent register --host NAME --agents A,B enrols one, and leaves its key with whoever ran it.",
        )  # fmt: skip
    return await node.writer.submit_async(notice(connection.host, request.agent, request.said))
