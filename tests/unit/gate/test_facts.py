"""Facts that a contract asks trusted sources for: questions first, then a verdict on answers that are good for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.contract import Looked
from failwell.gate.verdicts import Asked, Unanswered, Verdict
from failwell.replay.steps import NO_SOURCES
from tests.unit.gate.house import House, contract_text, open_house

TOOLS = """
  - tool: payments.refund
    effect: irreversible
    executor: supervised
    custody: none
    deadline: 10s
    arguments: {customer_id: "string(1..200)", order_id: "string(1..40)", amount: "money(2, 0..10000)"}
    public: [amount%s]
    facts:
      paid: {lookup: orders.paid, with: [order_id], type: "money(2, 0..10000)"}
      known: {lookup: customers.known, with: [customer_id], type: bool}
"""
RULES = """
clauses:
  - {id: over-refund, deny: payments.refund, when: context.args.amount > context.facts.paid, severity: minor}
  - {id: stranger, escalate: payments.refund, when: "!context.facts.known", severity: minor}
"""


@pytest.fixture
def house() -> Iterator[House]:
    made = open_house(RULES, tools=TOOLS % "")
    yield made
    made.close()


def answered(value: Any, source: str = "orders.paid", state: Any = "answered") -> Looked:
    return Looked(source=source, state=state, elapsed_us=900, value=value, detail="" if state == "answered" else "why")


def said(house: House, proposal: Any, **more: Looked) -> Verdict:
    """The verdict once the sources said these things, and else that all is well."""
    unanswered = house.do(house.gate.decide(proposal))
    assert isinstance(unanswered, Unanswered)
    answers = {"paid": answered("50.00"), "known": answered(True, "customers.known"), **more}
    verdict = house.do(house.gate.decide(proposal, Asked(answers=answers, contract=unanswered.contract)))
    assert isinstance(verdict, Verdict)
    return verdict


def body(house: House, verdict: Verdict) -> kinds.Decision2:
    found = house.entries(verdict.entry)[0].body
    assert isinstance(found, kinds.Decision2)
    return found


def test_nothing_is_recorded_while_a_question_is_open_and_only_what_the_contract_names_is_handed_out(
    house: House,
) -> None:
    proposal = house.proposal(house.run(), "5.00", order="o-1", customer="c-1")
    before = house.state.size
    unanswered = house.do(house.gate.decide(proposal))
    assert isinstance(unanswered, Unanswered)
    assert [(each.fact, each.source, each.arguments) for each in unanswered.questions] == [
        ("paid", "orders.paid", {"order_id": "o-1"}), ("known", "customers.known", {"customer_id": "c-1"}),
    ]  # fmt: skip
    assert house.state.size == before


@pytest.mark.requirement("R14.6")
def test_an_answer_is_a_verified_fact_beside_what_the_agent_asserts(house: House) -> None:
    verdict = said(house, house.proposal(house.run(), "50.00"))
    assert verdict.verdict == "ALLOW"
    facts = body(house, verdict).facts
    assert {name: fact.provenance for name, fact in facts.items()} == {
        "amount": "asserted", "customer_id": "asserted", "order_id": "asserted", "facts.paid": "verified",
        "facts.known": "verified",
    }  # fmt: skip
    assert (facts["facts.paid"].value, facts["facts.paid"].public) == (None, False)
    assert house.secret(verdict.entry)["facts"]["facts.paid"] == 5000


def test_a_fact_that_the_contract_declares_public_stands_in_the_entry() -> None:
    house = open_house(RULES, tools=TOOLS % ", facts.paid")
    verdict = said(house, house.proposal(house.run(), "50.00"))
    assert body(house, verdict).facts["facts.paid"].value == 5000
    house.close()


def test_clauses_decide_on_what_the_source_says_not_on_what_the_agent_does(house: House) -> None:
    run = house.run()
    assert said(house, house.proposal(run, "50.01")).clauses == ("over-refund",)
    verdict = said(house, house.proposal(run, "5.00"), known=answered(False, "customers.known"))
    assert (verdict.verdict, verdict.clauses) == ("ESCALATE", ("stranger",))


@pytest.mark.parametrize(
    ("paid", "state"),
    [
        (answered(None, state="late"), "late"), (answered(None, state="failed"), "failed"),
        (answered(None, state="wrong"), "wrong"), (answered("fifty"), "wrong"), (answered(None), "wrong"),
        (answered(True), "wrong"), (answered([5000]), "wrong"), (answered(0.123), "wrong"),
        (answered("10000.01"), "wrong"), (answered("50.00", "orders.unpaid"), "wrong"),
    ],
    ids=lambda each: str(getattr(each, "value", each)),
)  # fmt: skip
def test_a_fact_that_could_not_be_had_denies_and_the_record_says_how_that_went(
    house: House, paid: Looked, state: str
) -> None:
    verdict = said(house, house.proposal(house.run(), "5.00"), paid=paid)
    assert (verdict.verdict, verdict.clauses) == ("DENY", ("facts",))
    found = body(house, verdict)
    assert {lookup.fact: lookup.state for lookup in found.lookups} == {"paid": state, "known": "answered"}
    assert found.errors
    assert verdict.hint is not None
    assert not any(word in " ".join((*found.errors, verdict.hint)) for word in ("fifty", "10000.01", "0.123"))


def test_an_answer_for_another_contract_is_asked_for_again_and_at_last_denied(house: House) -> None:
    """Attack: the contract is replaced, again and again, while its sources are asked."""
    proposal = house.proposal(house.run(), "5.00")
    old = house.do(house.gate.decide(proposal))
    assert isinstance(old, Unanswered)
    house.adopt(contract_text(RULES, tools=TOOLS % "", version=2))
    stale = Asked(
        answers={"paid": answered("50.00"), "known": answered(True, "customers.known")}, contract=old.contract
    )
    again = house.do(house.gate.decide(proposal, stale))
    assert isinstance(again, Unanswered)
    assert again.contract != old.contract
    last = house.do(house.gate.decide(proposal, Asked(answers={}, contract="", missing="it changed")))
    assert isinstance(last, Verdict)
    assert (last.verdict, last.clauses) == ("DENY", ("facts",))


def test_a_backtest_has_nobody_to_ask_and_says_so() -> None:
    house = House(mode="backtest")
    house.adopt_backtest(contract_text(RULES, tools=TOOLS % ""))
    verdict = house.do(house.gate.decide(house.proposal(house.run(), "5.00"), NO_SOURCES))
    assert isinstance(verdict, Verdict)
    found = body(house, verdict)
    assert (verdict.verdict, verdict.clauses) == ("DENY", ("facts",))
    assert found.errors == (
        "orders.paid gave no paid: failed, not available in a backtest",
        "customers.known gave no known: failed, not available in a backtest",
    )
    assert {lookup.state for lookup in found.lookups} == {"failed"}
    house.close()
