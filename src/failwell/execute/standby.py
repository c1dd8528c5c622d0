"""The node's side of the nursery: supervisors that stand by, so that a tool starts without waiting for an interpreter.

`Standby` keeps so many, hands one out when a tool is launched, and has another forked. What is dead, stopped or slow
is not handed out: the caller then starts a supervisor of its own, so that nothing here can cost a launch. It sends no
launch itself, and knows nothing of what becomes of one.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections import deque

from failwell.execute.processes import read_stat, scan_processes
from failwell.execute.spawning import spawn_beside

PATIENCE_S = 0.03
"""How long a launch waits for one to be forked while the nursery forks nothing at all."""
WEDGED_S = 5.0
"""How long the nursery may leave a request unanswered; then it is replaced."""
RESTART_S, RESTART_MOST_S = 1.0, 60.0
"""How soon after its start another nursery may follow; doubled for each that never answered."""
REFILL_S = 0.02
"""How long after a launch another is forked while one still stands by: the tool has the processors until then."""
REAP_S = 0.02
CLOSE_BOUND_S = 1.0


class Adopted:
    """A child of this process that came to it as its subreaper: waited for by its pid, as `subprocess` would."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._waiting = threading.Lock()

    def poll(self) -> int | None:
        """Collect it if it has ended; its exit code, minus a signal's number, None while it lives."""
        with self._waiting:
            if self.returncode is None:
                try:
                    done, status = os.waitpid(self.pid, os.WNOHANG)
                except ChildProcessError:
                    self.returncode = 0  # collected by somebody else: nothing can be said of how it ended
                else:
                    self.returncode = os.waitstatus_to_exitcode(status) if done else None
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises subprocess.TimeoutExpired."""
        until = None if timeout is None else time.monotonic() + timeout
        pause = 0.0002
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(pause)
            pause = min(2 * pause, 0.01)
        return code

    def kill(self) -> None:
        """SIGKILL it, and nobody who got its pid after it."""
        with self._waiting, contextlib.suppress(ProcessLookupError):
            if self.returncode is None:
                os.kill(self.pid, signal.SIGKILL)


class Ready:
    """A supervisor that stands by, connected and told nothing."""

    def __init__(self, child: Adopted, start_ticks: int, sock: socket.socket) -> None:
        self.child = child
        self.start_ticks = start_ticks
        self.sock = sock

    def stands(self, session: int) -> bool:
        """Whether it is alive, not stopped, ours, still among those that stand by, and silent."""
        stat = read_stat(self.child.pid)
        if stat is None or stat.start_ticks != self.start_ticks or stat.state not in "SR":
            return False
        if stat.ppid != os.getpid() or stat.session != session:
            return False
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # its end, or a word that nobody asked for


class Nursery:
    """One nursery process; its pid is also the session of all that it forked and that were not launched yet."""

    def __init__(self, interpreter: str) -> None:
        self.child, self.sock = spawn_beside(interpreter, "nursery.py", socket.SOCK_SEQPACKET)
        self.session = self.child.pid
        self.began_at = self.asked_at = time.monotonic()
        self.asked = 0
        self.answered = False
        #: Until it has answered at all, no launch waits for it.
        self.late = True

    def ask(self) -> bool:
        """Ask for one more; not awaited."""
        try:
            self.sock.send(b"+")
        except OSError:
            return False  # full or gone: its end is noticed by the thread
        if not self.asked:
            self.asked_at = time.monotonic()
        self.asked += 1
        return True

    def receive(self) -> tuple[int, int] | None:
        """Take one answer: a pid (0: it has forked none) and its descriptor (-1: there was no room for it). None: there
        is no answer. Raises EOFError when the nursery is gone or makes no sense.
        """
        try:
            data, handles, _, _ = socket.recv_fds(self.sock, 64, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError as error:
            raise EOFError from error
        handle = handles[0] if handles else -1
        if not data.isdigit():
            if handle >= 0:
                os.close(handle)
            raise EOFError
        self.asked, self.asked_at = max(0, self.asked - 1), time.monotonic()
        self.answered, self.late = True, False
        return int(data), handle

    @property
    def wedged(self) -> bool:
        return self.asked > 0 and time.monotonic() > self.asked_at + WEDGED_S


class Standby:
    """So many supervisors that stand by. `take` is called by any thread, everything else by the executor's.

    `fileno` can be waited on; `tend` must be called when it is readable, and after `due_s` seconds.
    """

    def __init__(self, interpreter: str, size: int) -> None:
        self._interpreter = interpreter
        self._size = size
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)
        self._ready: deque[Ready] = deque()
        self._received = 0
        #: Launched ones until they are collected: they may be in the nursery's session still.
        self._launched: set[int] = set()
        self._leaving: list[Adopted] = []
        self._nursery: Nursery | None = None
        #: Dead, and not collected, so that no other process can get the number of their session.
        self._past: list[Nursery] = []
        self._retry_at = self._refill_at = 0.0
        self._pause_s = RESTART_S
        self._closed = False
        self._poll = select.epoll()

    def fileno(self) -> int:
        """What becomes readable when one arrives, dies or speaks."""
        return self._poll.fileno()

    # -- from any thread -----------------------------------------------------------------------------------

    def keep(self, size: int) -> None:
        """Keep so many from now on."""
        with self._lock:
            self._size = size

    def take(self) -> Ready | None:
        """Hand one out that stands; waits for one that is being forked, as long as any are. None: none can be had."""
        with self._lock:
            while True:
                found = self._pop()
                if found is not None or self._nursery is None or not self._nursery.asked or self._nursery.late:
                    return found
                before = self._received
                if not self._came.wait(PATIENCE_S) and self._received == before and self._nursery is not None:
                    self._nursery.late = True

    def put_away(self, ready: Ready) -> None:
        """Take back one that was told nothing; another takes its place."""
        with self._lock:
            self._launched.discard(ready.child.pid)
            self._discard(ready)

    def await_full(self, timeout_s: float) -> bool:
        """Wait until as many stand by as should."""
        until = time.monotonic() + timeout_s
        with self._lock:
            while len(self._ready) < self._size and (left := until - time.monotonic()) > 0:
                self._came.wait(left)
            return len(self._ready) >= self._size

    def collected(self, pid: int) -> None:
        """A launched one is dead and waited for."""
        with self._lock:
            self._launched.discard(pid)

    def sessions(self) -> set[int]:
        """The sessions in which nothing is that was ever launched: those of the nurseries.

        A tool cannot enter one, and none of these numbers is another's while we have not waited for its owner.
        """
        with self._lock:
            return {nursery.session for nursery in (*self._past, self._nursery) if nursery is not None}

    # -- the executor's thread -----------------------------------------------------------------------------

    def tend(self) -> None:
        """See who came, who died and who is missing."""
        with self._lock:
            self._look()
            if self._nursery is not None and self._nursery.wedged:
                self._lose()
            self._reap()
            self._fill()

    def due_s(self) -> float | None:
        """After how long `tend` is due although nothing can be read; None: it is not."""
        with self._lock:
            if self._leaving or self._past:
                return REAP_S
            if self._nursery is None:
                return max(0.0, self._retry_at - time.monotonic()) if self._size and not self._closed else None
            if self._nursery.asked:
                return RESTART_S
            if len(self._ready) >= self._size:
                return None
            return max(0.001, max(self._retry_at, self._refill_at) - time.monotonic())

    def close(self) -> None:
        """End the nursery and all that stand by, by pid; waits, bounded, until they are gone."""
        with self._lock:
            self._closed = True
            self._lose()
            until = time.monotonic() + CLOSE_BOUND_S
            while (self._leaving or self._past) and time.monotonic() < until:
                self._reap()
                time.sleep(0.0005)
            self._poll.close()

    # -- with the lock held --------------------------------------------------------------------------------

    def _pop(self) -> Ready | None:
        found = None
        while self._ready and found is None:
            ready = self._ready.popleft()
            self._poll.unregister(ready.sock)
            if self._nursery is not None and ready.stands(self._nursery.session):
                self._launched.add(ready.child.pid)
                found = ready
            else:
                self._discard(ready)
        if self._ready:
            self._refill_at = time.monotonic() + REFILL_S
        else:
            self._refill_at = 0.0
            self._ask()
        return found

    def _ask(self) -> None:
        nursery = self._nursery
        if nursery is None or time.monotonic() < max(self._retry_at, self._refill_at):
            return
        while len(self._ready) + nursery.asked < self._size and nursery.ask():
            pass

    def _fill(self) -> None:
        """Have a nursery, asked for what is missing; one that cannot be had is tried again later."""
        if self._nursery is None and self._size and time.monotonic() >= self._retry_at:
            try:
                self._nursery = Nursery(self._interpreter)
            except OSError:
                self._retry_at = time.monotonic() + RESTART_S
                return  # every launch starts its own supervisor until then
            self._poll.register(self._nursery.sock, select.EPOLLIN)
        while len(self._ready) > self._size:
            self._dismiss(self._ready[-1])
        self._ask()

    def _look(self) -> None:
        for fd, _ in self._poll.poll(0):
            if self._nursery is not None and fd == self._nursery.sock.fileno():
                self._receive(self._nursery)
            else:
                for ready in [one for one in self._ready if one.sock.fileno() == fd]:
                    self._dismiss(ready)

    def _receive(self, nursery: Nursery) -> None:
        try:
            while (answer := nursery.receive()) is not None:
                self._admit(nursery, *answer)
        except EOFError:
            self._lose()
        self._came.notify_all()

    def _admit(self, nursery: Nursery, pid: int, handle: int) -> None:
        stat = read_stat(pid)
        sock = socket.socket(fileno=handle) if handle >= 0 else None
        if stat is None or sock is None or not _is_of(pid, nursery.session):
            self._retry_at = time.monotonic() + RESTART_S  # no more processes or descriptors: not asked again at once
            if sock is not None:
                sock.close()
            # Attack: a nursery that names somebody else. What is not its child and ours is not touched.
            if _is_of(pid, nursery.session):
                self._end(Adopted(pid))
            return
        sock.setblocking(False)
        self._ready.append(Ready(Adopted(pid), stat.start_ticks, sock))
        self._poll.register(sock, select.EPOLLIN)
        self._received += 1

    def _dismiss(self, ready: Ready) -> None:
        self._ready.remove(ready)
        self._poll.unregister(ready.sock)
        self._discard(ready)

    def _discard(self, ready: Ready) -> None:
        """End one that was told nothing, whatever state it is in."""
        ready.sock.close()
        self._end(ready.child)

    def _end(self, child: Adopted) -> None:
        child.kill()
        self._leaving.append(child)

    def _lose(self) -> None:
        """Do without the nursery, and without those that it forked."""
        nursery, self._nursery = self._nursery, None
        if nursery is None:
            return
        while self._ready:
            self._dismiss(self._ready[0])
        self._poll.unregister(nursery.sock)
        nursery.sock.close()
        nursery.child.kill()
        self._past.append(nursery)
        self._pause_s = RESTART_S if nursery.answered else min(2 * self._pause_s, RESTART_MOST_S)
        # Attack: a tool that kills every nursery as soon as it sees one must not keep us busy with making them.
        self._retry_at = nursery.began_at + self._pause_s
        self._came.notify_all()

    def _reap(self) -> None:
        self._leaving = [child for child in self._leaving if child.poll() is None]
        self._past = [nursery for nursery in self._past if not self._is_over(nursery)]

    def _is_over(self, nursery: Nursery) -> bool:
        """Whether nothing of a dead nursery's session is left; it is collected only then.

        What it had forked and never handed over hangs below us now, nobody's, and was never told anything.
        """
        try:
            if os.waitid(os.P_PID, nursery.session, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return False
            table = scan_processes()
        except OSError:
            return False
        known = self._launched | {child.pid for child in self._leaving}
        inside = [pid for pid, stat in table.items() if stat.session == nursery.session and pid != nursery.session]
        for pid in inside:
            if pid not in known and table[pid].ppid == os.getpid():
                self._end(Adopted(pid))
        if inside or os.getpid() not in table:  # a look without descriptors sees nobody
            return False
        nursery.child.wait()
        return True


def _is_of(pid: int, session: int) -> bool:
    """Whether this is a child of ours in that session; needs no descriptor."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return os.getsid(pid) == session
    except (OSError, OverflowError):
        return False
