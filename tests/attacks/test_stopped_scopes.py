"""Everything that was stopped tries every way on: one agent, all, a group, a tool, a contract (R8, I3, I8).

Each way is a test, for each kind of stop. What happened is asked of the tool's own log, never of our record.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest

from failwell.cli import main as cli
from failwell.client import powers
from failwell.core import contract as contracts
from failwell.core import orders as o
from failwell.core.errors import FailwellError, Refused
from failwell.identity import keys
from failwell.identity.persons import Signer, sign_order
from failwell.node import left_orders
from tests.e2e.test_guarded_node import guard_of
from tests.simulate.fixtures import house, model, stage
from tests.simulate.house import CONTRACT, ROOT, TOOL, Caller, House, apply, await_true

__all__ = ["house", "stage"]

SCOPES: dict[str, tuple[str, ...]] = {
    "suspend": (), "all": ("all",), "group": ("group:payments",), "contract": ("contract:refund-bot",),
    "tool": ("tool:note.write", "tool:note.send", "tool:pay.slow"),
}  # fmt: skip
#: By kind: what is stopped besides while no node runs, and an action that this alone stops.
LEFT = {
    "suspend": ("contract:other-bot", "other-bot", "desk.ask"), "all": ("group:night", "other-bot", "desk.ask"),
    "group": ("tool:desk.ask", "other-bot", "desk.ask"), "contract": ("all", "other-bot", "desk.ask"),
    "tool": ("group:payments", "refund-bot", "desk.ask"),
}  # fmt: skip
SLOW = "import time; time.sleep(0.6); print('50.00')"
ASKED = json.dumps([sys.executable, "-S", "-c", SLOW])
SETTINGS = f"[node]\nidle_s = 0\n[sources.slow]\ndeadline_ms = 5000\ncommand = {ASKED}\n"
HOST = """
import sys
from pathlib import Path
from failwell.client.wire import Wire, hello
from failwell.identity import keys
wire = Wire(Path(sys.argv[1]))
hello(wire, "host", "shop", keys.from_seed(b"h" * 32))
for line in sys.stdin:
    print(wire.call("run.open", agent=sys.argv[2], principal="customer:1", timeout_s=10), flush=True)
wire.close()
"""
SLOW_TOOL = """  - tool: pay.slow
    effect: reversible
    executor: supervised
    custody: none
    deadline: 20s
    arguments: {customer: "id", millis?: "int(0..60000)"}
    facts: {paid: {lookup: slow, type: "money(2, 0..10000)"}}
clauses:"""


def contract(agent: str, *, version: int = 2, name: str | None = None) -> contracts.Contract:
    """Also a tool whose verdict waits for a trusted source, and work handed to the other agent."""
    text = CONTRACT.format(agent=agent, version=version, at_most=1000, deadline="60s")
    made = contracts.load(text.replace("clauses:", SLOW_TOOL), name=agent)
    delegates = ("other-bot",) if agent == "refund-bot" else ()
    return msgspec.structs.replace(made, contract=name or agent, delegates=delegates)


def adopt(house: House, made: contracts.Contract) -> None:
    house.hand("bert").adopt_contract(made, house.hand("anna").sign_contract(made))


def stop(house: House, scope: str, person: str = "bert", **more: Any) -> powers.Suspended:
    return powers.stop(house.workspace, house.persons[person], scope, "it is on fire", **more)


def lift(house: House, scope: str) -> None:
    house.hand("anna").propose_lift(scope, "the fire is out", (3,))
    house.hand("cleo").approve_lift(scope)


def give(house: House, kind: str) -> None:
    """Give the stop of this kind, by every order that it takes."""
    if kind == "suspend":
        assert house.suspend().confirmed
    for scope in SCOPES[kind]:
        assert stop(house, scope).confirmed


def denied(verdict: dict[str, Any]) -> bool:
    return (verdict["verdict"], verdict["clauses"]) == ("DENY", ["stopped"])


_ready: list[House] = []


def ready(root: Path) -> House:
    """A house of this module: the agents' contracts, a source, a group and a host; made once, copied for each kind."""
    if not _ready:
        made = model().copy(root / "ready")
        node = made.node(crashing=True)
        apply(made, SETTINGS)
        for name in ("refund-bot", "other-bot"):
            adopt(made, contract(name))
        hand = made.hand("anna")
        hand.give("agent.group", o.AgentGroup(agent=made.full("refund-bot"), group="payments"))
        public = base64.b64encode(keys.from_seed(b"h" * 32).public).decode()
        hand.give("host.register", o.HostRegister(host="shop", key=public, agents=(made.full("refund-bot"),)))
        made.end(node)
        _ready.append(made)
    return _ready[0]


class World:
    """A house in which everything was under way when the stop came."""

    def __init__(self, root: Path, kind: str, stack: contextlib.ExitStack) -> None:
        self.kind = kind
        self.house = house = ready(root.parent).copy(root / "h")
        stack.callback(house.tear_down)
        self.node = house.node(crashing=True)
        self.host = subprocess.Popen(
            [sys.executable, "-c", HOST, str(house.workspace.socket), house.full("refund-bot")], cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        stack.callback(self._end_host)
        self._set_out()
        self.before = len(house.began())

    def _end_host(self) -> None:
        self.host.communicate(timeout=20)

    def _set_out(self) -> None:
        """Leave everything under way, stop, and wait until nothing moves."""
        house = self.house
        self.session, flood = house.agent(), house.agent()
        self.sub = house.caller("other-bot")
        self.sub.run = self.session.wire.call("run.open", agent=self.sub.agent, parent=self.session.run)
        self.earlier_run = self.open_by_host()
        self.kept = self.session.act({"customer": "kept", "millis": 0}, how="decide", call="kept")["verdict"]
        self.done = self.session.write("done", call="done")
        self.ticket = self.session.write("maybe")["verdict"]["ticket"]
        self.hand_approves(int(self.ticket))
        self.running = self.session.start("running", deaf=True)
        self.handed = self.sub.start("handed")
        guard = guard_of(self.node)
        os.kill(guard, signal.SIGSTOP)
        try:
            ask = self.session.ask
            self.sealing = ask({"customer": "sealing", "millis": 0}, tool="note.send")
            self.asking = ask({"customer": "asking", "millis": 0}, tool="pay.slow")
            self.leaving = ask({"customer": "leaving"}, tool="note.send", how="decide", call="leaving")
            self.flood = [flood.ask({"customer": f"flood-{number}", "millis": 0}) for number in range(6)]
            time.sleep(0.1)
            give(house, self.kind)
            self.flood += [flood.ask({"customer": f"late-{number}", "millis": 0}) for number in range(3)]
        finally:
            os.kill(guard, signal.SIGCONT)
        for answer in (self.running, self.handed, *self.flood):
            answer.result(20)
        await_true(lambda: not house.alive())

    def hand_approves(self, ticket: int) -> None:
        self.house.hand("anna").approve_ticket(ticket, "as asked")

    def open_by_host(self) -> int:
        """A host is a process of its own: one that also proved to be the agent says nothing of its principal."""
        assert self.host.stdin is not None
        assert self.host.stdout is not None
        self.host.stdin.write("\n")
        self.host.stdin.flush()
        return int(self.host.stdout.readline())

    def denied(self, verdict: dict[str, Any]) -> bool:
        """Whether a verdict is the denial that a stop of this kind gives, also of who handed the work over."""
        clauses = [clause.rpartition("/")[2] for clause in verdict["clauses"]]
        expected = "authority.suspended" if self.kind == "suspend" else "stopped"
        return (verdict["verdict"], clauses) == ("DENY", [expected])

    def nothing_began(self) -> bool:
        return len(self.house.began()) == self.before and not self.house.alive()


@pytest.fixture(scope="module", params=sorted(SCOPES))
def world(stage: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        yield World(stage / request.param, request.param, stack)


@pytest.fixture
def grouped(stage: Path) -> Iterator[House]:
    """refund-bot is in a group here, and other-bot is not."""
    made = ready(stage).copy(stage / f"g{len(list(stage.iterdir()))}")
    try:
        yield made
    finally:
        made.tear_down()


@pytest.fixture(scope="module")
def served(stage: Path) -> Iterator[House]:
    """A house with a node that several tests share; each lifts what it stopped."""
    made = ready(stage).copy(stage / "served")
    try:
        made.node(crashing=True)
        yield made
    finally:
        made.tear_down()


def state_of(world: World, answer: Future[Any]) -> str:
    """How an action under way ended: its outcome, the denial it got, or the code of the refusal."""
    try:
        told = answer.result(20)
    except FailwellError as error:
        return error.code
    if told.get("result") is not None:
        return str(told["result"]["state"])
    assert world.denied(told["verdict"]), told
    return "denied"


# ---- what was under way ------------------------------------------------------------------------------------------


def test_what_ran_is_stopped_also_what_was_handed_over(world: World) -> None:
    states = [answer.result(1)["result"]["state"] for answer in (world.running, world.handed)]
    assert states == ["interrupted_confirmed"] * 2
    assert world.nothing_began()


def test_an_allow_of_a_millisecond_before_starts_nothing_once_the_stop_was_given(world: World) -> None:
    states = {state_of(world, answer) for answer in world.flood[-3:]}
    assert states <= {"denied", "blocked", "fenced"}, states
    assert not [line for line in world.house.began() if line["customer"].startswith("late")]
    earlier = {state_of(world, answer) for answer in world.flood}
    assert earlier <= {"denied", "blocked", "fenced", "completed", "completed_after_interrupt", "interrupted_confirmed"}


def test_an_action_that_waited_for_its_seal_never_starts(world: World) -> None:
    assert state_of(world, world.sealing) in ("blocked", "fenced", "unsealed")
    assert world.house.began("sealing") == []


def test_a_leave_that_waited_for_its_seal_never_leaves(world: World) -> None:
    with pytest.raises(FailwellError):
        world.leaving.result(20)


def test_an_action_that_waited_for_a_trusted_fact_is_denied(world: World) -> None:
    assert state_of(world, world.asking) == "denied"
    assert world.house.began("asking") == []


# ---- the same sessions, and what they kept -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["execute", "begin", "decide"])
def test_an_open_session_is_refused_whatever_way_it_acts(world: World, how: str) -> None:
    assert world.denied(world.session.act({"customer": "open", "millis": 0}, how=how)["verdict"])
    assert world.nothing_began()


def test_a_stale_client_that_kept_its_verdict_finds_it_withdrawn(world: World) -> None:
    """Attack: the call that was allowed is asked again, and its old ALLOW is taken for leave."""
    assert world.kept["verdict"] == "ALLOW"
    for how in ("decide", "begin", "execute"):
        again = world.session.act({"customer": "kept", "millis": 0}, how=how, call="kept")["verdict"]
        assert (world.denied(again), again["repeated"]) == (True, True), how
    ends = [each for each in world.house.entries("outcome") if each["body"]["decision"] == world.kept["entry"]]
    assert [each["body"]["state"] for each in ends] == ["interrupted_unconfirmed"]
    assert world.nothing_began()


def test_what_was_done_before_is_told_as_done_and_is_not_done_again(world: World) -> None:
    again = world.session.write("done", call="done")
    assert (again["verdict"]["verdict"], again["verdict"]["state"]) == ("ALLOW", "completed")
    assert again["result"]["state"] == "completed", "what came of it then"
    assert world.nothing_began()


def test_an_approval_that_people_gave_before_starts_nothing(world: World) -> None:
    assert world.denied(world.session.write("maybe", ticket=int(world.ticket))["verdict"])
    assert world.nothing_began()


def test_an_action_that_waits_for_a_ticket_waits_for_nothing_more(world: World) -> None:
    """What would be escalated is denied: nobody is asked to let pass what is stopped."""
    asked = world.session.write("maybe")["verdict"]
    assert world.denied(asked)
    assert asked["ticket"] is None


def test_who_works_on_what_was_handed_over_is_refused(world: World) -> None:
    assert world.denied(world.sub.write("sub")["verdict"])
    assert world.nothing_began()


# ---- new ways in -------------------------------------------------------------------------------------------------


def test_a_new_session_is_refused(world: World) -> None:
    assert world.denied(world.house.agent().write("new-session")["verdict"])
    assert world.nothing_began()


def test_a_run_that_a_host_opened_before_or_opens_now_gets_nothing_done(world: World) -> None:
    for run in (world.earlier_run, world.open_by_host()):
        caller = world.house.caller()
        caller.run = run
        assert world.denied(caller.write("for-a-host")["verdict"])
    assert world.nothing_began()


def test_the_python_door_is_refused(world: World) -> None:
    with world.house.gate() as gate, gate.run("refund-bot") as run:
        with pytest.raises(FailwellError, match=r"stopped|suspended"):
            run.call("note.write", customer="python", millis=0)
        assert not run.decide("note.write", customer="python", millis=0).allowed
    assert world.nothing_began()


def test_the_command_line_is_refused_also_in_a_fresh_process(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    command = ["run", "--agent", "refund-bot", "--tool", "note.write", "--arg", "customer=cli", "--arg", "millis=0",
               "--json", "--", sys.executable, "-I", "-S", str(TOOL), str(world.house.witness)]  # fmt: skip
    monkeypatch.setenv("FAILWELL_CONFIG", str(world.house.config))
    monkeypatch.setenv("FAILWELL_WORKSPACE", str(world.house.workspace.path))
    if world.kind in ("suspend", "all"):
        whole = [sys.executable, "-m", "failwell", *command]
        done = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        code, out = done.returncode, done.stdout
        assert out, done.stderr
    else:
        code, out = cli._main(command), capsys.readouterr().out
    assert code == 1
    assert world.denied(json.loads(out))
    assert world.nothing_began()


# ---- and after a restart of everything ---------------------------------------------------------------------------


@pytest.mark.requirement("R8.4", "R28.3")
def test_after_everything_was_killed_nothing_starts_in_old_runs_or_new_and_what_was_left_is_read_first(
    world: World,
) -> None:  # fmt: skip
    """A stop of another kind is left in the workspace while no node runs."""
    house, (left, agent, tool) = world.house, LEFT[world.kind]
    world.node.kill()
    house.hang_up()
    assert not stop(house, left).confirmed
    world.node = house.node(crashing=True)
    stopped = house.agent(agent).act({"customer": "left"}, tool=tool, how="begin")
    assert denied(stopped["verdict"])
    assert left in house.ask("status")["stopped"]
    old, new = house.caller(), house.agent()
    old.run = world.earlier_run
    for caller in (old, new):
        assert caller.write("restarted")["verdict"]["verdict"] == "DENY"
    assert world.nothing_began()
    house.hold_true()
    house.verify()


# ---- no node answers, or it cannot write -------------------------------------------------------------------------


@pytest.mark.requirement("R28.3")
def test_a_wedged_node_delays_no_stop_of_a_group_and_what_is_not_in_it_goes_on(grouped: House) -> None:
    house = grouped
    node = house.node(crashing=True)
    running = house.agent().start("mine", grandchild=True, deaf=True)
    others = house.agent("other-bot").start("theirs", 2_500)
    os.kill(node.pid, signal.SIGSTOP)
    try:
        done = stop(house, "group:payments", wait_s=0.3)
        assert not done.confirmed
        assert [sent.sent for sent in done.sent] == [True], "only the group's supervisor is told"
        await_true(lambda: len(house.alive()) == 1, 5)
    finally:
        os.kill(node.pid, signal.SIGCONT)
    assert running.result(10)["result"]["state"] == "interrupted_confirmed"
    assert others.result(10)["result"]["state"] == "completed"
    await_true(lambda: house.ask("status")["stopped"] == ["group:payments"])
    assert denied(house.agent().write("later")["verdict"])
    house.hold_true()


@pytest.mark.requirement("R28.3")
def test_a_store_that_fails_keeps_no_stop_from_taking_effect_and_it_is_on_record_once_it_writes(house: House) -> None:
    """Attack: the order's own commit fails. Its fence stays up, and whoever gave it need not come back."""
    node = house.node(crashing=True)
    caller = house.agent()
    running = caller.start("c1", grandchild=True)
    limits = resource.prlimit(node.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        done = stop(house, "all")
        assert not done.confirmed
        await_true(lambda: not house.alive(), 10)
        for path in house.workspace.orders.glob("*.order"):
            path.unlink()  # only the node remembers it now
    finally:
        resource.prlimit(node.pid, resource.RLIMIT_FSIZE, limits)
    await_true(lambda: house.ask("status")["stopped"] == ["all"])
    with contextlib.suppress(FailwellError):
        assert running.result(10)["result"]["state"] == "interrupted_confirmed"
    await_true(lambda: house.ask("status")["health"] == "ok")
    assert denied(house.agent().write("later")["verdict"])
    assert [line["customer"] for line in house.began()] == ["c1"]
    house.hold_true(at_rest=False)


def test_a_forged_stop_in_the_workspace_stops_nothing_and_a_lift_is_not_read_there(served: House) -> None:
    house = served
    stranger = Signer("bert", keys.generate())
    wanted = o.StopScope(scope="all", reason="because I say so")
    for details, kind, signer in (
        (wanted, "stop", stranger),
        (o.LiftApprove(scope="all", epoch=1, proposal="0" * 64), "stop.lift", house.persons["cleo"]),
    ):
        order = powers.make_order(kind, house.workspace.origin(), signer.person, "0" * 64, details)
        path = left_orders.leave(house.workspace.orders, sign_order(signer, order))
        await_true(path.with_suffix(".refused").exists)
    assert house.ask("status")["stopped"] == []
    assert house.agent().write("goes-on")["result"]["state"] == "completed"


# ---- who comes within it later -----------------------------------------------------------------------------------


def test_whoever_comes_within_a_stop_later_is_stopped_with_what_it_runs(served: House) -> None:
    """Attack: an agent is put into a stopped group while it runs, or is registered into it."""
    house = served
    assert stop(house, "group:night").confirmed, "nobody is in it, and it is stopped all the same"
    joined = house.agent("bot-01")
    running = joined.start("joining")
    hand = house.hand("anna")
    hand.give("agent.group", o.AgentGroup(agent=joined.agent, group="night"))
    assert running.result(10)["result"]["state"] == "interrupted_confirmed"
    assert denied(joined.write("joined")["verdict"])
    fresh = o.AgentRegister(
        agent=house.full("fresh-bot"), owner="anna", groups=("night",),
        key=base64.b64encode(keys.generate().public).decode(),
    )  # fmt: skip
    hand.give("agent.register", fresh)
    assert [each["name"] for each in house.ask("stop", "group:night")["agents"]] == ["bot-01", "fresh-bot"]
    assert house.began("joined") == []
    lift(house, "group:night")


@pytest.mark.requirement("R23.2")
def test_once_two_persons_lifted_a_stop_what_is_new_starts_and_what_is_old_does_not(served: House) -> None:
    house = served
    caller = house.agent()
    for scope in ("all", "group:payments", "tool:note.write", "contract:refund-bot"):
        old = caller.start(f"before {scope}".replace(" ", "-").replace(":", "-"))
        assert stop(house, scope).confirmed
        assert old.result(10)["result"]["state"] == "interrupted_confirmed"
        assert denied(caller.write("c1")["verdict"])
        with pytest.raises(Refused, match="two other persons"):
            house.hand("bert").propose_lift(scope, "I was wrong", (3,))
        lift(house, scope)
        assert caller.write(f"after-{scope.replace(':', '-')}")["result"]["state"] == "completed"
    assert house.began("c1") == []
    house.hold_true()
    house.verify()


def test_two_stops_at_once_end_only_when_both_are_lifted_and_suspend_nobody(served: House) -> None:
    house = served
    caller: Caller = house.agent("bot-02")
    for scope in ("all", "tool:note.write"):
        assert stop(house, scope).confirmed
    # More than a burst for which an agent is suspended.
    told = [caller.write(f"held-{number}")["verdict"] for number in range(25)][-1]
    assert told["because"].startswith("Everything is stopped by bert (entry ")
    assert "Two other persons lift it" in told["because"]
    lift(house, "all")
    assert caller.write("held")["verdict"]["because"].startswith("Tool note.write is stopped by bert")
    assert [line for line in house.began() if line["customer"].startswith("held")] == []
    lift(house, "tool:note.write")
    assert caller.write("c2")["result"]["state"] == "completed"
    assert house.ask("agents")[caller.agent]["authority"] == "ACTIVE"
