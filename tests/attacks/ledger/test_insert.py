"""Insert: the attacker has the file and puts rows into it, between others, before the first or beyond the last."""

from __future__ import annotations

import pytest

from failwell.core.tokens import MAX_TOKENS
from tests.attacks.ledger.judging import COLUMNS, Ground, caught, told


@pytest.mark.requirement("R13.3")
def test_an_entry_inserted_before_each_other(ground: Ground) -> None:
    for at in range(1, ground.size):
        forger = ground.forger()
        forger.sql("UPDATE entry SET seq = -seq - 1 WHERE seq >= ?", at)
        forger.sql("UPDATE entry SET seq = -seq WHERE seq < 0")
        forger.sql("INSERT INTO entry SELECT ?, data, leaf, nodes FROM entry WHERE seq = ?", at, at - 1)
        caught(forger.verify(), entry=at)
        ground.hold(forger)


@pytest.mark.parametrize("table", [table for table in COLUMNS if table != "checkpoint"])
def test_a_row_appended_to_each_table(ground: Ground, table: str) -> None:
    forger = ground.forger()
    last = ground.rows[table][-1]
    new = ground.size if table in ("entry", "blob") else ground.size * MAX_TOKENS if table == "token" else None
    added = new if new is not None else last[0] + 1 if isinstance(last[0], int) else last[0] + "x"
    forger.sql(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(last))})', added, *last[1:])
    told(forger.verify(), table, added)
    ground.hold(forger)


def test_a_blob_or_token_put_beside_an_entry_that_has_none(ground: Ground) -> None:
    blob, token = ground.rows["blob"][0], ground.rows["token"][0]
    for entry in ground.entries:
        if entry.blob is None:
            forger = ground.forger()
            forger.sql("INSERT INTO blob VALUES (?, ?, ?)", entry.seq, *blob[1:])
            caught(forger.verify(), entry=entry.seq)
        forger = ground.forger()
        place = entry.seq * MAX_TOKENS + len(entry.tokens)
        forger.sql("INSERT INTO token VALUES (?, ?, ?, ?)", place, *token[1:])
        caught(forger.verify(), entry=entry.seq)
        ground.hold(forger)


@pytest.mark.parametrize("number", [-1, 2**62])
def test_a_row_numbered_before_the_first_or_far_beyond_the_last(ground: Ground, number: int) -> None:
    for table in ("entry", "blob", "token"):
        forger = ground.forger()
        row = ground.rows[table][0]
        forger.sql(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(row))})', number, *row[1:])
        caught(forger.verify())
        ground.hold(forger)
