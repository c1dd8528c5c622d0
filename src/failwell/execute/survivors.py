"""What outlived a dead node: its supervisors, its cgroups, the processes of its tools; found, stopped, and said.

A supervisor stops its tool when its node dies. One that is found here is still at it, was stopped itself, or is
wedged: it is told, awaited, and where it gives no answer its tool is swept over its head. For node start only, before
the first launch. What it cannot find: a process that cleared its environment, left its cgroup, and whose every ancestor
of ours is dead.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from failwell.execute import cgroups
from failwell.execute.orphans import list_ancestors, sweep_leftovers
from failwell.execute.processes import Stat, Sweep, find_descendants, read_stat, scan_processes, send_signal
from failwell.execute.records import Recorded, read_records, record_path
from failwell.execute.reports import read_json, report_path

#: How long a supervisor may take to answer: its own bounds (freeze and kill) add up to less.
ANSWER_S = 2.0
#: How long one may take to end once its tool is gone, told or killed.
END_S = 0.5
PAUSE_S = 0.003


@dataclass(slots=True)
class Found:
    """What was found of a dead node, and what came of it. `left` names what could not be stopped, by its action.

    An action of -1: nobody can say whose it was.
    """

    supervisors: int = 0
    unanswered: int = 0
    stopped: int = 0
    actions: set[int] = field(default_factory=set)
    left: list[tuple[int, Stat]] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        return not (self.supervisors or self.stopped or self.left)

    def left_of(self, action: int) -> tuple[str, ...]:
        """What of one action could not be stopped, for a person."""
        return tuple(stat.describe() for whose, stat in self.left if whose == action)

    def alive(self) -> tuple[str, ...]:
        """Those that could not be stopped and live still, by now."""
        now = [(action, stat, read_stat(stat.pid)) for action, stat in self.left]
        return tuple(
            f"{stat.describe()} of action {action}" if action > 0 else stat.describe()
            for action, stat, found in now
            if found is not None and found.key == stat.key and not found.dead
        )

    def describe(self) -> str:
        """All of it in one sentence, for a person."""
        said = []
        if self.supervisors:
            silent = f", {self.unanswered} gave no answer" if self.unanswered else ""
            said.append(f"supervisors of the node before that were still there: {self.supervisors}{silent}")
        if self.stopped:
            said.append(f"processes of its tools that were stopped: {self.stopped}")
        if self.left:
            said.append("still there: " + ", ".join(stat.describe() for _, stat in self.left[:32]))
        return "; ".join(said) or "nothing was left"


def sweep_node(runtime_dir: Path, reports: Path, marker_prefixes: Iterable[str]) -> Found:
    """Stop everything that a dead node's tools have left: by its supervisors, then by cgroup, then by marker."""
    found = Found()
    _end_supervisors(found, runtime_dir, reports)
    _end_cgroups(found)
    for prefix in marker_prefixes:
        for item in sweep_leftovers(prefix):
            action = _action_of(item.marker, prefix)
            if action is not None:
                found.actions.add(action)
            found.stopped += item.gone
            stat = None if item.gone else read_stat(item.pid)
            if stat is not None:
                found.left.append((-1 if action is None else action, stat))
    return found


def _action_of(marker: str | None, prefix: str) -> int | None:
    """The action that a marker names: an entry's number; a lookup's is below zero, a self-test has none."""
    name = (marker or "").removeprefix(prefix)
    return int(name) if name.isascii() and name.isdigit() else None


# ---- supervisors ---------------------------------------------------------------------------------------------


def _end_supervisors(found: Found, runtime_dir: Path, reports: Path) -> None:
    # Attack: a record that names this very process, or one that it was started by.
    spared = list_ancestors(scan_processes())
    waiting = [record for record in read_records(runtime_dir) if _lives(record) and record.pid not in spared]
    found.supervisors = len(waiting)
    for record in waiting:
        if record.action > 0:
            found.actions.add(record.action)
        send_signal(record.pid, record.start_ticks, signal.SIGTERM)
        send_signal(record.pid, record.start_ticks, signal.SIGCONT)  # its tool may have stopped it
    until = time.monotonic() + ANSWER_S
    silent = waiting
    while (silent := [record for record in silent if not _answered(record, reports)]) and time.monotonic() < until:
        time.sleep(PAUSE_S)
    found.unanswered = len(silent)
    for record in waiting:
        if record in silent:
            _sweep_over(found, record)
        _end(record)
        if not found.left_of(record.action):
            record_path(runtime_dir / "running", record.action).unlink(missing_ok=True)


def _lives(record: Recorded) -> bool:
    stat = read_stat(record.pid)
    return stat is not None and stat.start_ticks == record.start_ticks and not stat.dead


def _answered(record: Recorded, reports: Path) -> bool:
    """Whether it has left its report, or is gone without one."""
    if not _lives(record):
        return True
    try:
        report = read_json(report_path(str(reports), record.action))
    except (OSError, ValueError):
        return False
    return report is not None and report.get("supervisor") == record.pid


def _sweep_over(found: Found, record: Recorded) -> None:
    """Stop everything below a supervisor that does not answer.

    INVARIANT: it is killed last. Whatever its tool started hangs below it, a subreaper, only as long as it lives.
    """
    send_signal(record.pid, record.start_ticks, signal.SIGSTOP)
    empty = [False]

    def find() -> list[Stat]:
        members = find_descendants(scan_processes(), [record.pid]) if _lives(record) else []
        empty[0] = all(stat.dead for stat in members)
        return members

    sweep = Sweep(find, lambda: empty[0])
    sweep.run()
    left = {stat.key for stat in sweep.survivors}
    found.stopped += sum(key not in left for key in sweep.stopped)
    found.left += [(record.action, stat) for stat in sweep.survivors]


def _end(record: Recorded) -> None:
    """Let a supervisor whose tool is gone end; it may linger for a node that never reads."""
    send_signal(record.pid, record.start_ticks, signal.SIGKILL)
    _await(lambda: not _lives(record), END_S)


def _await(over: Callable[[], bool], within_s: float) -> None:
    until = time.monotonic() + within_s
    while not over() and time.monotonic() < until:
        time.sleep(PAUSE_S)


# ---- cgroups -------------------------------------------------------------------------------------------------


def _end_cgroups(found: Found) -> None:
    """Kill what is in the cgroup of a launch whose supervisor is dead, whichever node's it was, and remove it."""
    try:
        place = cgroups.find_place()
    except cgroups.Unusable:
        return
    for cgroup, pid, ticks in cgroups.supervised(place):
        stat = read_stat(pid)
        if stat is not None and stat.start_ticks == ticks and not stat.dead:
            continue
        cgroup.spared = frozenset({os.getpid(), os.getppid()})
        members = [stat for stat in map(read_stat, cgroup.members()) if stat is not None and not stat.dead]
        cgroup.kill()
        empty = cgroup.await_empty()
        cgroup.remove()
        found.stopped += len(members) if empty else 0
        found.left += [] if empty else [(-1, stat) for stat in members]
