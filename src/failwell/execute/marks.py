"""The node's side of `transactional`: whether an action's transaction was committed, asked of the database itself.

The mark stands in the same transaction as the tool's work (`execute.transaction`), so it is there exactly if the work
is. Where it is not, a mark of ours takes its place: whatever is left of the tool, its transaction cannot be committed
any more. Nothing is said of what a tool did outside of that transaction. Opening a database rolls back what a killed
process left half written; that is SQLite's own doing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import apsw

from failwell.core.errors import Refused
from failwell.execute.transaction import MARKS

_HINT = "The database must be there before the tool runs; make it with the tool's own schema: docs/stopping.md"


class Looked(NamedTuple):
    """What the database says: the mark is `present`, `absent` (and stays so), or `unknown`, and why."""

    state: Literal["present", "absent", "unknown"]
    why: str = ""


Identity = tuple[int, int]


def prepare(path: str) -> Identity:
    """Make the database ready for marks; which file it is. Refused where there is none, or it cannot be written."""
    try:
        with _open(path, 2.0) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'failwell_marks'").fetchall():
                connection.execute(MARKS)
        return _identity(path)
    except (apsw.Error, OSError) as error:
        raise Refused(f"the transaction's database {path} cannot be used: {_told(error)}", hint=_HINT) from error


def look(path: str, mark: str, file: Identity, within_s: float) -> Looked:
    """Whether the mark is there; nothing is changed. For an action that nobody stopped."""
    return _ask(path, file, within_s, lambda connection: _read(connection, mark))


def void(path: str, mark: str, file: Identity, within_s: float) -> Looked:
    """Whether the mark is there; where it is not, it never will be.

    INVARIANT: with the lock of the only writer, so that no transaction is under way, and our mark takes the place of
    the tool's: one that comes late cannot be committed.
    """

    def ask(connection: apsw.Connection) -> Looked:
        connection.execute("BEGIN IMMEDIATE")
        found = _read(connection, mark)
        if found.state == "absent":
            connection.execute(
                "INSERT INTO failwell_marks (action, state) VALUES (?, 'stopped') ON CONFLICT DO NOTHING", (mark,)
            )
        connection.execute("COMMIT")
        return found

    return _ask(path, file, within_s, ask)


def _read(connection: apsw.Connection, mark: str) -> Looked:
    rows = connection.execute("SELECT state FROM failwell_marks WHERE action = ?", (mark,)).fetchall()
    return Looked("present" if rows and rows[0][0] != "stopped" else "absent")


def _ask(path: str, file: Identity, within_s: float, ask: _Ask) -> Looked:
    try:
        if _identity(path) != file:
            return Looked("unknown", f"{path} is another file than when the action started")
        with _open(path, within_s) as connection:
            return ask(connection)
    except (apsw.Error, OSError) as error:
        return Looked("unknown", f"{path} cannot be asked: {_told(error)}")


@contextmanager
def _open(path: str, within_s: float) -> Iterator[apsw.Connection]:
    """The database as it lies there; never made. Writable: what a killed writer left must be rolled back."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(max(1, int(within_s * 1000)))
        yield connection
    finally:
        connection.close(True)


def _identity(path: str) -> Identity:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _told(error: Exception) -> str:
    if isinstance(error, apsw.BusyError):
        return "another process holds its lock"
    return (isinstance(error, OSError) and error.strerror) or str(error)


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    _Ask = Callable[[apsw.Connection], Looked]
