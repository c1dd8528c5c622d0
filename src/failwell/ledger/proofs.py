"""Proofs from what is stored: inclusion of one entry, and growth from an older checkpoint, each in O(log n) row reads.

RFC 9162, 2.1.3.1 and 2.1.4.1, over the leaf and subtree hashes that lie in the entries' rows; handed out as C2SP
tlog-proof and as C2SP tlog-witness's request. Needs nothing but rows by number, so it works on a ledger that is being
written as on a copy of one. Everything it hands out was verified against the checkpoint first: a damaged row gives an
error, never a proof that fails elsewhere. It does not check the checkpoint's signature (`note`) and does not sign.
"""

from __future__ import annotations

from collections.abc import Callable

from failwell.core import merkle
from failwell.core.errors import Corrupt, InputError, NotFound
from failwell.core.merkle import HASH_BYTES
from failwell.core.note import Checkpoint, SignedNote
from failwell.core.proof import verify_consistency, verify_inclusion
from failwell.core.tlog_proof import TlogProof
from failwell.core.tlog_witness import AddCheckpoint
from failwell.ports.storage import StoredEntry

Rows = Callable[[int], StoredEntry | None]
"""The row of an entry, None where there is none: `Storage.entry`, or a read of a copy."""


class StoredTree:
    """The tree in the rows of one ledger. Rows are read once for each proof, at most 2 * (log2(size) + 1) of them."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def _row(self, seq: int) -> StoredEntry:
        row = self._rows(seq)
        if row is None:
            raise Corrupt(f"entry {seq} is missing", hint="failwell ledger verify")
        return row

    def subtree(self, level: int, index: int) -> bytes:
        """Hash of a perfect subtree, from the row of the entry that completed it (`merkle.Get`); Corrupt."""
        seq = (index + 1 << level) - 1
        row = self._row(seq)
        found = row.leaf if level == 0 else row.nodes[(level - 1) * HASH_BYTES : level * HASH_BYTES]
        if len(found) != HASH_BYTES:
            raise Corrupt(f"the row of entry {seq} lacks its hash at level {level}", hint="failwell ledger verify")
        return found

    def root(self, size: int) -> bytes:
        """Tree head over the first `size` entries."""
        return merkle.range_root(0, size, self.subtree)

    def inclusion(self, seq: int, size: int) -> list[bytes]:
        """The path from entry `seq` to the head of the first `size` entries, unverified; InputError beyond them."""
        return merkle.inclusion_path(seq, size, self.subtree)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The path that shows the first `old` entries to be a prefix of the first `new`, unverified; InputError."""
        return merkle.consistency_path(old, new, self.subtree)

    def prove_entry(self, seq: int, note: bytes) -> TlogProof:
        """The proof that entry `seq` is under the checkpoint `note`, with the entry's bytes as extra data.

        Raises NotFound for an entry beyond the checkpoint, Corrupt where the rows do not lead to its root.
        """
        checkpoint = Checkpoint.parse(SignedNote.parse(note).text)
        if not 0 <= seq < checkpoint.size:
            raise NotFound(
                f"no checkpoint covers entry {seq}: the newest seals {checkpoint.size} entries",
                hint="Entries are numbered from 0. One that was just written is sealed within moments.",
                code="not-sealed",
            )
        data = self._row(seq).data
        path = tuple(self.inclusion(seq, checkpoint.size))
        verify_inclusion(merkle.leaf_hash(data), seq, checkpoint.size, path, checkpoint.root)
        return TlogProof(seq, path, note, data)

    def prove_growth(self, old: int, note: bytes, old_root: bytes | None = None) -> AddCheckpoint:
        """The proof that the checkpoint `note` extends the tree of `old` entries, with head `old_root` if it is known.

        Raises InputError for an old size beyond the checkpoint, Corrupt where the rows, or `old_root`, contradict it.
        """
        checkpoint = Checkpoint.parse(SignedNote.parse(note).text)
        if not 0 <= old <= checkpoint.size:
            raise InputError(f"the newest checkpoint seals {checkpoint.size} entries, not {old}")
        path = tuple(self.consistency(old, checkpoint.size))
        first = self.root(old) if old_root is None else old_root
        verify_consistency(old, first, checkpoint.size, checkpoint.root, path)
        return AddCheckpoint(old, path, note)
