"""A competent forger: rewrites a whole ledger so that it says something else, with everything that depends on it.

It has what an operator has, the ledger's own checkpoint key, and does the work properly: leaves, citations, subtree
hashes, projections and the signed tree head all follow from the changed entries. So nothing inside the ledger gives
it away; only a checkpoint that somebody else kept can (RFC 9162 2.1.4). Pure: rows in, rows out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from failwell.core import merkle, note
from failwell.core.records import Entry, decode_entry, encode_entry
from failwell.core.rows import encode_row
from failwell.core.state import State

Change = Callable[[Entry[Any]], Entry[Any]]


class ForgedEntry(NamedTuple):
    """The row of an entry as the forger wants it."""

    seq: int
    data: bytes
    leaf: bytes
    nodes: bytes


class Forged(NamedTuple):
    """A whole ledger that hangs together. `changed` are the entries that say something else than before."""

    entries: tuple[ForgedEntry, ...]
    rows: dict[tuple[str, Any], str]
    checkpoint: bytes
    changed: tuple[int, ...]
    state: State


def forge(stored: Iterable[bytes], change: Change, sign: note.Sign, public: bytes) -> Forged:
    """Rewrite `stored` (entry bytes in order): `change` gives what an entry is to say, `sign` is the log key."""
    state, frontier = State(), merkle.Frontier()
    leaves: list[str] = []
    entries, changed = [], []
    rows: dict[tuple[str, Any], str] = {}
    for data in stored:
        was = decode_entry(data)
        now = change(was)
        if now is not was:
            changed.append(was.seq)
        # What cites a changed entry must cite its new leaf, and so has a new leaf itself.
        refs = tuple(msgspec.structs.replace(ref, leaf=leaves[ref.seq]) for ref in now.refs)
        now = msgspec.structs.replace(now, refs=refs)
        new = encode_entry(now)
        leaf = merkle.leaf_hash(new)
        leaves.append(leaf.hex())
        state.apply(now, leaf.hex())
        rows.update({place: encode_row(row) for place, row in state.drain().items()})
        entries.append(ForgedEntry(was.seq, new, leaf, b"".join(frontier.append(leaf))))
    checkpoint = note.Checkpoint(state.origin, len(entries), frontier.root())
    signed = note.sign(checkpoint.text(), state.origin, public, sign)
    return Forged(tuple(entries), rows, signed, tuple(changed), state)
