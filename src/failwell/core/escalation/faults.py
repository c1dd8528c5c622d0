"""What is wrong with how people would be told: one finding."""

from __future__ import annotations

import msgspec


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to mend; `place` is a path and step, a team, or a channel."""

    code: str
    place: str
    problem: str
    reason: str
    mend: str


def times(us: int) -> str:
    """A length of time as people say it, to the minute: `45 min`, `2 h 30 min`, `3 d 4 h`."""
    minutes = max(us, 0) // 60_000_000
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [f"{value} {unit}" for value, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if value]
    return " ".join(parts[:2]) or f"{max(us, 0) // 1_000_000} s"
