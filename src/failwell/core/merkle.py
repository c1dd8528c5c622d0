"""The ledger's Merkle tree: hashes, the growing frontier, and proofs made from stored subtrees.

Implements RFC 9162, 2.1.1 (tree head), 2.1.3.1 (inclusion proof) and 2.1.4.1 (consistency proof), which are
RFC 6962's with SHA-256. Throughout, a *leaf* is the leaf hash of an entry, `leaf_hash(entry bytes)`, never
the entry itself.

A perfect subtree is named (level, index): it covers the leaves [index * 2^level, (index + 1) * 2^level).
Level 0 is the leaf. It is complete once leaf (index + 1) * 2^level - 1 is there, and its hash is stored in
that entry's row: position `level - 1` of what `Frontier.append` returned. So every proof takes O(log n)
reads, and none writes.

It does not verify (see `proof`), does not sign (see `note`) and does not know how hashes are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Final

from failwell.core.errors import Corrupt, InputError

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of the tree without leaves (RFC 9162, 2.1.1)."""

Get = Callable[[int, int], bytes]
"""`get(level, index)` returns the hash of one perfect subtree, 32 bytes."""


def leaf_hash(data: bytes) -> bytes:
    """Return the leaf for the bytes of an entry: SHA-256(0x00 || data)."""
    # The prefixes keep an attacker from passing off two children as one entry (second preimage).
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node over two 32-byte hashes: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the tree head over leaf hashes in their order; EMPTY_ROOT for none."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


class Frontier:
    """The right edge of a growing tree: the hashes of its largest perfect subtrees, left to right.

    One hash per set bit of the size, so at most 64 for any ledger. The only mutable value here; the writer
    works on a `copy()` and keeps it when the commit is durable.
    """

    __slots__ = ("_hashes", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._hashes: list[bytes] = []

    @classmethod
    def from_hashes(cls, size: int, hashes: Iterable[bytes]) -> Frontier:
        """Return the frontier of a tree of `size` leaves from its subtree hashes, as `hashes()` gave them.

        Raises Corrupt if their number or length does not fit the size.
        """
        restored = cls()
        restored._size = size
        restored._hashes = [_checked(node) for node in hashes]
        if size < 0 or len(restored._hashes) != size.bit_count():
            raise Corrupt(f"{len(restored._hashes)} subtree hashes cannot stand for {size} leaves")
        return restored

    @classmethod
    def read(cls, size: int, get: Get) -> Frontier:
        """Return the frontier of a stored tree of `size` leaves, in O(log n) reads through `get`."""
        return cls.from_hashes(size, [get(level, index) for level, index in perfect_subtrees(0, size)])

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._size

    def append(self, leaf: bytes) -> tuple[bytes, ...]:
        """Add one leaf hash; return the hashes of the perfect subtrees it completes, level 1 upwards.

        Raises InputError if the leaf is not 32 bytes; then nothing has changed.
        """
        if len(leaf) != HASH_BYTES:
            raise InputError(f"a leaf hash has {HASH_BYTES} bytes, not {len(leaf)}")
        hashes, size = self._hashes, self._size
        self._size = size + 1
        if not size & 1:
            hashes.append(leaf)
            return ()
        completed = []
        node = leaf
        while size & 1:
            node = sha256(b"\x01" + hashes.pop() + node).digest()
            completed.append(node)
            size >>= 1
        hashes.append(node)
        return tuple(completed)

    def root(self) -> bytes:
        """Return the tree head over all leaves so far."""
        return _fold(self._hashes) if self._hashes else EMPTY_ROOT

    def hashes(self) -> tuple[bytes, ...]:
        """Return the subtree hashes, largest first."""
        return tuple(self._hashes)

    def copy(self) -> Frontier:
        """Return an independent frontier of the same tree."""
        twin = Frontier()
        twin._size = self._size
        twin._hashes = self._hashes.copy()
        return twin


def perfect_subtrees(begin: int, end: int) -> list[tuple[int, int]]:
    """Return the (level, index) of the fewest perfect subtrees over the leaves [begin, end), left to right.

    `begin` is 0 or the start of a right subtree of a tree that ends at `end`, as in RFC 9162's splits: then
    the sizes are the set bits of `end - begin`, largest first.
    """
    found = []
    width = end - begin
    for level in range(width.bit_length() - 1, -1, -1):
        if width >> level & 1:
            found.append((level, begin >> level))
            begin += 1 << level
    return found


def range_root(begin: int, end: int, get: Get) -> bytes:
    """Return MTH(D[begin:end]) for a range as in `perfect_subtrees`; EMPTY_ROOT if it is empty."""
    hashes = [_checked(get(level, index)) for level, index in perfect_subtrees(begin, end)]
    return _fold(hashes) if hashes else EMPTY_ROOT


def inclusion_path(index: int, size: int, get: Get) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree of `size` leaves, from the leaf's side up.

    RFC 9162, 2.1.3.1 (PATH). Raises InputError if there is no such leaf.
    """
    if not 0 <= index < size:
        raise InputError(f"a tree of {size} leaves has no leaf {index}")
    path = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(range_root(middle, end, get))
            end = middle
        else:
            path.append(range_root(begin, middle, get))
            begin = middle
    path.reverse()
    return path


def consistency_path(old: int, new: int, get: Get) -> list[bytes]:
    """Return the proof that the tree of `old` leaves is a prefix of the one of `new`.

    RFC 9162, 2.1.4.1 (PROOF). Empty if `old` is 0 or equals `new`. Raises InputError unless 0 <= old <= new.
    """
    if not 0 <= old <= new:
        raise InputError(f"a tree of {old} leaves cannot be a prefix of one of {new}")
    if old in (0, new):
        return []
    path = []
    begin, end = 0, new
    while old != end:
        middle = begin + _split(end - begin)
        if old <= middle:
            path.append(range_root(middle, end, get))
            end = middle
        else:
            path.append(range_root(begin, middle, get))
            begin = middle
    if begin:  # SUBPROOF with b = false; otherwise the verifier holds this hash already: it is the old root
        path.append(range_root(begin, end, get))
    path.reverse()
    return path


def _split(width: int) -> int:
    """Return k of RFC 9162, 2.1.1: the largest power of two smaller than `width` (which is at least 2)."""
    return 1 << (width - 1).bit_length() - 1


def _fold(hashes: list[bytes]) -> bytes:
    node = hashes[-1]
    for left in hashes[-2::-1]:
        node = node_hash(left, node)
    return node


def _checked(node: bytes) -> bytes:
    if len(node) != HASH_BYTES:
        raise Corrupt(f"a stored subtree hash has {len(node)} bytes instead of {HASH_BYTES}")
    return node
