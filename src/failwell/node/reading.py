"""Rows of a ledger by number, beside a running node or without one; starts and writes nothing in the workspace (D1).

Where a node runs they are read from the live file, page by page in short transactions: it only grows, so whatever a
checkpoint covers holds still. Without one they are read from a private copy. What SQLite refuses to read, and a table
that is not declared as this layout declares it, is Corrupt. Nothing that is read is verified here.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw
import msgspec

from failwell.core.errors import Corrupt
from failwell.core.rows import Head, decode_row
from failwell.node.copies import copy_ledger
from failwell.node.workspace import Workspace, lock_holder
from failwell.ports.storage import StoredEntry
from failwell.storage import sqlite

_TABLES = ("agent", "checkpoint", "contract", "entry", "head")
_ENTRY = "SELECT seq, data, leaf, nodes FROM entry"
#: Entries looked through in one read: a reader holds back a node's log no longer than that.
_PAGE = 10_000


class LedgerRows:
    """The entries and the checkpoint of one workspace, as a context. Every method raises Corrupt."""

    def __init__(self, workspace: Workspace) -> None:
        self._path = workspace.ledger
        with contextlib.ExitStack() as stack:
            # A node's shared memory lies beside the live file, so that a reader needs to create nothing there.
            live = lock_holder(workspace) is not None
            path = self._path if live else _copy(workspace, stack)
            self._connection = _connect(path, writable=not live)
            stack.callback(self._connection.close, True)
            self._check_tables()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _check_tables(self) -> None:
        # Attack: a view under the table's name, which computes what is read, or never ends.
        sql = "SELECT type, name, sql FROM sqlite_schema WHERE name IN (?, ?, ?, ?, ?)"
        wanted = {each for each in sqlite.declared_objects() if each[1] in _TABLES}
        if set(self._all(sql, *_TABLES)) != wanted:
            raise Corrupt(
                f"{self._path} does not declare its tables as this layout does", hint="failwell ledger verify"
            )

    def _all(self, sql: str, *bindings: Any) -> list[Any]:
        try:
            return self._connection.execute(sql, bindings).fetchall()
        except (apsw.Error, UnicodeDecodeError) as error:
            raise Corrupt(f"{self._path} cannot be read: {error}", hint="failwell ledger verify") from error

    def entry(self, seq: int) -> StoredEntry | None:
        """The row of one entry (`ledger.proofs.Rows`)."""
        found = self._all(f"{_ENTRY} WHERE seq = ?", seq)
        return StoredEntry(*found[0]) if found else None

    def entries(self, first: int, count: int) -> list[StoredEntry]:
        """The rows first .. first + count - 1, as far as they are there."""
        found = self._all(f"{_ENTRY} WHERE seq >= ? AND seq < ? ORDER BY seq", first, first + count)
        return [StoredEntry(*row) for row in found]

    def contract_of(self, agent: str) -> str | None:
        """The canonical text of the contract that is in force for an agent; None where there is none."""
        found = self._all('SELECT row FROM "agent" WHERE key = ?', agent)
        digest = decode_row("agent", found[0][0]).contract if found else None
        held = [] if digest is None else self._all('SELECT row FROM "contract" WHERE key = ?', digest)
        return str(decode_row("contract", held[0][0]).document) if held else None

    def agent_named(self, name: str) -> str | None:
        """The full id of the agent with this id or short name; None where there is none."""
        found = [
            key
            for key, row in self._all('SELECT key, row FROM "agent"')
            if name in (key, decode_row("agent", row).name)
        ]
        return str(found[0]) if found else None

    def newest(self, count: int) -> list[StoredEntry]:
        """The last `count` rows, oldest first."""
        found = self._all(f"{_ENTRY} ORDER BY seq DESC LIMIT ?", count)
        return [StoredEntry(*row) for row in reversed(found)]

    def holding(self, text: bytes, size: int) -> Iterator[StoredEntry]:
        """The rows below number `size` whose bytes hold `text`, oldest first; all of them are looked through."""
        for first in range(0, size, _PAGE):
            sql = f"{_ENTRY} WHERE seq >= ? AND seq < ? AND instr(data, ?) ORDER BY seq"
            for row in self._all(sql, first, min(first + _PAGE, size), text):
                yield StoredEntry(*row)

    def missing(self) -> list[int]:
        """The first few numbers below the last that no entry has."""
        count, last = self._all("SELECT count(*), max(seq) FROM entry WHERE seq >= 0")[0]
        if count == 0 or count == last + 1:
            return []
        sql = """
            SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM entry WHERE seq = 0) UNION ALL
            SELECT seq + 1 FROM entry AS one WHERE seq BETWEEN 0 AND ? - 1
            AND NOT EXISTS (SELECT 1 FROM entry WHERE seq = one.seq + 1) LIMIT 5
        """
        return [int(row[0]) for row in self._all(sql, last)]

    def heads(self) -> dict[str, Head]:
        """The projection `head`: how far each agent's chain reaches."""
        try:
            return {str(agent): decode_row("head", row) for agent, row in self._all("SELECT key, row FROM head")}
        except msgspec.MsgspecError as error:
            raise Corrupt(f"a row of table head cannot be read: {error}", hint="failwell ledger verify") from error

    def size(self) -> int:
        """How many entries there are, sealed or not."""
        last = self._all("SELECT max(seq) FROM entry")[0][0]
        return 0 if last is None else int(last) + 1

    def checkpoint(self) -> bytes | None:
        """The stored checkpoint (a signed note), None where nothing was sealed yet."""
        found = self._all("SELECT note FROM checkpoint WHERE id = 1")
        return bytes(found[0][0]) if found else None


def _copy(workspace: Workspace, stack: contextlib.ExitStack) -> Path:
    target = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="failwell-read-"))) / "ledger.db"
    copy_ledger(workspace, target)
    return target


def _connect(path: Path, *, writable: bool) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE if writable else apsw.SQLITE_OPEN_READONLY
    try:
        connection = apsw.Connection(str(path), flags=flags)
        connection.pragma("trusted_schema", 0)
    except apsw.Error as error:
        raise Corrupt(f"{path} cannot be opened: {error}", hint="failwell ledger verify") from error
    connection.set_busy_timeout(5000)
    return connection
