"""One launch on the node's side: its supervisor process, the socket to it, and what it has said so far.

Holds state and sends without ever blocking; the executor's thread reads and decides.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import Protocol

from failwell.execute.frames import FrameReader
from failwell.execute.processes import boottime_us, read_stat, send_signal
from failwell.execute.results import ended_from_supervisor
from failwell.ports.executor import Ended, Launch, Process

TAKE_OVER_US = 2_500_000
"""How long an order may go unanswered; a supervisor's own bounds (freeze and kill) add up to less."""
START_BOUND_US = 1_000_000
"""How long a supervisor that stood by may take to say that it starts its tool."""
READ_BYTES = 1024 * 1024


class Child(Protocol):
    """A child of this process, as `subprocess.Popen` gives one."""

    pid: int

    def wait(self, timeout: float | None = None) -> int:
        """Collect it; its exit code, minus a signal's number; raises subprocess.TimeoutExpired."""

    def kill(self) -> None:
        """SIGKILL it."""


class Channel:
    """A supervisor as the node knows it."""

    def __init__(
        self,
        launch: Launch,
        ended: Callable[[Ended], None],
        child: Child,
        sock: socket.socket,
        *,
        warm: bool = False,
    ) -> None:
        """`warm`: it stood by before it got this launch."""
        self.launch = launch
        self.ended = ended
        self.child = child
        self.sock = sock
        self.reader = FrameReader()
        self.outgoing = bytearray()
        self.started_us = boottime_us()
        self.warm = warm
        self.starting = False
        self.halted = self.at_end = self.confused = False
        self.result: Ended | None = None
        self.tool_pid: int | None = None
        self.ordered_us: int | None = None
        self.done_us: int | None = None
        self._sending = threading.Lock()
        stat = read_stat(child.pid)
        self.process = Process(child.pid, stat.start_ticks if stat else 0)

    def send(self, data: bytes, handles: tuple[int, ...] = ()) -> bool:
        """Queue and try to send at once, from any thread; True when everything went out.

        `handles` go with the first byte, so nothing may wait before it: a launch is the first word to a supervisor,
        and one that gets it without them starts nothing.
        """
        with self._sending:
            self.outgoing += data
            try:
                if handles:
                    del self.outgoing[: socket.send_fds(self.sock, [self.outgoing], handles)]
                while self.outgoing:
                    del self.outgoing[: self.sock.send(self.outgoing)]
            except BlockingIOError:
                return False
            except OSError:
                self.outgoing.clear()  # the supervisor is gone: the end of its socket tells the thread
                with contextlib.suppress(OSError):
                    self.sock.shutdown(socket.SHUT_WR)  # or so many descriptors were on their way that it got nothing
            return True

    def read(self) -> bool:
        """Take what has arrived; False when nothing has, which is for ever if the socket's end has."""
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self.at_end = not data
        self.reader.feed(data)
        return bool(data)

    def hear(self) -> None:
        """Go through what was read; raises ValueError, KeyError or TypeError if it makes no sense."""
        while (frame := self.reader.take()) is not None:
            header, blobs = frame
            kind = header["kind"]
            if kind == "starting":
                self.starting = True
            elif kind == "started" and isinstance(header["pid"], int):
                self.tool_pid = header["pid"]
            elif kind == "output" and self.launch.heard is not None:
                self.launch.heard(blobs[0])
            elif kind == "ended":
                self.result = ended_from_supervisor(self.launch, header, blobs, self.ordered_us is not None)

    def await_start(self) -> bool:
        """Wait until one that stood by says that it starts its tool; False: it is dead, and has started nothing.

        INVARIANT: False only on proof, so that the tool may be started by another. It says "starting" before it starts
        anything; so a supervisor that is dead and collected, and has not said it in all that it wrote, started nothing.
        One that ended of its own will had been told to stop: nobody may start the tool then, and it gives True.
        """
        until = boottime_us() + START_BOUND_US
        try:
            while not self.starting:
                poll = select.poll()
                poll.register(self.sock, select.POLLIN | (select.POLLOUT if self.outgoing else 0))
                left = until - boottime_us()
                ready = poll.poll(left / 1000) if left > 0 else []
                if any(events & select.POLLOUT for _, events in ready):
                    self.send(b"")
                    until = boottime_us() + START_BOUND_US  # it reads
                if any(events & ~select.POLLOUT for _, events in ready):
                    self.read()
                    self.hear()
                if not ready or self.at_end:
                    return not self._has_started_nothing()
        except (ValueError, KeyError, TypeError):
            self.confused = True
        return True

    def _has_started_nothing(self) -> bool:
        self.child.kill()
        try:
            code = self.child.wait(TAKE_OVER_US / 1e6)
        except subprocess.TimeoutExpired:
            return False
        while self.read():
            self.hear()
        return code != 0 and not self.starting

    def take_orders(self, other: Channel) -> None:
        """Stand where another stood: what was ordered of it is ordered of this one."""
        self.halted, self.ordered_us = other.halted, other.ordered_us

    def signal(self, number: int) -> None:
        """Signal the supervisor itself, and nobody who got its pid after it."""
        send_signal(self.process.pid, self.process.start_ticks, number)

    def collect(self) -> None:
        """Wait (bounded, then by force) until the supervisor is dead, so that its orphans are ours."""
        self.sock.close()
        try:
            self.child.wait(TAKE_OVER_US / 1e6)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def look_after(self, now_us: int) -> None:
        """Wake a supervisor that was stopped; kill one that does not answer, so that the node sweeps
        itself."""
        stat = read_stat(self.process.pid)
        if stat is not None and stat.start_ticks == self.process.start_ticks and stat.state in "Tt":
            self.signal(signal.SIGCONT)
        due = self.ordered_us if self.done_us is None else self.done_us
        if due is None and self.launch.deadline_us is not None:
            due = self.started_us + self.launch.deadline_us
        if due is not None and now_us > due + TAKE_OVER_US:
            self.signal(signal.SIGKILL)
