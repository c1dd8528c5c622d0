"""The tree as the ledger grows it: what a row stores, and that stored rows are enough for every proof."""

from __future__ import annotations

import hashlib

import pytest

from failwell.core.errors import Corrupt, InputError
from failwell.core.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    perfect_subtrees,
    range_root,
    root_of,
)

LEAVES = [leaf_hash(str(number).encode()) for number in range(70)]


class Rows:
    """Entry rows as storage keeps them: the leaf and the subtrees that it completed. Counts reads."""

    def __init__(self, leaves: list[bytes]) -> None:
        frontier = Frontier()
        self.rows = [(leaf, frontier.append(leaf)) for leaf in leaves]
        self.reads = 0

    def get(self, level: int, index: int) -> bytes:
        self.reads += 1
        leaf, completed = self.rows[((index + 1) << level) - 1]
        return completed[level - 1] if level else leaf


def test_leaves_and_nodes_are_hashed_in_separate_domains() -> None:
    assert leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()
    assert node_hash(LEAVES[0], LEAVES[1]) == hashlib.sha256(b"\x01" + LEAVES[0] + LEAVES[1]).digest()


def test_an_entry_made_of_two_hashes_does_not_pass_for_their_node() -> None:
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != root_of(LEAVES[:2])


def test_append_returns_the_subtrees_that_the_leaf_completes() -> None:
    frontier = Frontier()
    lengths = [len(frontier.append(leaf)) for leaf in LEAVES[:8]]
    assert lengths == [0, 1, 0, 2, 0, 1, 0, 3]
    twin = Frontier()
    for leaf in LEAVES[:7]:
        twin.append(leaf)
    assert twin.append(LEAVES[7]) == (root_of(LEAVES[6:8]), root_of(LEAVES[4:8]), root_of(LEAVES[:8]))


def test_size_and_hashes_follow_the_leaves() -> None:
    frontier = Frontier()
    for leaf in LEAVES[:11]:
        frontier.append(leaf)
    assert frontier.size == 11
    assert frontier.hashes() == (root_of(LEAVES[:8]), root_of(LEAVES[8:10]), LEAVES[10])


def test_a_copy_grows_alone() -> None:
    frontier = Frontier()
    frontier.append(LEAVES[0])
    twin = frontier.copy()
    twin.append(LEAVES[1])
    assert (frontier.size, frontier.root()) == (1, LEAVES[0])
    assert (twin.size, twin.root()) == (2, root_of(LEAVES[:2]))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 31, 32, 33, 70])
def test_a_frontier_read_back_from_rows_grows_on_as_before(size: int) -> None:
    rows = Rows(LEAVES)
    whole = Frontier()
    for leaf in LEAVES[:size]:
        whole.append(leaf)
    for restored in (Frontier.read(size, rows.get), Frontier.from_hashes(size, whole.hashes())):
        assert (restored.size, restored.root()) == (size, whole.root())
        assert restored.append(LEAVES[0]) == whole.copy().append(LEAVES[0])


@pytest.mark.parametrize(
    ("size", "hashes"),
    [(1, []), (0, [LEAVES[0]]), (2, LEAVES[:2]), (1, [b"short"]), (-1, [LEAVES[0]]), (3, LEAVES[:3])],
    ids=["none", "too many", "two for one", "short", "negative", "three for two"],
)
def test_a_frontier_that_cannot_be_is_refused(size: int, hashes: list[bytes]) -> None:
    with pytest.raises(Corrupt):
        Frontier.from_hashes(size, hashes)


@pytest.mark.parametrize("leaf", [b"", b"x" * 31, b"x" * 33])
def test_a_leaf_that_is_no_hash_is_refused_and_changes_nothing(leaf: bytes) -> None:
    frontier = Frontier()
    frontier.append(LEAVES[0])
    with pytest.raises(InputError):
        frontier.append(leaf)
    assert (frontier.size, frontier.root()) == (1, LEAVES[0])


def test_ranges_are_covered_by_perfect_subtrees() -> None:
    assert perfect_subtrees(0, 0) == []
    assert perfect_subtrees(0, 11) == [(3, 0), (1, 4), (0, 10)]
    assert perfect_subtrees(8, 11) == [(1, 4), (0, 10)]
    assert range_root(8, 11, Rows(LEAVES).get) == root_of(LEAVES[8:11])
    assert range_root(5, 5, Rows(LEAVES).get) == EMPTY_ROOT


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (6, 5), (-1, 5)])
def test_there_is_no_proof_for_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(InputError):
        inclusion_path(index, size, Rows(LEAVES).get)


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 1), (0, 5), (5, 5)])
def test_from_nothing_and_to_itself_there_is_nothing_to_prove(old: int, new: int) -> None:
    assert consistency_path(old, new, Rows(LEAVES).get) == []


@pytest.mark.parametrize(("old", "new"), [(-1, 5), (6, 5)])
def test_there_is_no_proof_from_a_longer_tree_to_a_shorter_one(old: int, new: int) -> None:
    with pytest.raises(InputError):
        consistency_path(old, new, Rows(LEAVES).get)


def test_a_cut_hash_in_storage_is_found_before_it_enters_a_proof() -> None:
    with pytest.raises(Corrupt):
        inclusion_path(0, 2, lambda level, index: b"cut")


def test_proofs_take_a_logarithm_of_reads() -> None:
    reads: list[tuple[int, int]] = []

    def get(level: int, index: int) -> bytes:
        reads.append((level, index))
        return LEAVES[0]

    size = 2**40 - 1
    inclusion_path(12_345_678_901, size, get)
    consistency_path(12_345_678_901, size, get)
    assert len(reads) <= 2 * 2 * 40
