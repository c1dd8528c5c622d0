"""Roll back ledger and guard together: the attacker has everything, as whoever restores a snapshot of the machine.

Both are genuine, and agree. Nothing that lies on the machine can tell; a checkpoint that left it can.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from failwell.core import kinds
from failwell.core.records import Draft
from failwell.node import audit, guarding
from tests.attacks.ledger.judging import caught, undetected
from tests.unit.verify import ledgers


class Restored(NamedTuple):
    """A workspace and its guard as they were at an earlier instant, and what left the machine after it."""

    path: Path
    size: int
    kept: bytes


@pytest.fixture
def restored(tmp_path: Path) -> Restored:
    path, guard = tmp_path / "shop", tmp_path / "shop.guard"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
    for each in (path, guard):
        shutil.copytree(each, tmp_path / "snapshot" / each.name)
    size = audit.verify_workspace(path).entries
    with ledgers.reopened(path, ledgers.StepClock(boot="b" * 32)) as made:
        ledgers.work(made)
        kept = made.sealed()
    for each in (path, guard):
        shutil.rmtree(each)
        shutil.copytree(tmp_path / "snapshot" / each.name, each)
    return Restored(path, size, kept)


def test_ledger_and_guard_put_back_together_pass_on_the_machine_itself(restored: Restored) -> None:
    """The honest limit of grade C: verification passes, and the guard signs on."""
    report = audit.verify_workspace(restored.path)
    undetected(report)
    with ledgers.reopened(restored.path, ledgers.StepClock(boot="c" * 32)) as made:
        guarding.check_history(made.writer.seals.guard, made.book)
        made.write(Draft(body=kinds.Health(part="storage", state="ok", detail="as if nothing was"), actor="node"))
        made.sealed()
    undetected(audit.verify_workspace(restored.path))


def test_ledger_and_guard_put_back_together_are_found_by_a_checkpoint_that_left_the_machine(
    restored: Restored,
) -> None:
    report = audit.verify_workspace(restored.path, checkpoints=[restored.kept])
    caught(report, entry=restored.size, code="kept.cut")
    with ledgers.reopened(restored.path, ledgers.StepClock(boot="c" * 32)) as made:
        ledgers.work(made)
        made.write(*(Draft(body=kinds.Health(part="x", state="ok", detail=str(n)), actor="node") for n in range(9)))
        made.sealed()
    # The second history has grown as long as the first: which of the two is the true one, the checkpoint says.
    report = audit.verify_workspace(restored.path, checkpoints=[restored.kept])
    caught(report, code="kept.root")
