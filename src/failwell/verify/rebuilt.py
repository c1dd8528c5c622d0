"""The projection rows: each must be what the entries make of it, none missing and none added (D19).

Rows that entries alone give back are compared with a rebuild; those that they cannot give back are bound by a digest
in their entry (`beside`). So no row is unbound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from failwell.core.rows import TABLES
from failwell.verify.beside import readable
from failwell.verify.finding import ROWS, Findings


class Shelf(Protocol):
    """Where rebuilt rows are laid while entries stream by, so that memory stays flat; a later row replaces."""

    def put(self, rows: Iterable[tuple[str, Any, str, int]]) -> None:
        """Lay down (table, key, canonical JSON, number of the entry that made it)."""
        ...

    def rows(self, table: str) -> Iterable[tuple[Any, str, int]]:
        """(key, canonical JSON, entry) of a table by ascending key (integers, or UTF-8 byte order)."""
        ...


def compare_rows(
    findings: Findings, size: int, shelf: Shelf, stored: Callable[[str], Iterable[tuple[Any, str]]]
) -> int:  # fmt: skip
    """Hold every stored projection row against the rebuilt one; how many were read. `size`: number of entries."""
    return sum(_compare_table(findings, size, table, shelf, stored) for table in TABLES)


def _compare_table(
    findings: Findings, size: int, table: str, shelf: Shelf, stored: Callable[[str], Iterable[tuple[Any, str]]]
) -> int:  # fmt: skip
    kind = int if TABLES[table][1] else str
    made = iter(shelf.rows(table))
    want = next(made, None)
    read = 0
    last: Any = None

    def say(what: str, key: int | str | None, entry: int | None, message: str) -> None:
        # A row that no entry made stands against all of them.
        first, last = (0 if entry is None else entry), max(0, size - 1)
        findings.add(
            ROWS, f"row.{what}", message, entry=last if entry is None else entry, first=first, last=last,
            table=table, key=key,
        )  # fmt: skip

    for row in readable(findings, ROWS, table, iter(stored(table))):
        read += 1
        key, text = row if len(row) == 2 else (None, None)
        if type(key) is not kind or type(text) is not str:
            say(
                "shape",
                key if type(key) in (int, str) else None,
                None,
                f"a row of table {table} does not hold what it should",
            )
            continue
        if last is not None and key <= last:
            say("order", key, None, f"row {key!r} of table {table} stands twice or out of order")
            continue
        last = key
        while want is not None and want[0] < key:
            say("missing", want[0], want[2], f"row {want[0]!r} of table {table}, made by entry {want[2]}, is missing")
            want = next(made, None)
        if want is None or want[0] != key:
            say("extra", key, None, f"row {key!r} of table {table} was made by no entry (there are {size})")
            continue
        if want[1] != text:
            say("changed", key, want[2], f"row {key!r} of table {table} is not what entry {want[2]} made it")
        want = next(made, None)
    while want is not None:
        say("missing", want[0], want[2], f"row {want[0]!r} of table {table}, made by entry {want[2]}, is missing")
        want = next(made, None)
    return read
