"""A call that was cut off: run again only where its contracts say that this does no harm, judged anew, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from failwell.core import kinds
from failwell.core.errors import Corrupt
from failwell.core.records import Draft
from failwell.gate.verdicts import Verdict
from failwell.verify.resumed import Repeats
from tests.unit.gate.house import AGENT, OTHER, RULES, SMALL, TOOLS, House, open_house
from tests.unit.gate.test_runs import adopt

HARMLESS = TOOLS.replace("effect: irreversible", "effect: irreversible\n    idempotent: true")
#: How an action ends that nobody wanted to end.
CUT = ({"state": "unknown", "by": "recovery"}, {"state": "interrupted_confirmed", "by": "recovery"},
       {"state": "unknown", "by": "supervisor"})  # fmt: skip
#: How one ends that came to the end which somebody wanted.
ENDED = (
    {"state": "completed"}, {"state": "failed"}, {"state": "blocked"}, {"state": "interrupted_confirmed"},
    {"state": "interrupted_unconfirmed"}, {"state": "completed_after_interrupt", "by": "recovery"},
)  # fmt: skip


@pytest.fixture
def house() -> Iterator[House]:
    made = open_house(RULES, tools=HARMLESS)
    yield made
    made.close()


def cut_off(house: House, run: int, **ending: Any) -> tuple[Any, Verdict]:
    """A call that was allowed and ended so."""
    proposal = house.proposal(run, call="once")
    first = house.decide(proposal)
    assert first.verdict == "ALLOW"
    house.settle(first.entry, **(ending or CUT[0]))
    return proposal, first


@pytest.mark.parametrize("ending", CUT)
def test_a_harmless_call_that_was_cut_off_runs_once_more_and_the_new_one_stands_for_it(
    house: House, ending: dict[str, Any]
) -> None:
    run = house.run()
    proposal, first = cut_off(house, run, **ending)
    again = house.decide(proposal)
    assert (again.verdict, again.repeated, again.state) == ("ALLOW", False, "open")
    assert again.entry > first.entry
    assert first.entry in [ref.seq for ref in house.entries(again.entry)[0].refs], "it says what it runs again"
    third = house.decide(proposal)
    assert (third.entry, third.repeated, third.state) == (again.entry, True, "open"), "not a third time"
    house.reopen()
    assert house.decide(proposal).entry == again.entry, "nor after a restart"
    house.settle(again.entry, "completed")
    assert house.decide(proposal).state == "completed"


@pytest.mark.parametrize("ending", ENDED)
@pytest.mark.requirement("R8.26")
def test_what_came_to_an_end_is_not_run_again_though_it_were_harmless(house: House, ending: dict[str, Any]) -> None:
    proposal, first = cut_off(house, house.run(), **ending)
    again = house.decide(proposal)
    assert (again.entry, again.repeated, again.state) == (first.entry, True, ending["state"])


@pytest.mark.requirement("R8.15")
def test_a_call_that_does_harm_twice_is_told_as_unknown_for_ever() -> None:
    house = open_house(RULES)
    proposal, first = cut_off(house, house.run())
    again = house.decide(proposal)
    assert (again.entry, again.repeated, again.state) == (first.entry, True, "unknown")
    house.close()


def test_every_contract_of_the_chain_must_call_it_harmless(house: House) -> None:
    house.register(OTHER)
    adopt(house, OTHER)  # of the tools that do harm twice
    adopt(house, AGENT, delegates=("other-bot",), version=2)
    parent = house.run()
    run = house.run(OTHER, parent=parent)
    proposal = house.proposal(run, call="once", agent=OTHER)
    first = house.decide(proposal)
    house.settle(first.entry, **CUT[0])
    assert house.decide(proposal).repeated


def test_an_agent_that_was_stopped_meanwhile_never_runs_it_again_and_is_not_denied_for_asking(house: House) -> None:
    run = house.run()
    proposal, first = cut_off(house, run)
    house.suspend("piet")
    size = house.state.size
    again = house.decide(proposal)
    assert (again.entry, again.repeated, again.state) == (first.entry, True, "unknown")
    assert house.state.size == size, "to ask what became of a call is nothing to be recorded"


@pytest.mark.requirement("R8.27")
def test_what_the_contract_forbids_by_now_stays_unknown(house: House) -> None:
    run = house.run()
    proposal, first = cut_off(house, run)
    for _ in range(5):
        house.settle(house.ask(run).entry)
    again = house.decide(proposal)  # the limit of six an hour is reached: the first still counts
    assert (again.entry, again.repeated) == (first.entry, True)
    assert house.ask(run).verdict == "DENY"


def test_other_arguments_under_the_id_of_a_call_that_was_cut_off_are_denied(house: House) -> None:
    run = house.run()
    _, first = cut_off(house, run)
    other = house.decide(house.proposal(run, SMALL, call="once"))
    assert (other.verdict, other.clauses) == ("DENY", ("call.reused",))
    assert other.entry != first.entry


def test_two_callers_who_repeat_it_at_once_run_it_once(house: House) -> None:
    run = house.run()
    proposal, _ = cut_off(house, run)
    one, two = house.batch(house.gate.decide(proposal), house.gate.decide(proposal))
    assert (one.repeated, two.repeated) == (False, True)
    assert one.entry == two.entry


def test_a_second_decision_without_the_right_to_it_does_not_fold_and_is_found(house: House) -> None:
    run = house.run()
    proposal, first = cut_off(house, run, state="completed")
    forged = house.entries(first.entry)[0].body
    rules = Repeats()
    for entry in house.entries():
        assert rules.fault(entry, house.state) is None or entry.seq == first.entry
    entry = msgspec.structs.replace(house.entries(first.entry)[0], seq=house.state.size)
    assert "was not cut off" in (rules.fault(entry, house.state) or "")
    del proposal
    open_one = house.decide(house.proposal(run, call="open"))
    body = house.entries(open_one.entry)[0].body
    with pytest.raises(Corrupt, match="a second time"):
        house.write(Draft(body=body, actor="gate", agent=AGENT, run=run))
    assert isinstance(forged, kinds.Decision2)
