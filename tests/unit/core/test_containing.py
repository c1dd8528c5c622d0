"""How far a containment reaches: one run and what it was handed over to, an agent, its whole group; and who is told
when it fails, and who takes the work that it leaves.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from failwell.core import contract as contracts
from failwell.core import kinds, orders
from failwell.core.errors import NotFound, Refused
from failwell.core.records import Draft
from failwell.gate import outcomes, runs
from failwell.identity import persons
from failwell.ledger.vault import commitment
from failwell.ports.executor import Ended
from failwell.response import containment, stops, work
from failwell.response.said import Said
from tests.property.lives import verified
from tests.unit.gate.house import AGENT, BIG, FATAL, OTHER, SMALL, House, contract_text, folded

RULES = """
clauses:
  - {id: small, deny: payments.refund, when: context.args.amount == 100, severity: minor}
  - {id: big, deny: payments.refund, when: context.args.amount == 200, severity: major}
  - {id: fatal, deny: payments.refund, when: context.args.amount == 300, severity: critical}
response:
  - {signal: denied(small), do: [interrupt, hold, notify]}
  - {signal: denied(big), do: [suspend_group]}
"""
THIRD = "spiffe://shop.example/agent/third-bot"


@pytest.fixture
def house() -> Iterator[House]:
    """Three agents; the first hands work to the second, and the second is in a group with the third."""
    made = House()
    made.write(Draft(body=kinds.ResponseRules(version=2), actor="node"))
    made.people()
    made.enrol("sara", "operator")
    for agent, groups in ((AGENT, ()), (OTHER, ("shop",)), (THIRD, ("shop",))):
        made.register(agent, groups=groups)
    made.adopt(contract_text(RULES + "delegates: [other-bot]\non_suspend: {unfinished_runs: rita}\n"))
    made.adopt(contract_text(RULES, agent=OTHER))
    made.adopt(contract_text(RULES + "on_suspend: {unfinished_runs: 'team:payments'}\n", agent=THIRD))
    yield made
    rebuilt = folded((entry, made.book.leaf(entry.seq)) for entry in made.entries())[1]
    assert rebuilt == made.stored()
    assert verified(made) == []
    made.close()


def handed(house: House, parent: int, agent: str = OTHER) -> int:
    return house.run(agent, parent=parent)


def states(house: House) -> list[tuple[int, ...]]:
    """The actions that each order to stop named."""
    return [body.actions for body in house.bodies(kinds.InterruptOrdered)]


def order(house: House, person: str, kind: str, details: orders.Details) -> int:
    signed = house.sign(person, kind, details, shown="0" * 64)
    seq: int = house.do(work.JOBS[kind](signed, persons.verify_order, Said()))
    return seq


# ---- one run -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R6.36")
@pytest.mark.requirement("R7.16")
def test_an_interruption_stops_the_run_that_it_is_about_and_what_that_was_handed_over_to_and_no_other(
    house: House,
) -> None:
    run, beside = house.run(), house.run()
    child = handed(house, run)
    mine, handed_on, untouched = house.ask(run), house.ask(child, agent=OTHER), house.ask(beside)
    house.ask(run, SMALL)
    stopped = house.bodies(kinds.RunStopped)
    assert [body.runs for body in stopped] == [(run, child)]
    assert states(house) == [(mine.entry, handed_on.entry)]
    assert [entry.run for entry in house.entries() if isinstance(entry.body, kinds.InterruptOrdered)] == [run]
    assert house.agent().authority == "ACTIVE"
    assert house.ask(run).verdict == house.ask(child, agent=OTHER).verdict == "DENY"
    assert house.ask(beside).verdict == "ALLOW"
    assert house.state.action[untouched.entry].state == "open"
    assert house.state.incident[1].waiting == (mine.entry, handed_on.entry)


@pytest.mark.requirement("R6.40")
def test_what_goes_on_under_a_run_that_was_closed_between_is_stopped_with_the_run_above(house: House) -> None:
    """Attack: a sub-agent closes its run, and neither its own action nor what it handed on is found by the stop."""
    house.adopt(contract_text(RULES + "delegates: [third-bot]\n", version=2, agent=OTHER))
    run, beside = house.run(), house.run()
    child = handed(house, run)
    below = handed(house, child, THIRD)
    going, lowest, own = (
        house.ask(child, agent=OTHER),
        house.ask(below, agent=THIRD),
        house.ask(handed(house, beside), agent=OTHER),
    )
    house.write(Draft(body=kinds.RunClosed(reason="completed"), actor=f"agent:{OTHER}", agent=OTHER, run=child))
    house.ask(run, SMALL)
    assert [body.runs for body in house.bodies(kinds.RunStopped)] == [(run, below)]
    assert states(house) == [(going.entry, lowest.entry)]
    assert own.entry not in house.state.incident[1].waiting


def test_a_further_signal_about_a_run_that_is_stopped_stops_nothing_else(house: House) -> None:
    run, beside = house.run(), house.run()
    house.ask(beside)
    house.ask(run, SMALL)
    assert states(house) == [()]
    late = kinds.Signal(
        by="response", signal="denied(small)", severity="minor", about=run, count=1, rule="response[1]",
        response=("interrupt", "hold", "notify"), applied=True,
    )  # fmt: skip
    before = house.state.size
    house.write(Draft(body=late, actor="node", agent=AGENT, run=run, refs=(run,)))
    assert not any(isinstance(entry.body, kinds.RunStopped | kinds.InterruptOrdered) for entry in house.entries(before))


# ---- persons -------------------------------------------------------------------------------------------------


def test_a_person_stops_a_run_with_all_that_it_was_handed_over_to_in_the_orders_own_commit(house: House) -> None:
    run, beside = house.run(), house.run()
    child = handed(house, run)
    mine, handed_on = house.ask(run), house.ask(child, agent=OTHER)
    given = order(house, "quan", "run.stop", orders.RunStop(run=run, reason="it is the wrong customer"))
    followed = [entry for entry in house.entries(given) if entry.at == house.entries(given)[0].at]
    assert [entry.kind for entry in followed] == ["order", "interrupt.ordered", "run.stopped"]
    assert followed[1].body.actions == (mine.entry, handed_on.entry)
    assert followed[2].body.by == "person:quan"
    assert house.ask(run).verdict == house.ask(child, agent=OTHER).verdict == "DENY"
    assert house.ask(beside).verdict == "ALLOW"
    assert house.agent().authority == "ACTIVE"


def test_what_goes_on_in_a_run_that_was_closed_is_stopped_by_the_closed_runs_number(house: House) -> None:
    """Attack: close the run while its tool, and what it handed over, go on."""
    run = house.run()
    child = handed(house, run)
    running, handed_on = house.ask(run), house.ask(child, agent=OTHER)
    house.do(runs.close_run(run, AGENT, "done", running=frozenset({running.entry})))
    order(house, "quan", "run.stop", orders.RunStop(run=run, reason="it goes on"))
    assert states(house) == [(running.entry, handed_on.entry)]
    assert house.bodies(kinds.RunStopped)[0].runs == (child,)
    for action in (running.entry, handed_on.entry):
        house.stop(action)
    with pytest.raises(NotFound, match="nothing of it runs"):
        order(house, "quan", "run.stop", orders.RunStop(run=run, reason="once more"))
    with pytest.raises(NotFound, match="no run 99999"):
        order(house, "quan", "run.stop", orders.RunStop(run=99999, reason="which"))


def test_a_person_stops_one_action_and_its_run_goes_on(house: House) -> None:
    run = house.run()
    one, other = house.ask(run), house.ask(run)
    order(house, "quan", "action.stop", orders.ActionStop(action=one.entry, reason="that one"))
    assert states(house) == [(one.entry,)]
    assert house.bodies(kinds.RunStopped) == []
    house.stop(one.entry)
    assert house.state.action[other.entry].state == "open"
    assert house.ask(run).verdict == "ALLOW"
    with pytest.raises(NotFound, match="is not open"):
        order(house, "quan", "action.stop", orders.ActionStop(action=one.entry, reason="again"))


# ---- the group -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7.4")
@pytest.mark.requirement("R9.9")
def test_a_rule_stops_the_whole_group_locks_each_record_and_tells_everybody_in_one_commit(house: House) -> None:
    other, third = house.run(OTHER), house.run(THIRD)
    acting = house.ask(third, agent=THIRD)
    denied = house.ask(other, BIG, agent=OTHER)
    assert house.state.stop["group:shop"].closed
    assert house.state.stop["group:shop"].stopped_by == ("response",)
    assert house.state.stop["group:shop"].waiting == house.state.incident[1].waiting == (acting.entry,)
    assert house.agent(OTHER).authority == "SUSPENDED"
    assert house.agent(THIRD).authority == "ACTIVE"  # nothing of it starts all the same
    assert house.ask(third, agent=THIRD).clauses == (contracts.STOPPED,)
    assert house.ask(house.run()).verdict == "ALLOW"
    holds = [entry.agent for entry in house.entries() if isinstance(entry.body, kinds.HoldPlaced)]
    assert holds == [OTHER, THIRD]
    pages = house.bodies(kinds.PageQueued3)
    assert {page.person for page in pages if page.about == "group"} == {"sara"}
    commit = house.entries(denied.entry)[0].at
    assert all(entry.at == commit for entry in house.entries(denied.entry) if entry.actor == "response")
    left = house.bodies(kinds.WorkLeft)
    assert [(body.runs, body.to) for body in left] == [((third,), ("olga",)), ((other,), ("olga",))]


def test_two_persons_lift_what_a_rule_stopped_and_one_alone_does_not(house: House) -> None:
    house.ask(house.run(OTHER), BIG, agent=OTHER)
    lifting = orders.LiftPropose(scope="group:shop", epoch=1, conditions="the template is fixed", evidence=(3,))
    proposed = house.sign("olga", "stop.propose", lifting)
    house.do(stops.propose_lift(proposed, persons.verify_order))
    digest = orders.order_digest(orders.parse_order(proposed.order))
    agreed = orders.LiftApprove(scope="group:shop", epoch=1, proposal=digest)
    house.do(stops.approve_lift(house.sign("piet", "stop.lift", agreed), persons.verify_order))
    assert not house.state.stop["group:shop"].closed
    assert house.agent(OTHER).authority == "SUSPENDED"


# ---- delegates -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7.6")
def test_what_a_suspended_agent_handed_over_is_stopped_and_left_with_its_own_work(house: House) -> None:
    run = house.run()
    child, own = handed(house, run), house.run(OTHER)
    handed_on, theirs = house.ask(child, agent=OTHER), house.ask(own, agent=OTHER)
    house.ask(run, FATAL)
    assert handed_on.entry in house.state.incident[1].waiting
    assert theirs.entry not in house.state.incident[1].waiting
    assert house.ask(child, agent=OTHER).verdict == "DENY"
    assert house.ask(own, agent=OTHER).verdict == "ALLOW"
    (left,) = house.bodies(kinds.WorkLeft)
    assert (left.runs, left.to, left.more) == ((run, child), ("rita",), 0)
    assert [(page.person, page.about) for page in house.bodies(kinds.PageQueued3)] == [("rita", "work")]


def test_a_contained_sub_agent_leaves_only_what_it_was_handed_and_the_agent_above_goes_on(house: House) -> None:
    run = house.run()
    child = handed(house, run)
    house.ask(child, FATAL, agent=OTHER)
    assert house.agent(OTHER).authority == "SUSPENDED"
    assert house.agent().authority == "ACTIVE"
    assert house.ask(run).verdict == "ALLOW"
    assert [body.runs for body in house.bodies(kinds.WorkLeft)] == [(child,)]


# ---- work ----------------------------------------------------------------------------------------------------


def end(house: House, person: str, run: int, state: str, text: str | None = None) -> int:
    salt = b"s" * 16
    words = None if text is None else commitment(salt, text.encode())
    details = orders.WorkEnd(incident=1, run=run, state=state, words=words)
    signed = house.sign(person, "work.end", details)
    said = Said() if text is None else Said(text, salt.hex())
    seq: int = house.do(work.end_work(signed, persons.verify_order, said))
    return seq


@pytest.mark.requirement("R7.18")
def test_who_takes_a_run_has_it_for_good_and_the_agent_does_not_go_on_with_it_after_its_release(house: House) -> None:
    """Attack: the work is done twice, by who took it and by the agent that was released."""
    run, beside = house.run(), house.run()
    house.ask(run, FATAL)
    end(house, "rita", run, "taken")
    assert house.state.work[f"1/{run}"].person == "rita"
    assert house.bodies(kinds.RunStopped)[0].runs == (run,)
    with pytest.raises(Refused, match="has this run already"):
        end(house, "rita", run, "taken")
    seq = end(house, "rita", run, "finished", "called the customer")
    assert house.secret(seq)["text"] == "called the customer"
    with pytest.raises(Refused, match="finished already"):
        end(house, "rita", run, "dropped")
    with pytest.raises(NotFound, match="left no run"):
        end(house, "rita", 99999, "taken")
    change = kinds.AuthorityChanged(
        was="SUSPENDED", now="PROBATION", epoch=house.agent().epoch + 1, why="released", incident=1, by="person:piet"
    )  # fmt: skip
    house.write(Draft(body=change, actor="person:piet", agent=AGENT))
    assert house.ask(run).verdict == "DENY"
    assert house.ask(beside).verdict in ("ALLOW", "ESCALATE")


@pytest.mark.requirement("R7.19")
def test_work_is_taken_by_who_was_asked_the_owner_or_an_operator(house: House) -> None:
    first, second = house.run(), house.run()
    house.ask(first, FATAL)
    with pytest.raises(Refused, match="quan was not asked"):
        end(house, "quan", first, "taken")
    end(house, "olga", first, "taken")
    end(house, "sara", second, "dropped")


# ---- a containment that fails --------------------------------------------------------------------------------


def next_steps(house: House) -> list[tuple[str, int | None]]:
    return [(page.person, page.incident) for page in house.bodies(kinds.PageQueued3) if page.about == "next-step"]


@pytest.mark.requirement("R10.7")
def test_a_stop_that_nobody_confirms_pages_the_next_people_in_its_own_commit_and_once(house: House) -> None:
    run = house.run()
    one, two = house.ask(run), house.ask(run)
    house.ask(run, FATAL)
    assert next_steps(house) == []
    before = house.state.size
    house.stop(one.entry, "interrupted_unconfirmed")
    assert next_steps(house) == [("sara", 1)]  # the operator who is not the owner; that one was paged first
    failed = [entry for entry in house.entries(before) if isinstance(entry.body, kinds.InterruptUnconfirmed)]
    paged = [entry for entry in house.entries(before) if isinstance(entry.body, kinds.PageQueued3)]
    assert [entry.at for entry in paged] == [failed[0].at]
    house.stop(two.entry, "interrupted_unconfirmed")
    assert next_steps(house) == [("sara", 1)]


def test_where_no_operator_is_left_to_tell_approvers_are_and_nobody_is_told_of_a_stop_that_worked(house: House) -> None:
    left = kinds.PersonLeft(person="sara", successor="olga", why="elsewhere now")
    house.write(Draft(body=left, actor="person:olga"))
    run = house.run()
    one, two = house.ask(run), house.ask(run)
    house.ask(run, FATAL)
    house.stop(one.entry)
    assert next_steps(house) == []
    house.stop(two.entry, "interrupted_unconfirmed")
    assert next_steps(house) == [("piet", 1), ("quan", 1), ("rita", 1)]


@pytest.mark.requirement("R10.14")
def test_whoever_was_told_of_a_case_hears_that_its_agent_was_suspended_since(house: House) -> None:
    """Attack: a harmless report opens the case, its mail is sent, and the suspension that follows is told to nobody."""
    said = kinds.Noticed(
        by="host:shop", signal="off-topic", severity="major", evidence="asserted", kind="real", first=None, last=None,
        aware=None, title="The answers are off topic", words=None,
    )  # fmt: skip
    house.write(Draft(body=said, actor="host:shop", agent=AGENT))
    run = house.run()
    assert [page.person for page in house.bodies(kinds.PageQueued)] == ["olga"]
    house.accept_page()
    before = house.state.size
    house.ask(run, FATAL)
    assert house.agent().authority == "SUSPENDED"
    told = [page for page in house.bodies(kinds.PageQueued, before) if page.person == "olga"]
    assert [(page.incident, page.why) for page in told] == [(1, "denied(fatal)")]


def test_a_tool_that_outlives_its_deadline_opens_a_case_whose_containment_has_failed_already(house: House) -> None:
    action = house.ask(house.run()).entry
    ended = Ended(
        action=action, state="interrupted_unconfirmed", exit_code=None, signal=9, output=b"", truncated=False,
        errors=b"", started_us=0, ended_us=house.clock.mono, swept=0, proven_by="nothing", why="it lives", sweep_us=0,
    )  # fmt: skip
    settled = outcomes.Settlement(decision=action, state="interrupted_unconfirmed", by="supervisor")
    job = containment.ended_by_order(
        ended, "supervised: deadline", lambda turn: outcomes.draft_outcome(turn, settled)
    )  # fmt: skip
    house.do(job)
    assert house.agent().authority == "SUSPENDED"
    assert "CONTAINMENT_FAILED" in house.state.incident[1].marks
    assert next_steps(house) == [("sara", 1)]


@pytest.mark.requirement("R7.17")
def test_a_group_of_any_size_is_stopped_and_locked_in_the_commit_of_its_cause() -> None:
    """Attack: a group of so many that what follows is more than one commit takes, and the containment is dropped."""
    made = House()
    made.write(Draft(body=kinds.ResponseRules(version=2), actor="node"))
    made.people()
    made.register(groups=("shop",))
    made.adopt(contract_text(RULES))
    for number in range(40):
        agent = f"spiffe://shop.example/agent/member-{number}"
        made.register(agent, groups=("shop",))
        made.adopt(contract_text(RULES, agent=agent))
        made.run(agent)
    row = made.state.agent[AGENT]
    for number in range(1000):  # more than anybody would register in a test, each with an owner of its own
        agent = f"spiffe://shop.example/agent/x-{number}"
        made.state.agent[agent] = msgspec.structs.replace(row, name=f"x-{number}", owner=f"o{number}")
    made.ask(made.run(), BIG)
    assert made.state.agent[AGENT].authority == "SUSPENDED"
    assert made.state.stop["group:shop"].closed
    assert {hold.agent for hold in made.state.hold.values()} == {AGENT, ""}, "everything is locked"
    made.close()
