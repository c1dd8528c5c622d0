"""Authority given back: of what stood when it was proposed, by two who are two, and on probation first (R23)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failwell.core import kinds, orders
from failwell.core.errors import FailwellError, Refused
from failwell.core.incidents.conditions import lasts_us
from failwell.core.records import Draft
from failwell.core.sight import sight
from failwell.identity import persons
from failwell.response import releases
from tests.unit.gate.house import (
    AGENT,
    BIG,
    FATAL,
    FINE,
    HOUR_US,
    MINUTE_US,
    RULES,
    SMALL,
    House,
    contract_text,
    open_house,
)
from tests.unit.response.given import contain, enrol, findings, given_back, last, later, suspended

replace = msgspec.structs.replace


def refused(match: str) -> pytest.RaisesExc[Refused]:
    return pytest.raises(Refused, match=match)


# ---- of what stood -----------------------------------------------------------------------------------------------


def _another_signal(house: House) -> None:
    house.suspend("rita")


def _worse(house: House) -> None:
    body = kinds.IncidentUpdated(incident=1, state="TRIAGED", severity="critical", signal=None, note="worse")
    house.write(Draft(body=body, actor="response", agent=AGENT))


def _finding(house: House) -> None:
    body = kinds.IncidentNoted(incident=1, note=1, sort="finding", person="rita", words="ab" * 32, cites=(3,))
    house.write(Draft(body=body, actor="person:rita", agent=AGENT))


def _contract(house: House) -> None:
    house.adopt(contract_text(version=2), approver="quan")


def _unconfirmed(house: House) -> None:
    body = kinds.InterruptUnconfirmed(action=house.state.incident[1].failed[0], why="still there")
    house.write(Draft(body=body, actor="supervisor", agent=AGENT))


@pytest.mark.parametrize("happens", [_another_signal, _worse, _finding, _contract])
@pytest.mark.requirement("R23.9")
def test_a_release_is_void_once_its_case_or_what_binds_its_agent_stands_otherwise(happens: Any) -> None:
    """Attack: what came to light after the proposal is approved unseen, since its digest is still the same."""
    house = open_house()
    house.write(Draft(body=kinds.ResponseRules(version=2), actor="node"))
    house.suspend("quan")
    contain(house)
    proposal = house.propose("olga")
    happens(house)
    with refused("stands otherwise"):
        house.approve("piet", proposal)
    assert house.agent().authority == "SUSPENDED"
    house.approve("piet", house.propose("olga"))
    assert house.agent().authority == "PROBATION"


def test_who_approves_is_shown_conditions_evidence_with_its_leaves_and_how_the_case_stands() -> None:
    house = suspended()
    proposal = house.propose("olga", evidence=(3, 4), minutes=90)
    shown = sight(house.state, "release.approve", orders.ReleaseApprove(incident=1, agent=AGENT, proposal=proposal))
    assert shown["release"] == {
        "proposed_by": "olga", "authority": "PROBATION", "probation_minutes": 90, "notified": "mail",
        "conditions": "the template is fixed",
        "evidence": [[seq, house.book.leaf(seq)] for seq in (3, 4)],
    }  # fmt: skip
    assert shown["standing"]["severity"] == "critical"
    assert shown["standing"]["bounds"]["contract"] == house.agent().contract


def test_what_was_proposed_gives_back_once() -> None:
    house = given_back()
    assert house.state.incident[1].proposal is None
    house.ask(house.run(), FATAL)
    contain(house)
    row = house.state.incident[2]
    assert (row.proposal, row.release) == (None, None)


# ---- by two who are two ------------------------------------------------------------------------------------------


@pytest.mark.requirement("R23.8")
def test_who_signed_or_adopted_a_contract_since_the_incident_does_not_approve_the_release() -> None:
    house = suspended()
    house.adopt(contract_text(version=2), approver="piet")
    proposal = house.propose("rita")
    with refused("piet changed what binds this agent since"):
        house.approve("piet", proposal)
    house.approve("quan", proposal)
    assert house.agent().authority == "PROBATION"


def test_who_claims_to_have_mended_it_does_not_approve_the_release_either() -> None:
    house = suspended()
    claimed = kinds.ChangeClaimed(incident=1, change="tool", person="piet", words="ab" * 32)
    house.write(Draft(body=claimed, actor="person:piet", agent=AGENT))
    with refused("changed what binds"):
        house.approve("piet", house.propose("olga"))


def test_an_owner_who_hands_the_agent_on_after_signing_its_new_contract_is_still_its_author() -> None:
    """Attack: sign as its owner, have another one own it, and approve as anybody."""
    house = suspended()
    house.reached("piet")
    house.write(Draft(body=kinds.AgentAssigned(was="olga", owner="piet"), actor="person:rita", agent=AGENT))
    text = contract_text(version=2).replace("owner: olga", "owner: piet")
    house.adopt(text, owner="piet", approver="quan")
    house.write(Draft(body=kinds.AgentAssigned(was="piet", owner="olga"), actor="person:rita", agent=AGENT))
    with refused("piet changed what binds"):
        house.approve("piet", house.propose("olga"))


@pytest.mark.parametrize("through", [(), ("sara",)])
@pytest.mark.requirement("R23.10")
def test_who_was_enrolled_by_the_proposer_since_the_incident_is_not_shown_to_be_another(through: Any) -> None:
    """Attack: an operator enrols a second name with a key of their own, or has it enrolled, and approves as that."""
    house = suspended()
    by = "olga"
    for name in (*through, "tess"):
        enrol(house, name, by)
        by = name
    proposal = house.propose("olga")
    with refused("tess is not shown to be another than olga"):
        house.approve("tess", proposal)


def test_an_approver_who_proposes_through_somebody_they_enrolled_is_found_too() -> None:
    """Attack: the other way round. The proposer is the name that the approver made up."""
    house = suspended()
    enrol(house, "tess", "piet")
    with refused("not shown to be another than tess"):
        house.approve("piet", house.propose("tess"))


def test_who_suspended_does_not_approve_under_a_name_they_enrolled_since() -> None:
    house = suspended(by="quan")
    enrol(house, "tess", "quan")
    with refused("not shown to be another than quan, who suspended"):
        house.approve("tess", house.propose("olga"))


def test_whom_an_operator_enrolled_before_the_incident_is_another_person() -> None:
    house = open_house()
    house.write(Draft(body=kinds.ResponseRules(version=2), actor="node"))
    enrol(house, "tess", "olga")
    house.ask(house.run(), FATAL)
    contain(house)
    house.approve("tess", house.propose("olga"))
    assert house.agent().authority == "PROBATION"


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [("uid:10", "uid:10", "no"), ("uid:10", "uid:11", "yes"), (None, "uid:10", "unknown"), (None, None, "unknown")],
)  # fmt: skip
@pytest.mark.requirement("R23.11")
def test_two_orders_from_one_user_of_the_system_are_told_as_not_separated(
    first: str | None, second: str | None, said: str
) -> None:
    house = suspended()
    house.approve("piet", house.propose("olga", user=first), user=second)
    body = house.bodies(kinds.ReleaseApproved2)[0]
    assert body.separated == said
    assert findings(house) == []


def test_of_two_hundred_approvals_at_once_one_gives_back() -> None:
    house = suspended()
    proposal = house.propose("olga")
    details = orders.ReleaseApprove(incident=1, agent=AGENT, proposal=proposal)
    signed = [house.sign(person, "release.approve", details) for person in ("piet", "quan", "rita") for _ in range(66)]
    signed += [signed[0], signed[-1]]
    writer = house.writer(paused=True)
    try:
        asked = [writer.submit(releases.approve_release(each, persons.verify_order)) for each in signed]
        writer.start()
        given = [each for each in asked if each.exception(30) is None]
    finally:
        writer.close()
    assert len(asked) == 200
    assert len(given) == 1
    assert all(isinstance(each.exception(), FailwellError) for each in asked if each not in given)


# ---- probation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [BIG, FATAL])
def test_in_probation_one_major_signal_suspends_again_at_once(amount: str) -> None:
    house = given_back()
    house.ask(house.run(), amount)
    assert (house.agent().authority, house.agent().incident) == ("SUSPENDED", 2)
    assert last(house, kinds.Signal).body.rule == "probation: a major signal"


def test_in_probation_three_minor_signals_in_ten_minutes_suspend_again_and_two_do_not() -> None:
    house = given_back()
    run = house.run()
    house.ask(run, SMALL)
    house.clock.skip(10 * MINUTE_US)
    house.ask(run, SMALL)
    house.ask(run, SMALL)
    assert house.agent().authority == "PROBATION"
    house.reopen()
    house.ask(run, SMALL)
    assert house.agent().authority == "SUSPENDED"


def test_what_waits_for_people_or_was_no_doing_of_the_agent_suspends_nobody_in_probation() -> None:
    house = given_back()
    run = house.run()
    for _ in range(5):
        assert house.ask(run, FINE).verdict == "ESCALATE"  # irreversible, on probation
    assert house.agent().authority == "PROBATION"


def ended(house: House, proposer: str = "olga", approver: str = "piet") -> None:
    house.approve(approver, house.propose(proposer, authority="ACTIVE"))


@pytest.mark.requirement("R23.13")
def test_probation_ends_by_two_persons_after_its_time_and_not_before() -> None:
    house = suspended()
    house.approve("piet", house.propose("olga", minutes=90))
    later(house, 90 * MINUTE_US - 1)
    with refused("lasts until"):
        house.propose("olga", authority="ACTIVE")
    house.clock.skip(1)
    later(house, 0)
    ended(house)
    assert (house.agent().authority, house.agent().probation) == ("ACTIVE", None)
    assert last(house, kinds.ReleaseApproved2).body.until_us is None
    assert findings(house) == []


def test_its_time_counts_from_the_last_signal_that_was_answered() -> None:
    house = suspended()
    house.adopt(contract_text(version=2) + "response:\n  - {signal: denied(small), do: [notify]}\n", approver="quan")
    house.approve("piet", house.propose("olga", minutes=90))
    run = house.run()
    house.clock.skip(80 * MINUTE_US)
    house.ask(run, SMALL)
    assert (house.agent().authority, house.agent().incident) == ("PROBATION", 2)
    noticed_us = house.state.last_at_us
    later(house, 10 * MINUTE_US)
    with refused("incident 2, not 1"):
        house.propose("olga", authority="ACTIVE")
    given = house.agent().probation
    assert given is not None
    assert given.until_us == noticed_us + 90 * MINUTE_US


@pytest.mark.parametrize("severity", ["minor", "major", "critical"])
def test_without_a_word_on_it_probation_lasts_by_the_severity_of_the_case(severity: str) -> None:
    details = orders.ReleasePropose(incident=1, agent=AGENT, authority="PROBATION", conditions="x", evidence=(1,))
    assert lasts_us(details, severity) == {"minor": 4, "major": 24, "critical": 72}[severity] * HOUR_US


@pytest.mark.requirement("R23.14")
def test_an_agent_whose_owner_leaves_in_probation_does_not_come_out_of_it_by_the_next_contract() -> None:
    house = given_back()
    house.reached("rita")
    leaves = kinds.PersonLeft(person="olga", successor="rita", why="gone")
    house.write(Draft(body=leaves, actor="person:rita"))
    assert house.agent().authority == "RESTRICTED"
    house.write(Draft(body=kinds.AgentAssigned(was="olga", owner="rita"), actor="person:rita", agent=AGENT))
    house.adopt(contract_text(version=2).replace("owner: olga", "owner: rita"), owner="rita", approver="quan")
    assert house.agent().authority == "RESTRICTED"
    with refused("lasts until"):
        house.propose("rita", authority="ACTIVE")
    later(house, 73 * HOUR_US)
    with refused("rita changed"):
        house.enrol("sara", "operator")
        house.approve("rita", house.propose("sara", authority="ACTIVE"))
    ended(house, "rita")
    assert house.agent().authority == "ACTIVE"


def test_an_agent_that_was_only_restricted_acts_in_full_again_by_two_persons_once_somebody_took_the_case() -> None:
    house = open_house(contract_rules())
    house.write(Draft(body=kinds.ResponseRules(version=2), actor="node"))
    house.ask(house.run(), SMALL)
    assert house.agent().authority == "RESTRICTED"
    with refused("ACKNOWLEDGED"):
        house.propose("olga", authority="ACTIVE")
    house.acknowledge("olga")
    ended(house)
    assert (house.agent().authority, house.agent().incident) == ("ACTIVE", None)
    assert findings(house) == []


def contract_rules() -> str:
    return RULES + "response:\n  - {signal: denied(small), do: [restrict, notify]}\n"


def test_an_agent_that_acts_already_is_given_back_nothing() -> None:
    house = given_back()
    with refused("not suspended"):
        house.propose("olga")
    with refused("nothing to give back"):
        house.propose("olga", authority="RESTRICTED")


# ---- nobody can be mailed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("taker", "stands"), [("olga", True), ("rita", False)])
@pytest.mark.requirement("R10.8")
def test_without_mail_it_stands_for_a_page_that_owner_or_operator_took_the_case(taker: str, stands: bool) -> None:
    house = open_house()
    house.ask(house.run(), FATAL)
    house.acknowledge(taker)
    if not stands:
        with refused("NOTIFIED"):
            house.propose("olga")
        return
    house.propose("olga")
    assert last(house, kinds.ReleaseProposed2).body.notified == "olga"


def test_where_mail_is_set_up_it_has_to_have_gone_out() -> None:
    house = open_house()
    text = '{"mail":{"host":"mail.example","sender":"f@shop.example"}}'
    house.write(Draft(body=kinds.Config(digest="ab" * 32, text=text), actor="person:olga"))
    house.ask(house.run(), FATAL)
    house.acknowledge("olga")
    assert house.state.workspace[1].mail
    with refused("NOTIFIED"):
        house.propose("olga")
