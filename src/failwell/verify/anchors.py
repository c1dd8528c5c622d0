"""Anchors: the ledger's own checkpoint, and those that somebody kept elsewhere, in a file or in an old mail.

Implements the reading side of C2SP signed-note and tlog-checkpoint over RFC 9162 tree heads. A checkpoint that was
kept by another party is what a rewritten, shortened or restored ledger cannot agree with. Nothing here fetches or
keeps one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import EmailMessage
from typing import Any, Final, NamedTuple, Protocol

from failwell.core import note
from failwell.core.cosignature import CosignerKey, open_cosigned
from failwell.core.errors import FailwellError, InputError
from failwell.verify.envelope import BEGINNINGS, NODE_STOPPED
from failwell.verify.finding import HEAD, KEPT, KEYS, NO_GRADE, OPERATOR_ONLY, OTHER_PARTY, UNSIGNED, Findings, Grade
from failwell.verify.log_keys import Era, LogKeys

_SIGNATURE: Final = re.compile(r"\N{EM DASH} \S+ [A-Za-z0-9+/]+={0,2}")
_QUOTE: Final = re.compile(r"^[ \t>|]+")
#: Mails and files of more are not anchors.
MAX_ANCHOR_BYTES: Final = 10_000_000

VerifySignature = note.Verify


class Anchor(NamedTuple):
    """A kept checkpoint: where it came from (for messages) and the bytes of its signed note.

    `ours`: kept by the log's own guard. It is held against the entries like any other, but it is no other party's: it
    leaves the step of kept checkpoints not checkable.
    """

    source: str
    note: bytes
    ours: bool = False


class Tree(Protocol):
    """What the chain found: how many entries, heads by size as far as the tree is whole, and the kinds at the seams.

    `seams`: by size, the kind of the last entry below it and of the first beyond it.
    """

    size: int
    roots: dict[int, bytes]
    seams: dict[int, tuple[str, str]]
    broken_at: int | None


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


class _Head(NamedTuple):
    """A head that was read and not verified: nobody has said yet which key it must be signed with."""

    source: str
    note: bytes
    checkpoint: note.Checkpoint
    ours: bool = True


class Anchors:
    """The log key from outside, the ledger's own head and the kept ones, held against the tree of the entries.

    Which key a head must be signed with follows from its size and the entries, so heads are read first and verified
    after the entries.
    """

    def __init__(
        self, findings: Findings, log_key: str | None, verify: VerifySignature, kept: Iterable[Anchor],
        witnesses: Sequence[CosignerKey] = (), unread: str | None = None,
    ) -> None:  # fmt: skip
        """`unread`: why what the log's own guard remembers is not among the kept; None where it is."""
        self._findings = findings
        self.unread = unread
        self._verify = verify
        self.key = self._read_key(log_key)
        self._own: _Head | None = None
        kept = tuple(kept)
        self._alone = all(anchor.ours for anchor in kept)
        self._kept = [head for anchor in kept if (head := self._read_kept(anchor)) is not None]
        self._witnesses = [(key, verify) for key in witnesses]
        #: Kept heads that agree with the entries, and which of the known witnesses cosigned each.
        self._agreed: list[tuple[_Head, tuple[str, ...]]] = []
        #: Entries that the ledger's own head vouches for: signed, and the tree of those entries.
        self.sealed = 0
        #: Entries beyond the ledger's own head, for which nothing in it vouches yet.
        self.unsealed = 0

    def _read_key(self, log_key: str | None) -> note.VerifierKey | None:
        if log_key is None:
            for step in (HEAD, KEYS):
                self._findings.uncheckable(step, "no log key was given from outside the ledger")
            return None
        try:
            return note.VerifierKey.parse(log_key.strip())
        except InputError as error:
            self._findings.add(HEAD, "head.key", f"the log key cannot be read: {error.message}")
            return None

    @property
    def sizes(self) -> set[int]:
        """Tree sizes whose roots are wanted."""
        own = set() if self._own is None else {self._own.checkpoint.size}
        return own | {each.checkpoint.size for each in self._kept}

    def _read_kept(self, anchor: Anchor) -> _Head | None:
        try:
            return _read(anchor.source, anchor.note)._replace(ours=anchor.ours)
        except FailwellError as error:
            self._no_anchor(anchor.source, error)
            return None

    def _no_anchor(self, source: str, error: FailwellError) -> None:
        message = f"the checkpoint {source} is not one of this log: {error.message}"
        self._findings.add(KEPT, UNSIGNED, message)

    def take_own(self, rows: Iterable[Any]) -> None:
        """The row of the checkpoint table: (id, size, signed note). Must come before the entries."""
        found = list(rows)
        if not found:
            self._nothing_vouches("head.missing", "the ledger has no checkpoint")
        elif len(found) > 1 or len(found[0]) != 3 or found[0][0] != 1 or type(found[0][2]) is not bytes:
            self._nothing_vouches("head.shape", "the checkpoint table does not hold one checkpoint")
        else:
            self._read_own(found[0][1], found[0][2])

    def _read_own(self, size: Any, data: bytes) -> None:
        try:
            self._own = _read("of the ledger itself", data)
        except FailwellError as error:
            self._nothing_vouches("head.signature", f"the ledger's checkpoint does not hold: {error.message}")
            return
        covered = self._own.checkpoint.size
        if type(size) is not int or size != covered:
            first = min(size, covered) if type(size) is int and size >= 0 else 0
            self._findings.add(
                HEAD, "head.size", f"the checkpoint is over {covered} entries, its row says {size}", entry=first,
                first=0, last=max(first, covered), table="checkpoint", key=1,
            )  # fmt: skip

    def _nothing_vouches(self, code: str, message: str) -> None:
        message = f"{message}: nothing vouches for entry 0 and all after it"
        self._findings.add(HEAD, code, message, entry=0, table="checkpoint", key=1)

    # -- after the entries -------------------------------------------------------------------------------------

    def compare(self, tree: Tree, keys: LogKeys) -> None:
        """Hold the heads against the tree of the entries, each under the key that its size and the entries name."""
        self._keys = keys
        self._trusted = None if self.key is None else keys.trusted(self.key)
        if self.key is not None and self._trusted is None and keys.eras:
            # A ledger does not choose its own judge.
            message = "entry 0 names another log key or origin than the one given, and no later entry names that one"
            self._findings.add(HEAD, "head.genesis", message, entry=0)
        self.unsealed = tree.size
        if self._own is not None:
            self._judge_own(self._own, tree)
        good = below = seen = 0
        for each in sorted(self._kept, key=lambda head: head.checkpoint.size):
            if self._opens_kept(each):
                # Attack: two histories of one size. That one agrees does not tell where the other parted from it.
                if each.checkpoint.size > seen:
                    below, seen = good, each.checkpoint.size
                good = max(good, self._compare_kept(each, tree, below))
        self._tell_kept()

    def _tell_kept(self) -> None:
        """What the kept heads show, and what they cannot."""
        guard = "" if self.unread is None else f"; what its guard signed last was not read: {self.unread}"
        agreed = [head for head, _ in self._agreed]
        ours = "".join(f"; the head {head.source} agrees, over {head.checkpoint.size}" for head in agreed if head.ours)
        if self._alone:
            self._findings.uncheckable(
                KEPT,
                f"no checkpoint kept elsewhere was given, so a ledger rewritten whole would not show{ours}{guard}",
            )
        elif kept := [head.checkpoint.size for head in agreed if not head.ours]:
            sizes = ", ".join(str(size) for size in kept[:5])
            self._findings.detail(KEPT, f"{len(kept)} kept, over {sizes} entries{self._cosigned()}{ours}{guard}")

    def _cosigned(self) -> str:
        """Which of the known witnesses cosigned what, in words."""
        if not self._witnesses:
            return ""
        seen = [f"{name} over {head.checkpoint.size} entries" for head, names in self._agreed for name in names]
        names = {name for _, names in self._agreed for name in names}
        return f"; {len(names)} of {len(self._witnesses)} known witnesses cosigned: {', '.join(seen[:5]) or 'none'}"

    def grade(self) -> Grade:
        """How strong the seal is, and for how many entries. Who kept a checkpoint cannot be told from its bytes."""
        if self._findings.counts:
            return Grade(grade=NO_GRADE, entries=0, why="the record does not verify")
        if not self.sealed:
            return Grade(grade=NO_GRADE, entries=0, why="no head that a key from outside vouches for covers it")
        kept = [head for head, names in self._agreed if names or not head.ours]
        if not kept:
            why = "nobody but its operator is known to hold a checkpoint of it: it could have been rewritten whole"
            return Grade(grade=OPERATOR_ONLY, entries=self.sealed, why=why)
        size = max(head.checkpoint.size for head in kept)
        by = "a witness cosigned it" if any(names for _, names in self._agreed) else "somebody else has kept it"
        beyond = "" if size >= self.sealed else "; entries beyond it are of grade C"
        why = f"a checkpoint over {size} entries agrees, and {by}, who must be another party than the operator{beyond}"
        return Grade(grade=OTHER_PARTY, entries=size, why=why)

    def _open(self, head: _Head, era: Era | None) -> bool:
        """Whether the key from outside vouches for the head; raises what is wrong with its signature."""
        if self.key is None:
            raise InputError("without a log key it vouches for nothing")
        note.open_checkpoint(head.note, *self._signed_by(era))
        return self._trusted is None or era is None or self._keys.eras.index(era) <= self._trusted

    def _signed_by(self, era: Era | None) -> tuple[str, list[tuple[note.VerifierKey, VerifySignature]]]:
        """The origin that a head of this era must bear, and who must have signed it."""
        if self.key is not None and (self._trusted is None or era is None):
            return self.key.name, [(self.key, self._verify)]
        if era is None:
            raise InputError("no entry names the key that signs it")
        return era.origin, [(note.VerifierKey.parse(era.key), self._verify)]

    def _judge_own(self, own: _Head, tree: Tree) -> None:
        size = own.checkpoint.size
        era = self._keys.at(size)
        if self.key is not None:
            try:
                vouched = self._open(own, era)
            except FailwellError as error:
                self._nothing_vouches("head.signature", f"the ledger's checkpoint does not hold: {error.message}")
                return
            if not vouched and era is not None:
                self._findings.uncheckable(
                    HEAD, f"entry {era.since} names the key that signed it, for which the key given does not vouch"
                )
            elif size <= tree.size and tree.roots.get(size) == own.checkpoint.root:
                self.sealed = size
        self.unsealed = max(0, tree.size - size)
        self._compare_own(own.checkpoint, tree)

    def _compare_own(self, own: note.Checkpoint, tree: Tree) -> None:
        tail = f", unsealed tail: {self.unsealed}" if self.unsealed else ""
        self._findings.detail(HEAD, f"over {own.size} entries{tail}")
        if own.size > tree.size:
            self._findings.add(
                HEAD, "head.cut", entry=tree.size,
                message=f"the checkpoint is over {own.size} entries: from entry {tree.size} on they are missing",
            )  # fmt: skip
            return
        before, beyond = tree.seams.get(own.size, ("", ""))
        if self.unsealed and before == NODE_STOPPED and beyond not in BEGINNINGS:
            # Attack: entries written to a ledger that lay closed. A node that is started says so first.
            self._findings.add(
                HEAD, "head.beyond", entry=own.size,
                message=f"unsealed tail: {self.unsealed}, from entry {own.size} ({beyond}) on, though the node had "
                "stopped and no node begins like that",
            )  # fmt: skip
        if own.size in tree.roots and tree.roots[own.size] != own.root:
            self._findings.add(
                HEAD, "head.root", entry=max(0, own.size - 1), first=0, last=max(0, own.size - 1),
                message=f"the entries do not give the signed root: the first changed is at most entry {own.size - 1}",
            )  # fmt: skip
        elif own.size not in tree.roots and tree.broken_at is not None:
            self._findings.uncheckable(HEAD, f"the tree is broken at entry {tree.broken_at}")

    def _opens_kept(self, each: _Head) -> bool:
        kept = each.checkpoint
        try:
            era = self._keys.of(kept.origin, kept.size)
            if era is None and self._trusted is not None:
                raise InputError(f"log {kept.origin}, of which it is, has no tree of {kept.size} entries here")
            if not self._open(each, era) and era is not None:
                self._findings.uncheckable(KEPT, f"the key given does not vouch for the key of entry {era.since}")
        except FailwellError as error:
            self._no_anchor(each.source, error)
            return False
        return True

    def _compare_kept(self, each: _Head, tree: Tree, good: int) -> int:
        kept, size = each.checkpoint, tree.size
        if self._lost(each, tree):
            return good
        if kept.size > size:
            self._findings.add(
                KEPT, "kept.cut", entry=size,
                message=f"the checkpoint {each.source} covers {kept.size} entries: from {size} on they are missing",
            )  # fmt: skip
        elif kept.size not in tree.roots:
            self._findings.uncheckable(KEPT, f"the tree is broken at entry {tree.broken_at}")
        elif tree.roots[kept.size] == kept.root:
            self._agreed.append((each, self._cosigners(each)))
            return kept.size
        else:
            last = max(good, kept.size - 1)
            self._findings.add(
                KEPT, "kept.root", entry=last, first=good, last=last,
                message=f"the checkpoint {each.source} disagrees: one of {good} to {last} was changed",
            )  # fmt: skip
        return good

    def _cosigners(self, each: _Head) -> tuple[str, ...]:
        """The known witnesses that cosigned a head which the log's key signed. A bad cosignature is a finding."""
        if not self._witnesses:
            return ()
        era = self._keys.of(each.checkpoint.origin, each.checkpoint.size)
        try:
            _, cosigned = open_cosigned(each.note, *self._signed_by(era), self._witnesses)
        except FailwellError as error:
            self._findings.add(KEPT, "kept.cosignature", f"the checkpoint {each.source}: {error.message}")
            return ()
        return tuple(each.key.name for each in cosigned)

    def _lost(self, each: _Head, tree: Tree) -> bool:
        """Whether a kept head is of entries that a continuity break gave up: said, with the order that did."""
        kept = each.checkpoint
        era = self._keys.of(kept.origin, kept.size)
        ended = None if era is None else self._keys.ended(era)
        if ended is None or (kept.size <= ended.since and tree.roots.get(kept.size) == kept.root):
            return False
        if kept.size <= ended.since and kept.size > (ended.lost_size or 0):
            return False
        self._findings.add(
            KEPT, "kept.lost", entry=ended.since,
            message=f"the checkpoint {each.source} covers {kept.size} entries of {kept.origin}: not all of them are "
            f"here, they were given up by the order in entry {ended.since - 1}",
        )  # fmt: skip
        return True


def _read(source: str, data: bytes) -> _Head:
    return _Head(source, data, note.Checkpoint.parse(note.SignedNote.parse(data).text))
