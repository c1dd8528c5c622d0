"""The impact: what is wrong by the record, whom it reached and for how much; nobody left out, nobody named in vain."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from failwell.core import kinds
from failwell.core.records import Draft
from failwell.response.customer_drafts import draft, find_customer
from failwell.response.impact import Impact
from failwell.response.impact_summary import summary
from tests.unit.gate.house import AGENT, FATAL, MINUTE_US, OTHER, RULES, TOOLS, House, contract_text
from tests.unit.response.impacts import RULES_2, impact_of, looked, refund, ruled, see

ENSURED = TOOLS.replace(
    "    public: [amount]\n",
    "    ensure:\n      booked: {lookup: bank.booked, with: [order_id, customer_id], type: bool, is: true, within: 30s,"
    " severity: SEVERITY}\n",
)


def wrong(found: Impact) -> list[tuple[str, str | None, str | None]]:
    """(customer, resource, amount) of each wrong act, in order."""
    return [(act.customers[0], act.resource, act.amount) for act in found.acts if act.wrong]


def whom(found: Impact) -> dict[str, tuple[int, int]]:
    """How many effects reached each customer: (wrong, of all)."""
    return {one.name: (one.wrong, one.touched) for one in found.customers}


# ---- what is wrong -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("R11.3")
@pytest.mark.requirement("R11.5")
@pytest.mark.requirement("R9.10")
@pytest.mark.requirement("R11.11")
def test_a_permitted_refund_to_the_wrong_customer_is_the_one_that_is_wrong_and_its_amount_is_revealed() -> None:
    """Story: right amount, within every limit, wrong customer. Only the look at the world says so, later."""
    house = ruled(RULES, tools=ENSURED.replace("SEVERITY", "critical"))
    run = house.run(principal="customer:8841")
    fine = [refund(house, run, f"A-{number}", f"c-{number}", "7.50") for number in range(3)]
    amiss = refund(house, run, "B-1", "c-mallory", "49.90")
    for decision in fine:
        looked(house, decision, "booked", "held")
    look = looked(house, amiss, "booked", "missed")
    assert house.agent().authority == "SUSPENDED"
    found = impact_of(house)
    assert wrong(found) == [("c-mallory", "B-1", "49.90")]
    assert [(each.what, each.entry) for act in found.acts for each in act.wrong] == [("ensure", look)]
    assert found.span == (amiss, None)
    assert whom(found) == {"c-mallory": (1, 1)}
    assert [(one.name, one.wrong) for one in found.resources] == [("B-1", 1)]
    assert [(act.effect, act.undone) for act in found.acts] == [("irreversible", None)]
    assert [(each.wrong, each.touched, each.unknown) for each in found.amounts] == [("49.90", "49.90", 0)]
    assert [(each.how, each.principal, each.since) for each in found.downstream] == [
        ("own", "customer:8841", found.acts[0].outcome)
    ]
    # The hold covers the act itself, though it stood in the record long before anybody looked.
    assert house.state.hold[1].first == amiss == house.state.incident[1].onset_first


def test_slow_oversteps_under_every_limit_are_each_found_and_those_between_them_are_not() -> None:
    """Story: a few cents too much each time, no limit near. The third failed look contains; the onset is the first."""
    rules = "response:\n  - {signal: ensure(booked) >= 3 in 1d, do: [suspend]}\n"
    house = ruled(rules, tools=ENSURED.replace("SEVERITY", "minor"))
    run = house.run()
    expected, acts = [], {}
    for number in range(6):
        acts[number] = refund(house, run, f"A-{number}", f"c-{number % 4}", f"{number}.05")
        amiss = number in (1, 2, 5)
        looked(house, acts[number], "booked", "missed" if amiss else "held")
        expected += [(f"c-{number % 4}", f"A-{number}", f"{number}.05")] if amiss else []
    assert house.agent().authority == "SUSPENDED"
    found = impact_of(house)
    assert wrong(found) == expected
    assert house.state.incident[1].onset_first == acts[1]
    assert whom(found) == {"c-1": (2, 2), "c-2": (1, 1), "c-0": (0, 1), "c-3": (0, 1)}
    assert {each.wrong for each in found.amounts} == {"8.15"}


def test_a_loop_is_told_from_its_first_repeat_and_by_customer() -> None:
    rules = (
        "limits:\n  - {id: again, once_per: payments.refund, keys: [customer_id], then: record, severity: minor}\n"
        "  - {id: burst, count: payments.refund, at_most: 30, per: 1h, then: deny, severity: minor}\n"
        "response:\n  - {signal: denied(burst), do: [suspend]}\n"
    )
    house = ruled(rules)
    run = house.run()
    for number in range(30):
        refund(house, run, f"A-{number}", f"c-{number % 7}", "1.00")
    house.ask(run, "1.00", customer="c-0")
    found = impact_of(house)
    assert whom(found) == {f"c-{number}": (4, 4) if number < 2 else (3, 3) for number in range(7)}
    assert (found.wrong, found.touched, found.refused) == (23, 23, 1)
    assert {each.refused for each in found.amounts} == {"1.00"}
    assert all(each.says.startswith("again spoke") for act in found.acts for each in act.wrong)


def test_what_nothing_speaks_against_is_touched_and_never_called_wrong_until_a_finding_cites_it() -> None:
    house = ruled()
    run = house.run()
    decision = refund(house, run, "A-1", "c-1", "5.00")
    house.do(house.suspend_order("olga"))
    house.clock.skip(MINUTE_US)
    assert impact_of(house).touched == 0  # it was done before the suspension that the case began with
    finding = kinds.IncidentNoted(incident=1, note=1, sort="finding", person="olga", words="ab" * 32, cites=(decision,))
    house.write(Draft(body=finding, actor="person:olga", agent=AGENT))
    found = impact_of(house)
    assert wrong(found) == [("c-1", "A-1", "5.00")]
    assert [each.says for act in found.acts for each in act.wrong] == ["finding 1 of olga cites it"]


@pytest.mark.requirement("R11.6")
@pytest.mark.requirement("R11.7")
def test_an_effect_without_a_verdict_and_one_at_another_customer_than_decided_are_wrong() -> None:
    house = ruled()
    run = house.run()
    # An effect that the log shows at another customer than the verdict was about.
    decision = house.ask(run, customer="c-asked", order="A-1").entry
    see(house, "r-1", decision, "c-paid")
    house.settle(decision)
    see(house, "r-2", None, "c-around")
    see(house, "r-2", None, "c-around", witness="ledger")  # two logs of one effect are one effect
    assert house.agent().authority == "SUSPENDED"
    finding = kinds.IncidentNoted(incident=1, note=1, sort="factor", person="olga", words="ab" * 32, cites=(decision,))
    house.write(Draft(body=finding, actor="person:olga", agent=AGENT))
    found = impact_of(house)
    assert whom(found) == {"c-paid": (1, 1), "c-around": (1, 1)}
    said = {one.what for act in found.acts for one in act.wrong}
    assert said == {"customer", "finding", "no-verdict"}
    assert {act.shown_by for act in found.acts} == {"witnessed"}
    assert found.counted_from == ("bank", "ledger")


def test_what_was_proved_not_to_have_started_harmed_nobody_and_what_was_cut_off_perhaps_did() -> None:
    house = ruled()
    run = house.run()
    refund(house, run, "A-0", "c-none", "1.50", state="blocked")
    running = house.ask(run, customer="c-cut", order="A-1").entry
    house.ask(run, FATAL)
    house.stop(running)
    found = impact_of(house)
    assert [(act.customers, act.happened, act.shown_by) for act in found.acts] == [(("c-cut",), "perhaps", "unknown")]
    assert any("1 of 1 acts happened" in each for each in found.unknown)
    assert found.refused == 1


# ---- work that was handed over -----------------------------------------------------------------------------------

PARTS = """
  - {{tool: {tool}, effect: reversible, executor: supervised, custody: none, deadline: 10s, public: [customer_id],
     arguments: {{customer_id: "id"}}, affects: {{customer: customer_id}}{more}}}
"""


def family() -> House:
    """refund-bot hands work over to other-bot, whose act the world is looked at after."""
    house = House()
    house.write(RULES_2)
    house.people()
    for agent in (AGENT, OTHER):
        house.register(agent)
    asks = "lookup: shop.right, with: [customer_id], type: bool, is: true, within: 5s, severity: critical"
    look = ", ensure: {right: {" + asks + "}}"
    mine = PARTS.format(tool="notes.send", more="") + PARTS.format(tool="shop.price", more="")
    house.adopt(contract_text("delegates: [other-bot]\n", tools=mine))
    house.adopt(contract_text("", tools=PARTS.format(tool="shop.price", more=look), agent=OTHER))
    return house


def act(house: House, run: int, tool: str, customer: str, agent: str) -> int:
    proposal = house.proposal(run, tool=tool, agent=agent)
    proposal = msgspec.structs.replace(proposal, arguments=json.dumps({"customer_id": customer}).encode())
    verdict = house.decide(proposal)
    assert verdict.verdict == "ALLOW", verdict
    house.settle(verdict.entry)
    return verdict.entry


@pytest.mark.requirement("R11.13")
def test_a_sub_agent_s_failure_reaches_the_run_that_handed_the_work_over_and_what_that_did_since() -> None:
    """Story: the parent goes on with a wrong answer; who is told of it is named, and nobody of another task is."""
    house = family()
    first = house.run(principal="customer:1")
    elsewhere = house.run(principal="customer:2")
    act(house, first, "notes.send", "c-before", AGENT)
    handed = house.run(OTHER, parent=first)
    amiss = act(house, handed, "shop.price", "c-sub", OTHER)
    after = act(house, first, "notes.send", "c-after", AGENT)
    act(house, elsewhere, "notes.send", "c-elsewhere", AGENT)
    later = house.run(OTHER, parent=first)
    looked(house, amiss, "right", "missed")
    assert house.agent(OTHER).authority == "SUSPENDED"
    found = impact_of(house)
    assert whom(found) == {"c-sub": (1, 1)}
    assert [(each.run, each.agent, each.how, each.of, each.acts, each.entries) for each in found.downstream] == [
        (handed, OTHER, "own", None, 0, ()),
        (first, AGENT, "up", handed, 1, (after,)),
        (later, OTHER, "down", first, 0, ()),
    ]
    assert {each.principal for each in found.downstream} == {"customer:1"}


@pytest.mark.requirement("R11.8")
def test_what_a_failing_agent_handed_over_is_its_act_too() -> None:
    house = family()
    first = house.run()
    handed = house.run(OTHER, parent=first)
    before = act(house, handed, "shop.price", "c-1", OTHER)
    finding = kinds.IncidentNoted(incident=1, note=1, sort="finding", person="olga", words="ab" * 32, cites=(before,))
    house.do(house.suspend_order("olga"))
    house.write(Draft(body=finding, actor="person:olga", agent=AGENT))
    assert whom(impact_of(house)) == {"c-1": (1, 1)}


# ---- what was still in reach -------------------------------------------------------------------------------------

REACH = """
limits:
  - {id: per-hour, count: payments.refund, at_most: 20, per: 1h, then: deny, severity: minor}
  - {id: budget, sum: payments.refund.amount, at_most: 100000, per: 1d, then: escalate, severity: minor}
  - {id: once, once_per: payments.refund, keys: [order_id], then: deny, severity: minor}
  - {id: seen, count: payments.refund, at_most: 1, per: 1h, then: record, severity: minor}
"""


@pytest.mark.requirement("R11.9")
@pytest.mark.requirement("R11.10")
def test_what_limits_had_left_at_the_suspension_is_told_and_stays_the_same_afterwards() -> None:
    house = ruled(REACH)
    run = house.run()
    for number in range(3):
        refund(house, run, f"A-{number}", "c", "10.25")
    refund(house, run, "A-9", "c", "99.00", state="blocked")  # it never started: it took nothing
    house.do(house.suspend_order("olga"))
    found = impact_of(house).reach
    assert found is not None
    left = {each.limit: (each.unit, each.at_most, each.used, each.left, each.apart, each.then) for each in found.left}
    assert left == {
        "per-hour": ("actions", "20", "3", "17", (), "deny"),
        "budget": ("amount", "1000.00", "30.75", "969.25", (), "escalate"),
        "once": ("actions", "1", None, None, ("order_id",), "deny"),
    }
    assert (found.unbounded, found.irreversible) == ((), ("payments.refund",))
    assert (found.contract, found.authority) == ("refund-bot@1", "ACTIVE")
    # Attack on the figure: another contract is adopted while the agent is suspended, and time goes by.
    house.adopt(contract_text("", version=2))
    house.clock.skip(30 * MINUTE_US)
    assert impact_of(house).reach == found


def test_a_tool_that_no_limit_counts_is_named_as_unbounded() -> None:
    house = ruled("")
    house.ask(house.run())
    house.do(house.suspend_order("olga"))
    found = impact_of(house).reach
    assert found is not None
    assert (found.left, found.unbounded) == ((), ("payments.refund",))


# ---- after the release, and what cannot be said ------------------------------------------------------------------


@pytest.mark.requirement("R11.12")
def test_what_the_agent_did_after_it_was_given_back_is_no_part_of_it() -> None:
    house = ruled(RULES + "restricted: {irreversible: allow, limits: same}\n")
    house.ask(house.run(), FATAL)
    house.release()
    refund(house, house.run(), "A-1", "c-after", "5.00")
    found = impact_of(house)
    assert found.span[1] is not None
    assert (found.customers, found.touched) == ((), 0)


def test_an_amount_that_was_erased_is_counted_as_not_known() -> None:
    house = ruled(RULES, tools=ENSURED.replace("SEVERITY", "critical"))
    decision = refund(house, house.run(), "A-1", "c-1", "12.00")
    looked(house, decision, "booked", "unknown")
    assert [each.wrong for each in impact_of(house).amounts] == ["12.00"]
    kept = house.storage.blob
    house.storage.blob = lambda seq: None if seq == decision else kept(seq)  # type: ignore[method-assign]
    found = impact_of(house)
    assert [(each.wrong, each.unknown) for each in found.amounts] == [("0", 1)]
    assert found.acts[0].amount is None


def test_more_acts_than_are_told_are_counted_all_the_same() -> None:
    house = ruled("limits:\n  - {id: again, once_per: payments.refund, keys: [customer_id], then: record}\n")
    run = house.run()
    decisions = [refund(house, run, f"A-{number}", "c", "1.00") for number in range(5)]
    house.do(house.suspend_order("olga"))
    finding = kinds.IncidentNoted(
        incident=1, note=1, sort="finding", person="olga", words="ab" * 32, cites=tuple(decisions)
    )
    house.write(Draft(body=finding, actor="person:olga", agent=AGENT))
    found = impact_of(house, most=2)
    assert (len(found.acts), found.more, found.wrong, whom(found)) == (2, 3, 5, {"c": (5, 5)})


@pytest.mark.requirement("R11.4")
def test_the_account_counts_the_customers_and_asks_for_them_until_each_is_told_and_whole() -> None:
    house = ruled(RULES, tools=ENSURED.replace("SEVERITY", "critical"))
    looked(house, refund(house, house.run(), "A-1", "c-1", "12.00"), "booked", "missed")
    told = summary(1, impact_of(house, most=0))
    assert (told.wrong, told.customers, told.not_told, told.not_whole) == (1, 1, 1, 1)
    assert told.asked == ("1 customer was reached: 1 not told, 1 not made whole: failwell incident customers 1",)
    customer = impact_of(house).customers[0]
    said: dict[str, Any] = {
        "incident": 1,
        "customer": customer.customer,
        "shown": customer.shown,
        "person": "olga",
        "words": "ab" * 32,
    }
    house.write(Draft(body=kinds.CustomerTold(how="mail", **said), actor="person:olga", agent=AGENT))
    assert summary(1, impact_of(house)).not_told == 0
    house.write(Draft(body=kinds.CustomerRestored(**said), actor="person:olga", agent=AGENT))
    assert summary(1, impact_of(house)).asked == ()


# ---- the letter --------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R11.4")
def test_a_draft_says_only_what_the_record_holds_and_nothing_that_a_reader_would_have_to_look_up() -> None:
    house = ruled(RULES, tools=ENSURED.replace("SEVERITY", "critical"))
    run = house.run()
    amiss = refund(house, run, "B-1\x1b[31m\nInvoice", "c-mallory", "49.90")
    looked(house, amiss, "booked", "missed")
    found = impact_of(house)
    text = draft(found, find_customer(found, "c-mallory"), stopped=True)
    assert "payments refund, for B-1 [31m Invoice, amount 49.90" in text
    assert "should not have happened, once, on 20" in text
    assert "What did it has been stopped." in text
    assert "has not been undone yet" in text
    for ours in ("entry", "clause", "ensure", "refund-bot", "incident", AGENT):
        assert ours not in text
    assert all(letter.isprintable() or letter == "\n" for letter in text)
