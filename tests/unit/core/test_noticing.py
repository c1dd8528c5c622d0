"""What is noticed besides verdicts: how actions end, what people answer, what hosts say, how our own parts do."""

from __future__ import annotations

import pytest

from failwell.core import kinds, orders
from failwell.core.records import Draft
from failwell.gate import tickets
from failwell.identity import persons
from tests.unit.core.test_ladder import by_rules_2, newest, say
from tests.unit.gate.house import AGENT, ASK, OTHER, RULES, TOOLS, House, contract_text, folded

#: A tool whose effect can be undone, beside refunds, which cannot.
UNDONE = """
  - tool: orders.tag
    effect: reversible
    custody: none
    arguments: {customer_id: "string(1..200)", order_id: "string(1..40)", amount: "money(2, 0..10000)"}
"""
PLENTY = RULES.replace("at_most: 6", "at_most: 600")


def end(house: House, run: int, state: str, *, why: str | None = None, tool: str = "payments.refund") -> None:
    house.settle(house.decide(house.proposal(run, tool=tool)).entry, state, why=why)


def raised(house: House) -> list[tuple[str, str]]:
    return [(body.signal, body.severity) for body in house.bodies(kinds.Signal)]


# ---- how actions end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "why", "tool", "signal"),
    [
        ("failed", None, "payments.refund", ("failed(payments.refund)", "minor")),
        ("unknown", None, "payments.refund", ("unknown(payments.refund)", "major")),
        ("unknown", None, "orders.tag", ("unknown(orders.tag)", "minor")),
        ("interrupted_confirmed", "deadline", "payments.refund", ("overdue(payments.refund)", "major")),
        ("completed_after_interrupt", "deadline", "orders.tag", ("overdue(orders.tag)", "minor")),
        ("completed", None, "payments.refund", None),
        ("blocked", "deadline", "payments.refund", None),
        ("interrupted_confirmed", "ordered", "payments.refund", None),
    ],
)
@pytest.mark.requirement("R5.8")
def test_an_action_that_came_to_no_good_end_is_noticed_as_how_it_ended(
    state: str, why: str | None, tool: str, signal: tuple[str, str] | None
) -> None:
    house = by_rules_2(PLENTY, tools=TOOLS + UNDONE)
    run = house.run()
    end(house, run, state, why=why, tool=tool)
    assert raised(house) == ([] if signal is None else [signal])
    assert house.state.lately.ended == {}, "what was answered is kept"


def test_several_that_end_in_one_commit_are_each_noticed_under_their_own_tool() -> None:
    """Attack: of two outcomes in one commit the newer one's tool is told of both."""
    house = by_rules_2(PLENTY, tools=TOOLS + UNDONE)
    run = house.run()
    decisions = [house.decide(house.proposal(run, tool=tool)).entry for tool in ("orders.tag", "payments.refund")]
    bodies = [
        kinds.Outcome(
            decision=decision, state="unknown", by="recovery", exit_code=None, result=None, result_bytes=0,
            truncated=False, elapsed_us=None, why=None,
        )
        for decision in decisions
    ]  # fmt: skip
    house.write(*(Draft(body=body, actor="recovery", agent=AGENT, run=run) for body in bodies))
    assert raised(house) == [("unknown(orders.tag)", "minor"), ("unknown(payments.refund)", "major")]


def test_a_run_that_goes_on_in_spite_of_failures_is_stopped_and_the_agent_is_not() -> None:
    house = by_rules_2(PLENTY)
    run, other = house.run(), house.run()
    for _ in range(20):
        assert run in house.state.run
        end(house, run, "failed")
    assert newest(house) == ("failed(payments.refund)", "default ladder", ("interrupt", "notify"))
    assert run not in house.state.run
    assert other in house.state.run
    assert house.agent().authority == "ACTIVE"
    assert [body.person for body in house.bodies(kinds.PageQueued)] == ["olga"]


def test_a_case_about_failures_began_with_the_first_of_its_own_kind() -> None:
    """Attack: what went wrong with another tool, or an hour before, dates the case and widens what is locked."""
    house = by_rules_2(PLENTY, tools=TOOLS + UNDONE)
    run = house.run()
    end(house, run, "failed", tool="orders.tag")
    first = house.decide(house.proposal(run)).entry
    house.settle(first, "unknown")
    for _ in range(2):
        end(house, run, "unknown")
    assert house.state.incident[1].onset_first == first
    assert house.state.hold[1].first == first


def test_what_cannot_be_undone_and_nobody_can_tell_of_restricts() -> None:
    house = by_rules_2(PLENTY)
    run = house.run()
    for _ in range(2):
        end(house, run, "unknown")
    assert house.state.incidents == 0
    end(house, run, "unknown")
    assert house.agent().authority == "RESTRICTED"
    assert len(house.state.hold) == 1


def test_signals_of_ends_are_the_same_from_the_entries_alone() -> None:
    house = by_rules_2(PLENTY)
    run = house.run()
    for _ in range(3):
        end(house, run, "unknown")
    state, _ = folded((entry, house.book.leaf(entry.seq)) for entry in house.entries())
    assert state.signal == {}
    assert state.agent[AGENT].authority == "RESTRICTED"


# ---- what people and hosts say -----------------------------------------------------------------------------------


def test_a_person_who_says_no_again_and_again_is_heard() -> None:
    house = by_rules_2(PLENTY + "oversight: {reviewers: [piet], decide_within: 1h}\n")
    run = house.run()
    for _ in range(5):
        assert house.state.incidents == 0
        details = orders.TicketDeny(ticket=house.ask(run, ASK).entry, reason="not this one")
        house.do(tickets.deny_ticket(house.sign("piet", "ticket.deny", details), persons.verify_order))
    assert newest(house) == ("ticket.denied", "default ladder", ("notify",))
    assert house.state.incidents == 1
    assert house.agent().authority == "ACTIVE"


def test_what_a_host_says_bears_its_name_and_its_proof() -> None:
    house = by_rules_2(PLENTY + "response:\n  - {signal: noticed(off-topic), do: [hold]}\n")
    say(house, "minor")
    assert newest(house) == ("noticed(off-topic)", "response[1]", ("hold",))
    assert len(house.state.hold) == 1


# ---- work that was handed over -----------------------------------------------------------------------------------


@pytest.mark.requirement("R5.9")
def test_whoever_handed_work_over_hears_that_the_one_who_has_it_was_suspended() -> None:
    house = by_rules_2(PLENTY + "delegates: [other-bot]\n")
    house.register(OTHER)
    house.adopt(contract_text(PLENTY, agent=OTHER))
    parent = house.run()
    house.run(OTHER, parent=parent)
    house.suspend("olga", OTHER)
    body = house.bodies(kinds.Signal)[-1]
    assert (body.signal, body.severity, body.response) == ("delegate(other-bot)", "major", ("hold", "notify"))
    entry = next(entry for entry in house.entries() if entry.body == body)
    assert (entry.agent, entry.run) == (AGENT, parent)
    assert house.agent().authority == "ACTIVE"
    assert {row.agent for row in house.state.hold.values()} == {AGENT, OTHER}


def test_whoever_handed_nothing_over_hears_nothing() -> None:
    house = by_rules_2(PLENTY)
    house.register(OTHER)
    house.adopt(contract_text(PLENTY, agent=OTHER))
    house.run()
    house.run(OTHER)
    house.suspend("olga", OTHER)
    assert all(not body.signal.startswith("delegate(") for body in house.bodies(kinds.Signal))


# ---- our own parts -----------------------------------------------------------------------------------------------


def test_a_part_of_ours_that_failed_is_noticed_and_is_no_agent_s() -> None:
    house = by_rules_2()
    for state in ("degraded", "failed", "ok"):
        house.write(Draft(body=kinds.Health(part="guard", state=state, detail="x"), actor="node"))
    assert raised(house) == [("health(guard)", "major")]
    entry = next(entry for entry in house.entries() if isinstance(entry.body, kinds.Signal))
    assert entry.agent is None
    assert house.state.incidents == 0
