"""Reorder: the attacker has the file and changes places: neighbours, distant rows, one row in the place of another."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from failwell.core.records import Entry
from tests.attacks.ledger.judging import COLUMNS, Ground, caught, told
from tests.unit.verify.forgery import Forger, replace


def swap(forger: Forger, table: str, first: tuple[object, ...], second: tuple[object, ...]) -> None:
    key, *rest = COLUMNS[table]
    for target, source in ((first, second), (second, first)):
        values = ", ".join(f"{column} = ?" for column in rest)
        forger.sql(f'UPDATE "{table}" SET {values} WHERE {key} = ?', *source[1:], target[0])


@pytest.mark.parametrize("table", [table for table in COLUMNS if table not in ("checkpoint", "workspace")])
@pytest.mark.requirement("R13.3")
def test_every_two_neighbouring_rows_swapped(ground: Ground, table: str) -> None:
    for first, second in pairwise(ground.rows[table]):
        if first[1:] == second[1:]:
            continue
        forger = ground.forger()
        swap(forger, table, first, second)
        told(forger.verify(), table, first[0])
        ground.hold(forger)


def test_distant_entries_swapped(ground: Ground, rng: random.Random) -> None:
    for _ in range(60):
        low, high = sorted(rng.sample(range(ground.size), 2))
        forger = ground.forger()
        swap(forger, "entry", ground.rows["entry"][low], ground.rows["entry"][high])
        caught(forger.verify(), entry=low)
        ground.hold(forger)


def test_every_entry_doubled_in_the_place_of_the_next(ground: Ground) -> None:
    for row in ground.rows["entry"][:-1]:
        forger = ground.forger()
        forger.sql("UPDATE entry SET data = ?, leaf = ?, nodes = ? WHERE seq = ?", *row[1:], row[0] + 1)
        caught(forger.verify(), entry=row[0] + 1)
        ground.hold(forger)


def test_neighbours_swapped_and_numbered_anew_with_all_hashes_made_new(ground: Ground) -> None:
    """Each entry now bears the number of its place; the signed root is of the other order."""
    for at in range(0, ground.size - 1, 2):
        place = {at: at + 1, at + 1: at}
        entries = sorted(
            (replace(entry, seq=place.get(entry.seq, entry.seq)) for entry in ground.entries),
            key=lambda entry: entry.seq,
        )
        forger = ground.forger()
        forger.store([_citing(entry, place) for entry in entries], resign=False)
        report = forger.verify()
        caught(report, within=(0, ground.size - 1))
        ground.hold(forger)


def _citing(entry: Entry[Any], place: dict[int, int]) -> Entry[Any]:
    """Its citations followed to where the cited entries stand now; what would stand later cannot be cited."""
    cited = (replace(ref, seq=place.get(ref.seq, ref.seq)) for ref in entry.refs)
    return replace(entry, refs=tuple(ref for ref in cited if ref.seq < entry.seq))
