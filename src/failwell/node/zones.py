"""The offsets of the time zones that the settings name, written into the record (`time.zones`).

Whose turn it is and what night is depend on a database that differs between machines and years: what the record says
here is what every replay goes by. Written anew where a zone is missing, and from time to time, since laws change.
"""

from __future__ import annotations

import importlib.metadata
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from failwell.core import kinds
from failwell.core.escalation.settings_of import escalating_of, zones_of
from failwell.core.records import Draft
from failwell.ledger.jobs import Plan, Turn

_DAY_US = 86_400_000_000
#: How far back and ahead offsets are written down, and after how long they are read anew.
_BACK, _AHEAD = timedelta(days=366), timedelta(days=5 * 366)
ANEW_US = 90 * _DAY_US
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def zones_of_text(text: str, now_us: int) -> tuple[Draft, ...]:
    """The offsets that settings (their canonical text) need, for the commit that puts them in force: no moment in which
    a night is told as UTC.
    """
    wanted = zones_of(escalating_of(text))
    return (_told(wanted, now_us),) if wanted else ()


def tell_zones(turn: Turn) -> Plan[bool]:
    """Write the offsets down where some are missing or old. Answers whether they were."""
    space = turn.state.workspace[1]
    wanted = zones_of(space.escalation)
    known = tuple(name for name, _ in space.zones)
    old = space.zoned is None or turn.now_us - space.zoned > ANEW_US
    if turn.state.mode != "live" or not wanted or (set(wanted) <= set(known) and not old):
        return Plan((), lambda entries: False)
    return Plan((_told(wanted, turn.now_us),), lambda entries: True)


def _told(wanted: tuple[str, ...], now_us: int) -> Draft:
    now = _EPOCH + timedelta(microseconds=now_us)
    body = kinds.TimeZones(zones=tuple((name, offsets(name, now)) for name in wanted), source=_source())
    return Draft(body=body, actor="node")


def offsets(zone: str, now: datetime) -> tuple[tuple[int, int], ...]:
    """(from when, in microseconds since 1970; seconds ahead of UTC) of a zone, from a year ago to in five years.

    A zone that this machine does not know is told as UTC: settings that name one are not taken.
    """
    try:
        info = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ((0, 0),)
    at, end = now - _BACK, now + _AHEAD
    found = [(_us(at), _ahead_s(info, at))]
    while at < end:
        later = min(at + timedelta(days=1), end)
        if _ahead_s(info, later) != found[-1][1]:
            found.append((_us(_turns(info, at, later)), _ahead_s(info, later)))
        at = later
    return tuple(found)


def _turns(info: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first minute of the new offset between two instants with different ones."""
    while after - before > timedelta(minutes=1):
        middle = before + (after - before) / 2
        middle -= timedelta(seconds=middle.second, microseconds=middle.microsecond)
        if middle <= before:
            break
        before, after = (middle, after) if _ahead_s(info, middle) == _ahead_s(info, before) else (before, middle)
    return after - timedelta(seconds=after.second, microseconds=after.microsecond)


def _ahead_s(info: ZoneInfo, at: datetime) -> int:
    ahead = at.astimezone(info).utcoffset()
    return 0 if ahead is None else int(ahead.total_seconds())


def _us(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _source() -> str:
    try:
        return f"tzdata {importlib.metadata.version('tzdata')}, or the machine's own"
    except importlib.metadata.PackageNotFoundError:
        return "the machine's own"
