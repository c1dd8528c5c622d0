"""When a `heads` entry is due, and the job that writes it (D15): `core.heads` holds the tree.

Due are: every 4,096 entries, the opening of an incident and the placing of a hold (what is handed out about an agent
then is complete up to there), and the close of a node, which asks for it itself. A thousand agents are hashed at once,
in about 1.5 ms; of more, the tree is brought up to date every 1,024 entries, so that no batch waits for ten thousand
lines (measured: 10 ms at once, or 6 ms so, for 2.5 us more an entry). It promises nothing between two entries: what an
agent did after the newest one is in its chain, but an entry left out at its end would not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from failwell.core import kinds
from failwell.core.errors import Corrupt, FailwellError
from failwell.core.heads import HeadsTree
from failwell.core.records import Draft, Entry, decode_entry
from failwell.ledger.book import Book
from failwell.ledger.jobs import Plan, Turn
from failwell.ledger.writer import Writer
from failwell.ports.storage import StoredEntry

EVERY: Final = 4096
#: Entries between two looks at the tree where there are more agents than are hashed at once.
SWEEP: Final = 1024
AT_ONCE: Final = 1000
#: What was asked for and not written (the ledger was closed to it) is asked for again after as many entries.
AGAIN: Final = 256
_PAGE: Final = 1024


class Rows(Protocol):
    """Entries by number: a storage, or a read of a copy."""

    def entries(self, first: int, limit: int, /) -> Sequence[StoredEntry]: ...


class Heads:
    """The heads of one book; all calls come from its writer's thread, `take` after each durable batch."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._tree = HeadsTree(book.state.head)
        self._swept = size = book.state.size
        last = newest_heads(book.storage, size, EVERY)
        self._next = (max(0, size - EVERY) if last is None else last.seq + 1) + EVERY

    def follow(self, entries: Sequence[Entry[Any]], writer: Writer) -> None:
        """Note what has become durable, and have `writer` write a heads entry if one is due now."""
        if self.take(entries):
            with suppress(FailwellError):  # a closing ledger: who closes it asks for the last one
                writer.submit(self.write, certain=True)

    def take(self, entries: Sequence[Entry[Any]]) -> bool:
        """Note what has become durable; whether a heads entry is due now."""
        due = False
        for entry in entries:
            if isinstance(entry.body, kinds.Heads):
                due, self._next = False, entry.seq + 1 + EVERY
            elif isinstance(entry.body, kinds.IncidentOpened | kinds.HoldPlaced):
                due = True
        size = entries[-1].seq + 1 if entries else 0
        heads = self._book.state.head
        if len(heads) > AT_ONCE and size - self._swept >= SWEEP:
            self._swept = size
            self._tree.update(heads)
        if not due and size < self._next:
            return False
        self._next = size + AGAIN
        return True

    def write(self, turn: Turn) -> Plan[int]:
        """The job that writes one over everything before it; its answer is the entry's number."""
        self._tree.update(turn.state.head)
        body = kinds.Heads(root=self._tree.root().hex(), agents=self._tree.size, upto=turn.seq)
        return Plan((Draft(body=body, actor="node"),), lambda entries: entries[0].seq)


def newest_heads(rows: Rows, size: int, within: int) -> Entry[kinds.Heads] | None:
    """The newest heads entry among the last `within` of the first `size` entries, None where there is none.

    One that cannot be read is passed over: that it cannot is for a verification to say.
    """
    end, first = size, max(0, size - within)
    while end > first:
        begin = max(first, end - _PAGE)
        for row in reversed(rows.entries(begin, end - begin)):
            # Within a text the quotes would be escaped, so only an entry of this kind or a body's own field has this.
            if b'"kind":"heads"' in row.data and (found := _heads(row.data)) is not None:
                return found
        end = begin
    return None


def _heads(data: bytes) -> Entry[kinds.Heads] | None:
    try:
        entry = decode_entry(data)
    except Corrupt:
        return None
    return entry if isinstance(entry.body, kinds.Heads) else None
