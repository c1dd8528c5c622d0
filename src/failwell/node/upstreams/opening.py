"""Starting one tool server: its process, what it offers, and the entry about that.

It starts only where an action of its agent could: nobody of those who handed the work over is stopped, the class
`supervised` is shown to stop, every secret is to be had. What it does NOT do: judge what it is asked later.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from failwell.core import kinds, stops
from failwell.core.errors import FailwellError, NotFound, Refused, Unhealthy
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.node.broker import Held
from failwell.node.upstreams.executor import LAST_WORDS_S
from failwell.node.upstreams.offering import digest_of, digests_of, listed
from failwell.node.upstreams.reaching import command_of, environment_of
from failwell.node.upstreams.server import FIRST, Server, Who
from failwell.node.upstreams.speaking import Speaker
from failwell.ports.executor import Ended, Launch

if TYPE_CHECKING:
    from failwell.node.reached import UpstreamSettings
    from failwell.node.service import Node
    from failwell.node.upstreams.executor import SessionsExecutor
    from failwell.node.upstreams.speaking import Offer

#: How long it is waited for the end of a server that did not begin.
END_S: Final = 5.0
Changed = Callable[[Server], None]
Gone = Callable[[Server, str], None]
Over = Callable[[Server, Ended], None]


def who(agent: str, run: int) -> Job[Who]:
    """For whom a session would be; Refused where the run is not an open one of that agent."""

    def job(turn: Turn) -> Plan[Who]:
        state = turn.state
        opened = state.run.get(run)
        if opened is None or opened.agent != agent or agent not in state.agent:
            raise Refused(f"run {run} is no open run of {agent}", code="run.unknown", hint="Open one: run.open")
        agents = (agent, *opened.chain)
        contracts = [state.contract_of(name) for name in agents]
        named = [{tool.tool: tool for tool in each.tools} if each is not None else {} for each in contracts]
        tools = {name: tuple(each[name] for each in named) for name in named[0] if all(name in each for each in named)}
        # Of one tool that is stopped nothing is asked; its server has others.
        scopes = [scope for scope in stops.scopes_of(state, agents, "") if not scope.startswith(stops.TOOL)]
        found = Who(
            agent=agent, run=run, entry=turn.seq, tools=tools,
            epochs=tuple((name, state.agent[name].epoch) for name in agents),
            scopes=stops.epochs_of(state, scopes),
            governed=any(state.agent[name].authority != "OBSERVED" for name in agents),
        )  # fmt: skip
        return Plan((), lambda _: found)

    return job


class Opener:
    """Starts the servers of one node; on the loop."""

    def __init__(self, node: Node, executor: SessionsExecutor) -> None:
        self._node = node
        self._executor = executor
        self._numbers = itertools.count(FIRST, -1)

    def make(self, session: str, found: Who, name: str) -> Server:
        """A server that is not started yet; FailwellError where the settings know none of that name."""
        declared = self._node.settings.upstreams.get(name)
        if declared is None:
            raise NotFound(f"no tool server {name} is declared", hint=f"Add [upstreams.{name}] to failwell.toml.")
        if found.governed and not found.of(name):
            raise Refused(f"the contract of {found.agent} lists nothing of {name}")
        loop = asyncio.get_running_loop()
        return Server(
            name=name, number=next(self._numbers), session=session, who=found, declared=declared, loop=loop,
            used_s=loop.time(),
        )  # fmt: skip

    async def start(self, server: Server, changed: Changed, gone: Gone, over: Over) -> None:
        """Have it run and say what it offers; raises FailwellError, and nothing of it is left then or it is said.

        INVARIANT: `server` is in the table of sessions by now. Whoever stops its agent closes the fence first and looks
        through the table then; so either that finds it, or the fence is seen to be closed here.
        """
        self._node.tested.check("supervised", server.name)
        held = await self._held(server)
        server.redaction = held.redaction
        await self._node.wait_for_orders()
        self._node.fence.stands(server.who.epochs, server.who.scopes, server.who.entry)
        theirs_in, ours_out, ours_in, theirs_out = _pipes()
        launch = self._launch(server, held, (theirs_in, theirs_out))
        try:
            await asyncio.to_thread(self._executor.serve, server, launch, over)
        except BaseException:
            os.close(ours_out)
            os.close(ours_in)
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        server.speaker = Speaker(
            server.name, ours_in, ours_out, cap_bytes=self._cap_bytes(server.declared),
            changed=lambda: changed(server), gone=lambda why: gone(server, why),
        )  # fmt: skip
        try:
            await self.take(server, await self._first_word(server))
        except BaseException:
            self._executor.kill(server)
            raise

    async def take(self, server: Server, offer: Offer) -> bool:
        """This is what it offers from now on; whether that is something else than before. On record first."""
        told = digest_of(offer)
        new = told != server.told
        server.offer, server.digests, server.told = offer, digests_of(offer), told
        server.listed_s = server.loop.time()
        if new:
            body, secret = await asyncio.to_thread(listed, server, offer)
            await self._node.writer.submit_async(_listing(server, body, secret))
        return new

    async def _held(self, server: Server) -> Held:
        return await self._node.broker.hold(server.who.agent, server.declared, command_of(server.declared))

    def _cap_bytes(self, declared: UpstreamSettings) -> int:
        own = declared.output_cap_bytes
        return self._node.settings.node.output_cap_bytes if own is None else own

    def _launch(self, server: Server, held: Held, stdio: tuple[int, int]) -> Launch:
        """`scopes`: what a stop without the node finds it by; of each tool too, since it may be at work on it (D2)."""
        declared, found = server.declared, server.who
        agents = tuple(f"agent:{name}" for name, _ in found.epochs[1:])
        tools = tuple(f"{stops.TOOL}{name}" for name in found.of(server.name))
        return Launch(
            action=server.number, agent=found.agent, tool=server.name,
            # Where the node itself stands is chance: where whoever first needed it stood, or the root of all files.
            command=command_of(declared), cwd=str(self._node.workspace.path / (declared.cwd or "")),
            env=environment_of(declared, held),
            stdin=b"", deadline_us=None, output_cap_bytes=0, marker=f"{self._node.marker_prefix}{server.number}",
            limits={} if declared.limits is None else declared.limits.rlimits(),
            scopes=(*(scope for scope, _ in found.scopes), *tools, *agents), stdio=stdio,
        )  # fmt: skip

    async def _first_word(self, server: Server) -> Offer:
        """What it says that it offers; its end, where that comes sooner."""
        assert server.speaker is not None
        within_s = server.declared.start_ms / 1000
        began = asyncio.ensure_future(server.speaker.begin(within_s))
        try:
            either: set[asyncio.Future[Any]] = {began, server.ended}
            await asyncio.wait(either, timeout=within_s + 1, return_when=asyncio.FIRST_COMPLETED)
            if began.done() and began.exception() is None and not server.ended.done():
                return began.result()
        finally:
            began.cancel()
        error = began.exception() if began.done() and not began.cancelled() else None
        self._executor.doom(server, _said(error) if error is not None else f"it said nothing in {within_s:g} s")
        self._executor.kill_after(0.0 if error is None else LAST_WORDS_S, server)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(server.ended), END_S)
        raise Unhealthy(f"{server.name} did not start: {_why(server)}", hint=f"Look at [upstreams.{server.name}].")


def _listing(server: Server, body: kinds.UpstreamListed, secret: dict[str, Any]) -> Job[None]:
    """The job that records an offer; Refused where whose it is was stopped, or its run closed, meanwhile."""
    found = server.who

    def job(turn: Turn) -> Plan[None]:
        row, run = turn.state.agent[found.agent], turn.state.run.get(found.run)
        if server.doomed is not None or run is None or row.authority in ("SUSPENDED", "RETIRED"):
            raise Refused(f"the session of {server.name} is over: {server.doomed or 'its run was closed'}")
        draft = Draft(body=body, actor="node", agent=found.agent, run=found.run, secret=secret)
        return Plan((draft,), lambda _: None)

    return job


def _said(error: BaseException) -> str:
    return error.message if isinstance(error, FailwellError) else f"{type(error).__name__}: {error}"[:300]


def _why(server: Server) -> str:
    """What it came to, with its last word where it ended by itself."""
    end: Ended | None = server.over
    if end is None:
        return server.redaction.text(server.doomed or "it does not end")
    said = end.why if end.state in ("blocked", "failed") and end.why is not None else server.doomed or "it ended"
    words = server.redaction.ended(end).errors.decode("utf-8", "replace").strip().splitlines()
    return server.redaction.text(said) + (f": {words[-1][:300]}" if words else "")


def _pipes() -> tuple[int, int, int, int]:
    """Its input and our end of it, our end of its output and its own; Unhealthy where there are none to be had."""
    made: list[int] = []
    try:
        for _ in range(2):
            made += os.pipe()
    except OSError as error:
        for fd in made:
            os.close(fd)
        raise Unhealthy(f"no pipes to be had: {error.strerror}") from error
    return made[0], made[1], made[2], made[3]
