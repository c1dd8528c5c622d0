"""A bit flips between the hash and the store: memory, cable or disk give back other bytes than were hashed.

The writer hashes what the file gives back through a second connection before it acknowledges anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.errors import FailwellError
from failwell.core.records import Draft
from failwell.node import audit
from failwell.ports.storage import Batch, StoredEntry
from failwell.storage.sqlite import SqliteStorage
from tests.attacks.ledger.judging import TALLY, caught, fair
from tests.unit.verify import ledgers


class Flipping(SqliteStorage):
    """A real store whose way to the disk flips one bit of the next batch that it is told to spoil."""

    spoil: tuple[int, int] | None = None  # (byte, column)

    def commit(self, batch: Batch) -> None:
        if self.spoil is not None:
            (at, column), self.spoil = self.spoil, None
            first = batch.entries[0]
            values: list[Any] = list(first)
            data = values[column]
            values[column] = data[: at % len(data)] + bytes([data[at % len(data)] ^ 1]) + data[at % len(data) + 1 :]
            batch = batch._replace(entries=[StoredEntry(*values), *batch.entries[1:]])
        super().commit(batch)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[ledgers.Made]:
    with ledgers.fresh(tmp_path / "shop") as made:
        book = made.writer.book
        book.storage.close()
        book.storage = Flipping(made.workspace.ledger)
        yield made


def health(number: int) -> Draft:
    return Draft(body=kinds.Health(part="storage", state="ok", detail=f"number {number}"), actor="node")


@pytest.mark.parametrize("column", [1, 2], ids=["data", "leaf"])
def test_what_is_not_read_back_as_hashed_is_never_acknowledged_and_nothing_is_written_after_it(
    made: ledgers.Made, column: int
) -> None:
    (good,) = made.write(health(0))
    storage = made.book.storage
    assert isinstance(storage, Flipping)
    storage.spoil = (37, column)
    with pytest.raises(FailwellError):
        made.write(health(1))
    TALLY.attacks += 1
    assert made.writer.failure is not None or made.writer.barred is not None
    TALLY.detected += 1
    with pytest.raises(FailwellError):
        made.write(health(2))
    report = audit.verify_workspace(made.path)
    caught(report, entry=good + 1)


def test_an_honest_store_is_not_accused(made: ledgers.Made) -> None:
    for number in range(20):
        made.write(health(number))
    fair(audit.verify_workspace(made.path))
