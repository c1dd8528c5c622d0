"""Strip an agent's entries: the attacker leaves out what one agent did, some of it or all, and makes the rest fit.

Each entry of an agent carries its number among that agent's and the number of the one before (`aseq`, `aprev`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from failwell.core.records import Entry, Ref
from tests.attacks.ledger.judging import Ground, caught
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, replace

STRANGER = "spiffe://shop.example/agent/stranger"


def numbers(ground: Ground, agent: str) -> list[int]:
    return [entry.seq for entry in ground.entries if entry.agent == agent]


def take_out(forger: Forger, gone: Iterable[int]) -> None:
    """The rows of some entries, and what lies beside them."""
    for seq in gone:
        forger.sql("DELETE FROM entry WHERE seq = ?", seq)
        forger.sql("DELETE FROM blob WHERE seq = ?", seq)
        forger.sql("DELETE FROM token WHERE id / 1024 = ?", seq)


def closed_up(ground: Ground, gone: set[int]) -> list[Entry[Any]]:
    """The rest, numbered anew, with each agent's own count and all citations made to fit."""
    place = {seq: number for number, seq in enumerate(seq for seq in range(ground.size) if seq not in gone)}
    last: dict[str, tuple[int, int]] = {}
    kept: list[Entry[Any]] = []
    for entry in ground.entries:
        if entry.seq in gone:
            continue
        refs = tuple(Ref(ref.origin, place[ref.seq], "") for ref in entry.refs if ref.seq in place)
        changed = replace(entry, seq=place[entry.seq], refs=refs)
        if entry.agent is not None:
            count, before = last.get(entry.agent, (-1, -1))
            changed = replace(changed, aseq=count + 1, aprev=None if before < 0 else before)
            last[entry.agent] = (count + 1, changed.seq)
        kept.append(changed)
    return kept


def renumber_beside(forger: Forger, ground: Ground, gone: set[int]) -> None:
    for number, seq in enumerate(seq for seq in range(ground.size) if seq not in gone):
        forger.sql("UPDATE blob SET seq = ? WHERE seq = ?", number, seq)
        forger.sql("UPDATE token SET id = ? + id % 1024 WHERE id / 1024 = ?", number * 1024, seq)


@pytest.mark.parametrize("agent", [ledgers.AGENT, STRANGER])
def test_all_entries_of_an_agent_taken_out_of_the_file(ground: Ground, agent: str) -> None:
    forger = ground.forger()
    gone = numbers(ground, agent)
    take_out(forger, gone)
    caught(forger.verify(), entry=gone[0])
    ground.hold(forger)


def test_all_but_a_few_entries_of_an_agent_taken_out_of_the_file(ground: Ground) -> None:
    """55 of 60 rows gone, as it was done to others."""
    mine = numbers(ground, ledgers.AGENT)
    for first in range(0, len(mine) - 5, 6):
        forger = ground.forger()
        gone = [seq for seq in mine if seq not in mine[first : first + 5]]
        take_out(forger, gone)
        caught(forger.verify(), entry=gone[0])
        ground.hold(forger)


def test_an_agent_nobody_cites_stripped_and_all_made_to_fit_is_found_by_a_kept_checkpoint(ground: Ground) -> None:
    """The refused stranger never was: numbers, counts, citations, hashes, rows and signature all follow."""
    gone = set(numbers(ground, STRANGER))
    forger = ground.forger()
    take_out(forger, gone)
    renumber_beside(forger, ground, gone)
    forger.store(closed_up(ground, gone), resign=True)
    first = min(gone)
    caught(forger.verify(ground.kept(first), ground.kept()), within=(first, ground.size - 1))


def test_one_entry_of_an_agent_stripped_and_all_made_to_fit(ground: Ground) -> None:
    """What followed from it, or led to it, betrays most of them at once; a kept checkpoint all."""
    for seq in numbers(ground, ledgers.AGENT)[8:]:
        forger = ground.forger()
        take_out(forger, {seq})
        renumber_beside(forger, ground, {seq})
        forger.store(closed_up(ground, {seq}), resign=True)
        report = forger.verify(ground.kept(seq), ground.kept())
        caught(report, within=(0, ground.size - 1))
