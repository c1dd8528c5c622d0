"""A killed backtest goes on where it stopped: nothing lost, nothing decided twice, the same summary at the end."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import apsw
import pytest

from failwell.core import kinds
from failwell.core.records import Entry, decode_entry
from failwell.node.audit import rebuild_workspace, verify_workspace
from tests.integration.recordings import bank_runs, case, entries, shown

ROOT = Path(__file__).resolve().parents[2]


def killed_at(operation: int, *options: str) -> tuple[int, str]:
    """Run the command in a process of its own that dies at this disk operation: (exit status, what it said)."""
    command = [sys.executable, "-m", "tests.integration.killed_backtest", str(operation), *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    return ended.returncode, ended.stderr


def said(entry: Entry[Any]) -> tuple[Any, ...]:
    """What two backtests of one declaration must have in common, entry by entry."""
    body = entry.body
    told = [getattr(body, name, None) for name in ("source", "call", "verdict", "decision", "state", "signal")]
    return (entry.kind, entry.seq, entry.at, entry.run, entry.aseq, *told)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[str, Any], list[tuple[Any, ...]], int]:
    """An uninterrupted backtest: its options, summary, entries and number of disk operations."""
    folder = tmp_path_factory.mktemp("whole")
    options = case(folder / "given", bank_runs() * 12)
    summary = shown(*options, "--into", str(folder / "ledger"))
    status, told = killed_at(0, *options, "--into", str(folder / "counted"), "--json")
    assert status == 0, told
    operations = int(told.rpartition("operations: ")[2])
    return options, summary, [said(entry) for entry in entries(folder / "ledger")], operations


Whole = tuple[list[str], dict[str, Any], list[tuple[Any, ...]], int]


def check_same(whole: Whole, into: Path) -> None:
    options, summary, expected, _ = whole
    resumed = shown(*options, "--into", str(into))
    assert {**resumed, "workspace": ""} == {**summary, "workspace": ""}
    found = entries(into)
    assert [said(entry) for entry in found] == expected
    decided = [entry.body.call for entry in found if isinstance(entry.body, kinds.Decision)]
    assert len(decided) == len(set(decided)) == summary["actions"]
    assert verify_workspace(into).findings == ()
    assert rebuild_workspace(into).identical


def test_killed_again_and_again_it_ends_as_if_it_never_was(whole: Whole, rng: random.Random, tmp_path: Path) -> None:
    options, _, expected, operations = whole
    into = tmp_path / "ledger"
    sizes, last = [], []
    for _ in range(8):
        status, _told = killed_at(rng.randint(1, operations // 4), *options, "--into", str(into))
        if status == 0:
            break
        assert status == -signal.SIGKILL
        kinds_left = stored(into)
        sizes.append(len(kinds_left))
        assert not kinds_left or verify_workspace(into).findings == ()
        last += kinds_left[-1:]
    assert len(sizes) > 2
    assert sizes == sorted(sizes)  # what was acknowledged is never lost
    assert any(0 < size < len(expected) for size in sizes)
    assert set(last) & {"run.opened", "decision", "signal", "outcome"}  # some died in the middle of a run
    check_same(whole, into)


@pytest.mark.parametrize("place", ["making the file", "declaring", "judging", "nearly done"])
def test_killed_once_at_each_stage_it_goes_on(whole: Whole, rng: random.Random, tmp_path: Path, place: str) -> None:
    options, _, _, operations = whole
    last = {"making the file": 12, "declaring": 60, "judging": operations // 2, "nearly done": operations - 1}[place]
    status, _ = killed_at(rng.randint(last // 2, last), *options, "--into", str(tmp_path / "ledger"))
    assert status == -signal.SIGKILL
    check_same(whole, tmp_path / "ledger")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger"]


def stored(into: Path) -> list[str]:
    """The kinds of the entries a killed backtest left, its write-ahead log included; none if it has not begun."""
    if not (into / "ledger.db").exists():
        return []
    connection = apsw.Connection(str(into / "ledger.db"))
    rows: list[Any] = connection.execute("SELECT data FROM entry ORDER BY seq").fetchall()
    connection.close()
    return [decode_entry(bytes(data)).kind for (data,) in rows]


def test_interrupted_from_the_keyboard_it_ends_at_once_and_goes_on_later(whole: Whole, tmp_path: Path) -> None:
    options, _, _, _ = whole
    command = [sys.executable, "-m", "tests.integration.killed_backtest", "0", *options, "--into", str(tmp_path / "l")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            while process.poll() is None and not (tmp_path / "l" / "ledger.db-wal").exists():
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
        finally:
            process.kill()
    check_same(whole, tmp_path / "l")
