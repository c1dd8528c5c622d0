"""Whose turn it is and what hours are, by the offsets that stand in the record."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from failwell.core import rows
from failwell.core.errors import InputError
from failwell.core.escalation import calendars, quiet
from failwell.core.hours import DAY_US, MINUTE_US, parse_hours
from failwell.core.state import State
from failwell.node.zones import offsets

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def us(*local: int, zone: ZoneInfo = BERLIN) -> int:
    year, month, day, hour, minute = local
    return int(datetime(year, month, day, hour, minute, tzinfo=zone).timestamp()) * 1_000_000


def state_of(*turns: rows.Turns, zone: str = "Europe/Berlin", night: str = "") -> State:
    state = State()
    escalating = rows.Escalating(teams=(("payments", rows.Team(zone, turns)),), zone=zone, quiet=night)
    state.workspace[1] = rows.Workspace(
        mode="live", origins=((0, "x"),), log_key="", configuration="", configured=None, mail=True, withheld_us=0,
        failed=(), escalation=escalating, zones=(("Europe/Berlin", offsets("Europe/Berlin", NOW)),),
    )  # fmt: skip
    for name in ("anna", "bert", "cleo"):
        state.person[name] = rows.Person(
            key="", roles=(), enrolled=1, contact=None, asked=None, due_us=0, tries=0, verified=None, vouched_by=None,
            left=None, successor=None,
        )  # fmt: skip
    return state


WEEKLY = rows.Turns(("anna", "bert", "cleo"), 7 * DAY_US, "2026-11-23T09:00", "")


@pytest.mark.parametrize(
    ("at", "who"),
    [
        ((2026, 11, 23, 8, 59), ()),
        ((2026, 11, 23, 9, 0), ("anna",)),
        ((2026, 11, 30, 8, 59), ("anna",)),
        ((2026, 11, 30, 9, 0), ("bert",)),
        ((2026, 12, 14, 9, 0), ("anna",)),
        ((2027, 3, 29, 8, 59), ("cleo",)),  # summer time began the day before: it is nine o'clock there, not here
        ((2027, 3, 29, 9, 0), ("anna",)),
    ],
)
@pytest.mark.requirement("R10.52")
def test_a_turn_begins_at_the_local_hour_in_summer_as_in_winter(at: tuple[int, ...], who: tuple[str, ...]) -> None:
    assert calendars.on_call(state_of(WEEKLY), "payments", us(*at)) == who


@pytest.mark.parametrize(
    ("hours", "at", "within"),
    [
        ("Mon-Fri 08:00-18:00", (2026, 11, 23, 8, 0), True),
        ("Mon-Fri 08:00-18:00", (2026, 11, 23, 18, 0), False),
        ("Mon-Fri 08:00-18:00", (2026, 11, 22, 12, 0), False),
        ("22:00-07:00", (2026, 11, 23, 6, 59), True),
        ("22:00-07:00", (2026, 11, 23, 7, 0), False),
        ("Fri 22:00-07:00", (2026, 11, 28, 6, 0), True),  # the night that began on Friday
        ("Fri 22:00-07:00", (2026, 11, 27, 6, 0), False),
        ("Sat-Mon 10:00-12:00", (2026, 11, 22, 11, 0), True),
        ("Mon,Wed 08:00-09:00; Sun 10:00-11:00", (2026, 11, 22, 10, 30), True),
        ("00:00-24:00", (2026, 11, 22, 23, 59), True),
    ],
)
def test_hours_are_local_and_may_cross_midnight(hours: str, at: tuple[int, ...], within: bool) -> None:
    assert calendars.within_hours(state_of(WEEKLY), "Europe/Berlin", hours, us(*at)) is within


@pytest.mark.parametrize("text", ["", "8-18", "Mon 25:00-26:00", "Mo 08:00-18:00", "08:00", "Mon-Fri  08:00-18:00"])
def test_what_are_no_hours_is_said(text: str) -> None:
    with pytest.raises(InputError):
        parse_hours(text)


def test_offsets_are_those_of_the_time_zone_database_at_every_hour_of_three_years() -> None:
    state = state_of(WEEKLY)
    for at_us in range(us(2026, 1, 1, 0, 0), us(2028, 12, 31, 0, 0), 3_600_000_000):
        told = datetime.fromtimestamp(at_us / 1_000_000, BERLIN)
        local = calendars.local_us(state, "Europe/Berlin", at_us)
        assert local // 1_000_000 == int(told.replace(tzinfo=UTC).timestamp()), told


def test_a_zone_that_the_record_does_not_hold_is_told_as_utc() -> None:
    assert calendars.local_us(state_of(WEEKLY), "Asia/Tokyo", 77) == 77


def test_who_covers_is_on_call_instead_and_only_for_that_time() -> None:
    state = state_of(WEEKLY)
    monday = us(2026, 11, 24, 9, 0)
    state.cover[40] = rows.Cover(
        team="payments", person="cleo", instead_of="anna", since_us=monday, until_us=monday + DAY_US
    )
    assert calendars.on_call(state, "payments", monday - 1) == ("anna",)
    assert calendars.on_call(state, "payments", monday) == ("cleo",)
    assert calendars.on_call(state, "payments", monday + DAY_US) == ("anna",)


def test_whoever_is_on_in_any_layer_is_on_call_and_a_gap_is_found() -> None:
    days = rows.Turns(("anna", "bert"), 0, "", "Mon-Fri 08:00-18:00")
    state = state_of(days)
    monday = us(2026, 11, 23, 0, 0)
    assert calendars.on_call(state, "payments", us(2026, 11, 23, 12, 0)) == ("anna", "bert")
    assert list(calendars.gaps(state, "payments", monday, monday + DAY_US)) == [
        (monday, us(2026, 11, 23, 8, 0)), (us(2026, 11, 23, 18, 0), monday + DAY_US),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("severity", "marks", "at", "until"),
    [
        ("minor", {}, (2026, 11, 23, 23, 0), (2026, 11, 24, 7, 0)),
        ("minor", {}, (2026, 11, 24, 6, 0), (2026, 11, 24, 7, 0)),
        ("minor", {}, (2026, 11, 24, 7, 0), (2026, 11, 24, 7, 0)),
        ("minor", {"CONTAINMENT_FAILED": 9}, (2026, 11, 23, 23, 0), (2026, 11, 23, 23, 0)),
        ("major", {}, (2026, 11, 23, 23, 0), (2026, 11, 23, 23, 0)),
        ("critical", {}, (2026, 11, 23, 23, 0), (2026, 11, 23, 23, 0)),
    ],
)
def test_quiet_hours_hold_back_what_is_minor_and_never_a_stop_that_failed(
    severity: str, marks: dict[str, int], at: tuple[int, ...], until: tuple[int, ...]
) -> None:
    case = rows.Incident(
        kind="real", severity=severity, state="OPEN", title="", agent="", opened=1, onset_first=1, onset_last=1,
        response=(), marks=marks, waiting=(), signals=1, proposed_by=None, proposal=None, stopped_by=(),
    )  # fmt: skip
    state = state_of(WEEKLY, night="22:00-07:00")
    assert quiet.until_us(state, case, us(*at)) == us(*until)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.requirement("R12.6")
def test_gaps_and_changes_are_those_that_looking_at_each_quarter_of_an_hour_finds(seed: int) -> None:
    """The rotation is planted at random, over a change of the clocks; who is on call is asked at every quarter."""
    chance = random.Random(seed)
    hours = ("", "Mon-Fri 08:00-18:00", "22:00-06:00", "Sat,Sun 00:00-24:00", "Mon 09:15-12:45; Sun 01:30-03:30")
    turns = tuple(
        rows.Turns(
            ("anna", "bert", "zoe"), chance.choice((0, 12, 24, 7 * 24)) * 3600 * 1_000_000, "2027-03-25T09:30",
            chance.choice(hours),
        )
        for _ in range(chance.randint(1, 2))
    )  # fmt: skip
    state = state_of(*turns)
    begin, end = us(2027, 3, 26, 0, 0), us(2027, 3, 30, 0, 0)
    quarters = range(begin, end, 15 * MINUTE_US)
    here = {at: [each for each in calendars.on_call(state, "payments", at) if each != "zoe"] for at in quarters}
    empty = {
        at for since, until in calendars.gaps(state, "payments", begin, end) for at in quarters if since <= at < until
    }
    assert empty == {at for at in quarters if not here[at]}
    points = calendars.changes(state, "payments", begin, end)
    assert {at for at in quarters[1:] if here[at] != here[at - 15 * MINUTE_US]} <= set(points)
