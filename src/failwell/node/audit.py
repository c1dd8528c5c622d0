"""Audit of a workspace (D1, D9): `ledger verify`, `rebuild` and `tail`, all without starting or writing anything.

Opens a copy, feeds it to `verify`, and takes the log key from the workspace's published half or from outside. A
ledger that cannot be read is a finding, not a crash. Only `rebuild_workspace(write=True)` writes, under the node's
lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from failwell.core.cosignature import CosignerKey
from failwell.core.errors import Corrupt, InputError
from failwell.core.extract import Extract
from failwell.core.records import Entry, decode_entry
from failwell.core.rows import TABLES
from failwell.identity import keys
from failwell.node.copies import LedgerCopy
from failwell.node.copy_file import copy_fault
from failwell.node.one_agent import newest_of
from failwell.node.reading import LedgerRows
from failwell.node.remembered import remembered
from failwell.node.workspace import Lock, Workspace
from failwell.offline.collector import without_collector
from failwell.storage import sqlite
from failwell.verify.anchors import Anchor, find_notes
from failwell.verify.finding import ROWS, Finding, Report, unreadable
from failwell.verify.ledger import verify_ledger
from failwell.verify.record import Tell, silent

__all__ = ["Rebuilt", "Report", "Shown", "find_notes", "rebuild_workspace", "tail", "verify_workspace"]


class Rebuilt(NamedTuple):
    """What a rebuild gave: how many rows were compared, which differ (at most 100 of a kind), whether replaced."""

    rows: int
    differing: tuple[Finding, ...]
    replaced: bool

    @property
    def identical(self) -> bool:
        return not self.differing


class Shown(NamedTuple):
    """One entry for display; `entry` None and `error` set where its bytes cannot be decoded."""

    seq: int
    leaf: str
    entry: Entry[Any] | None
    error: str | None


def verify_workspace(
    path: Path, *, checkpoints: Iterable[Path | bytes] = (), log_key: str | None = None,
    witnesses: Iterable[Path] = (), tell: Tell = silent,
) -> Report:  # fmt: skip
    """Verify the ledger of the workspace at `path` on a copy; starts nothing and writes nothing in it.

    `checkpoints`: files (a note, a mail, any text around a note) or their bytes, kept elsewhere; `log_key`: the vkey
    from outside, by default `keys/log.pub`. What the workspace's guard signed last is one more, where its directory
    can be read. `witnesses`: files with the vkeys of those who may have cosigned. `tell` hears of the phases: "copy",
    "file", and those of `verify.record`. Raises InputError for files without what they should hold.
    """
    workspace = Workspace(path)
    kept = [anchor for each in checkpoints for anchor in read_anchors(each)]
    known = tuple(key for each in witnesses for key in read_witnesses(each))
    log_key = published_key(workspace) if log_key is None else log_key
    unread = None
    if log_key is not None:
        head = remembered(workspace)  # before the copy is made: what is signed later is not in it
        if isinstance(head, Anchor):
            kept.append(head)
        else:
            unread = head
    try:
        with LedgerCopy(workspace) as copy, without_collector():
            tell("copy", 0)
            ledger = copy.ledger()
            tell("file", 0)
            return verify_ledger(
                ledger, shelf=copy.shelf, verify=keys.verify, log_key=log_key, kept=kept, witnesses=known,
                unread=unread,
                copies=partial(copy_fault, workspace.path / "blobs"), tell=tell,
            )  # fmt: skip
    except Corrupt as error:
        return unreadable(error.message)


def rebuild_workspace(path: Path, *, write: bool = False) -> Rebuilt:
    """Rebuild every projection from the entries into a fresh file and compare; `write` puts the rebuilt rows in place.

    Writing takes the node's lock and one transaction. Raises Corrupt where the entries themselves do not verify
    (nothing true could be rebuilt from them), Unhealthy where a node runs.
    """
    workspace = Workspace(path)
    lock = Lock(workspace) if write else None
    try:
        with LedgerCopy(workspace) as copy:
            report = verify_ledger(
                copy.ledger(), shelf=copy.shelf, verify=keys.verify, log_key=published_key(workspace)
            )
            beyond = [finding for finding in report.findings if finding.step != ROWS]
            if beyond:
                raise Corrupt(f"the entries do not verify: {beyond[0].message}", hint="failwell ledger verify")
            if write and report.findings:
                rebuilt = {table: ((key, row) for key, row, _ in copy.shelf.rows(table)) for table in TABLES}
                sqlite.replace_rows(workspace.ledger, rebuilt)
            return Rebuilt(report.read["rows"], report.findings, write and bool(report.findings))
    finally:
        if lock is not None:
            lock.release()


def tail(path: Path, count: int, agent: str | None = None) -> list[Shown]:
    """The last `count` entries, oldest first; of a running workspace too. Nothing is verified.

    `agent`: those of this agent alone (full or short name). Raises NotFound where no entry is of such an agent.
    """
    workspace = Workspace(path)
    if agent is not None:
        return [_shown(row.seq, row.data, row.leaf) for row in newest_of(workspace, agent, count)]
    with LedgerRows(workspace) as rows:
        found = rows.newest(count)
    return [_shown(row.seq, row.data, row.leaf) for row in found]


def read_witnesses(path: Path) -> Iterator[CosignerKey]:
    """The witnesses' vkeys in a file, one a line (C2SP tlog-cosignature, type 0x04); `#` begins a remark."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the file of witnesses {path} cannot be read") from error
    found = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not found:
        raise InputError(f"{path} names no witness", hint="A witness's vkey on each line: name+id+base64.")
    try:
        yield from (CosignerKey.parse(line) for line in dict.fromkeys(found))
    except InputError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint) from error


def published_key(workspace: Workspace) -> str | None:
    """The vkey in `keys/log.pub`, None where it cannot be read."""
    try:
        return workspace.log_pub.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None  # the step says that it could not be checked


def read_anchors(given: Path | bytes) -> Iterator[Anchor]:
    """The checkpoints in a file that somebody kept, or in its bytes: a note, a mail, an extract.

    Raises InputError for one without a checkpoint, or that cannot be read.
    """
    source = "given here" if isinstance(given, bytes) else str(given)
    try:
        data = given if isinstance(given, bytes) else given.read_bytes()
    except OSError as error:
        raise InputError(f"the checkpoint {source} cannot be read: {error.strerror}") from error
    try:
        notes = (Extract.parse(data).checkpoint,) if data.startswith(b'{"agent":') else find_notes(data)
        yield from (Anchor(source, note) for note in notes)
    except InputError as error:
        raise InputError(f"{source}: {error.message}", hint=error.hint) from error


def _shown(seq: int, data: bytes, leaf: bytes) -> Shown:
    try:
        return Shown(seq, leaf.hex(), decode_entry(data), None)
    except Corrupt as error:
        return Shown(seq, leaf.hex(), None, error.message)
