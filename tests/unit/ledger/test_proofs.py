"""Proofs from stored rows: right at every size, in O(log n) reads, and none from a row that was changed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from failwell.core.errors import Corrupt, InputError, NotFound
from failwell.core.merkle import leaf_hash
from failwell.core.proof import verify_consistency, verify_inclusion
from failwell.core.tlog_proof import TlogProof, open_proof
from failwell.core.tlog_witness import AddCheckpoint, open_growth
from failwell.ledger.proofs import StoredTree
from failwell.ports.storage import StoredEntry
from tests.peers.logs import Log, some_entries


@pytest.fixture
def log(tmp_path: Path, rng: random.Random) -> Iterator[Log]:
    with Log(tmp_path / "ws") as log:
        log.grow(some_entries(rng, 70))
        yield log


class Counted:
    """Rows of a tree whose hashes are not looked at, counted: what a proof of any size costs."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, seq: int) -> StoredEntry:
        self.reads += 1
        return StoredEntry(seq, b"", bytes(32), bytes(32 * 63))


def test_every_entry_and_every_growth_is_proven_from_the_rows(log: Log) -> None:
    tree = StoredTree(log.storage.entry)
    for size in range(1, log.size + 1):
        assert tree.root(size) == log.root(size)
        for seq in range(size):
            verify_inclusion(log.leaves[seq], seq, size, tree.inclusion(seq, size), log.root(size))
        for old in range(size + 1):
            verify_consistency(old, log.root(old), size, log.root(size), tree.consistency(old, size))


def test_what_is_handed_out_is_whole_and_opens_with_the_logs_key_alone(log: Log) -> None:
    tree = StoredTree(log.storage.entry)
    for size in (1, 2, 33, 70):
        for seq in {0, size // 2, size - 1}:
            proof = TlogProof.parse(tree.prove_entry(seq, log.note(size)).encode())
            assert proof.extra == log.entries[seq]
            assert open_proof(proof, leaf_hash(proof.extra), log.origin, log.verifiers).size == size
        for old in {0, 1, size // 2, size}:
            growth = AddCheckpoint.parse(tree.prove_growth(old, log.note(size)).encode())
            assert open_growth(growth, log.root(old), log.origin, log.verifiers).size == size


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 1_000_000, 2**20 - 1, 2**40 + 12_345])
def test_proofs_take_o_of_log_n_row_reads(size: int, rng: random.Random) -> None:
    most = 2 * (math.ceil(math.log2(size)) + 1)
    rows = Counted()
    tree = StoredTree(rows)
    for seq in {0, size - 1, size // 2, *(rng.randrange(size) for _ in range(200))}:
        for prove in (tree.inclusion, tree.consistency):
            rows.reads = 0
            assert len(prove(seq, size)) <= most
            assert rows.reads <= most


def test_entries_beyond_the_checkpoint_are_not_proven(log: Log) -> None:
    tree = StoredTree(log.storage.entry)
    for seq in (-1, 33, 69, 70):
        with pytest.raises(NotFound) as refused:
            tree.prove_entry(seq, log.note(33))
        assert refused.value.code == "not-sealed"
    for old in (-1, 34):
        with pytest.raises(InputError):
            tree.prove_growth(old, log.note(33))


def test_no_proof_comes_from_a_changed_row(log: Log) -> None:
    """A byte of data, leaf or nodes of a row, changed: the proofs that need it are refused, the rest are right."""
    size, note = log.size, log.note(log.size)
    honest = [log.storage.entry(seq) for seq in range(size)]
    refusals = 0
    for bad in range(0, size, 3):
        row = honest[bad]
        assert row is not None
        for field in ("data", "leaf", "nodes"):
            value: bytes = getattr(row, field)
            if not value:
                continue
            at = bad % len(value)
            flipped = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
            broken = {**dict(enumerate(honest)), bad: StoredEntry(**{**row._asdict(), field: flipped})}
            tree = StoredTree(broken.get)
            for seq in {bad, bad ^ 1, (bad + 31) % size} - {size}:
                try:
                    proof = tree.prove_entry(seq, note)
                except Corrupt:
                    refusals += 1
                else:
                    open_proof(proof, log.leaves[seq], log.origin, log.verifiers)
            try:
                growth = tree.prove_growth(bad, note, log.root(bad))
            except Corrupt:
                refusals += 1
            else:
                open_growth(growth, log.root(bad), log.origin, log.verifiers)
    assert refusals >= 50


def test_a_missing_or_short_row_is_a_finding(log: Log) -> None:
    row = log.storage.entry(63)
    assert row is not None
    for broken in (None, row._replace(nodes=row.nodes[:-1]), row._replace(nodes=b"")):
        rows = {seq: log.storage.entry(seq) for seq in range(log.size)} | {63: broken}
        with pytest.raises(Corrupt):
            StoredTree(rows.get).prove_entry(69, log.note(70))


def test_an_older_root_of_another_history_is_a_finding(log: Log) -> None:
    tree = StoredTree(log.storage.entry)
    with pytest.raises(Corrupt):
        tree.prove_growth(33, log.note(70), log.root(32))


def test_a_proof_does_not_depend_on_entries_that_come_later(log: Log) -> None:
    tree, note = StoredTree(log.storage.entry), log.note(70)
    before = tree.prove_entry(17, note)
    log.grow([b"later"] * 100)
    assert tree.prove_entry(17, note) == before
    assert replace(before, extra=b"") == replace(tree.prove_entry(17, note), extra=b"")


def test_the_largest_entry_is_proven(log: Log) -> None:
    log.grow([b"x" * 65_535])
    proof = StoredTree(log.storage.entry).prove_entry(70, log.note(71))
    assert TlogProof.parse(proof.encode()).extra == b"x" * 65_535
