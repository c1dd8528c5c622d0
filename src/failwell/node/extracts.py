"""One agent's record, taken out of a ledger or looked at in it: complete, and shown to be (D15).

`export_extract` makes the file that `verify.extract` verifies, and hands out none that does not verify;
`verify_agent` makes the same of what is there, however damaged, and tells what holds. Both read as `reading` reads:
nothing is started or written. Entries that no checkpoint covers yet stay behind, and are counted. Blobs are not taken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from failwell.core import canonical, kinds, merkle, note
from failwell.core.errors import Corrupt, FailwellError, InputError, NotFound, Unhealthy
from failwell.core.extract import Extract
from failwell.core.heads import HeadsTree
from failwell.core.records import Entry, decode_entry
from failwell.core.rows import Head
from failwell.identity import keys
from failwell.ledger.heads import newest_heads
from failwell.ledger.proofs import StoredTree
from failwell.node.audit import published_key, read_anchors
from failwell.node.reading import LedgerRows
from failwell.node.remembered import contradiction, remembered, rows_in_force
from failwell.node.workspace import Workspace
from failwell.ports.storage import StoredEntry
from failwell.verify.anchors import Anchor
from failwell.verify.extract import examine, verify_extract
from failwell.verify.extract_report import CHAIN, COMPLETE, STEPS, ExtractReport
from failwell.verify.finding import Finding, Findings

#: So many entries of the node itself behind the heads entry are taken along: then the extract reaches to the very end.
TAIL: Final = 8
_PAGE: Final = 1000


class Extracted(NamedTuple):
    """An extract: its bytes, what verifying them showed, and how many entries of the agent are not sealed yet."""

    data: bytes
    report: ExtractReport
    unsealed: int


class AgentReport(NamedTuple):
    """What holds of one agent's record in a workspace: of what is sealed (`report`), and of what lies around it."""

    report: ExtractReport
    unsealed: int
    around: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return self.report.ok and not self.around


def export_extract(
    path: Path, name: str, *, with_cited: bool = False, checkpoints: Iterable[Path | bytes] = ()
) -> Extracted:
    """The extract of agent `name` (full or short) from the workspace at `path`.

    `with_cited`: also the entries of others that the agent's cite; `checkpoints`: older ones, or extracts, that it is
    to be shown to continue. A full name that has no entry gives the proof that it has none. Raises NotFound for an
    unknown short name, Unhealthy where nothing is sealed or no heads entry is, Corrupt for what does not verify.
    """
    workspace = Workspace(path)
    kept = [anchor for each in checkpoints for anchor in read_anchors(each)]
    key = _key(workspace, None)
    with rows_in_force(workspace) as rows:
        taken = _Taken(rows, name)
        taken.take(key, with_cited=with_cited, kept=kept)
    extract = taken.extract()
    if extract.heads is None:
        raise Unhealthy(
            "the record has no sealed heads entry yet, so nothing would show that no entry is left out",
            hint="The node writes one when it stops: failwell serve --stop",
            code="not-sealed",
        )
    data = extract.encode()
    report = verify_extract(data, decode=_decode, verify=keys.verify, log_key=key, kept=kept, agent=taken.agent)
    if not report.ok:
        message = f"the record of {taken.agent} does not hold together: {report.findings[0].message}"
        raise Corrupt(message, hint=f"failwell ledger verify --agent {name}")
    return Extracted(data, report, len(taken.unsealed))


def verify_agent(
    path: Path, name: str, *, checkpoints: Iterable[Path | bytes] = (), log_key: str | None = None
) -> AgentReport:
    """Verify what the ledger of the workspace at `path` holds of agent `name`; what does not hold is a finding.

    Raises NotFound for an unknown agent, Unhealthy where nothing is sealed yet, Corrupt where the file cannot be read.
    """
    workspace = Workspace(path)
    kept = [anchor for each in checkpoints for anchor in read_anchors(each)]
    key = _key(workspace, log_key)
    known = remembered(workspace)  # before the rows: what is signed later need not be in them
    with LedgerRows(workspace) as rows:
        taken = _Taken(rows, name)
        taken.take(published_key(workspace), with_cited=True, kept=kept)
        report = examine(taken.extract(), decode=_decode, verify=keys.verify, log_key=key, kept=kept)
        around = _around(rows, taken, report, known)
    return AgentReport(report, len(taken.unsealed), around)


def verify_file(
    file: Path, workspace: Path | None, *, checkpoints: Iterable[Path | bytes] = (), log_key: str | None = None,
    agent: str | None = None,
) -> ExtractReport:  # fmt: skip
    """Verify an extract in a file, by `log_key` or else by the published key of the workspace at `workspace`.

    Raises InputError where there is no key, the file cannot be read, or a checkpoint file holds none.
    """
    kept = [anchor for each in checkpoints for anchor in read_anchors(each)]
    key = _key(None if workspace is None else Workspace(workspace), log_key)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"the extract {file} cannot be read: {error.strerror}") from error
    return verify_extract(data, decode=_decode, verify=keys.verify, log_key=key, kept=kept, agent=agent)


def _key(workspace: Workspace | None, given: str | None) -> str:
    key = published_key(workspace) if given is None and workspace is not None else given
    if key is None:
        raise InputError("there is no log key to verify with", hint="Give it: --key FILE, the text of keys/log.pub.")
    return key


def _decode(_: int, data: bytes) -> Entry[Any]:
    return decode_entry(data)


class _Taken:
    """What is taken of one agent from the rows of a ledger. What cannot be read is left out, and found missing."""

    def __init__(self, rows: LedgerRows, name: str) -> None:
        self._rows = rows
        self._tree = StoredTree(rows.entry)
        self._note = rows.checkpoint() or b""
        if not self._note:
            raise Unhealthy("nothing is sealed yet", hint="Start the node; it seals what it writes.", code="not-sealed")
        try:
            self._size = note.Checkpoint.parse(note.SignedNote.parse(self._note).text).size
        except InputError as error:
            message = f"the ledger's checkpoint does not hold: {error.message}"
            raise Corrupt(message, hint="failwell ledger verify") from error
        #: A node may go on writing: what is looked at ends here, and the rows of `heads` may know of more.
        self.end = rows.size()
        self.heads = rows.heads()
        self.agent = _full_name(self.heads, name)
        self.unsealed: list[Entry[Any]] = []
        self._entries: dict[int, bytes] = {}
        self._places: tuple[int, tuple[Any, ...]] | None = None
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._sizes: list[int] = []

    def take(self, key: str | None, *, with_cited: bool, kept: list[Anchor]) -> None:
        """Take the agent's entries, those that show what log this is and that it is whole, and their proofs.

        `key`: the log's vkey in force; if entry 0 names the same, it was never changed.
        """
        cited = self._take_agent()
        self._take(0)
        if with_cited:
            for seq in cited:
                self._take(seq)
        if key is None or not self._began_with(key):
            self._take_changes()
        self._take_heads()
        for seq in sorted(self._entries):
            self._prove(lambda seq=seq: merkle.inclusion_path(seq, self._size, self._node))
        for size in sorted({_size(anchor) for anchor in kept}):
            if 0 < size < self._size:
                self._sizes.append(size)
                self._prove(lambda size=size: merkle.consistency_path(size, self._size, self._node))

    def extract(self) -> Extract:
        """All of it, as it is laid down."""
        entries = tuple(sorted(self._entries.items()))
        return Extract(self.agent, self._note, entries, self._places, self._nodes, tuple(self._sizes))

    def _take_agent(self) -> set[int]:
        """The agent's own entries, found by looking at all: its chain is what is to be shown. What they cite."""
        cited: set[int] = set()
        for row in self._rows.holding(b'"agent":' + canonical.encode(self.agent), self.end):
            try:
                entry = decode_entry(row.data)
            except Corrupt:
                continue
            if entry.agent != self.agent:
                continue
            if row.seq < self._size:
                self._entries[row.seq] = row.data
                cited.update(ref.seq for ref in entry.refs if ref.origin == entry.origin)
            else:
                self.unsealed.append(entry)
        return cited

    def _take(self, seq: int) -> StoredEntry | None:
        row = self._rows.entry(seq)
        if row is not None and seq < self._size:
            self._entries[seq] = row.data
        return row

    def _began_with(self, key: str) -> bool:
        first = self._entries.get(0)
        try:
            body = None if first is None else decode_entry(first).body
        except Corrupt:
            return False
        return isinstance(body, kinds.Genesis) and body.log_key == key

    def _take_changes(self) -> None:
        """The entries that changed the log's key or name."""
        for text in (b'"kind":"log.key"', b'"kind":"continued"'):
            for row in self._rows.holding(text, self._size):
                if _body_is(row, (kinds.LogKey, kinds.Continued)):
                    self._entries[row.seq] = row.data

    def _take_heads(self) -> None:
        """The newest heads entry under the checkpoint, and the agent's place in its tree."""
        entry = newest_heads(self._rows, self._size, self._size)
        if entry is None:
            return
        self._take(entry.seq)
        self._places = entry.seq, HeadsTree(self._heads_at(entry.seq)).prove(self.agent)
        tail = self._rows.entries(entry.seq + 1, self._size - entry.seq - 1) if self._size - entry.seq <= TAIL else []
        if all(row.seq in self._entries or _body_is(row, (kinds.NodeStopped,)) for row in tail):
            self._entries.update((row.seq, row.data) for row in tail)

    def _heads_at(self, size: int) -> dict[str, Head]:
        """How far each agent's chain reached after `size` entries: as now, less what was written since."""
        heads, seen = dict(self.heads), set()
        for first in range(size, self._rows.size(), _PAGE):
            for row in self._rows.entries(first, _PAGE):
                try:
                    entry = decode_entry(row.data)
                except Corrupt:
                    continue
                if entry.agent is None or entry.agent in seen:
                    continue
                seen.add(entry.agent)
                before = None if entry.aprev is None else self._rows.entry(entry.aprev)
                if before is None:
                    heads.pop(entry.agent, None)
                else:
                    heads[entry.agent] = Head(count=entry.aseq or 0, last=before.seq, leaf=before.leaf.hex())
        return heads

    def _node(self, level: int, index: int) -> bytes:
        if (level, index) not in self._nodes:
            self._nodes[level, index] = self._tree.subtree(level, index)
        return self._nodes[level, index]

    def _prove(self, path: Any) -> None:
        try:
            path()
        except FailwellError:
            return  # a row that it needs is missing: the entry is then found not to be shown


def _full_name(heads: dict[str, Head], name: str) -> str:
    found = [agent for agent in heads if name in (agent, agent.rsplit("/", 1)[-1])]
    if name in found or (not found and "://" in name):
        return name
    if len(found) != 1:
        raise NotFound(
            f"{name} is the short name of {len(found)} agents" if found else f"no entry is of an agent {name}",
            hint="Give its full name: failwell agent list. A full name without entries is shown to have none.",
        )
    return found[0]


def _body_is(row: StoredEntry, types: tuple[type, ...]) -> bool:
    try:
        return isinstance(decode_entry(row.data).body, types)
    except Corrupt:
        return False


def _size(anchor: Anchor) -> int:
    return note.Checkpoint.parse(note.SignedNote.parse(anchor.note).text).size


def _around(
    rows: LedgerRows, taken: _Taken, report: ExtractReport, known: Anchor | str
) -> tuple[Finding, ...]:  # fmt: skip
    """What the sealed part does not show: the chain beyond it, the row, gaps in the ledger, what its guard knows."""
    findings = Findings(STEPS)
    # Where the sealed chain is broken that is a finding already: the rest is held against its own beginning.
    count = report.entries + sum(end - begin + 1 for begin, end in report.missing)
    last = report.last
    for entry in taken.unsealed:
        if entry.aseq != count or (entry.aprev != last and not report.missing):
            message = f"entry {entry.seq} is number {entry.aseq} of {taken.agent}, {count} stand before it"
            findings.add(CHAIN, "entry.agent", message, entry=entry.seq, first=(last or 0) + 1, last=entry.seq)
        count, last = (entry.aseq or 0) + 1, entry.seq
    head = taken.heads.get(taken.agent)
    if (head is None or head.last < taken.end) and (0 if head is None else head.count) != count:
        message = (
            f"the ledger's own row counts {0 if head is None else head.count} entries of {taken.agent}, not {count}"
        )
        findings.add(CHAIN, "head.row", message)
    for seq in rows.missing():
        if report.complete_to is None or seq >= report.complete_to:
            message = f"entry {seq} of the ledger is missing: nothing tells whose it was"
            findings.add(COMPLETE, "entry.gone", message, entry=seq)
    with contextlib.suppress(Corrupt):  # rows that make up no tree are findings already
        if (why := contradiction(known, rows)) is not None:
            findings.add(COMPLETE, "behind-guard", why)
    return findings.found()
