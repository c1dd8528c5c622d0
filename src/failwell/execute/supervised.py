"""The `supervised` executor class: the node's side of the supervisors (design D27), on one thread.

Implements `ports.executor.Executor`. Every tool runs under its own supervisor process; this side starts
supervisors, sends orders, and takes results. It also makes the node a subreaper: when a tool kills its
supervisor, the orphans come to us, and are swept here. What it does not do: it decides nothing about
permission, and it cannot stop what a tool had another daemon start for it (such a tool is `unstoppable`).
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from failwell.core.errors import Refused, Unhealthy
from failwell.execute.channel import Channel
from failwell.execute.frames import encode_frame
from failwell.execute.orphans import Orphans
from failwell.execute.processes import boottime_us
from failwell.execute.records import clear_stale_records, read_boot_id, record_path
from failwell.execute.reports import read_json, report_path, write_atomically
from failwell.execute.results import ended_from_report, ended_from_supervisor, ended_without_supervisor
from failwell.execute.selftest import run_self_test
from failwell.execute.start import become_subreaper
from failwell.ports.executor import MARKER_VARIABLE, Ended, Launch, Process, SelfTest

SUPERVISOR = str(Path(__file__).with_name("supervisor.py"))
LOOK_EVERY_S = 0.5
CLOSE_BOUND_S = 6.0
READ_BYTES = 1024 * 1024


class SupervisedExecutor:
    """Runs each tool under a supervisor of its own; see `ports.executor.Executor`.

    `runtime_dir` gets `running/<action>.json` while a tool runs, `report_dir` what supervisors report
    without a node. `interpreter` is the Python that supervisors run on. `spare` names children of this
    process that run in sessions of their own and are not tools; given it, every other such child is taken
    for an orphan of a tool and killed; without it, orphans that cannot be attributed make the outcome
    `interrupted_unconfirmed`. `pid_namespace` adds a namespace to the sweep; `self_test` switches it on
    where it proves that it works.
    """

    def __init__(
        self,
        runtime_dir: Path,
        report_dir: Path,
        *,
        interpreter: str = sys.executable,
        pid_namespace: bool = False,
        spare: Callable[[], Iterable[int]] | None = None,
    ) -> None:
        self._records = runtime_dir / "running"
        self._reports = report_dir
        self._interpreter = interpreter
        self._pid_namespace = pid_namespace
        self._boot_id = read_boot_id()
        for directory in (runtime_dir, self._records, report_dir):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        clear_stale_records(runtime_dir)
        become_subreaper()
        self._lock = threading.Lock()
        self._running: dict[int, Channel] = {}
        self._spawning = threading.Lock()
        self._children: dict[int, Channel] = {}
        self._orphans = Orphans(self._list_children, spare)
        self._arrived: deque[Channel] = deque()
        self._closing = False
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake_end = socket.socketpair()
        for end in (self._woken, self._wake_end):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._looked_us = 0
        self._thread = threading.Thread(target=self._run, name="failwell-executor", daemon=True)
        self._thread.start()

    # -- called by the node, from any thread -------------------------------------------------------

    def launch(self, launch: Launch, ended: Callable[[Ended], None]) -> Process:
        """Start a supervisor for one tool; raises Refused or Unhealthy when nothing was started."""
        if not launch.command or any("\0" in part for part in launch.command):
            raise Refused("the tool has no command that can be executed")
        with self._spawning:
            if self._closing:
                raise Unhealthy("the executor is closed", hint="start the node again")
            if launch.action in self._running:
                raise Refused(f"action {launch.action} is running already")
            try:
                channel = self._spawn(launch, ended)
            except OSError as error:
                raise Unhealthy(f"no supervisor could be started: {error}") from error
            with self._lock:
                self._children[channel.process.pid] = channel
                self._running[launch.action] = channel
        # INVARIANT: the record is on disk before the supervisor learns what to start, so that a suspension
        # finds every running tool also while this process is wedged.
        channel.send(self._encode_launch(launch))
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

    def running(self) -> dict[int, Process]:
        """Give the supervisors of the actions whose end has not been told yet."""
        with self._lock:
            return {action: channel.process for action, channel in self._running.items()}

    def self_test(self) -> SelfTest:
        """Show what stopping does here; launches after it use a pid namespace where that proved to work."""

        def make(runtime_dir: Path, report_dir: Path, namespace: bool) -> SupervisedExecutor:
            return SupervisedExecutor(runtime_dir, report_dir, interpreter=self._interpreter, pid_namespace=namespace)

        result = run_self_test(self._interpreter, make)
        self._pid_namespace = result.pid_namespace
        return result

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

    def _spawn(self, launch: Launch, ended: Callable[[Ended], None]) -> Channel:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                child = subprocess.Popen(
                    [self._interpreter, "-I", "-S", SUPERVISOR, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=None if _is_open(2) else subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # a terminal's Ctrl-C is not for supervisors
                    env=self._environment(),
                )
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        channel = Channel(launch, ended, child, ours)
        try:
            write_atomically(str(record_path(self._records, launch.action)), self._record(channel), durable=False)
        except OSError:
            ours.close()  # it has been told nothing, so it ends without having started anything
            child.kill()
            child.wait()
            raise
        return channel

    def _environment(self) -> dict[str, str]:
        """Give a supervisor nothing but what its interpreter may need to load."""
        kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        return {"PATH": os.defpath, "LC_ALL": "C", **kept}

    def _record(self, channel: Channel) -> dict[str, object]:
        return {
            "action": channel.launch.action,
            "agent": channel.launch.agent,
            "tool": channel.launch.tool,
            "pid": channel.process.pid,
            "start_ticks": channel.process.start_ticks,
            "boot_id": self._boot_id,
        }

    def _encode_launch(self, launch: Launch) -> bytes:
        header: dict[str, object] = {
            "kind": "launch",
            "node": os.getpid(),
            "action": launch.action,
            "agent": launch.agent,
            "tool": launch.tool,
            "command": list(launch.command),
            "cwd": launch.cwd,
            "env": {**launch.env, MARKER_VARIABLE: launch.marker},
            "deadline_us": launch.deadline_us,
            "output_cap_bytes": launch.output_cap_bytes,
            "report_dir": str(self._reports.absolute()),
            "pid_namespace": self._pid_namespace,
        }
        return encode_frame(header, launch.stdin)

    def _order(self, action: int, kind: str) -> None:
        with self._lock:
            channel = self._running.get(action)
        if channel is None:
            return
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
                for key, events in self._selector.select(LOOK_EVERY_S if self._children else None):
                    if key.data is None:
                        self._woken.recv(4096)
                    else:
                        self._serve(key.data, events)
                self._admit()
                self._look_after()
        finally:
            with self._spawning:
                self._closing = True
            for channel in list(self._children.values()):
                channel.sock.close()  # all first: each supervisor takes that for the node's death, and kills
            for channel in list(self._children.values()):
                self._bury(channel)
            self._selector.close()
            self._woken.close()
            self._wake_end.close()

    def _admit(self) -> None:
        while self._arrived:
            channel = self._arrived.popleft()
            self._selector.register(channel.sock, selectors.EVENT_READ, channel)
        for key in list(self._selector.get_map().values()):
            if key.data is not None and key.data.outgoing:
                self._selector.modify(key.fileobj, selectors.EVENT_READ | selectors.EVENT_WRITE, key.data)

    def _serve(self, channel: Channel, events: int) -> None:
        if events & selectors.EVENT_WRITE and channel.send(b""):
            self._selector.modify(channel.sock, selectors.EVENT_READ, channel)
        if not events & selectors.EVENT_READ:
            return
        try:
            data = channel.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(channel.sock)
            self._bury(channel)
            return
        channel.reader.feed(data)
        try:
            ended = self._hear(channel)
        except (ValueError, KeyError, TypeError):
            self._selector.unregister(channel.sock)
            self._bury(channel)  # what it says makes no sense: not to be believed about anything else
            return
        if ended is not None:
            self._tell(channel, ended)
            channel.send(encode_frame({"kind": "acknowledged"}))

    def _hear(self, channel: Channel) -> Ended | None:
        while (frame := channel.reader.take()) is not None:
            header, blobs = frame
            kind = header["kind"]
            if kind == "starting":
                channel.starting = True
            elif kind == "started" and isinstance(header["pid"], int):
                channel.tool_pid = header["pid"]
            elif kind == "ended":
                return ended_from_supervisor(channel.launch, header, blobs, channel.ordered_us is not None)
        return None

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
            self._children.pop(channel.process.pid, None)
        if channel.done_us is not None:
            return
        reported = self._read_report(channel)
        if reported is not None:
            self._tell(channel, reported)
            return
        swept = self._orphans.sweep(channel.launch.marker, channel.process, channel.tool_pid)
        ordered = channel.ordered_us is not None
        self._tell(
            channel,
            ended_without_supervisor(channel.launch, channel.started_us, channel.starting, swept, ordered),
        )

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


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
