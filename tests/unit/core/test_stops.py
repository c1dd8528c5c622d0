"""Stops of more than one agent in the record: what is within a scope, what follows from an order, what never folds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failwell.core import kinds, orders, stops
from failwell.core.errors import Corrupt, InputError, NotFound, Refused
from failwell.core.records import Draft
from failwell.gate import floors
from failwell.identity import names, persons
from failwell.ledger.book import MAX_REACTIONS
from failwell.response import stops as response
from tests.unit.gate.house import AGENT, ASK, FATAL, FINE, OTHER, House, contract_text, folded, open_house
from tests.unit.gate.test_observed import observe

TOOL = "tool:payments.refund"
ANY = ("all", "group:payments", TOOL, "contract:refund-bot")


def a_house() -> House:
    """refund-bot is in a group; other-bot is not, and has a contract without rules."""
    house = open_house()
    house.register(OTHER)
    house.adopt(contract_text(agent=OTHER))
    join(house, AGENT)
    return house


def join(house: House, agent: str, group: str = "payments") -> None:
    signed = house.sign("olga", "agent.group", orders.AgentGroup(agent=agent, group=group))
    house.do(floors.join_group(signed, persons.verify_order, names.check_distinct))


def stop(house: House, scope: str, person: str = "quan", reason: str = "it is on fire") -> int:
    signed = house.sign(person, "stop", orders.StopScope(scope=scope, reason=reason), shown="0" * 64)
    return house.do(response.stop_scope(signed, persons.verify_order, source="node"))


def propose(house: House, scope: str, person: str = "olga", **more: Any) -> str:
    given: dict[str, Any] = {
        "epoch": house.state.stop[scope].epoch,
        "conditions": "it is out",
        "evidence": (3,),
        **more,
    }
    signed = house.sign(person, "stop.propose", orders.LiftPropose(scope=scope, **given))
    house.do(response.propose_lift(signed, persons.verify_order))
    return orders.order_digest(orders.parse_order(signed.order))


def lift(house: House, scope: str, proposal: str, person: str = "piet", epoch: int | None = None) -> int:
    details = orders.LiftApprove(scope=scope, epoch=epoch or house.state.stop[scope].epoch, proposal=proposal)
    signed = house.sign(person, "stop.lift", details)
    return house.do(response.approve_lift(signed, persons.verify_order))


def after(house: House, seq: int) -> list[Any]:
    return [entry.body for entry in house.entries(seq + 1)]


# ---- what is within it -------------------------------------------------------------------------------------------


@pytest.mark.requirement("R8.3")
@pytest.mark.parametrize("scope", ANY)
@pytest.mark.requirement("R8.6")
def test_nothing_within_a_stopped_scope_is_allowed_and_what_is_outside_goes_on(scope: str) -> None:
    house = a_house()
    mine, others = house.run(), house.run(OTHER)
    stop(house, scope)
    verdict = house.ask(mine)
    assert (verdict.verdict, verdict.clauses) == ("DENY", ("stopped",))
    assert "stopped by quan (entry" in verdict.because
    theirs = house.ask(others, agent=OTHER)
    assert (theirs.verdict == "DENY") == (scope in ("all", TOOL))


@pytest.mark.requirement("R8.3")
@pytest.mark.requirement("R8.18")
def test_what_was_handed_over_is_within_the_scopes_of_everybody_in_its_chain() -> None:
    house = a_house()
    house.adopt(contract_text(version=2) + "delegates: [other-bot]\n")
    run = house.run(OTHER, parent=house.run())
    allowed = house.ask(run, agent=OTHER)
    assert {scope for scope, _ in allowed.scopes} == {*ANY, "contract:other-bot"}
    stop(house, "group:payments")
    assert house.ask(run, agent=OTHER).clauses == ("stopped",)
    assert house.state.stop["group:payments"].waiting == (allowed.entry,)


def test_a_leave_names_every_scope_with_the_epoch_it_was_given_in() -> None:
    house = a_house()
    run = house.run()
    assert dict(house.ask(run).scopes) == dict.fromkeys(ANY, 0)
    stop(house, "all")
    for action in house.state.stop["all"].waiting:
        house.stop(action)
    lift(house, "all", propose(house, "all"))
    assert dict(house.ask(run).scopes) == {**dict.fromkeys(ANY, 0), "all": 1}


@pytest.mark.requirement("R8.3")
def test_an_agent_that_is_only_observed_is_stopped_with_all_others() -> None:
    house = House()
    house.people()
    house.register()
    observe(house)
    run = house.run()
    assert house.ask(run, FINE).may_start
    stop(house, "all")
    verdict = house.ask(run, FINE)
    assert (verdict.clauses, verdict.governed, verdict.may_start) == (("stopped",), True, False)


@pytest.mark.requirement("R8.3")
def test_a_question_that_people_answered_before_lets_nothing_pass_and_no_new_one_is_asked() -> None:
    house = a_house()
    run = house.run()
    assert house.ask(run, ASK).verdict == "ESCALATE"
    stop(house, "all")
    assert house.ask(run, ASK).verdict == "DENY"
    assert len(house.bodies(kinds.TicketOpened)) == 1


# ---- what follows from an order ----------------------------------------------------------------------------------


@pytest.mark.requirement("R6.1", "R8.3")
@pytest.mark.requirement("R8.19")
def test_the_order_the_closed_scope_what_it_interrupts_and_its_mails_are_one_commit() -> None:
    house = a_house()
    running = house.ask(house.run()).entry
    others = house.ask(house.run(OTHER), agent=OTHER).entry
    seq = stop(house, "all")
    closed, interrupted, *mails = after(house, seq)
    assert closed == kinds.ScopeStopped(scope="all", epoch=1, why="it is on fire", by="person:quan")
    assert (interrupted.incident, interrupted.actions) == (None, (running, others))
    assert [mail.person for mail in mails] == ["olga"], "owner and operator, and written to once"
    assert len({entry.at for entry in house.entries(seq)}) == 1
    row = house.state.stop["all"]
    assert (row.ordered, row.interrupted, row.waiting, row.stopped_by) == (
        seq, seq + 2, (running, others), ("person:quan",),
    )  # fmt: skip
    assert {house.agent(name).authority for name in (AGENT, OTHER)} == {"ACTIVE"}


def test_a_scope_that_nothing_has_the_name_of_is_stopped_all_the_same_and_whoever_takes_the_name_is_in_it() -> None:
    house = a_house()
    for scope in ("group:night", "tool:nobody.knows", "contract:unheard-of"):
        seq = stop(house, scope)
        assert [body.actions for body in after(house, seq) if isinstance(body, kinds.InterruptOrdered)] == [()]
        assert stops.agents_in(house.state, scope) == ()
    join(house, OTHER, "night")
    assert house.ask(house.run(OTHER), agent=OTHER).clauses == ("stopped",)


@pytest.mark.requirement("R6.1")
@pytest.mark.requirement("R8.8")
def test_an_agent_that_joins_what_is_stopped_is_interrupted_and_others_are_not() -> None:
    house = a_house()
    others = house.ask(house.run(OTHER), agent=OTHER).entry
    mine = house.ask(house.run()).entry
    stop(house, "group:night")
    seq = house.state.size
    join(house, OTHER, "night")
    (ordered,) = [entry for entry in house.entries(seq) if isinstance(entry.body, kinds.InterruptOrdered)]
    assert ordered.body.actions == (others,)
    assert house.state.stop["group:night"].waiting == (others,)
    assert house.state.action[mine].state == "open"


def test_stopped_again_it_is_one_more_persons_stop_and_mails_nobody_twice() -> None:
    house = a_house()
    stop(house, "all")
    propose(house, "all")
    seq = stop(house, "all", "rita", "it burns still")
    closed, interrupted = after(house, seq)
    assert (closed.epoch, interrupted.actions) == (1, ())
    row = house.state.stop["all"]
    assert (row.stopped_by, row.proposal, row.why) == (("person:quan", "person:rita"), None, "it burns still")


@pytest.mark.requirement("R6.1")
def test_a_stop_waits_for_each_end_and_remembers_what_nobody_could_confirm() -> None:
    house = a_house()
    run = house.run()
    first, second = house.ask(run).entry, house.ask(run).entry
    stop(house, "all")
    house.stop(first)
    assert (house.state.stop["all"].waiting, house.state.stop["all"].failed) == ((second,), ())
    house.stop(second, "interrupted_unconfirmed")
    assert (house.state.stop["all"].waiting, house.state.stop["all"].failed) == ((), (second,))


@pytest.mark.requirement("R8.19")
def test_a_stop_of_everything_is_never_too_big_to_be_written() -> None:
    """Attack: more owners than one commit has room for reactions, so that the order is dropped as a fault of ours."""
    house = a_house()
    row = house.state.agent[AGENT]
    for number in range(2 * MAX_REACTIONS):
        house.state.agent[f"spiffe://shop.example/agent/x-{number}"] = msgspec.structs.replace(row, owner=f"o{number}")
    seq = stop(house, "all")
    mails = [body for body in after(house, seq) if isinstance(body, kinds.PageQueued)]
    assert len(mails) == stops.MAILED_AT_ONCE
    assert mails[0].person == "olga", "operators come first"


@pytest.mark.requirement("R28.1")
def test_a_restart_and_a_rebuild_know_every_stop() -> None:
    house = a_house()
    stop(house, "all")
    stop(house, TOOL)
    lift(house, "all", propose(house, "all"))
    house.reopen()
    assert {scope: row.closed for scope, row in house.state.stop.items()} == {"all": False, TOOL: True}
    entries = house.storage.entries(0, 1_000_000)
    rebuilt = folded((entry, row.leaf.hex()) for entry, row in zip(house.entries(), entries, strict=True))[1]
    assert rebuilt["stop"] == house.stored()["stop"]


# ---- lifting it --------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R23.2")
@pytest.mark.requirement("R23.4")
@pytest.mark.requirement("R23.5")
def test_a_stop_is_lifted_by_two_persons_of_whom_none_ordered_it() -> None:
    house = a_house()
    stop(house, "all")
    with pytest.raises(Refused, match="quan ordered this stop"):
        propose(house, "all", "quan")
    proposal = propose(house, "all", "rita")
    with pytest.raises(Refused, match="rita proposed"):
        lift(house, "all", proposal, "rita")
    with pytest.raises(Refused, match="quan ordered this stop"):
        lift(house, "all", proposal, "quan")
    with pytest.raises(Refused, match="role approver"):
        lift(house, "all", proposal, "olga")
    with pytest.raises(Refused, match="not the lift that stands proposed"):
        lift(house, "all", "0" * 64)
    lift(house, "all", proposal)
    assert not house.state.stop["all"].closed
    assert house.ask(house.run()).verdict == "ALLOW"
    with pytest.raises(NotFound):
        propose(house, "all")


@pytest.mark.requirement("R23.1")
@pytest.mark.parametrize("evidence", [(), (10**6,)])
@pytest.mark.requirement("R23.6")
def test_a_lift_is_proposed_over_entries_that_are_there(evidence: tuple[int, ...]) -> None:
    house = a_house()
    stop(house, "all")
    with pytest.raises((InputError, Refused)):
        propose(house, "all", evidence=evidence)


@pytest.mark.requirement("R23.2")
def test_one_key_under_two_names_lifts_nothing() -> None:
    house = a_house()
    house.enrol("sara", "approver", key_of="olga")
    house.signers["sara"] = persons.Signer("sara", house.signers["olga"].key)
    stop(house, "all")
    proposal = propose(house, "all")
    with pytest.raises(Refused, match="another person"):
        lift(house, "all", proposal, "sara")


@pytest.mark.requirement("R23.2")
def test_what_was_agreed_on_for_one_stop_lifts_no_later_one() -> None:
    house = a_house()
    stop(house, "all")
    first = propose(house, "all")
    lift(house, "all", first)
    stop(house, "all")
    with pytest.raises(Refused, match="not the lift"):
        lift(house, "all", first)
    with pytest.raises(Refused, match="this is stop 2"):
        propose(house, "all", epoch=1)


def test_a_lift_that_was_signed_before_somebody_stopped_it_again_is_not_good_for_that() -> None:
    house = a_house()
    stop(house, "all")
    proposal = propose(house, "all")
    details = orders.LiftApprove(scope="all", epoch=1, proposal=proposal)
    signed = house.sign("piet", "stop.lift", details)
    stop(house, "all", "rita")
    with pytest.raises(Refused):
        house.do(response.approve_lift(signed, persons.verify_order))
    assert house.state.stop["all"].closed


def test_nothing_is_lifted_while_an_action_has_no_end() -> None:
    house = a_house()
    action = house.ask(house.run()).entry
    stop(house, TOOL)
    with pytest.raises(Refused, match="no end yet"):
        propose(house, TOOL)
    house.stop(action, "interrupted_unconfirmed")
    lift(house, TOOL, propose(house, TOOL))


@pytest.mark.requirement("R23.2")
@pytest.mark.requirement("R8.20")
def test_a_contract_of_another_name_leads_nobody_out_of_a_stop() -> None:
    house = a_house()
    stop(house, "contract:refund-bot")
    renamed = contract_text(version=2).replace("contract: refund-bot", "contract: refund-bot-again")
    with pytest.raises(Refused, match="is stopped"):
        house.adopt(renamed)
    house.adopt(contract_text(version=2))
    assert house.ask(house.run()).clauses == ("stopped",)


# ---- what never folds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        kinds.ScopeStopped(scope="all", epoch=1, why="again", by="person:quan"),
        kinds.ScopeStopped(scope=TOOL, epoch=2, why="again", by="person:quan"),
        kinds.ScopeProposed(scope=TOOL, epoch=1, person="olga", digest="0" * 64, conditions="none"),
        kinds.ScopeProposed(scope="all", epoch=1, person="olga", digest="0" * 64, conditions="none"),
        kinds.ScopeLifted(scope="all", epoch=2, person="olga", digest="0" * 64),
        kinds.ScopeLifted(scope="all", epoch=3, person="olga", digest="0" * 64),
        kinds.ScopeLifted(scope="group:x", epoch=1, person="olga", digest="0" * 64),
    ],
)
def test_a_step_that_does_not_follow_is_never_stored(body: Any) -> None:
    house = a_house()
    stop(house, "all")
    lift(house, "all", propose(house, "all"))
    stop(house, "all")
    with pytest.raises(Corrupt):
        house.write(Draft(body=body, actor="person:olga", refs=(3,)))


# ---- old leaves --------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R8.3")
@pytest.mark.parametrize("scope", [None, *ANY])
@pytest.mark.requirement("R8.10")
def test_a_leave_that_was_given_before_is_told_as_a_denial_until_its_agent_may_act(scope: str | None) -> None:
    house = a_house()
    run = house.run()
    kept = house.proposal(run, call="kept")
    done = house.proposal(run, call="done")
    house.decide(kept)
    house.settle(house.decide(done).entry)
    if scope is None:
        house.suspend("quan")
    else:
        stop(house, scope)
    size = house.state.size
    again = house.decide(kept)
    assert (again.verdict, again.repeated, again.may_start) == ("DENY", True, False)
    assert again.clauses == (("authority.suspended",) if scope is None else ("stopped",))
    assert (house.decide(done).verdict, house.decide(done).state) == ("ALLOW", "completed")
    assert house.state.size == size, "who asks what became of a call has done nothing that could be denied"


def test_a_denial_because_of_a_stop_is_where_nothing_began() -> None:
    house = open_house()
    run = house.run()
    stop(house, "all")
    denied = house.ask(run).entry
    lift(house, "all", propose(house, "all"))
    later = house.ask(run, FATAL).entry
    (opened,) = house.bodies(kinds.IncidentOpened)
    assert denied < later == opened.onset_first
