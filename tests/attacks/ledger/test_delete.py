"""Delete: the attacker has the file and takes rows out of it."""

from __future__ import annotations

import pytest

from tests.attacks.ledger.judging import COLUMNS, Ground, caught, told


@pytest.mark.parametrize("table", COLUMNS)
@pytest.mark.requirement("R13.3")
def test_every_row_of_every_table_removed(ground: Ground, table: str) -> None:
    key = COLUMNS[table][0]
    for found, *_ in ground.rows[table]:
        forger = ground.forger()
        forger.sql(f'DELETE FROM "{table}" WHERE {key} = ?', found)
        told(forger.verify(), table, found)
        ground.hold(forger)


@pytest.mark.requirement("R13.3")
def test_every_entry_removed_and_the_rest_moved_up(ground: Ground) -> None:
    for at in range(ground.size - 1):
        forger = ground.forger()
        forger.sql("DELETE FROM entry WHERE seq = ?", at)
        forger.sql("UPDATE entry SET seq = -seq WHERE seq > ?", at)
        forger.sql("UPDATE entry SET seq = -seq - 1 WHERE seq < 0")
        caught(forger.verify(), entry=at)
        ground.hold(forger)


def test_a_range_of_entries_removed_is_named_from_its_first(ground: Ground) -> None:
    for first in range(0, ground.size - 2, 3):
        for count in (2, 9):
            forger = ground.forger()
            for table, key in (("entry", "seq"), ("blob", "seq")):
                forger.sql(f"DELETE FROM {table} WHERE {key} >= ? AND {key} < ?", first, first + count)
            forger.sql("DELETE FROM token WHERE id >= ? AND id < ?", first * 1024, (first + count) * 1024)
            caught(forger.verify(), entry=first)
            ground.hold(forger)
