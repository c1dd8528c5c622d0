"""What people read of an escalation: who was asked, what became of it, who is next when, and who has it no more."""

from __future__ import annotations

import pytest

from failwell.core import kinds
from failwell.core.escalation import due
from failwell.core.instants import format_at
from failwell.core.records import Draft
from failwell.response.account import Account, account
from failwell.response.case_letters import case_letter
from failwell.response.escalation_told import EscalationTold, look, told
from failwell.response.steps import tell
from tests.unit.gate.house import AGENT, HOUR_US, MINUTE_US, House
from tests.unit.response import asking
from tests.unit.response.asking import after, opened, path, step
from tests.unit.response.test_letters import newest

PATH = path(
    step("person:rita", ack_within_s=60), step("team:nobody"), step("person:quan", ack_within_s=60, require="all"),
)  # fmt: skip


def shown(house: House) -> EscalationTold:
    found = told(1, look(house.state, 1))
    assert found is not None
    return found


def tale(house: House) -> Account:
    return account(
        1, house.state.incident[1], house.agent(), house.entries(), stated_ms=50, reveal=lambda token: token,
        asking=house.state.escalation[1].state == due.ASKING,
    )  # fmt: skip


def test_who_was_asked_what_was_passed_over_and_who_is_next_when() -> None:
    house = opened(PATH)
    found = shown(house)
    assert found.next is not None
    assert (found.next.at, found.next.persons, found.next.step) == (
        format_at(house.state.last_at_us + MINUTE_US), ("quan",), 3,
    )  # fmt: skip
    after(house, MINUTE_US)
    found = shown(house)
    assert [(each.notify, each.state, each.persons) for each in found.steps] == [
        ("person:rita", "asked", ("rita",)), ("team:nobody", "passed", ()), ("person:quan", "asking", ("quan",)),
        ("house", "to come", ()),
    ]  # fmt: skip
    assert found.next is not None
    assert (found.next.step, found.next.again) == (4, False)
    assert found.total_ms == (60 + 15 * 60 + 60) * 1000


def test_what_is_told_to_come_is_what_comes() -> None:
    house = opened(PATH)
    for _ in range(6):
        foreseen = due.foreseen(house.state, 1)
        assert foreseen is not None
        after(house, foreseen.at_us - house.state.last_at_us)
        taken = house.bodies(kinds.EscalationStepped)[-1]
        assert (taken.step, taken.round, taken.persons) == (foreseen.step, foreseen.round, foreseen.persons)
    house.acknowledge("rita")
    foreseen = due.foreseen(house.state, 1)
    assert foreseen is not None
    assert foreseen.again
    after(house, foreseen.at_us - house.state.last_at_us)
    assert house.bodies(kinds.EscalationStepped)[-1].persons == ("rita",)


def test_nobody_is_next_about_what_is_over_or_was_never_asked() -> None:
    house = opened(amount=asking.TINY)
    assert told(1, look(house.state, 1)) is None


@pytest.mark.requirement("R10.38")
def test_after_silence_the_letter_and_the_account_say_that_nobody_has_it() -> None:
    """Attack: whoever is asked anew reads that rita has it, and sleeps on."""
    house = opened(PATH)
    house.acknowledge("rita")
    assert shown(house).asked == ()
    after(house, 4 * HOUR_US)
    page = house.state.page[max(house.state.page)]
    letter = case_letter(tale(house), page, newest(house))
    first, second = letter.text.split("\n")[:2]
    assert first.startswith("rita took it, and was not heard of since. What happened: ")
    assert second == "You are asked to: take it. Run: failwell incident acknowledge 1"
    assert "rita had it, and nobody has it now." in letter.text
    assert shown(house).asked == (
        "Nobody has it any more (it was taken, and nothing was heard since): failwell incident acknowledge 1",
    )


def test_where_more_of_them_have_to_take_it_that_is_asked() -> None:
    house = opened(path(step("role:approver", require="2")))
    house.acknowledge("piet")
    assert shown(house).asked == (
        "piet took it, and more of those who were asked have to: failwell incident acknowledge 1",
    )
    assert shown(house).took == ("piet",)


def test_a_letter_that_came_back_told_nobody() -> None:
    house = opened(PATH)
    page = house.bodies(kinds.PageQueued4)[0].page
    asking.attempt(house, page, accepted=True)
    assert tale(house).told[0].at is not None
    body = kinds.PageBounced(page=page, permanent=True, detail="5.1.1 no such user", message="ab" * 32)
    house.write(Draft(body=body, actor="node", agent=AGENT))
    assert tale(house).told[0].at is None
    assert "no such user" in tale(house).told[0].detail


def test_the_timeline_tells_each_step_and_what_it_passed_over() -> None:
    house = opened(PATH)
    after(house, MINUTE_US)
    house.acknowledge("quan")
    lines = [tell(entry.body) for entry in house.entries() if isinstance(entry.body, asking.ASKED)]
    assert lines == [
        ("escalation begun", "path of the house"),
        ("people asked", "step 1: rita by email"),
        ("people asked", "step 3: nobody in time: quan by email; passed over: step 2"),
        ("asking ended", "taken by quan"),
    ]
