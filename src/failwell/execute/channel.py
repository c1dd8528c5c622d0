"""One launch on the node's side: its supervisor process, the socket to it, and what it has said so far.

Holds state and sends without ever blocking; the executor's thread reads and decides.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Callable

from failwell.execute.frames import FrameReader
from failwell.execute.processes import boottime_us, read_stat, send_signal
from failwell.ports.executor import Ended, Launch, Process

TAKE_OVER_US = 2_500_000
"""How long an order may go unanswered; a supervisor's own bounds (freeze and kill) add up to less."""


class Channel:
    """A supervisor as the node knows it."""

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
        self.started_us = boottime_us()
        self.starting = False
        self.tool_pid: int | None = None
        self.ordered_us: int | None = None
        self.done_us: int | None = None
        self._sending = threading.Lock()
        stat = read_stat(child.pid)
        self.process = Process(child.pid, stat.start_ticks if stat else 0)

    def send(self, data: bytes) -> bool:
        """Queue and try to send at once, from any thread; True when everything went out."""
        with self._sending:
            self.outgoing += data
            try:
                while self.outgoing:
                    del self.outgoing[: self.sock.send(self.outgoing)]
            except BlockingIOError:
                return False
            except OSError:
                self.outgoing.clear()  # the supervisor is gone: the end of its socket tells the thread
            return True

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
