"""The node as a session's backend: one connection carries the sessions of an agent, pushes are told apart here."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import msgspec

from failwell.client.answers import Ticket, read_ticket, read_verdict
from failwell.client.async_wire import AsyncWire
from failwell.core.errors import FailwellError, InputError, Unreachable
from failwell.gateway.backend import Call, Called, Listener, Offered, Outcome, Progress

#: A session's servers are asked to end, and its connection is given up, within this time.
CLOSE_S = 5.0


class NodeLine:
    """One proved connection to the node, for any number of sessions of its agent."""

    def __init__(self, wire: AsyncWire) -> None:
        self.wire = wire
        self._calls: dict[str, Listener] = {}
        self._sessions: dict[str, Listener] = {}
        wire.on_push = self._pushed

    def hear(self, session: str, listener: Listener) -> None:
        self._sessions[session] = listener

    def forget(self, session: str) -> None:
        self._sessions.pop(session, None)

    @contextlib.contextmanager
    def following(self, call: str, listener: Listener) -> Any:
        """Pushes of `call` go to `listener` meanwhile."""
        self._calls[call] = listener
        try:
            yield
        finally:
            self._calls.pop(call, None)

    def _pushed(self, message: dict[str, Any]) -> None:
        push = message.get("push")
        if push == "progress":
            following = self._calls.get(message["call"])
            if following is not None:
                following.progress(message["call"], msgspec.convert(message, Progress))
            return
        listener = self._sessions.get(message.get("session", ""))
        if listener is None:
            return
        if push == "listed":
            listener.listed()
        elif push == "upstream-ended":
            listener.ended(message["upstream"], message["why"])


class NodeBackend:
    """One session of one agent in an open run of it; `upstreams`: the servers wanted, none for all of its contract."""

    def __init__(self, line: NodeLine, agent: str, run: int, upstreams: tuple[str, ...] = ()) -> None:
        self._line = line
        self._agent = agent
        self._run = run
        self._upstreams = upstreams
        self._session: str | None = None
        self._listener: Listener | None = None

    async def open(self, listener: Listener) -> Offered:
        raw = await self._line.wire.call(
            "upstreams.open", agent=self._agent, run=self._run, upstreams=list(self._upstreams)
        )
        self._session, self._listener = raw["session"], listener
        self._line.hear(raw["session"], listener)
        return msgspec.convert(raw, Offered)

    async def list(self) -> Offered:
        session, _ = self._opened()
        raw = await self._line.wire.call("upstreams.list", session=session)
        return msgspec.convert({"session": session, **raw}, Offered)

    async def call(self, call: Call) -> Called:
        session, listener = self._opened()
        with self._line.following(call.call, listener):
            raw = await self._line.wire.call(
                "act", agent=self._agent, run=self._run, call=call.call, tool=call.tool, session=session, how="forward",
                arguments=_text(call.arguments), reason=call.reason, ticket=call.ticket, progress=call.progress,
            )  # fmt: skip
        result = raw["result"]
        outcome = None if result is None else msgspec.convert(
            {**result, "output": base64.b64decode(result["output"])}, Outcome
        )  # fmt: skip
        return Called(verdict=read_verdict(raw["verdict"]), outcome=outcome)

    async def cancel(self, call: str, why: str | None) -> None:
        await self._line.wire.call("cancel", agent=self._agent, run=self._run, call=call, why=why)

    async def ticket(self, number: int) -> Ticket:
        return read_ticket(await self._line.wire.call("ask", about="ticket", key=number))

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        self._line.forget(session)
        with contextlib.suppress(FailwellError):  # its servers end with the connection too
            await self._line.wire.call("upstreams.close", session=session, timeout_s=CLOSE_S)

    def _opened(self) -> tuple[str, Listener]:
        if self._session is None or self._listener is None:
            raise Unreachable("this session has no tool servers any more")
        return self._session, self._listener


def _text(arguments: bytes) -> str:
    """Raw JSON text as it travels in a frame. InputError where it is no text at all."""
    try:
        return arguments.decode()
    except UnicodeDecodeError as error:
        raise InputError("the arguments are not UTF-8 text") from error
