"""Swap the write-ahead log: a node was killed, its newest commits lie beside the file, and the attacker has both."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from failwell.node import audit
from tests.attacks.ledger.judging import caught, fair
from tests.unit.verify import ledgers


class Killed(NamedTuple):
    """A workspace as it lies there when its node was killed, what somebody kept, and an older state of it."""

    path: Path
    kept: bytes
    size: int
    older: Path


@pytest.fixture
def killed(tmp_path: Path) -> Killed:
    path = tmp_path / "shop"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        shutil.copytree(path, tmp_path / "older")
        ledgers.work(made)
        kept = made.sealed()
        shutil.copytree(path, tmp_path / "killed")
        return Killed(tmp_path / "killed", kept, made.book.state.size, tmp_path / "older")


def test_a_killed_node_is_not_accused(killed: Killed) -> None:
    assert (killed.path / "ledger.db-wal").stat().st_size > 0
    fair(audit.verify_workspace(killed.path))
    fair(audit.verify_workspace(killed.path, checkpoints=[killed.kept]))


def found(killed: Killed) -> None:
    """By what the guard remembers, and by a kept checkpoint where the guard cannot be read."""
    kept = audit.verify_workspace(killed.path, checkpoints=[killed.kept])
    for report in (audit.verify_workspace(killed.path), kept):
        caught(report)
        assert report.first_bad is not None
        assert report.first_bad < killed.size


def test_the_log_taken_away(killed: Killed) -> None:
    (killed.path / "ledger.db-wal").unlink()
    found(killed)


def test_an_older_log_of_the_same_file_put_in_its_place(killed: Killed) -> None:
    """A genuine, shorter state: the same as a tail that was cut."""
    shutil.copy(killed.older / "ledger.db-wal", killed.path / "ledger.db-wal")
    found(killed)


def test_the_log_of_another_ledger_put_in_its_place(killed: Killed, tmp_path: Path) -> None:
    with ledgers.fresh(tmp_path / "other") as made:
        ledgers.begin(made)
        shutil.copy(tmp_path / "other" / "ledger.db-wal", killed.path / "ledger.db-wal")
    found(killed)


def test_a_byte_of_the_log_changed(killed: Killed, rng: random.Random) -> None:
    """SQLite's own checksums end the log there; what was behind it is then missing."""
    log = killed.path / "ledger.db-wal"
    data = log.read_bytes()
    for _ in range(8):
        at = rng.randrange(32, len(data))
        log.write_bytes(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
        found(killed)


def test_the_log_cut_at_any_length(killed: Killed, rng: random.Random) -> None:
    log = killed.path / "ledger.db-wal"
    data = log.read_bytes()
    frame = 24 + 4096
    for _ in range(6):
        log.write_bytes(data[: rng.randrange(len(data) - frame)])
        found(killed)
