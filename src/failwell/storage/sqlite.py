"""The ledger file in SQLite, through apsw (D17): WAL, `synchronous=FULL` always, one writer, exact read-back.

Two connections: one writes, the other reads back what was written (a read on the writing connection is served from
its own cache and proves nothing). Readers share a third connection behind a lock and page in short transactions.
A handle on which anything failed is never written to again: `reopen` is the only way on. A commit of somebody else's
ends this writer for good. This module does not number, hash, sign or interpret anything.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from failwell.core.errors import Corrupt
from failwell.ports.storage import Batch, StorageFailed, StorageForeign, StoredBlob, StoredEntry, StoredToken
from failwell.storage import files, wal
from failwell.storage.files import APPLICATION_ID, copy, copy_live
from failwell.storage.index import NAME, Follower, Index
from failwell.storage.layouts import (
    LAYOUT_VERSION,
    PUT,
    Rebuild,
    create,
    declared_objects,
    known,
    layout_of,
    migrate,
    replace_rows,
    spelled,
)

__all__ = [
    "APPLICATION_ID", "LAYOUT_VERSION", "PAGE", "RESERVE_BYTES", "SqliteStorage", "copy", "copy_live", "create",
    "declared_objects", "migrate", "replace_rows", "spelled",
]  # fmt: skip

PAGE = 1000
#: Disk space kept for containment: a suspension writes under 100 KiB, its checkpoint of the log as much again.
RESERVE_BYTES = 4 * 1024 * 1024
#: A ledger shorter than this has no index beside it.
INDEX_FROM = 10_000
#: Pages in the write-ahead log from which on they are moved into the file. SQLite would do it by itself, and be silent
#: about a failure.
MOVE_PAGES = 2000

_ENTRY = "INSERT INTO entry VALUES (?, ?, ?, ?)"
_BLOB = "INSERT INTO blob VALUES (?, ?, ?)"
_TOKEN = "INSERT INTO token VALUES (?, ?, ?, ?)"
_CHECKPOINT = (
    "INSERT INTO checkpoint VALUES (1, ?, ?) ON CONFLICT DO UPDATE SET size = excluded.size, note = excluded.note"
)
_READ_BACK = "SELECT data, leaf FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq"
#: The projections of which most rows can no longer change a verdict, and the index that holds those that can.
_LIVE = {
    "action": "action_open", "check": "check_owed", "compensation": "compensation_due", "page": "page_queued",
    "run": "run_open", "ticket": "ticket_live",
}  # fmt: skip
_LIVE_ROWS = {
    "action_open": """instr(row, '"state":"open"')""",
    "run_open": """instr(row, '"open":true')""",
    "page_queued": """instr(row, '"state":"queued"')""",
    "ticket_live": """instr(row, '"ended":false')""",
    "check_owed": """instr(row, '"state":"owed"')""",
    "compensation_due": """(instr(row, '"state":"owed"') OR instr(row, '"state":"begun"'))""",
}


class SqliteStorage:
    """`ports.storage.Storage` on one SQLite file; beside it lies the reserve that a full disk cannot take.

    `rebuild` brings a file of an earlier layout to this release's; without it such a file is refused. `opened` tells
    what opening it repaired. Raises StorageFailed, StorageFull, Corrupt.
    """

    def __init__(self, path: Path, rebuild: Rebuild | None = None) -> None:
        self.path = path
        self.reserve_path = path.with_name("reserve")
        self._lock = threading.Lock()
        self._beside = threading.Lock()
        self._failed: StorageFailed | None = None
        self._uncertain = False
        self._index: Index | None = None
        self._follower: Follower | None = None
        self.index_failure: StorageFailed | None = None
        log = self._log()
        before = _moved(path) if log.data else 0
        if rebuild is not None:
            migrate(path, rebuild)
        self._connect()
        self.opened = self._told(log, before)
        self.refill_reserve()

    def _log(self) -> wal.Log:
        try:
            return wal.read(self.path)
        except OSError as error:
            raise StorageFailed(f"the ledger {self.path} cannot be read: {error}") from error

    def _told(self, log: wal.Log, before: int | None) -> wal.Opened:
        if not log.data:
            return wal.Opened()
        taken, _ = self._write.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        return wal.told(log, taken, None if before is None else self.size() - before)

    def _connect(self) -> None:
        try:
            with contextlib.closing(files.connect(self.path, writable=False)) as looking:
                layout = layout_of(looking, self.path)
            if layout != LAYOUT_VERSION:
                raise Corrupt(
                    f"{self.path} has layout {layout}, this release writes {LAYOUT_VERSION}",
                    hint="A node of this release brings it there when it starts.",
                )
            self._write = files.connect(self.path)
            self._write.set_wal_hook(self._grown)
            self._back = files.connect(self.path, writable=False)
            self._read = files.connect(self.path, writable=False)
            self._pages = 0
            self._version = self._write.pragma("data_version")
        except apsw.Error as error:
            raise files.failure(error, f"the ledger {self.path} does not open") from error

    def _grown(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def commit(self, batch: Batch) -> None:
        if self._failed is not None:
            raise self._again(self._failed)
        try:
            self._commit(batch)
        except apsw.Error as error:
            # Attack: ask the same handle again. After a failed sync it may say yes and nothing was written.
            self._failed = files.failure(error, f"writing the ledger {self.path} failed")
            self._uncertain = self._uncertain or isinstance(error, apsw.IOError)
            raise self._failed from error
        if self._pages >= MOVE_PAGES:
            self._move()

    def _commit(self, batch: Batch) -> None:
        write = self._write
        write.execute("BEGIN IMMEDIATE")
        if write.pragma("data_version") != self._version:
            write.execute("ROLLBACK")
            self._failed = StorageForeign(
                f"another program has written to {self.path}",
                hint="Find out what it did: failwell ledger verify. A node that starts anew goes on from there.",
            )
            raise self._failed
        write.executemany(_ENTRY, batch.entries)
        if batch.blobs:
            write.executemany(_BLOB, batch.blobs)
        if batch.tokens:
            write.executemany(_TOKEN, batch.tokens)
        by_table: dict[str, list[tuple[Any, str]]] = {}
        for (table, key), row in batch.rows.items():
            by_table.setdefault(table, []).append((key, row))
        for table, changed in by_table.items():
            write.executemany(PUT[table], changed)
        if batch.note is not None:
            write.execute(_CHECKPOINT, (batch.size, batch.note))
        write.execute("COMMIT")

    def _move(self) -> None:
        """Move the log's pages into the file. The commit before is durable; where this fails, the next is refused."""
        try:
            self._write.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            return  # a copy is being made: the pages stay where they are for now
        except apsw.Error as error:
            self._failed = files.failure(error, f"moving the log into the ledger {self.path} failed")

    def _again(self, error: StorageFailed) -> StorageFailed:
        """The same refusal for the next caller."""
        return type(error)(error.message, hint=error.hint)

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
        for row in self._all("blob", "seq"):
            yield StoredBlob(*row)

    def tokens(self, first: int = 0) -> Iterator[StoredToken]:
        for row in self._all("token", "id", first):
            yield StoredToken(*row)

    def row(self, table: str, key: Any) -> str | None:
        row = self._one(f'SELECT row FROM "{known(table)}" WHERE key = ?', key)  # noqa: S608
        return None if row is None else str(row[0])

    def live_rows(self, table: str) -> Iterator[tuple[Any, str]]:
        """Rows that can still change a verdict: open actions and runs, queued pages, tickets, checks; of others all."""
        index = _LIVE.get(known(table))
        if index is None:
            yield from self.rows(table)
            return
        sql = f'SELECT key, row FROM "{table}" INDEXED BY {index} WHERE {_LIVE_ROWS[index]} AND key > ?'  # noqa: S608
        page = self._page(f"{sql} ORDER BY key LIMIT {PAGE}", -1)
        while page:
            yield from page
            page = self._page(f"{sql} ORDER BY key LIMIT {PAGE}", page[-1][0])

    def newest_key(self, table: str) -> int | None:
        found = self._one(f'SELECT max(key) FROM "{known(table)}"')[0]  # noqa: S608
        return None if found is None else int(found)

    def rows(self, table: str, first: Any = None) -> Iterator[tuple[Any, str]]:
        yield from self._all(known(table), "key", first)

    def _all(self, table: str, key: str, first: Any = None) -> Iterator[Any]:
        """Rows of `table` by key, each page in its own short transaction so that no reader holds back the WAL."""
        sql = f'SELECT * FROM "{table}"'  # noqa: S608
        rest = f"ORDER BY {key} LIMIT {PAGE}"
        page = self._page(f"{sql} {rest}") if first is None else self._page(f"{sql} WHERE {key} >= ? {rest}", first)
        while page:
            yield from page
            page = self._page(f"{sql} WHERE {key} > ? {rest}", page[-1][0])

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

    def past(self, *, catch_up: bool = True) -> Index | None:
        """What a restart need not read into memory, as far as the index reaches; opened, and brought up to now.

        What it does not reach is for the caller to read: on a full disk it is left as it is, for the reserve is not
        its own. None where not even an empty one can be made, and for a short ledger: reading that is as quick.
        """
        if not self.path.with_name(NAME).exists() and self.size() < INDEX_FROM:
            return None
        with self._beside:
            if self._index is None or not self._index.open:
                try:
                    self._index = Index(self.path)
                except StorageFailed:
                    return None
            index = self._index
        if catch_up and self._failed is None and self.reserve_path.is_file():
            with contextlib.suppress(StorageFailed):
                index.catch_up()
        return index

    def index_more(self, pages: int = 4) -> bool:
        """Take some pages of what was committed into the index (`index.Follower`); whether all of it is in now.

        Raises StorageFailed; then the index goes on from where it was.
        """
        with self._beside:
            index = self._index
        if index is None or not index.open or not self.reserve_path.is_file():
            return True
        return index.catch_up(pages)

    def follow(self) -> None:
        """Keep the index up to date from a thread of its own until `close`; `index_failure` says what hinders it."""
        self._follower = Follower(self._index_now)

    def _index_now(self) -> bool:
        try:
            done = self.index_more()
        except StorageFailed as error:
            self.index_failure = error
            raise
        self.index_failure = None
        return done

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
            self._shut(trusted=False)
            if self._uncertain:
                self._mend()
            self._connect()
        if not self._uncertain and not isinstance(self._failed, StorageForeign):
            self._failed = None

    def _mend(self) -> None:
        """After an I/O error what the log holds may not be on the disk, whatever a second sync says: write it again.

        Where that fails too, the file is opened to be read, and every commit is refused until it succeeds.
        """
        try:
            files.write_again(self.path)
        except StorageFailed as error:
            self._failed = error
        else:
            self._uncertain = False

    def _shut(self, *, trusted: bool) -> None:
        with self._beside:
            if self._index is not None:
                self._index.close()
        for connection in (self._back, self._read, self._write):
            with contextlib.suppress(apsw.Error):
                # The last one to close would move a log that is not trusted, such as one with a page that was read
                # back otherwise than written: its checksum does not hold, and the next to open it drops that commit.
                if not trusted:
                    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                connection.close(True)

    def close(self) -> None:
        if self._follower is not None:
            self._follower.close()
        with self._lock:
            # On a full or failing disk the log stays beside the file and is replayed at the next start.
            if self._failed is None:
                with contextlib.suppress(apsw.Error):
                    self._back.close(True)
                    self._read.close(True)
                    self._write.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._shut(trusted=self._failed is None)


def _moved(path: Path) -> int | None:
    """How many entries the file holds without its log; None where that cannot be told (a crash while it was moved)."""
    try:
        uri = f"{path.resolve().as_uri()}?immutable=1"
        with contextlib.closing(
            apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        ) as connection:
            last = connection.execute("SELECT max(seq) FROM entry").fetchone()
    except apsw.Error:
        return None
    return 0 if last is None or last[0] is None else int(last[0]) + 1
