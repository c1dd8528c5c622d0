"""SIGKILL between any two steps of an action and of a containment, with a real node, real tools and their own log.

Each row of a table is a moment: a step, before or after it. The node of a row recovers from the row before, so that
a whole table costs one start a row. After each death: what was acknowledged is in the ledger, what ran had its
durable ALLOW and ran once, tools are dead, the agent is suspended if its trigger was durable, and a retry of the same
call never runs what may have run.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from failwell.core.errors import FailwellError
from tests.simulate.fixtures import model
from tests.simulate.house import AGENTS, ROOT, Caller, House, NodeProcess, await_true, scene

#: (step, sides) of one action, in the order in which they are passed.
ACTION = (
    ("commit:decision", "before"), ("commit:decision", "after"), ("permit", "after"), ("fence.start", "before"),
    ("fence.start", "after"), ("spawn", "before"), ("spawn", "after"), ("launch", "after"), ("fence.attach", "before"),
    ("fence.attach", "after"), ("commit:started", "before"), ("commit:started", "after"), ("settle", "before"),
    ("settle", "after"), ("commit:outcome", "before"), ("commit:outcome", "after"), ("answer", "before"),
    ("answer", "after"),
)  # fmt: skip
#: The same for a containment that stops a running tool.
CONTAINMENT = (
    ("fence.close", "before"), ("fence.close", "after"), ("freeze", "before"), ("freeze", "after"),
    ("commit:authority.changed", "before"), ("commit:authority.changed", "after"), ("interrupt", "before"),
    ("executor.interrupt", "before"), ("executor.interrupt", "after"), ("interrupt", "after"), ("settle", "before"),
    ("settle", "after"), ("commit:interrupt.confirmed", "before"), ("commit:interrupt.confirmed", "after"),
    ("page", "before"), ("commit:page.attempted", "before"), ("commit:page.attempted", "after"),
)  # fmt: skip
#: What to kill a supervisor at.
SUPERVISOR = (
    ("launch", "after"), ("fence.attach", "after"), ("commit:started", "after"),
    ("freeze", "after"), ("commit:authority.changed", "after"), ("executor.interrupt", "after"),
)  # fmt: skip

#: Of the moments of an action, those that `make requirements` tries each time; `make test` tries them all.
ASKED = (
    ("commit:decision", "before"), ("commit:decision", "after"), ("spawn", "after"), ("commit:outcome", "before"),
    ("answer", "before"),
)  # fmt: skip

Point = tuple[str, str]


def named(points: tuple[Point, ...], asked: tuple[Point, ...] = (), shows: tuple[str, ...] = ()) -> list[Any]:
    mark = pytest.mark.requirement(*shows)
    return [
        pytest.param((step, side), id=f"{side}-{step}", marks=mark if (step, side) in asked else ())
        for step, side in points
    ]


class Table:
    """A workspace that lives through one death a row; `agents` gives each row an agent without a past."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.agents = iter(AGENTS[2:])
        self.node: NodeProcess | None = None
        self.acks: list[int] = []

    def start(self) -> NodeProcess:
        """The node for this row: the one that recovers from the row before, or a new one."""
        if self.node is None or self.node.process.poll() is not None:
            self.node = self.house.node(crashing=True)
        return self.node

    def await_death(self) -> None:
        assert self.node is not None
        assert self.node.process.wait(20) == -signal.SIGKILL, self.node.said()
        assert self.node.struck(), "the planned moment never came"
        self.house.hang_up()
        await_true(lambda: not self.house.alive())

    def note(self, caller: Caller) -> None:
        self.acks += caller.acks

    def check(self, *, at_rest: bool = True) -> None:
        """Nothing is left running, and the independent checker finds nothing; a dead node has not settled all."""
        await_true(lambda: not self.house.alive())
        self.house.hold_true(self.acks, at_rest=at_rest)


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    with scene() as directory:
        house = model().copy(directory / "h")
        made = Table(house)
        try:
            yield made
            house.end(made.start())
            house.verify()
            house.hold_true(made.acks)
        finally:
            house.tear_down()


def attempt(caller: Caller, customer: str, millis: int = 0, **more: Any) -> dict[str, Any] | None:
    """An action whose answer may never come."""
    with contextlib.suppress(FailwellError):
        return caller.write(customer, millis, **more)
    return None


@pytest.mark.parametrize("point", named(ACTION, ASKED, ("R28.1", "R28.4")))
def test_a_node_killed_at_any_step_of_an_action_loses_nothing_and_repeats_nothing(table: Table, point: Point) -> None:
    house, name = table.house, next(table.agents)
    node = table.start()
    caller = house.agent(name)
    customer, call = f"{name}-a", "the-one-call"
    node.plan_strike(*point)
    told = attempt(caller, customer, 20, call=call)
    table.await_death()
    table.note(caller)
    table.check(at_rest=False)
    decided = [entry for entry in house.entries("decision", name) if entry["body"]["call"] == call]
    began = len(house.began(customer))

    table.start()
    again = house.caller(name)
    again.run = caller.run
    answer = again.write(customer, 20, call=call)
    table.note(again)
    if decided:
        assert answer["verdict"]["repeated"], "it was decided durably, so nothing decides or runs it again"
        assert answer["verdict"]["entry"] == decided[0]["seq"]
        assert len(house.began(customer)) == began <= 1
        assert answer["verdict"]["state"] != "open"
    else:
        assert began == 0
        assert answer["result"]["state"] == "completed", "nobody was told that it was decided: it may run now"
    if told is not None:
        assert told["result"]["entry"] == house.entries("outcome", name)[0]["seq"]
    table.check()


@pytest.mark.parametrize("point", named(CONTAINMENT))
def test_a_node_killed_at_any_step_of_a_containment_leaves_the_agent_stopped_or_untouched(
    table: Table, point: Point
) -> None:
    house, name = table.house, next(table.agents)
    node = table.start()
    caller = house.agent(name)
    customer = f"{name}-long"
    running = caller.start(customer, 40_000, grandchild=True, deaf=True)
    await_true(lambda: len(house.alive()) >= 2)
    node.plan_strike(*point)
    attempt(caller, "trip")
    table.await_death()
    table.note(caller)
    with contextlib.suppress(FailwellError):
        running.result(1)
    table.check(at_rest=False)
    durable = bool(house.entries("authority.changed", name)[1:])
    assert durable == bool([entry for entry in house.entries("decision", name) if entry["body"]["verdict"] == "DENY"])

    table.start()
    assert (name in house.ask("status")["suspended"]) == durable
    outcome = await_true(lambda: house.entries("outcome", name))[0]["body"]
    assert outcome["state"] in ("interrupted_confirmed", "unknown"), outcome
    again = house.caller(name)
    again.run = caller.run
    answer = again.write(f"{name}-later")
    assert answer["verdict"]["verdict"] == ("DENY" if durable else "ALLOW")
    table.note(again)
    table.check()
    if durable:
        marks = house.incident_of(name)["marks"]
        assert {"ORDERED", "SUSPENDED", "HELD"} <= marks.keys()
        assert {"STOPPED", "CONTAINMENT_FAILED"} & marks.keys()
        assert house.incident_of(name)["waiting"] == []


@pytest.mark.parametrize("point", named(SUPERVISOR))
def test_a_supervisor_killed_at_any_step_takes_its_tool_with_it_and_the_record_says_so(
    table: Table, point: Point
) -> None:
    house, name = table.house, next(table.agents)
    node = table.start()
    caller = house.agent(name)
    during = point[0] in ("freeze", "commit:authority.changed", "executor.interrupt")
    if during:
        running = caller.start(f"{name}-long", 40_000, grandchild=True)
        node.plan_strike(*point, victim="supervisor")
        assert caller.act({"customer": "trip", "millis": 0})["verdict"]["verdict"] == "DENY"
    else:
        node.plan_strike(*point, victim="supervisor")
        running = caller.ask({"customer": f"{name}-long", "millis": 40_000, "grandchild": True})
    result = running.result(20)["result"]
    assert node.struck()
    assert result["state"] in ("interrupted_confirmed", "blocked", "unknown"), result
    await_true(lambda: not house.alive())
    table.note(caller)
    house.hang_up()
    table.check()


#: What to kill the agent at.
AGENT_POINTS = (("commit:decision", "before"), ("commit:decision", "after"), ("launch", "after"), ("settle", "before"))
AGENT = """
import sys
from pathlib import Path
from tests.simulate.house import House
from failwell.identity.agents import load_agent_key
root, name, customer = sys.argv[1:4]
house = House(Path(root), {}, {})
house.agent_keys[name] = load_agent_key(house.config, house.workspace.origin(), house.full(name))
caller = house.agent(name)
print(caller.run, flush=True)
sys.stdin.readline()
caller.write(customer, 700, call="the-one-call")
print("answered", flush=True)
"""


@pytest.mark.parametrize("point", named(AGENT_POINTS))
def test_an_agent_killed_at_any_step_leaves_an_action_that_is_settled_and_never_repeated(
    table: Table, point: Point
) -> None:
    house, name = table.house, next(table.agents)
    node = table.start()
    customer = f"{name}-a"
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(house.root), name, customer], cwd=ROOT, env=os.environ,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        run = int(agent.stdout.readline())
        node.plan_strike(*point, victim=str(agent.pid))
        agent.stdin.write("\n")
        agent.stdin.flush()
        assert agent.wait(20) == -signal.SIGKILL
        assert agent.stdout.read() == ""
    outcome = await_true(lambda: house.entries("outcome", name))[0]["body"]
    # Nobody waits for it any more: it had ended, it was stopped and nothing of it is left, or it never started.
    assert outcome["state"] in ("completed", "interrupted_confirmed", "blocked")
    again = house.caller(name)
    again.run = run
    answer = again.write(customer, 700, call="the-one-call")
    assert answer["verdict"]["repeated"]
    assert answer["verdict"]["state"] == outcome["state"]
    assert len(house.began(customer)) <= (outcome["state"] != "blocked")
    table.note(again)
    house.hang_up()
    table.check()


def test_a_node_killed_again_and_again_while_it_recovers_settles_every_action_once(table: Table) -> None:
    house = table.house
    node = table.start()
    names = list(itertools.islice(table.agents, 3))
    callers = [house.agent(name) for name in names]
    running = [caller.start(f"{name}-long", 40_000) for name, caller in zip(names, callers, strict=True)]
    node.kill()
    house.hang_up()
    for caller in callers:
        table.note(caller)
    for answer in running:
        with pytest.raises(FailwellError):
            answer.result(5)
    for _ in range(2):
        node.plan.write_text(json.dumps({"point": "commit:outcome", "side": "after", "nth": 1, "victim": "node"}))
        with pytest.raises(AssertionError):
            house.node(crashing=True)
        assert house.nodes[-1].process.wait(5) == -signal.SIGKILL
    table.start()
    for name in names:
        assert [entry["body"]["by"] for entry in house.entries("outcome", name)] == ["recovery"]
    table.check()
