"""Verification of an extract: what one agent did, and that nothing of it is left out, by somebody who has nothing else
of the log and trusts one key (D15).

Whoever hands out an extract may leave out what they like, and may have any other extract of this log or another to take
pieces from; they cannot sign. So every entry must stand in the tree of one signed head, the agent's own count must have
no gap, and a `heads` entry of the same tree must count no more of them. What it cannot show: that a `heads` entry
counts rightly (`ledger verify` does, over the whole log; whoever holds the log key can write a wrong one, and is found
out by a checkpoint that somebody kept); what the agent did after the newest `heads` entry, as far as its end goes; that
there is no newer extract; and what blobs hold.

Standard library only: the decoder and the signature check are given.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from failwell.core import merkle, note, proof
from failwell.core.errors import Corrupt, FailwellError, InputError
from failwell.core.extract import Extract
from failwell.core.heads import verify_places
from failwell.verify.anchors import Anchor, VerifySignature
from failwell.verify.envelope import CONTINUED, GENESIS, HEADS, LOG_KEY, Decode, Envelope
from failwell.verify.extract_head import ExtractHead, NoNode
from failwell.verify.extract_report import (
    BYTES,
    CHAIN,
    CITED,
    COMPLETE,
    FORM,
    HEAD,
    INCLUDED,
    KEPT,
    LOG,
    STEPS,
    ExtractReport,
)
from failwell.verify.finding import Break, Findings

E = TypeVar("E", bound=Envelope)


def verify_extract(
    data: bytes, *, decode: Decode[E], verify: VerifySignature, log_key: str, kept: Iterable[Anchor] = (),
    agent: str | None = None,
) -> ExtractReport:  # fmt: skip
    """Verify the bytes of an extract; everything that does not hold is a finding.

    `decode` and `verify(public, message, signature)` as for a ledger; `log_key` is the log's C2SP vkey from outside,
    `kept` are checkpoints from elsewhere, `agent` whose extract it should be (full or short name). Raises InputError
    for a key that cannot be read, and nothing for what the extract holds.
    """
    key = note.VerifierKey.parse(log_key.strip())
    findings = Findings(STEPS)
    try:
        extract = Extract.parse(data)
    except InputError as error:
        findings.add(FORM, "extract.form", error.message)
        return _unread(findings, "it cannot be read as an extract")
    if agent is not None and agent not in (extract.agent, extract.agent.rsplit("/", 1)[-1]):
        findings.add(FORM, "extract.agent", f"this is an extract of {extract.agent}, not of {agent}")
    return _Reading(findings, extract, decode).verify(key, verify, list(kept))


def examine(
    extract: Extract, *, decode: Decode[E], verify: VerifySignature, log_key: str, kept: Iterable[Anchor] = ()
) -> ExtractReport:
    """The same of what would be extracted, which may still lack a heads entry: that is said, and no finding."""
    key = note.VerifierKey.parse(log_key.strip())
    return _Reading(Findings(STEPS), extract, decode).verify(key, verify, list(kept))


def _unread(findings: Findings, why: str) -> ExtractReport:
    for step in STEPS:
        findings.uncheckable(step, why)
    return ExtractReport(
        findings=findings.found(), checks=findings.checks(), counts=findings.counts, agent=None, origin=None, mode=None,
        size=0, root=None, newest_at=None, entries=0, first=None, last=None, missing=(), complete_to=None, since=0,
        cited_elsewhere=0,
    )  # fmt: skip


class _Reading(Generic[E]):
    """One verification, step by step."""

    def __init__(self, findings: Findings, extract: Extract, decode: Decode[E]) -> None:
        self._findings = findings
        self._extract = extract
        self._used: set[tuple[int, int]] = set()
        self._leaves = {seq: merkle.leaf_hash(data) for seq, data in extract.entries}
        self._held = self._decode(decode)
        self._mine = [seq for seq, entry in self._held.items() if entry.agent == extract.agent]
        #: Entries shown to stand in the tree, by number.
        self._included: set[int] = set()
        self._missing: list[tuple[int, int]] = []
        self._complete_to: int | None = None
        self._cited: set[int] = set()
        self._cited_elsewhere = 0

    def verify(self, key: note.VerifierKey, verify: VerifySignature, kept: list[Anchor]) -> ExtractReport:
        """Take all steps."""
        try:
            head = ExtractHead(self._findings, self._extract.checkpoint, self._held, self._node, verify)
        except InputError as error:
            self._findings.add(HEAD, "head.shape", f"the checkpoint cannot be read: {error.message}")
            return _unread(self._findings, "there is no tree head to hold anything against")
        signed = head.signed(key)
        self._include(head.checkpoint.size, head.checkpoint.root)
        self._named(head)
        self._chain()
        self._count()
        self._citations()
        self._strays()
        if not signed:
            for step in (INCLUDED, LOG, CHAIN, COMPLETE, CITED, KEPT):
                self._findings.uncheckable(step, "the tree head is not shown to be this log's")
        elif kept:
            head.compare(kept)
        else:
            why = "no checkpoint kept elsewhere was given, so an old extract, or a log rewritten whole, would not show"
            self._findings.uncheckable(KEPT, why)
        return self._report(head.checkpoint, head.breaks)

    # -- 1, 2 --------------------------------------------------------------------------------------------------

    def _decode(self, decode: Decode[E]) -> dict[int, E]:
        held: dict[int, E] = {}
        for seq, data in self._extract.entries:
            try:
                entry = decode(seq, data)
            except (Corrupt, InputError) as error:
                self._findings.add(BYTES, "entry.bytes", f"entry {seq}: {error.message}", entry=seq)
                continue
            if entry.seq == seq:
                held[seq] = entry
            else:
                self._findings.add(BYTES, "entry.number", f"what is said to be entry {seq} is {entry.seq}", entry=seq)
        self._findings.detail(BYTES, f"{len(self._extract.entries)} entries")
        return held

    def _strays(self) -> None:
        """Nothing is here that shows nothing: what could not be missed could be anything."""
        wanted = {*self._mine, *self._cited, 0}
        if self._extract.heads is not None:
            number = self._extract.heads[0]
            wanted.update((number, *range(number, self._covered(number))))
        for seq, entry in self._held.items():
            if seq not in wanted and entry.kind not in (LOG_KEY, CONTINUED):
                self._findings.add(FORM, "entry.stray", f"entry {seq} is not the agent's and is not needed", entry=seq)
        unused = len(self._extract.nodes.keys() - self._used)
        if unused:
            self._findings.add(FORM, "extract.nodes", f"{unused} tree hashes belong to no proof")

    # -- 4, 5: the tree and its names --------------------------------------------------------------------------

    def _node(self, level: int, index: int) -> bytes:
        node = self._extract.nodes.get((level, index))
        if node is None:
            raise NoNode(f"the hash of subtree {level}.{index} is not here")
        self._used.add((level, index))
        return node

    def _include(self, size: int, root: bytes) -> None:
        for seq, _ in self._extract.entries:
            try:
                path = merkle.inclusion_path(seq, size, self._node)
                proof.verify_inclusion(self._leaves[seq], seq, size, path, root)
            except FailwellError as error:
                message = f"entry {seq} is not shown to be what the log has at this number: {error.message}"
                self._findings.add(INCLUDED, "entry.included", message, entry=seq)
            else:
                self._included.add(seq)
        for old in self._extract.consistent_with:
            try:
                merkle.consistency_path(old, size, self._node)
            except FailwellError as error:
                message = f"the proof that it continues a tree of {old} is not whole: {error.message}"
                self._findings.add(FORM, "extract.nodes", message)
        self._findings.detail(INCLUDED, f"{len(self._included)} entries under a tree of {size}")

    def _named(self, head: ExtractHead) -> None:
        for seq, entry in self._held.items():
            name = head.name_at(seq)
            if name is not None and entry.origin != name:
                message = f"entry {seq} is of log {entry.origin!r}, this one was {name!r} then"
                self._findings.add(LOG, "entry.origin", message, entry=seq)
        self._findings.detail(LOG, ", then ".join(head.names))

    # -- 6, 7: nothing is left out -----------------------------------------------------------------------------

    def _chain(self) -> None:
        agent, count, last = self._extract.agent, 0, None
        for seq in self._mine:
            entry = self._held[seq]
            if entry.aseq is None or entry.aseq < count:
                message = f"entry {seq} is number {entry.aseq} of {agent}, but stands behind number {count - 1}"
                self._findings.add(CHAIN, "entry.agent", message, entry=seq)
                continue
            if entry.aseq > count:
                self._lacks(CHAIN, count, entry.aseq - 1, (-1 if last is None else last) + 1, entry.aprev)
            elif entry.aprev != last:
                message = f"entry {seq} names entry {entry.aprev} as the one before, not {last}"
                self._findings.add(CHAIN, "entry.agent", message, entry=seq)
            count, last = entry.aseq + 1, seq
        self._findings.detail(CHAIN, f"{len(self._mine)} entries")

    def _lacks(self, step: int, begin: int, end: int, after: int, named: int | None) -> None:
        """Numbers `begin` to `end` of the agent are not here: entries from `after` on, the last of them maybe named."""
        self._missing.append((begin, end))
        which = f"number {begin} is" if begin == end else f"numbers {begin} to {end} are"
        where = f": entry {named}" if begin == end else f": entries {after} or later, the last of them {named}"
        message = f"of the entries of {self._extract.agent}, {which} missing{'' if named is None else where}"
        first = named if begin == end and named is not None else after
        self._findings.add(step, "entry.missing", message, entry=named, first=first, last=named)

    def _count(self) -> None:
        if self._extract.heads is None:
            why = "the log has no heads entry yet: an entry left out at the end would not show"
            self._findings.uncheckable(COMPLETE, why)
            return
        number, places = self._extract.heads
        entry = self._held.get(number)
        if entry is None or number not in self._included:
            message = f"heads entry {number} is not here, or not shown to stand in the tree"
            self._findings.add(COMPLETE, "heads.entry", message, entry=number)
            return
        body = entry.body
        if entry.kind != HEADS or entry.agent is not None or body.upto != number:
            message = f"entry {number} is no heads entry over all before it"
            self._findings.add(COMPLETE, "heads.entry", message, entry=number)
            return
        try:
            line = verify_places(self._extract.agent, places, body.agents, bytes.fromhex(body.root))
        except (Corrupt, ValueError) as error:
            message = f"what heads entry {number} counts is not shown: {error}"
            self._findings.add(COMPLETE, "heads.places", message, entry=number)
            return
        self._agrees(number, 0 if line is None else line.count, None if line is None else line.leaf)

    def _agrees(self, number: int, count: int, leaf: str | None) -> None:
        """Hold the agent's entries before heads entry `number` against the count and last leaf that it gives."""
        before = [seq for seq in self._mine if seq < number]
        last = before[-1] if before else None
        reached = 0 if last is None else (self._held[last].aseq or 0) + 1
        if reached < count:
            # The chain may have shown the same gap, by an entry of the agent behind the heads entry.
            if all(begin != reached for begin, _ in self._missing):
                self._lacks(COMPLETE, reached, count - 1, 0 if last is None else last + 1, None)
        elif reached > count or (last is not None and self._leaves[last].hex() != leaf):
            message = f"heads entry {number} counts {count} entries of {self._extract.agent}, or another last one"
            self._findings.add(COMPLETE, "heads.count", message, entry=number)
        elif not self._missing:
            self._complete_to = self._covered(number)
            after = len(self._since())
            more = f"; {after} stand behind it, where one left out at the end would not show" if after else ""
            self._findings.detail(COMPLETE, f"up to entry {self._complete_to - 1} of the log: {count} entries{more}")

    def _covered(self, number: int) -> int:
        """How far all is known from heads entry `number` on: entries that follow it without a gap hide none."""
        while number in self._included:
            number += 1
        return number

    def _since(self) -> list[int]:
        return [seq for seq in self._mine if self._complete_to is not None and seq >= self._complete_to]

    # -- 8: citations ------------------------------------------------------------------------------------------

    def _citations(self) -> None:
        total = 0
        for seq in self._mine:
            entry = self._held[seq]
            for ref in entry.refs:
                total += 1
                if ref.origin != entry.origin or ref.seq not in self._held:
                    self._cited_elsewhere += 1
                    continue
                self._cited.add(ref.seq)
                if ref.leaf != self._leaves[ref.seq].hex():
                    message = f"entry {seq} cites entry {ref.seq} by another leaf than it has"
                    self._findings.add(CITED, "entry.citation", message, entry=ref.seq, first=ref.seq, last=seq)
        self._findings.detail(CITED, f"{total - self._cited_elsewhere} of {total} citations are of entries in it")

    # -- the result --------------------------------------------------------------------------------------------

    def _report(self, head: note.Checkpoint, breaks: tuple[Break, ...]) -> ExtractReport:
        genesis, mine = self._held.get(0), self._mine
        newest = max(self._held, default=None)
        return ExtractReport(
            findings=self._findings.found(), checks=self._findings.checks(), counts=self._findings.counts,
            agent=self._extract.agent, origin=head.origin,
            mode=genesis.body.mode if genesis is not None and genesis.kind == GENESIS else None,
            size=head.size, root=head.root.hex(),
            newest_at=None if newest is None else self._held[newest].at,
            entries=len(mine), first=mine[0] if mine else None, last=mine[-1] if mine else None,
            missing=tuple(self._missing), complete_to=self._complete_to, since=len(self._since()),
            cited_elsewhere=self._cited_elsewhere, breaks=breaks,
        )  # fmt: skip
