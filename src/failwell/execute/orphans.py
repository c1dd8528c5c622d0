"""Processes of tools that have lost their supervisor: found by descent, session and marker, and swept.

Two cases. A tool killed its supervisor: its descendants become children of the node, a subreaper. Everything
was killed at once, the node too: what is left carries the marker in its environment. What this cannot see: a
process that cleared its environment and whose every ancestor of ours is dead, and one not readable by this
user.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from failwell.execute.cgroups import Cgroup
from failwell.execute.processes import Stat, Sweep, find_descendants, read_stat, scan_processes
from failwell.ports.executor import MARKER_VARIABLE, Process


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep by the node did; `tool_status` is the tool's wait status if it became ours to collect."""

    clean: bool
    stopped: int
    left: tuple[str, ...]
    tool_status: int | None
    took_us: int


@dataclass(frozen=True, slots=True)
class Leftover:
    """One process of an earlier node, found by its marker (None: found as its child or in its session)."""

    pid: int
    start_ticks: int
    name: str
    marker: str | None
    gone: bool


def read_marker(pid: int) -> str | None:
    """Read the marker that a process was executed with; None if it has none, or we may not look."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            data = file.read()
    except OSError:
        return None
    wanted = f"{MARKER_VARIABLE}=".encode()
    for part in data.split(b"\0"):
        if part.startswith(wanted):
            return part[len(wanted) :].decode("utf-8", "surrogateescape")
    return None


class Orphans:
    """Finds and sweeps what a dead supervisor left to this process.

    `supervisors` gives the pids of supervisors that are alive, `standing_by` the sessions of those that have no launch
    yet; `spare` as in `SupervisedExecutor`.
    """

    def __init__(
        self,
        supervisors: Callable[[], set[int]],
        standing_by: Callable[[], set[int]],
        spare: Callable[[], Iterable[int]] | None,
    ) -> None:
        self._supervisors = supervisors
        self._standing_by = standing_by
        self._spare = spare

    def sweep(self, marker: str, supervisor: Process, tool_pid: int | None, cgroup: Cgroup | None = None) -> Swept:
        """Stop, kill and confirm everything of one launch whose supervisor is dead and collected.

        `cgroup`: the one that its supervisor made for it, also where there was no time to.
        """
        if cgroup is not None:
            cgroup.spared = frozenset({os.getpid()})
        family = _Family(self, marker, supervisor, tool_pid, cgroup)
        sweep = Sweep(family.find, family.reap, group=cgroup)
        clean = sweep.run()
        if cgroup is not None:
            cgroup.remove()
        left = [*sweep.survivors, *family.suspects]
        return Swept(
            clean and not family.suspects,
            len(sweep.stopped),
            tuple(stat.describe() for stat in left),
            family.tool_status,
            sweep.took_us,
        )

    def candidates(self, table: dict[int, Stat], since_ticks: int) -> list[Stat]:
        """Give our children that may be orphans of a tool.

        Not those in our own session or in a nursery's, which no tool can enter, nor those older than the supervisor.
        The live supervisors are asked for *after* the table was read, so that one just started is never missed.
        """
        me, sessions = os.getpid(), {os.getsid(0), *self._standing_by()}
        known = self._supervisors() | set(self._spare() if self._spare is not None else ())
        return [
            stat
            for stat in table.values()
            if stat.ppid == me
            and stat.session not in sessions
            and stat.start_ticks >= since_ticks
            and stat.pid not in known
        ]

    @property
    def takes_all(self) -> bool:
        """Whether every candidate is an orphan, because the node has named its own children."""
        return self._spare is not None


class _Family:
    """The processes of one launch, as far as they can be attributed to it; remembers whom it has seen."""

    def __init__(
        self, orphans: Orphans, marker: str, supervisor: Process, tool_pid: int | None, cgroup: Cgroup | None
    ) -> None:
        self._orphans = orphans
        self._cgroup = cgroup
        self._marker = marker
        self._since = supervisor.start_ticks
        self._tool_pid = tool_pid
        self._sessions = {supervisor.pid} | ({tool_pid} if tool_pid is not None else set())
        self._keys: set[tuple[int, int]] = set()
        self._was_empty = False
        self.suspects: list[Stat] = []
        self.tool_status: int | None = None

    def find(self) -> list[Stat]:
        table = scan_processes()
        candidates = self._orphans.candidates(table, self._since)
        inside = set() if self._cgroup is None else set(self._cgroup.members())
        ours = [stat for stat in candidates if stat.pid in inside or self._is_ours(stat)]
        pids = {stat.pid for stat in ours}
        self.suspects = [stat for stat in candidates if stat.pid not in pids and not stat.dead]
        members = ours + find_descendants(table, [stat.pid for stat in ours])
        for stat in members:
            self._keys.add(stat.key)
            self._sessions.add(stat.session)
        self._was_empty = all(stat.dead for stat in members)
        return members

    def reap(self) -> bool:
        """Collect those that became our children; True after a clean look, so that two in a row are needed.

        Only named pids are waited for: another part of this process may wait for children of its own.
        """
        for pid, _ in sorted(self._keys):
            try:
                done, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
            if done and pid == self._tool_pid:
                self.tool_status = status
        return self._was_empty

    def _is_ours(self, stat: Stat) -> bool:
        if self._orphans.takes_all or stat.key in self._keys or stat.session in self._sessions:
            return True
        return read_marker(stat.pid) == self._marker


def sweep_leftovers(marker_prefix: str) -> list[Leftover]:
    """Kill what an earlier node's tools left behind, found by their marker; confirm each; for node start
    only.

    Must run before the first launch: a running tool of this node may carry the same prefix. Ourselves, our
    ancestors and our session are never touched, also where this process was itself started by a tool.
    """
    markers: dict[tuple[int, int], str | None] = {}
    sessions: set[int] = set()
    look = {"empty": False}

    def find() -> list[Stat]:
        table = scan_processes()
        spared = list_ancestors(table)
        own_session = os.getsid(0)
        marked = []
        for stat in table.values():
            if stat.pid in spared or stat.session == own_session:
                continue
            marker = read_marker(stat.pid)
            if marker is not None and marker.startswith(marker_prefix):
                markers.setdefault(stat.key, marker)
                sessions.add(stat.session)
            elif stat.key not in markers and stat.session not in sessions:
                continue
            marked.append(stat)
        pids = {stat.pid for stat in marked}
        below = [stat for stat in find_descendants(table, sorted(pids)) if stat.pid not in spared | pids]
        members = marked + below
        for stat in members:
            markers.setdefault(stat.key, None)
        look["empty"] = all(stat.dead for stat in members)
        return members

    sweep = Sweep(find, lambda: look["empty"])
    sweep.run()
    left = {stat.key for stat in sweep.survivors}
    return [
        Leftover(stat.pid, stat.start_ticks, stat.name, markers.get(stat.key), stat.key not in left)
        for stat in sweep.stopped.values()
    ]


def list_ancestors(table: dict[int, Stat]) -> set[int]:
    """This process and all it was started by."""
    pid, found = os.getpid(), set()
    while pid > 0 and pid not in found:
        found.add(pid)
        stat = table.get(pid) or read_stat(pid)
        pid = stat.ppid if stat is not None else 0
    return found
