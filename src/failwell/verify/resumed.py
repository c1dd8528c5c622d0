"""Calls that were decided twice: only one that was cut off may be (D6, I2).

That its contracts let the tool run twice is the fold's to say (`core.resumed`); here it is held against how the first
one ended, which no state in memory remembers.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.records import Entry
from failwell.core.resumed import cut_off
from failwell.core.state import State


class Repeats:
    """Takes the entries in order, each before it is folded."""

    code = "decision.repeated"

    def __init__(self) -> None:
        self._cut: set[int] = set()

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """What is wrong with a decision that is not the first of its call; None if nothing."""
        body = entry.body
        if isinstance(body, kinds.Outcome) and cut_off(body):
            self._cut.add(body.decision)
        if not isinstance(body, kinds.Decision) or body.verdict == "DENY" or entry.run is None:
            return None
        earlier = state.calls.get(entry.run, {}).get(body.call)
        if earlier is None or earlier in self._cut:
            return None
        return f"it runs call {body.call!r} again, which entry {earlier} decided and which was not cut off"
