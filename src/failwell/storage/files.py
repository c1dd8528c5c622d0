"""The ledger's file as a file: opened with settings that are asserted, copied, touched through SQLite alone (D17).

Each pragma is set alone and then read back, because a multi-statement pragma is silently skipped. This module does not
know tables (`layouts`), does not commit entries (`sqlite`) and does not judge what a torn log held (`wal`).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import apsw

from failwell.ports.storage import StorageFailed, StorageFull

APPLICATION_ID = 0x4641_494C  # "FAIL": file(1) and strangers can tell what this is
#: How long a connection waits for another one's lock; longer is no wait but a second writer.
BUSY_MS = 5000
#: SQLite's own file layer writes at most 0x1FFFF bytes at a time: of more it writes the rest of a division by that.
_PIECE = 1 << 16


def log_of(path: Path) -> Path:
    """The write-ahead log that lies beside a SQLite file."""
    return path.with_name(path.name + "-wal")


def set_pragma(connection: apsw.Connection, name: str, value: Any) -> None:
    """Set one pragma and see that it is set. Raises StorageFailed."""
    connection.pragma(name, value)
    if connection.pragma(name) != value:
        raise StorageFailed(f"SQLite did not take pragma {name}={value}")


def connect(path: Path, *, writable: bool = True) -> apsw.Connection:
    """A connection to an existing file. Raises apsw.Error, StorageFailed where a writable file cannot be written."""
    flags = apsw.SQLITE_OPEN_READWRITE if writable else apsw.SQLITE_OPEN_READONLY
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(BUSY_MS)
    if writable:
        # SQLite opens what is write-protected for reading, and would say so only at the first commit.
        if connection.readonly("main"):
            connection.close()
            raise StorageFailed(
                f"{path} is write-protected", hint="Nothing can be recorded there: look at its mode and its mount."
            )
        set_pragma(connection, "journal_mode", "wal")
        set_pragma(connection, "synchronous", 2)
    else:
        # The last reader to close must not try to move the log: it would ask for a lock that only a writer can get.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    return connection


def failure(error: apsw.Error, what: str) -> StorageFailed:
    """`error` of SQLite as ours, with the cause told in words: full, write-protected, held by another, failing."""
    code = getattr(error, "extendedresult", 0)
    name = apsw.mapping_extended_result_codes.get(code, "")
    detail = f"{error} ({name})" if isinstance(name, str) and name else str(error)
    if isinstance(error, apsw.FullError):
        return StorageFull(f"no room: {what}: {detail}", hint="Make room on that file system; nothing else is needed.")
    if isinstance(error, apsw.ReadOnlyError):
        return StorageFailed(f"write-protected: {what}: {detail}", hint="Look at the file's mode and its mount.")
    if isinstance(error, apsw.BusyError):
        return StorageFailed(f"held by another program: {what}: {detail}", hint="Nothing but Failwell writes there.")
    return StorageFailed(f"{what}: {detail}")


def copy(source: Path, target: Path) -> None:
    """Copy a ledger and its write-ahead log without opening the source, for commands that must not write to it (D1).

    Call it while no node writes; a live ledger is copied by `copy_live`.
    """
    shutil.copyfile(source, target)
    if log_of(source).exists():
        shutil.copyfile(log_of(source), log_of(target))


def copy_live(source: Path, target: Path) -> None:
    """Copy a ledger that a node is writing, in one SQLite read transaction (its online backup)."""
    reader = connect(source, writable=False)
    writer = apsw.Connection(str(target))
    with writer.backup("main", reader, "main") as backup:
        backup.step(-1)
    writer.close()
    reader.close()


def sync_directory(path: Path) -> None:
    """Make names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_again(path: Path) -> None:
    """Write the bytes of the write-ahead log once more where they stand, and sync them.

    After a failed sync the kernel takes pages for clean that never reached the disk: a second sync says yes and writes
    nothing. So the same bytes are made dirty again, through SQLite's own file layer; identical bytes do no harm
    wherever this stops. Raises StorageFailed.
    """
    log = log_of(path)
    if not log.exists() or log.stat().st_size == 0:
        return
    try:
        file = apsw.VFSFile("", str(log), [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE, 0])
        try:
            for place in range(0, file.xFileSize(), _PIECE):
                file.xWrite(file.xRead(min(_PIECE, file.xFileSize() - place), place), place)
            file.xSync(apsw.SQLITE_SYNC_FULL)
        finally:
            file.xClose()
    except apsw.Error as error:
        raise failure(error, f"writing {log} again") from error
