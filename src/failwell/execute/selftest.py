"""The start-up self-test: real processes that resist are really stopped, by order and by the node's death.

Shows what holds on this machine, now; it says nothing about tools that have another daemon work for them.
A failed test is a result, not an error: what to permit then is for the node and the contract to say.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from failwell.core.errors import FailwellError
from failwell.execute.orphans import read_marker
from failwell.execute.processes import Stat, boottime_us, read_stat, scan_processes
from failwell.execute.records import record_path
from failwell.execute.reports import read_json
from failwell.ports.executor import Ended, Executor, Launch, SelfTest

RESISTING = str(Path(__file__).with_name("resisting.py"))
CONFIRMED = "confirmed"
ACTION = 1
STANDING = 3
BOUND_US = 3_000_000
PAUSE_S = 0.003

MakeExecutor = Callable[[Path, Path, bool], Executor]
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


def run_self_test(interpreter: str, make: MakeExecutor) -> SelfTest:
    """Show that the sweep alone stops a resisting tool, then whether a pid namespace can be added to it.

    `make(runtime_dir, report_dir, pid_namespace)` makes an executor; it is closed again here.
    """
    began = boottime_us()
    token = os.urandom(8).hex()

    def prove(directory: Path, namespace: bool) -> list[Shown]:
        mark = f"self-test-{token}-{'namespace' if namespace else 'sweep'}"
        first = _interrupt(directory / f"{namespace}-order", interpreter, make, namespace, f"{mark}-order")
        if first[0] != CONFIRMED and namespace:
            return [first, first]  # not usable here: no need to ask a second time
        return [first, _kill_node(directory / f"{namespace}-node", interpreter, namespace, f"{mark}-node")]

    with tempfile.TemporaryDirectory(prefix="failwell-self-test-") as name:
        (order, order_us, order_seen), (node, node_us, node_seen) = prove(Path(name), False)
        failures = [result for result, _, _ in prove(Path(name), True) if result != CONFIRMED]
    return SelfTest(
        interrupt=order,
        interrupt_us=order_us,
        interrupt_processes=order_seen,
        node_killed=node,
        node_killed_us=node_us,
        node_killed_processes=node_seen,
        pid_namespace=not failures,
        pid_namespace_why=failures[0] if failures else None,
        elapsed_us=boottime_us() - began,
    )


def _interrupt(directory: Path, interpreter: str, make: MakeExecutor, namespace: bool, marker: str) -> Shown:
    """Order a resisting tool to be killed, and look whether it is."""
    results: list[Ended] = []
    told = threading.Event()

    def ended(result: Ended) -> None:
        results.append(result)
        told.set()

    executor = make(directory, directory / "reports", namespace)
    try:
        executor.launch(make_launch(interpreter, marker), ended)
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
    if len(standing) < STANDING:
        return results[0].why or "the resisting tool did not stand", 0, len(standing)
    if results[0].state != "interrupted_confirmed":
        return results[0].why or results[0].state, 0, len(standing)
    if _living(standing, marker):
        return "said to be stopped, and was not", 0, len(standing)
    return CONFIRMED, results[0].ended_us - ordered_us, len(standing)


def _kill_node(directory: Path, interpreter: str, namespace: bool, marker: str) -> Shown:
    """SIGKILL a stand-in for the node while its tool runs; gives the same as above."""
    directory.mkdir(mode=0o700)
    # -S: the path is given whole, and a site with many packages would cost the start-up a second.
    command = [
        interpreter,
        "-S",
        "-m",
        "failwell.execute.standin",
        str(directory),
        marker,
        str(int(namespace)),
    ]
    path = [str(Path(__file__).parents[2]), *(part for part in sys.path if part)]
    environment = {"PYTHONPATH": os.pathsep.join(path), "LC_ALL": "C"}
    node = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment)
    try:
        standing = _await_standing(marker, lambda: node.poll() is not None)
    finally:
        killed_us = boottime_us()
        node.kill()
        node.wait()
    until = killed_us + BOUND_US
    while (left := _living(standing, marker)) and boottime_us() < until:
        time.sleep(PAUSE_S)
    took_us = boottime_us() - killed_us
    _collect_supervisor(directory, until)
    if len(standing) < STANDING:
        return "the resisting tool did not stand", 0, len(standing)
    if left:
        return "still there: " + ", ".join(stat.describe() for stat in left), took_us, len(standing)
    return CONFIRMED, took_us, len(standing)


def _await_standing(marker: str, over: Callable[[], bool]) -> list[Stat]:
    """Wait until the tool's three processes are there, give up at the bound or when `over`; gives them."""
    until = boottime_us() + BOUND_US
    while True:
        ended = over()
        found = [stat for stat in scan_processes().values() if not stat.dead and read_marker(stat.pid) == marker]
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
    return [
        stat
        for stat in scan_processes().values()
        if not stat.dead and (stat.key in keys or read_marker(stat.pid) == marker)
    ]


def _collect_supervisor(directory: Path, until_us: int) -> None:
    """Reap the stand-in's supervisor if it came to us, a subreaper; by its pid, never another's child."""
    record = read_json(str(record_path(directory / "running", ACTION)))
    if record is None or type(record.get("pid")) is not int:
        return
    pid = int(str(record["pid"]))
    while (stat := read_stat(pid)) is not None and stat.ppid == os.getpid() and boottime_us() < until_us:
        if stat.dead:
            os.waitpid(pid, os.WNOHANG)
        time.sleep(PAUSE_S)
