"""Restore a backup: the attacker puts an older, genuine state of the ledger back, so that what came after never was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from failwell.node import audit
from tests.attacks.ledger.judging import caught
from tests.unit.verify import ledgers


@pytest.mark.requirement("R13.6")
def test_an_old_copy_put_back_is_found_by_a_checkpoint_kept_later(tmp_path: Path) -> None:
    path, old = tmp_path / "shop", tmp_path / "old.db"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
    shutil.copy(path / "ledger.db", old)
    size = audit.verify_workspace(path).entries
    with ledgers.reopened(path, ledgers.StepClock(boot="b" * 32)) as made:
        ledgers.work(made)
        kept = made.sealed()
    shutil.copy(old, path / "ledger.db")
    report = audit.verify_workspace(path, checkpoints=[kept])
    caught(report, entry=size, code="kept.cut")
