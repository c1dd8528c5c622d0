"""SIGKILL on entering a system call of append and seal: every point in the campaign, a few of each kind here."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.faults import kills
from tests.simulate import syscalls

KILLS = 4


@pytest.fixture(autouse=True)
def tracing() -> None:
    if not syscalls.can_trace():
        pytest.skip(syscalls.NEEDS)


@pytest.mark.requirement("R28.1", "R28.4")
@pytest.mark.ci_must_run
def test_a_writer_killed_on_entering_a_system_call_loses_nothing_it_told(ram: Path, seed: int) -> None:
    deaths, wrong = kills.kill_all(ram, seed, KILLS)
    assert wrong == []
    assert len(deaths) == KILLS
    files = Counter(death.point.path.name for death in deaths)
    assert files.keys() == {"ledger.db", "ledger.db-wal", "state"}, files


@pytest.mark.requirement("R13.13")
@pytest.mark.ci_must_run
def test_a_guard_killed_while_it_writes_is_started_again_and_has_forgotten_nothing(ram: Path, seed: int) -> None:
    deaths, wrong = kills.kill_all(ram, seed, 1, kills.APART)
    assert wrong == []
    assert {death.point.path.name for death in deaths} == {"state"}


@pytest.mark.ci_must_run
def test_the_hunt_finds_an_acknowledgment_before_the_commit(ram: Path, seed: int) -> None:
    victim = kills.Victim(ram, seed, "acknowledged before the commit")
    for nth in range(3, 30, 5):
        killed = victim.kill(syscalls.Point(victim.path / "ledger.db-wal", "pwrite64", nth))
        if killed is not None and victim.wrong(killed) is not None:
            return
    raise AssertionError("acknowledged before the commit was seeded and nothing was noticed")
