"""Agents that left traces in the record itself: by their entries, registered or not, and by refusals (R32, D26)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from failwell.core import kinds
from failwell.core.errors import FailwellError
from failwell.core.records import Entry, decode_entry
from failwell.node.reading import LedgerRows
from failwell.node.refusals import REFUSED_ORDER
from failwell.node.workspace import Workspace

PAGE = 10_000


class Called(NamedTuple):
    """An agent by the name that entries bear: how many there are, and when the newest was written."""

    agent: str
    entries: int
    at: str | None


class Refused(NamedTuple):
    """Callers that proved nothing, by what they were refused for: how often, and when last."""

    reason: str
    times: int
    at: str


def called(workspace: Workspace) -> list[Called]:
    """Every agent that an entry is about, by name. Raises Corrupt where the record cannot be read."""
    with LedgerRows(workspace) as rows:
        found = []
        for agent, head in sorted(rows.heads().items()):
            newest = rows.entry(head.last)
            try:
                at = None if newest is None else decode_entry(newest.data).at
            except FailwellError:
                at = None  # when it was is not known; that it was is
            found.append(Called(agent, head.count, at))
        return found


def refused(workspace: Workspace) -> list[Refused]:
    """What callers without a proof of identity were refused for, over all that is on record."""
    counts: Counter[str] = Counter()
    latest: dict[str, str] = {}
    with LedgerRows(workspace) as rows:
        for row in rows.holding(b'"kind":"refusals"', rows.size()):
            entry = decode_entry(row.data)
            # An order is a person's: a mistyped code is no trace of an agent.
            if isinstance(entry.body, kinds.Refusals) and entry.body.reason != REFUSED_ORDER:
                counts[entry.body.reason] += entry.body.count
                latest[entry.body.reason] = entry.at
    return [Refused(reason, count, latest[reason]) for reason, count in sorted(counts.items())]


def all_entries(workspace: Workspace) -> Iterator[Entry[Any]]:
    """Every entry from number 0 on, decoded; a page at a time. Raises Corrupt at one that cannot be read."""
    with LedgerRows(workspace) as rows:
        first = 0
        while page := rows.entries(first, PAGE):
            yield from (decode_entry(row.data) for row in page)
            first = page[-1].seq + 1
