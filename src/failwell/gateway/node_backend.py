"""The node as a session's backend: one connection carries the sessions of an agent, pushes are told apart here."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from failwell.client.answers import Ticket, read_ticket, read_verdict
from failwell.client.async_wire import AsyncWire
from failwell.core.errors import FailwellError, InputError, Unreachable
from failwell.gateway.backend import Call, Called, LeftOut, Listener, Offered, Outcome, Progress, UpstreamOffered

#: A session's servers are asked to end, and its connection is given up, within this time.
CLOSE_S = 5.0
Changed = Callable[[], None]
Over = Callable[[str, str], None]


class NodeLine:
    """One proved connection to the node, for any number of sessions of its agent. Unless it is `alone` in listening to
    the node there, whoever else listens hands on to `pushed` what the node says.
    """

    def __init__(self, wire: AsyncWire, *, alone: bool = True) -> None:
        self.wire = wire
        #: Attack: two sessions of an agent, in runs for two customers, whose clients give their calls the same ids.
        self._calls: dict[tuple[int, str], Listener] = {}
        self._sessions: dict[str, tuple[Changed, Over]] = {}
        if alone:
            wire.on_push = self.pushed

    def hear(self, session: str, changed: Changed, over: Over) -> None:
        """Pushes about `session` go to these two, until it is forgotten."""
        self._sessions[session] = (changed, over)

    def forget(self, session: str) -> None:
        self._sessions.pop(session, None)

    @contextlib.contextmanager
    def following(self, run: int, call: str, listener: Listener) -> Iterator[None]:
        """Pushes of `call` in `run` go to `listener` meanwhile."""
        self._calls[run, call] = listener
        try:
            yield
        finally:
            if self._calls.get((run, call)) is listener:
                del self._calls[run, call]

    def pushed(self, message: dict[str, Any]) -> None:
        """Tell whoever it is for."""
        push = message.get("push")
        if push == "progress":
            following = self._calls.get((message["run"], message["call"]))
            if following is not None:
                following.progress(message["call"], msgspec.convert(message, Progress))
        elif message.get("session") in self._sessions:
            changed, over = self._sessions[message["session"]]
            if push == "listed":
                changed()
            elif push == "upstream-ended":
                over(message["upstream"], message["why"])


class NodeBackend:
    """One session of one agent in an open run of it; `upstreams`: the servers wanted, none for all of its contract.

    A server that ended (it was killed with a call of its, it crashed) is opened anew when it is asked for again, in a
    session of the node's of its own, so that the others keep theirs. Whether it may be opened the node says.
    """

    def __init__(self, line: NodeLine, agent: str, run: int, upstreams: tuple[str, ...] = ()) -> None:
        self._line = line
        self._agent = agent
        self._run = run
        self._upstreams = upstreams
        self._listener: Listener | None = None
        self._first: str | None = None
        #: By server: the session that it stands in, None where it stands in none; and why it did not start.
        self._standing: dict[str, str | None] = {}
        self._why: dict[str, str] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}

    async def open(self, listener: Listener) -> Offered:
        self._listener = listener
        offered = await self._open(self._upstreams)
        self._first = offered.session
        return offered

    async def _open(self, upstreams: tuple[str, ...]) -> Offered:
        raw = await self._line.wire.call("upstreams.open", agent=self._agent, run=self._run, upstreams=list(upstreams))
        offered = msgspec.convert(raw, Offered)
        self._line.hear(offered.session, self._changed, functools.partial(self._ended, offered.session))
        self._standing |= dict.fromkeys((each.name for each in offered.upstreams), offered.session)
        self._standing |= dict.fromkeys((each.name for each in offered.failed), None)
        self._why |= {each.name: each.why for each in offered.failed}
        return offered

    async def list(self) -> Offered:
        first, _ = self._opened()
        await asyncio.gather(*(self._again(name) for name, session in tuple(self._standing.items()) if session is None))
        found: dict[str, UpstreamOffered] = {}
        for session in {each: None for each in self._standing.values() if each is not None}:
            raw = await self._line.wire.call("upstreams.list", session=session)
            found |= {each.name: each for each in msgspec.convert(raw, Offered).upstreams}
        failed = tuple(
            LeftOut(name=name, why=self._why.get(name, "it has ended")) for name in self._standing if name not in found
        )
        ordered = tuple(found[name] for name in self._standing if name in found)
        return Offered(session=first, upstreams=ordered, failed=failed)

    async def call(self, call: Call) -> Called:
        first, listener = self._opened()
        server = call.tool.partition(".")[0]
        if server in self._standing and self._standing[server] is None:
            await self._again(server)
        session = self._standing.get(server) or first
        with self._line.following(self._run, call.call, listener):
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
        sessions = {self._first, *self._standing.values()} - {None}
        self._first, self._standing = None, {}
        for session in sessions:
            assert session is not None
            self._line.forget(session)
            with contextlib.suppress(FailwellError):  # its servers end with the connection too
                await self._line.wire.call("upstreams.close", session=session, timeout_s=CLOSE_S)

    def _opened(self) -> tuple[str, Listener]:
        if self._first is None or self._listener is None:
            raise Unreachable("this session has no tool servers any more")
        return self._first, self._listener

    # -- a server that ended ------------------------------------------------------------------------------------

    async def _again(self, server: str) -> None:
        """Open a server that has ended, once for all who wait for it; that it does not start is no error here."""
        if server not in self._opening:
            self._opening[server] = asyncio.ensure_future(self._reopen(server))
        await asyncio.shield(self._opening[server])

    async def _reopen(self, server: str) -> None:
        try:
            await self._open((server,))
        except Unreachable:
            raise
        except FailwellError as error:
            self._why[server] = error.message  # what is called all the same is judged, and blocked on record
        finally:
            del self._opening[server]

    # -- what the node says by itself ---------------------------------------------------------------------------

    def _changed(self) -> None:
        if self._listener is not None:
            self._listener.listed()

    def _ended(self, session: str, upstream: str, why: str) -> None:
        if self._standing.get(upstream) != session:
            return  # it was opened anew by now
        self._standing[upstream], self._why[upstream] = None, why
        if self._listener is not None:
            self._listener.ended(upstream, why)


def _text(arguments: bytes) -> str:
    """Raw JSON text as it travels in a frame. InputError where it is no text at all."""
    try:
        return arguments.decode()
    except UnicodeDecodeError as error:
        raise InputError("the arguments are not UTF-8 text") from error
