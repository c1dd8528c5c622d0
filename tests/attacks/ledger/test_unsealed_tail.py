"""The unsealed tail: a node was killed before the guard had signed its newest entries, and the attacker has the file.

The window is what was committed since the last seal: 100 ms, and 1 s at most before the gate closes. In it, what a file
alone can show is shown; what takes a signature is not, and the report says how many entries that are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.records import Draft, Entry
from failwell.node import audit
from failwell.storage import sqlite
from tests.attacks.ledger.judging import Ground, caught, fair, undetected
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, replace

#: Where the seal ends in these tests: the release of a suspended agent stands behind it.
SEALED = 57


@pytest.fixture
def killed(ground: Ground) -> Forger:
    """The ledger as it lay there when its node was killed: sealed up to there, no clean stop at its end."""
    forger = ground.forger()
    forger.cut(ground.size - 1, resign=False)
    forger.sql("UPDATE checkpoint SET size = ?, note = ?", SEALED, ground.kept(SEALED))
    return forger


def tail(ground: Ground) -> list[Entry[Any]]:
    return ground.entries[: ground.size - 1]


def put(forger: Forger, ground: Ground, entries: list[Entry[Any]]) -> None:
    """A tail in place of the true one, all hashes and rows made to fit; the seal stays as it is."""
    forger.store(entries, resign=False)
    forger.sql("UPDATE checkpoint SET size = ?, note = ?", SEALED, ground.kept(SEALED))


@pytest.mark.requirement("R13.23", "R13.24")
def test_a_killed_nodes_tail_is_counted_and_accused_of_nothing(ground: Ground, killed: Forger) -> None:
    report = killed.verify(ground.kept(SEALED))
    fair(report)
    assert report.unsealed == ground.size - 1 - SEALED
    for size in range(2, ground.size - 1, 3):
        forger = ground.forger()
        forger.cut(ground.size - 1, resign=False)
        forger.sql("UPDATE checkpoint SET size = ?, note = ?", size, ground.kept(size))
        report = forger.verify()
        fair(report)
        assert report.unsealed == ground.size - 1 - size


def test_a_byte_of_the_tail_changed_is_found_like_any_other(ground: Ground) -> None:
    for seq in range(SEALED, ground.size - 1):
        forger = ground.forger()
        forger.cut(ground.size - 1, resign=False)
        forger.sql("UPDATE checkpoint SET size = ?, note = ?", SEALED, ground.kept(SEALED))
        data = ground.data[seq]
        forger.sql("UPDATE entry SET data = ? WHERE seq = ?", data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], seq)
        caught(forger.verify(), entry=seq)
        ground.hold(forger)


def test_a_tail_that_breaks_the_rules_of_the_record_is_found(ground: Ground, killed: Forger) -> None:
    """An agent released by nobody, an order of nobody, an effect without a verdict: no seal is needed to see that."""
    entries = tail(ground)
    denied = next(e.seq for e in entries if isinstance(e.body, kinds.Decision) and e.body.verdict == "DENY")
    for entry in entries[SEALED:]:
        body = entry.body
        worse: Any
        if isinstance(body, kinds.Order):
            worse = replace(body, text=body.text.replace('"at":"2026', '"at":"2025'))
        elif isinstance(body, kinds.ReleaseApproved):
            worse = replace(body, person="olga")
        elif isinstance(body, kinds.AuthorityChanged):
            worse = replace(body, now="ACTIVE")
        elif isinstance(body, kinds.EffectWitnessed) and body.decision is not None:
            worse = replace(body, decision=denied)
        else:
            continue
        changed = [replace(e, body=worse) if e.seq == entry.seq else e for e in entries]
        put(killed, ground, changed)
        report = killed.verify()
        caught(report)
        assert (report.findings[0].first or 0) <= entry.seq <= (report.findings[0].last or 0)


@pytest.mark.requirement("R13.24")
def test_a_tail_that_keeps_the_rules_passes_and_is_said_to_be_unsealed(ground: Ground, killed: Forger) -> None:
    """The limit: what no seal covers and no rule betrays could have been written by whoever has the file."""
    entries = tail(ground)
    note = kinds.Health(part="storage", state="ok", detail="all is well")
    shown = entries[-1]
    put(killed, ground, [*entries[:-1], replace(shown, body=note)])
    report = killed.verify()
    undetected(report)
    assert report.unsealed == len(entries) - SEALED
    killed.cut(SEALED, resign=False)
    report = killed.verify()
    undetected(report)  # the whole tail gone: it had never been sealed
    assert report.unsealed == 0


def test_a_tail_that_the_guard_had_signed_before_it_was_changed_is_found_by_the_guards_memory(
    ground: Ground, killed: Forger
) -> None:
    """The seal is stored with the next commit: the guard remembers more than the file has of it."""
    entries = tail(ground)
    put(killed, ground, [*entries[:-1], replace(entries[-1], mono_us=entries[-1].mono_us + 1)])
    caught(killed.verify(ground.kept(SEALED), ground.kept(len(entries))), within=(SEALED, len(entries) - 1))
    killed.cut(SEALED, resign=False)
    caught(killed.verify(ground.kept(len(entries))), entry=SEALED, code="kept.cut")


def test_the_sealed_part_under_an_unsealed_tail_is_as_strong_as_ever(ground: Ground, killed: Forger) -> None:
    for seq in range(0, SEALED, 5):
        put(killed, ground, [replace(e, mono_us=e.mono_us + 1) if e.seq == seq else e for e in tail(ground)])
        caught(killed.verify(), within=(0, SEALED), code="head.root")
    killed.cut(SEALED - 3, resign=False)
    killed.sql("UPDATE checkpoint SET size = ?, note = ?", SEALED, ground.kept(SEALED))
    caught(killed.verify(), entry=SEALED - 3, code="head.cut")


def written_after_the_end(ground: Ground, body: Any, *, first: Any = None) -> Forger:
    """The closed ledger with entries written behind its last, all that needs no key made to fit."""
    forger = ground.forger()
    note = forger.one("SELECT note FROM checkpoint")
    for each in (first, body):
        if each is not None:
            forger.append(each, "node")
    forger.sql("UPDATE checkpoint SET size = ?, note = ?", ground.size, note)
    return forger


@pytest.mark.requirement("R13.25")
def test_entries_written_to_a_ledger_that_lay_closed_are_named(ground: Ground) -> None:
    forger = written_after_the_end(ground, kinds.NodeStopped(reason="late"))
    report = forger.verify()
    caught(report, entry=ground.size, code="head.beyond")
    ground.hold(forger)


def test_entries_written_to_a_closed_ledger_that_begin_as_a_node_does_pass_as_an_unsealed_tail(
    ground: Ground,
) -> None:
    """The limit again: a node that was started and killed at once leaves just this."""
    clock = kinds.Clock(reason="boot", wall="2026-11-24T10:00:00.000000Z", stepped_us=0)
    forger = written_after_the_end(ground, kinds.Health(part="storage", state="ok", detail="late"), first=clock)
    report = forger.verify()
    undetected(report)
    assert report.unsealed == 2


def test_the_file_of_a_killed_node_itself_says_the_same(tmp_path: Path) -> None:
    """Through the product: a guard that is away while entries are written, and no clean stop."""
    path = tmp_path / "shop"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        sealed = made.book.state.size
        made.sealed()
        sqlite.copy(path / "ledger.db", tmp_path / "before.db")
        made.write(Draft(body=kinds.Health(part="storage", state="ok", detail="new"), actor="node"))
        report = audit.verify_workspace(path)
        fair(report)
        assert report.unsealed in (0, 1)
        assert report.entries == sealed + 1
