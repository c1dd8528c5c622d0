"""Duties to inform: the data, what is due when, who may say what, and what a verifier finds."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from failwell.core import kinds, orders
from failwell.core.errors import Corrupt, NotFound, Refused
from failwell.core.instants import format_at
from failwell.core.records import Draft
from failwell.identity import persons
from failwell.response import clocks, legal_periods
from failwell.response.said import Said
from failwell.verify.clocks import order_fault
from tests.unit.gate.house import House
from tests.unit.response.asking import FATAL, opened

HOUR_US = 3_600_000_000
GDPR = legal_periods.named("gdpr-33")


def give(house: House, person: str, kind: str, details: orders.Details) -> Any:
    signed = house.sign(person, kind, details)
    return house.do(clocks.JOBS[kind](signed, persons.verify_order, Said()))


def start(house: House, person: str = "olga", clock: str = "gdpr-33", ago_us: int = 0, data: str | None = None) -> Any:
    found = legal_periods.named(clock)
    aware_us = house.state.last_at_us - ago_us
    details = orders.ClockStart(
        incident=1, clock=clock, data=data or found.digest, aware=format_at(aware_us), deadlines=found.shown(aware_us)
    )
    return give(house, person, "clock.start", details)


def meet(house: House, person: str = "olga", deadline: str = "authority", **more: Any) -> Any:
    plain: dict[str, Any] = {
        "incident": 1, "clock": "gdpr-33", "deadline": deadline, "told": "the authority",
        "at": format_at(house.state.last_at_us), "complete": False, "words": None,
    }  # fmt: skip
    return give(house, person, "clock.meet", orders.ClockMeet(**(plain | more)))


def after(house: House, us: int) -> list[tuple[str, str, int | None]]:
    """What the clock says after so much time."""
    first = house.state.size
    house.clock.skip(us)
    while house.do(clocks.tick):
        pass
    return [
        (type(body).__name__, body.deadline, getattr(body, "left_us", None))
        for entry in house.entries(first)
        if isinstance(body := entry.body, kinds.ClockReminded | kinds.ClockMissed)
    ]


def test_every_period_names_its_law_the_day_it_was_read_and_what_it_counts_from() -> None:
    found = legal_periods.known()
    assert {"eu-ai-act-73", "eu-ai-act-73-death", "eu-ai-act-73-infrastructure", "gdpr-33", "gdpr-34", "nis2-23",
            "dora-19", "hipaa-breach"} <= set(found)  # fmt: skip
    for each in found.values():
        assert "Article" in each.period.law or "CFR" in each.period.law
        assert each.period.aware
        assert each.period.applies
        assert each.period.read_on.year >= 2026
        assert len({due.name for due in each.period.deadlines}) == len(each.period.deadlines)
        assert "counsel" in each.told()["counsel"]


@pytest.mark.parametrize(
    ("clock", "within"),
    [
        ("eu-ai-act-73", [15 * 24]), ("eu-ai-act-73-infrastructure", [2 * 24]), ("eu-ai-act-73-death", [10 * 24]),
        ("gdpr-33", [72]), ("nis2-23", [24, 72, 672]), ("dora-19", [4, 72, 672]), ("hipaa-breach", [1440, 1440]),
    ],
)  # fmt: skip
def test_deadlines_are_counted_from_awareness(clock: str, within: list[int]) -> None:
    due = legal_periods.named(clock).due(1_000_000)
    assert [(each.due_us - 1_000_000) // HOUR_US for each in due] == within


@pytest.mark.requirement("R17.4")
def test_people_are_reminded_as_time_runs_out_once_each_and_what_was_missed_is_on_record() -> None:
    house = opened(amount=FATAL)
    start(house)
    assert after(house, 35 * HOUR_US) == []
    assert after(house, HOUR_US) == [("ClockReminded", "authority", 36 * HOUR_US)]
    assert after(house, HOUR_US) == []
    assert after(house, 12 * HOUR_US) == [("ClockReminded", "authority", 24 * HOUR_US)]
    assert after(house, 20 * HOUR_US) == [("ClockReminded", "authority", 4 * HOUR_US)]
    assert after(house, 4 * HOUR_US) == [("ClockMissed", "authority", None)]
    assert after(house, 400 * HOUR_US) == []
    told = {(body.about, body.person) for body in house.bodies(kinds.PageQueued3) if body.about == "clock"}
    assert ("clock", "olga") in told
    assert "sara" in {person for _, person in told}, "who runs the house is told too"


def test_a_node_that_was_away_says_the_latest_and_not_each_of_them() -> None:
    house = opened(amount=FATAL)
    start(house)
    assert after(house, 70 * HOUR_US) == [("ClockReminded", "authority", 4 * HOUR_US)]


def test_whom_it_is_about_was_informed_in_time_or_late_and_is_reminded_of_no_more() -> None:
    house = opened(amount=FATAL)
    start(house, ago_us=25 * HOUR_US)
    start(house, clock="nis2-23", ago_us=25 * HOUR_US)
    meet(house)
    assert house.bodies(kinds.ClockMet)[0].late_us == 0
    with pytest.raises(Refused, match="met already"):
        meet(house)
    meet(house, clock="nis2-23", deadline="early-warning")
    assert house.bodies(kinds.ClockMet)[1].late_us == HOUR_US
    assert {deadline for _, deadline, _ in after(house, 1000 * HOUR_US)} == {"notification", "final-report"}


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (lambda house: start(house, data="0" * 64), "another release"),
        (lambda house: start(house, ago_us=-HOUR_US), "still to come"),
        (lambda house: start(house, person="quan"), "operator"),
        (lambda house: (start(house), start(house)), "runs for incident 1 already"),
        (lambda house: (start(house), meet(house, deadline="nobody")), "no deadline"),
        (meet, "no clock"),
        (lambda house: (start(house), meet(house, at="2020-01-01T00:00:00.000000Z")), "before it was known of"),
        (lambda house: (start(house, clock="gdpr-34"), meet(house, clock="gdpr-34", deadline="persons")), "incomplete"),
    ],
)  # fmt: skip
@pytest.mark.requirement("R17.6")
def test_what_cannot_be_said_of_a_duty_is_refused(wrong: Any, match: str) -> None:
    house = opened(amount=FATAL)
    before = house.state.size
    with pytest.raises((Refused, NotFound), match=match):
        wrong(house)
    assert house.state.size <= before + 2


@pytest.mark.requirement("R17.5")
def test_who_says_that_a_duty_applies_is_not_who_says_that_it_does_not() -> None:
    house = opened(amount=FATAL)
    start(house)
    details = orders.ClockEnd(incident=1, clock="gdpr-33", reason="no personal data was touched")
    for person in ("olga", "sara"):
        with pytest.raises(Refused):
            give(house, person, "clock.end", details)
    body = kinds.ClockEnded(incident=1, clock="gdpr-33", person="olga", why="-")
    with pytest.raises(Corrupt):
        house.write(Draft(body=body, actor="person:olga", agent=house.state.incident[1].agent))
    give(house, "piet", "clock.end", details)
    assert after(house, 100 * HOUR_US) == []


@pytest.mark.requirement("R17.5")
def test_an_approver_who_started_a_clock_does_not_end_it_by_another_name_either() -> None:
    house = opened(amount=FATAL)
    house.enrol("sara", "operator", "approver")
    house.signers["twin"] = persons.Signer("twin", house.signers["sara"].key)
    house.enrol("twin", "operator", "approver")
    start(house, "sara")
    for person in ("sara", "twin"):
        with pytest.raises(Refused, match="started this clock"):
            give(house, person, "clock.end", orders.ClockEnd(incident=1, clock="gdpr-33", reason="none"))
    assert house.state.clock["1/gdpr-33"].state == "running"


def test_a_duty_that_nobody_ordered_or_that_was_not_missed_is_not_written() -> None:
    house = opened(amount=FATAL)
    start(house)
    due_us = house.state.clock["1/gdpr-33"].deadlines[0].due_us
    agent = house.state.incident[1].agent
    for body in (
        kinds.ClockMissed(incident=1, clock="gdpr-33", deadline="authority", due_us=due_us),
        kinds.ClockReminded(incident=1, clock="gdpr-33", deadline="nobody", left_us=1),
        kinds.ClockReminded(incident=1, clock="nis2-23", deadline="authority", left_us=1),
    ):
        with pytest.raises(Corrupt):
            house.write(Draft(body=body, actor="node", agent=agent))


def test_a_deadline_that_is_not_the_one_that_was_signed_is_found() -> None:
    """Attack: who keeps the log puts off what a person signed to be due."""
    house = opened(amount=FATAL)
    start(house)
    started = next(entry for entry in house.entries() if isinstance(entry.body, kinds.ClockStarted))
    signed = orders.parse_order(house.entries()[started.seq - 1].body.text)
    assert order_fault(started, started.body, signed, house.state) is None
    (due,) = started.body.deadlines
    for other in (replace(due, due_us=due.due_us + HOUR_US), replace(due, incomplete=not due.incomplete)):
        body = replace(started.body, deadlines=(other,))
        assert order_fault(replace(started, body=body), body, signed, house.state) is not None
