"""Anchors: the ledger's own checkpoint, and those that somebody kept elsewhere, in a file or in an old mail.

Implements the reading side of C2SP signed-note and tlog-checkpoint over RFC 9162 tree heads. A checkpoint that was
kept by another party is what a rewritten, shortened or restored ledger cannot agree with. Nothing here fetches or
keeps one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import EmailMessage
from typing import Any, Final, NamedTuple

from failwell.core import note
from failwell.core.errors import FailwellError, InputError
from failwell.verify.finding import HEAD, KEPT, Findings

_SIGNATURE: Final = re.compile(r"\N{EM DASH} \S+ [A-Za-z0-9+/]+={0,2}")
_QUOTE: Final = re.compile(r"^[ \t>|]+")
#: Mails and files of more are not anchors.
MAX_ANCHOR_BYTES: Final = 10_000_000

VerifySignature = Callable[[bytes, bytes, bytes], bool]


class Anchor(NamedTuple):
    """A kept checkpoint: where it came from (for messages) and the bytes of its signed note."""

    source: str
    note: bytes


class Opened(NamedTuple):
    """An anchor whose signature holds."""

    source: str
    checkpoint: note.Checkpoint


def find_notes(data: bytes) -> tuple[bytes, ...]:
    """The signed checkpoints in a file, a mail or any text around them, each as its exact note bytes, unverified.

    Quote marks, indentation, CR LF and the transfer encodings of a mail (RFC 2045) are undone. Raises InputError where
    there is none, or for more than 10 MB.
    """
    if len(data) > MAX_ANCHOR_BYTES:
        raise InputError(f"{len(data)} bytes, at most {MAX_ANCHOR_BYTES} are searched for a checkpoint")
    found: dict[bytes, None] = {}
    for text in _texts(data):
        found.update(dict.fromkeys(_notes_in(text)))
        if found:
            return tuple(found)
    raise InputError(
        "there is no signed checkpoint in this",
        hint="It has an origin, a size, a root, an empty line and a line that begins with an em dash.",
    )


def _texts(data: bytes) -> Iterator[str]:
    yield data.decode("utf-8", "replace")
    try:
        message = message_from_bytes(data, _class=EmailMessage, policy=policy.default)
        for part in message.walk():
            if part.get_content_maintype() == "text":
                yield str(part.get_content())
    except (MessageError, LookupError, ValueError):
        return  # not a mail that can be read: what was plain text in it was searched already


def _notes_in(text: str) -> Iterator[bytes]:
    """Every block of lines before an empty line and a signature line that parses as a checkpoint."""
    lines = [_QUOTE.sub("", line.rstrip()) for line in text.splitlines()]
    for at, line in enumerate(lines):
        if not _SIGNATURE.fullmatch(line) or at < 4 or lines[at - 1]:
            continue
        end = at
        while end < len(lines) and _SIGNATURE.fullmatch(lines[end]):
            end += 1
        # A mail may put words right above the note: the shortest block that reads as a checkpoint is the note.
        for start in range(at - 4, max(-1, at - 20), -1):
            if not lines[start]:
                break
            block = "\n".join([*lines[start:end], ""]).encode()
            if _is_checkpoint(block):
                yield block
                break


def _is_checkpoint(block: bytes) -> bool:
    try:
        note.Checkpoint.parse(note.SignedNote.parse(block).text)
    except FailwellError:
        return False
    return True


class Anchors:
    """The log key from outside, the ledger's own head and the kept ones, held against the tree of the entries."""

    def __init__(
        self, findings: Findings, log_key: str | None, verify: VerifySignature, kept: Iterable[Anchor]
    ) -> None:  # fmt: skip
        self._findings = findings
        self._verify = verify
        self.key = self._read_key(log_key)
        self.own: note.Checkpoint | None = None
        self.kept = [opened for anchor in kept if (opened := self._open_kept(anchor)) is not None]
        if not self.kept:
            findings.uncheckable(
                KEPT, "no checkpoint kept elsewhere was given, so a ledger rewritten whole would not show"
            )

    def _read_key(self, log_key: str | None) -> note.VerifierKey | None:
        if log_key is None:
            self._findings.uncheckable(HEAD, "no log key was given from outside the ledger")
            return None
        try:
            return note.VerifierKey.parse(log_key.strip())
        except InputError as error:
            self._findings.add(HEAD, "head.key", f"the log key cannot be read: {error.message}")
            return None

    @property
    def sizes(self) -> set[int]:
        """Tree sizes whose roots are wanted."""
        own = set() if self.own is None else {self.own.size}
        return own | {each.checkpoint.size for each in self.kept}

    def _open(self, data: bytes) -> note.Checkpoint:
        """The checkpoint in a note that the log key signed; without a key from outside, one that only parses."""
        if self.key is None:
            return note.Checkpoint.parse(note.SignedNote.parse(data).text)
        return note.open_checkpoint(data, self.key.name, [(self.key, self._verify)])

    def _open_kept(self, anchor: Anchor) -> Opened | None:
        try:
            if self.key is None:
                raise InputError("without a log key it vouches for nothing")
            return Opened(anchor.source, self._open(anchor.note))
        except FailwellError as error:
            self._findings.add(
                KEPT, "kept.unsigned", f"the checkpoint {anchor.source} is not one of this log: {error.message}"
            )
            return None

    def take_own(self, rows: Iterable[Any]) -> None:
        """The row of the checkpoint table: (id, size, signed note). Must come before the entries."""
        found = list(rows)
        if not found:
            self._unsealed("head.missing", "the ledger has no checkpoint")
        elif len(found) > 1 or len(found[0]) != 3 or found[0][0] != 1 or type(found[0][2]) is not bytes:
            self._unsealed("head.shape", "the checkpoint table does not hold one checkpoint")
        else:
            self._read_own(found[0][1], found[0][2])

    def _read_own(self, size: Any, data: bytes) -> None:
        try:
            self.own = self._open(data)
        except FailwellError as error:
            self._unsealed("head.signature", f"the ledger's checkpoint does not hold: {error.message}")
            return
        if type(size) is not int or size != self.own.size:
            first = min(size, self.own.size) if type(size) is int and size >= 0 else 0
            self._findings.add(
                HEAD, "head.size", f"the checkpoint is over {self.own.size} entries, its row says {size}", entry=first,
                first=0, last=self.own.size, table="checkpoint", key=1,
            )  # fmt: skip

    def _unsealed(self, code: str, message: str) -> None:
        message = f"{message}: nothing vouches for entry 0 and all after it"
        self._findings.add(HEAD, code, message, entry=0, table="checkpoint", key=1)

    # -- after the entries -------------------------------------------------------------------------------------

    def sealed(self, size: int, roots: dict[int, bytes]) -> int:
        """How many of the `size` entries the ledger's own head vouches for: signed, and the tree of those entries."""
        own = self.own
        if self.key is None or own is None or own.size > size or roots.get(own.size) != own.root:
            return 0
        return own.size

    def compare(self, size: int, roots: dict[int, bytes], broken_at: int | None) -> None:
        """Hold the heads against the tree of `size` entries; `roots` by size, as far as the tree is whole."""
        if self.own is not None:
            self._compare_own(self.own, size, roots, broken_at)
        good = 0
        for each in sorted(self.kept, key=lambda opened: opened.checkpoint.size):
            good = self._compare_kept(each, size, roots, broken_at, good)
        if self.kept:
            sizes = ", ".join(str(each.checkpoint.size) for each in self.kept[:5])
            self._findings.detail(KEPT, f"{len(self.kept)} kept, over {sizes} entries")

    def _compare_own(self, own: note.Checkpoint, size: int, roots: dict[int, bytes], broken_at: int | None) -> None:
        self._findings.detail(HEAD, f"over {own.size} entries")
        if own.size > size:
            self._findings.add(
                HEAD,
                "head.cut",
                f"the checkpoint is over {own.size} entries: from entry {size} on they are missing",
                entry=size,
            )
            return
        if own.size < size:
            self._findings.add(
                HEAD, "head.unsealed", f"unsealed tail: {size - own.size}, from entry {own.size} on", entry=own.size
            )
        if own.size in roots and roots[own.size] != own.root:
            self._findings.add(
                HEAD, "head.root", entry=max(0, own.size - 1), first=0, last=max(0, own.size - 1),
                message=f"the entries do not give the signed root: the first changed is at most entry {own.size - 1}",
            )  # fmt: skip
        elif own.size not in roots and broken_at is not None:
            self._findings.uncheckable(HEAD, f"the tree is broken at entry {broken_at}")

    def _compare_kept(
        self, each: Opened, size: int, roots: dict[int, bytes], broken_at: int | None, good: int
    ) -> int:  # fmt: skip
        kept = each.checkpoint
        if kept.size > size:
            self._findings.add(
                KEPT, "kept.cut", entry=size,
                message=f"the checkpoint {each.source} covers {kept.size} entries: from {size} on they are missing",
            )  # fmt: skip
        elif kept.size not in roots:
            self._findings.uncheckable(KEPT, f"the tree is broken at entry {broken_at}")
        elif roots[kept.size] == kept.root:
            return kept.size
        else:
            last = max(good, kept.size - 1)
            self._findings.add(
                KEPT, "kept.root", entry=last, first=good, last=last,
                message=f"the checkpoint {each.source} disagrees: one of {good} to {last} was changed",
            )  # fmt: skip
        return good

    def compare_genesis(self, genesis: Any, origin: str | None) -> None:
        """The log key and origin in entry 0 against the key from outside: a ledger does not choose its own judge."""
        if self.key is None or genesis is None:
            return
        if genesis.log_key != self.key.text() or origin != self.key.name:
            message = "entry 0 names another log key or origin than the one given"
            self._findings.add(HEAD, "head.genesis", message, entry=0)
