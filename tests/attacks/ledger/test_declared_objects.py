"""Triggers and views: the attacker has the file and declares in it what would act, or be read, in our name."""

from __future__ import annotations

import pytest

from tests.attacks.ledger.judging import COLUMNS, Ground, caught


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE extra (x)",
        "CREATE VIEW seen AS SELECT * FROM entry",
        "CREATE INDEX by_token ON token (token)",
        "CREATE TRIGGER quiet AFTER INSERT ON entry BEGIN DELETE FROM signal; END",
        "CREATE TRIGGER kind AFTER UPDATE ON agent BEGIN UPDATE agent SET row = 'x'; END",
        "ALTER TABLE person ADD COLUMN note TEXT",
        "DROP TABLE page",
        "ALTER TABLE entry RENAME TO entry2",
        "PRAGMA user_version = 99",
        "PRAGMA application_id = 1",
        "ANALYZE",
    ],
)
def test_a_file_that_declares_something_of_its_own(ground: Ground, change: str) -> None:
    forger = ground.forger()
    forger.sql(change)
    caught(forger.verify())


@pytest.mark.parametrize("table", COLUMNS)
def test_a_view_in_the_place_of_each_table_is_not_read(ground: Ground, table: str) -> None:
    """It would say exactly what the table said, until it says something else."""
    forger = ground.forger()
    forger.sql(f'ALTER TABLE "{table}" RENAME TO old')
    forger.sql(f'CREATE VIEW "{table}" AS SELECT * FROM old')
    report = forger.verify()
    caught(report, code="file.object")
    if table == "entry":
        assert report.entries == 0


def test_a_view_that_never_ends_in_the_place_of_the_entries_is_not_read(ground: Ground) -> None:
    forger = ground.forger()
    forger.sql("ALTER TABLE entry RENAME TO old")
    forger.sql(
        "CREATE VIEW entry AS WITH RECURSIVE n(seq) AS (SELECT 0 UNION ALL SELECT seq + 1 FROM n) "
        "SELECT seq, x'00' AS data, x'00' AS leaf, x'' AS nodes FROM n"
    )
    report = forger.verify()
    caught(report)
    assert report.first_bad == 0
    assert report.entries == 0
