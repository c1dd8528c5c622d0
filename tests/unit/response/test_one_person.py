"""One person, or one merge, in place of the two that it takes: second names, and cases that hide others (I7, R24)."""

from __future__ import annotations

import msgspec
import pytest

from failwell.core import kinds, orders
from failwell.core.errors import Corrupt, Refused
from failwell.core.records import Body, Draft
from failwell.identity import keys, persons
from failwell.response import holds, releases, stops
from failwell.response.said import Said
from tests.unit.gate.house import AGENT, FATAL, House
from tests.unit.response import casework
from tests.unit.response.casework import agree, give, opened, propose, report, words, write
from tests.unit.verify.test_cases import found


def second_name(house: House) -> str:
    """Olga, who operates, enrols an approver whose key she keeps herself."""
    house.signers["shadow"] = persons.Signer("shadow", keys.from_seed(b"#" * 32))
    house.enrol("shadow", "approver")
    return "shadow"


def by_force(house: House, person: str, kind: str, details: orders.Details, effect: Body) -> set[tuple[str, int]]:
    """Genuine orders carried out by a node that asks for nothing; what `ledger verify` says of the effect."""
    signed = house.sign(person, kind, details)
    order = kinds.Order(
        order=kind, person=person, key=signed.key, text=signed.order, signature=signed.signature, source="node"
    )
    agent = None if isinstance(effect, kinds.ScopeLifted) else AGENT
    house.write(*(Draft(body=body, actor=f"person:{person}", agent=agent) for body in (order, effect)))
    return {each for each in found(house) if each[0] == "order.effect"}


# ---- second names --------------------------------------------------------------------------------------------


@pytest.mark.requirement("R24.17")
def test_a_second_name_enrolled_since_the_incident_agrees_to_nothing_and_is_found() -> None:
    house = opened()
    casework.end_actions(house)
    name, proposal = second_name(house), propose(house, "olga", "severity", "minor")
    with pytest.raises(Refused, match="not shown to be another than olga"):
        agree(house, name, proposal)
    change = kinds.IncidentChanged(
        incident=1, what="severity", was="critical", now="minor", why="as it seems to me", proposal=proposal
    )
    assert by_force(house, name, "incident.agree", orders.IncidentAgree(incident=1, proposal=proposal), change)


@pytest.mark.requirement("R9.26")
def test_a_second_name_enrolled_since_the_incident_lifts_no_hold_and_is_found() -> None:
    house = opened()
    casework.end_actions(house)
    agree(house, "piet", propose(house, "rita", "false-alarm"))
    name = second_name(house)
    asked = house.sign("olga", "hold.propose", orders.HoldPropose(hold=1, reason="over"))
    house.do(holds.propose_lift(asked, persons.verify_order, Said()))
    proposal = str(house.state.hold[1].proposal)
    details = orders.HoldLift(hold=1, proposal=proposal)
    with pytest.raises(Refused, match="not shown to be another than olga"):
        house.do(holds.lift(house.sign(name, "hold.lift", details), persons.verify_order, Said()))
    lifted = kinds.HoldLifted(hold=1, person=name, digest=proposal)
    assert by_force(house, name, "hold.lift", details, lifted)


@pytest.mark.parametrize(("stopper", "proposer"), [("rita", "olga"), ("olga", "rita")])
@pytest.mark.requirement("R23.23")
def test_a_second_name_of_who_stopped_or_proposed_lifts_no_stop_and_is_found(stopper: str, proposer: str) -> None:
    house = casework.new_rules()
    stop = house.sign(stopper, "stop", orders.StopScope(scope="all", reason="it looks wrong"), "0" * 64)
    house.do(stops.stop_scope(stop, persons.verify_order, source="node"))
    name = second_name(house)
    row = house.state.stop["all"]
    asked = orders.LiftPropose(scope="all", epoch=row.epoch, conditions="over", evidence=(3,))
    house.do(stops.propose_lift(house.sign(proposer, "stop.propose", asked), persons.verify_order))
    proposal = str(house.state.stop["all"].proposal)
    details = orders.LiftApprove(scope="all", epoch=row.epoch, proposal=proposal)
    with pytest.raises(Refused, match="not shown to be another than olga"):
        house.do(stops.approve_lift(house.sign(name, "stop.lift", details), persons.verify_order))
    lifted = kinds.ScopeLifted(scope="all", epoch=row.epoch, person=name, digest=proposal)
    assert by_force(house, name, "stop.lift", details, lifted)


# ---- merging to hide -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [None, "interrupted_unconfirmed"])
@pytest.mark.requirement("R24.18")
def test_what_runs_or_failed_to_stop_is_not_merged_away_into_a_false_alarm(end: str | None) -> None:
    house = opened()
    for action in house.state.incident[1].waiting if end else ():
        house.stop(action, end)
    other = report(house, "quan", AGENT, report="real", severity="minor")
    give(house, "quan", orders.IncidentMerge(incident=1, into=other, reason="the same"))
    with pytest.raises(Refused, match="1 actions"):
        propose(house, "rita", "false-alarm", incident=other)
    details = orders.IncidentPropose(incident=other, what="false-alarm", value="-", reason="quiet")
    digest = orders.order_digest(orders.parse_order(house.sign("rita", "incident.propose", details).order))
    house.write(
        Draft(
            body=kinds.IncidentProposed(
                incident=other, what="false-alarm", value="-", person="rita", digest=digest, why="quiet"
            ),
            actor="person:rita", agent=AGENT,
        )
    )  # fmt: skip
    change = kinds.IncidentChanged(
        incident=other, what="state", was="OPEN", now="FALSE_ALARM", why="quiet", proposal=digest
    )
    said = by_force(house, "piet", "incident.agree", orders.IncidentAgree(incident=other, proposal=digest), change)
    assert ("order.effect", house.newest(kinds.IncidentChanged)) in said


def test_a_case_is_not_resolved_while_what_was_merged_into_it_runs() -> None:
    house = opened()
    other = report(house, "quan", AGENT)
    house.acknowledge("quan", other)
    give(house, "quan", orders.IncidentMerge(incident=1, into=other, reason="the same"))
    write(house, "quan", "factor", 3, incident=other)
    with pytest.raises(Refused, match="1 actions of incident 2 have not ended"):
        give(house, "quan", orders.IncidentResolve(incident=other, reason="it ended"))
    change = kinds.IncidentChanged(
        incident=other, what="state", was="INVESTIGATING", now="RESOLVED", why="it ended", proposal=None
    )
    details = orders.IncidentResolve(incident=other, reason="it ended")
    assert by_force(house, "quan", "incident.resolve", details, change)


@pytest.mark.parametrize("believed", ["RESOLVED", "LEARNED"])
@pytest.mark.requirement("R24.19")
def test_a_case_that_nobody_looked_into_is_not_merged_into_one_that_is_thought_over(believed: str) -> None:
    """Attack: two persons said that nothing is to be learned; one merges the next failure into it, and closes both."""
    house = casework.new_rules()
    over = report(house, "quan", severity="minor")
    house.acknowledge("quan", over)
    write(house, "quan", "factor", 3, incident=over)
    give(house, "quan", orders.IncidentGiveTask(incident=over, person="quan", due=None, words=words("t")), "t")
    give(house, "quan", orders.IncidentResolve(incident=over, reason="it ended"))
    if believed == "LEARNED":
        agree(house, "piet", propose(house, "rita", "none", incident=over), incident=over)
    run = house.run()
    house.ask(run)
    house.ask(run, FATAL)
    with pytest.raises(Refused, match=f"incident 1 is {believed}"):
        give(house, "quan", orders.IncidentMerge(incident=2, into=over, reason="the same"))
    body = kinds.IncidentMerged(incident=2, into=over, person="quan", why="the same")
    with pytest.raises(Corrupt, match="which cannot be"):
        house.write(Draft(body=body, actor="person:quan", agent=AGENT))


# ---- genuine orders that a node should have refused ----------------------------------------------------------


def test_what_is_made_of_a_case_that_is_over_or_given_to_nobody_is_found() -> None:
    house = opened()
    casework.end_actions(house)
    body: Body = kinds.IncidentTask(
        incident=1, task=1, person="nobody", by="person:rita", due_us=None, words=words("t")
    )  # fmt: skip
    details: orders.Details = orders.IncidentGiveTask(incident=1, person="nobody", due=None, words=words("t"))
    assert by_force(house, "rita", "incident.task", details, body)
    agree(house, "piet", propose(house, "rita", "severity", "minor"))
    agree(house, "piet", propose(house, "rita", "false-alarm"))
    raised = kinds.IncidentChanged(
        incident=1, what="severity", was="minor", now="major", why="worse", proposal=None
    )  # fmt: skip
    size = house.state.size
    said = by_force(
        house, "rita", "incident.raise", orders.IncidentRaise(incident=1, severity="major", reason="worse"), raised
    )
    assert ("order.effect", size + 1) in said


def test_work_that_was_ended_by_somebody_who_was_not_asked_is_found() -> None:
    house = opened()
    run = int(next(iter(house.state.work)).partition("/")[2])
    ended = kinds.WorkEnded(incident=1, run=run, person="rita", state="dropped", words=None)
    details = orders.WorkEnd(incident=1, run=run, state="dropped", words=None)
    assert by_force(house, "rita", "work.end", details, ended)


def test_a_second_name_of_who_gave_back_alone_does_not_do_so_again() -> None:
    house = opened()
    casework.end_actions(house)

    def broken(person: str) -> None:
        details = orders.ReleaseBreak(incident=1, agent=AGENT, reason="the shop is down", minutes=10)
        house.do(releases.break_release(house.sign(person, "release.break", details), persons.verify_order, Said()))

    broken("olga")
    entry = house.state.incident[1].broken
    assert entry is not None
    review = orders.ReleaseReview(incident=1, broken=entry, upheld=False, words=words("no"))
    signed = house.sign("rita", "release.review", review)
    house.do(releases.review_release(signed, persons.verify_order, Said("no", casework.SALT.hex())))
    with pytest.raises(Refused, match="now it takes two persons"):
        broken(second_name(house))


def test_a_customer_whom_the_cited_entry_does_not_name_was_not_shown_to_be_reached() -> None:
    house = casework.new_rules()
    token, other = "c-" + "1" * 32, "c-" + "2" * 32
    effects = [
        msgspec.structs.replace(casework.unseen(), customer=each, ref=each) for each in (token, other)
    ]  # fmt: skip
    first, second = (house.write(Draft(body=each, actor="node", agent=AGENT))[0] for each in effects)
    case = max(house.state.incident)
    for shown, wrong in ((first, False), (second, True)):
        details = orders.CustomerTell(incident=case, customer=token, shown=shown, how="mail", words=words("t"))
        signed = house.sign("rita", "customer.tell", details)
        order = kinds.Order(
            order="customer.tell", person="rita", key=signed.key, text=signed.order, signature=signed.signature,
            source="node",
        )  # fmt: skip
        told = kinds.CustomerTold(
            incident=case, customer=token, shown=shown, person="rita", how="mail", words=words("t")
        )  # fmt: skip
        seq = house.state.size
        secret = {"text": "t", "salt": casework.SALT.hex()}
        house.write(
            Draft(body=order, actor="person:rita", agent=AGENT),
            Draft(body=told, actor="person:rita", agent=AGENT, refs=(seq, shown), secret=secret),
        )
        assert (("customer", seq + 1) in found(house)) is wrong
