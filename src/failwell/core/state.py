"""The state of a workspace: its projections, moved forward entry by entry and by nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from failwell.core import rows
from failwell.core.errors import Corrupt
from failwell.core.escalation.taking import note_progress
from failwell.core.folds import FOLDS
from failwell.core.instants import parse_at
from failwell.core.projections import Projections
from failwell.core.records import Entry, decode_entry


class State(Projections):
    """Where the ledger stands after `size` entries."""

    def resume(self, size: int, at: str) -> None:
        """Stand after entry `size - 1`, which was written at ledger time `at`; rows follow by `load`."""
        self.size, self.last_at_us = size, parse_at(at)

    def apply(self, entry: Entry[Any], leaf: str) -> None:
        """Fold one entry. Raises Corrupt if it does not follow: such an entry must never be stored."""
        if entry.seq != self.size:
            raise Corrupt(f"entry {entry.seq} does not follow entry {self.size - 1}")
        at_us = parse_at(entry.at)
        if at_us < self.last_at_us:
            raise Corrupt(f"entry {entry.seq} is earlier than the one before it")
        if entry.agent is not None:
            self._count(entry, leaf)
        fold = FOLDS.get(type(entry.body))
        if fold is not None:
            fold(self, entry, entry.body, at_us)
        if self.escalation:
            note_progress(self, entry, at_us)
        self.size += 1
        self.last_at_us = at_us

    def _count(self, entry: Entry[Any], leaf: str) -> None:
        agent = str(entry.agent)
        head = self.head.get(agent)
        count, last = (0, None) if head is None else (head.count, head.last)
        if entry.aseq != count or entry.aprev != last:
            raise Corrupt(f"entry {entry.seq} breaks the chain of {agent}: number {entry.aseq} after {count - 1}")
        self.put("head", agent, rows.Head(count=count + 1, last=entry.seq, leaf=leaf))


def rows_of(entries: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, Any, str]]:
    """The projection rows that entries give: (table, key, canonical JSON) as each is made; a later one replaces.

    `entries`: (canonical bytes, leaf) from number 0 on. Raises Corrupt at the entry that does not follow.
    """
    state = State()
    for data, leaf in entries:
        state.apply(decode_entry(data), leaf.hex())
        for (table, key), row in state.drain().items():
            yield table, key, rows.encode_row(row)
