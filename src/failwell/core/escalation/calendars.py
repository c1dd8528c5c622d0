"""Whose turn it is, and what hours are: arithmetic on the offsets that the record holds (`time.zones`).

A time zone database differs between machines and years; a replay must find the same persons. A zone that the record
does not hold is told as UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from failwell.core import rows
from failwell.core.errors import InputError
from failwell.core.hours import DAY_US, Hours, parse_hours, parse_local
from failwell.core.projections import Projections

#: 1 January 1970 was a Thursday.
_EPOCH_DAY = 3


def local_us(state: Projections, zone: str, at_us: int) -> int:
    """Local time at `at_us` (UTC), both in microseconds since 1970."""
    offset_s = 0
    for since_us, seconds in _offsets(state, zone):
        if since_us > at_us:
            break
        offset_s = seconds
    return at_us + offset_s * 1_000_000


def _offsets(state: Projections, zone: str) -> tuple[tuple[int, int], ...]:
    known = state.workspace[1].zones if state.workspace else ()
    return next((offsets for name, offsets in known if name == zone), ())


def within_hours(state: Projections, zone: str, hours: str, at_us: int) -> bool:
    """Whether `at_us` (UTC) lies within hours told in `zone`. Hours that nobody can read are always."""
    now_us = local_us(state, zone, at_us)
    day, time_us = now_us // DAY_US, now_us % DAY_US
    try:
        found = parse_hours(hours)
    except InputError:
        return True
    return any(_holds(span, (day + _EPOCH_DAY) % 7, time_us) for span in found)


def _holds(span: Hours, weekday: int, time_us: int) -> bool:
    if span.since_us < span.until_us:
        return weekday in span.days and span.since_us <= time_us < span.until_us
    late = weekday in span.days and time_us >= span.since_us
    return late or ((weekday - 1) % 7 in span.days and time_us < span.until_us)


def on_call(state: Projections, team: str, at_us: int) -> tuple[str, ...]:
    """Who of a team is on call at `at_us` (UTC), covers included; () for a gap, or no such team.

    Whoever has left is stood for by who follows them; a cover of theirs gives the turn back.
    """
    declared = declared_team(state, team)
    if declared is None:
        return ()
    by_turn = [person for turns in declared.turns for person in in_turn(state, declared.zone, turns, at_us)]
    covers = [
        row
        for _, row in sorted(state.cover.items())
        if row.team == team and not row.ended and row.since_us <= at_us < row.until_us and state.enrolled(row.person)
    ]
    relieved = {row.instead_of for row in covers}
    on = [state.reachable(person) for person in by_turn if not {person, state.reachable(person)} & relieved]
    return tuple(dict.fromkeys([*on, *(row.person for row in covers)]))


def declared_team(state: Projections, team: str) -> rows.Team | None:
    """What the settings in force say of a team; None where they do not know it."""
    escalating = state.workspace[1].escalation if state.workspace else None
    return None if escalating is None else next((row for name, row in escalating.teams if name == team), None)


def members(state: Projections, team: str) -> tuple[str, ...]:
    """Everybody whom a team names, each once."""
    declared = declared_team(state, team)
    turns = () if declared is None else declared.turns
    return tuple(dict.fromkeys(person for each in turns for person in each.members))


def in_turn(state: Projections, zone: str, turns: rows.Turns, at_us: int) -> tuple[str, ...]:
    """Whose turn it is in one layer at `at_us` (UTC)."""
    if turns.hours and not within_hours(state, zone, turns.hours, at_us):
        return ()
    if not turns.every_us:
        return turns.members
    try:
        gone_us = local_us(state, zone, at_us) - parse_local(turns.since)
    except InputError:
        return turns.members
    return () if gone_us < 0 else (turns.members[gone_us // turns.every_us % len(turns.members)],)


def gaps(
    state: Projections, team: str, since_us: int, until_us: int, only: str = ""
) -> Iterator[tuple[int, int]]:  # fmt: skip
    """Times (from, until) in which nobody of a team is on call who is there at all; `only` at these hours of the house,
    where they are asked.
    """
    house = zone_of(state)
    points = {*changes(state, team, since_us, until_us), *hours_change(state, house, only, since_us, until_us)}

    def nobody(at_us: int) -> bool:
        asked = not only or within_hours(state, house, only, at_us)
        return asked and not any(state.enrolled(person) for person in on_call(state, team, at_us))

    yield from spans(sorted(points), until_us, nobody)


def spans(points: Iterable[int], until_us: int, holds: Callable[[int], bool]) -> Iterator[tuple[int, int]]:
    """Times (from, until) in which something holds that changes at these points only."""
    began_us = None
    for at_us in points:
        now = holds(at_us)
        if now and began_us is None:
            began_us = at_us
        elif not now and began_us is not None:
            yield began_us, at_us
            began_us = None
    if began_us is not None:
        yield began_us, until_us


def zone_of(state: Projections) -> str:
    """The house's own time zone, in which hours of steps and quiet hours are told."""
    escalating = state.workspace[1].escalation if state.workspace else None
    return "UTC" if escalating is None else escalating.zone


def changes(state: Projections, team: str, since_us: int, until_us: int) -> tuple[int, ...]:
    """Every instant (UTC) from `since_us` to before `until_us` at which other persons may be on call; `since_us` first.

    Between two of them nobody's turn begins or ends. At some of them nothing changes either.
    """
    declared = declared_team(state, team)
    if declared is None:
        return (since_us,)
    covers = [row for row in state.cover.values() if row.team == team and not row.ended]
    found = {since_us, *(at for row in covers for at in (row.since_us, row.until_us))}
    for turns in declared.turns:
        found.update(_instants(state, declared.zone, turns, since_us, until_us))
    return tuple(sorted(at for at in found if since_us <= at < until_us))


def hours_change(state: Projections, zone: str, hours: str, since_us: int, until_us: int) -> tuple[int, ...]:
    """Every instant (UTC) from `since_us` to before `until_us` at which hours may begin or end; `since_us` first."""
    found = _instants(state, zone, rows.Turns((), 0, "", hours), since_us, until_us)
    return tuple(sorted({since_us, *(at for at in found if since_us <= at < until_us)}))


def _instants(state: Projections, zone: str, turns: rows.Turns, since_us: int, until_us: int) -> Iterator[int]:
    offsets = _offsets(state, zone)
    yield from (at for at, _ in offsets)
    # A local time is another instant on either side of a change of the clocks: both are looked at.
    ahead_us = {seconds * 1_000_000 for _, seconds in offsets} or {0}
    for local in _edges(turns, since_us - DAY_US, until_us + DAY_US):
        yield from (local - ahead for ahead in ahead_us)


def _edges(turns: rows.Turns, since_us: int, until_us: int) -> Iterator[int]:
    """The local times between two of them at which a layer may change."""
    try:
        first_us = parse_local(turns.since) if turns.every_us else 0
        within = parse_hours(turns.hours) if turns.hours else ()
    except InputError:
        return
    if turns.every_us:
        begins = max(since_us, first_us)
        yield from range(begins + (first_us - begins) % turns.every_us, until_us, turns.every_us)
    for day_us in range(since_us - since_us % DAY_US, until_us, DAY_US) if within else ():
        for span in within:
            yield from (day_us + span.since_us, day_us + span.until_us)
