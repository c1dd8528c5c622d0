"""The default ladder answers in proportion: by number, effect of the tool, spread, proof and the harm of the stop."""

from __future__ import annotations

import pytest

from failwell.core import kinds
from failwell.core.incidents.ladder import CONTAIN, CURB, WEIGH
from failwell.core.records import Draft
from tests.unit.gate.house import AGENT, BIG, FATAL, FINE, MINUTE_US, RULES, SMALL, TOOLS, House, contract_text

STOPPING = "stopping: {harm: %s, because: Nobody answers the emergency line.}\n"
#: A tool that only reads, beside the refunds, with a clause on it of each severity that is weighed.
READS = """
  - tool: orders.find
    effect: read
    custody: none
    arguments: {customer_id: "string(1..200)", order_id: "string(1..40)", amount: "money(2, 0..10000)"}
"""
ON_READS = RULES.replace("clauses:", "clauses:\n  - {id: nosy, deny: orders.find, severity: major}")


def by_rules_2(rules: str = RULES, *, tools: str = TOOLS, groups: tuple[str, ...] = ()) -> House:
    """An open house whose ledger is told by the rules of this release."""
    house = House()
    house.write(Draft(body=kinds.ResponseRules(version=2), actor="node"))
    house.people()
    house.register(groups=groups)
    house.adopt(contract_text(rules, tools=tools))
    return house


def newest(house: House) -> tuple[str, str, tuple[str, ...]]:
    body = house.bodies(kinds.Signal)[-1]
    return body.signal, body.rule, body.response


def say(house: House, severity: str, *, evidence: str = "asserted", agent: str = AGENT) -> None:
    """A host of the agent's says that something is off."""
    body = kinds.Noticed(
        by="host:shop", signal="off-topic", severity=severity, evidence=evidence, kind="real", first=None, last=None,
        aware=None, title="The answers are off topic", words=None,
    )  # fmt: skip
    house.write(Draft(body=body, actor="host:shop", agent=agent))


# ---- the harm of the stop itself ---------------------------------------------------------------------------------


@pytest.mark.requirement("R7.20")
def test_where_a_stop_harms_more_than_what_was_noticed_the_agent_is_curbed_and_people_weigh_it() -> None:
    house = by_rules_2(RULES + STOPPING % "critical")
    run = house.run()
    for _ in range(3):
        house.ask(run, BIG)
    assert newest(house) == ("denied(big)", "default ladder: a stop does critical harm", WEIGH)
    assert house.agent().authority == "RESTRICTED"
    assert len(house.state.hold) == 1
    assert run not in house.state.run, "the run that it is about goes on"
    paged = {body.person for body in house.bodies(kinds.PageQueued)}
    assert "olga" in paged


@pytest.mark.parametrize("harm", ["minor", "major", "critical"])
def test_what_is_critical_suspends_whatever_a_stop_harms(harm: str) -> None:
    house = by_rules_2(RULES + STOPPING % harm)
    house.ask(house.run(), FATAL)
    assert newest(house) == ("denied(fatal)", "default ladder", CONTAIN)
    assert house.agent().authority == "SUSPENDED"


@pytest.mark.parametrize("harm", ["minor", "major"])
def test_a_stop_that_harms_no_more_than_what_was_noticed_is_made(harm: str) -> None:
    """Attack: an owner calls any harm grave, and the agent is never stopped again."""
    house = by_rules_2(RULES + STOPPING % harm)
    run = house.run()
    for _ in range(3):
        house.ask(run, BIG)
    assert house.agent().authority == "SUSPENDED"


def test_a_rule_of_the_contract_is_not_weighed_again() -> None:
    rules = RULES + "response:\n  - {signal: denied(small), do: [suspend]}\n" + STOPPING % "critical"
    house = by_rules_2(rules)
    house.ask(house.run(), SMALL)
    assert newest(house)[1] == "response[1]"
    assert house.agent().authority == "SUSPENDED"


# ---- reversibility -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7.24")
def test_what_only_reads_is_curbed_first_and_suspended_where_that_does_not_help() -> None:
    house = by_rules_2(ON_READS, tools=TOOLS + READS)

    def ask() -> None:
        house.decide(house.proposal(house.run(), tool="orders.find"))

    for _ in range(3):
        ask()
    assert newest(house) == ("denied(nosy)", "default ladder: the tool only reads", CURB)
    assert house.agent().authority == "RESTRICTED"
    ask()
    assert newest(house)[1:] == ("default ladder", CONTAIN)
    assert house.agent().authority == "SUSPENDED"


def test_what_no_contract_lists_is_taken_for_irreversible() -> None:
    house = by_rules_2()
    run = house.run()
    for _ in range(3):
        house.decide(house.proposal(run, tool="shell.run"))
    assert newest(house) == ("denied(tool.unlisted)", "default ladder", CONTAIN)


# ---- spread ------------------------------------------------------------------------------------------------------

NAMES = ("first-bot", "second-bot", "third-bot", "fourth-bot")


def a_group(house: House, *groups: tuple[str, ...]) -> list[str]:
    agents = [f"spiffe://shop.example/agent/{name}" for name in NAMES]
    for number, agent in enumerate(agents):
        house.register(agent, groups=groups[number] if groups else ("shop",))
        house.adopt(contract_text(RULES, agent=agent))
    return agents


def hit(house: House, agent: str) -> None:
    house.decide(house.proposal(house.run(agent), FATAL, agent=agent))


@pytest.mark.requirement("R7.23")
def test_what_suspended_two_others_of_a_group_suspends_the_group_at_the_third() -> None:
    house = by_rules_2()
    agents = a_group(house)
    for agent in agents[:2]:
        hit(house, agent)
        assert newest(house)[1] == "default ladder"
    assert house.state.stop == {}
    hit(house, agents[2])
    assert newest(house)[1] == "default ladder: it spread in its group"
    assert house.state.stop["group:shop"].closed
    verdict = house.decide(house.proposal(house.run(agents[3]), FINE, agent=agents[3]))
    assert verdict.verdict == "DENY"
    assert {row.agent for row in house.state.hold.values()} == set(agents)
    assert house.agent().authority == "ACTIVE", "an agent of no group is stopped with it"


def test_what_was_noticed_longer_ago_elsewhere_or_otherwise_has_not_spread() -> None:
    house = by_rules_2()
    agents = a_group(house, ("shop",), ("shop",), ("shop",), ("desk",))
    hit(house, agents[0])
    house.suspend("olga", agents[1])  # by a person: nothing of that kind was noticed of it
    hit(house, agents[3])  # of another group
    hit(house, agents[2])
    assert newest(house)[1] == "default ladder"

    late = by_rules_2()
    agents = a_group(late)
    for agent in agents[:2]:
        hit(late, agent)
    late.clock.skip(10 * MINUTE_US + 1)
    hit(late, agents[2])
    assert late.state.stop == {}


@pytest.mark.requirement("R7.27")
def test_nobody_s_word_stops_the_agents_of_others_in_a_group() -> None:
    """Attack: a host says of three of its own agents that they are off, and a stranger's agent is stopped with them."""
    house = by_rules_2()
    agents = a_group(house)
    for agent in agents[:3]:
        say(house, "critical", agent=agent)
    assert [house.agent(agent).authority for agent in agents] == ["SUSPENDED"] * 3 + ["ACTIVE"]
    assert house.state.stop == {}


# ---- evidence ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7.21")
@pytest.mark.requirement("R7.22")
def test_nobody_s_word_suspends_by_itself_below_critical() -> None:
    house = by_rules_2()
    for _ in range(12):
        say(house, "major")
    assert house.agent().authority == "RESTRICTED"
    assert all("suspend" not in body.response for body in house.bodies(kinds.Signal))
    say(house, "critical")
    assert house.agent().authority == "SUSPENDED"


def test_what_was_computed_from_the_record_suspends_where_a_word_does_not() -> None:
    house = by_rules_2()
    for _ in range(3):
        say(house, "major", evidence="derived")
    assert newest(house)[1:] == ("default ladder", CONTAIN)
    assert house.agent().authority == "SUSPENDED"


def test_a_minor_word_opens_no_case_until_there_are_many() -> None:
    house = by_rules_2()
    for _ in range(9):
        say(house, "minor")
    assert house.state.incidents == 0
    say(house, "minor")
    assert house.state.incidents == 1
    assert house.agent().authority == "ACTIVE"


# ---- rules 1 -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R22.9")
def test_what_was_written_before_these_rules_is_told_as_it_was() -> None:
    """INVARIANT (I6): of an older ledger nothing follows that did not follow then."""
    house = House()
    house.people()
    house.register()
    house.adopt(contract_text(ON_READS + STOPPING % "critical", tools=TOOLS + READS))
    run = house.run()
    decision = house.ask(run).entry
    house.settle(decision, "failed")
    assert house.bodies(kinds.Signal) == []
    for _ in range(3):
        house.decide(house.proposal(run, tool="orders.find"))
    assert newest(house) == ("denied(nosy)", "default ladder", CONTAIN)
    assert house.agent().authority == "SUSPENDED"
