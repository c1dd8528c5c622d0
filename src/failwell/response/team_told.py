"""Who is on call, until when, who comes next, and who covers for whom: `team show` and the letters say it."""

from __future__ import annotations

import msgspec

from failwell.core import rows
from failwell.core.escalation.calendars import changes, declared_team, gaps, members, on_call
from failwell.core.hours import DAY_US
from failwell.core.instants import format_at
from failwell.core.projections import Projections

#: How far ahead turns are told.
AHEAD_US = 31 * DAY_US
#: Changes and gaps that are told of one team.
MOST, MOST_GAPS = 12, 100


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of turns, as the settings have it; `every_ms` None: all of its members, always."""

    members: tuple[str, ...]
    every_ms: int | None
    since: str
    hours: str


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """Who is on call from `at` on; nobody where `persons` is empty."""

    at: str
    persons: tuple[str, ...]


class CoverTold(msgspec.Struct, frozen=True, kw_only=True):
    """A cover that holds, or is still to come; `cover` is its entry, by which it is ended."""

    cover: int
    person: str
    instead_of: str | None
    since: str
    until: str


class TeamTold(msgspec.Struct, frozen=True, kw_only=True):
    """`on_call` now; `next` are the changes ahead. `away` are members who are not enrolled here, or have left. `known`
    is false where the record has no offsets for the zone yet: its times are told as UTC.
    """

    team: str
    timezone: str
    known: bool
    members: tuple[str, ...]
    away: tuple[str, ...]
    on_call: tuple[str, ...]
    layers: tuple[Layer, ...]
    covers: tuple[CoverTold, ...]
    next: tuple[Shift, ...]
    gaps: tuple[tuple[str, str], ...]


def team_told(state: Projections, team: str, now_us: int) -> TeamTold | None:
    """All of a team as things stand; None where the settings know no such team."""
    declared = declared_team(state, team)
    if declared is None:
        return None
    everybody = members(state, team)
    zones = dict(state.workspace[1].zones)
    missing = tuple(gaps(state, team, now_us, now_us + AHEAD_US))[:MOST_GAPS]
    return TeamTold(
        team=team, timezone=declared.zone, known=declared.zone == "UTC" or declared.zone in zones, members=everybody,
        away=tuple(person for person in everybody if not state.enrolled(person)),
        on_call=here(state, team, now_us),
        layers=tuple(
            Layer(members=each.members, every_ms=each.every_us // 1_000 or None, since=each.since, hours=each.hours)
            for each in declared.turns
        ),
        covers=tuple(_cover(entry, row) for entry, row in sorted(_covers(state, team, now_us))),
        next=tuple(Shift(at=format_at(at), persons=persons) for at, persons in shifts(state, team, now_us)),
        gaps=tuple((format_at(since), format_at(until)) for since, until in missing),
    )  # fmt: skip


def here(state: Projections, team: str, at_us: int) -> tuple[str, ...]:
    """Who is on call at `at_us`, of those who are here."""
    return tuple(person for person in on_call(state, team, at_us) if state.enrolled(person))


def shifts(state: Projections, team: str, now_us: int) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """When somebody else is on call from now on, and who: the next ones."""
    found: list[tuple[int, tuple[str, ...]]] = []
    before = here(state, team, now_us)
    for at_us in changes(state, team, now_us, now_us + AHEAD_US):
        now = here(state, team, at_us)
        if now != before:
            found.append((at_us, now))
            before = now
        if len(found) == MOST:
            break
    return tuple(found)


def _covers(state: Projections, team: str, now_us: int) -> list[tuple[int, rows.Cover]]:
    return [
        (entry, row)
        for entry, row in state.cover.items()
        if row.team == team and not row.ended and row.until_us > now_us
    ]


def _cover(entry: int, row: rows.Cover) -> CoverTold:
    return CoverTold(
        cover=entry, person=row.person, instead_of=row.instead_of, since=format_at(row.since_us),
        until=format_at(row.until_us),
    )  # fmt: skip
