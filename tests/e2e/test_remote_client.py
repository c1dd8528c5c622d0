"""The same program at a door elsewhere: `connect("http://...")` gives what the socket gives, in the same words."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import failwell
from failwell.client.remote_powers import remote_hand
from failwell.core import orders as o
from failwell.core.errors import InputError, NotFound, Unhealthy, Unreachable
from tests.simulate.fixtures import model, stage
from tests.simulate.house import SETTINGS, SPIFFE, TOOL, House, apply, await_true

__all__ = ["stage"]

BOT = f"{SPIFFE}refund-bot"


class Web:
    """A door's process, which can be ended and started again at the same address."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.address = ""
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "failwell.web", "--workspace", str(self.house.workspace.path)]
        if self.address:
            command += ["--listen", self.address.removeprefix("http://")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().decode().strip()
        assert self.address.startswith("http://127.0.0.1:")

    def end(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=15)

    def gate(self) -> failwell.Gate:
        os.environ["FAILWELL_CONFIG"] = str(self.house.config)
        return failwell.connect(self.address)


@pytest.fixture(scope="module")
def web(stage: Path) -> Iterator[Web]:
    made = model().copy(stage / "remote")
    made.node()
    command = [sys.executable, "-I", "-S", str(TOOL), str(made.witness)]
    apply(made, f'{SETTINGS}\n[http]\nlisten = "127.0.0.1:0"\n[tools."note.write"]\ncommand = {command}\n')
    door = Web(made)
    yield door
    door.end()
    made.hang_up()
    assert made.nodes[-1].stop() == 0
    made.hold_true()
    made.verify()
    made.tear_down()


@pytest.fixture(params=["here", "elsewhere"])
def gate(web: Web, request: pytest.FixtureRequest) -> Iterator[failwell.Gate]:
    """The same tests at the socket and over HTTP."""
    made = web.house.gate() if request.param == "here" else web.gate()
    with made:
        yield made


def test_actions_are_decided_executed_and_refused_in_the_same_words(gate: failwell.Gate) -> None:
    agent = "bot-11" if type(gate) is failwell.Gate else "bot-12"
    with gate.run(agent, principal="customer:1", request="Please") as run:
        assert run.id is not None
        assert run.decide("note.write", customer="c", millis=0).allowed
        result = run.call("note.write", customer="c1", millis=0, call_id=f"one-{run.id}")
        assert result is not None
        assert run.call("note.write", customer="c1", millis=0, call_id=f"one-{run.id}") == result
        with pytest.raises(failwell.Denied) as denied:
            run.call("note.unknown", customer="c")
        assert denied.value.entry > 0
        with pytest.raises(failwell.Escalated) as escalated:
            run.call("note.write", customer="maybe", millis=0)
        ticket = escalated.value.ticket
        assert ticket is not None
        assert "failwell ticket show" in str(escalated.value.hint)
        assert gate.ticket(ticket).state == "open"
        assert run.explain(denied.value.entry, "It seemed right.") > 0


def test_an_approved_ticket_lets_the_action_pass(web: Web, gate: failwell.Gate) -> None:
    with gate.run("bot-13") as run:
        with pytest.raises(failwell.Escalated) as escalated:
            run.call("note.write", customer="maybe", millis=0)
        number = escalated.value.ticket
        assert number is not None
        web.house.hand("anna").approve_ticket(int(number), "It is fine.")
        assert run.wait(number, timeout_s=5).approved
        assert run.call("note.write", customer="maybe", millis=0, ticket=number) is not None


def _act_until_told(run: failwell.Run, began: threading.Event) -> None:
    with run.acting("desk.ask", customer="d") as acting:
        began.set()
        await_true(lambda: acting.interrupted)
        raise RuntimeError("stopped")


def test_a_function_stays_here_and_is_asked_to_stop_from_there(web: Web) -> None:
    began, over = threading.Event(), threading.Event()

    def stop() -> None:
        began.wait(5)
        web.house.suspend("bot-20")
        over.set()

    with web.gate() as gate:

        @gate.tool("desk.ask")
        def desk_ask(customer: str) -> Any:
            began.set()
            return {"asked": customer}

        with gate.run("bot-20") as run:
            assert desk_ask(customer="c") == {"asked": "c"}
            began.clear()
            threading.Thread(target=stop).start()
            with pytest.raises(RuntimeError, match="stopped"):
                _act_until_told(run, began)
        assert over.wait(5)
    ended = web.house.entries("outcome", "bot-20")
    assert [entry["body"]["state"] for entry in ended] == ["completed", "interrupted_unconfirmed"]


def test_an_async_function_is_cancelled_when_it_is_to_stop(web: Web) -> None:
    async def whole() -> None:
        began = asyncio.Event()
        with web.gate() as gate:

            @gate.tool("desk.ask")
            async def desk_ask(customer: str) -> str:
                began.set()
                await asyncio.sleep(30)
                return customer

            async with gate.run("bot-21") as run:
                task = asyncio.ensure_future(run.call("desk.ask", customer="c"))
                await began.wait()
                await asyncio.to_thread(web.house.suspend, "bot-21")
                with pytest.raises(failwell.Interrupted):
                    await asyncio.wait_for(task, 10)

    asyncio.run(whole())


def test_what_runs_there_is_stopped_with_its_agent_and_a_call_given_up_is_stopped_too(web: Web) -> None:
    house = web.house
    with web.gate() as gate, gate.run("bot-22") as run:
        stop = threading.Thread(target=lambda: (await_true(lambda: house.began("long")), house.suspend("bot-22")))
        stop.start()
        with pytest.raises(failwell.Interrupted) as stopped:
            run.call("note.write", customer="long", millis=30_000)
        stop.join()
        assert stopped.value.outcome.state == "interrupted_confirmed"

    async def given_up() -> None:
        with web.gate() as gate:
            async with gate.run("bot-23") as run:
                task = asyncio.ensure_future(run.call("note.write", customer="given-up", millis=30_000))
                await asyncio.to_thread(await_true, lambda: house.began("given-up"))
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await asyncio.to_thread(await_true, lambda: house.entries("outcome", "bot-23"))

    asyncio.run(given_up())
    assert house.entries("outcome", "bot-23")[0]["body"]["state"].startswith("interrupted")


def test_a_door_that_begins_anew_is_signed_for_anew_and_one_that_dies_leaves_nothing_shown_as_done(web: Web) -> None:
    house = web.house

    def end_once_begun() -> None:
        await_true(lambda: house.began("cut"))
        web.end()

    with web.gate() as gate, gate.run("bot-24") as run:
        assert run.call("note.write", customer="before", millis=0)
        web.end()
        with pytest.raises(Unreachable):
            run.decide("note.write", customer="between", millis=0)
        web.start()
        assert run.call("note.write", customer="after", millis=0)
        end = threading.Thread(target=end_once_begun)
        end.start()
        with pytest.raises(failwell.Unsettled) as lost:
            run.call("note.write", customer="cut", millis=30_000, call_id="cut-1")
        end.join()
        web.start()
        assert lost.value.call_id == "cut-1"
        await_true(lambda: len(house.entries("outcome", "bot-24")) == 3)
        with pytest.raises(failwell.Interrupted) as told:
            run.call("note.write", customer="cut", millis=30_000, call_id="cut-1")
        assert told.value.outcome.state.startswith("interrupted")
    assert len(house.began("cut")) == 1


def test_a_person_stops_an_agent_from_elsewhere(web: Web) -> None:
    def given(agent: str) -> int:
        with remote_hand(web.address, web.house.persons["bert"]) as hand:
            return int(hand.give("agent.suspend", o.AgentSuspend(agent=SPIFFE + agent, reason="It misbehaves.")))

    assert given("bot-25") > 0
    with web.gate() as gate, gate.run("bot-26") as run:
        assert run.decide("note.write", customer="c", millis=0).allowed
    with pytest.raises(failwell.Error), web.gate() as gate, gate.run("bot-25") as run:
        run.call("note.write", customer="c", millis=0)
    with pytest.raises(NotFound):
        given("nobody")


def test_an_address_that_shows_others_what_is_asked_and_one_where_nothing_answers_are_refused() -> None:
    for bad in ("http://failwell.example:7341", "https://", "http://127.0.0.1:7341/v1", "https://a:b@door.example"):
        with pytest.raises(InputError):
            failwell.connect(bad)
    began = time.monotonic()
    with pytest.raises((Unreachable, Unhealthy)):
        failwell.connect("http://127.0.0.1:1")
    assert time.monotonic() - began < 10
