"""The hash-only mode: every leaf from its bytes, the tree over them, and the heads that are signed (R13).

Implements RFC 9162, 2.1.1, block by block. What it proves is that the bytes are those that the log key signed, no more:
that they are entries, follow each other, cite rightly and were judged by the rules is not looked at, and the report
says so. Of the entries only those are decoded that name the log's keys, and those beside a signed head.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from operator import add
from typing import Any, Final

from failwell.core.errors import Corrupt, InputError
from failwell.core.merkle import Frontier
from failwell.offline.entries import Entry, decode_entry
from failwell.verify.anchors import Anchor, Anchors, VerifySignature
from failwell.verify.envelope import CONTINUED, GENESIS, LOG_KEY
from failwell.verify.finding import BYTES, HEAD, KEPT, KEYS, SEQUENCE, STEPS, TREE, Findings, Report
from failwell.verify.log_keys import LogKeys
from failwell.verify.record import CORE, Ledger, Tell

#: Entries that are hashed together up to the root of one subtree. A power of two.
BLOCK: Final = 4096
#: An entry of these kinds has this text (its envelope is sorted: boot, kind, mono_us), and inside a string its quotes
#: would be escaped. The longer a text is, the faster it is found not to be there.
_NAMING: Final = tuple(b'","kind":"%b","mono_us":' % kind.encode() for kind in (LOG_KEY, CONTINUED))
_Grown = tuple[Frontier, list[bytes]]
_NOT_MADE: Final = "not looked at: only hashes were asked for"


def verify_hashes(
    ledger: Ledger, *, verify: VerifySignature, log_key: str | None, kept: Iterable[Anchor], tell: Tell
) -> Report:
    """Verify leaves, subtree hashes, the signed head and kept checkpoints; every other step is not checkable."""
    findings = Findings()
    for step in STEPS:
        if step not in (TREE, HEAD, KEPT, KEYS):
            findings.uncheckable(step, _NOT_MADE)
    anchors = Anchors(findings, log_key, verify, kept)
    try:
        anchors.take_own(ledger.checkpoints)
    except Corrupt as error:
        findings.add(HEAD, "checkpoint.unreadable", error.message, table="checkpoint")
    tree = HashTree(findings, anchors.sizes, LogKeys(findings, verify))
    try:
        for block in _blocks(ledger.entries):
            tree.take(block)
            tell(CORE, tree.rows)
    except Corrupt as error:
        tree.break_off()
        message = f"entry {tree.size} cannot be read: {error.message}"
        findings.add(BYTES, "entry.unreadable", message, entry=tree.size)
    anchors.compare(tree, tree.keys)
    findings.detail(TREE, f"{tree.rows} entries")
    root = tree.root()
    return findings.report(
        entries=tree.rows, origin=tree.keys.eras[-1].origin if tree.keys.eras else None,
        root=None if root is None else root.hex(), size=tree.size, read={"entries": tree.rows},
        unsealed=anchors.unsealed,
    )  # fmt: skip


def _blocks(rows: Iterable[Any]) -> Iterator[list[Any]]:
    rows = iter(rows)
    while block := list(islice(rows, BLOCK)):
        yield block


class HashTree:
    """`verify.anchors.Tree`, grown from blocks of rows (number, bytes, stored leaf, stored subtree hashes) in order.

    Every block but the last has BLOCK rows.
    """

    def __init__(self, findings: Findings, sizes: Iterable[int], keys: LogKeys) -> None:
        self._findings = findings
        self._wanted = set(sizes)
        self.keys = keys
        self.size = 0
        self.rows = 0
        self.roots: dict[int, bytes] = {}
        self.seams: dict[int, tuple[str, str]] = {}
        self.broken_at: int | None = None
        #: Tree over the roots of whole blocks, as if they were leaves.
        self._above = Frontier()
        #: The tree before a block, and that block's leaves: the newest, and the one before it.
        self._newest: _Grown = (Frontier(), [])
        self._older: _Grown = self._newest
        #: As long as all stored hashes are the true ones; behind the first that is not, subtrees are not compared.
        self._agree = True
        self._last: Any = None
        if 0 in self._wanted:
            self.roots[0] = Frontier().root()

    def take(self, block: list[Any]) -> None:
        """Hash one block and hold the stored hashes against it."""
        begin = self.size
        self.rows += len(block)
        columns = self._columns(block) if self.broken_at is None else None
        if columns is None:
            return
        self.size = begin + len(block)
        datas, stored, nodes = columns
        leaves = [sha256(b"\0" + data).digest() for data in datas]
        self._older, self._newest = self._newest, (Frontier.from_hashes(begin, self._above.hashes()), leaves)
        if list(stored) != leaves:
            self._odd(begin, stored, leaves, "leaf", "leaf that its bytes give")
        expected = self._subtrees(leaves)
        if self._agree and list(nodes) != expected:
            self._odd(begin, nodes, expected, "nodes", "subtree hashes that the leaves give")
        self.roots |= {size: self._root_at(size) for size in self._wanted if begin < size <= self.size}
        self._read(begin, block, datas)
        self._last = block[-1]

    def break_off(self) -> None:
        """Say that the rows cannot be read on."""
        if self.broken_at is None:
            self.broken_at = self.size

    def root(self) -> bytes | None:
        """The tree head over all entries, None where the tree is broken."""
        if self.broken_at is not None:
            return None
        return self.roots[self.size] if self.size in self.roots else self._root_at(self.size)

    def _root_at(self, size: int) -> bytes:
        """The head over the first `size` entries, the last of which is in one of the two newest blocks."""
        before, leaves = self._newest if size >= self._newest[0].size else self._older
        tree = before.copy()
        for leaf in leaves[: size - tree.size]:
            tree.append(leaf)
        return tree.root()

    def _subtrees(self, leaves: list[bytes]) -> list[bytes]:
        """What each row of the block must hold: the hashes of the perfect subtrees that it completes, lowest first."""
        level = leaves
        expected, step = [b""] * len(level), 1
        while len(level) > 1:
            step *= 2
            level = [
                sha256(b"\1" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)
            ]
            expected[step - 1 :: step] = map(add, expected[step - 1 :: step], level)
        if len(leaves) == BLOCK:
            expected[-1] += b"".join(self._above.append(level[0]))
        return expected

    def _columns(self, block: list[Any]) -> list[tuple[Any, ...]] | None:
        """Bytes, leaves and nodes of the next rows; None where they are not the next, or no rows: a finding."""
        with suppress(ValueError):  # rows of different lengths
            seqs, *columns = zip(*block, strict=True)
            next_ones = seqs == tuple(range(self.size, self.size + len(block))) and set(map(type, seqs)) == {int}
            if next_ones and [set(map(type, column)) for column in columns] == [{bytes}] * 3:
                return columns
        for seq, row in enumerate(block, self.size):
            if len(row) != 4 or type(row[0]) is not int or any(type(part) is not bytes for part in row[1:]):
                self._findings.add(BYTES, "entry.shape", f"entry {seq} is no row of a number and bytes", entry=seq)
            elif row[0] > seq:
                self._findings.add(SEQUENCE, "entry.missing", f"entry {seq} is missing", entry=seq)
            elif row[0] < seq:
                self._findings.add(SEQUENCE, "entry.misplaced", f"entry {row[0]} does not belong here", entry=row[0])
            else:
                continue
            self.broken_at = self.size = seq
            break
        return None

    def _odd(self, begin: int, stored: Iterable[bytes], true: list[bytes], what: str, says: str) -> None:
        self._agree = False
        for seq, (here, wanted) in enumerate(zip(stored, true, strict=True), begin):
            if here != wanted:
                self._findings.add(TREE, f"entry.{what}", f"entry {seq} does not have the {says}", entry=seq)

    # -- the few entries that are read -------------------------------------------------------------------------

    def _read(self, begin: int, block: list[Any], datas: Sequence[bytes]) -> None:
        """The entries that name the log's keys, and the kinds on both sides of a signed head."""
        joined = b"\n".join(datas)
        named = [0] if begin == 0 else []
        if any(naming in joined for naming in _NAMING):
            named += [at for at, data in enumerate(datas) if any(naming in data for naming in _NAMING)]
        for at in dict.fromkeys(named):
            entry = self._decode(block[at])
            if entry is not None:
                self._name(begin + at, entry, self._decode(block[at - 1] if at else self._last))
        for size in self._wanted:
            if size and begin <= size < self.size:
                sides = (
                    self._decode(block[size - begin - 1] if size > begin else self._last),
                    self._decode(block[size - begin]),
                )
                if sides[0] is not None and sides[1] is not None:
                    self.seams[size] = sides[0].kind, sides[1].kind

    def _name(self, seq: int, entry: Entry, last: Entry | None) -> None:
        if seq == 0 and entry.kind == GENESIS:
            self.keys.begin(entry)
        elif entry.kind == LOG_KEY:
            self.keys.rotate(seq, entry)
        elif entry.kind == CONTINUED:
            self.keys.go_on(seq, entry, last, self._root_at(seq - 1) if seq else None)  # the head before its order

    def _decode(self, row: Any) -> Entry | None:
        """An entry as far as it can be read; what is wrong with it is not for this mode to say."""
        try:
            return None if row is None else decode_entry(row[0], row[1])
        except (Corrupt, InputError):
            return None
