"""Wipe: the attacker takes everything away, or puts an empty or a new ledger in its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from failwell.node import audit
from failwell.storage import sqlite
from tests.attacks.ledger.judging import COLUMNS, Ground, caught
from tests.unit.verify import ledgers


@pytest.fixture
def workspace(ground: Ground, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ground.workspace, tmp_path / "w"))


def test_the_file_gone_or_a_directory_in_its_place(workspace: Path) -> None:
    (workspace / "ledger.db").unlink()
    caught(audit.verify_workspace(workspace))
    (workspace / "ledger.db").mkdir()
    caught(audit.verify_workspace(workspace))


def test_the_file_emptied_or_an_empty_ledger_in_its_place(workspace: Path, ground: Ground) -> None:
    (workspace / "ledger.db").write_bytes(b"")
    caught(audit.verify_workspace(workspace))
    (workspace / "ledger.db").unlink()
    sqlite.create(workspace / "ledger.db")
    caught(audit.verify_workspace(workspace))
    caught(audit.verify_workspace(workspace, checkpoints=[ground.kept()]))


@pytest.mark.parametrize("spared", [(), ("checkpoint",), ("checkpoint", "agent", "incident")])
def test_every_row_deleted_but_for_a_few_tables(ground: Ground, spared: tuple[str, ...]) -> None:
    forger = ground.forger()
    for table in COLUMNS:
        if table not in spared:
            forger.sql(f'DELETE FROM "{table}"')
    report = forger.verify()
    caught(report)
    assert report.first_bad == 0


def test_another_new_ledger_in_its_place_with_its_keys_is_found_by_a_kept_checkpoint(
    workspace: Path, ground: Ground, tmp_path: Path
) -> None:
    """Begin anew and publish the new key: who kept the old key or any checkpoint has proof of the old ledger."""
    with ledgers.fresh(tmp_path / "new") as made:
        ledgers.begin(made)
    shutil.copy(tmp_path / "new" / "ledger.db", workspace / "ledger.db")
    caught(audit.verify_workspace(workspace), code="head.signature")
    shutil.copy(tmp_path / "new" / "keys" / "log.pub", workspace / "keys" / "log.pub")
    report = audit.verify_workspace(workspace, checkpoints=[ground.kept()])
    caught(report, code="kept.unsigned")
