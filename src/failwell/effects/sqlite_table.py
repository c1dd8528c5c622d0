"""Effects from a SQLite table that a tool inserts into, opened read-only.

Rows are taken in the order of their rowid. The cursor holds the last rowid read, that row's digest and how
many rows stand up to it, so that rows deleted, changed at the end or slipped in below are noticed
(counting takes time that grows with the table). The raw line of a row is RFC 8785 JSON of its columns: an
integer of 2^53 or more and an infinity as text, a blob as {"hex": ...}. A row changed further up is not
noticed here; the digests in the ledger show it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from failwell.core import canonical
from failwell.core.errors import Corrupt, InputError, NotFound, Unhealthy
from failwell.effects.fields import effect_of
from failwell.effects.settings import SqliteTable
from failwell.ports.effects import Effect

MAX_ROWS: Final = 1_000
BUSY_MS: Final = 1_000
_CURSOR: Final = re.compile(r"(0|-?[1-9][0-9]{0,18}):(0|[1-9][0-9]{0,18}):([0-9a-f]{64})")
_BEFORE_ALL: Final = -(2**63)
_NOTHING: Final = hashlib.sha256(b"").hexdigest()


class SqliteTableReader:
    """Opens the database anew each time. `root` is where a relative path begins."""

    def __init__(self, settings: SqliteTable, root: Path) -> None:
        self._settings = settings
        self._path = (root / settings.path).absolute()

    @property
    def witness(self) -> str:
        """The name of the log that is read."""
        return self._settings.witness

    def read(self, after: str | None) -> tuple[list[Effect], str]:
        """The next rows as effects, at most a thousand; raises as `ports.effects.EffectReader.read`."""
        last, count, digest = _parse_cursor(after)
        if not self._path.exists():
            if after is not None:
                raise self._cut("it is gone")
            raise NotFound(f"witness {self.witness}: there is no database {self._path}")
        effects = []
        with self._opened() as connection:
            table = _Table(connection, self._settings)
            if count:
                self._check(table, last, count, digest)
            for rowid, row in table.rows("> ?", last, MAX_ROWS):
                digest = _digest(row)
                effects.append(effect_of(self._settings, row, f"row:{rowid}", digest))
                last, count = rowid, count + 1
        return effects, f"{last}:{count}:{digest}"

    @contextmanager
    def _opened(self) -> Generator[apsw.Connection]:
        try:
            connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
            try:
                connection.set_busy_timeout(BUSY_MS)
                # The schema is a stranger's: what it calls must not run with our rights.
                connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
                with connection:  # one transaction: the check and the rows are of one state
                    yield connection
            finally:
                connection.close()
        except apsw.Error as error:
            raise Unhealthy(f"witness {self.witness}: {self._path} cannot be read: {error}") from error

    def _check(self, table: _Table, last: int, count: int, digest: str) -> None:
        found = table.count_up_to(last)
        if found != count:
            raise self._cut(f"{found} rows stand where {count} were read")
        rows = list(table.rows("= ?", last, 1))
        if not rows or _digest(rows[0][1]) != digest:
            raise self._cut(f"row {last} is not the one that was read")

    def _cut(self, why: str) -> Corrupt:
        return Corrupt(
            f"witness {self.witness}: the log {self._path} was cut: {why}",
            hint="Find out who changed it. Effects may be missing from here on; read it from the beginning.",
            code="log-cut",
        )


class _Table:
    """One table within one transaction; checks on opening that it has what the settings name."""

    def __init__(self, connection: apsw.Connection, settings: SqliteTable) -> None:
        self._connection = connection
        self._name = f'"{settings.table}"'  # the settings allow letters, digits and underscores only
        query = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
        if connection.execute(query, (settings.table,)).get is None:
            raise InputError(f"witness {settings.witness}: there is no table {settings.table}")
        self._columns = [row[1] for row in connection.execute(f"PRAGMA table_info({self._name})")]
        for name in (settings.at, settings.ref, settings.customer, settings.action):
            if name is not None and name not in self._columns:
                raise InputError(f"witness {settings.witness}: table {settings.table} has no column {name}")
        if any(name.lower() == "rowid" for name in self._columns):
            raise InputError(f"witness {settings.witness}: a column named rowid hides the order of the rows")
        self._codec = str(connection.execute("PRAGMA encoding").get)

    def count_up_to(self, rowid: int) -> int:
        query = f"SELECT count(*) FROM {self._name} WHERE rowid <= ?"  # noqa: S608
        return int(self._connection.execute(query, (rowid,)).get)

    def rows(self, condition: str, rowid: int, limit: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Rowid and columns of each row; texts come as bytes, since odd ones must not end the reading."""
        wanted = ", ".join(
            f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END, typeof({name})"
            for name in map(_quoted, self._columns)
        )
        query = f"SELECT rowid, {wanted} FROM {self._name}"  # noqa: S608
        query = f"{query} WHERE rowid {condition} ORDER BY rowid LIMIT ?"
        for found, *cells in self._connection.execute(query, (rowid, limit)):
            pairs = zip(self._columns, cells[::2], cells[1::2], strict=True)
            yield found, {name: _value(value, kind, self._codec) for name, value, kind in pairs}


def _value(value: Any, kind: str, codec: str) -> Any:
    if kind == "text":
        try:
            return value.decode(codec)
        except UnicodeDecodeError:
            return {"hex": value.hex()}
    if kind == "blob":
        return {"hex": value.hex()}
    if type(value) is float and math.isinf(value):
        return str(value)
    return value


def _digest(row: dict[str, Any]) -> str:
    safe = {
        name: str(value) if type(value) is int and abs(value) >= canonical.SAFE_INTEGER_LIMIT else value
        for name, value in row.items()
    }
    return hashlib.sha256(canonical.jcs(safe)).hexdigest()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _parse_cursor(after: str | None) -> tuple[int, int, str]:
    if after is None:
        return _BEFORE_ALL, 0, _NOTHING
    found = _CURSOR.fullmatch(after)
    if found is None:
        raise InputError(f"{after[:80]!r} is not a cursor of a SQLite table")
    return int(found[1]), int(found[2]), found[3]
