"""What lies beside the entries: blobs and tokens, each row bound by a digest in its entry (D13).

Standard library only. Nothing is decrypted here, and what a changed row once said cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

from failwell.core.errors import Corrupt
from failwell.core.tokens import MAX_TOKENS, token_digest
from failwell.verify.envelope import Envelope
from failwell.verify.finding import BOUND, Findings


def readable(findings: Findings, step: int, table: str, rows: Iterator[Any]) -> Iterator[Any]:
    """The rows that can be read; where they cannot be read on (the source raises Corrupt) is a finding."""
    try:
        yield from rows
    except Corrupt as error:
        findings.add(step, f"{table}.unreadable", f"table {table} cannot be read on: {error.message}", table=table)


class _Queue:
    """Rows in the order of their key, looked at one ahead. What is malformed or out of order is a finding."""

    def __init__(self, findings: Findings, table: str, rows: Iterable[Any], types: tuple[type, ...]) -> None:
        self._findings = findings
        self._table = table
        self._rows = readable(findings, BOUND, table, iter(rows))
        self._types = types
        self._last: int | None = None
        self.count = 0
        self.head: Any = None
        self.step()

    def step(self) -> None:
        """Go on to the next well-formed row; `head` is None after the last."""
        for row in self._rows:
            self.count += 1
            if tuple(type(part) for part in row) != self._types:
                self._findings.add(
                    BOUND, f"{self._table}.shape", f"a row of table {self._table} does not hold what it should",
                    table=self._table, key=row[0] if row and type(row[0]) in (int, str) else None,
                )  # fmt: skip
            elif self._last is not None and row[0] <= self._last:
                self._findings.add(
                    BOUND, f"{self._table}.order", f"row {row[0]} of table {self._table} stands twice or out of order",
                    table=self._table, key=row[0],
                )  # fmt: skip
            else:
                self._last = row[0]
                self.head = row
                return
        self.head = None


class Beside:
    """Walks blobs and tokens along with the entries; None where only entries were given, as in an export."""

    def __init__(self, findings: Findings, blobs: Iterable[Any] | None, tokens: Iterable[Any] | None) -> None:
        self._findings = findings
        self._absent = blobs is None or tokens is None
        if self._absent:
            findings.uncheckable(BOUND, "blobs and tokens are not part of what was given")
        self._blobs = _Queue(findings, "blob", blobs or (), (int, bytes, bytes))
        self._tokens = _Queue(findings, "token", tokens or (), (int, str, bytes, bytes))

    @property
    def counts(self) -> tuple[int, int]:
        """Rows read: blobs, tokens."""
        return self._blobs.count, self._tokens.count

    def pass_over(self, seq: int) -> None:
        """Entry `seq` is missing or unreadable, which is a finding already: what it bound cannot be told."""
        self._extra(seq)
        if self._blobs.head is not None and self._blobs.head[0] == seq:
            self._blobs.step()
        while self._tokens.head is not None and self._tokens.head[0] // MAX_TOKENS == seq:
            self._tokens.step()

    def take(self, entry: Envelope) -> None:
        """Hold the rows of one entry against the digests that it carries."""
        if self._absent:
            return
        seq = entry.seq
        self._extra(seq)
        self._blob(seq, entry)
        for place, digest in enumerate(entry.tokens):
            self._token(seq, place, digest)
        while self._tokens.head is not None and self._tokens.head[0] // MAX_TOKENS == seq:
            self._unnamed_token(seq)

    def end(self, size: int) -> None:
        """After the last entry: no row may be left."""
        self._extra(size)
        self._extra(2**63)

    def _extra(self, seq: int) -> None:
        """Rows of entries before `seq` that no entry claimed."""
        while self._blobs.head is not None and self._blobs.head[0] < seq:
            row = self._blobs.head[0]
            self._say("blob", "extra", row, row, f"blob row {row} belongs to no entry")
            self._blobs.step()
        while self._tokens.head is not None and self._tokens.head[0] // MAX_TOKENS < seq:
            row = self._tokens.head[0]
            self._say("token", "extra", row // MAX_TOKENS, row, f"token row {row} belongs to no entry")
            self._tokens.step()

    def _blob(self, seq: int, entry: Envelope) -> None:
        head = self._blobs.head
        here = head is not None and head[0] == seq
        if entry.blob is None:
            if here:
                self._say("blob", "extra", seq, seq, f"entry {seq} names no blob, yet there is one")
        elif not here:
            self._say("blob", "missing", seq, seq, f"the blob of entry {seq} is missing")
        elif sha256(head[1]).hexdigest() != entry.blob.ciphertext:
            self._say("blob", "changed", seq, seq, f"the blob of entry {seq} is not the one it names")
        elif sha256(head[2]).hexdigest() != entry.blob.key:
            self._say("blob", "changed", seq, seq, f"the wrapped key of entry {seq} is not the one it names")
        if here:
            self._blobs.step()

    def _token(self, seq: int, place: int, digest: str) -> None:
        row = seq * MAX_TOKENS + place
        while self._tokens.head is not None and self._tokens.head[0] < row:
            self._unnamed_token(seq)
        head = self._tokens.head
        if head is None or head[0] != row:
            self._say("token", "missing", seq, row, f"token row {row}, which entry {seq} names, is missing")
            return
        if token_digest(*head[1:]) != digest:
            self._say("token", "changed", seq, row, f"token row {row} is not the one that entry {seq} names")
        self._tokens.step()

    def _unnamed_token(self, seq: int) -> None:
        row = self._tokens.head[0]
        self._say("token", "extra", seq, row, f"token row {row} is not named by entry {seq}")
        self._tokens.step()

    def _say(self, table: str, what: str, seq: int, key: int, message: str) -> None:
        self._findings.add(BOUND, f"{table}.{what}", message, entry=seq, table=table, key=key)
