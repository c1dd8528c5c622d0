"""The tool's side of `transactional`: its work is one SQLite transaction that carries the action's mark, and only it.

`with failwell.transaction() as connection:` opens the database that the settings declare, writes the mark, and commits
once, at the end of the block; any error, and any kill before that, leaves nothing. Standard library only. It keeps an
honest tool from ending the transaction half-way; what a tool does past it (a second connection, a call to somewhere
else) is outside of the transaction, and no rollback undoes it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

#: Where a tool finds the database's path, and (set for every tool) the name of its action, which is its mark.
DATABASE, ACTION = "FAILWELL_TRANSACTION", "FAILWELL_ACTION"
#: A row by action: `done` was written by the tool's own transaction, `stopped` by the node, so that no `done` can be.
MARKS = "CREATE TABLE IF NOT EXISTS failwell_marks (action TEXT PRIMARY KEY, state TEXT NOT NULL DEFAULT 'done')"
MARK = "INSERT INTO failwell_marks (action) VALUES (?)"
#: How long a tool waits for the database's other writers.
WAIT_S = 30.0
_ONE = "its work is one transaction, which is committed once, when the tool has returned"


class Held(sqlite3.Connection):
    """A connection inside of the transaction. A block of its own (`with connection:`) is a savepoint, no commit."""

    _depth = 0
    _ending = False

    def commit(self) -> None:
        """Refused: the transaction ends with the tool."""
        raise sqlite3.ProgrammingError(f"no commit: {_ONE}")

    def rollback(self) -> None:
        """Refused: an error rolls back, and so does the tool's end by a signal."""
        raise sqlite3.ProgrammingError(f"no rollback, raise an error instead: {_ONE}")

    def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
        """Refused: it would commit first."""
        raise sqlite3.ProgrammingError(f"no scripts, which commit first: {_ONE}")

    def __enter__(self) -> Held:
        self._depth += 1
        self.execute(f"SAVEPOINT failwell_{self._depth}")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> Literal[False]:
        name, self._depth = f"failwell_{self._depth}", self._depth - 1
        if kind is not None:
            self.execute(f"ROLLBACK TO {name}")
        self.execute(f"RELEASE {name}")
        return False

    def end(self) -> None:
        """Commit, once."""
        self._ending = True
        self.execute("COMMIT")

    def may(self, action: int, first: str | None, *_: object) -> int:
        """What SQLite may do: all but end the transaction, or open a file that it does not hold."""
        ends = action == sqlite3.SQLITE_TRANSACTION and not self._ending
        return sqlite3.SQLITE_DENY if ends or action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


@contextmanager
def transaction(database: str | None = None, action: str | None = None) -> Iterator[sqlite3.Connection]:
    """The one transaction of this tool's action, by default in the database and of the action that Failwell names.

    Raises RuntimeError where no database is named: the tool is not declared `transaction = ...` in failwell.toml.
    """
    path, mark = database or os.environ.get(DATABASE), action or os.environ.get(ACTION)
    if not path or not mark:
        raise RuntimeError(f'no transaction is declared for this tool: [tools."NAME"] transaction, ${DATABASE}')
    held = sqlite3.connect(
        f"file:{_quoted(path)}?mode=rw", uri=True, timeout=WAIT_S, isolation_level=None, factory=Held
    )
    try:
        held.execute("BEGIN IMMEDIATE")  # first: nobody writes in between, and the node sees that we are at work
        held.execute(MARK, (mark,))
        held.set_authorizer(held.may)
        yield held
        held.end()
    finally:
        held.set_authorizer(None)
        held.close()  # what was not committed is rolled back


def _quoted(path: str) -> str:
    """A path as the path of a URI (SQLite's own rules)."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
