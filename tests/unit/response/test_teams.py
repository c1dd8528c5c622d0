"""Who is on call: by turns, covers and people's orders, what is written down of it, and who is told."""

from __future__ import annotations

from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.core.errors import FailwellError
from failwell.core.escalation.calendars import on_call
from failwell.core.instants import format_at
from failwell.core.records import Draft
from failwell.identity import persons
from failwell.node.zones import zones_of_text
from failwell.response import teams
from failwell.response.said import Said
from failwell.response.team_letters import team_letter
from failwell.response.team_told import team_told
from tests.unit.gate.house import DAY_US, HOUR_US, MINUTE_US, House
from tests.unit.response.asking import FATAL, house_of, path, step

#: 18 November 2026, 11:06 UTC, a Wednesday, is when the house opens.
WEEKLY = {"members": ["piet", "quan", "rita"], "every": "1w", "since": "2026-11-16T09:00"}


def settings(*turns: dict[str, Any], zone: str = "Europe/Berlin") -> dict[str, Any]:
    return {
        **path(step("team:payments")),
        "teams": [["payments", {"timezone": zone, "turns": list(turns or (WEEKLY,))}]],
    }


def house(*turns: dict[str, Any]) -> House:
    found = house_of(settings(*turns))
    (told,) = zones_of_text(found.bodies(kinds.Config)[-1].text, found.state.last_at_us)
    found.write(told)
    found.do(teams.note_turns)
    return found


def on(found: House) -> tuple[str, ...]:
    return on_call(found.state, "payments", found.state.last_at_us)


def cover(
    found: House, signer: str, person: str, instead_of: str | None = "piet", since: int = 0, until: int = DAY_US
) -> int:  # fmt: skip
    now = found.state.last_at_us
    details = orders.TeamCover(
        team="payments",
        person=person,
        instead_of=instead_of,
        since=format_at(now + since),
        until=format_at(now + until),
    )
    signed = found.sign(signer, "team.cover", details)
    entry: int = found.do(teams.JOBS["team.cover"](signed, persons.verify_order, Said()))
    return entry


def uncover(found: House, signer: str, entry: int) -> int:
    signed = found.sign(signer, "team.uncover", orders.TeamUncover(cover=entry))
    ended: int = found.do(teams.JOBS["team.uncover"](signed, persons.verify_order, Said()))
    return ended


def written_to(found: House, about: str) -> list[str]:
    return [body.person for body in found.bodies(kinds.PageQueued4) if body.about.startswith(about)]


def test_whoever_comes_on_is_written_down_once_and_told_once() -> None:
    found = house()
    assert [body.now for body in found.bodies(kinds.TeamTurned)] == [("piet",)]
    assert found.do(teams.note_turns) == 0
    found.clock.skip(7 * DAY_US)
    assert found.do(teams.note_turns) == 1
    assert [(body.was, body.now) for body in found.bodies(kinds.TeamTurned)] == [
        ((), ("piet",)),
        (("piet",), ("quan",)),
    ]
    assert written_to(found, "on-call:payments") == ["piet", "quan"]


def test_a_cover_takes_the_turn_for_its_time_and_gives_it_back() -> None:
    found = house()
    cover(found, "rita", "rita", since=HOUR_US, until=2 * HOUR_US)
    assert on(found) == ("piet",)
    found.clock.skip(HOUR_US + MINUTE_US)
    found.do(teams.note_turns)
    assert on(found) == ("rita",)
    found.clock.skip(HOUR_US)
    found.do(teams.note_turns)
    assert on(found) == ("piet",)
    assert [body.now for body in found.bodies(kinds.TeamTurned)] == [("piet",), ("rita",), ("piet",)]


@pytest.mark.requirement("R10.56")
def test_whoever_is_relieved_by_somebody_elses_word_is_told() -> None:
    """Attack: the night's turn is taken from whoever would have answered, and nobody knows until morning."""
    found = house()
    cover(found, "rita", "rita")
    assert written_to(found, "cover:") == ["piet"]  # rita signed for it herself
    entry = cover(found, "olga", "quan", instead_of=None)
    assert written_to(found, f"cover:{entry}") == ["quan"]


@pytest.mark.parametrize(
    ("signer", "given", "said"),
    [
        ("quan", {"person": "rita"}, "rita or an operator"),
        ("piet", {"person": "quan"}, "quan or an operator"),
        ("rita", {"person": "rita"}, "covering for payments from outside it is for an operator"),
        ("quan", {"person": "quan", "instead_of": "sara"}, "sara is not in team payments"),
        ("quan", {"person": "quan", "instead_of": "quan"}, "cannot cover for themselves"),
        ("quan", {"person": "quan", "since": 2 * HOUR_US, "until": HOUR_US}, "over before it begins"),
        ("quan", {"person": "quan", "since": -2 * HOUR_US, "until": -HOUR_US}, "over before it begins"),
        ("quan", {"person": "quan", "until": 93 * DAY_US}, "at most 92 days"),
        ("olga", {"person": "nobody"}, "not enrolled"),
    ],
)
@pytest.mark.requirement("R10.54", "R10.55")
def test_nobody_puts_another_on_call_or_takes_a_turn_from_outside(signer: str, given: Any, said: str) -> None:
    found = house({**WEEKLY, "members": ["piet", "quan"]})
    before = found.state.size
    with pytest.raises(FailwellError, match=said):
        cover(found, signer, **given)
    assert found.state.size == before


def test_a_cover_does_not_change_who_was_on_call_before_it() -> None:
    found = house()
    cover(found, "rita", "rita", since=-3 * HOUR_US, until=HOUR_US)
    assert on_call(found.state, "payments", found.state.last_at_us - HOUR_US) == ("piet",)


def test_a_cover_is_ended_by_whom_it_is_about_or_an_operator_and_by_nobody_else() -> None:
    found = house()
    entry = cover(found, "rita", "rita")
    with pytest.raises(FailwellError, match="rita or piet or an operator"):
        uncover(found, "quan", entry)
    uncover(found, "piet", entry)
    assert on(found) == ("piet",)
    assert written_to(found, f"cover:{entry}") == ["piet", "rita"]
    with pytest.raises(FailwellError, match="is over"):
        uncover(found, "piet", entry)
    with pytest.raises(FailwellError, match="is no cover"):
        uncover(found, "olga", 1)


@pytest.mark.requirement("R10.53")
def test_the_turn_is_its_holders_again_when_who_covers_has_left() -> None:
    """Attack: the night is covered by somebody who leaves, and the pages go to nobody."""
    found = house()
    cover(found, "rita", "rita")
    found.reached("piet")
    found.write(Draft(body=kinds.PersonLeft(person="rita", why="gone", successor="piet"), actor="person:olga"))
    assert on(found) == ("piet",)


def test_the_turn_of_who_has_left_is_of_who_follows_them() -> None:
    found = house()
    found.reached("quan")
    found.write(Draft(body=kinds.PersonLeft(person="piet", why="gone", successor="quan"), actor="person:olga"))
    assert on(found) == ("quan",)
    cover(found, "rita", "rita", instead_of="quan")
    assert on(found) == ("rita",)


def test_a_step_asks_whoever_covers() -> None:
    found = house()
    cover(found, "rita", "rita")
    found.ask(found.run(), FATAL)
    assert found.bodies(kinds.EscalationStepped)[0].persons == ("rita",)


def test_a_team_with_nobody_on_call_is_asked_whole() -> None:
    """Attack: coverage that is broken is silence."""
    found = house({**WEEKLY, "since": "2027-01-04T09:00"})
    assert on(found) == ()
    found.ask(found.run(), FATAL)
    assert found.bodies(kinds.EscalationStepped)[0].persons == ("piet", "quan", "rita")


def test_what_is_told_of_a_team_is_who_is_on_next_and_where_nobody_is() -> None:
    found = house({**WEEKLY, "hours": "Mon-Fri 00:00-24:00"})
    told = team_told(found.state, "payments", found.state.last_at_us)
    assert told is not None
    assert told.on_call == ("piet",)
    assert [(shift.at[:16], shift.persons) for shift in told.next[:3]] == [
        ("2026-11-20T23:00", ()), ("2026-11-22T23:00", ("piet",)), ("2026-11-23T08:00", ("quan",)),
    ]  # fmt: skip
    assert told.gaps[0] == ("2026-11-20T23:00:00.000000Z", "2026-11-22T23:00:00.000000Z")


def test_the_letter_says_until_when_who_is_next_and_what_nobody_has() -> None:
    found = house()
    found.ask(found.run(), FATAL)
    found.clock.skip(5 * DAY_US)
    found.do(teams.note_turns)
    page = next(row for row in found.state.page.values() if row.about == "on-call:payments" and row.person == "quan")
    letter = team_letter(found.state, page, found.state.last_at_us, b"")
    lines = letter.text.splitlines()
    assert (
        lines[0] == "quan, you are on call for payments from now on until 2026-11-30 09:00 (Europe/Berlin), then rita."
    )
    assert lines[1] == "You are asked to: take what nobody has. Run: failwell incident show 1"
    assert "1 open, 1 of them taken by nobody:" in lines
    assert any(line.startswith("- 1 (critical, nobody has it): ") for line in lines)


def test_settings_with_a_zone_bring_its_offsets_into_their_own_commit() -> None:
    text = house_of(settings()).bodies(kinds.Config)[-1].text
    (draft,) = zones_of_text(text, 1_795_000_000_000_000)
    assert isinstance(draft.body, kinds.TimeZones)
    assert [zone for zone, _ in draft.body.zones] == ["Europe/Berlin"]
    assert zones_of_text(house_of(settings(zone="UTC")).bodies(kinds.Config)[-1].text, 0) == ()
