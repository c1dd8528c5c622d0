"""Crashes, power cuts, changed keys, set clocks, a second process: honest, every one, and never accused by verify."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from failwell.node.workspace import Lock, Workspace
from tests.faults import histories, mutants
from tests.faults.judge import WORKSPACE
from tests.simulate.house import ROOT
from tests.unit.verify import ledgers

HISTORIES = 14


@pytest.mark.requirement("R28.4", "R13.23")
def test_no_honest_history_is_accused_and_none_loses_what_was_told(ram: Path, seed: int) -> None:
    lived = histories.live_all(ram, seed, HISTORIES)
    assert [one.wrong for one in lived if one.wrong is not None] == []
    events = sum((one.events for one in lived), Counter[str]())
    assert events.keys() >= {*histories.ENDS, "second process refused", "key changed"}, events


@pytest.mark.parametrize("fault", ["synchronous=NORMAL", "rows in a transaction of their own"])
def test_the_hunt_finds(ram: Path, seed: int, fault: str) -> None:
    with mutants.CUT[fault]():
        lived = histories.live_all(ram, seed, HISTORIES, stop=True)
    assert lived[-1].wrong is not None, f"{fault} was seeded and nothing was noticed in {len(lived)} histories"


def test_a_second_node_is_refused_in_words_and_changes_nothing(ram: Path) -> None:
    path = ram / WORKSPACE
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
    lock = Lock(Workspace(path))
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    command = [sys.executable, "-m", "failwell.node", "--workspace", str(path), "--idle-s", "0"]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert ended.returncode != 0
    assert "holds this workspace" in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    lock.release()
