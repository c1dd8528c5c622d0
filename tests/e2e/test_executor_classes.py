"""The classes in real processes: what a stop of each is worth, from the order to the record, and after deaths."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from failwell.core import contract as contracts
from failwell.execute.orphans import read_marker
from tests.simulate.fixtures import model, stage
from tests.simulate.house import ROOT, TOOL, House, apply, await_true
from tests.simulate.transacting import make

__all__ = ["stage"]

CONTRACT = """
contract: refund-bot
version: 2
agent: spiffe://shop.example/agent/refund-bot
owner: anna
purpose: Work that stops in many ways.
tools:
  - tool: far.fenced
    effect: reversible
    executor: fenced
    custody: none
    deadline: 30s
    arguments: {customer: "id", millis?: "int(0..60000)"}
  - tool: far.brief
    effect: reversible
    executor: fenced
    custody: none
    deadline: 1s
    arguments: {customer: "id", millis?: "int(0..60000)"}
  - tool: books.write
    effect: reversible
    executor: transactional
    custody: none
    deadline: 30s
    arguments: {customer: "id", millis?: "int(0..60000)"}
  - tool: far.away
    effect: reversible
    executor: unstoppable
    custody: none
    deadline: 30s
    arguments: {customer: "id", millis?: "int(0..60000)"}
  - tool: far.silent
    effect: reversible
    executor: unstoppable
    custody: none
    deadline: 30s
    arguments: {customer: "id", millis?: "int(0..60000)"}
  - tool: desk.ask
    effect: reversible
    executor: cooperative
    custody: none
    deadline: 60s
    arguments: {customer: "id"}
  - tool: desk.brief
    effect: reversible
    executor: cooperative
    custody: none
    deadline: 1s
    arguments: {customer: "id"}
"""
OPERATOR = str(ROOT / "tests" / "simulate" / "operators_word.py")


class Stage:
    """A house with a node, whose tools are of every class; each `Classes` on it is another agent."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.told = house.root / "told.log"
        self.answers = house.root / "answers"
        self.answers.mkdir()
        self.database = house.workspace.path / "books.db"
        make(self.database, "WAL")
        self.node = house.node(crashing=True)
        apply(house, self.settings())
        self._agents = (f"bot-{number:02d}" for number in range(48))

    def settings(self) -> str:
        tool = [sys.executable, "-I", "-S", str(TOOL), str(self.house.witness)]
        operator = [sys.executable, "-I", "-S", OPERATOR, str(self.told), str(self.answers)]
        books = [sys.executable, "-m", "tests.simulate.bookkeeper", str(self.house.witness)]
        fenced = f"command = {json.dumps(tool)}\nfence = {json.dumps(operator)}\nstop_deadline_ms = 1500\n"
        return (
            f'[node]\nidle_s = 0\n[tools."far.fenced"]\n{fenced}[tools."far.brief"]\n{fenced}'
            f'[tools."far.away"]\ncommand = {json.dumps(tool)}\nconfirm = {json.dumps(operator)}\n'
            f'[tools."far.silent"]\ncommand = {json.dumps(tool)}\n'
            f'[tools."books.write"]\ncommand = {json.dumps(books)}\ntransaction = "books.db"\n'
            f'env = {{PYTHONPATH = "{ROOT}:{ROOT / "src"}"}}\n'
        )

    def classes(self) -> Classes:
        return Classes(self, next(self._agents))

    def restart(self) -> None:
        """Another node after the last one's sudden death."""
        self.node.kill()
        self.house.hang_up()
        self.node = self.house.node(crashing=True)

    def end(self) -> None:
        self.house.hold_true(at_rest=False)
        self.house.hang_up()
        assert self.node.stop() == 0
        self.house.verify()


class Classes:
    """One agent that has a tool of each class, and an operator who answers about it as `say` has it."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.house = stage.house
        self.name = name
        made = contracts.load(CONTRACT.replace("refund-bot", name), name=name)
        self.house.hand("bert").adopt_contract(made, self.house.hand("anna").sign_contract(made))

    def say(self, word: str) -> None:
        (self.stage.answers / self.name).write_text(word)

    def commands(self) -> list[dict[str, Any]]:
        """What the operator was told of this agent's actions, in order."""
        lines = self.stage.told.read_text().splitlines() if self.stage.told.exists() else []
        told = [json.loads(line) for line in lines]
        return [line for line in told if line["told"]["agent"] == self.house.full(self.name)]

    def start(self, tool: str, customer: str = "c1", millis: int = 60_000) -> Future[Any]:
        """Have its tool begin, and not end by itself soon."""
        asked = self.house.agent(self.name).ask({"customer": customer, "millis": millis}, tool=tool, target=None)
        await_true(lambda: self.wrote("began", customer) or asked.done())
        return asked

    def wrote(self, what: str, customer: str | None = None) -> list[dict[str, Any]]:
        """Lines of its tools' own log."""
        mine = {entry["seq"] for entry in self.entries("decision")}
        lines = [line for line in self.house.runs() if int(line["action"].rsplit("/", 1)[1]) in mine]
        return [line for line in lines if line["what"] == what and customer in (None, line.get("customer"))]

    def entries(self, kind: str) -> list[dict[str, Any]]:
        return self.house.entries(kind, self.name)

    def suspend(self) -> None:
        self.house.suspend(self.name)

    def incident(self) -> dict[str, Any]:
        return self.house.incident_of(self.name)

    def one(self, kind: str, within_s: float = 15) -> dict[str, Any]:
        """The body of the one entry of a kind, once it is there."""
        (entry,) = await_true(lambda: self.entries(kind), within_s)
        body: dict[str, Any] = entry["body"]
        return body

    def alive(self) -> list[int]:
        """Processes of its actions, and of commands about them."""
        mine = {f"{self.house.workspace.origin()}/{entry['seq']}" for entry in self.entries("decision")}
        return [pid for pid in self.house.alive() if read_marker(pid) in mine]

    def rows(self) -> int:
        """How many rows its actions have in the books."""
        mine = {f"{self.house.workspace.origin()}/{entry['seq']}" for entry in self.entries("decision")}
        connection = sqlite3.connect(self.stage.database)
        try:
            return sum(action in mine for (action,) in connection.execute("SELECT action FROM work"))
        finally:
            connection.close()


@pytest.fixture(scope="module")
def lasting(stage: Path) -> Iterator[Stage]:
    """One node for all tests that leave it alone."""
    made = Stage(model().copy(stage / "lasting"))
    try:
        yield made
        made.end()
    finally:
        made.house.tear_down()


@pytest.fixture
def classes(lasting: Stage) -> Classes:
    return lasting.classes()


@pytest.fixture
def mortal(stage: Path) -> Iterator[Stage]:
    """A node of this test's own."""
    made = Stage(model().copy(stage / f"c{len(list(stage.iterdir()))}"))
    try:
        yield made
        made.end()
    finally:
        made.house.tear_down()


# ---- fenced ------------------------------------------------------------------------------------------------------


def test_a_fenced_tool_is_stopped_once_it_is_dead_and_its_resource_refuses_it(classes: Classes) -> None:
    house = classes.house
    answer = classes.start("far.fenced")
    classes.suspend()
    assert answer.result(10)["result"]["state"] == "interrupted_confirmed"
    (command,) = classes.commands()
    epoch = classes.entries("authority.changed")[-1]["body"]["epoch"]
    marker = classes.wrote("began")[0]["action"]
    assert command["env"]["FAILWELL_EPOCH"] == str(epoch)
    assert command["env"]["FAILWELL_ACTION"] == command["told"]["marker"] == marker
    assert command["told"]["agent"] == house.full(classes.name)
    assert (command["told"]["epoch"], command["told"]["tool"]) == (epoch, "far.fenced")
    confirmed = classes.one("interrupt.confirmed")
    assert "no child left" in confirmed["proven_by"]
    assert f"refuses what is below epoch {epoch}" in confirmed["proven_by"]
    assert confirmed["ended_mono_us"] >= command["boottime_us"]  # the later of both
    assert classes.one("interrupt.attempted")["method"] == "fenced: order"
    assert classes.one("started")["executor"] == "fenced"


@pytest.mark.requirement("R6.6")
def test_a_fence_that_is_not_acknowledged_is_no_stop_until_it_is(classes: Classes) -> None:
    classes.say("3")
    answer = classes.start("far.fenced")
    classes.suspend()
    assert answer.result(15)["result"]["state"] == "interrupted_unconfirmed"
    assert classes.alive() == []
    assert "the fence command ended with 3" in classes.one("interrupt.unconfirmed")["why"]
    assert classes.incident()["marks"].keys() >= {"CONTAINMENT_FAILED"}
    assert "STOPPED" not in classes.incident()["marks"]
    assert len(classes.commands()) >= 3  # tried again while its time lasted
    classes.say("0")
    assert "later its resource said" in classes.one("interrupt.confirmed")["proven_by"]
    incident = await_true(lambda: (found := classes.incident()) and "STOPPED" in found["marks"] and found)
    assert "CONTAINMENT_FAILED" in incident["marks"]
    assert (incident["failed"], incident["waiting"]) == ([], [])
    assert classes.one("outcome")["state"] == "interrupted_unconfirmed"  # what was known of it then


def test_a_fence_command_that_hangs_is_killed_and_confirms_nothing(classes: Classes) -> None:
    classes.say("hang")
    answer = classes.start("far.fenced")
    classes.suspend()
    assert answer.result(15)["result"]["state"] == "interrupted_unconfirmed"
    assert "gave no answer in its time" in classes.one("interrupt.unconfirmed")["why"]
    classes.say("0")
    await_true(lambda: classes.entries("interrupt.confirmed"))
    await_true(lambda: classes.alive() == [])


def test_the_resource_is_told_at_a_deadline_and_not_of_what_ended_by_itself(classes: Classes) -> None:
    house = classes.house
    caller = house.agent(classes.name)
    assert caller.write("c0", tool="far.fenced", target=None)["result"]["state"] == "completed"
    assert classes.commands() == []
    assert caller.write("c1", 60_000, tool="far.brief", target=None)["result"]["state"] == "interrupted_confirmed"
    (command,) = classes.commands()
    assert command["told"]["tool"] == "far.brief"
    assert classes.one("interrupt.attempted")["method"] == "fenced: deadline"


def test_the_resource_is_told_when_the_node_has_died(mortal: Stage) -> None:
    classes = mortal.classes()
    classes.start("far.fenced")
    mortal.restart()
    assert len(classes.commands()) == 1
    assert classes.one("outcome")["state"] == "interrupted_confirmed"
    assert "refuses what is below epoch" in classes.one("interrupt.confirmed")["proven_by"]


def test_a_node_that_stops_in_good_order_tells_the_resource_first(mortal: Stage) -> None:
    classes = mortal.classes()
    classes.start("far.fenced")
    assert mortal.node.stop() == 0
    assert len(classes.commands()) == 1
    assert classes.one("outcome")["state"] == "interrupted_confirmed"
    mortal.restart()


def test_the_resource_is_told_of_a_leave_that_its_caller_took_away(classes: Classes) -> None:
    caller = classes.house.agent(classes.name)
    assert caller.ask({"customer": "c1"}, tool="far.fenced", how="decide").result(10)["verdict"] == "ALLOW"
    classes.suspend()
    why = classes.one("interrupt.unconfirmed")["why"]
    assert (
        "its resource takes nothing more of it, and refuses what is below epoch" in why
    )  # and yet nobody sees what had begun there
    assert len(classes.commands()) == 1
    assert classes.one("outcome")["state"] == "interrupted_unconfirmed"


# ---- transactional -----------------------------------------------------------------------------------------------


def test_a_transactional_tool_that_is_stopped_is_rolled_back_and_proven_so(classes: Classes) -> None:
    answer = classes.start("books.write", "c1")
    classes.suspend()
    assert answer.result(10)["result"]["state"] == "interrupted_confirmed"
    assert "rolled back: its mark is not in" in classes.one("interrupt.confirmed")["proven_by"]
    assert classes.rows() == 0


def test_a_transactional_tool_that_had_committed_when_it_was_stopped_has_completed(classes: Classes) -> None:
    answer = classes.start("books.write", "lingers", 0)
    await_true(lambda: classes.wrote("committed"))
    classes.suspend()
    assert answer.result(10)["result"]["state"] == "completed_after_interrupt"
    assert "committed: its mark is in" in classes.one("interrupt.confirmed")["proven_by"]
    assert classes.rows() == 1


@pytest.mark.parametrize(
    ("customer", "state", "rows"), [("c1", "interrupted_confirmed", 0), ("lingers", "completed", 1)]
)
def test_after_a_nodes_death_the_database_says_what_became_of_the_work(
    mortal: Stage, customer: str, state: str, rows: int
) -> None:  # fmt: skip
    classes = mortal.classes()
    millis = 0 if customer == "lingers" else 60_000
    classes.start("books.write", customer, millis)
    if customer == "lingers":
        await_true(lambda: classes.wrote("committed"))
    await_true(lambda: classes.entries("started"))
    mortal.restart()
    assert classes.one("outcome")["state"] in (state, "completed_after_interrupt" if rows else state)
    assert classes.rows() == rows


def test_a_tool_that_commits_past_its_transaction_is_told_and_its_stops_are_not_believed(mortal: Stage) -> None:
    classes = mortal.classes()
    caller = mortal.house.agent(classes.name)
    result = caller.write("cheat", tool="books.write", target=None)["result"]
    assert (result["state"], "its mark is not in the transaction" in result["why"]) == ("completed", True)
    answer = caller.start("c1", tool="books.write", target=None)
    classes.suspend()
    assert answer.result(10)["result"]["state"] == "interrupted_unconfirmed"
    for path in mortal.database.parent.glob("books.db*"):
        path.unlink()
    classes = mortal.classes()
    result = mortal.house.agent(classes.name).write("c1", tool="books.write", target=None)["result"]
    assert (result["state"], "cannot be used" in result["why"]) == ("blocked", True)
    assert classes.wrote("began") == []


HOLDS = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("PRAGMA locking_mode = EXCLUSIVE")
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def test_callers_that_wait_for_a_locked_database_hold_up_no_other_tool(mortal: Stage) -> None:
    """Attack: more of them than there are threads to start anything with."""
    classes = mortal.classes()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(mortal.database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        agent = classes.house.agent(classes.name)
        waiting = [
            agent.ask({"customer": f"w{number}", "millis": 1}, tool="books.write", target=None) for number in range(36)
        ]
        await_true(lambda: len(classes.entries("decision")) == 36)
        other = agent.ask({"customer": "other", "millis": 1}, tool="far.fenced", target=None)
        assert other.result(10)["result"]["state"] == "completed"
        assert not all(each.done() for each in waiting)
        assert holder.stdin is not None
        holder.stdin.close()
        holder.wait(10)
    assert {each.result(20)["result"]["state"] for each in waiting} <= {"blocked", "completed"}


# ---- unstoppable -------------------------------------------------------------------------------------------------


def test_what_goes_on_elsewhere_is_unconfirmed_at_once_and_confirmed_when_its_side_says_so(classes: Classes) -> None:
    classes.say("1")
    answer = classes.start("far.away", "c1")
    classes.suspend()
    assert answer.result(10)["result"]["state"] == "interrupted_unconfirmed"
    assert classes.alive() == []
    why = classes.one("interrupt.unconfirmed")["why"]
    assert why.startswith("it goes on elsewhere, as far as anybody here knows until its deadline at 20")
    await_true(lambda: len(classes.commands()) >= 2)
    assert classes.entries("interrupt.confirmed") == []
    (action,) = (entry["seq"] for entry in classes.entries("decision"))
    told = classes.house.ask("action", action)["unproven"]
    assert (told["stopped"], told["why"]) == (False, why)
    assert action in classes.house.ask("status")["unconfirmed"]
    classes.say("0")
    assert "nothing of it goes on" in classes.one("interrupt.confirmed")["proven_by"]
    assert classes.incident()["failed"] == []
    assert classes.house.ask("action", action)["unproven"]["stopped"], "its state stays what was known at the stop"
    assert action not in classes.house.ask("status")["unconfirmed"]


@pytest.mark.requirement("R6.9")
def test_nothing_but_a_clear_no_confirms_what_goes_on_elsewhere(mortal: Stage) -> None:
    classes = mortal.classes()
    classes.say("2")
    classes.start("far.away", "c1")
    classes.start("far.silent", "c2")
    classes.suspend()
    await_true(lambda: len(classes.entries("outcome")) == 2)
    await_true(lambda: len(classes.commands()) >= 2)
    time.sleep(0.3)
    assert classes.entries("interrupt.confirmed") == []
    mortal.restart()  # the next node asks again of whom somebody can be asked
    classes.say("0")
    (confirmed,) = await_true(lambda: classes.entries("interrupt.confirmed"))
    tools = {entry["seq"]: entry["body"]["tool"] for entry in classes.entries("decision")}
    assert tools[confirmed["body"]["action"]] == "far.away"


# ---- cooperative -------------------------------------------------------------------------------------------------

ACTING = """
import os, sys, time
import failwell
gate = failwell.connect(sys.argv[1])
with gate.run(agent=sys.argv[3]) as run, run.acting(sys.argv[2], customer="c1"):
    if "leave" in sys.argv:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.closerange(3, 256)
                time.sleep(60)
            os._exit(0)
        os.wait()
    print("began", flush=True)
    time.sleep(60)
"""


def acting(classes: Classes, tool: str = "desk.ask", *how: str) -> subprocess.Popen[bytes]:
    """An agent in a process of its own, in the midst of an action."""
    env = {**os.environ, "FAILWELL_CONFIG": str(classes.house.config)}
    command = [sys.executable, "-c", ACTING, str(classes.house.workspace.path), tool, classes.name, *how]
    agent = subprocess.Popen(command, stdout=subprocess.PIPE, env=env, cwd=ROOT)
    assert agent.stdout is not None
    assert agent.stdout.readline() == b"began\n"
    agent.stdout.close()
    return agent


def test_a_callers_own_action_is_confirmed_once_its_process_is_seen_to_have_ended(classes: Classes) -> None:
    agent = acting(classes)
    classes.suspend()
    why = classes.one("interrupt.unconfirmed")["why"]
    assert why == "its process did not say that it stopped"
    assert classes.one("interrupt.attempted")["method"] == "cooperative: asked, order"
    await_true(
        lambda: list(classes.house.ask("status")["unproven"].values()) == ["its connection is still held by a process"]
    )
    assert classes.entries("interrupt.confirmed") == []
    agent.kill()
    agent.wait()
    proven_by = classes.one("interrupt.confirmed", 60)["proven_by"]
    assert proven_by.startswith(f"its caller, process {agent.pid}, has ended")
    await_true(lambda: "STOPPED" in classes.incident()["marks"])


@pytest.mark.requirement("R6.15")
def test_a_callers_own_action_stays_unconfirmed_while_anything_that_it_started_is_left(classes: Classes) -> None:
    house = classes.house
    agent = acting(classes, "desk.ask", "leave")
    classes.suspend()
    classes.one("interrupt.unconfirmed")
    agent.kill()
    agent.wait()
    time.sleep(1.5)
    assert classes.entries("interrupt.confirmed") == []
    marker = f"{house.workspace.path}".encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if marker in (found := path.read_bytes()) and b"leave" in found:
            os.kill(int(path.parent.name), 9)
    classes.one("interrupt.confirmed", 60)


def test_a_callers_own_action_is_asked_to_stop_at_its_deadline(classes: Classes) -> None:
    agent = acting(classes, "desk.brief")
    assert classes.one("interrupt.attempted")["method"] == "cooperative: asked, deadline"
    assert classes.one("outcome")["state"] == "interrupted_unconfirmed"
    incident = await_true(classes.incident)
    assert "STOPPED" not in incident["marks"]  # what nobody could stop opened it
    assert "CONTAINMENT_FAILED" in incident["marks"]
    agent.kill()
    agent.wait()
    classes.one("interrupt.confirmed", 60)
    await_true(lambda: "STOPPED" in classes.incident()["marks"])
