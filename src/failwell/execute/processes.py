"""Seeing and stopping trees of processes through /proc (proc(5), pidfd_open(2), ptrace-free).

A process is a pid with its start time: every signal is sent through a pidfd after comparing both, so that a
reused pid is never hit. Standard library only, and few modules of it: the supervisor imports this file alone.
It does not decide which processes belong to a tool; callers pass a function that finds them.
"""

from __future__ import annotations

import errno
import os
import signal
import time

FREEZE_BOUND_US = 150_000
KILL_BOUND_US = 1_500_000
PATIENT_ROUNDS = 8
PAUSE_S = 0.0004
LOOK_AGAIN_US = 2_000
#: Threads of a family beyond which reading the children of each costs more than reading every process there is.
MANY_THREADS = 96


def boottime_us() -> int:
    """Read CLOCK_BOOTTIME, which counts while the machine sleeps, in microseconds."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class Stat:
    """One line of /proc/<pid>/stat: who it is, whose child, in which session, in which state."""

    __slots__ = ("name", "pid", "ppid", "rss_pages", "session", "start_ticks", "state", "threads")

    def __init__(self, pid: int, name: str, fields: list[str]) -> None:
        self.pid = pid
        self.name = name
        self.state = fields[0]
        self.ppid = int(fields[1])
        self.session = int(fields[3])
        self.threads = int(fields[17])
        self.start_ticks = int(fields[19])
        self.rss_pages = int(fields[21])

    @property
    def key(self) -> tuple[int, int]:
        """The process for ever: pid and start time."""
        return (self.pid, self.start_ticks)

    @property
    def dead(self) -> bool:
        """Whether nothing of it runs.

        A thread group whose first thread called exit(2) alone also shows as a zombie while its other threads
        go on: a tool could hide behind that, so a zombie with threads is alive.
        """
        return self.state in "ZXx" and self.threads <= 1

    def describe(self) -> str:
        """Say pid, name and state, for a person."""
        return f"{self.pid} ({self.name}) {self.state}"


def read_stat(pid: int) -> Stat | None:
    """Read one process, None when it does not exist any more."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(fd, 4096)
    except OSError:
        return None
    finally:
        os.close(fd)
    # The name is whatever the process calls itself, brackets included: only the last bracket ends it.
    opened, closed = data.find(b"("), data.rfind(b")")
    if opened < 0 or closed < opened:
        return None
    name = data[opened + 1 : closed].decode("utf-8", "replace")
    return Stat(pid, name, data[closed + 2 :].decode("ascii").split())


def scan_processes() -> dict[int, Stat]:
    """Read every process that this user can see, by pid."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = read_stat(int(entry))
            if stat is not None:
                found[stat.pid] = stat
    return found


def find_descendants(table: dict[int, Stat], roots: list[int]) -> list[Stat]:
    """Give all processes below the given pids (the roots not included), parents first."""
    children: dict[int, list[Stat]] = {}
    for stat in table.values():
        children.setdefault(stat.ppid, []).append(stat)
    found, todo, seen = [], list(roots), set(roots)
    while todo:
        for stat in children.get(todo.pop(), ()):
            if stat.pid not in seen:
                seen.add(stat.pid)
                found.append(stat)
                todo.append(stat.pid)
    return found


def walk_descendants(root: int) -> list[Stat]:
    """Give all processes below `root`, parents first, by the kernel's lists of children (proc(5)).

    Costs as much as the family is large, where `scan_processes` costs as much as the machine has processes. It is a
    quick look only: a child may be missed while a brother of it ends. Where the kernel keeps no such lists (it needs
    CONFIG_PROC_CHILDREN) this scans. Attack: a tool starts thousands of threads, each with a list of its own, so that
    one look takes longer than the whole stop may: then this scans too.
    """
    if not os.path.exists(f"/proc/{root}/task/{root}/children"):
        return find_descendants(scan_processes(), [root])
    found, todo, seen, threads = [], [root], {root}, 0
    while todo:
        for pid in _read_children(todo.pop()):
            stat = None if pid in seen else read_stat(pid)
            if stat is not None:
                seen.add(pid)
                found.append(stat)
                todo.append(pid)
                threads += stat.threads
        if threads > MANY_THREADS:
            return find_descendants(scan_processes(), [root])
    return found


def _read_children(pid: int) -> list[int]:
    """The children of every thread of a process; none where it is gone."""
    children = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as listed:
                children += [int(child) for child in listed.read().split()]
    except OSError:
        return children
    return children


def send_signal(pid: int, start_ticks: int, number: int) -> bool:
    """Signal exactly this process; False when it is gone, or not ours to signal (it then stays visible)."""
    try:
        handle = os.pidfd_open(pid)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            return False
        handle = -1
    try:
        stat = read_stat(pid)
        if stat is None or stat.start_ticks != start_ticks:
            return False
        if handle >= 0:
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(pid, number)
    except OSError:
        return False
    finally:
        if handle >= 0:
            os.close(handle)
    return True


class Sweep:
    """Stops every process that `find` gives, to a fixpoint, then kills and confirms; every loop is bounded.

    `find()` lists the members that exist (dead ones may be among them); `reap()` collects ended children and
    says True when, as far as the kernel tells, none is left to wait for. `glance()`, where there is one, is a
    quicker `find` that may miss a member: enough to stop and kill by, never enough to prove by. `group`, where there
    is one, is stopped and killed as a whole besides, and what is in it counts among the members.
    """

    def __init__(self, find: Find, reap: Reap, glance: Find | None = None, group: Group | None = None) -> None:
        self._find = find
        self._reap = reap
        self._glance = glance or find
        self.group = group
        self.stopped: dict[tuple[int, int], Stat] = {}
        self.survivors: list[Stat] = []
        self.took_us = 0

    def freeze(self) -> bool:
        """SIGSTOP all members until one look finds them all stopped; False when the bound came first.

        A member may fork while we look, or wake another, hence the rounds. One that waits in vfork(2) (D)
        or whose first thread is gone (Z) never shows as stopped: after some rounds the signal must do. Who is in a
        frozen group stands still already.
        """
        began, rounds = boottime_us(), 0
        frozen = self.group is not None and self.group.freeze() and self.group.await_frozen()
        while boottime_us() - began < FREEZE_BOUND_US:
            held = set(self.group.members()) if frozen and self.group is not None else set()
            live = [stat for stat in self._look(self._glance) if not stat.dead]
            settled = "Tt" if rounds < PATIENT_ROUNDS else "TtDZ"
            for stat in live:
                if stat.pid in held:
                    self.stopped.setdefault(stat.key, stat)
            moving = [
                stat
                for stat in live
                if stat.pid not in held and (stat.state not in settled or stat.key not in self.stopped)
            ]
            for stat in moving:
                send_signal(stat.pid, stat.start_ticks, signal.SIGSTOP)
                self.stopped[stat.key] = stat
            if not moving:
                return True
            rounds += 1
        return False

    def kill(self) -> bool:
        """SIGKILL all members until none is alive and none is left to wait for; False names the survivors.

        INVARIANT: True only if `reap` found nothing left *and* a later look is clean *and* the group, if there is
        one, is empty. After SIGKILL is sent the kernel links no further child to the target, so a look that is clean
        stays clean.
        """
        began = looked = boottime_us()
        killed: set[tuple[int, int]] = set()
        wait_us = LOOK_AGAIN_US if self.group is not None and self.group.kill() else 0
        while True:
            nothing_left = self._reap()
            now = boottime_us()
            if not nothing_left and now - looked < wait_us:
                time.sleep(PAUSE_S)  # they are dying; looking at them would only delay the others
                continue
            members = self._look(self._find if nothing_left else self._glance)
            live = [stat for stat in members if not stat.dead]
            if nothing_left and not live and (self.group is None or self.group.is_empty()):
                self.survivors = []
                return True
            for stat in live:
                self.stopped.setdefault(stat.key, stat)
                if stat.key not in killed and send_signal(stat.pid, stat.start_ticks, signal.SIGKILL):
                    killed.add(stat.key)
            if now - began > KILL_BOUND_US:
                self.survivors = live or members
                return False
            looked = boottime_us()
            wait_us = max(LOOK_AGAIN_US, looked - now)
            time.sleep(PAUSE_S)

    def run(self, meanwhile: Callable[[bool], None] | None = None) -> bool:
        """Freeze, kill, confirm; True when nothing is left. `meanwhile` is called with whether all stands still."""
        began = boottime_us()
        stands = self.freeze()
        if meanwhile is not None:
            meanwhile(stands)
        clean = self.kill()
        self.took_us = boottime_us() - began
        return clean

    def _look(self, find: Find) -> list[Stat]:
        """The members by descent, and those that only the group knows."""
        found = find()
        if self.group is not None:
            seen = {stat.pid for stat in found}
            others = (read_stat(pid) for pid in self.group.members() if pid not in seen)
            found += [stat for stat in others if stat is not None]
        return found


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    Find = Callable[[], list[Stat]]
    Reap = Callable[[], bool]

    class Group(Protocol):
        """Processes that the kernel holds together, such as a cgroup."""

        def members(self) -> list[int]: ...
        def freeze(self) -> bool: ...
        def await_frozen(self) -> bool: ...
        def kill(self) -> bool: ...
        def is_empty(self) -> bool: ...
