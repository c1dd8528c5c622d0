"""Re-hash everything: the attacker has the file, changes an entry, and computes all anew that needs no key."""

from __future__ import annotations

from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.records import Entry
from tests.attacks.ledger.judging import Ground, caught
from tests.unit.verify.forgery import replace


def told_later(entry: Entry[Any]) -> Entry[Any]:
    """Something that no rule betrays: an instant of the boot clock."""
    return replace(entry, mono_us=entry.mono_us + 1)


def test_every_entry_changed_with_leaves_subtrees_citations_and_rows_made_new(ground: Ground) -> None:
    """The signature is the old one and signs another root: somewhere up to the end of what it covers."""
    for entry in ground.entries:
        forger = ground.forger()
        forger.change(entry.seq, told_later, resign=False)
        caught(forger.verify(), within=(0, ground.size - 1), code="head.root")
        assert forger.one("SELECT data FROM entry WHERE seq = ?", entry.seq) != ground.data[entry.seq]


def test_checkpoints_kept_along_the_way_narrow_it_down_to_what_lies_between_two(ground: Ground) -> None:
    kept = [ground.kept(size) for size in (16, 32, 48)]
    for entry in ground.entries[::2]:
        forger = ground.forger()
        forger.change(entry.seq, told_later, resign=False)
        first = min(entry.seq // 16 * 16, 48)
        last = first + 15 if first < 48 else ground.size - 1
        report = forger.verify(*kept, ground.kept())
        caught(report, within=(first, last))
        assert first <= report.good <= entry.seq


def test_a_checkpoint_kept_before_and_one_after_it_name_the_entry_alone_and_what_came_before_proves(
    ground: Ground,
) -> None:
    for seq in range(0, ground.size, 2):
        forger = ground.forger()
        forger.change(seq, told_later, resign=False)
        caught(forger.verify(ground.kept(seq), ground.kept(seq + 1), ground.kept()), entry=seq)
        ground.hold(forger)


@pytest.mark.parametrize("seq", range(0, 70, 7))
def test_a_health_entry_in_the_place_of_any_other(ground: Ground, seq: int) -> None:
    forger = ground.forger()
    body = kinds.Health(part="storage", state="ok", detail="nothing to see")
    forger.change(
        seq,
        lambda each: replace(each, actor="node", kind="health", v=1, body=body, refs=(), blob=None, tokens=()),
        resign=False,
    )
    caught(forger.verify(), within=(0, ground.size - 1))
