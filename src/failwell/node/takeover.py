"""Standing by for a node, and taking its place when it is late (D30).

A process that stands by looks at the heartbeat of the node that holds the workspace. Where that node died, gave way, or
is 2 s late (stopped, hung), it kills it by process id and start time, waits until the kernel has given up the writer's
lock, and becomes the node.

INVARIANT: nothing is opened before the lock is held. The kernel frees it when the last thread of the old node is gone,
so who has it knows that the old one writes nothing more, whatever woke it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from failwell.core import kinds
from failwell.core.errors import Unhealthy
from failwell.core.records import Draft
from failwell.execute.processes import read_stat, send_signal
from failwell.execute.records import read_boot_id
from failwell.identity.keys import private_directory
from failwell.node import heartbeat
from failwell.node.heartbeat import Beat
from failwell.node.workspace import Lock, Workspace, lock_holder

#: How late a beat may be, by what the node was doing. One that starts proves first that it can stop tools; one that
#: ends waits for what it stops.
LATE_US = {heartbeat.SERVING: 2_000_000, heartbeat.STARTING: 60_000_000, heartbeat.ENDING: 30_000_000}
#: How often the beat is looked at, and how much later than that a look may come to be one that judges.
LOOK_S = 0.1
ASLEEP_US = 500_000
#: How long a killed node may take to be gone.
KILLED_MS = 5_000
#: How long the kernel may take to give up the lock of a process that is gone.
FREED_TRIES, FREED_S = 100, 0.02

DIED, SILENT, GAVE_WAY = "died", "silent", "gave-way"
_STANDING = "standing-by"


class Taken(NamedTuple):
    """The place of a node, taken: the lock, and what the record is told of it."""

    lock: Lock
    pid: int
    why: str
    late_us: int
    killed: bool

    def draft(self) -> Draft:
        """The entry of it."""
        body = kinds.NodeTakeover(pid=self.pid, why=self.why, late_us=self.late_us, killed=self.killed)
        return Draft(body=body, actor="node")


class Late(NamedTuple):
    """A node whose place is to be taken: its last beat, why, and by how much it is late."""

    beat: Beat
    why: str
    late_us: int


class Watch:
    """Judges looks at a heartbeat, in order. Pure: time and what was seen are given."""

    def __init__(self, boot_id: str) -> None:
        self._boot_id = boot_id
        self._looked_us: int | None = None
        self._awake_us = 0

    def judge(self, holder: int | None, beat: Beat | None, now_us: int) -> Late | None:
        """The node to be replaced; None while there is none.

        `holder`: the process that has the lock. A node that ended on purpose leaves no beat, and no place to be taken.
        """
        # Attack: the machine stood still, and everything on it. Who was late itself judges nobody by that.
        if self._looked_us is None or now_us - self._looked_us > ASLEEP_US:
            self._awake_us = now_us
        self._looked_us = now_us
        if beat is None or beat.boot_id != self._boot_id:
            return None
        late_us = max(0, now_us - beat.at_us)
        if holder is None:
            return Late(beat, GAVE_WAY if beat.phase == heartbeat.GAVE_WAY else DIED, late_us)
        if holder != beat.pid:
            return None  # it starts and has not said so yet, or holds the workspace for something else
        watched_us = now_us - max(beat.at_us, self._awake_us)
        if watched_us <= LATE_US.get(beat.phase, LATE_US[heartbeat.ENDING]):
            return None
        return Late(beat, SILENT, late_us)


def look(workspace: Workspace, watch: Watch) -> Late | None:
    """One look. The lock is looked at first: a node lets go of it only after it took its beat away."""
    holder = lock_holder(workspace)
    return watch.judge(holder, heartbeat.read_beat(workspace.runtime), heartbeat.now_us())


def take(workspace: Workspace, late: Late) -> Taken | None:
    """Take the place of a node that is late; None where it ended on purpose, or another was faster.

    Raises Unhealthy where the old one cannot be ended: then it may still write, and nobody takes its place.
    """
    killed = late.why == SILENT and _kill(workspace, late.beat)
    lock = _lock(workspace, patient=killed)
    if lock is None:
        return None
    beat = heartbeat.read_beat(workspace.runtime)
    # With the lock in hand nobody else writes beats: one that is gone, or another's, leaves nothing to take.
    if beat is None or (beat.pid, beat.start_ticks) != (late.beat.pid, late.beat.start_ticks):
        lock.release()
        return None
    return Taken(lock, late.beat.pid, late.why, late.late_us, killed)


def _kill(workspace: Workspace, beat: Beat) -> bool:
    """Kill exactly this process, if it holds the workspace open, and wait until it is gone.

    Attack: a beat that names somebody else's process. Only who holds the lock's file open is killed.
    """
    if beat.pid == os.getpid():
        raise Unhealthy("the heartbeat names this very process", code="takeover")
    try:
        handle = os.pidfd_open(beat.pid)
    except ProcessLookupError:
        return False
    try:
        if not _holds(workspace, beat.pid):
            return False
        if not send_signal(beat.pid, beat.start_ticks, signal.SIGKILL):
            if _lives(beat):
                raise Unhealthy(
                    f"the node (process {beat.pid}) is silent and cannot be ended from here: another user runs it",
                    hint="Run the standby as the user that the node runs as.", code="takeover",
                )  # fmt: skip
            return False
        gone, _, _ = select.select([handle], [], [], KILLED_MS / 1000)
        if not gone:
            raise Unhealthy(
                f"the node (process {beat.pid}) was killed {KILLED_MS // 1000} s ago and is not gone",
                hint="It waits for a disk. Its place is taken once the kernel lets go of it.", code="takeover",
            )  # fmt: skip
        return True
    finally:
        os.close(handle)


def _lives(beat: Beat) -> bool:
    stat = read_stat(beat.pid)
    return stat is not None and stat.start_ticks == beat.start_ticks and not stat.dead


def _holds(workspace: Workspace, pid: int) -> bool:
    """Whether a process has the lock's file open; one that cannot be seen is another user's, and is told so."""
    try:
        held = os.stat(workspace.lock_path)
        names = os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        return True
    except OSError:
        return False
    for name in names:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(f"/proc/{pid}/fd/{name}"), held):
                return True
    return False


def _lock(workspace: Workspace, *, patient: bool) -> Lock | None:
    """The lock, if it is free; of a node that was just killed within the moment that the kernel takes."""
    for _ in range(FREED_TRIES if patient else 1):
        try:
            return Lock(workspace)
        except Unhealthy:
            select.select([], [], [], FREED_S)
    return None


# ---- who stands by -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def stand(workspace: Workspace) -> Iterator[None]:
    """Be listed as standing by, for `doctor`, as long as this lasts."""
    directory = private_directory(workspace.runtime / _STANDING)
    stat = read_stat(os.getpid())
    path = directory / f"{os.getpid()}"
    path.write_text(f"{0 if stat is None else stat.start_ticks} {read_boot_id()}\n", "ascii")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def standing(workspace: Workspace) -> tuple[int, ...]:
    """The processes that stand by for the node of this workspace, and live."""
    try:
        files = sorted((workspace.runtime / _STANDING).iterdir())
    except OSError:
        return ()
    return tuple(int(path.name) for path in files if path.name.isascii() and path.name.isdigit() and _stands(path))


def _stands(path: Path) -> bool:
    stat = read_stat(int(path.name))
    try:
        words = path.read_text("ascii").split()
    except (OSError, UnicodeDecodeError):
        return False
    if stat is None or stat.dead or stat.state in "Tt" or len(words) != 2:
        return False
    return words == [str(stat.start_ticks), read_boot_id()]
