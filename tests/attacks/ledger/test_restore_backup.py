"""Restore a backup: the attacker puts an older, genuine state of the ledger back, so that what came after never was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from failwell.node import assembly, audit, guarding
from failwell.node.workspace import Workspace
from tests.attacks.ledger.judging import TALLY, caught, undetected
from tests.simulate.house import await_true
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
    (path / "keys" / "guard").unlink()  # nobody here can ask the guard, which remembers
    undetected(audit.verify_workspace(path))
    report = audit.verify_workspace(path, checkpoints=[kept])
    caught(report, entry=size, code="kept.cut")


@pytest.fixture
def restored(tmp_path: Path) -> tuple[Path, int]:
    """A workspace put back whole, keys and all, while its guard, which lies elsewhere, remembers; its entries."""
    path = tmp_path / "shop"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
    shutil.copytree(path, tmp_path / "backup")
    size = audit.verify_workspace(path).entries
    with ledgers.reopened(path, ledgers.StepClock(boot="b" * 32)) as made:
        ledgers.work(made)
    shutil.rmtree(path)
    shutil.copytree(tmp_path / "backup", path)
    return path, size


@pytest.mark.requirement("R13.9")
def test_a_restored_workspace_is_behind_what_its_guard_remembers(restored: tuple[Path, int]) -> None:
    path, size = restored
    report = audit.verify_workspace(path)
    caught(report, entry=size, code="kept.cut")


@pytest.mark.requirement("R13.9")
def test_nothing_is_written_to_a_restored_workspace_while_its_guard_remembers(restored: tuple[Path, int]) -> None:
    path, _ = restored
    workspace = Workspace(path)
    book = assembly.open_book(workspace, workspace.open_keys(), ledgers.StepClock())
    guard, behind = guarding.open_guard(workspace, book)
    guard.close()
    book.storage.close()
    TALLY.attacks += 1
    assert isinstance(behind, guarding.Behind)
    assert "the end is lost" in behind.message
    TALLY.detected += 1


def test_a_node_that_writes_on_all_the_same_gets_no_seal_and_closes_the_gate(restored: tuple[Path, int]) -> None:
    """Attack: a node that was changed so as not to look."""
    path, size = restored
    with ledgers.reopened(path, ledgers.StepClock(boot="c" * 32)) as made:
        TALLY.attacks += 1
        await_true(lambda: made.writer.seals.refusal)
        verdict = made.ask(None, "c1", "orders.read", {"order_id": "A-1"})
        assert verdict.verdict == "DENY"
        assert "guard" in made.book.state.failed
        TALLY.detected += 1
    report = audit.verify_workspace(path)
    caught(report)
    assert (report.first_bad or 0) >= size
