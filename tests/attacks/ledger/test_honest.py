"""Nobody attacks: honest ledgers in every state that an honest life leaves them in are accused of nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from failwell.core import kinds
from failwell.core.records import Draft
from failwell.node import audit
from failwell.verify.finding import KEPT
from tests.attacks.ledger.judging import COLUMNS, Ground, fair
from tests.unit.verify import ledgers


@pytest.mark.requirement("R13.23")
def test_the_honest_ledger_has_no_finding_and_its_own_checkpoints_kept_elsewhere_agree(ground: Ground) -> None:
    report = ground.forger().verify(ground.kept())
    fair(report)
    assert report.first_bad is None
    assert {step.state for step in report.checks} == {"proved"}
    for size in range(1, ground.size, 3):
        fair(ground.forger().verify(ground.kept(size), ground.kept()))


def test_the_ledger_under_attack_here_has_rows_in_every_table(ground: Ground) -> None:
    assert [table for table in COLUMNS if not ground.rows[table]] == []


def test_every_entry_of_the_honest_ledger_proves(ground: Ground) -> None:
    forger = ground.forger()
    ground.hold(forger)
    assert ground.proving(forger) == set(range(ground.size))


def test_a_ledger_that_was_opened_closed_and_booted_again(tmp_path: Path) -> None:
    path = tmp_path / "shop"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
    fair(audit.verify_workspace(path))
    for number, boot in enumerate("bcd"):
        clock = ledgers.StepClock(boot=boot * 32, wall_us=ledgers.START_US - 3_600_000_000 * (number % 2))
        with ledgers.reopened(path, clock) as made:
            made.write(Draft(body=kinds.Health(part="storage", state="ok", detail=boot), actor="node"))
            fair(audit.verify_workspace(path))
        fair(audit.verify_workspace(path))


def test_a_copy_elsewhere_and_one_taken_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "shop"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        for number in range(8):
            made.write(Draft(body=kinds.Health(part="storage", state="ok", detail=str(number)), actor="node"))
            shutil.copytree(path, tmp_path / f"copy{number}")
            fair(audit.verify_workspace(tmp_path / f"copy{number}"))
            fair(audit.verify_workspace(path))
    fair(audit.verify_workspace(Path(shutil.copytree(path, tmp_path / "elsewhere"))))


@pytest.mark.parametrize("change", ["VACUUM", "REINDEX"])
def test_housekeeping_of_the_file_changes_nothing_that_is_said(ground: Ground, change: str) -> None:
    forger = ground.forger()
    forger.sql(change)
    report = forger.verify(ground.kept())
    fair(report)
    assert report.checks[KEPT - 1].state == "proved"
