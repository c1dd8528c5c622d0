"""What a connection asks about its tool servers: a session, a call that is forwarded, and that it wants one no more.

A call is decided like any action, then forwarded; what a server says on its way goes to who called, without secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from failwell.core.errors import NotFound, Refused
from failwell.core.state import State
from failwell.gate.verdicts import Proposal, Verdict
from failwell.node import requests as asked
from failwell.node.informed import Judged, decide_informed
from failwell.node.preparing import Prepared
from failwell.node.upstreams.server import Server

if TYPE_CHECKING:
    from failwell.node.door import Connection
    from failwell.node.service import Node

#: How long a server may take to leave a call that its caller does not want any more, before it is killed.
GRACE_S: Final = 2.0
#: Calls of one agent that were cancelled before they were decided, and are remembered.
REMEMBERED: Final = 1024
_NONE: Final[OrderedDict[tuple[int | None, str], str]] = OrderedDict()
CANCELLED: Final = "cancelled by its caller"

AboutSessions = asked.OpenUpstreams | asked.ListUpstreams | asked.CloseUpstreams | asked.Cancel


class Forwarding:
    """Answers the connections of one node; on the loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        #: By agent, since one that cancels without end must not have others' forgotten.
        self._cancelled: dict[str, OrderedDict[tuple[int | None, str], str]] = {}

    def answer(self, connection: Connection, request: AboutSessions) -> Awaitable[Any]:
        sessions = self._node.sessions
        match request:
            case asked.OpenUpstreams():
                connection.need(request.agent)
                return sessions.open(connection, request.agent, request.run, request.upstreams)
            case asked.Cancel():
                connection.need(request.agent)
                return self._cancel(connection, request)
        session = sessions.named(connection, request.session)
        connection.need(session.who.agent)
        if isinstance(request, asked.ListUpstreams):
            return sessions.told(session)
        return sessions.close(session)

    # -- a call ------------------------------------------------------------------------------------------------

    async def decide(self, connection: Connection, request: asked.Act, proposal: Proposal) -> Judged:
        """The verdict on a call that is to be forwarded; a tool that nobody accepted as it is now is denied by it."""
        session = self._node.sessions.of(connection, request.session, request.agent, request.run)
        changed = await self._node.sessions.changed(session, request.tool)
        return await decide_informed(self._node, msgspec.structs.replace(proposal, changed=changed))

    def prepare(self, verdict: Verdict, session: str | None, prepared: Prepared) -> Prepared:
        """An allowed call, ready to be forwarded; Refused where its server is not there."""
        server = self.server_of(session, verdict.tool)
        if prepared.deadline_us is None:
            prepared = replace(prepared, deadline_us=server.declared.deadline_ms * 1000)
        return replace(prepared, session=session, redaction=server.redaction)

    def server_of(self, session: str | None, tool: str) -> Server:
        """The server that a tool is asked of; Refused where it does not serve."""
        server = self._node.sessions.server(session, tool.partition(".")[0])
        if server is None:
            raise NotFound(f"no tool server of this session has {tool}", hint="Open its server: upstreams.open")
        server.check(tool)
        return server

    def follow(self, connection: Connection, request: asked.Act, prepared: Prepared) -> Prepared:
        """What is told of it on its way goes to its caller. Refused where that one does not want it any more."""
        why = self._cancelled.get(request.agent, _NONE).pop((request.run, request.call), None)
        if why is not None:
            raise Refused(why, code="cancelled")
        if prepared.session is None or not request.progress:
            return prepared

        def told(progress: float, total: float | None, message: str | None) -> None:
            said = None if message is None else prepared.redaction.text(message)
            connection.push(
                {
                    "push": "progress", "run": request.run, "call": request.call, "progress": progress, "total": total,
                    "message": said,
                }
            )  # fmt: skip

        return replace(prepared, progress=told)

    # -- nobody wants it any more ------------------------------------------------------------------------------

    async def _cancel(self, connection: Connection, request: asked.Cancel) -> dict[str, Any]:
        """Tell whoever runs it; what does not end by itself soon is killed."""
        why = CANCELLED if request.why is None else f"{CANCELLED}: {request.why[:200]}"
        action = await self._node.questions.look(lambda state: _open_action(state, request))
        if action in connection.executing:
            # A door gives up what its caller executes, and is gone: nobody can be asked to stop it, or says its end.
            connection.executing.discard(action)
            self._node.runner.lost(action, why)
            return {"action": action, "told": True}
        runs = {item.action for item in self._node.fence.running() if not item.by_caller}
        if action is None or action not in runs:
            # Attack: a call and its cancellation in one breath. It may be on its way from verdict to start.
            cancelled = self._cancelled.setdefault(request.agent, OrderedDict())
            cancelled[request.run, request.call] = why
            while len(cancelled) > REMEMBERED:
                cancelled.popitem(last=False)
            return {"action": action, "told": False}
        if self._node.sessions.cancel(action, why):
            asyncio.get_running_loop().call_later(GRACE_S, self._abandon, action, why)
        else:
            self._abandon(action, why)
        return {"action": action, "told": True}

    def _abandon(self, action: int, why: str) -> None:
        with contextlib.suppress(RuntimeError):
            if action in {item.action for item in self._node.fence.running()}:
                self._node.runner.abandon((action,), why)


def _open_action(state: State, request: asked.Cancel) -> int | None:
    """The action of a call of this agent that has not ended."""
    seq = state.calls.get(request.run, {}).get(request.call)
    row = None if seq is None else state.action.get(seq)
    return seq if row is not None and row.agent == request.agent else None
