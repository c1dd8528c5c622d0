"""The node: one process that holds a workspace's lock, ledger, keys and running tools (D1).

`Node` wires the rooms below into one living thing and says in which order they start and stop. What each of them does
stands in its own module.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import resource
import secrets
from collections.abc import Callable
from typing import Any

from failwell.core import kinds
from failwell.core.errors import FailwellError, InputError
from failwell.core.records import Draft, Entry
from failwell.core.release import VERSION
from failwell.execute.supervised import SupervisedExecutor
from failwell.execute.survivors import sweep_node
from failwell.gate.verdicts import Gate, Verdict
from failwell.ledger.book import Book
from failwell.ledger.heads import Heads
from failwell.ledger.jobs import CONTAINMENT, Plan
from failwell.node import left_orders, settings, watch
from failwell.node.actions import Result, ToolRunner
from failwell.node.alarm import Alarm
from failwell.node.answering import Answering
from failwell.node.assembly import (
    EVALUATOR,
    mended_drafts,
    open_book,
    rules_drafts,
    sealed_writer,
    settings_in_force,
    write_now,
)
from failwell.node.awaiting import told_here
from failwell.node.broker import Broker
from failwell.node.clock import SystemClock
from failwell.node.door import Connection
from failwell.node.duties import Duties
from failwell.node.fence import Fence, Permit
from failwell.node.given_orders import GivenOrders, left_order
from failwell.node.guarding import AbsentGuard, open_guard
from failwell.node.held import Held
from failwell.node.measuring import Measuring
from failwell.node.permits import Permits
from failwell.node.preparing import Prepared, Preparer
from failwell.node.preserving import Preserver
from failwell.node.proving import Proving
from failwell.node.questions import Questions
from failwell.node.recovery import recover
from failwell.node.refusals import RefusalCounter
from failwell.node.scopes import Scopes
from failwell.node.sources import Sources
from failwell.node.takeover import Taken
from failwell.node.tested import Tested, marker_of
from failwell.node.uncontained import Uncontained
from failwell.node.upstreams.executor import SessionsExecutor
from failwell.node.upstreams.forwarding import Forwarding
from failwell.node.upstreams.sessions import Sessions
from failwell.node.ways import mail_of, make_outbox, shared_of
from failwell.node.workspace import Workspace

TICK_S = 0.2
#: How often a start looks again whether `orders/` was read, before it is refused.
WAIT_TRIES = 40
WAIT_S = 0.005


class Node:
    """One workspace, owned. `start` opens it, `serve` answers until `stop`; both in the same process."""

    def __init__(
        self, workspace: Workspace, *, owns_process: bool = False, served: bool = False, taken: Taken | None = None
    ) -> None:  # fmt: skip
        """`owns_process`: this process is the node and nothing else, so every stray child of it is a tool's orphan.
        `served`: an operator started it, so that its environment is no agent's. `taken`: whose place it takes.
        """
        self.workspace = workspace
        self._owns_process = owns_process
        self._served = served
        self.pid = os.getpid()
        self.name = f"node-{secrets.token_hex(8)}"
        self.clock = SystemClock()
        workspace.check_finished()
        self._held = Held(workspace, taken)
        self._left: list[Callable[[], None]] = [self._held.release]
        try:
            self._open()
        except BaseException:
            for close in reversed(self._left):
                close()
            raise

    # -- start -------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        book = open_book(self.workspace, self.workspace.open_keys(), self.clock)
        self.origin = book.origin
        self.origins = tuple(origin for _, origin in reversed(book.state.origins))
        self.mode = book.state.mode
        if self.mode != "live":
            raise InputError(f"{self.workspace.path} is a {self.mode} ledger: no node serves it")
        self.storage, self.vault = book.storage, book.vault
        guard, behind = open_guard(self.workspace, book)
        self._left.append(guard.close)
        self.settings = settings_in_force(book)
        self.mailbox = left_orders.Mailbox(self.workspace.orders, self.clock.wall_us)
        self.fence = Fence(self.mailbox.unread)
        self._put_up_fence(book)
        self.gate = Gate(EVALUATOR)
        self.refusals = RefusalCounter(self.clock.wall_us)
        self.heads = Heads(book)
        self.writer = sealed_writer(
            book, guard, before=self._before, after=self._after, dropped=self._dropped,
            urgent=self._drain_orders, paused=True,
        )  # fmt: skip
        self._left.append(self.writer.close)
        self.writer.read_only = behind
        self.measuring = Measuring(
            self.writer, self.clock.mono_us, lambda: self.settings.node.interrupt_bound_ms * 1000
        )  # fmt: skip
        self.executor = SupervisedExecutor(
            self.workspace.runtime, self.workspace.orders, spare=_nobody if self._owns_process else None,
            warm=self.settings.node.warm_supervisors, unread=self.mailbox.unread,
        )  # fmt: skip
        self.calls = SessionsExecutor(self.executor)
        self.runner = self._tool_runner()
        self.sessions = Sessions(self, self.calls)
        self.forwarding = Forwarding(self)
        self.sources = Sources(self.executor, self.marker_prefix, self.workspace.orders)
        self.sources.take_settings(self.settings.sources)
        self.permits = Permits(self)
        self.preserver = Preserver(self.writer)
        self.runner.preserve = self.preserver.keep
        self.questions = Questions(self)
        self.broker = Broker(self, served=self._served)
        self.preparer = Preparer(self)
        self.proving = Proving(self, book)
        self.given_orders = GivenOrders(self)
        self.answering = Answering(self)
        self.outbox = make_outbox(self, self.answering)
        #: Actions between verdict and end, by run; touched by the loop's thread only.
        self.under_way: collections.Counter[int | None] = collections.Counter()
        self.uncontained = Uncontained()
        self.connections: set[Connection] = set()
        self._peers: dict[str, set[int]] = {}
        self._busy_at = 0.0
        self.tested = Tested(self)
        self.duties = Duties(self)
        self.separation = "embedded: agent and node share one user"
        self._begin(book)
        self.storage.follow()

    def _put_up_fence(self, book: Book) -> None:
        """Who may start anything stands before anybody is heard."""
        for agent, row in book.state.agent.items():
            self.fence.set(agent, row.authority, row.epoch)
            if row.key is None:
                self.fence.take_key(agent)
        self.scopes = Scopes(self, book.state)
        self.fence.inherit(seq for seq, action in book.state.action.items() if action.state == "open")

    def _tool_runner(self) -> ToolRunner:
        runner = ToolRunner(
            self.writer, self.fence, self.calls, self.marker_prefix, self.settings.node.output_cap_bytes,
            self.workspace.path, self.clock,
        )  # fmt: skip
        runner.tools = lambda: self.settings.tools
        return runner

    @property
    def marker_prefix(self) -> str:
        """How a tool's processes are known to be this ledger's, whatever node started them."""
        return f"{self.origin}/"

    def _begin(self, book: Book) -> None:
        """The first entries of a node: time, what was found of the one before, what was proven about stopping."""
        prefixes = [prefix for origin in self.origins for prefix in (f"{origin}/", marker_of(origin))]
        self.leftovers = sweep_node(self.workspace.runtime, self.workspace.orders, prefixes)
        test = self.tested.begin()
        self.self_test: dict[str, Any] = test.as_record()["kill"]
        if self.writer.read_only is not None:
            self.writer.start()
            alarm = Alarm(self.writer, lambda: mail_of(self), self.origin, self.workspace.runtime)
            alarm.give(self.writer.read_only, self.writer.seals.newest)
            return
        clock = book.clock_draft()
        mended = mended_drafts(book, "storage", "guard", *(("stopping",) if test.passed else ()))
        self.writer.start()
        if clock is not None:
            write_now(self.writer, (clock,))
        recovered = recover(
            self.writer, self.workspace.orders, self.leftovers,
            lambda cut: self.runner.endings.recovered(cut, self.settings.tools),
        )  # fmt: skip
        self.runner.endings.ask_again(self.settings.tools)
        body = kinds.NodeStarted(
            software=f"failwell/{VERSION}", pid=self.pid, separation=self.separation, self_test=self.self_test,
            recovered=recovered,
        )  # fmt: skip
        begun = (Draft(body=body, actor="node"), *self._held.drafts(), *self.tested.drafts(), *mended)
        write_now(self.writer, (*begun, *rules_drafts(book), *self.proving.begin()))
        self.tested.bar(test)

    # -- observers of the writer (its thread) ------------------------------------------------------------------

    def _before(self, entry: Entry[Any]) -> None:
        """What restricts takes effect before it is durable (I8); what runs is told to stand still, not awaited."""
        body = entry.body
        if isinstance(body, kinds.AuthorityChanged) and entry.agent is not None:
            if body.now in ("SUSPENDED", "RETIRED"):
                self.fence.close(entry.agent, body.epoch)
            elif body.now == "RESTRICTED" or body.was == "OBSERVED":
                self.fence.bump(entry.agent, body.epoch)
        elif isinstance(body, kinds.InterruptOrdered):
            self.runner.freeze(body.actions)
        self.scopes.before(entry)
        self.proving.before(entry)
        self.sessions.before(entry)
        self.measuring.before(entry)

    def _after(self, entries: list[Entry[Any]]) -> None:
        """What permits takes effect only now that it is durable; ordered stops are delivered."""
        for entry in entries:
            body = entry.body
            if isinstance(body, kinds.InterruptOrdered):
                self.runner.interrupt(body.actions)
            elif isinstance(body, kinds.AuthorityChanged) and entry.agent is not None:
                self.fence.set(entry.agent, body.now, body.epoch)
                self.duties.revoker.wake()
            elif isinstance(body, kinds.HoldPlaced):
                self.writer.seals.wait(entry.seq + 1)  # triggered, not awaited: what is held is pinned at once
            elif isinstance(body, kinds.PageQueued | kinds.InterruptConfirmed | kinds.InterruptUnconfirmed):
                self.outbox.wake()
            elif isinstance(body, kinds.Config):
                self._take_settings(settings.settings_from_text(body.text))
            else:
                self.scopes.after(entry)
                self.proving.after(entry)
        self.measuring.after(entries)
        self.sessions.after(entries)
        self.heads.follow(entries, self.writer)

    def _dropped(self, entries: list[Entry[Any]]) -> None:
        """The store took none of them."""
        self.uncontained.dropped(entries, self.writer)
        self.proving.dropped(entries)
        self.sessions.dropped()
        self.measuring.dropped()

    def _take_settings(self, taken: settings.Settings) -> None:
        """New settings are in force from their entry on: for the next tool, page and reading of a log."""
        self.settings = taken
        self.proving.passed.doubted()
        self.runner.output_cap_bytes = taken.node.output_cap_bytes
        self.outbox.take_settings(mail_of(self), shared_of(self))
        self.sources.take_settings(taken.sources)
        self.sessions.take_settings()
        self.executor.keep_warm(taken.node.warm_supervisors)

    def _drain_orders(self) -> None:
        """Carry out what was left in `orders/` before the next batch (D2); one stat when nothing is new.

        Attack: an older record does not know who ordered, or whom to stop, and the order would be put away for that.
        """
        if self.writer.read_only is not None:
            return  # it stays for the first node that may write
        self.mailbox.take(lambda signed: self.writer.submit(left_order(signed), CONTAINMENT))

    async def wait_for_orders(self) -> None:
        """Let the writer carry out what lies unread in `orders/` before anything starts; bounded."""
        for _ in range(WAIT_TRIES):
            if not self.fence.unread() or self.writer.read_only is not None:
                return
            await self.writer.submit_async(lambda turn: Plan((), _nothing))
            if self.fence.unread():
                await asyncio.sleep(WAIT_S)

    # -- what clients ask for ----------------------------------------------------------------------------------

    async def execute(self, verdict: Verdict, permit: Permit, arguments: bytes, prepared: Prepared) -> Result:
        """Run an allowed and prepared action under a supervisor."""
        started = await told_here(self.runner.start(verdict, permit, arguments, prepared))
        return await told_here(started)

    def crowded(self) -> bool:
        """Whether callers hold half of the files that this process may open."""
        return len(self.connections) > resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2

    def note_peer(self, agent: str, pid: int) -> None:
        self._peers.setdefault(agent, set()).add(pid)

    def shares_process(self, agent: str, pid: int) -> bool:
        """Whether `agent` proved itself from the process `pid` too."""
        return pid in self._peers.get(agent, ())

    # -- serve -------------------------------------------------------------------------------------------------

    async def serve(self, *, idle_s: int | None, ready: Any = None) -> None:
        """Answer on the workspace's socket until `stop` is called or nobody needs the node for `idle_s` seconds.

        `idle_s`: 0 is for ever, None what the settings in force say.
        """
        self.loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self.workspace.socket.unlink(missing_ok=True)
        old_mask = os.umask(0o077)
        try:
            server = await self.loop.create_unix_server(self._connect, str(self.workspace.socket), backlog=256)
        finally:
            os.umask(old_mask)
        self.outbox.start()
        if ready is not None:
            ready()
        self._busy_at = self.loop.time()
        reader = watch.WitnessReader(self)
        absent = AbsentGuard(self.workspace, self.writer.read_only)
        self._held.serve()
        try:
            while not self._stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), TICK_S)
                await self._tick(reader)
                if not self.writer.alive or await absent.is_back():
                    break  # a node that can record nothing makes room for one that can
                limit_s = self.settings.node.idle_s if idle_s is None else idle_s
                if limit_s and self._idle_for() > limit_s:
                    self.stop()
        finally:
            self._held.end(on_purpose=self._stopping.is_set())
            await self.duties.end()
            server.close()
            self.workspace.socket.unlink(missing_ok=True)

    def _connect(self) -> Connection:
        connection = Connection(self, self.connections.discard)
        self.connections.add(connection)
        return connection

    async def _tick(self, reader: watch.WitnessReader) -> None:
        """Housekeeping: refusals become entries, witnesses are read, orders left behind are noticed."""
        with contextlib.suppress(FailwellError):
            drafts = self.refusals.take()
            if drafts:
                await self.writer.submit_async(lambda turn: Plan(drafts, _nothing))
            self.uncontained.tick(self.writer)
            self.given_orders.tick()
            self.runner.ends.tick()
            self.sessions.tick(self.loop.time())
            await self.wait_for_orders()
            await self.duties.tick(self.loop.time())
            await reader.read()

    def _idle_for(self) -> float:
        now = self.loop.time()
        state = self.writer.book.state
        asked = any(row.state != "over" for row in state.escalation.values())
        if self.connections or self.fence.running() or state.page or state.check or asked or self.duties.busy():
            self._busy_at = now
        return now - self._busy_at

    def stop(self) -> None:
        """End `serve`; safe to call from a signal handler of the loop."""
        self._stopping.set()

    def close(self, reason: str) -> None:
        """Stop what runs, say so in the record, close the ledger, give the workspace free."""
        self._held.end()
        for running in self.fence.running():
            self.fence.close(running.agent, 0)
        self.runner.close()
        self.calls.close()
        self.runner.endings.close()
        self.preserver.close()
        self.outbox.close()
        with contextlib.suppress(FailwellError):
            write_now(self.writer, self.refusals.take(everything=True))
            self.writer.submit(self.heads.write, CONTAINMENT).result()
            write_now(self.writer, (Draft(body=kinds.NodeStopped(reason=reason), actor="node"),))
        self.writer.close()
        self._held.release()


#: The children of the node process that are no tools and run in sessions of their own: it has none.
_nobody: Callable[[], tuple[int, ...]] = tuple


def _nothing(_: Any) -> None:
    return None
