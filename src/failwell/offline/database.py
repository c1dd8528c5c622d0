"""A ledger file read with Python's own sqlite3, as streams of rows for `verify.record`.

Nothing is written to what is given. A closed ledger is read where it lies, as a file that SQLite takes to be immutable;
one with a write-ahead log beside it is copied with that log, and the private copy is read. Either way a file that
changed meanwhile gives no result: half of one state and half of another would look like tampering. A table is read
only if it is declared as this release declares it (attack: a view of that name, which computes what is read). Nothing
is interpreted here.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

from failwell.core.errors import Corrupt, Unhealthy
from failwell.verify.record import Ledger

#: STRICT tables: an older SQLite cannot read a ledger's declarations.
_OLDEST_SQLITE: Final = (3, 37, 0)
_APPLICATION_ID: Final = 0x4641_494C
_COPY_ATTEMPTS: Final = 5
#: What reading a file that nobody of ours wrote may raise; Python's module decodes SQLite's own messages as UTF-8.
BROKEN: Final = (sqlite3.Error, UnicodeDecodeError)
_READING: Final = {
    "entry": "SELECT seq, data, leaf, nodes FROM entry ORDER BY seq",
    "blob": "SELECT seq, ciphertext, wrapped FROM blob ORDER BY seq",
    "token": "SELECT id, token, lookup, sealed FROM token ORDER BY id",
    "checkpoint": "SELECT id, size, note FROM checkpoint ORDER BY id",
}


class LedgerFile:
    """A ledger file opened for reading, as a context. Raises Corrupt where it cannot be opened as a database.

    At its end it raises Unhealthy where the file changed while it was read.
    """

    def __init__(self, path: Path) -> None:
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise Unhealthy(
                f"this Python's SQLite is {sqlite3.sqlite_version}; a ledger needs 3.37 or newer",
                hint="Use another Python, or verify an export: failwell ledger export --tiles DIR",
            )
        self._path = path
        self._before = _stamps(path)
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        log = self._before[1]
        if log is None or log[0] == 0:
            self._connection = _open(path, "mode=ro&immutable=1")
            return
        self._directory = tempfile.TemporaryDirectory(prefix="failwell-verify-")
        try:
            copy = Path(self._directory.name) / "ledger.db"
            self._before = copy_file(path, copy)
            # Not read-only: a write-ahead log can only be read together with a file of shared memory beside it.
            self._connection = _open(copy, "mode=rw")
        except BaseException:
            self._directory.cleanup()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        if self._directory is not None:
            self._directory.cleanup()
        elif _stamps(self._path) != self._before:
            raise _changed(self._path)

    def ledger(self, *, whole: bool = True) -> Ledger:
        """The copy's rows as the verifier takes them; `whole`: SQLite checks the file's structure too.

        The rows of projections are not read.
        """
        connection = self._connection
        complaints = _complaints(connection) if whole else _marks(connection)
        declared = set(_declared(_all(connection, "PRAGMA user_version")[0][0]))
        objects = set(_all(connection, "SELECT type, name, sql FROM sqlite_schema"))
        ours = frozenset(name for kind, name, _ in objects & declared if kind == "table")

        def rows(table: str) -> Iterator[Any]:
            return _rows(connection, table, ours)

        return Ledger(
            entries=rows("entry"), blobs=rows("blob"), tokens=rows("token"), checkpoints=rows("checkpoint"), rows=rows,
            objects=objects, declared=declared, complaints=complaints,
        )  # fmt: skip


_Stamp = tuple[int, int, int] | None


def copy_file(source: Path, target: Path) -> list[_Stamp]:
    """Copy a ledger file and its write-ahead log, both of one moment; what they were then.

    Raises Corrupt where it cannot be read, Unhealthy where it keeps changing or there is no room for the copy.
    """
    log, log_copy = (path.with_name(path.name + "-wal") for path in (source, target))
    for _ in range(_COPY_ATTEMPTS):
        before = _stamps(source)
        try:
            shutil.copyfile(source, target)
            log_copy.unlink(missing_ok=True)
            if log.exists():
                shutil.copyfile(log, log_copy)
        except OSError as error:
            if error.filename in (str(source), str(log)):
                raise Corrupt(f"{error.filename} cannot be read: {error.strerror}") from error
            raise Unhealthy(f"no copy of {source} can be made in {target.parent}: {error.strerror}") from error
        if _stamps(source) == before:
            return before
    raise _changed(source)


def _changed(path: Path) -> Unhealthy:
    return Unhealthy(
        f"{path} changed while it was read", hint="Its node is writing: copy the file while the node is stopped."
    )


def _stamps(path: Path) -> list[_Stamp]:
    """Size, time of change and inode of the file and of its log, to see that nobody wrote meanwhile."""
    return [_stamp(path), _stamp(path.with_name(path.name + "-wal"))]


def _stamp(path: Path) -> _Stamp:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Corrupt(f"{path} cannot be read: {error.strerror}") from error
    return found.st_size, found.st_mtime_ns, found.st_ino


def _open(path: Path, how: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{how}", uri=True, isolation_level=None)
    except BROKEN as error:
        raise Corrupt(f"{path} cannot be opened: {error}") from error
    try:
        connection.execute("PRAGMA trusted_schema = 0")
        connection.execute("PRAGMA cell_size_check = 1")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except BROKEN as error:
        connection.close()
        raise Corrupt(f"this is not a SQLite database that can be read: {error}") from error
    return connection


def _rows(connection: sqlite3.Connection, table: str, ours: frozenset[str]) -> Iterator[Any]:
    if table not in ours:
        raise _not_ours(table)
    try:
        # Not `yield from`: that would close the cursor of a file that an interruption closed already.
        for row in connection.execute(_READING[table]):  # noqa: UP028
            yield row
    except BROKEN as error:
        raise Corrupt(f"SQLite: {error}") from error


def _not_ours(table: str) -> Corrupt:
    return Corrupt(f"table {table} is not declared as this layout declares it")


def _all(connection: sqlite3.Connection, sql: str) -> list[Any]:
    try:
        return connection.execute(sql).fetchall()
    except BROKEN as error:
        raise Corrupt(f"SQLite: {error}") from error


def _marks(connection: sqlite3.Connection) -> list[str]:
    """Marks of another kind of file, or of a layout that this release does not know."""
    marks = {name: _all(connection, f"PRAGMA {name}")[0][0] for name in ("application_id", "user_version")}
    found = []
    if marks["application_id"] != _APPLICATION_ID:
        found.append(f"application_id is {marks['application_id']}, not {_APPLICATION_ID}")
    if not 1 <= marks["user_version"] <= len(_layouts()):
        found.append(f"user_version is {marks['user_version']}; this verifier knows layouts 1 to {len(_layouts())}")
    return found


def _complaints(connection: sqlite3.Connection) -> list[str]:
    """The same, and what SQLite finds wrong with the structure of the file."""
    found = _marks(connection)
    try:
        found += [str(row[0]) for row in _all(connection, "PRAGMA integrity_check") if row[0] != "ok"]
    except Corrupt as error:
        found.append(error.message)
    return found


def _layouts() -> list[str]:
    """The steps that lead from an empty file to the newest layout, each as SQL."""
    steps = resources.files("failwell").joinpath("storage", "layouts")
    return [step.read_text("utf-8") for step in sorted(steps.iterdir(), key=lambda step: step.name)
            if step.name.endswith(".sql")]  # fmt: skip


def _declared(layout: int) -> list[tuple[str, str, str | None]]:
    """What a ledger file of this layout declares, as SQLite writes it down; nothing for one that is not known."""
    connection = sqlite3.connect(":memory:")
    try:
        for step in _layouts()[: max(0, layout)]:
            connection.executescript(step)
        return connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
    finally:
        connection.close()
