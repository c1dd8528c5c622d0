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
from failwell.execute.frames import FrameReader, encode_frame
from failwell.execute.orphans import Orphans
from failwell.execute.processes import boottime_us, read_stat, send_signal
from failwell.execute.records import clear_stale_records, read_boot_id, record_path
from failwell.execute.reports import read_json, report_path, write_atomically
from failwell.execute.results import ended_from_report, ended_from_supervisor, ended_without_supervisor
from failwell.execute.selftest import run_self_test
from failwell.execute.start import become_subreaper
from failwell.ports.executor import MARKER_VARIABLE, Ended, Launch, Process, SelfTest

SUPERVISOR = str(Path(__file__).with_name("supervisor.py"))
TAKE_OVER_US = 2_500_000
LOOK_EVERY_S = 0.5
CLOSE_BOUND_S = 6.0
READ_BYTES = 1024 * 1024


class _Supervised:
    """One launch on the node's side: its supervisor, the socket to it, and what it has said so far."""

    def __init__(
        self,
        launch: Launch,
        ended: Callable[[Ended], None],
        child: subprocess.Popen[bytes],
        sock: socket.socket,
    ) -> None:
        self.launch = launch
        self.ended = ended
        self.child = child
        self.sock = sock
        self.reader = FrameReader()
        self.outgoing = bytearray()
        self.lock = threading.Lock()
        self.started_us = boottime_us()
        self.starting = False
        self.tool_pid: int | None = None
        self.ordered_us: int | None = None
        self.done = False
        stat = read_stat(child.pid)
        self.process = Process(child.pid, stat.start_ticks if stat else 0)

    def send(self, data: bytes) -> bool:
        """Queue and try to send at once, from any thread; True when everything went out. Never blocks."""
        with self.lock:
            self.outgoing += data
            try:
                while self.outgoing:
                    del self.outgoing[: self.sock.send(self.outgoing)]
            except BlockingIOError:
                return False
            except OSError:
                self.outgoing.clear()  # the supervisor is gone; its end of the socket tells the thread
            return True

    def signal(self, number: int) -> None:
        send_signal(self.process.pid, self.process.start_ticks, number)


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
        self._running: dict[int, _Supervised] = {}
        self._children: set[int] = set()
        self._orphans = Orphans(self._list_children, spare)
        self._arrived: deque[_Supervised] = deque()
        self._closing = False
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake_end = os.pipe()
        for fd in (self._woken, self._wake_end):
            os.set_blocking(fd, False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="failwell-executor", daemon=True)
        self._thread.start()

    # -- called by the node, from any thread -------------------------------------------------------

    def launch(self, launch: Launch, ended: Callable[[Ended], None]) -> Process:
        """Start a supervisor for one tool; raises Refused or Unhealthy when nothing was started."""
        if not launch.command or any("\0" in part for part in launch.command):
            raise Refused("the tool has no command that can be executed")
        with self._lock:
            if self._closing or not self._thread.is_alive():
                raise Unhealthy("the executor is closed", hint="start the node again")
            if launch.action in self._running:
                raise Refused(f"action {launch.action} is running already")
            try:
                supervised = self._spawn(launch, ended)
            except OSError as error:
                raise Unhealthy(f"no supervisor could be started: {error}") from error
            self._children.add(supervised.process.pid)
            self._running[launch.action] = supervised
        # INVARIANT: the record is on disk before the supervisor learns what to start, so that a suspension
        # finds every running tool also while this process is wedged.
        supervised.send(self._encode_launch(launch))
        self._arrived.append(supervised)
        self._wake()
        return supervised.process

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
            return {action: supervised.process for action, supervised in self._running.items()}

    def self_test(self) -> SelfTest:
        """Show what stopping does here; where a pid namespace proves usable, later launches use it as
        well.
        """

        def make(runtime_dir: Path, report_dir: Path, namespace: bool) -> SupervisedExecutor:
            return SupervisedExecutor(
                runtime_dir, report_dir, interpreter=self._interpreter, pid_namespace=namespace
            )

        result = run_self_test(self._interpreter, make)
        self._pid_namespace = result.pid_namespace
        return result

    def close(self) -> None:
        """Kill what runs, wait (bounded) for its end, end the thread."""
        with self._lock:
            self._closing = True
            running = list(self._running)
        for action in running:
            self.interrupt(action)
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_BOUND_S)

    # -- starting ----------------------------------------------------------------------------------

    def _spawn(self, launch: Launch, ended: Callable[[Ended], None]) -> _Supervised:
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
                    env={"PATH": os.defpath, "LC_ALL": "C"},
                )
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        supervised = _Supervised(launch, ended, child, ours)
        try:
            write_atomically(
                str(record_path(self._records, launch.action)), self._record(supervised), durable=False
            )
        except OSError:
            ours.close()  # it has been told nothing, so it ends without having started anything
            child.kill()
            child.wait()
            raise
        return supervised

    def _record(self, supervised: _Supervised) -> dict[str, object]:
        return {
            "action": supervised.launch.action,
            "agent": supervised.launch.agent,
            "tool": supervised.launch.tool,
            "pid": supervised.process.pid,
            "start_ticks": supervised.process.start_ticks,
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
            supervised = self._running.get(action)
        if supervised is None:
            return
        if kind == "kill" and supervised.ordered_us is None:
            supervised.ordered_us = boottime_us()
        if not supervised.send(encode_frame({"kind": kind})):
            self._wake()
        # The tool may have stopped its supervisor so that no order is heard.
        supervised.signal(signal.SIGCONT)

    def _wake(self) -> None:
        try:
            os.write(self._wake_end, b"\0")
        except BlockingIOError:
            return  # the pipe is full of wake-ups: it will wake

    def _list_children(self) -> set[int]:
        with self._lock:
            return set(self._children)

    # -- the executor's thread ---------------------------------------------------------------------

    def _run(self) -> None:
        """Serve all supervisors; if this ever ends by an error, their sockets close and they kill their
        tools.
        """
        try:
            while not (self._closing and not self._children):
                for key, events in self._selector.select(LOOK_EVERY_S if self._children else None):
                    supervised = key.data
                    if supervised is None:
                        os.read(self._woken, 4096)
                    else:
                        self._serve(supervised, events)
                self._admit()
                self._look_after()
        finally:
            self._closing = True
            for key in list(self._selector.get_map().values()):
                if isinstance(key.fileobj, socket.socket):
                    key.fileobj.close()
            self._selector.close()

    def _admit(self) -> None:
        while self._arrived:
            supervised = self._arrived.popleft()
            self._selector.register(supervised.sock, selectors.EVENT_READ, supervised)
        for key in list(self._selector.get_map().values()):
            if key.data is not None and key.data.outgoing:
                self._selector.modify(key.fileobj, selectors.EVENT_READ | selectors.EVENT_WRITE, key.data)

    def _serve(self, supervised: _Supervised, events: int) -> None:
        if events & selectors.EVENT_WRITE and supervised.send(b""):
            self._selector.modify(supervised.sock, selectors.EVENT_READ, supervised)
        if not events & selectors.EVENT_READ:
            return
        try:
            data = supervised.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._bury(supervised)
            return
        supervised.reader.feed(data)
        try:
            self._hear(supervised)
        except (ValueError, KeyError, TypeError):
            self._bury(supervised)  # what it says makes no sense: not to be believed about anything else

    def _hear(self, supervised: _Supervised) -> None:
        while (frame := supervised.reader.take()) is not None:
            header, blobs = frame
            kind = header["kind"]
            if kind == "starting":
                supervised.starting = True
            elif kind == "started" and isinstance(header["pid"], int):
                supervised.tool_pid = header["pid"]
            elif kind == "ended":
                ordered = supervised.ordered_us is not None
                self._tell(supervised, ended_from_supervisor(supervised.launch, header, blobs, ordered))
                supervised.send(encode_frame({"kind": "acknowledged"}))

    def _tell(self, supervised: _Supervised, ended: Ended) -> None:
        if supervised.done:
            return
        supervised.done = True
        record_path(self._records, supervised.launch.action).unlink(missing_ok=True)
        with self._lock:
            self._running.pop(supervised.launch.action, None)
        supervised.ended(ended)

    def _bury(self, supervised: _Supervised) -> None:
        """Deal with a supervisor that has closed its socket: the usual end, or its death before a result."""
        self._selector.unregister(supervised.sock)
        supervised.sock.close()
        try:
            supervised.child.wait(0.5)
        except subprocess.TimeoutExpired:
            supervised.child.kill()
            supervised.child.wait()
        with self._lock:
            self._children.discard(supervised.process.pid)
        if supervised.done:
            return
        reported = self._read_report(supervised)
        if reported is not None:
            self._tell(supervised, reported)
            return
        swept = self._orphans.sweep(supervised.launch.marker, supervised.process, supervised.tool_pid)
        self._tell(
            supervised,
            ended_without_supervisor(
                supervised.launch,
                supervised.started_us,
                supervised.starting,
                swept,
                supervised.ordered_us is not None,
            ),
        )

    def _read_report(self, supervised: _Supervised) -> Ended | None:
        """Take a result that we did not read in time from the report: only the tool's bytes are lost then."""
        try:
            report = read_json(report_path(str(self._reports), supervised.launch.action))
            if report is None or report["supervisor"] != supervised.process.pid:
                return None
            ended = ended_from_report(supervised.launch, report)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # an unreadable report proves nothing
        return ended if ended.started_us >= supervised.started_us else None

    def _look_after(self) -> None:
        """Wake supervisors that were stopped, and replace by a sweep of ours those that do not answer an
        order.
        """
        now = boottime_us()
        with self._lock:
            running = list(self._running.values())
        for supervised in running:
            stat = read_stat(supervised.process.pid)
            if stat is not None and stat.key == _key(supervised.process) and stat.state in "Tt":
                supervised.signal(signal.SIGCONT)
            deadline = supervised.launch.deadline_us
            if deadline is not None and now - supervised.started_us > deadline + TAKE_OVER_US:
                supervised.ordered_us = supervised.ordered_us or now - TAKE_OVER_US - 1
            if supervised.ordered_us is not None and now - supervised.ordered_us > TAKE_OVER_US:
                supervised.signal(signal.SIGKILL)  # its socket ends, and `_bury` sweeps


def _key(process: Process) -> tuple[int, int]:
    return (process.pid, process.start_ticks)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
