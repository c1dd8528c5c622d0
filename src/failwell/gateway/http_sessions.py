"""Sessions of clients that come over HTTP: whose each is, for which run, what it still has to say, and when it ends.

A session belongs to whoever opened it: an agent, or an agent that one certain host passes on. Nobody else's request
reaches it, whatever number it names. Requests of the stateless era have no session; those of one agent and run share
one of ours, so that tool servers are not started for each. A session ends by its client's word, when it is idle, with
its connection to the node, and with the gateway; a run that was opened for it is closed then.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from failwell.client.async_wire import AsyncWire
from failwell.core.errors import FailwellError, Refused, Unhealthy
from failwell.gateway import messages
from failwell.gateway.backend import Backend
from failwell.gateway.events import Stream, Streams
from failwell.gateway.messages import Faulty
from failwell.gateway.node_backend import NodeLine
from failwell.gateway.on_behalf import Behalf
from failwell.gateway.session import AgentSession
from failwell.web.links import Link

#: As the protocol's kit ends a request of the handshake era that its client cancelled.
CANCELLED = -32800
#: How long the calls of a session that ends may take to end with it.
END_S = 3.0
_LOOK_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is held at once: sessions of all and of one owner, requests of one, bytes that one session keeps for
    clients that come back, and how long a session stays without requests (stateless: without any of its requests).
    """

    sessions: int = 1024
    of_one: int = 512
    requests: int = 512
    kept_bytes: int = 4 * 1024 * 1024
    idle_s: float = 1800.0
    stateless_idle_s: float = 300.0


class Owner(NamedTuple):
    """Whose a session is: `agent` by its full name, and the host that passes it on, where one does."""

    agent: str
    host: str | None


class Asking(NamedTuple):
    """Who sent a request, with the connections over which the node knows them."""

    owner: Owner
    wire: Link
    host_wire: AsyncWire | None = None


@dataclass(slots=True, eq=False)
class Session:
    """One session. `name` is what its client calls it by; it is as good as a password, and no password: see `Owner`."""

    name: str
    owner: Owner
    behalf: Behalf
    run: int
    agent: AgentSession
    streams: Streams
    notices: Stream
    wire: Link
    idle_s: float
    used_s: float = 0.0
    in_use: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    closed: bool = False

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """It is not idle meanwhile."""
        self.in_use += 1
        try:
            yield
        finally:
            self.in_use -= 1
            self.used_s = asyncio.get_running_loop().time()

    def ask(self, body: bytes, number: bytes, apart: bytes = b"") -> tuple[Stream, asyncio.Task[None]]:
        """Have a request answered, whether or not anybody waits for it: its answer is the end of the stream."""
        stream = self.streams.new()
        task = asyncio.ensure_future(self._answer(body, number, apart, stream))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return stream, task

    async def _answer(self, body: bytes, number: bytes, apart: bytes, stream: Stream) -> None:
        try:
            with self.used():
                answer = await self.agent.handle(body, stream.put, apart)
            stream.put(messages.error_response(number, Faulty(CANCELLED, "cancelled")) if answer is None else answer)
        except asyncio.CancelledError:
            stream.put(messages.error_response(number, Faulty(messages.STOPPED, "this session has ended")))
            raise
        finally:
            stream.end()


BackendOf = Callable[[NodeLine, str, int], Backend]


class Sessions:
    """All sessions of one gateway. `backend` makes the tool servers of one; `note` takes lines for the operator."""

    def __init__(self, backend: BackendOf, bounds: Bounds, *, single: bool, note: Callable[[str], None]) -> None:
        self._backend = backend
        self._bounds = bounds
        self._single = single
        self._note = note
        self._named: dict[str, Session] = {}
        self._shared: dict[tuple[Owner, Behalf], asyncio.Task[Session]] = {}
        self._lines: dict[Link, NodeLine] = {}
        self._of_line: dict[Link, int] = {}
        self._opening: dict[Owner, int] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._named)

    def get(self, name: str) -> Session | None:
        session = self._named.get(name)
        return None if session is None or session.closed else session

    async def open(self, asking: Asking, behalf: Behalf, idle_s: float | None = None) -> Session:
        """A new session, its servers started. Refused, Unhealthy (code "busy") where there may be none more."""
        owner = asking.owner
        self._make_room(owner)
        self._opening[owner] = self._opening.get(owner, 0) + 1
        try:
            session = await self._open(asking, behalf, self._bounds.idle_s if idle_s is None else idle_s)
        finally:
            self._opening[owner] -= 1
            if not self._opening[owner]:
                del self._opening[owner]
        return session

    async def shared(self, asking: Asking, behalf: Behalf) -> Session:
        """The one for all stateless requests of this owner and run."""
        key = (asking.owner, behalf)
        task = self._shared.get(key)
        if task is None or (task.done() and not _stands(task)):
            task = asyncio.ensure_future(self.open(asking, behalf, self._bounds.stateless_idle_s))
            self._shared[key] = task
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            return await asyncio.shield(task)
        except FailwellError:
            if self._shared.get(key) is task:
                del self._shared[key]
            raise

    def _make_room(self, owner: Owner) -> None:
        if self._closed:
            raise Unhealthy("the gateway is ending", code="busy")
        opening = sum(self._opening.values())
        if len(self._named) + opening >= self._bounds.sessions:
            raise Unhealthy(f"{self._bounds.sessions} sessions are open here", code="crowded", hint="Come back later.")
        own = sum(session.owner == owner for session in self._named.values()) + self._opening.get(owner, 0)
        if own >= self._bounds.of_one:
            raise Unhealthy(
                f"{own} sessions of {owner.agent} are open here", code="crowded",
                hint="A client ends its session with DELETE; one that is left ends by itself when it is idle.",
            )  # fmt: skip

    async def _open(self, asking: Asking, behalf: Behalf, idle_s: float) -> Session:
        run = behalf.run
        if run is None:
            run = await _open_run(asking, behalf)
        streams = Streams(self._bounds.kept_bytes)
        notices = streams.new()
        line = self._line(asking.wire)
        agent = AgentSession(
            self._backend(line, asking.owner.agent, run), single=self._single, notice=notices.put,
            note=lambda told: self._note(f"{asking.owner.agent}: {told}"),
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        session = Session(
            secrets.token_urlsafe(32), asking.owner, behalf, run, agent, streams, notices, asking.wire, idle_s,
            loop.time(),
        )  # fmt: skip
        try:
            agent.begin()
            await agent.offering()
        except BaseException as error:
            await self._end(session)
            if isinstance(error, FailwellError) and error.code == "run.unknown":
                raise Refused(error.message, hint="A host opens it with its own credential.") from error
            raise
        self._named[session.name] = session
        return session

    def _line(self, wire: Link) -> NodeLine:
        """One listener for all sessions over a connection; none where there are none, so that it may be closed."""
        line = self._lines.get(wire)
        if line is None:
            line = self._lines[wire] = NodeLine(wire, alone=False)
            wire.listeners.add(line.pushed)
            wire.ended.add_done_callback(lambda _: self._lost(wire))
        self._of_line[wire] = self._of_line.get(wire, 0) + 1
        return line

    def _unline(self, wire: Link) -> None:
        self._of_line[wire] -= 1
        if not self._of_line[wire]:
            del self._of_line[wire]
            wire.listeners.discard(self._lines.pop(wire).pushed)

    def _lost(self, wire: Link) -> None:
        """The node is gone, or the agent is none any more: nothing of these sessions goes on."""
        for session in [each for each in self._named.values() if each.wire is wire]:
            self.end_soon(session)

    # -- the end -----------------------------------------------------------------------------------------------

    def end_soon(self, session: Session) -> asyncio.Task[None]:
        """End a session behind its client's back; it is not found any more from now on."""
        self._named.pop(session.name, None)
        session.closed = True
        task = asyncio.ensure_future(self._end(session))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def _end(self, session: Session) -> None:
        session.closed = True
        for key in [key for key, task in self._shared.items() if task.done() and not _stands(task)]:
            del self._shared[key]
        session.notices.end()
        await session.agent.close()
        if session.tasks:
            await asyncio.wait(session.tasks, timeout=END_S)
        for task in tuple(session.tasks):
            task.cancel()
        session.streams.end()
        if session.behalf.run is None:
            await _close_run(session)
        self._unline(session.wire)

    async def watch(self) -> None:
        """End what is idle; until cancelled."""
        while True:
            await asyncio.sleep(min(_LOOK_S, self._bounds.stateless_idle_s / 2))
            now_s = asyncio.get_running_loop().time()
            for session in tuple(self._named.values()):
                if not session.in_use and now_s - session.used_s > session.idle_s:
                    self.end_soon(session)

    async def close(self) -> None:
        """End all: calls that run are stopped, and their clients told so."""
        self._closed = True
        for session in tuple(self._named.values()):
            self.end_soon(session)
        if self._ending:
            await asyncio.wait(tuple(self._ending))


def _stands(task: asyncio.Task[Session]) -> bool:
    return not task.cancelled() and task.exception() is None and not task.result().closed


async def _open_run(asking: Asking, behalf: Behalf) -> int:
    """The host opens it where it says on whose behalf; else the agent does, for nobody (D24)."""
    wire: AsyncWire = asking.wire
    if behalf.host is not None:
        if asking.host_wire is None:
            raise Refused(f"host {behalf.host} is not here to open a run")
        wire = asking.host_wire
    run = await wire.call(
        "run.open", agent=asking.owner.agent, principal=behalf.principal, request=behalf.request, timeout_s=30
    )
    return int(run)


async def _close_run(session: Session) -> None:
    """Close the run that was opened for a session. Where the node or the agent is gone it stays as it is on record."""
    for pause_s in (0.05, 0.2, 0.5, 1.0, None):
        try:
            await session.wire.call(
                "run.close", agent=session.owner.agent, run=session.run, reason="done", timeout_s=10
            )
        except FailwellError as error:
            if error.code != "busy" or pause_s is None:
                return
            await asyncio.sleep(pause_s)
        else:
            return
