"""Reading processes: names that lie, zombies that live, pids that were reused."""

from __future__ import annotations

import pytest

from failwell.execute import processes
from failwell.execute.processes import Stat, Sweep, find_descendants


def stat(pid: int, ppid: int, state: str = "S", *, threads: int = 1, ticks: int = 100) -> Stat:
    fields = [state, str(ppid), "0", str(pid), *["0"] * 13, str(threads), "0", str(ticks)]
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


def test_a_clean_look_proves_nothing_while_a_child_is_left_to_wait_for() -> None:
    looks = []

    def reap() -> bool:
        looks.append("reap")
        return len(looks) > 3

    sweep = Sweep(list, reap)
    assert sweep.kill()
    assert len(looks) == 4


def test_who_is_still_there_at_the_bound_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "KILL_BOUND_US", 5_000)
    never_dies = stat(4194999, 1, ticks=1)  # above every pid limit: no such process can be hit
    sweep = Sweep(lambda: [never_dies], lambda: False)
    assert not sweep.kill()
    assert [left.pid for left in sweep.survivors] == [4194999]
