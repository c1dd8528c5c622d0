"""The hash-only mode against the full one: block by block it must compute the same heads and find the same damage."""

from __future__ import annotations

import random
from typing import Any

import pytest

from failwell.core import merkle
from failwell.identity import keys
from failwell.offline import entries, hashes
from failwell.verify.anchors import Anchor
from failwell.verify.finding import HEAD, KEPT, KEYS, TREE, Report
from failwell.verify.record import Ledger, Record, silent
from tests.unit.verify.hand_log import A, shop
from tests.unit.verify.logs import OTHER, Log, Pair

Row = tuple[int, bytes, bytes, bytes]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of eight, so that a small log has many of them and every kind of border."""
    monkeypatch.setattr(hashes, "BLOCK", 8)


def given(rows: list[Any], head: bytes) -> Ledger:
    size = int(head.split(b"\n")[1])
    return Ledger(entries=iter(rows), blobs=None, tokens=None, checkpoints=[(1, size, head)], rows=lambda table: ())


def both(log: Log, rows: list[Any] | None = None, *kept: bytes, head: bytes | None = None) -> tuple[Report, Report]:
    """The report of hashes only, and the full one."""
    rows = list(log.rows()) if rows is None else rows
    head = log.sign(log.size, log.pair) if head is None else head
    anchors = [Anchor(f"kept {number}", note) for number, note in enumerate(kept)]
    quick = hashes.verify_hashes(
        given(rows, head), verify=keys.verify, log_key=log.pair.text, kept=anchors, tell=silent
    )  # fmt: skip
    record = Record(
        given(rows, head), decode=entries.decode_entry, verify=keys.verify, log_key=log.pair.text, kept=anchors
    )
    record.walk(None, silent)
    return quick, record.report(0)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 15, 16, 17, 24, 63, 64, 65])
def test_heads_of_every_size_are_those_of_the_tree(size: int) -> None:
    log = Log()
    log.fill(size - 1)
    quick, full = both(log, None, *(log.sign(each, log.pair) for each in range(size + 1)))
    assert quick.ok, quick.findings
    assert full.ok
    assert (quick.size, quick.root, quick.origin) == (full.size, full.root, full.origin)
    assert quick.root == log.root(size).hex()
    assert {step.number for step in quick.checks if step.state == "proved"} == {TREE, HEAD, KEPT, KEYS}


def test_a_head_that_was_kept_of_another_tree_is_found_wherever_it_stands() -> None:
    log, other = Log(), Log()
    log.fill(40)
    other.add("health", part="store", state="ok", detail="another")
    other.fill(40)
    for size in range(2, 41):
        quick, full = both(log, None, other.sign(size, log.pair))
        assert quick.counts == full.counts == {"kept.root": 1}


def test_a_byte_flipped_in_any_field_of_any_row(rng: random.Random) -> None:
    log = Log()
    log.fill(29)
    rows = log.rows()
    for at, row in enumerate(rows):
        for field in (1, 2, 3):
            if not row[field]:
                continue
            changed = bytearray(row[field])
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            damaged = [*rows[:at], (*row[:field], bytes(changed), *row[field + 1 :]), *rows[at + 1 :]]
            quick, full = both(log, damaged)
            assert not quick.ok
            assert not full.ok
            # A changed hash is named exactly; changed bytes are found by their leaf.
            assert quick.findings[0].entry == at, (at, field, quick.findings)


@pytest.mark.parametrize(
    "how",
    [
        lambda rows, at: rows[:at] + rows[at + 1 :], lambda rows, at: [*rows[: at + 1], *rows[at:]],
        lambda rows, at: [*rows[:at], (at, "text", b"", b""), *rows[at + 1 :]],
        lambda rows, at: [*rows[:at], (None, b"", b"", b""), *rows[at + 1 :]],
        lambda rows, at: [*rows[:at], (at, b""), *rows[at + 1 :]],
        lambda rows, at: [*rows[:at], (True, *rows[at][1:]), *rows[at + 1 :]],
        lambda rows, at: [*rows[:at], (2**62, *rows[at][1:]), *rows[at + 1 :]],
    ],
    ids=["removed", "doubled", "text", "no number", "short", "true", "far"],
)  # fmt: skip
def test_rows_missing_doubled_or_no_rows(how: Any) -> None:
    log = Log()
    log.fill(20)
    for at in (0, 1, 7, 8, 9, 20):
        rows = how(log.rows(), at)
        quick, full = both(log, rows)
        assert not quick.ok
        assert not full.ok
        assert quick.findings[0].entry in (at, at + 1), quick.findings  # of two alike, the second is one too many
        assert quick.root is None or at == 20


@pytest.mark.parametrize("before", range(16))
def test_keys_and_names_that_change_at_any_place_of_a_block(before: int) -> None:
    log = Log(Pair(1))
    log.fill(before)
    early = log.sign(log.size, Pair(1))
    rotated = log.rotate(Pair(2))
    middle = log.sign(rotated + 1, Pair(2))
    log.fill(before % 5)
    log.go_on(Pair(3, OTHER))
    log.fill(9)
    quick, full = both(log, None, early, middle)
    assert quick.ok == full.ok
    assert quick.origin == OTHER
    assert quick.findings == full.findings
    assert [quick.checks[step - 1] for step in (HEAD, KEPT)] == [full.checks[step - 1] for step in (HEAD, KEPT)]


@pytest.mark.parametrize("before", range(9))
def test_a_log_that_goes_on_from_a_head_that_was_not_its_own(before: int) -> None:
    log = Log(Pair(1))
    log.fill(before)
    log.go_on(Pair(3, OTHER), root="00" * 32)
    quick, full = both(log)
    assert quick.counts == full.counts == {"log.continued": 1}


def test_entries_behind_a_node_that_had_stopped_are_found_at_every_border_of_a_block() -> None:
    for fill in range(9):
        log = shop(2)
        log.fill(fill)
        stopped = log.stop()
        log.act(A, "after all")
        quick, full = both(log, head=log.sign(stopped + 1, log.pair))
        assert quick.counts == full.counts == {"head.beyond": 1}
        assert quick.unsealed == full.unsealed == 1


def test_the_text_of_a_key_change_inside_a_string_changes_no_key() -> None:
    log = Log()
    log.add("health", part='"kind":"log.key"', state='"kind":"continued"', detail="")
    log.add("health", part="x", state="ok", detail={"kind": "log.key"})
    quick, full = both(log)
    assert quick.ok
    assert full.ok


def test_unsealed_entries_at_the_end_are_counted() -> None:
    log = Log()
    log.fill(20)
    for size in range(1, 22):
        quick, full = both(log, head=log.sign(size, log.pair))
        assert quick.ok
        assert quick.unsealed == full.unsealed == 21 - size
        assert quick.root == full.root == merkle.root_of(map(merkle.leaf_hash, log.data)).hex()
