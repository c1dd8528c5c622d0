"""The `supervised` executor class: the node's side of the supervisors (design D27), on one thread.

Implements `ports.executor.Executor`. Every tool runs under its own supervisor process; this side starts
supervisors, sends orders, and takes results. It also makes the node a subreaper: when a tool kills its
supervisor, the orphans come to us, and are swept here. What it does not do: it decides nothing about
permission, and it cannot stop what a tool had another daemon start for it (such a tool is `unstoppable`).
"""

from __future__ import annotations

import selectors
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from failwell.core.errors import FailwellError, Refused, Unhealthy
from failwell.execute.cgroups import Unusable, cgroup_of, find_place
from failwell.execute.channel import Channel
from failwell.execute.frames import encode_frame
from failwell.execute.launching import encode_launch, write_record
from failwell.execute.orphans import Orphans
from failwell.execute.processes import boottime_us
from failwell.execute.records import clear_stale_records, read_boot_id, record_path
from failwell.execute.reports import read_json, report_path
from failwell.execute.results import ended_from_report, ended_without_supervisor
from failwell.execute.selftest import Mechanisms, run_self_test
from failwell.execute.spawning import spawn_beside
from failwell.execute.standby import Ready, Standby
from failwell.execute.start import become_subreaper
from failwell.ports.executor import Ended, Launch, Process, SelfTest

LOOK_EVERY_S = 0.5
CLOSE_BOUND_S = 6.0
STANDBY_BOUND_S = 3.0


class SupervisedExecutor:
    """Runs each tool under a supervisor of its own; see `ports.executor.Executor`.

    `runtime_dir` gets `running/<action>.json` while a tool runs, `report_dir` what supervisors report
    without a node. `interpreter` is the Python that supervisors run on. `spare` names children of this
    process that run in sessions of their own and are not tools; given it, every other such child is taken
    for an orphan of a tool and killed; without it, orphans that cannot be attributed make the outcome
    `interrupted_unconfirmed`. `pid_namespace` adds a namespace to the sweep; `self_test` switches it on
    where it proves that it works. `cgroup` adds a cgroup for each launch, where there is a place for one. `warm`
    supervisors stand by. `unread`: whether a stop may lie somewhere that nobody has carried out yet.
    """

    def __init__(
        self,
        runtime_dir: Path,
        report_dir: Path,
        *,
        interpreter: str = sys.executable,
        pid_namespace: bool = False,
        spare: Callable[[], Iterable[int]] | None = None,
        warm: int = 0,
        unread: Callable[[], bool] = lambda: False,
        cgroup: bool = False,
    ) -> None:
        self._records = runtime_dir / "running"
        self._reports = report_dir
        self._interpreter = interpreter
        self._pid_namespace = pid_namespace
        self._cgroups: str | None = None
        self.use_cgroups(cgroup)
        self._boot_id = read_boot_id()
        for directory in (runtime_dir, self._records, report_dir):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        clear_stale_records(runtime_dir)
        become_subreaper()
        self._lock = threading.Lock()
        self._running: dict[int, Channel] = {}
        self._spawning = threading.Lock()
        self._children: dict[int, Channel] = {}
        self._unread = unread
        self._warm, self._stands = warm, True
        self._standby = Standby(interpreter, warm)
        self._orphans = Orphans(self._list_children, self._standby.sessions, spare)
        self._arrived: deque[Channel] = deque()
        self._closing = False
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake_end = socket.socketpair()
        for end in (self._woken, self._wake_end):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(self._standby, selectors.EVENT_READ)
        self._looked_us = 0
        self._thread = threading.Thread(target=self._run, name="failwell-executor", daemon=True)
        self._thread.start()

    # -- called by the node, from any thread -------------------------------------------------------

    def launch(self, launch: Launch, ended: Callable[[Ended], None]) -> Process:
        """Start a supervisor for one tool; raises Refused or Unhealthy when nothing was started."""
        if not launch.command or any("\0" in part for part in launch.command):
            raise Refused("the tool has no command that can be executed")
        channel = self._begin(launch, ended)
        if channel.warm and not channel.await_start():
            channel = self._begin_again(channel)
        self._arrived.append(channel)
        self._wake()
        return channel.process

    def freeze(self, actions: Iterable[int]) -> None:
        """Send the order to stop where they stand; not awaited."""
        for action in actions:
            self._order(action, "freeze")

    def interrupt(self, action: int) -> None:
        """Order one action to be killed; an action that has ended already is left alone."""
        self._order(action, "kill")

    def use_cgroups(self, use: bool) -> str | None:
        """Have later launches in a cgroup of their own, or not; gives why that is not possible here."""
        self._cgroups = None
        try:
            self._cgroups = find_place() if use else None
        except Unusable as error:
            return str(error)
        return None

    def running(self) -> dict[int, Process]:
        """Give the supervisors of the actions whose end has not been told yet."""
        with self._lock:
            return {action: channel.process for action, channel in self._running.items()}

    def self_test(self, marker: str = "self-test") -> SelfTest:
        """Show what stopping does here; launches after it use what proved to work. Its markers begin with `marker`."""

        def make(runtime_dir: Path, report_dir: Path, mechanisms: Mechanisms) -> SupervisedExecutor:
            made = SupervisedExecutor(
                runtime_dir, report_dir, interpreter=self._interpreter, pid_namespace=mechanisms.namespace,
                cgroup=mechanisms.cgroup, warm=int(mechanisms.warm),
            )  # fmt: skip
            if not made.await_standby(STANDBY_BOUND_S):
                made.close()
                raise Unhealthy("no supervisor stood by in time")
            return made

        result = run_self_test(self._interpreter, make, marker)
        self.use(result)
        return result

    def use(self, shown: SelfTest) -> None:
        """Have later launches use the mechanisms that were shown to work, and no other."""
        self._pid_namespace = shown.pid_namespace
        self._stands = shown.standby
        self.keep_warm(self._warm)
        if shown.cgroup != (self._cgroups is not None):
            self.use_cgroups(shown.cgroup)

    def await_standby(self, timeout_s: float) -> bool:
        """Wait until as many supervisors stand by as should; False when they do not in time."""
        return self._standby.await_full(timeout_s)

    def keep_warm(self, count: int) -> None:
        """Let so many supervisors stand by from now on, if a self-test did not show that this fails here."""
        self._warm = count
        self._standby.keep(count if self._stands else 0)
        self._wake()

    def close(self) -> None:
        """Kill what runs, wait (bounded) for its end, end the thread."""
        with self._spawning:
            self._closing = True
        for action in self.running():
            self.interrupt(action)
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_BOUND_S)

    # -- starting ----------------------------------------------------------------------------------

    def _begin(self, launch: Launch, ended: Callable[[Ended], None]) -> Channel:
        """Give the launch to a supervisor that stands by, or else to one of its own."""
        ready = self._standby.take()
        with self._spawning:
            try:
                if self._closing:
                    raise Unhealthy("the executor is closed", hint="start the node again")
                if launch.action in self._running:
                    raise Refused(f"action {launch.action} is running already")
                channel = self._spawn(launch, ended, ready)
            except BaseException:
                if ready is not None:
                    self._standby.put_away(ready)
                raise
            with self._lock:
                self._children[channel.process.pid] = channel
                self._running[launch.action] = channel
        channel.send(self._frame(launch), launch.stdio or ())
        return channel

    def _begin_again(self, silent: Channel) -> Channel:
        """Start a tool that one who stood by died over: with a supervisor of its own, unless it is to stop."""
        with self._spawning:
            if self._closing or silent.halted:
                return silent
            try:
                channel = self._spawn(silent.launch, silent.ended, None)
            except FailwellError:
                with self._lock:
                    self._forget(silent)
                    self._running.pop(silent.launch.action)
                silent.sock.close()
                record_path(self._records, silent.launch.action).unlink(missing_ok=True)
                raise
            with self._lock:
                self._forget(silent)
                self._children[channel.process.pid] = channel
                self._running[channel.launch.action] = channel
                channel.take_orders(silent)
        silent.sock.close()
        # An order that came meanwhile went to the silent one: this one is told to start nothing.
        if channel.halted:
            channel.send(encode_frame({"kind": "kill"}))
        else:
            channel.send(self._frame(channel.launch), channel.launch.stdio or ())
        return channel

    def _spawn(self, launch: Launch, ended: Callable[[Ended], None], ready: Ready | None) -> Channel:
        """Give the record of a launch and its supervisor, which was told nothing yet.

        INVARIANT: the record is on disk before the supervisor learns what to start, so that a suspension finds every
        running tool also while this process is wedged; and no order lies unread after that. Whoever leaves an order
        and then looks for records (D2) therefore either finds this one, or we find the order.
        """
        try:
            if ready is not None:
                channel = Channel(launch, ended, ready.child, ready.sock, warm=True)
            else:
                channel = Channel(launch, ended, *spawn_beside(self._interpreter, "supervisor.py", socket.SOCK_STREAM))
        except OSError as error:
            raise Unhealthy(f"no supervisor could be started: {error}") from error
        try:
            record = write_record(self._records, channel, self._boot_id)
            # What the node runs for itself, under numbers below zero, may be a part of carrying that order out; what
            # speaks over descriptors of its own is an agent's tool server.
            if (launch.action > 0 or launch.stdio is not None) and self._unread():
                record.unlink(missing_ok=True)
                raise Refused("an order was left in the workspace and is being read: nothing starts before it")
        except (OSError, Refused) as error:
            if ready is None:
                channel.sock.close()  # it has been told nothing, so it ends without having started anything
                channel.child.kill()
                channel.child.wait()
            if isinstance(error, Refused):
                raise
            raise Unhealthy(f"no supervisor could be recorded: {error}") from error
        return channel

    def _frame(self, launch: Launch) -> bytes:
        return encode_launch(launch, self._reports, pid_namespace=self._pid_namespace, cgroup=self._cgroups)

    def _order(self, action: int, kind: str) -> None:
        with self._lock:
            channel = self._running.get(action)
            if channel is None:
                return
            channel.halted = True
        if kind == "kill" and channel.ordered_us is None:
            channel.ordered_us = boottime_us()
        if not channel.send(encode_frame({"kind": kind})):
            self._wake()
        # The tool may have stopped its supervisor so that no order is heard.
        channel.signal(signal.SIGCONT)

    def _wake(self) -> None:
        try:
            self._wake_end.send(b"\0")
        except OSError:
            return  # full of wake-ups, so it will wake; or closed, and nobody is there to be woken

    def _list_children(self) -> set[int]:
        with self._spawning:  # a supervisor that was forked and is not listed yet must not look like an orphan
            return set(self._children)

    # -- the executor's thread ---------------------------------------------------------------------

    def _run(self) -> None:
        """Serve all supervisors; an error here ends everything, and every tool with it (fail closed)."""
        try:
            while not (self._closing and not self._children):
                for key, events in self._selector.select(self._rest_s()):
                    if key.fileobj is self._woken:
                        self._woken.recv(4096)
                    elif key.data is not None:
                        self._serve(key.data, events)
                self._standby.tend()
                self._admit()
                self._look_after()
        finally:
            with self._spawning:
                self._closing = True
            for channel in list(self._children.values()):
                channel.sock.close()  # all first: each supervisor takes that for the node's death, and kills
            for channel in list(self._children.values()):
                self._bury(channel)
            self._standby.close()
            self._selector.close()
            self._woken.close()
            self._wake_end.close()

    def _rest_s(self) -> float | None:
        """How long to wait when nothing happens."""
        due = self._standby.due_s()
        if not self._children:
            return due
        return LOOK_EVERY_S if due is None else min(due, LOOK_EVERY_S)

    def _admit(self) -> None:
        while self._arrived:
            channel = self._arrived.popleft()
            self._selector.register(channel.sock, selectors.EVENT_READ, channel)
            self._hear(channel)  # what it has said already
        for key in list(self._selector.get_map().values()):
            if key.data is not None and key.data.outgoing:
                self._selector.modify(key.fileobj, selectors.EVENT_READ | selectors.EVENT_WRITE, key.data)

    def _serve(self, channel: Channel, events: int) -> None:
        if events & selectors.EVENT_WRITE and channel.send(b""):
            self._selector.modify(channel.sock, selectors.EVENT_READ, channel)
        if events & selectors.EVENT_READ:
            channel.read()
            self._hear(channel)

    def _hear(self, channel: Channel) -> None:
        try:
            channel.hear()
        except (ValueError, KeyError, TypeError):
            channel.confused = True
        if channel.confused or channel.at_end:
            self._selector.unregister(channel.sock)
            self._bury(channel)  # one that makes no sense is not to be believed about anything else either
        elif channel.result is not None and channel.done_us is None:
            self._tell(channel, channel.result)
            channel.send(encode_frame({"kind": "acknowledged"}))

    def _tell(self, channel: Channel, ended: Ended) -> None:
        if channel.done_us is not None:
            return
        channel.done_us = boottime_us()
        record_path(self._records, channel.launch.action).unlink(missing_ok=True)
        with self._lock:
            self._running.pop(channel.launch.action, None)
        channel.ended(ended)

    def _bury(self, channel: Channel) -> None:
        """Deal with a supervisor that has closed its socket: the usual end, or its death before a result."""
        channel.collect()
        with self._lock:
            self._forget(channel)
        if channel.done_us is not None:
            return
        who = channel.process
        group = None if self._cgroups is None else cgroup_of(self._cgroups, who.pid, who.start_ticks)
        swept = self._orphans.sweep(channel.launch.marker, who, channel.tool_pid, group)
        # Attack: a tool writes the report itself and kills its supervisor. What is found alive gives it the lie.
        reported = self._read_report(channel) if swept.clean and not swept.stopped else None
        if reported is not None:
            self._tell(channel, reported)
            return
        ordered = channel.ordered_us is not None
        self._tell(
            channel,
            ended_without_supervisor(channel.launch, channel.started_us, channel.starting, swept, ordered),
        )

    def _forget(self, channel: Channel) -> None:
        """A supervisor is dead and collected."""
        self._children.pop(channel.process.pid, None)
        self._standby.collected(channel.process.pid)

    def _read_report(self, channel: Channel) -> Ended | None:
        """Take a result that we did not read in time from the report: only the tool's bytes are lost then."""
        try:
            report = read_json(report_path(str(self._reports), channel.launch.action))
            if report is None or report["supervisor"] != channel.process.pid:
                return None
            ended = ended_from_report(channel.launch, report)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # an unreadable report proves nothing
        return ended if ended.started_us >= channel.started_us else None

    def _look_after(self) -> None:
        """From time to time, see that no supervisor was stopped by its tool or leaves an order unanswered."""
        now = boottime_us()
        if now - self._looked_us < LOOK_EVERY_S * 500_000:
            return
        self._looked_us = now
        for channel in list(self._children.values()):
            channel.look_after(now)
