"""A copy of a ledger file, opened and read row by row for verification; and the shelf on which rows are rebuilt.

Everything happens in a temporary directory outside the workspace: what is verified cannot be changed by verifying
it, nor by a node that goes on writing. Reads that SQLite refuses become Corrupt at the row where they stop.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw

from failwell.core.errors import Corrupt, Unhealthy
from failwell.core.rows import TABLES
from failwell.node.workspace import Workspace, lock_holder
from failwell.ports.storage import StorageFailed
from failwell.storage import sqlite
from failwell.verify.record import Ledger

#: How often a copy is made again because a node started or wrote meanwhile.
_COPY_ATTEMPTS = 5
_READING = {
    "entry": "SELECT seq, data, leaf, nodes FROM entry ORDER BY seq",
    "blob": "SELECT seq, ciphertext, wrapped FROM blob ORDER BY seq",
    "token": "SELECT id, token, lookup, sealed FROM token ORDER BY id",
    "checkpoint": "SELECT id, size, note FROM checkpoint ORDER BY id",
    **{table: f'SELECT key, row FROM "{table}" ORDER BY key' for table in TABLES},  # noqa: S608
}


class LedgerCopy:
    """A private copy of a workspace's ledger, as a context; raises Corrupt where the file cannot be opened at all."""

    def __init__(self, workspace: Workspace) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="failwell-audit-")
        try:
            self.path = Path(self._directory.name) / "ledger.db"
            copy_ledger(workspace, self.path)
            self._connection = _open_copy(self.path)
            self.shelf = DiskShelf(Path(self._directory.name) / "shelf.db", _layout(self._connection))
        except BaseException:
            self._directory.cleanup()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shelf.close()
        self._connection.close(True)
        self._directory.cleanup()

    def ledger(self) -> Ledger:
        """The copy's rows as the verifier takes them."""
        return read_ledger(self._connection)


def read_ledger(connection: apsw.Connection) -> Ledger:
    """The rows of an opened ledger file of any layout there was; tables that its layout does not have are not read."""
    declared = set(sqlite.declared_objects(_layout(connection)))
    objects = set(_all(connection, "SELECT type, name, sql FROM sqlite_schema"))
    ours = frozenset(name for kind, name, _ in objects & declared if kind == "table")
    # What came with a later layout is empty in an earlier one: a row that the entries make all the same is missing.
    later = _READING.keys() - {name for kind, name, _ in declared if kind == "table"}

    def rows(table: str) -> Iterator[Any]:
        return iter(()) if table in later else _rows(connection, table, ours)

    return Ledger(
        entries=rows("entry"), blobs=rows("blob"), tokens=rows("token"), checkpoints=rows("checkpoint"), rows=rows,
        objects=objects, declared=declared, complaints=_complaints(connection),
    )  # fmt: skip


def _rows(connection: apsw.Connection, table: str, ours: frozenset[str]) -> Iterator[Any]:
    # Attack: a view under the table's name, which computes what is read, or never ends.
    if table not in ours:
        raise Corrupt(f"table {table} is not declared as this layout declares it")
    try:
        yield from connection.execute(_READING[table])
    except (apsw.Error, UnicodeDecodeError) as error:
        raise Corrupt(f"SQLite: {error}") from error


def _all(connection: apsw.Connection, sql: str) -> list[Any]:
    try:
        return connection.execute(sql).fetchall()
    except (apsw.Error, UnicodeDecodeError) as error:
        raise Corrupt(f"SQLite: {error}") from error


def _layout(connection: apsw.Connection) -> int:
    """The layout that a file says it has; this release's where no release wrote such a one."""
    said = int(_all(connection, "PRAGMA user_version")[0][0])
    return said if 1 <= said <= sqlite.LAYOUT_VERSION else sqlite.LAYOUT_VERSION


def _complaints(connection: apsw.Connection) -> list[str]:
    """What SQLite finds wrong with the structure of the file, and marks of another kind of file."""
    found = []
    for name, wanted in (("application_id", sqlite.APPLICATION_ID), ("user_version", _layout(connection))):
        value = _all(connection, f"PRAGMA {name}")[0][0]
        if value != wanted:
            found.append(f"{name} is {value}, not {wanted}")
    try:
        found += [str(row[0]) for row in _all(connection, "PRAGMA integrity_check") if row[0] != "ok"]
    except Corrupt as error:
        found.append(error.message)
    return found


class DiskShelf:
    """`verify.rebuilt.Shelf` in a temporary file, so that a rebuild of any size takes little memory.

    Its rows are spelled as a file of `layout` holds them.
    """

    def __init__(self, path: Path | str, layout: int = sqlite.LAYOUT_VERSION) -> None:
        self._layout = layout
        self._connection = apsw.Connection(str(path))
        self._connection.pragma("journal_mode", "off")
        self._connection.pragma("synchronous", 0)
        for table, (_, numbered) in TABLES.items():
            key = "INTEGER PRIMARY KEY" if numbered else "TEXT PRIMARY KEY"
            rowid = "" if numbered else " WITHOUT ROWID"
            self._connection.execute(f'CREATE TABLE "{table}" (key {key}, row TEXT, entry INTEGER){rowid}')

    def put(self, rows: Iterable[tuple[str, Any, str, int]]) -> None:
        by_table: dict[str, list[tuple[Any, str, int]]] = {}
        for table, key, row, entry in rows:
            by_table.setdefault(table, []).append((key, row, entry))
        with self._connection:
            for table, made in by_table.items():
                self._connection.executemany(f'REPLACE INTO "{table}" VALUES (?, ?, ?)', made)  # noqa: S608

    def rows(self, table: str) -> Iterator[tuple[Any, str, int]]:
        found = self._connection.execute(f'SELECT key, row, entry FROM "{table}" ORDER BY key')  # noqa: S608
        yield from found if self._layout == sqlite.LAYOUT_VERSION else sqlite.spelled(self._layout, table, found)

    def close(self) -> None:
        self._connection.close(True)


def copy_ledger(workspace: Workspace, target: Path) -> None:
    """Copy a ledger without changing anything in its workspace, whether a node writes to it or not.

    Raises Corrupt where the file cannot be read, Unhealthy where a node keeps coming and going.
    """
    for _ in range(_COPY_ATTEMPTS):
        before = _stamp(workspace)
        held = lock_holder(workspace) is not None
        try:
            if held:
                sqlite.copy_live(workspace.ledger, target)
                return
            sqlite.copy(workspace.ledger, target)
        except (OSError, apsw.Error, StorageFailed) as error:
            raise Corrupt(f"{workspace.ledger} cannot be read: {error}") from error
        if _stamp(workspace) == before and lock_holder(workspace) is None:
            return
        for path in (target, target.with_name(target.name + "-wal")):
            path.unlink(missing_ok=True)
    raise Unhealthy(f"{workspace.ledger} changed while it was copied", hint="Try again.")


def _stamp(workspace: Workspace) -> list[tuple[int, int, int] | None]:
    """Size, time of change and inode of the file and of its log, to see that nobody wrote while they were copied."""
    stamps: list[tuple[int, int, int] | None] = []
    for name in ("ledger.db", "ledger.db-wal"):
        try:
            found = os.stat(workspace.path / name)
        except FileNotFoundError:
            stamps.append(None)
        else:
            stamps.append((found.st_size, found.st_mtime_ns, found.st_ino))
    return stamps


def _open_copy(path: Path) -> apsw.Connection:
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.pragma("trusted_schema", 0)
        connection.pragma("cell_size_check", 1)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except apsw.Error as error:
        raise Corrupt(f"the ledger file is not a SQLite database that can be read: {error}") from error
    return connection
