"""Feeds in the record: what other systems were told goes forward, and past nothing that they were to be told.

Attack: whoever keeps the log writes that a system was told up to here, and it never heard of the incident in between.
That it took over what the node says it did is the node's word: the other system has a record of its own.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Any

from failwell.core import kinds
from failwell.core.escalation.feeds import NODE, incident_of
from failwell.core.records import Entry
from failwell.core.state import State


class FeedsWhole:
    """What was told is counted again. The first word of a feed may leave out what stood there before it."""

    code = "feed.told"

    def __init__(self) -> None:
        self._told = array("Q")

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        body = entry.body
        if incident_of(body) is not None:
            self._told.append(entry.seq)
        if not isinstance(body, kinds.FeedDelivered | kinds.FeedFailed):
            return None
        if entry.actor != NODE:
            return f"{entry.actor} says how far feed {body.feed} is"
        row = state.feed.get(body.feed)
        after = -1 if row is None else row.last
        if isinstance(body, kinds.FeedFailed):
            place = bisect_right(self._told, after)
            due = self._told[place] if place < len(self._told) else None
            return None if body.at == due else f"feed {body.feed} failed at {body.at}, and {due} was to be told"
        if row is None and body.count == 0:
            return None
        count = bisect_right(self._told, body.last) - bisect_right(self._told, after)
        return None if count == body.count else f"feed {body.feed} told {body.count} of {count} up to {body.last}"
