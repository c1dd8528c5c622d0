"""Faults of a disk and of the calls on the way to it, one at a planned moment: errors, silence and altered bytes.

`FaultyDisk` stands under SQLite (a VFS) and fails or lies at the nth write, sync or truncation of a file;
`FaultyConnection` stands between the store and SQLite and fails at a statement, before or after it was carried out.
The store, the book and the writer are the product's own. A loss of power is another matter: see `powercut`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apsw

#: What happens: it is refused and not done; it is done and reported failed; it is reported done and was not, or was
#: done with one bit changed.
LOST, REPORTED, DROPPED, FLIPPED = "lost", "reported", "dropped", "flipped"
WRITE, SYNC, TRUNCATE = "write", "sync", "truncate"
_IO_ERROR = {WRITE: apsw.SQLITE_IOERR_WRITE, SYNC: apsw.SQLITE_IOERR_FSYNC, TRUNCATE: apsw.SQLITE_IOERR_TRUNCATE}


class Fault(NamedTuple):
    """One fault: at the `nth` (from 1) operation `what` on a file whose name ends with `ending`.

    `contains`: only writes of which these bytes are part count; a flip then changes a bit of them. `code` is SQLite's
    result code for what is refused, by default the I/O error of that operation. `times`: how often in a row.
    """

    what: str
    ending: str
    how: str
    nth: int = 1
    contains: bytes = b""
    code: int = 0
    times: int = 1


class Done(NamedTuple):
    """One operation asked of the disk: on which open handle (they are numbered), what, and what became of it."""

    handle: int
    what: str
    name: str
    how: str


class FaultyDisk(apsw.VFS):
    """SQLite's own VFS with planned faults; `done` is what was asked of it."""

    def __init__(self, name: str = "failwell-faulty-disk") -> None:
        self.below = apsw.vfs_names()[0]
        self.done: list[Done] = []
        self._planned: list[list[Any]] = []
        self._lock = threading.Lock()
        self._handles = 0
        super().__init__(name, self.below, makedefault=True)

    def plan(self, *faults: Fault) -> None:
        """From now on."""
        with self._lock:
            self._planned += [[fault, 0] for fault in faults]

    def heal(self) -> None:
        """No more faults."""
        with self._lock:
            self._planned.clear()

    @property
    def struck(self) -> bool:
        """Whether everything that was planned has happened."""
        return not self._planned

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        with self._lock:
            self._handles += 1
        return _FaultyFile(self, name, Path(path or "no-name").name, self._handles, flags)

    def meet(self, handle: int, what: str, name: str, data: bytes) -> Fault | None:
        """The fault that this operation meets."""
        with self._lock:
            found = None
            for planned in self._planned:
                fault = planned[0]
                if fault.what == what and name.endswith(fault.ending) and fault.contains in data:
                    planned[1] += 1
                    if planned[1] >= fault.nth:
                        found = fault
                        if planned[1] >= fault.nth + fault.times - 1:
                            self._planned.remove(planned)
                        break
            self.done.append(Done(handle, what, name, found.how if found is not None else "done"))
            return found


class _FaultyFile(apsw.VFSFile):
    def __init__(
        self, disk: FaultyDisk, name: str | apsw.URIFilename | None, called: str, handle: int, flags: list[int]
    ) -> None:  # fmt: skip
        super().__init__(disk.below, name, flags)
        self._disk, self._called, self._handle = disk, called, handle

    def _meet(self, what: str, data: bytes = b"") -> tuple[str, bytes]:
        """How the operation ends, and the data that it is done with. Raises for one that is refused."""
        fault = self._disk.meet(self._handle, what, self._called, data)
        if fault is None:
            return "", data
        if fault.how == LOST:
            raise refusal(fault)
        return fault.how, flipped(data, fault.contains) if fault.how == FLIPPED else data

    def xWrite(self, data: bytes, offset: int) -> None:
        how, data = self._meet(WRITE, bytes(data))
        if how != DROPPED:
            super().xWrite(data, offset)
        if how == REPORTED:
            raise apsw.exception_for(apsw.SQLITE_IOERR_WRITE)

    def xSync(self, flags: int) -> None:
        how, _ = self._meet(SYNC)
        if how != DROPPED:
            super().xSync(flags)
        if how == REPORTED:
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)

    def xTruncate(self, newsize: int) -> None:
        how, _ = self._meet(TRUNCATE)
        if how != DROPPED:
            super().xTruncate(newsize)
        if how == REPORTED:
            raise apsw.exception_for(apsw.SQLITE_IOERR_TRUNCATE)

    def xLock(self, level: int) -> None:
        try:
            super().xLock(level)
        except apsw.IOError as error:  # see `powercut`: the last reader's vain wish for a writer's lock
            raise apsw.BusyError(str(error)) from error


def refusal(fault: Fault) -> Exception:
    """What SQLite is told of an operation that was not done."""
    return apsw.exception_for(fault.code or _IO_ERROR[fault.what])


def flipped(data: bytes, within: bytes) -> bytes:
    """`data` with its lowest bit changed in the middle of `within`, or of itself."""
    place = data.index(within) + len(within) // 2 if within else len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@contextmanager
def faulty_disk() -> Iterator[FaultyDisk]:
    """Within the block every SQLite file of this process lies on such a disk; close it before the end."""
    disk = FaultyDisk()
    try:
        yield disk
    finally:
        disk.unregister()


class FaultyConnection:
    """A real connection of which one statement fails: the first that begins with `statement`."""

    def __init__(self, connection: apsw.Connection, statement: str, how: str, error: type[apsw.Error]) -> None:
        self._connection = connection
        self._statement, self._how, self._error = statement, how, error
        self.struck = False
        self.seen: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *rest: Any) -> Any:
        return self._asked(sql, lambda: self._connection.execute(sql, *rest))

    def executemany(self, sql: str, rows: Iterable[Any]) -> Any:
        return self._asked(sql, lambda: self._connection.executemany(sql, rows))

    def _asked(self, sql: str, ask: Any) -> Any:
        self.seen.append(sql)
        if self.struck or not sql.startswith(self._statement):
            return ask()
        self.struck = True
        if self._how == REPORTED:
            ask()
        raise self._error(f"planned: {sql[:40]}")
