"""What people order: one stops, one takes the case, two others give back, and none of it twice or by the wrong one."""

from __future__ import annotations

import pytest

from failwell.core import kinds, orders
from failwell.core.errors import FailwellError, NotFound, Refused
from failwell.core.machines import NEEDED_FOR_RELEASE
from failwell.core.records import Draft
from failwell.identity import persons
from failwell.response import orders as response
from failwell.response import releases
from tests.unit.gate.house import AGENT, FATAL, HOUR_US, OTHER, RULES, SMALL, House, contract_text, open_house


@pytest.fixture
def house() -> House:
    """With one agent that a rule suspended while one of its actions ran."""
    house = open_house()
    run = house.run()
    house.ask(run)
    house.ask(run, FATAL)
    return house


def contained(house: House, *, but: str = "") -> None:
    """Every mark that a release needs, but one."""
    if but != "STOPPED":
        for action in house.state.incident[1].waiting:
            house.stop(action)
    if but != "NOTIFIED":
        house.accept_page()
    if but != "ACKNOWLEDGED":
        house.acknowledge("rita")


def refused(house: House, match: str) -> pytest.RaisesExc[Refused]:
    return pytest.raises(Refused, match=match)


# ---- taking the case ---------------------------------------------------------------------------------------------


def test_who_takes_a_case_is_on_record_and_moves_it_from_open_to_triaged(house: House) -> None:
    assert house.state.incident[1].state == "OPEN"
    taken = house.acknowledge("rita")
    assert house.bodies(kinds.Acknowledged) == [kinds.Acknowledged(incident=1, person="rita")]
    assert house.state.incident[1].state == "TRIAGED"
    assert house.state.incident[1].marks["ACKNOWLEDGED"] == taken
    assert house.bodies(kinds.IncidentUpdated)[-1].note == "taken by rita"


def test_a_second_person_can_take_it_too_and_nothing_goes_back(house: House) -> None:
    house.acknowledge("rita")
    house.acknowledge("quan")
    assert [body.person for body in house.bodies(kinds.Acknowledged)] == ["rita", "quan"]
    assert len(house.bodies(kinds.IncidentUpdated)) == 1


@pytest.mark.parametrize("incident", [2, 99])
def test_there_is_no_taking_of_a_case_that_there_is_not(house: House, incident: int) -> None:
    signed = house.sign("rita", "incident.acknowledge", orders.IncidentAcknowledge(incident=incident), shown="0" * 64)
    with pytest.raises(NotFound):
        house.do(response.acknowledge(signed, persons.verify_order))


# ---- proposing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["STOPPED", "NOTIFIED", "ACKNOWLEDGED"])
def test_a_release_needs_every_mark_of_containment(house: House, missing: str) -> None:
    contained(house, but=missing)
    size = house.state.size
    with refused(house, missing):
        house.propose("olga")
    assert house.state.size == size


@pytest.mark.requirement("R9.3")
def test_a_response_without_a_hold_or_order_is_not_enough_to_release_from() -> None:
    """A suspension that some other road led to lacks marks, and the release says which."""
    house = open_house()
    house.ask(house.run(), SMALL)
    body = kinds.AuthorityChanged(was="ACTIVE", now="SUSPENDED", epoch=2, why="", incident=None, by="eve")
    opened = kinds.IncidentOpened(
        by="eve", incident=1, kind="real", severity="minor", title="quiet", signal=0, onset_first=0, onset_last=0,
        response=(),
    )  # fmt: skip
    house.write(*(Draft(body=each, actor="eve", agent=AGENT) for each in (opened, body)))
    with refused(house, "ORDERED, SUSPENDED, HELD, NOTIFIED, ACKNOWLEDGED, STOPPED"):
        house.propose("olga")
    assert set(NEEDED_FOR_RELEASE) - set(house.state.incident[1].marks)


def test_a_containment_that_failed_on_record_can_still_be_proposed(house: House) -> None:
    house.stop(house.state.incident[1].waiting[0], "interrupted_unconfirmed")
    contained(house)
    assert house.propose("olga")


@pytest.mark.parametrize("authority", ["ACTIVE", "RESTRICTED"])
def test_a_suspended_agent_comes_back_on_probation_and_no_other_way(house: House, authority: str) -> None:
    contained(house)
    with refused(house, "PROBATION"):
        house.propose("olga", authority=authority)


@pytest.mark.requirement("R23.2")
def test_evidence_must_exist_before_the_proposal(house: House) -> None:
    contained(house)
    with refused(house, "no entry"):
        house.propose("olga", evidence=(3, 10**6))
    with refused(house, f"no entry {house.state.size}"):
        house.propose("olga", evidence=(house.state.size,))  # its own order is no evidence
    last = house.state.size - 1
    house.propose("olga", evidence=(0, last))
    entry = house.entries()[-1]
    assert [ref.seq for ref in entry.refs] == [entry.seq - 1, 0, last]
    assert entry.refs[2].leaf == house.book.leaf(last)


def test_a_release_is_about_the_agent_of_its_incident(house: House) -> None:
    house.register(OTHER)
    contained(house)
    with refused(house, "the incident is about"):
        house.propose("olga", agent=OTHER)


def test_an_agent_that_is_not_suspended_needs_no_release() -> None:
    house = open_house(RULES + "response:\n  - {signal: denied(small), do: [hold, notify, interrupt]}\n")
    house.ask(house.run(), SMALL)
    contained(house)
    with refused(house, "not suspended"):
        house.propose("olga")


# ---- approving ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R23.1")
def test_two_persons_give_authority_back_on_probation_under_a_new_epoch(house: House) -> None:
    contained(house)
    proposal = house.propose("olga")
    house.approve("piet", proposal)
    assert (house.agent().authority, house.agent().epoch, house.agent().incident) == ("PROBATION", 3, None)
    assert house.bodies(kinds.ReleaseApproved) == [
        kinds.ReleaseApproved2(
            incident=1, person="piet", digest=proposal, authority="PROBATION", user=None, separated="unknown",
            until_us=house.state.last_at_us + 72 * HOUR_US,
        )
    ]  # fmt: skip
    change = house.bodies(kinds.AuthorityChanged)[-1]
    assert (change.by, change.incident) == ("person:piet", 1)
    assert "RELEASED" in house.state.incident[1].marks


@pytest.mark.requirement("R23.3")
def test_who_proposed_does_not_approve(house: House) -> None:
    contained(house)
    with refused(house, "another person"):
        house.approve("piet", house.propose("piet"))
    assert house.agent().authority == "SUSPENDED"


@pytest.mark.requirement("R23.1")
def test_one_key_under_two_names_is_one_person(house: House) -> None:
    contained(house)
    house.enrol("sara", "approver", key_of="olga")
    proposal = house.propose("olga")
    house.signers["sara"] = persons.Signer("sara", house.signers["olga"].key)
    with refused(house, "another person"):
        house.approve("sara", proposal)


@pytest.mark.requirement("R23.3")
def test_who_suspended_by_hand_does_not_approve_but_another_does() -> None:
    house = open_house()
    house.suspend("piet")
    contained(house)
    proposal = house.propose("olga")
    with refused(house, "suspended this agent"):
        house.approve("piet", proposal)
    house.approve("quan", proposal)
    assert house.agent().authority == "PROBATION"


@pytest.mark.requirement("R23.3")
def test_who_orders_a_stop_that_a_rule_had_given_already_does_not_approve_either(house: House) -> None:
    contained(house)
    house.suspend("piet")
    proposal = house.propose("olga")
    with refused(house, "suspended this agent"):
        house.approve("piet", proposal)
    house.approve("quan", proposal)
    assert house.agent().authority == "PROBATION"


def test_only_an_approver_approves(house: House) -> None:
    contained(house)
    house.enrol("sara", "operator", "reviewer")
    with refused(house, "role approver"):
        house.approve("sara", house.propose("olga"))


@pytest.mark.parametrize("proposal", ["0" * 64, "f" * 64])
@pytest.mark.requirement("R23.1")
def test_an_approval_is_of_the_proposal_that_stands(house: House, proposal: str) -> None:
    contained(house)
    with refused(house, "stands proposed"):
        house.approve("piet", proposal)
    house.propose("olga")
    with refused(house, "stands proposed"):
        house.approve("piet", proposal)


def test_a_later_proposal_takes_the_place_of_an_earlier_one(house: House) -> None:
    contained(house)
    first = house.propose("olga", evidence=(3,))
    second = house.propose("rita", evidence=(4,))
    with refused(house, "stands proposed"):
        house.approve("piet", first)
    house.approve("piet", second)
    assert house.agent().authority == "PROBATION"


def test_a_proposal_that_grew_stale_before_the_approval_is_no_release(house: House) -> None:
    """The sight of an approval holds the contract: another contract in force since is another release."""
    contained(house)
    proposal = house.propose("olga")
    details = orders.ReleaseApprove(incident=1, agent=AGENT, proposal=proposal)
    signed = house.sign("piet", "release.approve", details)
    house.adopt(contract_text(version=2))
    with refused(house, "something else"):
        house.do(releases.approve_release(signed, persons.verify_order))


def test_an_approval_is_used_once(house: House) -> None:
    contained(house)
    details = orders.ReleaseApprove(incident=1, agent=AGENT, proposal=house.propose("olga"))
    signed = house.sign("piet", "release.approve", details)
    house.do(releases.approve_release(signed, persons.verify_order))
    with pytest.raises(FailwellError):
        house.do(releases.approve_release(signed, persons.verify_order))
    house.clock.skip(HOUR_US)
    house.ask(house.run(), FATAL)
    with pytest.raises(FailwellError):
        house.do(releases.approve_release(signed, persons.verify_order))
    assert house.agent().authority == "SUSPENDED"


def test_the_old_case_s_marks_and_proposal_do_not_undo_the_next_suspension(house: House) -> None:
    """Attack: one approver, alone, cites the released incident again."""
    contained(house)
    proposal = house.propose("olga")
    house.approve("piet", proposal)
    house.ask(house.run(), FATAL)
    assert (house.agent().authority, house.agent().incident) == ("SUSPENDED", 2)
    with refused(house, "suspended for incident 2"):
        house.approve("piet", proposal)
    with refused(house, "suspended for incident 2"):
        house.propose("olga", incident=1)
    house.reopen()
    with refused(house, "suspended for incident 2"):
        house.approve("quan", proposal)
    house.release(2)
    assert house.agent().authority == "PROBATION"


# ---- stopping ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["node", "orders"])
def test_a_suspension_says_how_it_came(source: str) -> None:
    house = open_house()
    signed = house.sign("rita", "agent.suspend", orders.AgentSuspend(agent="refund-bot", reason="odd"), shown="0" * 64)
    house.do(response.suspend(signed, persons.verify_order, source=source))
    assert house.bodies(kinds.Order)[-1].source == source
    assert house.agent().authority == "SUSPENDED"


def test_a_suspension_never_grows_stale_and_is_used_once() -> None:
    house = open_house()
    order = house.suspend_order("rita")
    house.clock.skip(1000 * HOUR_US)
    house.do(order)
    size = house.state.size
    with refused(house, "used before"):
        house.do(order)
    assert house.state.size == size


def test_nobody_suspends_an_agent_that_there_is_not_or_with_a_key_that_is_not_theirs() -> None:
    house = open_house()
    with pytest.raises(NotFound):
        house.suspend("piet", "spiffe://shop.example/agent/nobody")
    house.signers["piet"] = persons.Signer("piet", house.signers["sara"].key)
    with pytest.raises(Refused):
        house.suspend("piet")
    with pytest.raises(Refused, match="not enrolled"):
        house.suspend("sara")
    assert house.agent().authority == "ACTIVE"
