"""A ticket with a real node: approved once means run once, also when the node is killed in between; people are told."""

from __future__ import annotations

import asyncio
import threading

import pytest

import failwell
from failwell.core.errors import NotFound
from tests.simulate.fixtures import house, stage
from tests.simulate.house import Caller, House, await_true, scene
from tests.simulate.sink import Sink, plain

__all__ = ["house", "stage"]


def escalate(caller: Caller, millis: int = 0) -> int:
    verdict = caller.write("maybe", millis)["verdict"]
    assert verdict["verdict"] == "ESCALATE"
    return int(verdict["ticket"])


def test_an_approved_action_runs_once_although_the_node_was_killed_in_between(house: House) -> None:
    node = house.node(crashing=True)
    caller = house.agent()
    ticket = escalate(caller)
    house.hand("anna").approve_ticket(ticket, "I looked at it")
    run = caller.run
    node.kill()
    house.hang_up()
    house.node(crashing=True)
    caller = house.caller()
    caller.run = run
    assert caller.write("maybe", ticket=ticket + 1)["verdict"]["verdict"] == "DENY"
    assert not house.began("maybe")
    done = caller.write("maybe", ticket=ticket)
    assert (done["verdict"]["verdict"], done["result"]["state"]) == ("ALLOW", "completed")
    again = caller.write("maybe", ticket=ticket)["verdict"]
    assert (again["verdict"], again["clauses"][-1]) == ("DENY", "ticket")
    assert len(house.began("maybe")) == 1
    assert house.ask("ticket", ticket)["state"] == "used"
    house.hold_true()
    house.verify()


def test_who_had_leave_to_act_by_itself_has_it_once_however_its_run_ends(house: House) -> None:
    """Attack: ask for leave only, act without the node, close the run, and have the approval back for the next time."""
    house.node(crashing=True)
    caller = house.agent()
    ticket = escalate(caller)
    house.hand("anna").approve_ticket(ticket, "I looked at it")

    def decide() -> str:
        return str(caller.ask({"customer": "maybe", "millis": 0}, how="decide", ticket=ticket).result(30)["verdict"])

    assert decide() == "ALLOW"
    caller.wire.call("run.close", agent=caller.agent, run=caller.run)
    assert [entry["body"]["state"] for entry in house.entries("outcome")] == ["unknown"]
    caller.open()
    assert decide() == "DENY"
    assert house.ask("ticket", ticket)["state"] == "used"
    house.hold_true()
    house.verify()


def test_what_an_agent_does_by_itself_is_never_said_to_be_stopped_nor_given_back(house: House) -> None:
    """Attack: ask for leave only, act without the node, be suspended, and have the approval back after a release."""
    house.node(crashing=True)
    caller = house.agent()
    ticket = escalate(caller)
    house.hand("anna").approve_ticket(ticket, "I looked at it")
    answer = caller.ask({"customer": "maybe", "millis": 0}, how="decide", ticket=ticket).result(30)
    assert answer["verdict"] == "ALLOW"
    house.suspend()
    await_true(lambda: house.entries("outcome"))
    assert [entry["body"]["state"] for entry in house.entries("outcome")] == ["interrupted_unconfirmed"]
    assert house.entries("interrupt.confirmed") == []
    (case,) = house.ask("incidents").values()
    assert "CONTAINMENT_FAILED" in case["marks"]
    assert "STOPPED" not in case["marks"]
    assert house.ask("ticket", ticket)["state"] == "used"
    house.hold_true()
    house.verify()


def test_of_many_that_come_at_once_with_one_ticket_one_runs(house: House) -> None:
    house.node(crashing=True)
    first, second = house.agent(), house.agent()
    ticket = escalate(first)
    house.hand("anna").approve_ticket(ticket, "I looked at it")
    answers = [
        caller.ask({"customer": "maybe", "millis": 0}, ticket=ticket) for _ in range(4) for caller in (first, second)
    ]
    verdicts = [answer.result(30)["verdict"]["verdict"] for answer in answers]
    assert sorted(verdicts) == ["ALLOW", *["DENY"] * 7]
    assert len(house.began("maybe")) == 1


def test_the_agents_program_waits_for_the_answer_and_calls_again(house: House) -> None:
    house.node(crashing=True)
    with house.gate() as gate, gate.run("refund-bot") as run:

        @gate.tool("desk.ask")
        def ask(customer: str, ticket: int) -> None:
            raise AssertionError((customer, ticket))

        with pytest.raises(failwell.Denied) as denied:
            ask(customer="c", ticket=7)  # the tool's own argument, which its contract does not list
        assert denied.value.clauses == ("arguments",)
        asked = run.decide("note.write", customer="maybe", millis=0)
        assert (asked.verdict, asked.state) == ("ESCALATE", "escalated")
        assert asked.ticket is not None
        ticket = int(asked.ticket)
        assert run.wait(ticket, timeout_s=0.3).state == "open"
        hand = house.hand("anna")
        answer = threading.Timer(0.3, lambda: hand.approve_ticket(ticket, "I looked at it"))
        answer.start()
        found = run.wait(ticket, timeout_s=20)
        answer.join()
        assert (found.approved, found.person, int(found)) == (True, "anna", ticket)
        assert run.decide("note.write", customer="maybe", millis=0, ticket=ticket).allowed
        assert gate.ticket(ticket).state == "used"
        again = run.decide("note.write", customer="maybe", millis=0, ticket=found.number)
        assert (again.verdict, again.clauses[-1]) == ("DENY", "ticket")
        with pytest.raises(NotFound):
            gate.ticket(10**6)

        async def later() -> failwell.Verdict:
            async with gate.run("refund-bot") as other:
                denied = await other.decide("note.write", customer="maybe", millis=0)
                await asyncio.to_thread(hand.deny_ticket, int(denied.ticket or 0), "no")
                assert (await other.wait(int(denied.ticket or 0))).state == "denied"
                return await other.decide("note.write", customer="maybe", millis=0, ticket=int(denied.ticket or 0))

        assert asyncio.run(later()).verdict == "DENY"


def test_who_is_asked_gets_one_mail_a_minute_that_names_no_customer() -> None:
    sink = Sink()
    with scene() as directory:
        house = House.build(directory / "h", settings=sink.settings, names=("refund-bot",))
        try:
            sink.start()
            house.node(crashing=True)
            caller = house.agent()
            tickets = [escalate(caller, number) for number in range(3)]
            mail = await_true(lambda: sink.mails)[0]
            text = " ".join(plain(mail).split())
            assert f"failwell ticket show {tickets[0]}" in text
            assert "maybe" not in text
            assert mail["To"] == "anna@example.org"
            await_true(lambda: house.entries("page.attempted"))
            assert len(house.entries("page.queued")) == len(sink.mails) == 1
            assert len(house.entries("ticket.opened")) == 3
            house.suspend()
            await_true(lambda: len(sink.mails) == 2)  # an incident's page is not held up by it
            house.hold_true()
        finally:
            house.tear_down()
            sink.stop()
