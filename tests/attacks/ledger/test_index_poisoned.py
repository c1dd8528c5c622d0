"""The index poisoned: the attacker has the file that finds things in the ledger, and makes it say what is not so.

It is no evidence: verification does not read it, and an extract is held against the ledger before it is handed out. A
node asks it what was counted before its start, as it takes the rows of the ledger's own tables for what they say; a
verdict that was given on a lie does not recount, and is named.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from failwell.core.errors import FailwellError
from failwell.ledger.heads import Heads
from failwell.node import audit, extracts
from failwell.storage.index import NAME, Index
from tests.attacks.ledger.judging import TALLY, caught, fair
from tests.unit.verify import ledgers

TABLES = ("numbered", "called", "reserved", "raised", "token")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace at rest whose agent has used up its six refunds of the hour, with a whole index beside its ledger."""
    path = tmp_path_factory.mktemp("model") / "shop"
    with ledgers.fresh(path) as made:
        heads = Heads(made.book)
        ledgers.begin(made)
        run = made.run()
        for number in range(6):
            made.settle(made.refund(run, f"c{number}", f"A-{number}"))
        made.do(heads.write)
    index = Index(path / "ledger.db")
    index.catch_up()
    index.close()
    return path


@pytest.fixture
def shop(model: Path, tmp_path: Path) -> Path:
    """A copy of it with its guard."""
    path = Path(shutil.copytree(model, tmp_path / "shop"))
    shutil.copytree(model.with_name("shop.guard"), tmp_path / "shop.guard")
    (path / "keys" / "guard").write_text(f"{tmp_path / 'shop.guard'}\n")
    return path


def poison(path: Path, sql: str) -> None:
    connection = apsw.Connection(str(path / NAME))
    connection.execute(sql)
    connection.close()


POISONS: dict[str, Callable[[Path], object]] = {
    **{f"{table} emptied": lambda path, table=table: poison(path, f"DELETE FROM {table}") for table in TABLES},  # type: ignore[misc]
    "an entry of another agent": lambda path: poison(path, "UPDATE numbered SET seq = 3"),
    "all at another time": lambda path: poison(path, "UPDATE reserved SET at_us = at_us - 7200000000"),
    "of no size": lambda path: poison(path, "UPDATE reach SET size = 0, leaf = NULL; DELETE FROM numbered"),
    "a view": lambda path: poison(
        path, "ALTER TABLE reserved RENAME TO old; CREATE VIEW reserved AS SELECT * FROM old"
    ),
    "garbage": lambda path: (path / NAME).write_bytes(b"\xff" * 20_000),
    "gone": lambda path: (path / NAME).unlink(),
}


@pytest.mark.parametrize("name", POISONS)
def test_verification_and_extracts_do_not_believe_the_index(shop: Path, name: str) -> None:
    honest = extracts.export_extract(shop, ledgers.AGENT)
    POISONS[name](shop)
    TALLY.attacks += 1
    fair(audit.verify_workspace(shop))
    try:
        assert extracts.export_extract(shop, ledgers.AGENT).data == honest.data
    except FailwellError:
        assert name != "gone"  # refused is right too; a false one is not
    TALLY.detected += 1


def seventh(shop: Path) -> tuple[str, int]:
    """The verdict on one refund too many, after a start; its entry."""
    with ledgers.reopened(shop, ledgers.StepClock(mono_us=9_000_000)) as made:
        run = made.run()
        verdict = made.refund(run, "c7", "A-7")
        return verdict.verdict, verdict.entry


def test_an_honest_index_is_as_good_as_none(shop: Path) -> None:
    assert seventh(shop)[0] == "DENY"
    fair(audit.verify_workspace(shop))


@pytest.mark.parametrize("name", POISONS)
def test_a_verdict_given_on_a_poisoned_index_does_not_recount(shop: Path, name: str) -> None:
    POISONS[name](shop)
    try:
        verdict, entry = seventh(shop)
    except FailwellError:
        verdict, entry = "nothing was decided", -1
    report = audit.verify_workspace(shop)
    if verdict == "ALLOW":
        caught(report, within=(0, entry), code="decision.limit")
        assert report.first_bad == entry
    else:
        fair(report)
    assert (verdict == "ALLOW") == (name in ("reserved emptied", "all at another time"))
