"""The tool servers of agents' sessions: opened for one connection, told of, and ended with what they were opened for.

A session is one agent's, in one run, on the connection that opened it: nobody else can name it. Its servers end with
it, and whenever its agent, or anything that it is within, is stopped: told to stand still before that is durable, and
killed as soon as it is (I8). INVARIANT: a server is in the table before it may start, and a stop closes the fence
before it looks there. How a call of one is stopped and what its end is worth says `node.upstreams.executor`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from failwell.core import kinds, stops
from failwell.core.errors import FailwellError, Refused
from failwell.core.records import Draft, Entry
from failwell.ledger.jobs import Job, Plan
from failwell.node.upstreams.offering import told_of
from failwell.node.upstreams.opening import Opener, who
from failwell.node.upstreams.server import IDLE, Server, Who
from failwell.ports.executor import Ended

if TYPE_CHECKING:
    from failwell.node.door import Connection
    from failwell.node.service import Node
    from failwell.node.upstreams.executor import SessionsExecutor

#: Sessions of one connection, and servers of one node, at once.
MAX_SESSIONS, MAX_SERVERS = 1024, 4096
#: How long a server that is asked to end may take before it is killed.
GRACE_S: Final = 1.0
#: How soon it is looked again at what a server offers that says it changed, and how often in all.
PAUSE_S, MAX_CHANGES = 0.25, 64
#: How long one that says nothing more may take to end by itself, so that this is what is told of it. Meanwhile it is
#: asked nothing, and whoever orders a stop does not wait for it.
GONE_S = 1.0
CLOSED, NO_SESSION = "its session was closed", "no-session"


@dataclass(slots=True, eq=False)
class Session:
    """What one connection opened for one run of one agent."""

    name: str
    connection: Connection
    who: Who
    servers: dict[str, Server] = field(default_factory=dict)
    #: The last start of a server that was idle, for all who wait for it.
    starting: dict[str, asyncio.Task[str | None]] = field(default_factory=dict)
    closed: str | None = None


class Sessions:
    """Every session of one node. Asked by the loop; `before`, `after` and `dropped` by the writer's thread."""

    def __init__(self, node: Node, executor: SessionsExecutor) -> None:
        self._node = node
        self._executor = executor
        self._opener = Opener(node, executor)
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._servers: set[Server] = set()
        #: Sessions on their way: for whom, and of how many servers.
        self._opening: list[tuple[Connection, int]] = []

    # -- what connections ask ----------------------------------------------------------------------------------

    async def open(self, connection: Connection, agent: str, run: int, names: tuple[str, ...]) -> dict[str, Any]:
        """Start the servers, side by side; what does not start is told, and the others serve."""
        found = await self._room(connection, len(names) or len(self._node.settings.upstreams), who(agent, run))
        session = Session(secrets.token_hex(16), connection, found)
        self._sessions[session.name] = session
        if connection.gone:
            self.lost(connection)
        wanted = dict.fromkeys(names or (each for each in self._node.settings.upstreams if found.of(each)))
        failures = await asyncio.gather(*(self._start(session, name) for name in wanted))
        answer = await self.told(session)
        answer["failed"] = [
            {"name": name, "why": why} for name, why in zip(wanted, failures, strict=True) if why is not None
        ]
        return answer

    async def _room(self, connection: Connection, servers: int, asked: Job[Who]) -> Who:
        """For whom it is; Refused where there are as many as there may be.

        Attack: ask for thousands in one breath, before the first of them is there to be counted.
        """
        holders = (*(each.connection for each in self._sessions.values()), *(each for each, _ in self._opening))
        coming = sum(count for _, count in self._opening) + servers
        if sum(each is connection for each in holders) >= MAX_SESSIONS or len(self._servers) + coming >= MAX_SERVERS:
            raise Refused("as many tool servers as this node holds run already", code="busy", hint="Close a session.")
        self._opening.append((connection, servers))
        try:
            return await self._node.writer.submit_async(asked)
        finally:
            self._opening.remove((connection, servers))

    async def told(self, session: Session) -> dict[str, Any]:
        """What may be used now, by the contracts of now."""
        found = await self._node.writer.submit_async(who(session.who.agent, session.who.run))
        standing = [server for server in session.servers.values() if server.stands]
        await asyncio.gather(*(self.fresh(server) for server in standing))
        told = [told_of(server, found) for server in standing if server.stands]
        return {"session": session.name, "upstreams": told, "failed": []}

    def of(self, connection: Connection, name: str | None, agent: str, run: int | None) -> Session:
        """Attack: another connection, another agent, or another run of the same one, names a session that is not its.

        It is told no more than that there is none.
        """
        session = None if name is None else self._sessions.get(name)
        if session is None or session.connection is not connection or (session.who.agent, session.who.run) != (
            agent, run,
        ):  # fmt: skip
            self._node.refusals.count(f"pid:{connection.peer_pid}", "a session of tool servers that it does not have")
            raise Refused("there is no such session here", code=NO_SESSION, hint="Open one: upstreams.open")
        return session

    def named(self, connection: Connection, name: str) -> Session:
        """The same, of who names no agent."""
        session = self._sessions.get(name)
        agent, run = ("", None) if session is None else (session.who.agent, session.who.run)
        return self.of(connection, name, agent, run)

    def server(self, session: str | None, name: str) -> Server | None:
        """The server of that name, where the session has one."""
        found = None if session is None else self._sessions.get(session)
        return None if found is None else found.servers.get(name)

    def cancel(self, action: int, why: str) -> bool:
        """Tell the server that is asked for it; False where none is."""
        return self._executor.cancel(action, why)

    async def close(self, session: Session) -> None:
        """End it, and wait until nothing of it is left."""
        self.end(session, CLOSED)
        await asyncio.gather(*(asyncio.shield(server.ended) for server in session.servers.values() if server.process))

    async def changed(self, session: Session, tool: str) -> str | None:
        """Why a tool is not the one that a person accepted. Looks anew where the server says that it changed."""
        server = session.servers.get(tool.partition(".")[0])
        if server is None:
            return None
        starting = session.starting.get(server.name)
        if server.doomed == IDLE and (starting is None or starting.done()):
            starting = session.starting[server.name] = asyncio.ensure_future(self._start_again(session, server))
        if starting is not None:
            await asyncio.shield(starting)  # one starts it, and the others wait for that
            server = session.servers[server.name]
        if not server.stands:
            return None  # it is decided, and not started
        await self.fresh(server)
        return server.changed(tool)

    async def fresh(self, server: Server) -> None:
        """Wait until what it offers is known, where it said that this changed, or where that was long ago.

        Attack: one that changes a tool after it was listed, and tells nobody. While it works on a call it is not asked:
        an honest one that does one thing at a time would not answer.
        """
        server.used_s = now_s = server.loop.time()
        if not server.stale and not server.calls and now_s - server.listed_s >= server.declared.known_for_s:
            self._changed(server, said=False)
        if server.stale and server.listing is not None:
            await asyncio.shield(server.listing)

    # -- starting and ending -----------------------------------------------------------------------------------

    async def _start_again(self, session: Session, idle: Server) -> str | None:
        """The same of one that was idle. Where it does not start now the next call tries anew."""
        why = await self._start(session, idle.name)
        if why is not None:
            session.servers[idle.name] = idle
        return why

    async def _start(self, session: Session, name: str) -> str | None:
        """Have one server run; why not, where it does not."""
        server: Server | None = None
        try:
            server = self._opener.make(session.name, session.who, name)
            with self._lock:
                self._servers.add(server)
            session.servers[name] = server
            if session.closed is not None:
                raise Refused(session.closed)
            await self._opener.start(server, self._changed, self._gone, self._over)
        except FailwellError as error:
            if server is not None and server.process is None:
                self._executor.doom(server, error.message)
                with self._lock:
                    self._servers.discard(server)
            return error.message if error.hint is None else f"{error.message}. {error.hint}"
        return None

    def end(self, session: Session, why: str) -> None:
        """End its servers; by itself each may, if it is asked for nothing."""
        session.closed = session.closed or why
        self._sessions.pop(session.name, None)
        for server in session.servers.values():
            self.leave(server, why)

    def leave(self, server: Server, why: str) -> None:
        """Close its input, as the protocol says that a server is told to end; it is killed if it does not."""
        self._executor.doom(server, why)
        calls = tuple(server.calls)
        if calls:
            self._node.runner.abandon(calls, why)
            self._executor.kill(server)
        elif server.speaker is not None and not server.ending:
            server.ending = server.asked_to_end = True
            server.speaker.close()
            self._executor.kill_after(GRACE_S, server)
        else:
            self._executor.kill(server)

    def lost(self, connection: Connection) -> None:
        """Sessions end with their connection."""
        for session in [each for each in self._sessions.values() if each.connection is connection]:
            self.end(session, "the connection that opened its session is gone")

    def tick(self, now_s: float) -> None:
        """End what nobody asked anything for long, and what was started by settings that are not in force any more."""
        for server in self._of(lambda each: each.stands and not each.calls):
            if now_s - server.used_s > server.declared.idle_s:
                self.leave(server, IDLE)

    def take_settings(self) -> None:
        """Another command, secret or bound: started anew when it is opened. Other pins hold from here on."""
        declared = self._node.settings.upstreams
        for server in self._of(lambda each: True):
            now = declared.get(server.name)
            if now is None or _without_pins(now) != _without_pins(server.declared):
                self._executor.doom(server, "its settings were changed")
                self._executor.kill(server)
            elif now != server.declared:
                server.declared = now
                self._on_loop(server, lambda each=server: self._push_listed(each))  # type: ignore[misc]

    # -- what servers say --------------------------------------------------------------------------------------

    def _changed(self, server: Server, *, said: bool = True) -> None:
        """It says that its tools changed: none is called before it was looked at them."""
        server.stale = server.again = True
        if server.listing is None or server.listing.done():
            server.listing = asyncio.ensure_future(self._list_again(server, said=said))

    async def _list_again(self, server: Server, *, said: bool) -> None:
        """Attack: one that changes what it offers without end, to fill the record or to be looked at for ever."""
        assert server.speaker is not None
        within_s = server.declared.start_ms / 1000
        try:
            while server.again and server.stands:
                await asyncio.sleep(PAUSE_S if said and server.changes else 0)
                server.changes += said
                said = True
                if server.changes > MAX_CHANGES:
                    raise Refused("it changed what it offers too often")
                server.again = False
                new = await self._opener.take(server, await server.speaker.offer(within_s))
                server.stale = server.again
                if new:
                    self._push_listed(server)
        except Exception as error:  # noqa: BLE001  INVARIANT: of whom nobody knows what it offers nothing is asked
            why = error.message if isinstance(error, FailwellError) else type(error).__name__
            self._executor.doom(server, f"it does not say what it offers: {why}")
            self._executor.kill(server)

    def _gone(self, server: Server, why: str) -> None:
        """Its word has ended, or makes no sense."""
        self._executor.doom(server, why)
        self._executor.kill_after(GONE_S, server)

    def _over(self, server: Server, end: Ended) -> None:
        """In the executor's thread: its end, on record and told."""
        with self._lock:
            self._servers.discard(server)
        # How it went by itself says more than that its word ended.
        why = end.why if end.state in ("failed", "blocked") and end.why else server.doomed or end.why
        body = kinds.UpstreamEnded(
            upstream=server.name, session=server.session, state=_state(server, end),
            why=None if why is None else server.redaction.text(why)[:500], processes=end.swept,
            proven_by=end.proven_by[:200],
        )  # fmt: skip
        draft = Draft(body=body, actor="node", agent=server.who.agent, run=server.who.run)
        with contextlib.suppress(FailwellError):  # the ledger is closed, or full: its calls' ends are there
            self._node.writer.submit(lambda turn: Plan((draft,), lambda _: None))
        self._on_loop(server, lambda: self._told_over(server, end, why))

    def _told_over(self, server: Server, end: Ended, why: str | None) -> None:
        server.doomed = server.doomed or "it ended by itself"
        if server.speaker is not None:
            server.speaker.close()
        if not server.ended.done():
            server.ended.set_result(end)
        session = self._sessions.get(server.session)
        if session is not None and server.offer is not None and why != IDLE:
            told = server.redaction.text(why or server.doomed)
            session.connection.push(
                {"push": "upstream-ended", "session": session.name, "upstream": server.name, "why": told}
            )

    def _push_listed(self, server: Server) -> None:
        session = self._sessions.get(server.session)
        if session is not None:
            session.connection.push({"push": "listed", "session": session.name})

    def _on_loop(self, server: Server, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the node is closing, and nobody is there to be told
            server.loop.call_soon_threadsafe(call)

    # -- observers of the writer (its thread) ------------------------------------------------------------------

    def before(self, entry: Entry[Any]) -> None:
        """What restricts takes effect before it is durable: what is within it stands still, and is asked nothing."""
        for server, why in self._struck(entry):
            if isinstance(entry.body, kinds.AuthorityChanged):
                server.doomed = None  # it says more than the order that came with it
            self._executor.doom(server, why)
            self._executor.still(server)

    def after(self, entries: Iterable[Entry[Any]]) -> None:
        """It is durable: what was told to stand still is killed. What a closed run had is asked to end."""
        if not self._servers:
            return
        for server in self._of(lambda each: each.doomed is not None and not each.ending):
            self._executor.kill(server)
        closed = {entry.run for entry in entries if isinstance(entry.body, kinds.RunClosed)}
        for server in self._of(lambda each: each.who.run in closed) if closed else ():
            self._on_loop(server, lambda each=server: self._run_over(each))  # type: ignore[misc]

    def dropped(self) -> None:
        """The store took none of it; what stands still cannot go on."""
        self.after(())

    def _run_over(self, server: Server) -> None:
        session = self._sessions.get(server.session)
        if session is not None:
            self.end(session, "its run was closed")

    def _struck(self, entry: Entry[Any]) -> list[tuple[Server, str]]:
        """The servers that an entry stops, and why."""
        body, agent = entry.body, entry.agent
        if not self._servers:
            return []
        if isinstance(body, kinds.ScopeStopped):
            within = frozenset(stops.agents_in(self._node.writer.book.state, body.scope))
            why = f"{stops.words(body.scope)} was stopped"
            return [(server, why) for server in self._of(lambda each: _is_within(each, body.scope, within))]
        if isinstance(body, kinds.RunStopped):
            why = f"run {entry.run} was stopped by {body.by}: {body.why}"
            return [(server, why) for server in self._of(lambda each: each.who.run in body.runs)]
        of_a_run = isinstance(body, kinds.InterruptOrdered) and entry.run is not None
        why = "" if agent is None or of_a_run else self._strikes(body, agent)
        if not why:
            return []
        return [(server, why) for server in self._of(lambda each: agent in dict(each.who.epochs))]

    def _strikes(self, body: Any, agent: str) -> str:
        """Why an entry about an agent stops what it has; nothing where it does not."""
        if isinstance(body, kinds.AuthorityChanged) and body.now in ("SUSPENDED", "RETIRED"):
            return f"{agent} was {body.now.lower()} by {body.by}: {body.why}"
        if isinstance(body, kinds.InterruptOrdered):
            return f"{agent} was ordered to stop what runs: {body.why}"
        if isinstance(body, kinds.AgentKey):
            return f"the key of {agent} was replaced or revoked"
        if (scope := stops.joined(body)) is not None:
            try:
                self._node.fence.check((scope,))
            except Refused:
                return f"{agent} came within what was stopped"
        return ""

    def _of(self, wanted: Callable[[Server], bool]) -> list[Server]:
        with self._lock:
            return [server for server in self._servers if wanted(server)]


def _is_within(server: Server, scope: str, agents: frozenset[str]) -> bool:
    """Whether a stop of `scope` is about a server. What it still does for one of its tools nobody can tell."""
    if scope.startswith(stops.TOOL):
        tool = scope.removeprefix(stops.TOOL)
        return tool.partition(".")[0] == server.name and tool in server.who.tools
    return scope == stops.ALL or scope in dict(server.who.scopes) or bool(agents & dict(server.who.epochs).keys())


def _state(server: Server, end: Ended) -> str:
    """As of an outcome. One that was asked to end, and did, is complete; one that went by itself is not."""
    if end.state in ("completed", "failed", "completed_after_interrupt"):
        return "completed" if server.asked_to_end else "failed"
    return end.state


def _without_pins(declared: Any) -> dict[str, Any]:
    return {name: getattr(declared, name) for name in declared.__struct_fields__ if name != "tools"}
