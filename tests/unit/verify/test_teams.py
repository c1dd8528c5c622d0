"""Who is on call, told otherwise in the record: a cover nobody signed, another's turn, offsets that no clock has."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failwell.core import kinds
from failwell.core.records import Draft
from failwell.response import teams
from tests.unit.gate.house import DAY_US, HOUR_US, House
from tests.unit.response.test_teams import cover, house, uncover
from tests.unit.verify.test_cases import HEALTHY, found, told

replace = msgspec.structs.replace
COVERED, UNCOVERED, TURNED, ZONES, PAGE = (
    kinds.TeamCovered, kinds.TeamUncovered, kinds.TeamTurned, kinds.TimeZones, kinds.PageQueued4,
)  # fmt: skip


@pytest.fixture(scope="module")
def lived() -> House:
    """A cover by who covers, one by an operator, which its holder ends, and a new week."""
    whole = house()
    cover(whole, "rita", "rita", since=HOUR_US, until=2 * HOUR_US)
    whole.clock.skip(HOUR_US + 60_000_000)
    whole.do(teams.note_turns)
    entry = cover(whole, "olga", "quan", since=2 * HOUR_US, until=2 * DAY_US)
    uncover(whole, "piet", entry)
    whole.clock.skip(7 * DAY_US)
    whole.do(teams.note_turns)
    return whole


def test_honest_covers_and_turns_have_no_finding(lived: House) -> None:
    assert found(lived) == set()
    assert [body.now for body in lived.bodies(TURNED)] == [("piet",), ("rita",), ("quan",)]


@pytest.mark.parametrize(
    ("kind", "number", "fields"),
    [
        (COVERED, 0, {"person": "quan"}),
        (COVERED, 0, {"instead_of": None}),
        (COVERED, 0, {"team": "support"}),
        (COVERED, 0, {"until_us": 2**53}),
        (COVERED, 0, {"since_us": 1}),
        (COVERED, 1, {"person": "rita"}),
        (UNCOVERED, 0, {"person": "olga"}),
        (UNCOVERED, 0, {"cover": 1}),
        (TURNED, 0, {"now": ("quan",)}),
        (TURNED, 1, {"now": ("piet", "rita")}),
        (TURNED, 1, {"was": ()}),
        (TURNED, 2, {"now": ()}),
        (PAGE, 0, {"person": "rita"}),
        (PAGE, 1, {"about": "on-call:support"}),
    ],
)
def test_who_is_on_call_told_otherwise_is_found(lived: House, kind: type, number: int, fields: dict[str, Any]) -> None:
    seq, body = told(lived, kind, number)
    assert found(lived, {seq: replace(body, **fields)})


@pytest.mark.parametrize(("kind", "number"), [(COVERED, 0), (COVERED, 1), (UNCOVERED, 0), (TURNED, 1), (PAGE, 0)])
def test_an_entry_of_it_that_says_something_else_is_found(lived: House, kind: type, number: int) -> None:
    seq, _ = told(lived, kind, number)
    assert found(lived, {seq: HEALTHY})


@pytest.mark.requirement("R10.58")
def test_other_offsets_are_found_where_they_make_another_person_be_on_call() -> None:
    """Attack: the clocks of the record are set so that the night is somebody else's."""
    whole = house()
    whole.clock.skip(4 * DAY_US + 21 * HOUR_US)  # Monday, 09:06 in Berlin
    whole.do(teams.note_turns)
    assert whole.bodies(TURNED)[-1].now == ("quan",)
    seq, body = told(whole, ZONES, 0)
    assert found(whole, {seq: replace(body, zones=(("Europe/Berlin", ((0, -36_000),)),))})
    assert found(whole, {seq: replace(body, zones=(("Europe/Berlin", ((0, 86_400),)),))})
    assert found(whole, {seq: replace(body, zones=(("Europe/Berlin", ((1, 0), (0, 3600))),))})
    assert found(whole, {seq: replace(body, zones=(("Europe/Berlin", ()),))})


@pytest.mark.parametrize("actor", ["person:rita", "node", "response"])
def test_a_cover_that_nobody_signed_is_found(actor: str) -> None:
    """Attack: whoever keeps the log writes that the night was covered by somebody who slept."""
    whole = house()
    now = whole.state.last_at_us
    body = COVERED(team="payments", person="rita", instead_of="piet", since_us=now, until_us=now + DAY_US)
    whole.write(Draft(body=body, actor=actor))
    assert found(whole)


def test_a_turn_that_no_clock_asked_for_is_found() -> None:
    whole = house()
    whole.write(Draft(body=TURNED(team="payments", was=("piet",), now=("rita",)), actor="node"))
    assert {code for code, _ in found(whole)} == {"team.turn"}


@pytest.mark.requirement("R10.57")
def test_an_outsiders_cover_is_found_although_they_signed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: a node that was changed lets anybody take the night."""
    whole = house()
    monkeypatch.setattr(teams, "_need_own", lambda *given: None)
    cover(whole, "sara", "rita")  # an operator may
    assert found(whole) == set()
    cover(whole, "quan", "rita", instead_of=None)
    assert found(whole)
