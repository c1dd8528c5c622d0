"""The time that a verification takes, by phase; and how far it is, once that takes longer than a look."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from failwell.cli.screen import tell

TELL_EVERY_S = 2.0


class Stopwatch:
    """Hears of the phases of a verification (`verify.record.Tell`) and times them; it begins when it is made."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._began = self._lap = self._told = now()
        self._took_s: defaultdict[str, float] = defaultdict(float)

    def heard(self, phase: str, entries: int) -> None:
        """A phase has taken `entries` entries so far, over the time since the last call."""
        now = self._now()
        self._took_s[phase] += now - self._lap
        self._lap = now
        if now - self._told >= TELL_EVERY_S:
            self._told = now
            tell(f"{entries:,} entries ...")

    def fields(self, entries: int) -> dict[str, Any]:
        """For `--json`: `core` is reading, bytes, sequence, tree, citations and heads; `full` all but the copy."""
        full = sum(took for phase, took in self._took_s.items() if phase != "copy")
        return {
            "copy_ms": round(self._took_s["copy"] * 1000),
            "core": _figures(self._took_s["core"], entries),
            "full": _figures(full, entries),
            "elapsed_ms": round((self._lap - self._began) * 1000),
        }


def _figures(took_s: float, entries: int) -> dict[str, int | None]:
    return {
        "elapsed_ms": round(took_s * 1000),
        "entries_per_second": round(entries / took_s) if took_s > 0 and entries else None,
    }
