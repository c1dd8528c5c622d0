"""What a letter says of the others: who was asked before its reader, what became of it, who is next and when."""

from __future__ import annotations

import pytest

from failwell.core import kinds
from failwell.core.records import Draft
from failwell.response.asked_before import asked_lines
from failwell.response.case_letters import case_letter
from failwell.response.escalation_told import look, told
from tests.unit.gate.house import AGENT, HOUR_US, MINUTE_US, House
from tests.unit.response import asking
from tests.unit.response.asking import after, opened, path, step
from tests.unit.response.test_account import told as account_of
from tests.unit.response.test_letters import newest

PATH = path(step("person:rita", ack_within_s=60), step("person:quan", ack_within_s=60, by=["email", "room"]))
ROOM = {"channels": [["room", {"kind": "slack"}]]}


def lines(house: House, reader: str) -> list[str]:
    return asked_lines(told(1, look(house.state, 1)), reader)


def bounce(house: House, page: int) -> None:
    body = kinds.PageBounced(page=page, permanent=True, detail="5.1.1 no such user", message="ab" * 32)
    house.write(Draft(body=body, actor="node", agent=AGENT))


@pytest.fixture
def house() -> House:
    return opened(PATH | ROOM)


@pytest.mark.requirement("R10.63")
def test_who_was_asked_and_who_is_next_when(house: House) -> None:
    owner, first = (body.page for body in reversed(house.bodies(kinds.PageQueued4)))
    assert lines(house, "rita") == [
        "Asked too: olga (by mail; on its way).",
        f"Next at {_at(house, MINUTE_US)} UTC, unless somebody takes it before: quan.",
    ]
    asking.attempt(house, first, accepted=True)
    asking.attempt(house, owner, accepted=False, permanent=True)
    after(house, MINUTE_US)
    said = lines(house, "quan")
    assert said[0] == "Asked too: rita (by mail; no answer yet), olga (by mail; could not be reached)."
    assert said[1].startswith("Next at ")
    assert said[1].endswith(" unless somebody takes it before: olga, piet, rita, sara and you again.")
    assert lines(house, "rita")[0].startswith(
        "Asked too: olga (by mail; could not be reached), quan (by mail and room;"
    )


def test_a_mail_that_came_back_is_told_as_that(house: House) -> None:
    pages = [body.page for body in house.bodies(kinds.PageQueued4)]
    for page in pages:
        asking.attempt(house, page, accepted=True)
    bounce(house, pages[0])
    said = lines(house, "quan")[0]
    assert "; it came back)" in said
    assert "; no answer yet)" in said


def test_whoever_is_asked_anew_reads_why_and_for_the_how_maniest_time(house: House) -> None:
    house.acknowledge("rita")
    assert lines(house, "quan")[-1].startswith("If nothing is heard of it until ")
    after(house, 4 * HOUR_US)
    first = lines(house, "quan")[0]
    assert first.startswith("It is asked anew, for the second time: it was taken, and nothing was heard since. ")


def test_a_letter_tells_it_below_what_is_asked(house: House) -> None:
    page = house.state.page[max(house.state.page)]
    said = lines(house, page.person)
    text = case_letter(account_of(house), page, newest(house), said).text
    assert text.index("You are asked to: ") < text.index(said[0]) < text.index(said[1]) < text.index("Everything: ")
    assert "Told too" not in text


def test_nothing_is_said_of_what_is_over_or_never_asked() -> None:
    assert lines(opened(amount=asking.TINY), "rita") == []


def _at(house: House, later_us: int) -> str:
    from failwell.core.instants import format_at

    at = format_at(house.state.escalation[1].stepped_us + later_us)
    return f"{at[:10]} {at[11:16]}"
