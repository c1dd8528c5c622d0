"""Response rules before they bind: what is weak about them, and what they would have made of a record."""

from __future__ import annotations

import pytest

from failwell.core import contract as contracts
from failwell.core import kinds
from failwell.core.errors import NotFound
from failwell.core.incidents.linting import lint_response
from failwell.core.records import Draft
from failwell.core.simulate import Simulated, simulate
from tests.unit.core.test_ladder import STOPPING, by_rules_2, say
from tests.unit.gate.house import AGENT, BIG, FATAL, FINE, RULES, SMALL, House, contract_text


def with_rules(*rules: str, rest: str = "") -> str:
    lines = [rule.split(" => ") for rule in rules]
    told = "".join(f"  - {{signal: '{signal}', do: [{do}]}}\n" for signal, do in lines)
    return contract_text(RULES + "response:\n" + told + rest)


def weak(text: str) -> list[str]:
    return [finding.problem for finding in lint_response(text, name="c.yaml")]


# ---- lint --------------------------------------------------------------------------------------------------------


def test_a_contract_without_rules_answers_as_the_ladder_does_and_is_not_weak() -> None:
    assert weak(contract_text(RULES)) == []


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (("denied(small) => suspend", "denied(small) >= 3 in 1h => suspend"), "Rule 2 never decides anything."),
        (
            ("denied(small) >= 2 in 1h => hold", "denied(small) >= 3 in 10m => suspend"),
            "Rule 2 never decides anything.",
        ),
        (("denied(fatal) => record",), "What the contract does about denied(fatal) is weaker than the default ladder."),
        (("denied(big) >= 4 in 10m => suspend",), "What the contract does about denied(big) is weaker"),
        (("denied(big) >= 3 in 5m => suspend",), "What the contract does about denied(big) is weaker"),
        (("denied(tool.unlisted) => notify",), "What the contract does about denied(tool.unlisted) is weaker"),
        (("bypass => notify",), "What the contract does about bypass is weaker"),
        (("unknown(payments.refund) => notify",), "What the contract does about unknown(payments.refund) is weaker"),
        (("reported => suspend",), "Rule 1 suspends the agent on somebody's word."),
        (("noticed(off-topic) >= 3 in 1h => suspend_group",), "Rule 1 suspends the agent on somebody's word."),
        (("overdue(orders.read) => notify",), "overdue(orders.read) is never raised."),
    ],
)
@pytest.mark.requirement("R7.25")
def test_what_is_weak_about_a_rule_is_said_at_its_line(rules: tuple[str, ...], said: str) -> None:
    text = with_rules(*rules)
    found = [finding for finding in lint_response(text, name="c.yaml") if said in finding.problem]
    assert len(found) == 1, weak(text)
    line = text.split("\n")[found[0].line - 1]
    assert "signal:" in line


@pytest.mark.parametrize(
    "rules",
    [
        ("denied(small) >= 3 in 10m => suspend", "denied(small) => hold"),
        ("denied(big) >= 2 in 1h => suspend",),
        ("denied(big) >= 3 in 1h => suspend_group",),
        ("denied(small) => suspend",),
        ("escalated(ask) => record",),
        ("overdue(payments.refund) >= 3 in 10m => suspend",),
    ],
)
def test_a_rule_that_does_no_less_than_the_ladder_is_not_weak(rules: tuple[str, ...]) -> None:
    assert weak(with_rules(*rules)) == []


def test_a_rule_that_suspends_where_a_stop_harms_more_is_said() -> None:
    rules = ("denied(small) >= 3 in 10m => suspend", "denied(fatal) => suspend")
    assert weak(with_rules(*rules, rest=STOPPING % "major")) == ["Rule 1 suspends although that harms more."]
    assert weak(with_rules(*rules, rest=STOPPING % "minor")) == []


def test_a_critical_harm_that_nobody_covers_for_is_said() -> None:
    assert weak(contract_text(RULES + STOPPING % "critical")) == ["Nobody covers for the agent while it is stopped."]
    covered = (STOPPING % "critical").replace("}", ", cover: 'team:night'}")
    assert weak(contract_text(RULES + covered)) == []


def test_an_irreversible_tool_that_nothing_would_stop_is_said() -> None:
    bare = contract_text("clauses:\n  - {id: large, escalate: payments.refund, when: context.args.amount > 1}\n")
    assert weak(bare) == ["Nothing would stop an agent that does wrong with payments.refund."]
    silenced = with_rules(*(f"denied({each}) => record" for each in ("small", "big", "fatal", "per-hour")))
    assert "Nothing would stop an agent that does wrong with payments.refund." in weak(silenced)
    asked = contract_text("clauses:\n  - {id: always, escalate: payments.refund}\n")
    assert weak(asked) == [], "a person decides on each of them"


# ---- what would have fired ---------------------------------------------------------------------------------------


def tried(house: House, text: str) -> Simulated:
    record = [(entry, house.book.leaf(entry.seq)) for entry in house.entries()]
    return simulate(record, contracts.load(text, name="c.yaml"))


def test_the_rules_in_force_would_have_done_what_was_done() -> None:
    house = by_rules_2()
    run = house.run()
    for amount in (SMALL, BIG, BIG, FINE, BIG, FINE, BIG):
        house.ask(run, amount)
    found = tried(house, contract_text(RULES))
    assert found.stopped == found.would_stop is not None
    assert not any(each.differs for each in found.answered)
    assert (found.started, found.refused, found.signals) == (0, 0, 6)


def test_stricter_rules_would_have_stopped_earlier_and_what_they_would_have_kept_from_starting_is_counted() -> None:
    house = by_rules_2()
    run = house.run()
    house.ask(run, SMALL)
    for customer in ("c1", "c1", "c2"):
        house.ask(run, FINE, customer=customer)
    found = tried(house, with_rules("denied(small) => suspend"))
    assert found.stopped is None
    assert found.would_stop is not None
    assert (found.started, found.customers) == (3, 2)
    (answered,) = found.answered
    assert (answered.did, answered.would_by) == (("record",), "response[1]")
    assert "suspend" in answered.would


@pytest.mark.requirement("R7.26")
def test_milder_rules_would_have_gone_on_where_nothing_is_known_any_more() -> None:
    """Attack: rules are made to look good by what the agent could not do once it was stopped."""
    house = by_rules_2()
    run = house.run()
    house.ask(run, FATAL)
    for _ in range(25):
        house.ask(run, FINE)
    found = tried(house, with_rules("denied(fatal) => record"))
    assert found.stopped is not None
    assert found.would_stop is None
    assert found.refused == 25
    assert len(found.answered) == 1, "signals of the stop itself are told as if the tried rules had raised them"


def test_what_people_ordered_and_gave_back_happens_under_other_rules_too() -> None:
    house = by_rules_2()
    run = house.run()
    house.ask(run, FATAL)
    house.release()
    house.ask(house.run(), FINE)
    house.suspend("piet")
    found = tried(house, with_rules("denied(fatal) => record"))
    last = found.answered[-1]
    assert last.signal == "order(agent.suspend)"
    assert last.did == last.would
    assert found.stopped is not None
    assert found.would_stop is not None
    assert found.would_stop > found.stopped


def test_the_record_of_a_word_is_weighed_as_a_word() -> None:
    house = by_rules_2()
    for _ in range(3):
        say(house, "major")
    found = tried(house, contract_text(RULES))
    assert not any(each.differs for each in found.answered)
    assert found.stopped is found.would_stop is None


def test_a_simulation_writes_nothing_and_knows_no_stranger() -> None:
    house = by_rules_2()
    house.ask(house.run(), FATAL)
    before = house.stored(), house.state.size
    tried(house, with_rules("denied(fatal) => record"))
    assert (house.stored(), house.state.size) == before
    with pytest.raises(NotFound, match="stranger-bot"):
        tried(house, contract_text(RULES, agent="spiffe://shop.example/agent/stranger-bot"))


def test_older_records_are_tried_by_the_ladder_of_now() -> None:
    house = House()
    house.people()
    house.register()
    house.adopt(contract_text(RULES))
    house.ask(house.run(), FATAL)
    assert house.state.workspace[1].rules == 1
    found = tried(house, contract_text(RULES))
    assert found.stopped == found.would_stop is not None
    house.write(Draft(body=kinds.ResponseRules(version=2), actor="node"))
    assert tried(house, contract_text(RULES)).agent == AGENT
