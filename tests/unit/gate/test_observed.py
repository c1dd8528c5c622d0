"""OBSERVED: everything is recorded and judged, nothing is enforced, and it ends on its date (D25)."""

from __future__ import annotations

from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.core.errors import Refused
from failwell.core.instants import format_at
from failwell.core.records import Draft
from failwell.gate import observing
from failwell.gate.verdicts import Verdict
from failwell.identity import persons
from tests.unit.gate.house import AGENT, ASK, BIG, DAY_US, FATAL, FINE, HOUR_US, SECOND_US, House, contract_text


@pytest.fixture
def house() -> House:
    made = House()
    made.people()
    made.register()
    return made


def observe(house: House, person: str = "olga", days: float = 7, **more: Any) -> int:
    until = format_at(house.state.last_at_us + round(days * DAY_US))
    details = orders.AgentObserve(agent=AGENT, until=until, reason="it runs already", **more)
    signed = house.sign(person, "agent.observe", details)
    return house.do(observing.observe(signed, persons.verify_order))


def govern(house: House, person: str = "olga") -> int:
    signed = house.sign(person, "agent.govern", orders.AgentGovern(agent=AGENT), shown="0" * 64)
    return house.do(observing.govern(signed, persons.verify_order))


def applied(house: House) -> list[kinds.Signal]:
    return [signal for signal in house.bodies(kinds.Signal) if signal.applied]


def said(verdict: Verdict) -> tuple[str, tuple[str, ...], bool, bool]:
    return verdict.verdict, verdict.clauses, verdict.governed, verdict.may_start


def test_an_observed_agent_without_a_contract_is_denied_on_record_and_runs(house: House) -> None:
    observe(house)
    verdict = house.ask(house.run())
    assert said(verdict) == ("DENY", ("contract.absent",), False, True)
    assert (verdict.state, verdict.ticket, verdict.irreversible) == ("open", None, True)
    body = house.bodies(kinds.Decision2)[0]
    assert (body.verdict, body.governed, body.authority) == ("DENY", False, "OBSERVED")
    house.settle(verdict.entry)
    assert house.bodies(kinds.Outcome)[0].state == "completed"


def test_under_a_contract_every_verdict_is_made_and_none_is_enforced(house: House) -> None:
    observe(house)
    house.adopt(contract_text())
    assert house.agent().authority == "OBSERVED", "adopting a contract does not end an observation"
    run = house.run()
    told = [said(house.ask(run, amount)) for amount in (FINE, BIG, ASK, FATAL)]
    assert told == [
        ("ALLOW", (), False, True), ("DENY", ("big",), False, True), ("ESCALATE", ("ask",), False, True),
        ("DENY", ("fatal",), False, True),
    ]  # fmt: skip
    assert not house.bodies(kinds.TicketOpened), "there is nothing to ask a person for"
    assert applied(house) == []
    assert house.agent().authority == "OBSERVED"
    assert not house.state.incident
    named = [signal.signal for signal in house.bodies(kinds.Signal)]
    assert named == ["denied(big)", "escalated(ask)", "denied(fatal)"], "rules record what they would have acted on"


def test_nothing_of_an_observed_agent_is_suspended_by_rule(house: House) -> None:
    observe(house)
    run = house.run()
    for _ in range(25):  # twenty denials suspend a governed agent
        assert house.ask(run).may_start
    assert house.agent().authority == "OBSERVED"
    assert applied(house) == []


def test_what_fails_still_refuses_an_observed_agent(house: House) -> None:
    observe(house)
    run = house.run()
    assert house.ask(run, call="same", order="one", customer="c").may_start
    reused = house.ask(run, call="same", order="another")
    assert said(reused) == ("DENY", ("call.reused",), True, False)
    assert said(house.ask(None)) == ("DENY", ("run.unknown",), True, False)
    house.write(_health("failed"))
    assert said(house.ask(run))[2:] == (True, False)
    house.write(_health("ok"))
    assert house.ask(run).may_start
    again = house.ask(run, call="same", order="one", customer="c")
    assert (again.repeated, again.state) == (True, "open"), "a retry never runs again what may have run"


def _health(state: str) -> Draft:
    return Draft(body=kinds.Health(part="storage", state=state, detail=""), actor="node")


def test_on_its_date_it_is_denied_at_once_and_written_down_by_the_node(house: House) -> None:
    observe(house, days=1)
    run = house.run()
    assert house.ask(run).may_start
    house.clock.skip(DAY_US)
    assert said(house.ask(run)) == ("DENY", ("authority.observed",), True, False)
    assert house.do(observing.end_observations) == (AGENT,)
    assert house.do(observing.end_observations) == ()
    assert house.agent().authority == "REGISTERED"
    changed = house.bodies(kinds.AuthorityChanged)[-1]
    assert (changed.was, changed.now, changed.by) == ("OBSERVED", "REGISTERED", "node")
    assert said(house.ask(run)) == ("DENY", ("contract.absent",), True, False)


def test_with_a_contract_it_is_governed_by_it_from_the_date_on(house: House) -> None:
    observe(house, days=1)
    house.adopt(contract_text())
    house.clock.skip(DAY_US + SECOND_US)
    house.do(observing.end_observations)
    assert house.agent().authority == "ACTIVE"
    run = house.run()
    assert said(house.ask(run)) == ("ALLOW", (), True, True)
    assert said(house.ask(run, BIG)) == ("DENY", ("big",), True, False)


def test_owner_and_operator_end_it_early_and_nobody_else(house: House) -> None:
    observe(house)
    house.adopt(contract_text())
    with pytest.raises(Refused, match="owner of refund-bot"):
        govern(house, "rita")
    house.enrol("sara", "operator")
    govern(house, "sara")
    assert house.agent().authority == "ACTIVE"
    with pytest.raises(Refused, match="no observation to end"):
        govern(house)


def test_a_person_suspends_an_observed_agent(house: House) -> None:
    observe(house)
    run = house.run()
    going = house.ask(run)
    house.suspend("piet")
    assert house.agent().authority == "SUSPENDED"
    assert house.bodies(kinds.InterruptOrdered)[0].actions == (going.entry,), "what runs ungoverned is stopped too"
    assert said(house.ask(run))[2:] == (True, False)
    house.clock.skip(8 * DAY_US)
    assert house.do(observing.end_observations) == (), "a suspension outlives the date"
    assert house.agent().authority == "SUSPENDED"


def test_an_ungoverned_action_holds_limits_only_where_it_was_allowed(house: House) -> None:
    observe(house)
    house.adopt(contract_text())
    run = house.run()
    for _ in range(8):
        house.ask(run)
    held = [action for action in house.state.action.values() if any(one.limit == "per-hour" for one in action.held)]
    assert len(held) == 6
    assert all(action.verdict == "ALLOW" for action in held)
    house.clock.skip(HOUR_US)
    assert house.ask(run).verdict == "ALLOW"
