"""Mix two ledgers: the attacker has two genuine ledgers and puts parts of one into the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attacks.ledger.judging import COLUMNS, Ground, caught, told
from tests.unit.verify import ledgers


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A second ledger with the same story, other origin and keys."""
    return Ground(ledgers.small(tmp_path_factory.mktemp("other") / "shop"))


@pytest.mark.parametrize("table", [table for table in COLUMNS if table != "checkpoint"])
def test_every_row_exchanged_for_the_same_row_of_another_ledger(ground: Ground, stranger: Ground, table: str) -> None:
    key, *rest = COLUMNS[table]
    values = ", ".join(f"{column} = ?" for column in rest)
    for ours, theirs in zip(ground.rows[table], stranger.rows[table], strict=True):
        if ours[1:] == theirs[1:]:
            continue
        forger = ground.forger()
        forger.sql(f'UPDATE "{table}" SET {values} WHERE {key} = ?', *theirs[1:], ours[0])
        told(forger.verify(), table, ours[0])
        ground.hold(forger)


def test_every_beginning_of_one_ledger_under_the_rest_of_another(ground: Ground, stranger: Ground) -> None:
    """The first entry of the other log is named, whoever's checkpoint and key it is judged by."""
    for size in range(1, ground.size):
        entries = [*stranger.rows["entry"][:size], *ground.rows["entry"][size:]]
        report = ground.judge({**ground.rows, "entry": entries})
        caught(report, within=(0, size), code="entry.origin")
        assert "head.root" in report.counts


def test_the_checkpoint_of_another_ledger_vouches_for_nothing(ground: Ground, stranger: Ground) -> None:
    caught(ground.forger().verify(stranger.kept()), code="kept.unsigned")
    forger = ground.forger()
    forger.sql("UPDATE checkpoint SET note = ?", stranger.kept())
    caught(forger.verify(), code="head.signature")
    caught(ground.forger().verify(log_key=stranger.image.log_key), code="head.signature")


def test_the_file_of_another_ledger_in_this_ones_place(ground: Ground, stranger: Ground, tmp_path: Path) -> None:
    """Whole and genuine, but not the one that the key from outside names."""
    caught(stranger.forger().verify(log_key=ground.image.log_key), code="head.signature")
    caught(stranger.forger().verify(ground.kept(), log_key=stranger.image.log_key), code="kept.unsigned")
