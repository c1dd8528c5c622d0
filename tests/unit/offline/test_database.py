"""Ledger files as they lie on disks: closed, with a write-ahead log beside them, and changing under the reader."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from failwell.core.errors import Corrupt, Unhealthy
from failwell.offline.database import LedgerFile
from tests.unit.offline.conftest import Verify
from tests.unit.verify import ledgers


@pytest.fixture
def torn_off(tmp_path: Path) -> Iterator[Path]:
    """A workspace copied away under a running writer: its newest entries lie in the write-ahead log only."""
    with ledgers.fresh(tmp_path / "live") as made:
        ledgers.begin(made)
        ledgers.work(made)
        made.sealed()
        copy = Path(shutil.copytree(made.path, tmp_path / "copy"))
        yield copy


def test_entries_that_only_the_log_beside_the_file_holds_are_read(torn_off: Path, verify: Verify) -> None:
    log = torn_off / "ledger.db-wal"
    assert log.stat().st_size > 0
    run = verify(torn_off, "--json")
    assert run.code == 0, run.out
    whole = run.told["entries"]
    before = {path: path.read_bytes() for path in (torn_off / "ledger.db", log)}
    assert verify(torn_off, "--hash-only", "--json").told["entries"] == whole
    assert {path: path.read_bytes() for path in before} == before
    log.unlink()
    assert verify(torn_off, "--json").code == 1  # without it entries are missing that the head covers


def test_a_file_that_changes_while_it_is_read_gives_no_result(workspace: Path) -> None:
    path = workspace / "ledger.db"
    changed = pytest.raises(Unhealthy, match="changed while it was read")
    with changed, LedgerFile(path):
        os.utime(path, ns=(1, 1))
    with changed, LedgerFile(path):
        path.with_name("ledger.db-wal").write_bytes(b"somebody writes")


def test_a_writer_that_never_rests_ends_in_exit_3(
    torn_off: Path, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copyfile
    calls: list[int] = []

    def changing(source: Path, target: Path) -> None:
        calls.append(1)
        copy(source, target)
        os.utime(source, ns=(len(calls), len(calls)))

    monkeypatch.setattr("shutil.copyfile", changing)
    run = verify(torn_off)
    assert run.code == 3
    assert "changed while it was read" in run.err


def test_no_room_for_a_copy_is_this_machines_failure_and_no_finding(
    torn_off: Path, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("shutil.copyfile", full)
    run = verify(torn_off)
    assert run.code == 3
    assert "No space left" in run.err


def test_a_directory_in_the_place_of_the_file_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(Corrupt):
        LedgerFile(tmp_path / "ledger.db")


def test_names_that_mean_something_in_an_address_are_only_names(made: Path, tmp_path: Path, verify: Verify) -> None:
    for name in ("a?mode=memory", "b#c", "d%41", "e f", "\u00fc"):
        copy = Path(shutil.copytree(made, tmp_path / name))
        assert verify(copy).code == 0


def test_an_old_sqlite_is_said_to_be_too_old(workspace: Path, verify: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 34, 1))
    run = verify(workspace)
    assert run.code == 3
    assert "3.37" in run.err


def test_rows_that_were_left_in_the_middle_end_quietly_after_the_file_was_closed(workspace: Path) -> None:
    """As Ctrl-C leaves them: whatever is raised while they are put away would be printed as a traceback."""
    with LedgerFile(workspace / "ledger.db") as file:
        entries = iter(file.ledger(whole=False).entries)
        next(entries)
    entries.close()  # type: ignore[attr-defined]
