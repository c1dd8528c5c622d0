"""Reading processes: names that lie, zombies that live, pids that were reused."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from failwell.execute import processes
from failwell.execute.processes import Stat, Sweep, find_descendants, scan_processes, walk_descendants


def stat(pid: int, ppid: int, state: str = "S", *, threads: int = 1, ticks: int = 100) -> Stat:
    fields = [state, str(ppid), "0", str(pid), *["0"] * 13, str(threads), "0", str(ticks), "0", "7"]
    return Stat(pid, "x", fields)


def test_descent_is_followed_through_every_generation_and_never_in_circles() -> None:
    table = {1: stat(1, 0), 2: stat(2, 1), 3: stat(3, 2), 4: stat(4, 3), 9: stat(9, 9), 8: stat(8, 1)}
    assert {found.pid for found in find_descendants(table, [2])} == {3, 4}
    assert {found.pid for found in find_descendants(table, [9])} == set()


def test_a_zombie_is_dead_unless_a_thread_of_it_goes_on() -> None:
    assert stat(2, 1, "Z").dead
    assert stat(2, 1, "X").dead
    assert not stat(2, 1, "Z", threads=2).dead
    assert not stat(2, 1, "D").dead
    assert not stat(2, 1, "T").dead


@pytest.mark.requirement("R6.3")
def test_a_clean_look_proves_nothing_while_a_child_is_left_to_wait_for() -> None:
    looks = []

    def reap() -> bool:
        looks.append("reap")
        return len(looks) > 3

    sweep = Sweep(list, reap)
    assert sweep.kill()
    assert len(looks) == 4


@pytest.mark.requirement("R6.3")
def test_who_is_still_there_at_the_bound_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "KILL_BOUND_US", 5_000)
    never_dies = stat(4194999, 1, ticks=1)  # above every pid limit: no such process can be hit
    sweep = Sweep(lambda: [never_dies], lambda: False)
    assert not sweep.kill()
    assert [left.pid for left in sweep.survivors] == [4194999]


def test_the_quick_look_sees_every_generation_and_what_threads_have_forked() -> None:
    script = (
        "import os, subprocess, sys, threading, time\n"
        "start = lambda: subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "thread = threading.Thread(target=start); thread.start(); thread.join()\n"
        "subprocess.Popen(['sh', '-c', 'sleep 60 & sleep 60 & wait'])\n"
        "print('up', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        deadline = time.monotonic() + 20
        # Only of this child: whoever runs the tests has inherited the orphans of others.
        while len(family := find_descendants(scan_processes(), [child.pid])) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert {stat.key for stat in walk_descendants(child.pid)} == {stat.key for stat in family}
    finally:
        sweep = Sweep(lambda: walk_descendants(child.pid), lambda: True)
        sweep.freeze()
        sweep.kill()
        child.kill()
        child.communicate()


def test_a_quick_look_that_misses_one_is_not_taken_for_a_proof() -> None:
    """Attack: a tool whose children end and start so that the quick look never lists one of them."""
    seen = iter([[stat(4194999, 1, ticks=1)], []])
    thorough = []

    def find() -> list[Stat]:
        thorough.append(True)
        return next(seen)

    sweep = Sweep(find, lambda: True, list)
    assert sweep.kill()
    assert len(thorough) == 2
