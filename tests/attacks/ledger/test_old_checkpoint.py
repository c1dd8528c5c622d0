"""An older genuine checkpoint in the place of the newest: the attacker has the file and an old copy of that row.

The older one is signed and true of the beginning, and makes the rest look as if it had not been sealed yet: open to
whoever can write the file. What the guard remembers closes that, and any newer checkpoint that left the machine.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from failwell.node import audit
from tests.attacks.ledger.judging import Ground, caught, undetected
from tests.unit.verify.forgery import Forger, replace


def reverted(ground: Ground, size: int) -> Forger:
    """An old checkpoint over `size` entries, and the entry after it rewritten, for which no key is needed then."""
    forger = ground.forger()
    forger.change(size, lambda e: replace(e, mono_us=e.mono_us + 1), resign=False)
    forger.sql("UPDATE checkpoint SET size = ?, note = ?", size, ground.kept(size))
    return forger


@pytest.mark.requirement("R13.6")
def test_every_older_checkpoint_put_back_to_rewrite_what_came_after_is_found_by_a_newer_one(ground: Ground) -> None:
    """By the guard's own memory, or by whoever keeps the newest: both are a checkpoint over more."""
    for size in range(1, ground.size, 2):
        forger = reverted(ground, size)
        caught(forger.verify(ground.kept()), within=(0, ground.size - 1))
        ground.hold(forger)


def test_an_older_checkpoint_put_back_passes_as_an_unsealed_tail_where_no_newer_one_is_at_hand(
    ground: Ground,
) -> None:
    """Where the guard's directory cannot be read either; the report counts what nothing vouches for."""
    passed = 0
    for size in range(2, ground.size, 2):
        report = reverted(ground, size).verify()
        if report.ok:
            undetected(report)
            assert report.unsealed == ground.size - size
            passed += 1
    assert passed > 10


def test_an_older_checkpoint_put_back_into_the_file_is_found_by_what_the_guard_remembers(
    ground: Ground, tmp_path: Path
) -> None:
    workspace = Path(shutil.copytree(ground.workspace, tmp_path / "shop"))
    for size in (30, 60, ground.size - 1):
        connection = apsw.Connection(str(workspace / "ledger.db"))
        with connection:
            connection.execute("DELETE FROM entry WHERE seq >= ?", (size,))
            connection.execute("DELETE FROM blob WHERE seq >= ?", (size,))
            connection.execute("DELETE FROM token WHERE id >= ?", (size * 1024,))
            connection.execute("UPDATE checkpoint SET size = ?, note = ?", (size, ground.kept(size)))
        connection.close()
        report = audit.verify_workspace(workspace)
        caught(report)
        assert "kept.cut" in report.counts
        shutil.copy(ground.workspace / "ledger.db", workspace / "ledger.db")


def test_a_checkpoint_whose_row_names_another_size(ground: Ground) -> None:
    for size in (0, 1, ground.size - 1, ground.size + 1, -1, 2**62):
        forger = ground.forger()
        forger.sql("UPDATE checkpoint SET size = ?", size)
        caught(forger.verify(), code="head.size")
