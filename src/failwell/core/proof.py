"""Verification of Merkle proofs, on bytes and integers only: what a stranger needs, and nothing that makes
proofs.

Implements RFC 9162, 2.1.3.2 (inclusion) and 2.1.4.2 (consistency); the step numbers stand at each check.
Success returns None, failure raises Corrupt naming the step: a boolean is too easily dropped.

It does not say who signed a root (see `note`), nor that a root is the newest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from failwell.core.errors import Corrupt
from failwell.core.merkle import EMPTY_ROOT, HASH_BYTES, node_hash

MAX_TREE_SIZE: Final = 2**63
"""No tree grows larger; C2SP implementations hold sizes in 63 or 64 bits."""

_INCLUSION: Final = "inclusion"
_CONSISTENCY: Final = "consistency"


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Show that `leaf` (a 32-byte leaf hash) is leaf number `index` of the tree of `size` leaves with head
    `root`.

    Raises Corrupt (code "inclusion") naming the failed step of RFC 9162, 2.1.3.2.
    """
    _check_shape(_INCLUSION, (index, size), (leaf, root, *path))
    # 1. Compare leaf_index against tree_size.
    if index >= size:
        _fail(_INCLUSION, "1", f"there is no leaf {index} in a tree of {size}")
    # 2. Set fn to leaf_index and sn to tree_size - 1.
    fn, sn = index, size - 1
    # 3. Set r to hash.
    r = leaf
    # 4. For each value p in the inclusion_path array:
    for p in path:
        # 4a. If sn is 0, stop and fail. Attack: a longer path walks past the root.
        if sn == 0:
            _fail(_INCLUSION, "4a", "the path is too long")
        # 4b. If LSB(fn) is set, or if fn equals sn:
        if fn & 1 or fn == sn:
            # 4b i. Set r to HASH(0x01 || p || r).
            r = node_hash(p, r)
            # 4b ii. If LSB(fn) is not set, right-shift fn and sn until LSB(fn) is set or fn is 0.
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            # Otherwise: set r to HASH(0x01 || r || p).
            r = node_hash(r, p)
        # 4c. Right-shift both fn and sn one time.
        fn, sn = fn >> 1, sn >> 1
    # 5. sn must be 0 and r the root_hash. Attack: a shorter path ends at an inner node.
    if sn != 0:
        _fail(_INCLUSION, "5", "the path is too short")
    if r != root:
        _fail(_INCLUSION, "5", "the path does not lead to the root")


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Show that the tree (new_size, new_root) only appended to the tree (old_size, old_root).

    Outside RFC 9162's 0 < first < second: equal sizes need equal roots and an empty path; an old size of 0
    needs the empty tree's root and an empty path, for every tree extends the empty one; an older "new" tree
    is refused. Raises Corrupt (code "consistency") naming the failed step of RFC 9162, 2.1.4.2.
    """
    _check_shape(_CONSISTENCY, (old_size, new_size), (old_root, new_root, *path))
    if _is_trivial(old_size, old_root, new_size, new_root, path):
        return
    # 1. If consistency_path is empty, stop and fail.
    if not path:
        _fail(_CONSISTENCY, "1", "the path is empty")
    # 2. If first is an exact power of 2, prepend first_hash to the consistency_path.
    fr, sr, sn = _climb(old_size, new_size, path if old_size & (old_size - 1) else [old_root, *path])
    # 7. fr must be first_hash, sr second_hash, and sn 0. Attack: a rewritten past gives another fr.
    if fr != old_root:
        _fail(_CONSISTENCY, "7", "the path does not lead to the old root: the past was changed")
    if sr != new_root:
        _fail(_CONSISTENCY, "7", "the path does not lead to the new root")
    if sn != 0:
        _fail(_CONSISTENCY, "7", "the path is too short")


def _climb(old_size: int, new_size: int, values: Sequence[bytes]) -> tuple[bytes, bytes, int]:
    """Take steps 3 to 6 of RFC 9162, 2.1.4.2; return fr, sr and sn."""
    # 3. Set fn to first - 1 and sn to second - 1.
    fn, sn = old_size - 1, new_size - 1
    # 4. If LSB(fn) is set, right-shift both until LSB(fn) is not set.
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    # 5. Set fr and sr to the first value.
    fr = sr = values[0]
    # 6. For each subsequent value c:
    for c in values[1:]:
        # 6a. If sn is 0, stop and fail.
        if sn == 0:
            _fail(_CONSISTENCY, "6a", "the path is too long")
        # 6b. If LSB(fn) is set, or if fn equals sn:
        if fn & 1 or fn == sn:
            # 6b i. Set fr to HASH(0x01 || c || fr) and sr to HASH(0x01 || c || sr).
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            # 6b ii. If LSB(fn) is not set, right-shift both until LSB(fn) is set or fn is 0.
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            # Otherwise: set sr to HASH(0x01 || sr || c).
            sr = node_hash(sr, c)
        # 6c. Right-shift both fn and sn one time.
        fn, sn = fn >> 1, sn >> 1
    return fr, sr, sn


def _is_trivial(old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Judge the sizes that need no path; return False if the path has to decide."""
    if old_size > new_size:
        _fail(_CONSISTENCY, "0", f"the tree shrank from {old_size} to {new_size} leaves")
    if old_size == 0 and old_root != EMPTY_ROOT:
        _fail(_CONSISTENCY, "0", "the root of an empty tree is not SHA-256 of nothing")
    if old_size == new_size and old_root != new_root:
        # Attack: two histories of one length, shown to two people.
        _fail(_CONSISTENCY, "0", f"two roots for one size {old_size}")
    if old_size not in (0, new_size):
        return False
    if path:
        _fail(_CONSISTENCY, "0", "the path should be empty")
    return True


def _check_shape(what: str, sizes: tuple[int, ...], hashes: tuple[bytes, ...]) -> None:
    """Refuse what could make arithmetic or concatenation mean something else."""
    for size in sizes:
        if type(size) is not int or not 0 <= size < MAX_TREE_SIZE:
            _fail(what, "0", "a size or index is not an integer from 0 to 2^63 - 1")
    for value in hashes:
        if type(value) is not bytes or len(value) != HASH_BYTES:
            _fail(what, "0", f"a hash is not {HASH_BYTES} bytes")


def _fail(what: str, step: str, why: str) -> NoReturn:
    section = "2.1.3.2" if what == _INCLUSION else "2.1.4.2"
    at = f"RFC 9162 {section} step {step}" if step != "0" else f"before RFC 9162 {section}"
    raise Corrupt(f"{what} proof refused ({at}): {why}", code=what)
