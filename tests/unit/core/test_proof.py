"""Verification of proofs: each attack on the record's history fails at a named step."""

from __future__ import annotations

from typing import Any

import pytest

from failwell.core.errors import Corrupt
from failwell.core.merkle import EMPTY_ROOT, consistency_path, inclusion_path, leaf_hash, node_hash, root_of
from failwell.core.proof import verify_consistency, verify_inclusion

LEAVES = [leaf_hash(str(number).encode()) for number in range(13)]
ROOT = root_of(LEAVES)


def get(level: int, index: int) -> bytes:
    return root_of(LEAVES[index << level : (index + 1) << level])


def refusal(call: Any, *args: Any) -> Corrupt:
    with pytest.raises(Corrupt) as caught:
        call(*args)
    return caught.value


def test_a_single_entry_needs_no_path() -> None:
    verify_inclusion(LEAVES[0], 0, 1, [], LEAVES[0])


def test_an_edited_entry_does_not_prove() -> None:
    path = inclusion_path(4, 13, get)
    error = refusal(verify_inclusion, leaf_hash(b"edited"), 4, 13, path, ROOT)
    assert error.code == "inclusion"
    assert "step 5" in error.message


def test_an_entry_does_not_prove_at_another_place() -> None:
    path = inclusion_path(4, 13, get)
    for index in (0, 3, 5, 6, 12):
        refusal(verify_inclusion, LEAVES[4], index, 13, path, ROOT)


def test_an_entry_past_the_end_is_refused() -> None:
    assert "step 1" in refusal(verify_inclusion, LEAVES[4], 13, 13, [], ROOT).message
    assert "step 1" in refusal(verify_inclusion, LEAVES[0], 0, 0, [], EMPTY_ROOT).message


def test_an_inner_node_passed_off_as_an_entry_is_refused() -> None:
    path = inclusion_path(0, 13, get)
    inner = node_hash(LEAVES[0], LEAVES[1])
    assert "too short" in refusal(verify_inclusion, inner, 0, 13, path[1:], ROOT).message


def test_a_path_lengthened_past_the_root_is_refused() -> None:
    path = inclusion_path(4, 13, get)
    assert "step 4a" in refusal(verify_inclusion, LEAVES[4], 4, 13, [*path, ROOT], ROOT).message


def test_equal_sizes_need_equal_roots() -> None:
    verify_consistency(13, ROOT, 13, ROOT, [])
    assert "two roots for one size" in refusal(verify_consistency, 13, ROOT, 13, root_of(LEAVES[1:]), []).message


def test_every_tree_extends_the_empty_one_and_only_with_its_true_root() -> None:
    verify_consistency(0, EMPTY_ROOT, 13, ROOT, [])
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    refusal(verify_consistency, 0, ROOT, 13, ROOT, [])
    refusal(verify_consistency, 0, ROOT, 0, ROOT, [])
    refusal(verify_consistency, 0, EMPTY_ROOT, 0, ROOT, [])


@pytest.mark.parametrize(("old", "new"), [(0, 13), (0, 0), (13, 13)])
def test_a_path_where_none_belongs_is_refused(old: int, new: int) -> None:
    roots = {0: EMPTY_ROOT, 13: ROOT}
    assert "should be empty" in refusal(verify_consistency, old, roots[old], new, roots[new], [ROOT]).message


def test_a_cut_tail_is_refused() -> None:
    error = refusal(verify_consistency, 13, ROOT, 9, root_of(LEAVES[:9]), consistency_path(9, 13, get))
    assert "shrank" in error.message
    assert error.code == "consistency"


def test_an_empty_path_between_sizes_is_refused() -> None:
    assert "step 1" in refusal(verify_consistency, 5, root_of(LEAVES[:5]), 13, ROOT, []).message


@pytest.mark.parametrize("old", range(1, 13))
def test_a_rewritten_past_is_refused(old: int) -> None:
    forged = [leaf_hash(b"forged"), *LEAVES[1:]]
    path = consistency_path(old, 13, lambda level, index: root_of(forged[index << level : (index + 1) << level]))
    error = refusal(verify_consistency, old, root_of(LEAVES[:old]), 13, root_of(forged), path)
    assert "step 7" in error.message


def test_a_lengthened_or_shortened_consistency_path_is_refused() -> None:
    old = root_of(LEAVES[:6])
    path = consistency_path(6, 13, get)
    assert "step 6a" in refusal(verify_consistency, 6, old, 13, ROOT, [*path, ROOT]).message
    refusal(verify_consistency, 6, old, 13, ROOT, path[:-1])


def test_a_shortened_path_that_still_meets_a_root_is_refused() -> None:
    """The last sibling is left out and the inner node given as the new root: only sn tells."""
    path = consistency_path(6, 13, get)
    inner = root_of(LEAVES[:8])
    assert "too short" in refusal(verify_consistency, 6, root_of(LEAVES[:6]), 13, inner, path[:-1]).message


@pytest.mark.parametrize("size", [-1, 2**63, 1.0, True, "1", None])
def test_sizes_that_are_no_sizes_are_refused(size: Any) -> None:
    for error in (
        refusal(verify_inclusion, LEAVES[0], 0, size, [], LEAVES[0]),
        refusal(verify_inclusion, LEAVES[0], size, 1, [], LEAVES[0]),
        refusal(verify_consistency, size, LEAVES[0], 1, LEAVES[0], []),
        refusal(verify_consistency, 1, LEAVES[0], size, LEAVES[0], []),
    ):
        assert "2^63" in error.message


@pytest.mark.parametrize("odd", [b"", b"x" * 31, b"x" * 33, "x" * 32, None, bytearray(32)])
def test_hashes_of_another_length_or_type_are_refused(odd: Any) -> None:
    path = inclusion_path(4, 13, get)
    refusal(verify_inclusion, odd, 4, 13, path, ROOT)
    refusal(verify_inclusion, LEAVES[4], 4, 13, path, odd)
    refusal(verify_inclusion, LEAVES[4], 4, 13, [odd, *path[1:]], ROOT)
    refusal(verify_consistency, 1, odd, 1, odd, [])
