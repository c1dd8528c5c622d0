"""A stopped agent tries every way on: open sessions, fresh processes, old permits, restarts, doors and keys."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from failwell.client import powers
from failwell.client.wire import Wire, hello
from failwell.core import orders as o
from failwell.core.errors import FailwellError, Refused
from failwell.identity import agents, keys
from failwell.identity.persons import Signer, sign_order
from failwell.node import left_orders
from tests.simulate.fixtures import house, stage
from tests.simulate.house import ROOT, House, await_true

__all__ = ["house", "stage"]

FRESH = """
import sys
from pathlib import Path
from tests.simulate.house import House
from failwell.identity.agents import load_agent_key
house = House(Path(sys.argv[1]), {}, {})
house.agent_keys["refund-bot"] = load_agent_key(house.config, house.workspace.origin(), house.full("refund-bot"))
caller = house.agent("refund-bot")
print(caller.write("from-a-fresh-process")["verdict"]["verdict"])
"""


def refused(answer: dict[str, object]) -> bool:
    verdict = answer["verdict"]
    assert isinstance(verdict, dict)
    return (verdict["verdict"], verdict["clauses"]) == ("DENY", ["authority.suspended"])


# ---- after the suspension ----------------------------------------------------------------------------------------


@pytest.mark.requirement("R8.3", "R8.4")
def test_a_suspended_agent_is_refused_in_every_session_process_and_after_every_restart(house: House) -> None:
    node = house.node(crashing=True)
    open_session, stale = house.agent(), house.agent()
    stale_run = stale.run
    assert house.suspend().confirmed
    assert refused(open_session.write("open-session"))
    assert refused(house.agent().write("new-session"))
    fresh = subprocess.run(
        [sys.executable, "-c", FRESH, str(house.root)], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert fresh.stdout.split() == ["DENY"]
    with house.gate() as gate, gate.run("refund-bot") as run, pytest.raises(FailwellError, match="suspended"):
        run.call("note.write", customer="the-python-door", millis=0)
    house.end(node)
    node = house.node(crashing=True)
    assert refused(house.agent().write("after-a-restart"))
    node.kill()
    house.hang_up()
    house.node(crashing=True)
    after = house.caller()
    after.run = stale_run
    assert refused(after.write("after-a-crash"))
    assert house.began() == []
    assert house.agent("other-bot").write("the-other")["result"]["state"] == "completed"
    house.hold_true()


def test_an_allow_of_a_millisecond_ago_starts_nothing_once_the_suspension_is_given(house: House) -> None:
    """Decisions stream in while the order comes: what was allowed and not started by then never starts."""
    house.node(crashing=True)
    callers = [house.agent() for _ in range(4)]
    answers = [
        caller.ask({"customer": f"c{number}-{place}", "millis": 0})
        for number in range(10)
        for place, caller in enumerate(callers)
    ]
    done = house.suspend(person="cleo")
    assert done.confirmed
    ends = [answer.result(30) for answer in answers]
    states = {end["result"]["state"] for end in ends if end["result"] is not None}
    assert "blocked" in states or any(end["result"] is None for end in ends)
    await_true(lambda: not house.alive())
    house.hold_true()
    suspended = house.entries("authority.changed")[-1]
    late = [line for line in house.began() if line["boottime_us"] > suspended["mono_us"] + 2_000_000]
    assert late == []


def test_a_suspension_stops_a_deaf_tool_and_its_grandchild_in_a_session_of_its_own(house: House) -> None:
    house.node(crashing=True)
    caller = house.agent()
    running = caller.start("c1", grandchild=True, deaf=True)
    await_true(lambda: any(line["what"] == "grandchild" for line in house.runs()))
    assert house.suspend().confirmed
    assert running.result(10)["result"]["state"] == "interrupted_confirmed"
    assert house.alive() == []
    confirmed = house.entries("interrupt.confirmed")[-1]["body"]
    assert confirmed["processes"] >= 2
    house.hold_true(caller.acks)


def test_suspending_one_agent_leaves_the_others_tools_running(house: House) -> None:
    house.node(crashing=True)
    other = house.agent("other-bot")
    others = other.start("theirs", 1_500)
    mine = house.agent().start("mine")
    house.suspend()
    assert mine.result(10)["result"]["state"] == "interrupted_confirmed"
    assert others.result(10)["result"]["state"] == "completed"


# ---- the node does not answer ------------------------------------------------------------------------------------


@pytest.mark.requirement("R28.3")
def test_a_wedged_node_does_not_delay_a_stop_and_takes_the_order_when_it_wakes(house: House) -> None:
    node = house.node(crashing=True)
    caller, other = house.agent(), house.agent("other-bot")
    running = caller.start("c1", grandchild=True, deaf=True)
    others = other.start("theirs", 4_000)
    await_true(lambda: any(line["what"] == "grandchild" for line in house.runs()))
    os.kill(node.pid, signal.SIGSTOP)
    queued = [caller.ask({"customer": f"while-wedged-{number}", "millis": 0}) for number in range(3)]
    began = time.monotonic()
    done = house.suspend(wait_s=0.3)
    assert not done.confirmed
    assert [sent.sent for sent in done.sent] == [True], "only this agent's supervisor is told"
    await_true(lambda: len(house.alive()) == 1, 5)
    assert time.monotonic() - began < 6
    assert len(list(house.workspace.orders.glob("*.order"))) == 1
    os.kill(node.pid, signal.SIGCONT)
    assert running.result(10)["result"]["state"] == "interrupted_confirmed"
    for answer in queued:
        told = answer.result(10)
        assert told["result"] is None or told["result"]["state"] != "completed"
    assert others.result(10)["result"]["state"] == "completed"
    await_true(lambda: not list(house.workspace.orders.glob("*.order")))
    assert refused(caller.write("later"))
    assert len(list(house.workspace.orders.glob("*.taken"))) == 1
    assert house.entries("order")[-1]["body"]["order"] == "agent.suspend"
    incident = house.incident_of()
    assert {"ORDERED", "SUSPENDED", "HELD", "STOPPED"} <= incident["marks"].keys()
    assert [line["customer"] for line in house.began()] == ["c1", "theirs"]
    house.hold_true()


def test_an_order_left_while_no_node_runs_is_the_first_thing_the_next_node_does(house: House) -> None:
    done = house.suspend()
    assert not done.confirmed
    house.node(crashing=True)
    assert refused(house.agent().write("c1"))
    assert house.ask("status")["suspended"] == ["refund-bot"]
    assert house.incident_of()["marks"].keys() >= {"SUSPENDED", "HELD"}


def test_an_order_that_comes_between_verdict_and_start_stops_the_start(house: House) -> None:
    node = house.node(crashing=True)
    caller = house.agent()
    caller.write("warm")
    signed = make_suspension(house, "anna")
    answer = caller.ask({"customer": "c1", "millis": 300})
    left_orders.leave(house.workspace.orders, signed)
    ends = answer.result(20)
    assert ends["result"] is None or ends["result"]["state"] in ("blocked", "interrupted_confirmed")
    await_true(lambda: house.entries("order")[-1]["body"]["order"] == "agent.suspend")
    await_true(lambda: not house.alive())
    assert node.process.poll() is None
    house.hold_true(at_rest=False)


def make_suspension(
    house: House, person: str, signer: Signer | None = None, agent: str = "refund-bot"
) -> o.SignedOrder:  # fmt: skip
    used = signer or house.persons[person]
    details = o.AgentSuspend(agent=house.full(agent), reason="it misbehaves")
    order = powers.make_order("agent.suspend", house.workspace.origin(), used.person, o.shown_digest(b""), details)
    return sign_order(used, order)


def test_orders_left_in_quick_succession_are_all_read(house: House) -> None:
    """Two changes of a directory can carry one time stamp: neither may hide the other."""
    house.node(crashing=True)
    names = [f"bot-{number:02d}" for number in range(12)]
    for name in names:
        left_orders.leave(house.workspace.orders, make_suspension(house, "anna", agent=name))
    await_true(lambda: house.ask("status")["suspended"] == names, 5)


def test_a_forged_order_in_the_workspace_is_refused_kept_and_stops_nobody(house: House) -> None:
    house.node(crashing=True)
    orders = house.workspace.orders
    true = left_orders.leave(orders, make_suspension(house, "bert", agent="other-bot"))
    await_true(lambda: not true.exists())
    stranger = Signer("bert", keys.generate())
    forged = left_orders.leave(orders, make_suspension(house, "bert", stranger))
    for name, text in (("a", b""), ("b", b"{}"), ("c", b"\xff" * 100), ("d", b'{"order":1}'), ("e", b"x" * 5_000_000)):
        (orders / f"{name}.order").write_bytes(text)
    (orders / "replayed.order").write_bytes(next(orders.glob("*.taken")).read_bytes())
    (orders / "folder.order").mkdir()
    (orders / "nowhere.order").symlink_to(orders / "missing")
    await_true(lambda: not forged.exists(), 5)
    await_true(lambda: not (orders / "e.order").exists(), 5)
    assert forged.with_suffix(".refused").exists()
    assert {path.name for path in orders.glob("?.refused")} == {f"{name}.refused" for name in "abcde"}
    assert house.agent().write("goes-on")["result"]["state"] == "completed"
    assert house.ask("status")["suspended"] == ["other-bot"]


def test_an_orders_directory_that_is_gone_or_a_file_permits_nothing_and_kills_nothing(house: House) -> None:
    node = house.node(crashing=True)
    caller = house.agent()
    house.workspace.orders.rename(house.root / "away")
    answer = caller.ask({"customer": "c1", "millis": 0})
    told = answer.result(20)["result"]
    assert (told["state"], "order was left" in told["why"]) == ("blocked", True)
    assert house.began() == []
    assert house.suspend().confirmed, "containment goes on"
    (house.root / "away").rename(house.workspace.orders)
    assert node.process.poll() is None
    assert refused(caller.write("c2"))


@pytest.mark.parametrize("code", ["storage-failed", "corrupt", None])
def test_a_suspension_is_left_and_the_tools_are_told_when_the_node_answers_that_it_cannot(
    house: House, code: str | None
) -> None:
    """An answer is not a stop: a node that says no because it is unwell counts as one that says nothing."""
    house.node(crashing=True)
    running = house.agent().start("c1")
    other = Path(house.workspace.socket)
    answering = Impostor(other.with_name("impostor.sock"), house.workspace.origin(), code)
    other.rename(other.with_name("true.sock"))
    os.rename(answering.path, other)
    try:
        done = house.suspend()
    finally:
        other.with_name("true.sock").rename(other)
        answering.close()
    assert not done.confirmed
    assert [sent.sent for sent in done.sent] == [True]
    assert running.result(10)["result"]["state"] == "interrupted_confirmed"
    await_true(lambda: house.ask("status")["suspended"] == ["refund-bot"])


class Impostor:
    """A socket that answers every request with one error; without a code it greets with what is no message."""

    def __init__(self, path: Path, origin: str, code: str | None) -> None:
        self.path = path
        self._code = code
        self._origin = origin
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            if self._code is None:
                connection.sendall((4).to_bytes(4, "big") + b"{no}")
                return
            connection.sendall(frame({"protocol": 1, "origin": self._origin, "node": "n", "challenge": "", "pid": 0}))
            length = int.from_bytes(connection.recv(4, 0x100), "big")
            request = json.loads(connection.recv(length, 0x100))
            error = {"code": self._code, "message": "writing failed", "hint": None}
            connection.sendall(frame({"id": request["id"], "error": error}))
            connection.recv(1)

    def close(self) -> None:
        self._listener.close()
        self._thread.join(5)


def frame(message: object) -> bytes:
    data = json.dumps(message).encode()
    return len(data).to_bytes(4, "big") + data


# ---- whose connection is it --------------------------------------------------------------------------------------


@pytest.mark.requirement("R3.1")
def test_no_key_a_wrong_key_and_another_agents_key_open_nothing(house: House) -> None:
    house.node(crashing=True)
    nobody = house.caller(None)
    nobody.agent = house.full("refund-bot")
    with pytest.raises(Refused, match="has not proved"):
        nobody.open()
    with pytest.raises(Refused, match="has not proved"):
        nobody.ask({}).result(5)
    with pytest.raises(Refused, match="does not hold"):
        house.caller("refund-bot", key=keys.generate())
    with pytest.raises(Refused, match="does not hold"):
        house.caller("refund-bot", key=house.agent_keys["other-bot"])
    other = house.agent("other-bot")
    with pytest.raises(Refused, match="has not proved"):
        other.ask({"customer": "c1"}, agent=house.full("refund-bot")).result(5)
    assert house.began() == []
    await_true(lambda: sum(entry["body"]["count"] for entry in house.entries("refusals")) >= 5)
    assert house.entries("decision") == []


@pytest.mark.requirement("R3.2")
def test_a_proof_is_worth_nothing_on_another_connection(house: House) -> None:
    house.node(crashing=True)
    first, second = Wire(house.workspace.socket), Wire(house.workspace.socket)
    name, greeting = house.full("refund-bot"), first.greeting
    proof = agents.prove(
        house.agent_keys["refund-bot"], greeting["origin"], "agent", name, bytes.fromhex(greeting["challenge"]),
        greeting["node"],
    )  # fmt: skip
    text = base64.b64encode(proof).decode()
    try:
        assert first.call("hello", role="agent", name=name, proof=text, timeout_s=5)["proved"] == name
        with pytest.raises(Refused):
            second.call("hello", role="agent", name=name, proof=text, timeout_s=5)
        with pytest.raises(Refused):
            first.call("hello", role="host", name="refund-bot", proof=text, timeout_s=5)
        with pytest.raises(Refused):
            first.call("hello", role="person", name="anna", proof=text, timeout_s=5)
    finally:
        first.close()
        second.close()


def test_thousands_of_unproved_calls_become_a_bounded_number_of_summaries(house: House) -> None:
    house.node(crashing=True)
    nobody = house.caller(None)
    nobody.agent = house.full("refund-bot")
    began = time.monotonic()
    answers = [nobody.ask({}, how="decide") for _ in range(4_000)]
    for answer in answers:
        with pytest.raises(Refused):
            answer.result(30)
    took_s = time.monotonic() - began
    await_true(lambda: sum(entry["body"]["count"] for entry in house.entries("refusals")) == 4_000)
    assert len(house.entries("refusals")) <= took_s + 2, "one summary per source and second"
    assert house.entries("decision") == []
    assert house.agent().write("others-work")["result"]["state"] == "completed"


def test_forged_orders_over_the_socket_are_refused_and_counted(house: House) -> None:
    house.node(crashing=True)
    wire = house.caller(None).wire
    forged = make_suspension(house, "bert", Signer("bert", keys.generate()))
    for _ in range(20):
        with pytest.raises(Refused):
            wire.call("order", orders=[powers.as_fields(forged)], timeout_s=5)
    assert house.ask("status")["suspended"] == []
    await_true(lambda: sum(entry["body"]["count"] for entry in house.entries("refusals")) == 20)


def test_one_agent_cannot_settle_or_hide_what_another_runs(house: House) -> None:
    """Settling takes an action off the table of what runs: then no order would reach it."""
    house.node(crashing=True)
    victim, thief = house.agent(), house.agent("other-bot")
    answer = victim.ask({"customer": "c1"}, tool="desk.ask", how="begin").result(5)
    action = answer["verdict"]["entry"]
    assert answer["verdict"]["verdict"] == "ALLOW"
    with pytest.raises(Refused):
        thief.wire.call("settle", agent=thief.agent, action=action, state="completed", timeout_s=5)
    again = house.caller()
    with pytest.raises(Refused):
        again.wire.call("settle", agent=again.agent, action=action, state="completed", timeout_s=5)
    assert [item["action"] for item in house.ask("running")] == [action]
    victim.wire.call("settle", agent=victim.agent, action=action, state="completed", timeout_s=5)


def test_one_agent_cannot_use_up_call_ids_in_the_run_of_another(house: House) -> None:
    house.node(crashing=True)
    victim, thief = house.agent(), house.agent("other-bot")
    thief.run = victim.run
    answer = thief.write("stolen", call="call-of-mine")
    assert answer["verdict"]["clauses"] == ["run.unknown"]
    told = house.entries("decision", "other-bot")[-1]
    assert (told["run"], told["body"]["principal"]) == (None, None)
    assert victim.write("mine", call="call-of-mine")["result"]["state"] == "completed"


def test_a_second_agent_whose_name_looks_like_the_first_is_not_registered(house: House) -> None:
    house.node(crashing=True)
    for name in ("refund-b0t", "refund_bot", "refund-bot"):
        with pytest.raises(FailwellError):
            house.register(house.hand("anna"), f"spiffe://evil.example/agent/{name}")


def test_a_hello_for_the_short_name_and_one_for_the_full_name_prove_the_same_agent(house: House) -> None:
    house.node(crashing=True)
    wire = Wire(house.workspace.socket)
    try:
        assert hello(wire, "agent", "refund-bot", house.agent_keys["refund-bot"]) == house.full("refund-bot")
    finally:
        wire.close()
