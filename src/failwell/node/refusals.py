"""Callers that proved nothing, counted and sealed as one summary per source and second (D26)."""

from __future__ import annotations

import threading
from collections.abc import Callable

from failwell.core import kinds
from failwell.core.instants import format_at
from failwell.core.records import Draft

#: Sources counted one by one within a second; beyond, they share one summary, so that a stranger fills no memory.
MAX_SOURCES = 100
SUMMARY_US = 1_000_000
#: What an order is counted as that was not carried out.
REFUSED_ORDER = "an order that does not hold"


class RefusalCounter:
    """Counts until `take` turns the counts into drafts. Thread-safe."""

    def __init__(self, wall_us: Callable[[], int]) -> None:
        self._wall_us = wall_us
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], tuple[int, int]] = {}

    def count(self, source: str, reason: str, times: int = 1) -> None:
        with self._lock:
            key = (source, reason)
            if key not in self._counts and len(self._counts) >= MAX_SOURCES:
                key = ("many", "no proof of identity")
            count, since_us = self._counts.get(key, (0, self._wall_us()))
            self._counts[key] = (count + times, since_us)

    def take(self, *, everything: bool = False) -> tuple[Draft, ...]:
        """Summaries of what was first counted a second ago: one per source, reason and second."""
        now_us = self._wall_us()
        with self._lock:
            # Also what lies ahead: a clock that was set back must not keep a count waiting.
            due = [
                key
                for key, (_, since_us) in self._counts.items()
                if everything or not 0 <= now_us - since_us < SUMMARY_US
            ]
            counts = {key: self._counts.pop(key) for key in due}
        return tuple(
            Draft(
                body=kinds.Refusals(source=source, reason=reason, count=count, since=format_at(since_us)),
                actor="node",
            )
            for (source, reason), (count, since_us) in counts.items()
        )
