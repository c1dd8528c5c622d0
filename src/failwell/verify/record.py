"""The record: entries, what lies beside them and their heads, walked once from streams of rows.

    1 file   2 bytes   3 sequence   4 tree   5 citations   6 head   7 kept checkpoints   11 blobs and tokens
    13 agents' counts   14 log keys

These steps need the standard library only, so they are the same code under `ledger verify` and in the stand-alone
verifier; each hands in its own decoder. What the bodies say, and the rows that follow from them, is `ledger`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from failwell.core.cosignature import CosignerKey
from failwell.core.errors import Corrupt
from failwell.verify.anchors import Anchor, Anchors, VerifySignature
from failwell.verify.beside import Beside
from failwell.verify.chain import Chain
from failwell.verify.envelope import Decode, E, Envelope
from failwell.verify.finding import BOUND, BYTES, CITATIONS, COUNTS, FILE, KEYS, Findings, Report

#: Rows taken through one phase before the next: many enough to time the phases apart; more of them, held at once, cost
#: a fifth of the speed.
CHUNK: Final = 64
#: Of entries that are said to be missing, so many are passed over one by one.
_PASSED: Final = 4096

Object = tuple[str, str, str | None]
#: `tell(phase, entries)` is called after each phase of a chunk, with how many entries it has taken so far: for
#: progress, and for timing, which is not done here.
Tell = Callable[[str, int], None]
CORE: Final = "core"
CONDUCT: Final = "conduct"
ROWS_PHASE: Final = "rows"


class Ledger(NamedTuple):
    """The rows of one ledger, each table in the order of its key. An iterable that cannot be read on raises Corrupt.

    `entries` (seq, data, leaf, nodes) · `blobs` (seq, ciphertext, wrapped) · `tokens` (id, token, lookup, sealed) ·
    `checkpoints` (id, size, note) · `rows(table)` (key, text) · `objects` what the file declares, beside what it
    should (`declared`), and `complaints` its own integrity check's; None where there is no file.
    `blobs` and `tokens` are None where what was given has none of them, as an export.
    """

    entries: Iterable[Any]
    blobs: Iterable[Any] | None
    tokens: Iterable[Any] | None
    checkpoints: Iterable[Any]
    rows: Callable[[str], Iterable[Any]]
    objects: Iterable[Object] | None = None
    declared: Iterable[Object] = ()
    complaints: Iterable[str] = ()


Taken_contra = TypeVar("Taken_contra", bound=Envelope, contravariant=True)


class Follower(Protocol[Taken_contra]):
    """Takes each entry behind the chain, for what the envelope alone does not show."""

    def take(self, entry: Taken_contra, leaf: bytes) -> None: ...

    def stop(self, seq: int) -> None:
        """Entry `seq` is missing or unreadable."""
        ...


class Record(Generic[E]):
    """One verification. `walk`, then `report`; what else is found goes to `findings` in between."""

    def __init__(
        self, ledger: Ledger, *, decode: Decode[E], verify: VerifySignature, log_key: str | None,
        kept: Iterable[Anchor], witnesses: Sequence[CosignerKey] = (), unread: str | None = None,
    ) -> None:  # fmt: skip
        self.findings = Findings()
        self._entries = ledger.entries
        _check_file(self.findings, ledger)
        self._anchors = Anchors(self.findings, log_key, verify, kept, witnesses, unread)
        self._anchors.take_own(_until_corrupt(self.findings, FILE, "checkpoint", ledger.checkpoints))
        self.chain = Chain(self.findings, self._anchors.sizes, decode, verify)
        self._beside = Beside(self.findings, ledger.blobs, ledger.tokens)

    def walk(self, follower: Follower[E] | None, tell: Tell) -> None:
        """Take all entries, `follower` behind the chain; then the heads."""
        chain, beside = self.chain, self._beside
        for rows in self._chunks():
            took = []
            for row in rows:
                before = chain.size
                read = chain.take(row)
                took.append((before, read, chain.size))
            tell(CORE, chain.rows)
            for before, read, after in took:
                if read is not None and read[0].seq == before == after - 1:
                    beside.take(read[0])
                    if follower is not None:
                        follower.take(*read)
                else:
                    self._amiss(before, read, after, follower)
            tell(CONDUCT, chain.rows)
        beside.end(chain.size)
        anchors = self._anchors
        anchors.compare(chain, chain.keys)
        chain.end(sealed=anchors.sealed)
        tell(CORE, chain.rows)

    def _amiss(
        self, before: int, read: tuple[E, bytes] | None, after: int, follower: Follower[E] | None
    ) -> None:  # fmt: skip
        """A row that is not the next entry; it took the chain from `before` entries to `after`."""
        if follower is not None:
            follower.stop(before)
        for missing in range(before, min(after - 1, before + _PASSED)):
            self._beside.pass_over(missing)
        if read is not None and read[0].seq == after - 1:
            self._beside.take(read[0])
        elif after > before:
            self._beside.pass_over(after - 1)

    def report(self, rows: int) -> Report:
        """The result; `rows`: projection rows that were compared."""
        chain, findings = self.chain, self.findings
        root = chain.root()
        blobs, tokens = self._beside.counts
        findings.detail(BYTES, f"{chain.rows} entries")
        findings.detail(CITATIONS, f"{chain.cited} citations")
        findings.detail(COUNTS, f"{chain.agents.counted} {'root' if chain.agents.counted == 1 else 'roots'}")
        changes = max(0, len(chain.keys.eras) - 1)
        findings.detail(KEYS, f"{changes or 'no'} {'change' if changes == 1 else 'changes'}")
        findings.detail(BOUND, f"{blobs} blobs, {tokens} tokens")
        return findings.report(
            entries=chain.rows, origin=chain.origin, root=None if root is None else root.hex(), size=chain.size,
            unsealed=self._anchors.unsealed, breaks=chain.keys.breaks, unread=self._anchors.unread,
            grade=self._anchors.grade(),
            read={"entries": chain.rows, "blobs": blobs, "tokens": tokens, "rows": rows},
        )  # fmt: skip

    def _chunks(self) -> Iterator[list[Any]]:
        entries = iter(self._entries)
        while True:
            chunk: list[Any] = []
            try:
                chunk.extend(islice(entries, CHUNK))
            except Corrupt as error:
                yield chunk
                self._unreadable(error)
                return
            if not chunk:
                return
            yield chunk

    def _unreadable(self, error: Corrupt) -> None:
        chain = self.chain
        chain.break_off()
        message = f"entry {chain.size} cannot be read: {error.message}"
        self.findings.add(BYTES, "entry.unreadable", message, entry=chain.size)


def _check_file(findings: Findings, ledger: Ledger) -> None:
    """The file's own structure, and that it declares nothing of its own, such as a view over what is read."""
    for complaint in ledger.complaints:
        findings.add(FILE, "file.integrity", f"SQLite: {complaint}")
    if ledger.objects is None:
        findings.uncheckable(FILE, "no file was given, only rows")
        return
    here, wanted = set(ledger.objects), set(ledger.declared)
    for kind, name, _ in sorted(here - wanted, key=str):
        changed = any(other[:2] == (kind, name) for other in wanted)
        what = "is declared otherwise than this layout declares it" if changed else "is not part of this layout"
        findings.add(FILE, "file.object", f"{kind} {name} {what}", table=str(name))
    for kind, name, _ in sorted(wanted - here, key=str):
        if not any(other[:2] == (kind, name) for other in here):
            findings.add(FILE, "file.object", f"{kind} {name} is missing", table=str(name))


def _until_corrupt(findings: Findings, step: int, table: str, rows: Iterable[Any]) -> list[Any]:
    read: list[Any] = []
    try:
        read.extend(rows)
    except Corrupt as error:
        findings.add(step, f"{table}.unreadable", f"table {table} cannot be read: {error.message}", table=table)
    return read


def silent(phase: str, entries: int) -> None:
    """A `Tell` that says nothing."""
