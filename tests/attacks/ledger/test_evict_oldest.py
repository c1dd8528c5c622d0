"""Evict the oldest: the attacker drops the beginning, as a log that rotates does, with or without the key."""

from __future__ import annotations

from tests.attacks.ledger.judging import Ground, caught
from tests.unit.verify.forgery import replace


def test_the_beginning_dropped_up_to_every_entry(ground: Ground) -> None:
    for kept_from in range(1, ground.size):
        forger = ground.forger()
        for table, key in (("entry", "seq"), ("blob", "seq")):
            forger.sql(f"DELETE FROM {table} WHERE {key} < ?", kept_from)
        forger.sql("DELETE FROM token WHERE id < ?", kept_from * 1024)
        caught(forger.verify(), entry=0)
        ground.hold(forger)


def test_the_beginning_dropped_and_the_rest_numbered_anew_and_signed(ground: Ground) -> None:
    """A ledger begins with its genesis and with a first order; another beginning cannot be signed for."""
    for dropped in range(1, ground.size - 1, 2):
        forger = ground.forger()
        kept = [
            replace(
                entry,
                seq=entry.seq - dropped,
                refs=tuple(replace(ref, seq=max(0, ref.seq - dropped)) for ref in entry.refs if ref.seq >= dropped),
            )
            for entry in ground.entries[dropped:]
        ]
        forger.store(kept, resign=True)
        report = forger.verify()
        caught(report)
        assert report.first_bad == 0
        caught(forger.verify(ground.kept()))
