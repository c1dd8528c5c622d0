"""The chain: each entry's bytes, place, time, tree hashes and citations, held against the entries before it.

Implements the reading side of RFC 9162 2.1.1 (leaf and subtree hashes); that bytes are the one spelling of an entry
(RFC 8785) is the decoder's to show, which is given. It knows the envelope only; what the bodies say is `conduct`'s.
Standard library only. Memory: 32 bytes per entry, for citations, and a row per agent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final, Generic

from failwell.core.errors import Corrupt, InputError
from failwell.core.instants import parse_at
from failwell.core.merkle import HASH_BYTES, Frontier
from failwell.core.note import Verify
from failwell.verify.agents import Agents
from failwell.verify.envelope import CLOCK, CONTINUED, GENESIS, HEADS, LOG_KEY, READ_BODIES, Decode, E
from failwell.verify.finding import BYTES, CITATIONS, KEPT_PER_CODE, SEQUENCE, TREE, Findings
from failwell.verify.log_keys import LogKeys

#: A row numbered 2^62 is a finding; no memory is spent on the entries that it claims came before.
MAX_GAP: Final = 65_536

_SECOND: Final = len("2026-11-23T05:11:18.")
_MICROS: Final = re.compile("[0-9]{6}Z")


class Chain(Generic[E]):
    """Takes the rows of the entry table in order; `roots` are the tree heads at the sizes it was asked for."""

    def __init__(self, findings: Findings, sizes: Iterable[int], decode: Decode[E], verify: Verify) -> None:
        self._findings = findings
        self._wanted = set(sizes)
        self._decode = decode
        self.roots: dict[int, bytes] = {}
        self.size = 0
        self.rows = 0
        self.cited = 0
        #: Kinds of the last entry below each size that was asked for, and of the first beyond it.
        self.seams: dict[int, tuple[str, str]] = {}
        self.origin: str | None = None
        self.agents = Agents(findings)
        self.keys = LogKeys(findings, verify)
        #: From here on the true tree cannot be computed: an entry is missing or unreadable.
        self.broken_at: int | None = None
        self._tree = Frontier()
        #: The tree's subtree hashes before each of the last two entries: a `continued` entry names the head before its
        #: order.
        self._below_last: tuple[bytes, ...] = ()
        self._below: tuple[bytes, ...] = ()
        #: Stored subtree hashes still to be combined, once they differ from the true ones; None where nothing can be
        #: told from them any more. As long as all agree, the true tree stands for both.
        self._agree = True
        self._stored: list[bytes] | None = None
        #: (entry, first entry below it) of subtree hashes that their halves do not give.
        self._odd_nodes: list[tuple[int, int]] = []
        self._leaves: bytearray | None = bytearray()
        self._last: E | None = None
        self._last_at = ""
        self._second = ""
        if 0 in self._wanted:
            self.roots[0] = self._tree.root()

    def take(self, row: Any) -> tuple[E, bytes] | None:
        """Hold one row against all before it; the entry and its leaf, None where it does not decode."""
        self.rows += 1
        try:
            seq, data, leaf, nodes = row
        except (TypeError, ValueError):
            seq, data, leaf, nodes = None, None, None, None
        # Types, not kinds of types: what a database gives back as a row is told from what only looks like one.
        if type(seq) is not int or type(data) is not bytes or type(leaf) is not bytes or type(nodes) is not bytes:
            message = f"entry {self.size} is no row of a number and bytes"
            self._findings.add(BYTES, "entry.shape", message, entry=self.size)
            self._break(self.size)
            return None
        if seq != self.size:
            if seq < self.size:
                self._findings.add(SEQUENCE, "entry.misplaced", f"entry {seq} does not belong here", entry=seq)
                return None
            self._missing(seq)
        true_leaf = sha256(b"\0" + data).digest()
        self._hashes(seq, true_leaf, leaf, nodes)
        self.size = seq + 1
        try:
            entry = self._decode(seq, data)
        except (Corrupt, InputError) as error:
            self._findings.add(BYTES, "entry.bytes", f"entry {seq}: {error.message}", entry=seq)
            self._last = None
            self.agents.pass_over(seq)
            return None
        self._place(seq, entry)
        self.agents.take(entry, seq, true_leaf)
        if entry.refs:
            self._cites(seq, entry)
        return entry, true_leaf

    def break_off(self) -> None:
        """Say that the rows cannot be read on."""
        self._break(self.size)

    def end(self, *, sealed: int) -> None:
        """After the last entry. A signed head vouches for the first `sealed`: an odd hash there is itself wrong."""
        for seq, below in self._odd_nodes:
            message = f"the subtree over entries {below} to {seq} does not have the hash that its halves give"
            first = seq if seq < sealed else below
            self._findings.add(TREE, "entry.nodes", message, entry=seq, first=first, last=seq)

    def root(self) -> bytes | None:
        """The tree head over all entries, None where the tree is broken."""
        return None if self.broken_at is not None else self._tree.root()

    # -- the tree ----------------------------------------------------------------------------------------------

    def _missing(self, seq: int) -> None:
        first, last = self.size, seq - 1
        which = f"entry {first} is" if first == last else f"entries {first} to {last} are"
        self._findings.add(SEQUENCE, "entry.missing", f"{which} missing", entry=first)
        self._break(first)
        self.agents.pass_over(last)
        if self._leaves is not None and last - first < MAX_GAP:
            self._leaves += bytes(HASH_BYTES * (seq - first))
        else:
            self._leaves = None

    def _break(self, at: int) -> None:
        if self.broken_at is None:
            self.broken_at = at
        self._agree, self._stored = False, None

    def _hashes(self, seq: int, true_leaf: bytes, leaf: bytes, nodes: bytes) -> None:
        """The stored leaf against the bytes, the stored subtree hashes against the stored hashes below them."""
        if leaf != true_leaf:
            self._findings.add(TREE, "entry.leaf", f"entry {seq} does not have the leaf that its bytes give", entry=seq)
        if self._leaves is not None:
            self._leaves += true_leaf
        if self.broken_at is None:
            self._below_last, self._below = self._below, self._tree.hashes()
            completed = self._tree.append(true_leaf)
            if seq + 1 in self._wanted:
                self.roots[seq + 1] = self._tree.root()
            if self._agree and (leaf != true_leaf or nodes != b"".join(completed)):
                # Comparing stored with stored from here on keeps one changed hash one finding, instead of one for each
                # subtree above it.
                self._agree, self._stored = False, list(self._below)
        if self._stored is not None:
            self._subtrees(seq, leaf, nodes, self._stored)

    def _subtrees(self, seq: int, leaf: bytes, nodes: bytes, stack: list[bytes]) -> None:
        level = 0
        while (seq >> level) & 1:
            level += 1
        if len(nodes) != level * HASH_BYTES or len(leaf) != HASH_BYTES:
            self._findings.add(TREE, "entry.nodes", f"entry {seq} should complete {level} subtrees", entry=seq)
            self._stored = None  # what the later ones should be cannot be told from stored hashes any more
            return
        node = leaf
        for height in range(level):
            expected = sha256(b"\1" + stack.pop() + node).digest()
            node = nodes[height * HASH_BYTES : (height + 1) * HASH_BYTES]
            if node != expected and len(self._odd_nodes) < KEPT_PER_CODE:
                self._odd_nodes.append((seq, seq + 1 - (2 << height)))
        stack.append(node)

    # -- the envelope ------------------------------------------------------------------------------------------

    def _place(self, seq: int, entry: E) -> None:
        """Its own number, one log, ledger time and boot clock that never go back."""
        last = self._last
        self._last = entry
        kind = entry.kind
        if entry.seq != seq:
            self._findings.add(SEQUENCE, "entry.number", f"the row of entry {seq} holds entry {entry.seq}", entry=seq)
        if seq in self._wanted and last is not None:
            self.seams[seq] = last.kind, kind
        if entry.origin != self.origin or kind in READ_BODIES or seq == 0:
            self._name(seq, entry, last)
        if entry.at != self._last_at or not self._last_at:  # an entry without a time is no neighbour of the beginning
            self._time(seq, entry.at)
        if last is not None:
            self._boot(seq, entry, last)

    def _name(self, seq: int, entry: E, last: E | None) -> None:
        """Genesis first and once; a log keeps its origin but at a `continued` entry; what counts all agents."""
        kind = entry.kind
        if (seq == 0) != (kind == GENESIS):
            what = "entry 0 is not a genesis" if seq == 0 else f"entry {seq} is a second genesis"
            self._findings.add(SEQUENCE, "entry.genesis", what, entry=seq)
        elif kind == GENESIS:
            self.keys.begin(entry)
        if kind == CONTINUED:
            self.keys.go_on(seq, entry, last, self._head_before_order(seq))
            self.origin = entry.origin
        elif self.origin is None:
            self.origin = entry.origin
        elif entry.origin != self.origin:
            self._findings.add(SEQUENCE, "entry.origin", f"entry {seq} is of log {entry.origin!r}", entry=seq)
        if kind == LOG_KEY:
            self.keys.rotate(seq, entry)
        elif kind == HEADS:
            self.agents.count(seq, entry.body)

    def _head_before_order(self, seq: int) -> bytes | None:
        """The tree head over everything before the entry above `seq`; None where the tree is broken."""
        if self.broken_at is not None or not seq:
            return None
        return Frontier.from_hashes(seq - 1, self._below_last).root()

    def _time(self, seq: int, at: str) -> None:
        """Instants have one spelling of one length (RFC 3339, UTC), so their texts sort as they do."""
        # Neighbours share their second, whose reading costs most of it.
        if at[:_SECOND] != self._second or not _MICROS.fullmatch(at, _SECOND):
            try:
                parse_at(at)
            except InputError as error:
                self._findings.add(SEQUENCE, "entry.time", f"entry {seq}: {error.message}", entry=seq)
                return
            self._second = at[:_SECOND]
        if at < self._last_at:
            self._findings.add(
                SEQUENCE, "entry.time", f"entry {seq} is earlier than the one before it",
                entry=seq, first=max(0, seq - 1), last=seq,
            )  # fmt: skip
        else:
            self._last_at = at

    def _boot(self, seq: int, entry: E, last: E) -> None:
        if entry.boot == last.boot:
            if entry.mono_us < last.mono_us:
                self._findings.add(
                    SEQUENCE, "entry.clock", f"the boot clock of entry {seq} stands before that of entry {seq - 1}",
                    entry=seq, first=seq - 1, last=seq,
                )  # fmt: skip
        elif entry.kind != CLOCK:
            self._findings.add(
                SEQUENCE, "entry.clock", f"entry {seq} is of another boot than entry {seq - 1}, with no clock entry",
                entry=seq, first=seq - 1, last=seq,
            )  # fmt: skip

    def _cites(self, seq: int, entry: E) -> None:
        self.cited += len(entry.refs)
        for ref in entry.refs:
            if ref.origin != self.origin or not 0 <= ref.seq < seq:
                self._findings.add(
                    CITATIONS, "entry.citation", f"entry {seq} cites {ref.origin} {ref.seq}, which is no earlier entry",
                    entry=seq,
                )  # fmt: skip
            elif self._has_another_leaf(ref.seq, ref.leaf):
                self._findings.add(
                    CITATIONS, "entry.citation", entry=ref.seq, first=ref.seq, last=seq,
                    message=f"entry {seq} cites entry {ref.seq} by another leaf than it has: one of them was changed",
                )  # fmt: skip

    def _has_another_leaf(self, seq: int, claimed: str) -> bool:
        """Whether an earlier entry is here with another leaf; where it is missing that is a finding already."""
        if self._leaves is None:
            return False
        leaf = self._leaves[seq * HASH_BYTES : (seq + 1) * HASH_BYTES]
        return leaf.hex() != claimed and any(leaf)
