"""The self-test: real processes that resist are really stopped, by order and by the node's death.

Shows what holds on this machine, now; it says nothing about tools that have another daemon work for them. A failed test
is a result, not an error: what to permit then is for the node and the contract to say. Run at the start of a node in
its own process, and later in one of its own (`retest`).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from failwell.core.errors import FailwellError
from failwell.execute import cgroups
from failwell.execute.orphans import read_marker
from failwell.execute.processes import (
    Stat,
    boottime_us,
    find_descendants,
    read_stat,
    scan_processes,
    walk_descendants,
)
from failwell.ports.executor import Ended, Executor, Launch, SelfTest

RESISTING = str(Path(__file__).with_name("resisting.py"))
CONFIRMED = "confirmed"
ACTION = 1
STANDING = 3
BOUND_US = 3_000_000
PAUSE_S = 0.003


class Mechanisms(NamedTuple):
    """What is added to the sweep, which is never left out; `warm`: the launch goes to a supervisor that stood by."""

    namespace: bool = False
    cgroup: bool = False
    warm: bool = False


SWEEP, STANDBY = Mechanisms(), Mechanisms(warm=True)
#: The word of a supervisor by which a mechanism is known to have been used: without it nothing was shown of it.
_WORDS = ("pid namespace ended", "cgroup empty")
#: How a supervisor that stood by is known: it never executed anything.
_NURSERY = b"nursery.py"

MakeExecutor = Callable[[Path, Path, Mechanisms], Executor]
Shown = tuple[str, int, int]
""""confirmed" or why not; microseconds from the order to the proof; processes that stood."""


def make_launch(interpreter: str, marker: str) -> Launch:
    """Give the launch of the resisting tool under a marker."""
    return Launch(
        action=ACTION,
        agent="self-test",
        tool="self-test",
        command=(interpreter, "-I", "-S", RESISTING),
        cwd=None,
        env={"LC_ALL": "C"},
        stdin=b"",
        deadline_us=10_000_000,
        output_cap_bytes=1024,
        marker=marker,
    )


def run_self_test(interpreter: str, make: MakeExecutor, marker: str = "self-test") -> SelfTest:
    """Show that the sweep alone stops a resisting tool, then whether a pid namespace and a cgroup can be added to it,
    and whether that holds for launches that go to supervisors that stood by, as most do.

    `make(runtime_dir, report_dir, mechanisms)` makes an executor; it is closed again here. `marker` begins the marker
    of every process that is started.
    """
    began, cpu_us = boottime_us(), _cpu_us()
    mark = f"{marker}-{os.urandom(8).hex()}"
    with tempfile.TemporaryDirectory(prefix="failwell-self-test-") as name:
        place = Path(name)

        def prove(mechanisms: Mechanisms) -> tuple[Shown, Shown]:
            label = "-".join(word for word, used in mechanisms._asdict().items() if used) or "sweep"
            return _prove(place / label, interpreter, make, mechanisms, f"{mark}-{label}")

        (order, order_us, order_seen), (node, node_us, node_seen) = prove(SWEEP)
        no_namespace, no_cgroup = _missing(prove, warm=True)
        no_standby = None
        if no_namespace is not None and no_cgroup is not None:  # so it may be that only nobody stands by
            no_standby = _why_not(prove(STANDBY))
            if no_standby is not None:
                no_namespace, no_cgroup = _missing(prove, warm=False)
    return SelfTest(
        interrupt=order,
        interrupt_us=order_us,
        interrupt_processes=order_seen,
        node_killed=node,
        node_killed_us=node_us,
        node_killed_processes=node_seen,
        pid_namespace=no_namespace is None,
        pid_namespace_why=no_namespace,
        cgroup=no_cgroup is None,
        cgroup_why=no_cgroup,
        standby=no_standby is None,
        standby_why=no_standby,
        elapsed_us=boottime_us() - began,
        cpu_us=_cpu_us() - cpu_us,
    )


def _prove(
    directory: Path, interpreter: str, make: MakeExecutor, mechanisms: Mechanisms, mark: str
) -> tuple[Shown, Shown]:
    """By order, and by the node's death. One that fails by order is not asked for a second time."""
    directory.mkdir(mode=0o700)
    first = _interrupt(directory / "order", interpreter, make, mechanisms, f"{mark}-order")
    if first[0] != CONFIRMED and mechanisms != SWEEP:
        return first, first
    return first, _kill_node(directory / "node", interpreter, mechanisms, f"{mark}-node")


def _missing(prove: Callable[[Mechanisms], tuple[Shown, Shown]], *, warm: bool) -> tuple[str | None, str | None]:
    """Why a pid namespace and a cgroup cannot be added here; None for what was shown to work.

    Both together where there is a place for a cgroup; each by itself only where that fails.
    """
    try:
        cgroups.find_place()
        no_cgroup = None
    except cgroups.Unusable as error:
        no_cgroup = str(error)
    no_namespace = _why_not(prove(Mechanisms(namespace=True, cgroup=no_cgroup is None, warm=warm)))
    if no_namespace is None or no_cgroup is not None:
        return no_namespace, no_cgroup
    return _why_not(prove(Mechanisms(namespace=True, warm=warm))), _why_not(prove(Mechanisms(cgroup=True, warm=warm)))


def _why_not(shown: tuple[Shown, Shown]) -> str | None:
    return next((result for result, _, _ in shown if result != CONFIRMED), None)


def _cpu_us() -> int:
    """Processor time of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return int(sum(each.ru_utime + each.ru_stime for each in used) * 1_000_000)


def _interrupt(
    directory: Path, interpreter: str, make: MakeExecutor, mechanisms: Mechanisms, marker: str
) -> Shown:  # fmt: skip
    """Order a resisting tool to be killed, and look whether it is."""
    results: list[Ended] = []
    told = threading.Event()

    def ended(result: Ended) -> None:
        results.append(result)
        told.set()

    try:
        executor = make(directory, directory / "reports", mechanisms)
    except FailwellError as error:
        return str(error), 0, 0
    try:
        supervisor = executor.launch(make_launch(interpreter, marker), ended)
        stood_by = _NURSERY in _command_of(supervisor.pid)
        standing = _await_standing(marker, told.is_set)
        ordered_us = boottime_us()
        executor.interrupt(ACTION)
        told.wait(BOUND_US / 1e6)
    except FailwellError as error:
        return str(error), 0, 0
    finally:
        executor.close()
    if not results:
        return "no result", 0, len(standing)
    why = _why_unconfirmed(results[0], mechanisms, standing, marker)
    if why is None and mechanisms.warm and not stood_by:
        why = "the launch went to no supervisor that stood by"
    return (why, 0, len(standing)) if why else (CONFIRMED, results[0].ended_us - ordered_us, len(standing))


def _why_unconfirmed(ended: Ended, mechanisms: Mechanisms, standing: list[Stat], marker: str) -> str | None:
    """Why this end shows nothing of a stop; None if it does."""
    if len(standing) < STANDING:
        return ended.why or "the resisting tool did not stand"
    if ended.state != "interrupted_confirmed":
        return ended.why or ended.state
    if _living(standing, marker):
        return "said to be stopped, and was not"
    if any(used and word not in ended.proven_by for used, word in zip(mechanisms, _WORDS, strict=False)):
        return f"it was not used: {ended.proven_by}"
    return None


def _kill_node(directory: Path, interpreter: str, mechanisms: Mechanisms, marker: str) -> Shown:
    """SIGKILL a stand-in for the node while its tool runs; gives the same as above."""
    directory.mkdir(mode=0o700)
    # -S: the path is given whole, and a site with many packages would cost the start-up a second.
    command = [
        interpreter,
        "-P",
        "-S",
        "-m",
        "failwell.execute.standin",
        str(directory),
        marker,
        *(str(int(used)) for used in mechanisms),
    ]
    node = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=surroundings())
    try:
        standing = _await_standing(marker, lambda: node.poll() is not None)
        beside = [stat for stat in scan_processes().values() if stat.ppid == node.pid and not stat.dead]
    finally:
        killed_us = boottime_us()
        node.kill()
        node.wait()
    until = killed_us + BOUND_US
    while (left := _living(standing, marker)) and boottime_us() < until:
        time.sleep(PAUSE_S)
    took_us = boottime_us() - killed_us
    left += _collect(beside, until)
    if len(standing) < STANDING:
        return "the resisting tool did not stand", 0, len(standing)
    if left:
        return "still there: " + ", ".join(stat.describe() for stat in left), took_us, len(standing)
    return CONFIRMED, took_us, len(standing)


def surroundings() -> dict[str, str]:
    """The environment in which a process finds this package."""
    path = [str(Path(__file__).parents[2]), *(part for part in sys.path if part)]
    return {"PYTHONPATH": os.pathsep.join(path), "LC_ALL": "C"}


def _ours() -> list[Stat]:
    """What is alive below this process.

    Attack: a tool carries the marker of the self-test, to be counted as one of its processes, or to make it fail for
    ever. It is not below the process that tests: orphans of the test come to it, a subreaper.
    """
    return [stat for stat in find_descendants(scan_processes(), [os.getpid()]) if not stat.dead]


def _await_standing(marker: str, over: Callable[[], bool]) -> list[Stat]:
    """Wait until the tool's three processes are there, give up at the bound or when `over`; gives them.

    By quick looks: one that misses a process only looks again. What proves that they are gone is `_living`.
    """
    until = boottime_us() + BOUND_US
    while True:
        ended = over()
        found = [stat for stat in walk_descendants(os.getpid()) if not stat.dead and read_marker(stat.pid) == marker]
        if len(found) >= STANDING + 1 or (len(found) == STANDING and _is_settled(found)):
            return found
        if ended or boottime_us() > until:
            return found
        time.sleep(PAUSE_S)


def _is_settled(found: list[Stat]) -> bool:
    """Whether the grandchild is on its own: two sessions, and only the child's parent among the three."""
    pids = {stat.pid for stat in found}
    return len({stat.session for stat in found}) == 2 and sum(stat.ppid in pids for stat in found) == 1


def _living(standing: list[Stat], marker: str) -> list[Stat]:
    keys = {stat.key for stat in standing}
    known = [stat for stat in map(read_stat, (pid for pid, _ in keys)) if stat is not None and stat.key in keys]
    alive = {stat.key: stat for stat in known if not stat.dead}
    return list((alive | {stat.key: stat for stat in _ours() if read_marker(stat.pid) == marker}).values())


def _collect(beside: list[Stat], until_us: int) -> list[Stat]:
    """Wait for what the stand-in had beside it, its supervisors and their nursery: they end with it. Those that came to
    us, a subreaper, are reaped, by their pids, never another's child. Gives those that are left.

    One that the nursery made after they were looked at is known by its session, which nobody else can enter.
    """
    sessions = {stat.session for stat in beside} - {os.getsid(0)}
    while True:
        below = find_descendants(scan_processes(), [os.getpid()])
        came = [stat for stat in below if stat.session in sessions]
        known = {stat.key: stat for stat in (*beside, *came)}
        left = [now for was in known.values() if (now := read_stat(was.pid)) is not None and now.key == was.key]
        for stat in left:
            if stat.dead and stat.ppid == os.getpid():
                os.waitpid(stat.pid, os.WNOHANG)
        if not left or boottime_us() > until_us:
            return [stat for stat in left if not stat.dead]
        time.sleep(PAUSE_S)


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
