"""Used permits and void epochs in a file: for several processes of one server, and over its restarts.

SQLite with one table of uses whose key is unique, so that of two processes one gets the permit. Each use is one
transaction that is durable before the permit is good (`synchronous=FULL`, rollback journal: Python's own SQLite may
have the WAL-reset bug). A connection is opened for each: it knows nothing of threads and forks, and a file that was
taken away is noticed. Anything that goes wrong refuses the permit (code "store").

Who can write the file can have a permit used twice; so it is the server's own, mode 0600.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from failwell.core.errors import InputError, NotFound
from failwell.permits.claims import Epochs
from failwell.permits.refusal import PermitRefused
from failwell.permits.used import expired, used, void

#: How long a use waits for another process's.
BUSY_S: Final = 2.0
_TABLES: Final = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE used (jti TEXT PRIMARY KEY, until_us INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE INDEX used_until ON used (until_us)",
    "CREATE TABLE fence (scope TEXT PRIMARY KEY, epoch INTEGER NOT NULL) STRICT, WITHOUT ROWID",
)
#: Uses that are forgotten at most at once, so that no caller waits for many.
_AT_ONCE: Final = 1000


class Store:
    """Uses and epochs in a file (`permits.used.Register`)."""

    def __init__(self, path: Path) -> None:
        """An existing store. NotFound where there is none, InputError where it is no store or others can write it."""
        self._path = path
        _check_file(path)
        try:
            with self._turn() as turn:
                about = _about(turn)
            self.since_us, self._id = int(about["since_us"]), about["id"]
        except (sqlite3.Error, KeyError, ValueError) as error:
            raise InputError(f"{path} is no store of used permits: {error}") from error

    @classmethod
    def open(cls, path: Path, now_us: int, **about: str) -> Store:
        """The store at `path`, made where there is none; `about` is what it is for, and may not change.

        InputError where it is another's, or was kept for something else.
        """
        _create(path)
        try:
            with _connect(path) as connection, _transaction(connection):
                if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                    for table in _TABLES:
                        connection.execute(table)
                    known = {**about, "id": secrets.token_hex(8), "since_us": str(now_us), "forgotten_us": "0"}
                    connection.executemany("INSERT INTO about VALUES (?, ?)", list(known.items()))
                found = _about(connection)
        except sqlite3.Error as error:
            raise InputError(f"{path} is no store of used permits: {error}") from error
        wrong = next((name for name, value in about.items() if found.get(name) != value), None)
        if wrong is not None:
            raise InputError(
                f"{path} is the store of a verifier with {wrong} {found.get(wrong)}, not {about[wrong]}",
                hint="Give each its own store.",
            )
        return cls(path)

    def take(self, jti: str, until_us: int, epochs: Epochs, now_us: int) -> None:
        """See `permits.used.Register.take`."""
        with self._closed_on_failure(), self._turn() as turn:
            about = _about(turn)
            if about["id"] != self._id:
                raise PermitRefused("store", "the store of used permits is another one than at this server's start")
            forgotten_us = _forget(turn, int(about["forgotten_us"]), now_us)
            if until_us <= forgotten_us:
                raise expired()
            known = {scope: _epoch(turn, scope) for scope, _ in epochs}
            for scope, epoch in epochs:
                if epoch < known[scope]:
                    raise void(scope)
            if turn.execute("INSERT OR IGNORE INTO used VALUES (?, ?)", (jti, until_us)).rowcount != 1:
                raise used()
            for scope, epoch in epochs:
                if epoch > known[scope]:
                    _raise(turn, scope, epoch)

    def fence(self, epochs: Epochs) -> None:
        """See `permits.used.Register.fence`. Durable on return."""
        with self._closed_on_failure(), self._turn() as turn:
            for scope, epoch in epochs:
                _raise(turn, scope, epoch)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[sqlite3.Connection]:
        with _connect(self._path) as connection, _transaction(connection):
            yield connection

    @contextlib.contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, KeyError, ValueError) as error:
            raise PermitRefused(
                "store", f"it cannot be told whether the permit was used: {error}",
                hint=f"Look at {self._path}: is it there, not full, and written by nobody else?",
            ) from error  # fmt: skip


@contextlib.contextmanager
def _connect(path: Path) -> Iterator[sqlite3.Connection]:
    # mode=rw: a store that was deleted is not silently begun anew.
    uri = f"file:{quote(str(path.resolve()))}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        for name, wanted in (("journal_mode", "truncate"), ("synchronous", 2), ("trusted_schema", 0)):
            connection.execute(f"PRAGMA {name} = {wanted}")
            got = connection.execute(f"PRAGMA {name}").fetchone()[0]
            if got != wanted:
                raise sqlite3.OperationalError(f"{name} is {got}, not {wanted}")
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One writing transaction, from its first look on: of two that look, one waits for the other."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _about(turn: sqlite3.Connection) -> dict[str, str]:
    return dict(turn.execute("SELECT name, value FROM about"))


def _epoch(turn: sqlite3.Connection, scope: str) -> int:
    row: Any = turn.execute("SELECT epoch FROM fence WHERE scope = ?", (scope,)).fetchone()
    return 0 if row is None else int(row[0])


def _raise(turn: sqlite3.Connection, scope: str, epoch: int) -> None:
    turn.execute(
        "INSERT INTO fence VALUES (?, ?) ON CONFLICT DO UPDATE SET epoch = max(epoch, excluded.epoch)", (scope, epoch)
    )


def _forget(turn: sqlite3.Connection, forgotten_us: int, now_us: int) -> int:
    """Forget what has lapsed; the latest lapse that was ever forgotten."""
    lapsed: Any = turn.execute(
        "SELECT jti, until_us FROM used WHERE until_us <= ? ORDER BY until_us LIMIT ?", (now_us, _AT_ONCE)
    ).fetchall()
    if not lapsed:
        return forgotten_us
    turn.executemany("DELETE FROM used WHERE jti = ?", [(jti,) for jti, _ in lapsed])
    forgotten_us = max(forgotten_us, lapsed[-1][1])
    turn.execute("UPDATE about SET value = ? WHERE name = 'forgotten_us'", (str(forgotten_us),))
    return forgotten_us


def _create(path: Path) -> None:
    """An empty file of mode 0600 where there is none."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise InputError(f"{path} cannot be opened as a store of used permits: {error.strerror}") from error
    _check_file(path)


def _check_file(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError as error:
        raise NotFound(
            f"there is no store of used permits at {path}", hint="The server's Verifier makes it."
        ) from error
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise InputError(
            f"{path} is not this user's own file, or others may write it", hint=f"chmod 600 {path}",
        )  # fmt: skip
