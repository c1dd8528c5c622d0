"""The ledger file in SQLite, through apsw (D17): WAL, `synchronous=FULL` always, one writer, exact read-back.

Two connections: one writes, the other reads back what was written (a read on the writing connection is served from
its own cache and proves nothing). Each pragma is set alone and then asserted, because a multi-statement pragma is
silently skipped. Readers share a third connection behind a lock and page in short transactions.
This module does not number, hash, sign or interpret anything.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import apsw

from failwell.core.errors import Corrupt, Unhealthy
from failwell.core.rows import TABLES
from failwell.ports.storage import Batch, StorageFailed, StorageFull, StoredBlob, StoredEntry, StoredToken

APPLICATION_ID = 0x4641_494C  # "FAIL": file(1) and strangers can tell what this is
LAYOUT_VERSION = 1
PAGE = 1000
#: Disk space kept for containment: a suspension writes under 100 KiB, its checkpoint of the log as much again.
RESERVE_BYTES = 4 * 1024 * 1024
SCHEMA = resources.files(__package__).joinpath("schema.sql").read_text()

_ENTRY = "INSERT INTO entry VALUES (?, ?, ?, ?)"
_BLOB = "INSERT INTO blob VALUES (?, ?, ?)"
_TOKEN = "INSERT INTO token VALUES (?, ?, ?, ?)"
_CHECKPOINT = (
    "INSERT INTO checkpoint VALUES (1, ?, ?) ON CONFLICT DO UPDATE SET size = excluded.size, note = excluded.note"
)
_READ_BACK = "SELECT data, leaf FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq"
_PUT = {
    table: f'INSERT INTO "{table}" VALUES (?, ?) ON CONFLICT DO UPDATE SET row = excluded.row'  # noqa: S608
    for table in TABLES
}


def create(path: Path) -> None:
    """Make an empty ledger file (0600); refuses to touch an existing one."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = _open(path)
    _pragma(connection, "application_id", APPLICATION_ID)
    _pragma(connection, "user_version", LAYOUT_VERSION)
    with connection:
        connection.execute(SCHEMA)
    connection.close()


def _pragma(connection: apsw.Connection, name: str, value: Any) -> None:
    connection.pragma(name, value)
    if connection.pragma(name) != value:
        raise StorageFailed(f"SQLite did not take pragma {name}={value}")


def _open(path: Path, *, writable: bool = True) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE if writable else apsw.SQLITE_OPEN_READONLY
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(5000)
    if writable:
        _pragma(connection, "journal_mode", "wal")
        _pragma(connection, "synchronous", 2)
        _pragma(connection, "wal_autocheckpoint", 2000)
    return connection


class SqliteStorage:
    """`ports.storage.Storage` on one SQLite file; beside it lies the reserve that a full disk cannot take."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reserve_path = path.with_name("reserve")
        self._lock = threading.Lock()
        self._connect()
        self.refill_reserve()

    def _connect(self) -> None:
        try:
            self._write = _open(self.path)
            if self._write.pragma("application_id") != APPLICATION_ID:
                raise Corrupt(f"{self.path} is not a Failwell ledger")
            if self._write.pragma("user_version") != LAYOUT_VERSION:
                raise Corrupt(
                    f"{self.path} has layout {self._write.pragma('user_version')}, this release reads {LAYOUT_VERSION}"
                )
            self._back = _open(self.path, writable=False)
            self._read = _open(self.path, writable=False)
        except apsw.Error as error:
            raise StorageFailed(f"the ledger {self.path} does not open: {error}") from error

    def commit(self, batch: Batch) -> None:
        write = self._write
        try:
            write.execute("BEGIN IMMEDIATE")
            if batch.entries:
                write.executemany(_ENTRY, batch.entries)
            if batch.blobs:
                write.executemany(_BLOB, batch.blobs)
            if batch.tokens:
                write.executemany(_TOKEN, batch.tokens)
            by_table: dict[str, list[tuple[Any, str]]] = {}
            for (table, key), row in batch.rows.items():
                by_table.setdefault(table, []).append((key, row))
            for table, changed in by_table.items():
                write.executemany(_PUT[table], changed)
            if batch.note is not None:
                write.execute(_CHECKPOINT, (batch.size, batch.note))
            write.execute("COMMIT")
        except apsw.FullError as error:
            raise StorageFull(f"no room to write the ledger {self.path}: {error}") from error
        except apsw.Error as error:
            raise StorageFailed(f"writing the ledger {self.path} failed: {error}") from error

    def read_back(self, first: int, count: int) -> list[tuple[bytes, bytes]]:
        try:
            found: list[Any] = self._back.execute(_READ_BACK, (first, first + count)).fetchall()
            return found
        except apsw.Error as error:
            raise StorageFailed(f"reading back the ledger {self.path} failed: {error}") from error

    def _one(self, sql: str, *bindings: Any) -> Any:
        with self._lock:
            try:
                return self._read.execute(sql, bindings).fetchone()
            except apsw.Error as error:
                raise StorageFailed(f"reading the ledger {self.path} failed: {error}") from error

    def _page(self, sql: str, *bindings: Any) -> list[Any]:
        with self._lock:
            try:
                return self._read.execute(sql, bindings).fetchall()
            except apsw.Error as error:
                raise StorageFailed(f"reading the ledger {self.path} failed: {error}") from error

    def size(self) -> int:
        last = self._one("SELECT max(seq) FROM entry")[0]
        return 0 if last is None else int(last) + 1

    def entry(self, seq: int) -> StoredEntry | None:
        row = self._one("SELECT * FROM entry WHERE seq = ?", seq)
        return None if row is None else StoredEntry(*row)

    def entries(self, first: int, limit: int) -> list[StoredEntry]:
        rows = self._page("SELECT * FROM entry WHERE seq >= ? ORDER BY seq LIMIT ?", first, limit)
        return [StoredEntry(*row) for row in rows]

    def blob(self, seq: int) -> StoredBlob | None:
        row = self._one("SELECT * FROM blob WHERE seq = ?", seq)
        return None if row is None else StoredBlob(*row)

    def blobs(self) -> Iterator[StoredBlob]:
        """All blobs in order, a page at a time."""
        for row in self._pages("blob", "seq"):
            yield StoredBlob(*row)

    def tokens(self) -> Iterator[StoredToken]:
        for row in self._pages("token", "id"):
            yield StoredToken(*row)

    def row(self, table: str, key: Any) -> str | None:
        row = self._one(f'SELECT row FROM "{_known(table)}" WHERE key = ?', key)  # noqa: S608
        return None if row is None else str(row[0])

    def rows(self, table: str) -> Iterator[tuple[Any, str]]:
        yield from self._pages(_known(table), "key")

    def _pages(self, table: str, key: str) -> Iterator[Any]:
        """Rows of `table` by key, each page in its own short transaction so that no reader holds back the WAL."""
        page = self._page(f'SELECT * FROM "{table}" ORDER BY {key} LIMIT {PAGE}')  # noqa: S608
        while page:
            yield from page
            page = self._page(f'SELECT * FROM "{table}" WHERE {key} > ? ORDER BY {key} LIMIT {PAGE}', page[-1][0])  # noqa: S608

    def checkpoint(self) -> bytes | None:
        row = self._one("SELECT note FROM checkpoint WHERE id = 1")
        return None if row is None else bytes(row[0])

    def objects(self) -> list[tuple[str, str, str | None]]:
        """(type, name, sql) of everything the file declares: a table or trigger that is not ours is tampering."""
        return self._page("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")

    def integrity(self) -> list[str]:
        """SQLite's own complaints about the file's structure; empty when it has none."""
        found = [str(row[0]) for row in self._page("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    def spend_reserve(self) -> None:
        self.reserve_path.unlink(missing_ok=True)

    def refill_reserve(self) -> bool:
        if self.reserve_path.exists():
            return True
        try:
            handle = os.open(self.reserve_path, os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                os.posix_fallocate(handle, 0, RESERVE_BYTES)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError:
            self.reserve_path.unlink(missing_ok=True)
            return False
        return True

    def reopen(self) -> None:
        with self._lock:  # no reader of another thread finds its connection closed under it
            self._shut()
            self._connect()

    def _shut(self) -> None:
        for connection in (self._back, self._read, self._write):
            connection.close(True)

    def close(self) -> None:
        self._back.close(True)
        with self._lock:
            self._read.close(True)
        # On a full or failing disk the log stays beside the file and is replayed at the next start.
        with contextlib.suppress(apsw.Error):
            self._write.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._write.close(True)


def _known(table: str) -> str:
    if table not in TABLES:
        raise Unhealthy(f"no table {table!r}")
    return table


def declared_objects() -> list[tuple[str, str, str | None]]:
    """What `SqliteStorage.objects` must give for a file of this layout."""
    connection = apsw.Connection(":memory:")
    connection.execute(SCHEMA)
    found: list[Any] = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    return found


def copy(source: Path, target: Path) -> None:
    """Copy a ledger and its write-ahead log without opening the source, for commands that must not write to it (D1).

    Call it while no node writes; a live ledger is copied by `copy_live`.
    """
    shutil.copyfile(source, target)
    log = source.with_name(source.name + "-wal")
    if log.exists():
        shutil.copyfile(log, target.with_name(target.name + "-wal"))


def copy_live(source: Path, target: Path) -> None:
    """Copy a ledger that a node is writing, in one SQLite read transaction (its online backup)."""
    reader = _open(source, writable=False)
    writer = apsw.Connection(str(target))
    with writer.backup("main", reader, "main") as backup:
        backup.step(-1)
    writer.close()
    reader.close()


def replace_rows(path: Path, rows: Mapping[str, Iterable[tuple[Any, str]]]) -> None:
    """Put rebuilt projections in the place of the stored ones, in one durable transaction.

    `rows`: table -> (key, canonical JSON). Call it under the node's lock. Raises StorageFailed; then nothing changed.
    """
    try:
        connection = _open(path)
        with connection:
            for table, made in rows.items():
                connection.execute(f'DELETE FROM "{_known(table)}"')  # noqa: S608
                connection.executemany(_PUT[table], made)
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        connection.close()
    except apsw.Error as error:
        raise StorageFailed(f"replacing the rows of {path} failed: {error}") from error
