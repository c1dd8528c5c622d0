"""The HTTP door before a real node: what is asked over it happens as over the socket, and is on record as that."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.cli import doctor_http
from failwell.client import powers
from failwell.core import orders as o
from failwell.identity.persons import sign_order
from tests.simulate.fixtures import model
from tests.simulate.house import SETTINGS, TOOL, House, apply, await_true, scene
from tests.simulate.http_caller import HttpCaller, Told

BOT = "refund-bot"


def opened(root: Path) -> House:
    """A house whose running node has an HTTP door."""
    house = model().copy(root)
    house.node()
    command = json.dumps([sys.executable, "-I", "-S", str(TOOL), str(house.witness)])
    apply(house, f'{SETTINGS}\n[http]\nlisten = "127.0.0.1:0"\n\n[tools."note.write"]\ncommand = {command}\n')
    return house


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with scene() as root:
        made = opened(root / "h")
        yield made
        made.tear_down()


def address(house: House) -> str:
    return str(await_true(lambda: house.ask("status")["http"]["address"]))


def person(house: House, name: str = "bert") -> HttpCaller:
    return HttpCaller(address(house), "person", name, house.persons[name].key)


def agent(house: House, name: str = BOT) -> HttpCaller:
    return HttpCaller(address(house), "agent", house.full(name), house.agent_keys[name])


def at(house: House, work: Callable[[HttpCaller, int], Awaitable[None]], name: str = BOT) -> None:
    """`work` with an agent's connection and an open run."""

    async def whole() -> None:
        caller = await agent(house, name).learn()
        try:
            opened = await caller.ask("POST", "/v1/runs", {"principal": "customer:1", "request": "write"})
            assert opened.status == 201
            await work(caller, opened.json["run"])
        finally:
            caller.close()

    asyncio.run(whole())


def note(house: House, run: int, customer: str = "c1", millis: int = 0, **more: Any) -> dict[str, Any]:
    arguments = {"customer": customer, "millis": millis}
    return {"run": run, "call": house.next_call(), "tool": "note.write", "arguments": arguments, **more}


class Events:
    """An event stream, read."""

    def __init__(self, caller: HttpCaller) -> None:
        self.caller = caller

    async def open(self) -> str:
        path = "/v1/events"
        await self.caller.send("GET", path, b"", self.caller.signed("GET", path))
        head = await self.caller.reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.splitlines()[0], head
        name, data = await self.next()
        assert name == "open"
        return str(data["stream"])

    async def next(self) -> tuple[str, Any]:
        while True:
            size = int(await self.caller.reader.readline(), 16)
            text = (await self.caller.reader.readexactly(size + 2)).decode().strip()
            if text.startswith("event: "):
                first, _, second = text.partition("\n")
                return first.removeprefix("event: "), json.loads(second.removeprefix("data: "))


# ---- verdicts and outcomes -----------------------------------------------------------------------------------


def test_an_action_is_executed_once_however_often_its_call_is_made(house: House) -> None:
    async def work(caller: HttpCaller, run: int) -> None:
        asked = note(house, run, "once")
        first, again = [await caller.ask("POST", "/v1/actions/execute", asked) for _ in range(2)]
        assert first.status == again.status == 200
        assert first.json["outcome"] == again.json["outcome"]
        assert first.json["outcome"]["state"] == "completed"
        assert (first.json["verdict"]["repeated"], again.json["verdict"]["repeated"]) == (False, True)
        assert len(house.began("once")) == 1
        read = await caller.ask("GET", f"/v1/actions/{first.json['verdict']['entry']}")
        assert (read.json["state"], read.json["outcome"]) == ("completed", first.json["outcome"]["entry"])

    at(house, work)


@pytest.mark.requirement("R1.12")
def test_a_verdict_is_an_answer_and_what_it_forbids_is_no_success(house: House) -> None:
    async def work(caller: HttpCaller, run: int) -> None:
        for customer, verdict, code in (("maybe", "ESCALATE", "escalated"), (7, "DENY", "denied")):
            asked = note(house, run)
            asked["arguments"]["customer"] = customer
            decided = await caller.ask("POST", "/v1/actions/decide", asked)
            assert (decided.status, decided.json["verdict"]["verdict"]) == (200, verdict)
            executed = await caller.ask("POST", "/v1/actions/execute", asked | {"call": house.next_call()})
            assert executed.status == 403
            assert executed.headers["content-type"] == "application/problem+json"
            told = executed.json
            assert (told["code"], told["verdict"]["verdict"], told["entry"]) == (
                code,
                verdict,
                told["verdict"]["entry"],
            )
            assert (told.get("ticket") is not None) == (verdict == "ESCALATE")
            assert house.began(str(customer)) == []

    at(house, work)


def test_arguments_that_two_readers_read_differently_are_denied_on_record(house: House) -> None:
    async def work(caller: HttpCaller, run: int) -> None:
        text = b'{"run":%d,"call":"%s","tool":"note.write","arguments":%s}'
        for arguments in (
            b'{"customer":"a","customer":"b","millis":0}',
            b'{"customer":"\\ud800","millis":0}',
            b'{"a":' * 40 + b"1" + b"}" * 40,
        ):
            body = text % (run, house.next_call().encode(), arguments)
            told = await caller.ask("POST", "/v1/actions/decide", body)
            assert (told.status, told.json["verdict"]["verdict"]) == (200, "DENY"), told.body
            entry = house.ask("entry", told.json["verdict"]["entry"])
            assert entry["body"]["verdict"] == "DENY"

    at(house, work)


@pytest.mark.parametrize(
    "body",
    [
        b'{"reason":"a","reason":"b"}', b"{", b"[]", b"", b'{"reason":"\\ud800"}', b'{"reason":"\xff"}',
        b'{"reason":NaN}',
        b'{"reason":' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"reason":"a"} x', b'\xef\xbb\xbf{"reason":"a"}',
    ],
)  # fmt: skip
@pytest.mark.requirement("R28.19")
def test_a_body_that_is_not_strict_json_is_not_read(house: House, body: bytes) -> None:
    async def work(caller: HttpCaller, run: int) -> None:
        told = await caller.ask("POST", f"/v1/runs/{run}/close", body)
        assert (told.status, told.json["code"]) == (400, "malformed"), told.body
        assert (await caller.ask("GET", f"/v1/runs/{run}")).json["open"]

    at(house, work)


def test_what_a_browser_can_send_without_asking_is_not_read(house: House) -> None:
    async def work(caller: HttpCaller, run: int) -> None:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            told = await caller.ask("POST", f"/v1/runs/{run}/close", {}, headers={"Content-Type": kind})
            assert (told.status, told.json["code"]) == (415, "media-type")

    at(house, work)


# ---- who may read what ---------------------------------------------------------------------------------------


@pytest.mark.requirement("R3.25")
def test_an_agent_reads_what_is_its_own_and_nothing_of_another(house: House) -> None:
    async def work(caller: HttpCaller, run: int) -> None:
        entry = (await caller.ask("POST", "/v1/actions/execute", note(house, run, "mine"))).json["verdict"]["entry"]
        asked = await caller.ask("POST", "/v1/actions/decide", note(house, run, "maybe"))
        ticket = asked.json["verdict"]["ticket"]
        other, anna = await agent(house, "other-bot").learn(), await person(house, "anna").learn()
        paths = (f"/v1/runs/{run}", f"/v1/actions/{entry}", f"/v1/tickets/{ticket}", f"/v1/agents/{BOT}")
        for path in paths:
            statuses = [(await each.ask("GET", path)).status for each in (caller, other, anna)]
            assert statuses == [200, 404, 200], path
        # That something is there, and whose, is told by no refusal either.
        for path, number in (("runs", run), ("actions", entry), ("tickets", ticket)):
            there, nowhere = [(await other.ask("GET", f"/v1/{path}/{each}")).body.decode() for each in (number, 99_999)]
            assert there.replace(str(number), "99999") == nowhere
        handed = [
            await other.ask("POST", "/v1/runs", {"agent": house.full(BOT), "parent": each}) for each in (run, 99_999)
        ]
        assert [each.status for each in handed] == [404, 404]
        assert handed[0].body.decode().replace(str(run), "99999") == handed[1].body.decode()
        assert [each["ticket"] for each in (await other.ask("GET", "/v1/tickets")).json] == []
        for path in ("/v1/state", "/v1/incidents"):
            assert [(await each.ask("GET", path)).status for each in (caller, anna)] == [403, 200]
        # Attack: act in somebody else's run, or settle and explain what somebody else did.
        stolen = await other.ask("POST", "/v1/actions/decide", note(house, run))
        assert stolen.json["verdict"]["clauses"] == ["run.unknown"]
        assert (await other.ask("POST", f"/v1/actions/{entry}/settle", {"state": "completed"})).status == 409
        assert (await other.ask("POST", f"/v1/actions/{entry}/explain", {"reason": "no"})).status == 403
        for each in (other, anna):
            each.close()

    at(house, work)


def test_nobody_is_told_one_word_and_what_answers_here(house: House) -> None:
    async def work() -> None:
        nobody = HttpCaller(address(house))
        assert (await nobody.ask("GET", "/v1/health")).json == {"health": "ok"}
        assert (await nobody.ask("GET", "/v1")).json["origin"] == house.workspace.origin()
        for path in ("/v1/agents", "/v1/state", "/v1/tickets", "/v1/runs/1", "/v1/events"):
            told = await nobody.ask("GET", path)
            assert (told.status, told.json["code"]) == (401, "unauthenticated"), path
            assert "www-authenticate" in told.headers
        metrics = (await nobody.ask("GET", "/v1/metrics")).body.decode().splitlines()
        assert metrics[-1] == "# EOF"
        assert "failwell_healthy 1" in metrics
        assert 'failwell_http_requests_total{operation="health",status="200"} ' in "\n".join(metrics)
        # Attack: somebody elsewhere, behind a proxy on this machine; a page that calls us by a name of its own.
        assert (await nobody.ask("GET", "/v1/metrics", headers={"X-Forwarded-For": "10.1.1.1"})).status == 401
        assert (await nobody.ask("GET", "/v1", headers={"Host": "evil.example"})).status == 401
        nobody.close()

    asyncio.run(work())


# ---- stopping ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R6.27")
def test_a_caller_that_hangs_up_has_what_it_started_stopped(house: House) -> None:
    async def work(caller: HttpCaller, run: int) -> None:
        asked = note(house, run, "left", 60_000)
        path, body = "/v1/actions/execute", json.dumps(asked).encode()
        await caller.send("POST", path, body, caller.signed("POST", path, body))
        await asyncio.to_thread(await_true, lambda: house.began("left"))
        caller.close()
        again = await agent(house).learn()

        async def ended() -> Told:
            while (told := await again.ask("POST", path, asked)).status == 409:
                await asyncio.sleep(0.02)
            return told

        told = await asyncio.wait_for(ended(), 10)
        assert told.json["outcome"]["state"] == "interrupted_confirmed"
        again.close()

    at(house, work)


def test_an_action_that_the_caller_executes_is_asked_to_stop_over_its_stream(house: House) -> None:
    """And what is begun without a stream is not begun; a stream that is lost is a caller that is lost."""

    async def work(caller: HttpCaller, run: int) -> None:
        ask = {"run": run, "tool": "desk.ask", "arguments": {"customer": "c1"}}
        nowhere = await caller.ask("POST", "/v1/actions/begin", ask | {"call": house.next_call(), "stream": "0" * 32})
        assert nowhere.status == 404
        events = Events(await agent(house, "other-bot").learn())
        stream = await events.open()
        begun = [
            await caller.ask("POST", "/v1/actions/begin", ask | {"call": house.next_call(), "stream": stream})
            for _ in range(3)
        ]
        assert [each.status for each in begun] == [200, 200, 200], begun[0].body
        done, stopped, lost = (each.json["verdict"]["entry"] for each in begun)
        settled = await caller.ask("POST", f"/v1/actions/{done}/settle", {"state": "completed", "result": "1"})
        assert settled.status == 200
        assert (await caller.ask("POST", f"/v1/actions/{done}/settle", {"state": "failed"})).status == 409
        order = suspend(house, "other-bot")
        given = await caller.ask("POST", "/v1/orders", order, signed=False)
        assert given.status == 200, given.body
        told = {(await asyncio.wait_for(events.next(), 5))[1]["action"] for _ in range(2)}
        assert told == {stopped, lost}
        events.caller.close()

        async def ended(entry: int) -> str:
            while (state := (await caller.ask("GET", f"/v1/actions/{entry}")).json["state"]) == "open":
                await asyncio.sleep(0.05)
            return str(state)

        assert await asyncio.wait_for(ended(lost), 10) == "interrupted_unconfirmed"

    at(house, work, "other-bot")


@pytest.mark.requirement("R6.35")
def test_a_stream_that_ends_alone_leaves_nothing_open_that_was_begun_over_it(house: House) -> None:
    """Attack: go on acting where nobody can say stop, while other requests of the agent keep its connection."""

    async def work(caller: HttpCaller, run: int) -> None:
        events = Events(await agent(house).learn())
        stream = await events.open()
        ask = {"run": run, "tool": "desk.ask", "arguments": {"customer": "c1"}, "call": house.next_call()}
        begun = await caller.ask("POST", "/v1/actions/begin", ask | {"stream": stream})
        assert begun.status == 200, begun.body
        events.caller.close()
        path = f"/v1/actions/{begun.json['verdict']['entry']}"
        async with asyncio.timeout(10):
            while (await caller.ask("GET", path)).json["state"] == "open":
                await asyncio.sleep(0.02)
        told = (await caller.ask("GET", path)).json
        assert told["state"] == "unknown"
        assert "event stream ended" in told["why"]

    at(house, work)


def test_forged_orders_without_end_keep_no_person_from_stopping(house: House) -> None:
    async def give(order: dict[str, Any]) -> Told:
        nobody = HttpCaller(address(house))
        try:
            return await nobody.ask("POST", "/v1/orders", order)
        finally:
            nobody.close()

    async def whole() -> None:
        forged = [suspend(house, "bot-02") for _ in range(60)]
        for each, real in zip(forged, (suspend(house, "bot-03") for _ in forged), strict=True):
            each["orders"][0]["signature"] = real["orders"][0]["signature"]
        flood = [asyncio.ensure_future(give(each)) for each in forged]
        told = await give(suspend(house, "bot-01"))
        assert told.status == 200, told.body
        answers = await asyncio.gather(*flood)
        assert {each.status for each in answers} <= {403, 429}
        assert sum(each.status == 429 for each in answers) > 0
        assert house.ask("agents")[house.full("bot-02")]["authority"] == "ACTIVE"
        assert house.ask("agents")[house.full("bot-01")]["authority"] == "SUSPENDED"

    asyncio.run(whole())


def suspend(house: House, name: str, person: str = "bert") -> dict[str, Any]:
    """A signed order to suspend, as it travels."""
    details = o.AgentSuspend(agent=house.full(name), reason="it misbehaves")
    order = powers.make_order(
        "agent.suspend", house.workspace.origin(), person, o.shown_digest(details.reason.encode()), details
    )
    return {"orders": [powers.as_fields(sign_order(house.persons[person], order))]}


@pytest.mark.requirement("R8.34")
def test_a_door_that_falls_over_is_there_again_and_ends_with_its_node() -> None:
    with scene() as root:
        house = opened(root / "h")
        node = house.nodes[0]
        try:
            first = address(house)
            pid = house.ask("status")["http"]["pid"]
            os.kill(pid, signal.SIGKILL)
            await_true(lambda: (told := house.ask("status")["http"])["address"] and told["pid"] != pid)
            assert house.ask("status")["http"]["restarts"] == 1
            assert "it ended with -9" in node.said()
            assert first in node.said()
            told = next(doctor_http.lines(house.ask("status")))
            assert told[:2] == ("http", "ok")
            assert f"answers at {address(house)}" in told[2]
            stopped_while_the_node_is_silent(house, node.pid)
            pid = house.ask("status")["http"]["pid"]
            house.end(node)
            assert not Path(f"/proc/{pid}").exists()
        finally:
            house.tear_down()


def stopped_while_the_node_is_silent(house: House, node: int) -> None:
    """A person's stop is left for the node and sent to the supervisors; a stranger's stops nobody."""
    started = house.agent().start("c9")
    place = address(house)

    async def give(order: dict[str, Any]) -> Told:
        nobody = HttpCaller(place)
        try:
            return await nobody.ask("POST", "/v1/orders", order)
        finally:
            nobody.close()

    os.kill(node, signal.SIGSTOP)
    try:
        forged = suspend(house, BOT)
        forged["orders"][0]["signature"] = suspend(house, BOT, "anna")["orders"][0]["signature"]
        assert asyncio.run(give(forged)).status in (403, 422)
        assert list(house.workspace.orders.glob("*.order")) == []
        assert house.alive() != []
        began = time.monotonic()
        told = asyncio.run(give(suspend(house, BOT)))
        assert (told.status, told.json["confirmed"], told.json["sent"]) == (202, False, 1)
        await_true(lambda: house.alive() == [], 5)
        assert time.monotonic() - began < 5
    finally:
        os.kill(node, signal.SIGCONT)
    await_true(lambda: house.ask("agents")[house.full(BOT)]["authority"] == "SUSPENDED")
    with contextlib.suppress(Exception):
        started.result(10)
