"""The process that calls over a socket, watched until it has ended and nothing that it started is left.

It is known by the kernel's own word of who connected (SO_PEERPIDFD, unix(7)), which no reuse of its pid can blur. What
it has started is found without its help: an orphan hangs below the nearest subreaper among its parent's ancestors, or
below process 1. So whatever began after it and hangs below one of its ancestors may be its own, and counts as such.
It does not stop anything. What other processes did on its behalf that it had not started is nobody's to see here.
"""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import struct
import time
from collections.abc import Iterable

from failwell.execute.processes import Stat, read_stat, scan_processes

SO_PEERPIDFD = 77
#: Looks that one question takes to find a moment in which nothing forks, and the pause between them.
LOOKS, PAUSE_S = 25, 0.004
#: How often the way up to process 1 is read again where a process on it ended meanwhile.
WALKS = 5
_HIDDEN = re.compile(r"hidepid=(?!0|off)|subset=pid")

NO_PIDFD = "this kernel does not say for good which process called"
NOT_OURS = "its process is in another pid namespace"
GONE = "the process that connected had ended before its action began: another one holds its connection"
HIDDEN = "not all processes of this machine can be seen from here"
CONNECTED = "its connection is still held by a process"
ALIVE = "its process still runs"
RESTLESS = "this machine starts processes too fast for a sure look"


class Caller:
    """One process, held by its pidfd; `close` lets go of it. `spare`: processes that it may have started and that are
    known not to be its work, such as the node.
    """

    def __init__(self, pidfd: int, stat: Stat, ancestors: dict[int, Stat], spare: Iterable[int]) -> None:
        self._pidfd = pidfd
        self.pid = stat.pid
        self.start_ticks = stat.start_ticks
        self._ancestors = {found.key for found in ancestors.values()}
        self._above = {0, 1, *ancestors}
        self._spare = frozenset(spare)
        self.connected = True

    @property
    def ended(self) -> bool:
        """Whether no thread of it is left."""
        return _ended(self._pidfd)

    def left(self) -> str | None:
        """Why it is not shown that nothing of it is left; None where it is shown.

        INVARIANT: one moment is looked at, in which no process was started, and in which the parent of everything that
        was seen was seen too. So no child escapes by being born, or handed on, behind the look.
        """
        if self.connected:
            return CONNECTED
        if not self.ended:
            return ALIVE
        if _cannot_see():
            return HIDDEN
        table = _still_table()
        if table is None:
            return RESTLESS
        suspects = [stat for stat in table.values() if self._may_be_its(stat)]
        if not suspects:
            return None
        named = ", ".join(stat.describe() for stat in suspects[:5])
        return f"its process has ended; it may have started what still runs: {named}"

    def _may_be_its(self, stat: Stat) -> bool:
        if stat.dead or stat.pid in self._spare or stat.key in self._ancestors:
            return False
        return stat.start_ticks >= self.start_ticks and stat.ppid in self._above

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the process; nothing can be asked then."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def caller_of(peer: socket.socket, spare: Iterable[int]) -> Caller | str:
    """The process that connected at the other end of a unix socket; or why it cannot be watched."""
    pid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    if pid <= 0:
        return NOT_OURS
    try:
        pidfd = int(peer.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD))
    except OSError as error:
        return NO_PIDFD if error.errno == errno.ENOPROTOOPT else GONE
    found = _known(pidfd, pid, spare)
    if isinstance(found, str):
        os.close(pidfd)
    return found


def _known(pidfd: int, pid: int, spare: Iterable[int]) -> Caller | str:
    """The process and all above it, read while it lives: what is read after its end may be another one's."""
    os.set_inheritable(pidfd, False)
    for _ in range(WALKS):
        stat = read_stat(pid)
        above = None if stat is None else _ancestors_of(stat)
        ours = _namespace_of(pid) == _namespace_of(os.getpid())
        if _ended(pidfd):
            return GONE
        if not ours:
            # Attack: entered from outside, as `docker exec` does. Its orphans go to an init that is no ancestor of it.
            return NOT_OURS
        if stat is not None and above is not None:
            return Caller(pidfd, stat, above, spare)
    return "the processes above it change too fast to be known"


def _namespace_of(pid: int) -> tuple[int, int] | None:
    """The pid namespace of a process (namespaces(7)); None where that may not be looked at."""
    try:
        found = os.stat(f"/proc/{pid}/ns/pid")
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _ancestors_of(stat: Stat) -> dict[int, Stat] | None:
    found: dict[int, Stat] = {}
    pid = stat.ppid
    while pid > 0 and pid not in found:
        parent = read_stat(pid)
        if parent is None:
            return None
        found[pid] = parent
        pid = parent.ppid
    return found


def _ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 0)[0])


def _cannot_see() -> bool:
    """Whether /proc keeps processes from us (proc(5), hidepid and subset)."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            return any(_HIDDEN.search(line) for line in file if line.split()[4] == "/proc")
    except (OSError, IndexError):
        return True


def _still_table() -> dict[int, Stat] | None:
    """All processes of one moment in which none was started; None where there was no such moment."""
    for _ in range(LOOKS):
        before = _forks()
        table = scan_processes()
        if before is not None and before == _forks() and _is_whole(table):
            return table
        time.sleep(PAUSE_S)
    return None


def _forks() -> int | None:
    """How many processes were started since boot (proc_stat(5)); None where it is not told."""
    try:
        with open("/proc/stat", "rb") as file:
            found = next((line for line in file if line.startswith(b"processes ")), None)
    except OSError:
        return None
    return None if found is None else int(found.split()[1])


def _is_whole(table: dict[int, Stat]) -> bool:
    """Whether the parent of each was seen. Attack: a parent ends during the look, and its child hangs nowhere."""
    return all(stat.ppid in table or stat.ppid == 0 for stat in table.values())
