"""The index beside the ledger (D16): a second file, written behind the commits, thrown away and made again at will.

It finds an agent's entries by its own count, and tells a restarted node what was counted before (`core.windows.Past`),
so that neither start nor memory grows with all that ever was. It is filled by SQL alone, from the ledger's entries and
rows, page by page in short read transactions: no Python runs for an entry, and no writer waits for it.

A power cut may cost its last pages but never its consistency (WAL, `synchronous=NORMAL`): how far it reaches is written
with what it holds, and it goes on from there. One of another ledger, of another shape or broken is deleted. It is no
evidence: nothing is proved from it, and the verifier does not read it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import apsw

from failwell.core.tokens import MAX_TOKENS
from failwell.ports.storage import StorageFailed, StoredEntry
from failwell.storage import files

NAME = "index.db"
#: Shape of the index; any other is thrown away.
SHAPE = 2
#: Entries taken in one transaction: the ledger's log cannot be moved into its file for so long.
PAGE = 2000
#: How long a follower waits after a failure.
RETRY_S = 5.0
APPLICATION_ID = 0x4641_4958  # "FAIX"
SCHEMA = resources.files(__package__).joinpath("index.sql").read_text("utf-8")
_FILL = resources.files(__package__).joinpath("index_fill.sql").read_text("utf-8")

_AGENT = "(SELECT id FROM agent WHERE name = ?)"
_BETWEEN = "at_us > ? AND at_us <= ? AND seq < ? ORDER BY at_us, seq"


class Index:
    """The index of the ledger at `ledger`. `catch_up` is called by one thread at a time, the rest by any.

    `size`: entries before this number are durably indexed, so that memory may forget them. Every method raises
    StorageFailed; after that the index is closed, and a new one begins by throwing the file away if that was the cause.
    """

    def __init__(self, ledger: Path, path: Path | None = None) -> None:
        self.path = ledger.with_name(NAME) if path is None else path
        self._ledger = ledger
        self._filling = threading.Lock()
        self._reading = threading.Lock()
        self._connections: list[apsw.Connection] = []
        self.size = 0
        try:
            if not self._open():
                self._throw_away()
                if not self._open():
                    raise StorageFailed(f"{self.path} cannot be made")
        except apsw.Error as error:
            self.close()
            raise files.failure(error, f"opening the index {self.path} failed") from error

    # -- the file ----------------------------------------------------------------------------------------------

    def _open(self) -> bool:
        """Open both connections; False where what lies there is not the index of this ledger."""
        try:
            self._write, self._read = self._connect(), self._connect()
            self._write.execute("BEGIN IMMEDIATE")
            if (
                self._write.pragma("user_version") == 0
                and not self._write.execute("SELECT 1 FROM main.sqlite_schema").fetchone()
            ):
                self._write.execute(SCHEMA)
                self._write.pragma("application_id", APPLICATION_ID)
                self._write.pragma("user_version", SHAPE)
            self._write.execute("COMMIT")
            marks = self._write.pragma("application_id"), self._write.pragma("user_version")
            size, leaf = self._write.execute("SELECT size, leaf FROM main.reach").fetchone() or (-1, None)
            stored = self._write.execute("SELECT leaf FROM ledger.entry WHERE seq = ?", (size - 1,)).fetchone()
        except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError):
            return False
        self.size = size
        return marks == (APPLICATION_ID, SHAPE) and (size == 0 or stored == (leaf,))

    def _connect(self) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(str(self.path), flags=flags)
        self._connections.append(connection)
        connection.set_busy_timeout(files.BUSY_MS)
        files.set_pragma(connection, "journal_mode", "wal")
        files.set_pragma(connection, "synchronous", 1)
        connection.execute("ATTACH ? AS ledger", (f"{self._ledger.resolve().as_uri()}?mode=ro",))
        return connection

    @property
    def open(self) -> bool:
        return bool(self._connections)

    def _throw_away(self) -> None:
        self.close()
        remove(self.path)

    def close(self) -> None:
        """Close it; nothing is lost."""
        with self._filling, self._reading:
            for connection in self._connections:
                with contextlib.suppress(apsw.Error):
                    # A reader of the ledger must not try to move its log when it is the last to close it.
                    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                    connection.execute("DETACH ledger")
                    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
                connection.close(True)
            self._connections.clear()

    def _failed(self, error: apsw.Error) -> StorageFailed:
        if isinstance(error, apsw.CorruptError | apsw.NotADBError):
            self._throw_away()
        return files.failure(error, f"the index {self.path} failed")

    # -- filling -----------------------------------------------------------------------------------------------

    def catch_up(self, pages: int | None = None) -> bool:
        """Take in what was committed since, at most `pages` pages of it; whether all of it is in now."""
        try:
            with self._filling:
                while pages is None or pages > 0:
                    if not self._fill():
                        return True
                    pages = None if pages is None else pages - 1
                return False
        except apsw.Error as error:
            raise self._failed(error) from error

    def _fill(self) -> bool:
        """Index one page; False where nothing is left."""
        with self._write:
            last: Any = self._write.execute("SELECT coalesce(max(seq), -1) FROM ledger.entry").fetchall()
            end = min(self.size + PAGE, last[0][0] + 1)
            if end <= self.size:
                return False
            self._write.execute(_FILL, {"first": self.size, "end": end, "tokens": MAX_TOKENS})
        self.size = end
        return True

    # -- reading -----------------------------------------------------------------------------------------------

    def _ask(self, sql: str, *bindings: Any) -> list[Any]:
        try:
            with self._reading:
                return self._read.execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise self._failed(error) from error

    def token(self, lookup: bytes) -> str | None:
        """The token that stands under a lookup key."""
        sql = "SELECT t.token FROM main.token i JOIN ledger.token t ON t.id = i.id WHERE i.lookup = ? AND t.lookup = ?"
        found = self._ask(sql, lookup, lookup)
        return found[0][0] if found else None

    def reserved(
        self, agent: str, limit: str, key: str | None, *, after_us: int, upto_us: int, before: int
    ) -> list[tuple[int, int, int]]:  # fmt: skip
        """(limit time, entry, how much) of the reservations in that time, before that entry, oldest first (`Past`)."""
        sql = f"SELECT at_us, seq, adds FROM reserved WHERE agent = {_AGENT} AND what = ? AND key = ? AND {_BETWEEN}"  # noqa: S608
        return self._ask(sql, agent, limit, key or "", after_us, upto_us, before)

    def raised(
        self, agent: str, signal: str, *, after_us: int, upto_us: int, before: int
    ) -> list[tuple[int, int, int]]:  # fmt: skip
        """(time, entry, 1) of the signals in that time and before that entry, oldest first (`Past`)."""
        sql = f"SELECT at_us, seq, 1 FROM raised WHERE agent = {_AGENT} AND what = ? AND {_BETWEEN}"  # noqa: S608
        return self._ask(sql, agent, signal, after_us, upto_us, before)

    def calls(self, run: int) -> list[tuple[str, int, bool]]:
        """(call id, entry, whether it was denied) of a run's actions, oldest first."""
        sql = "SELECT a.row ->> '$.call', c.seq, a.row ->> '$.verdict' = 'DENY' FROM called c"
        return self._ask(f"{sql} JOIN ledger.action a ON a.key = c.seq WHERE c.run = ? ORDER BY c.seq", run)

    def count(self, agent: str) -> int:
        """How many entries of `agent` are indexed."""
        found = self._ask(f"SELECT max(aseq) FROM numbered WHERE agent = {_AGENT}", agent)[0][0]  # noqa: S608
        return 0 if found is None else int(found) + 1

    def entries_of(self, agent: str, first: int = 0, end: int | None = None) -> Iterator[int]:
        """Numbers of the agent's entries from its own count `first` up to `end`, oldest first, a page at a time."""
        sql = f"SELECT aseq, seq FROM numbered WHERE agent = {_AGENT} AND aseq >= ? AND aseq < ?"  # noqa: S608
        while page := self._ask(f"{sql} ORDER BY aseq LIMIT {PAGE}", agent, first, 2**62 if end is None else end):
            yield from (seq for _, seq in page)
            first = page[-1][0] + 1

    def newest_of(self, agent: str, count: int) -> list[int]:
        """Numbers of the agent's last `count` entries, newest first."""
        sql = f"SELECT seq FROM numbered WHERE agent = {_AGENT} ORDER BY aseq DESC LIMIT ?"  # noqa: S608
        return [seq for (seq,) in self._ask(sql, agent, count)]

    def entries(self, seqs: Iterable[int]) -> Iterator[StoredEntry]:
        """The rows of these entries in the order given, each read by itself."""
        for seq in seqs:
            for row in self._ask("SELECT seq, data, leaf, nodes FROM ledger.entry WHERE seq = ?", seq):
                yield StoredEntry(*row)


def borrow(ledger: Path, beside: Path, directory: Path, *, live: bool) -> Index:
    """An index of `ledger` in a private `directory`, up to now, begun from the one that lies at `beside`, if any.

    For commands that write nothing into a workspace. `live`: a node writes to both. Raises StorageFailed, OSError.
    """
    path = directory / NAME
    if beside.exists():
        try:
            (files.copy_live if live else files.copy)(beside, path)
        except apsw.Error:
            remove(path)  # it is made from the ledger then
    borrowed = Index(ledger, path)
    borrowed.catch_up()
    return borrowed


def remove(path: Path) -> None:
    """Delete an index; the next one is made from the ledger."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(name).unlink()


class Follower:
    """A thread that keeps an index up to date behind the writer. `catch_up` takes in a few pages and says if all is in.

    A failure does no harm, memory only keeps more for so long: it is tried again after a while.
    """

    def __init__(self, catch_up: Callable[[], bool], interval_s: float = 0.25) -> None:
        self._catch_up = catch_up
        self._interval_s = interval_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-index", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.wait(self._interval_s):
            try:
                while not self._closing.is_set() and not self._catch_up():
                    pass
            except StorageFailed:
                self._closing.wait(RETRY_S)

    def close(self) -> None:
        """End the thread; what is not indexed yet is taken in at the next start."""
        self._closing.set()
        self._thread.join()
