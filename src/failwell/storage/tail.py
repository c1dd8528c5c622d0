"""The ledger's newest part read back and hashed again at start: what the last hours wrote is what is there (R28).

Held against RFC 6962's leaf and the subtree hashes in the rows. It does not verify signatures, references or folds:
that is the verifier's work, on all entries; this is what a start can afford every time.
"""

from __future__ import annotations

from typing import NamedTuple

from failwell.core import merkle
from failwell.core.errors import Corrupt
from failwell.ports.storage import Storage

#: Entries read back at every start, whatever is sealed.
TAIL_ENTRIES = 1000
_PAGE = 1000
_HINT = "failwell ledger verify says what else does not hold."


class Tail(NamedTuple):
    """What was read back: entries from `first` up to `size`, and the tree head (root, 32 bytes) over all of them."""

    first: int
    size: int
    root: bytes


def check_tail(storage: Storage, sealed: int = 0, at_least: int = TAIL_ENTRIES) -> Tail:
    """Read back and hash again all entries from size `sealed` on, and at least the last `at_least`.

    Raises Corrupt that names the entry which is missing, changed, or does not stand in the tree as stored.
    """
    size = storage.size()
    first = max(0, min(sealed, size - at_least))

    def subtree(level: int, index: int) -> bytes:
        seq = (index + 1 << level) - 1
        row = storage.entry(seq)
        if row is None:
            raise Corrupt(f"entry {seq} is missing", hint=_HINT)
        return row.leaf if level == 0 else row.nodes[(level - 1) * 32 : level * 32]

    frontier = merkle.Frontier.read(first, subtree)
    for page in range(first, size, _PAGE):
        rows = storage.entries(page, min(_PAGE, size - page))
        for seq, row in enumerate(rows, page):
            if row.seq != seq:
                raise Corrupt(f"entry {seq} is missing", hint=_HINT)
            if row.leaf != merkle.leaf_hash(row.data):
                raise Corrupt(f"entry {seq} is not what its hash was taken over", hint=_HINT)
            if row.nodes != b"".join(frontier.append(row.leaf)):
                raise Corrupt(f"entry {seq} does not stand in the tree as it is stored", hint=_HINT)
    if frontier.size != size:
        raise Corrupt(f"entry {frontier.size} is missing", hint=_HINT)
    return Tail(first, size, frontier.root())
