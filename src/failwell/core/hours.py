"""Hours of the week and local times as people write them: `Mon-Fri 08:00-18:00`, `2026-11-23T09:00`.

Without a zone: whose local time it is stands in `core.escalation.calendars`.
"""

from __future__ import annotations

import functools
import re
from datetime import datetime, timedelta
from typing import NamedTuple

from failwell.core.errors import InputError

MINUTE_US = 60 * 1_000_000
DAY_US = 24 * 60 * MINUTE_US
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  local time: the offset is added before
_SPAN = re.compile(
    r"(?:(?P<days>(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:[-,](?:Mon|Tue|Wed|Thu|Fri|Sat|Sun))*) )?"
    r"(?P<from>[0-2][0-9]:[0-5][0-9])-(?P<until>[0-2][0-9]:[0-5][0-9])"
)


class Hours(NamedTuple):
    """Days of the week (Monday is 0) and microseconds of the day; `until` at or before `since` is of the next day."""

    days: frozenset[int]
    since_us: int
    until_us: int


@functools.lru_cache(maxsize=256)
def parse_hours(text: str) -> tuple[Hours, ...]:
    """The hours that `Mon-Fri 08:00-18:00; Sat 10:00-14:00` spells. InputError says what is wrong."""
    found = []
    for part in text.split(";"):
        match = _SPAN.fullmatch(part.strip())
        if match is None:
            raise InputError(f"{part.strip()!r} are no hours", hint="Write them like Mon-Fri 08:00-18:00.")
        since_us, until_us = _of_day(match["from"]), _of_day(match["until"])
        found.append(Hours(_days(match["days"]), since_us, until_us))
    return tuple(found)


def parse_local(text: str) -> int:
    """Local microseconds since 1970 of `2026-11-23T09:00`. InputError where it is no such time."""
    try:
        return (datetime.strptime(text, "%Y-%m-%dT%H:%M") - _EPOCH) // timedelta(microseconds=1)  # noqa: DTZ007
    except ValueError as error:
        raise InputError(f"{text!r} is no local time", hint="Write it like 2026-11-23T09:00.") from error


def _of_day(text: str) -> int:
    hours, minutes = (int(part) for part in text.split(":"))
    if hours > 24 or (hours == 24 and minutes):
        raise InputError(f"{text} is no time of the day")
    return (hours * 60 + minutes) * MINUTE_US


def _days(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found.update(day % 7 for day in range(begin, end + 1 + (7 if end < begin else 0)))
    return frozenset(found)
