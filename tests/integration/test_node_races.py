"""Races inside the node, made to happen: the writer is held between two jobs while something else comes to an end."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from failwell.core.errors import Refused, Unhealthy
from failwell.gate.outcomes import Settlement
from failwell.gate.runs import open_run
from failwell.gate.verdicts import Proposal, Verdict
from failwell.identity.persons import verify_order
from failwell.ledger import writer as writing
from failwell.ledger.jobs import CONTAINMENT, Plan, Turn
from failwell.node import left_orders
from failwell.node.preparing import Prepared
from failwell.node.service import Node
from failwell.response.orders import suspend
from tests.attacks.test_suspended_agents import make_suspension
from tests.simulate.fixtures import house, stage
from tests.simulate.house import House, await_true

__all__ = ["house", "stage"]


class Inside:
    """A node in this process, without its door."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.node = Node(house.workspace)
        self.agent = house.full("refund-bot")
        self.run = self.node.writer.submit(open_run(self.agent, principal=None, request=None, host=None)).result(10)
        self._calls = 0

    def decide(self, **arguments: Any) -> Verdict:
        self._calls += 1
        proposal = Proposal(
            agent=self.agent, run=self.run, call=f"inside-{self._calls}", tool="note.write",
            arguments=json.dumps({"customer": "c1", "millis": 0, **arguments}).encode(), reason=None,
        )  # fmt: skip
        verdict = self.node.writer.submit(self.node.gate.decide(proposal)).result(10)
        assert isinstance(verdict, Verdict)
        return verdict

    def start(self, **arguments: Any) -> Future[Any]:
        verdict = self.decide(**arguments)
        assert verdict.verdict == "ALLOW"
        permit = self.node.fence.grant(verdict.entry, self.agent, verdict.epoch)
        text = json.dumps({"customer": "c1", "millis": 0, **arguments}).encode()
        prepared = Prepared(executor="supervised", command=tuple(self.house.target()["command"]))
        return self.node.runner.execute(verdict, permit, text, prepared)

    def hold(self) -> Callable[[], None]:
        """Hold the writer between two batches; what is returned lets it go on."""
        held, go = threading.Event(), threading.Event()

        def job(turn: Turn) -> Plan[None]:
            held.set()
            assert go.wait(30)
            return Plan((), lambda entries: None)

        self.node.writer.submit(job)
        assert held.wait(10)
        return go.set

    def suspend(self) -> Future[int]:
        signed = make_suspension(self.house, "bert")
        return self.node.writer.submit(suspend(signed, verify_order, source="node"), CONTAINMENT)


@pytest.fixture
def inside(house: House) -> Iterator[Inside]:
    made = Inside(house)
    try:
        yield made
    finally:
        made.node.close("the test is over")
    house.hold_true()
    house.verify()


def test_an_action_that_ends_while_the_order_overtakes_its_outcome_is_not_called_blocked(inside: Inside) -> None:
    answer = inside.start(millis=0)
    go = inside.hold()
    await_true(lambda: any(line["what"] == "done" for line in inside.house.runs()))
    await_true(lambda: not inside.node.fence.running())
    ordered = inside.suspend()
    go()
    ordered.result(10)
    assert answer.result(10).state == "completed"
    outcome = inside.house.entries("outcome")[0]["body"]
    assert outcome["state"] in ("completed", "completed_after_interrupt")
    assert len(inside.house.entries("interrupt.confirmed")) == 1
    row = inside.node.storage.row("incident", 1)
    assert row is not None
    assert json.loads(row)["waiting"] == []
    assert "STOPPED" in json.loads(row)["marks"]


def test_a_cooperative_action_that_ends_while_the_order_overtakes_it_proves_nothing(inside: Inside) -> None:
    verdict = inside.decide()
    permit = inside.node.fence.grant(verdict.entry, inside.agent, verdict.epoch)
    inside.node.runner.begin(verdict, permit, Prepared(executor="cooperative"), lambda action: None)
    go = inside.hold()
    inside.node.runner.settle_cooperative(Settlement(decision=verdict.entry, state="completed", by="agent"))
    ordered = inside.suspend()
    go()
    ordered.result(10)
    await_true(lambda: inside.house.entries("outcome"))
    assert inside.house.entries("outcome")[0]["body"]["state"] == "completed"
    assert inside.house.entries("interrupt.confirmed") == []
    assert len(inside.house.entries("interrupt.unconfirmed")) == 1


def test_an_action_decided_and_not_started_when_the_order_comes_never_starts(inside: Inside) -> None:
    verdict = inside.decide()
    permit = inside.node.fence.grant(verdict.entry, inside.agent, verdict.epoch)
    inside.suspend().result(10)
    prepared = Prepared(executor="supervised", command=tuple(inside.house.target()["command"]))
    result = inside.node.runner.execute(verdict, permit, b"{}", prepared).result(10)
    assert result.state == "blocked"
    assert inside.house.runs() == []
    assert [entry["body"]["state"] for entry in inside.house.entries("outcome")] == ["blocked"]


def test_a_permit_starts_one_action_once(inside: Inside) -> None:
    verdict = inside.decide()
    permit = inside.node.fence.grant(verdict.entry, inside.agent, verdict.epoch)
    prepared = Prepared(executor="supervised", command=tuple(inside.house.target()["command"]))
    arguments = b'{"customer": "c1", "millis": 200}'
    first = inside.node.runner.execute(verdict, permit, arguments, prepared)
    with pytest.raises(Refused, match="no unused permit"):
        inside.node.runner.execute(verdict, permit, arguments, prepared)
    assert [item.action for item in inside.node.fence.running()] == [verdict.entry]
    assert first.result(10).state == "completed"
    assert [entry["body"]["state"] for entry in inside.house.entries("outcome")] == ["completed"]
    assert len(inside.house.began()) == 1


def test_a_full_queue_is_told_to_callers_and_ends_no_running_tool(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outcome that found no room in the queue took the executor down, and every running tool with it."""
    monkeypatch.setattr(writing, "QUEUE_JOBS", 50)
    short, long = inside.start(millis=100), inside.start(millis=2_000)
    go = inside.hold()
    for _ in range(50):
        inside.node.writer.submit(lambda turn: Plan((), lambda entries: None))
    with pytest.raises(Unhealthy, match="waiting already") as busy:
        inside.node.writer.submit(lambda turn: Plan((), lambda entries: None))
    assert busy.value.code == "busy"
    await_true(lambda: len(inside.node.fence.running()) == 1)
    go()
    assert short.result(10).state == "completed"
    assert long.result(10).state == "completed"


def test_an_order_in_the_directory_stops_the_start_that_follows_it(inside: Inside) -> None:
    verdict = inside.decide()
    permit = inside.node.fence.grant(verdict.entry, inside.agent, verdict.epoch)
    left_orders.leave(inside.house.workspace.orders, make_suspension(inside.house, "bert"))
    prepared = Prepared(executor="supervised", command=tuple(inside.house.target()["command"]))
    assert inside.node.runner.execute(verdict, permit, b"{}", prepared).result(10).state == "blocked"
    assert inside.house.runs() == []
    inside.node.writer.submit(lambda turn: Plan((), lambda entries: None)).result(10)
    await_true(lambda: inside.house.entries("authority.changed", "refund-bot")[-1]["body"]["now"] == "SUSPENDED")


def test_an_order_for_one_agent_blocks_no_other(inside: Inside) -> None:
    """The directory changes with every order, report and renaming: only an unread order may hold a start back."""
    for _ in range(5):
        left_orders.leave(inside.house.workspace.orders, make_suspension(inside.house, "bert", agent="other-bot"))
        inside.node.writer.submit(lambda turn: Plan((), lambda entries: None)).result(10)
        await_true(lambda: not list(inside.house.workspace.orders.glob("*.order")))
        assert inside.start().result(10).state == "completed"
