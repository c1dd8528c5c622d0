"""The power is cut while the guard writes down what it signs: it never forgets, and never signs a second history."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import guard_cuts


@pytest.mark.requirement("R13.13")
def test_no_memory_that_a_power_cut_may_leave_lets_a_guard_sign_one_size_twice(ram: Path, seed: int) -> None:
    judged, wrong = guard_cuts.judge_guard(ram, seed, 1500)
    assert wrong == []
    assert judged > 800


@pytest.mark.parametrize("fault", guard_cuts.MUTANTS)
def test_the_hunt_finds(ram: Path, seed: int, fault: str) -> None:
    judged, wrong = guard_cuts.judge_guard(ram, seed, 1500, mutant=guard_cuts.MUTANTS[fault]())
    assert wrong, f"{fault} was seeded and nothing was noticed in {judged} states"
