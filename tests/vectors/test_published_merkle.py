"""The reference tree of RFC 6962's implementations: roots, proofs, and their published corruptions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core.errors import Corrupt
from failwell.core.merkle import EMPTY_ROOT, Frontier, consistency_path, inclusion_path, leaf_hash, root_of
from failwell.core.proof import verify_consistency, verify_inclusion

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "merkle_reference.json").read_text())
LEAVES = [leaf_hash(bytes.fromhex(each)) for each in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(each) for each in VECTORS["roots"]]
SOME_HASH = bytes.fromhex("abacaba000000000000000000000000000000000000000000060061e00123456")

InclusionCase = tuple[bytes, int, int, list[bytes], bytes]
ConsistencyCase = tuple[int, bytes, int, bytes, list[bytes]]


def stored(level: int, index: int) -> bytes:
    return root_of(LEAVES[index << level : (index + 1) << level])


def path_of(case: dict[str, Any]) -> list[bytes]:
    return [bytes.fromhex(each) for each in case["path"]]


def test_the_empty_tree() -> None:
    assert bytes.fromhex(VECTORS["empty_root"]) == EMPTY_ROOT == Frontier().root() == root_of([])


@pytest.mark.parametrize("size", range(1, 9))
def test_roots(size: int) -> None:
    assert root_of(LEAVES[:size]) == ROOTS[size - 1]


@pytest.mark.parametrize("case", VECTORS["inclusion"])
def test_inclusion_proofs_are_made_and_verified(case: dict[str, Any]) -> None:
    index, size, path = case["index"], case["size"], path_of(case)
    assert inclusion_path(index, size, stored) == path
    verify_inclusion(LEAVES[index], index, size, path, ROOTS[size - 1])


@pytest.mark.parametrize("case", VECTORS["consistency"])
def test_consistency_proofs_are_made_and_verified(case: dict[str, Any]) -> None:
    old, new, path = case["old"], case["new"], path_of(case)
    assert consistency_path(old, new, stored) == path
    verify_consistency(old, ROOTS[old - 1], new, ROOTS[new - 1], path)


def flipped(path: list[bytes], at: int) -> list[bytes]:
    return [bytes([each[0] ^ 8]) + each[1:] if place == at else each for place, each in enumerate(path)]


def corrupted_inclusions(case: dict[str, Any]) -> Iterator[InclusionCase]:
    """Give the corruptions of transparency-dev's corruptInclusionProof."""
    index, size, path = case["index"], case["size"], path_of(case)
    leaf, root = LEAVES[index], ROOTS[size - 1]
    for wrong in (index - 1, index + 1, index ^ 2):
        yield leaf, wrong, size, path, root
    for wrong in (size * 2, size // 2):
        yield leaf, index, wrong, path, root
    yield b"WrongLeaf", index, size, path, root
    for bad_root in (EMPTY_ROOT, SOME_HASH):
        yield leaf, index, size, path, bad_root
    for garbage in (b"", root):
        yield leaf, index, size, [*path, garbage], root
        yield leaf, index, size, [garbage, *path], root
    for at in range(len(path)):
        yield leaf, index, size, flipped(path, at), root
    if path:
        yield leaf, index, size, path[:-1], root
    if len(path) > 1:
        yield leaf, index, size, [path[0], SOME_HASH, *path[1:]], root


@pytest.mark.parametrize("case", VECTORS["inclusion"])
def test_published_corruptions_of_inclusion_proofs_are_refused(case: dict[str, Any]) -> None:
    for corrupted in corrupted_inclusions(case):
        with pytest.raises(Corrupt, match="inclusion proof refused"):
            verify_inclusion(*corrupted)


def corrupted_consistencies(case: dict[str, Any]) -> Iterator[ConsistencyCase]:
    """Give the corruptions of transparency-dev's corruptConsistencyProof."""
    old, new, path = case["old"], case["new"], path_of(case)
    first, second = ROOTS[old - 1], ROOTS[new - 1]
    for wrong in (old - 1, old + 1, old ^ 2):
        yield wrong, first, new, second, path
    for wrong in (new * 2, new // 2):
        yield old, first, wrong, second, path
    yield old, b"WrongRoot", new, second, path
    yield old, first, new, b"WrongRoot", path
    yield old, second, new, first, path
    yield old, first, new, second, []
    yield old, first, new, second, path[:-1]
    for garbage in (b"", first, second, path[0]):
        yield old, first, new, second, [garbage, *path]
    for garbage in (b"", first, second):
        yield old, first, new, second, [*path, garbage]
    for at in range(len(path)):
        yield old, first, new, second, flipped(path, at)


@pytest.mark.parametrize("case", [case for case in VECTORS["consistency"] if case["path"]])
def test_published_corruptions_of_consistency_proofs_are_refused(case: dict[str, Any]) -> None:
    for corrupted in corrupted_consistencies(case):
        with pytest.raises(Corrupt, match="consistency proof refused"):
            verify_consistency(*corrupted)


# ---- the cases that transparency-dev/merkle's testdata holds beside the corrupted ones


@pytest.mark.parametrize(("index", "size"), [(0, 0), (0, 1), (1, 0), (2, 1)])
def test_published_probes_without_a_path_are_refused(index: int, size: int) -> None:
    for leaf, root in ((SOME_HASH, b""), (b"", EMPTY_ROOT), (SOME_HASH, EMPTY_ROOT)):
        with pytest.raises(Corrupt):
            verify_inclusion(leaf, index, size, [], root)


def test_the_published_single_entry() -> None:
    only = leaf_hash(b"data")
    verify_inclusion(only, 0, 1, [], only)
    for leaf, root in ((b"", only), (only, b""), (b"", b"")):
        with pytest.raises(Corrupt):
            verify_inclusion(leaf, 0, 1, [], root)


ONE, OTHER = leaf_hash(b"don't care 1"), leaf_hash(b"don't care 2")


@pytest.mark.parametrize(
    ("old", "new", "old_root", "new_root", "path"),
    [
        (0, 0, ONE, OTHER, []), (1, 1, ONE, OTHER, []), (1, 0, ONE, OTHER, []), (2, 1, ONE, OTHER, []),
        (1, 2, ONE, OTHER, []), (0, 0, EMPTY_ROOT, OTHER, []), (1, 1, EMPTY_ROOT, OTHER, []),
        (0, 0, EMPTY_ROOT, EMPTY_ROOT, [EMPTY_ROOT]), (0, 1, EMPTY_ROOT, EMPTY_ROOT, [EMPTY_ROOT]),
        (1, 1, EMPTY_ROOT, EMPTY_ROOT, [EMPTY_ROOT]),
        # Accepted by theirs, which take any root for the empty tree; ours knows the only one it has.
        (0, 0, ONE, ONE, []), (0, 1, ONE, OTHER, []),
    ],
)  # fmt: skip
def test_published_inconsistencies_are_refused(
    old: int, new: int, old_root: bytes, new_root: bytes, path: list[bytes]
) -> None:
    with pytest.raises(Corrupt):
        verify_consistency(old, old_root, new, new_root, path)


def test_published_trivial_consistencies_hold() -> None:
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    verify_consistency(0, EMPTY_ROOT, 1, OTHER, [])
    verify_consistency(1, OTHER, 1, OTHER, [])
