"""Faults seeded into the product, each of which the harness of its table must catch: a hunt that finds nothing in a
broken product shows nothing about a whole one.

Each is a context that patches the product from outside and puts it back; the product itself knows no switch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import apsw
import msgspec

from failwell.core import merkle, records, state
from failwell.ledger import book, writer
from failwell.ports.storage import Batch
from failwell.storage import files, sqlite
from failwell.storage.sqlite import SqliteStorage

Mutant = Callable[[], Any]
BEGINNING = 2


def _synchronous(level: int) -> Any:
    def pragma(connection: apsw.Connection, name: str, value: Any) -> None:
        connection.pragma(name, level if name == "synchronous" else value)

    return mock.patch.object(files, "set_pragma", pragma)


def normal_sync() -> Any:
    """`synchronous=NORMAL`: the log is synced only when it is moved into the file."""
    return _synchronous(1)


def no_sync() -> Any:
    """`synchronous=OFF`."""
    return _synchronous(0)


def early_answer() -> Any:
    """Callers are answered before the commit; not those of the beginning: there is to be a ledger to lose from."""
    commit = writer.Writer._commit

    def answering(self: writer.Writer, batch: list[Any]) -> None:
        for pending in batch:
            if pending.make is not None and self.book.written and self.book.written[0].seq > BEGINNING:
                pending.future.set_result(pending.make(pending.entries))
                pending.make = None
        commit(self, batch)

    return mock.patch.object(writer.Writer, "_commit", answering)


def rows_apart() -> Any:
    """Entries and the rows they make are committed one after the other."""
    commit = SqliteStorage.commit

    def apart(self: SqliteStorage, batch: Batch) -> None:
        commit(self, batch._replace(rows={}))
        commit(self, batch._replace(entries=(), blobs=(), tokens=()))

    return mock.patch.object(SqliteStorage, "commit", apart)


def blobs_apart() -> Any:
    """Blobs and tokens follow in a transaction of their own."""
    commit = SqliteStorage.commit

    def apart(self: SqliteStorage, batch: Batch) -> None:
        commit(self, batch._replace(blobs=(), tokens=()))
        commit(self, batch._replace(entries=(), rows={}))

    return mock.patch.object(SqliteStorage, "commit", apart)


@contextmanager
def skipped_previous() -> Iterator[None]:
    """An agent's entries do not name the one before, and the fold does not look."""
    entry, count = records.Entry, state.State._count

    def forgetful(**fields: Any) -> Any:
        return entry(**{**fields, "aprev": None})

    def trusting(self: state.State, written: Any, leaf: str) -> None:
        head = self.head.get(written.agent)
        count(self, msgspec.structs.replace(written, aprev=None if head is None else head.last), leaf)

    with mock.patch.object(book, "Entry", forgetful), mock.patch.object(state.State, "_count", trusting):
        yield


def skipped_nodes() -> Any:
    """The hashes of completed subtrees are not stored: after a cut the tree cannot go on from what is there."""
    append = merkle.Frontier.append

    def forgetful(self: merkle.Frontier, leaf: bytes) -> Any:
        append(self, leaf)
        return []

    return mock.patch.object(merkle.Frontier, "append", forgetful)


@contextmanager
def _own_memory() -> Iterator[None]:
    """What is asked to be read back is answered from what was just written."""
    commit = SqliteStorage.commit
    kept: dict[int, tuple[bytes, bytes]] = {}

    def keeping(self: SqliteStorage, batch: Batch) -> None:
        commit(self, batch)
        kept.update({row.seq: (row.data, row.leaf) for row in batch.entries})

    def answer(self: SqliteStorage, first: int, count: int) -> list[tuple[bytes, bytes]]:
        return [kept[seq] for seq in range(first, first + count)]

    with (
        mock.patch.object(SqliteStorage, "commit", keeping),
        mock.patch.object(SqliteStorage, "read_back", answer),
    ):
        yield


def no_read_back() -> Any:
    """Nothing is read back."""
    return _own_memory()


def cached_read_back() -> Any:
    """It is read back on the connection that wrote it, which answers from its own cache."""

    def cached(self: SqliteStorage, first: int, count: int) -> list[tuple[bytes, bytes]]:
        found: list[Any] = self._write.execute(sqlite._READ_BACK, (first, first + count)).fetchall()
        return found

    return mock.patch.object(SqliteStorage, "read_back", cached)


def not_written_again() -> Any:
    """After a failed sync the log is only opened again: the kernel says yes to the next sync, and wrote nothing."""
    return mock.patch.object(files, "write_again")


#: Caught by cutting the power.
CUT: dict[str, Mutant] = {
    "synchronous=NORMAL": normal_sync,
    "synchronous=OFF": no_sync,
    "acknowledged before the commit": early_answer,
    "rows in a transaction of their own": rows_apart,
    "blobs in a transaction of their own": blobs_apart,
    "the previous entry not named": skipped_previous,
    "subtree hashes not stored": skipped_nodes,
}
#: Caught by cutting the power some time after a sync has failed.
FAILED_SYNC: dict[str, Mutant] = {"log not written again after a failed sync": not_written_again}
#: Caught by a disk that alters or loses what it took.
LIE: dict[str, Mutant] = {"no read-back": no_read_back, "read-back from the writer's own cache": cached_read_back}
