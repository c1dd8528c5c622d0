"""A thousand callers at once before a real node: the queue is bounded, nobody is lost, a stop is as quick as ever."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.e2e.test_http_door import agent, suspend
from tests.simulate.fixtures import model
from tests.simulate.house import SETTINGS, House, apply, await_true, scene
from tests.simulate.http_caller import HttpCaller

CALLERS = 1000
HTTP = '[http]\nlisten = "127.0.0.1:0"\nrate_per_s = 100000\n'


class Crowd:
    """Callers of one agent that each make one call, and make it again where they are turned away."""

    def __init__(self, house: House, name: str, opened: tuple[int, str, str], chance: random.Random) -> None:
        self.house, self.name, self.chance = house, name, chance
        self.run, self.door, self.address = opened
        self.stopped = False
        self.blocked = 0
        self.turned = 0
        self.answers: dict[str, list[dict[str, Any]]] = {}

    async def call(self, number: int) -> None:
        call = f"crowd-{self.name}-{number}"
        arguments = {"customer": f"c{number}", "millis": 0}
        body = {"run": self.run, "call": call, "tool": "note.write", "arguments": arguments}
        caller = HttpCaller(self.address, "agent", self.house.full(self.name), self.house.agent_keys[self.name])
        caller.door = self.door
        try:
            while True:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    told = await caller.ask("POST", "/v1/actions/decide", body)
                    if told.status == 200:
                        self.answers.setdefault(call, []).append(told.json["verdict"])
                        return
                    if self.stopped and (told.status, told.json["code"]) == (409, "fenced"):
                        self.blocked += 1  # allowed, and stopped before the leave to act left
                        return
                    assert (told.status, told.json["code"]) == (429, "crowded"), told
                    assert told.headers["retry-after"] == "1"
                    self.turned += 1
                await asyncio.sleep(0.2 + self.chance.random() * 0.5)
        finally:
            caller.close()


async def opened(house: House, name: str) -> tuple[int, str, str]:
    caller = await agent(house, name).learn()
    run = (await caller.ask("POST", "/v1/runs", {})).json["run"]
    caller.close()
    return int(run), caller.door, caller.address


#: Gives an order from a process of its own, so that the crowd's own work is not measured: first place, then order.
GIVER = """
import http.client, sys, time
place = sys.stdin.readline().strip().partition("://")[2]
order = sys.stdin.readline().strip().encode()
link = http.client.HTTPConnection(place)
began = time.perf_counter()
link.request("POST", "/v1/orders", order, {"Content-Type": "application/json"})
answer = link.getresponse()
told = answer.read()
print((time.perf_counter() - began) * 1000 if answer.status == 200 else told)
"""


async def stopped_ms(house: House, name: str, address: str) -> float:
    """How long an order takes from being sent to being carried out."""
    giver = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", GIVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    said, _ = await giver.communicate(f"{address}\n{json.dumps(suspend(house, name))}\n".encode())
    return float(said)


def sealed(house: House) -> bool:
    """Whether a checkpoint covers all that is on record."""
    return bool(int(house.ask("checkpoint").splitlines()[1]) == house.ask("status")["entries"])


@pytest.mark.slow
def test_a_thousand_callers_are_each_answered_once_and_a_stop_overtakes_them(
    seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        with scene() as root:
            house = model().copy(root / "h")
            house.node()
            apply(house, SETTINGS + HTTP)
            try:
                loaded(house, random.Random(seed), capsys)
            finally:
                house.tear_down()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def loaded(house: House, chance: random.Random, capsys: pytest.CaptureFixture[str]) -> None:
    await_true(lambda: house.ask("status")["http"]["address"])

    async def whole() -> tuple[Crowd, Crowd, float, float, float]:
        runs = [await opened(house, name) for name in ("refund-bot", "other-bot")]
        quiet_ms = await stopped_ms(house, "bot-00", runs[0][2])
        crowds = Crowd(house, "refund-bot", runs[0], chance), Crowd(house, "other-bot", runs[1], chance)
        began = time.perf_counter()
        await asyncio.to_thread(await_true, lambda: sealed(house))
        # The crowd is written in one process, and may come no quicker than it is answered: the node stands still until
        # there is one too many. Nothing waits for a seal meanwhile: a late one would close the gate, as it should.
        node = house.nodes[-1].pid
        os.kill(node, signal.SIGSTOP)
        try:
            calling = [asyncio.ensure_future(crowds[number % 2].call(number)) for number in range(CALLERS)]
            while not crowds[0].turned + crowds[1].turned:
                await asyncio.sleep(0.01)
        finally:
            os.kill(node, signal.SIGCONT)
        while sum(len(crowd.answers) for crowd in crowds) < CALLERS // 4:
            await asyncio.sleep(0.01)
        crowds[1].stopped = True
        loaded_ms = await stopped_ms(house, "other-bot", runs[0][2])
        await asyncio.gather(*calling)
        return *crowds, quiet_ms, loaded_ms, time.perf_counter() - began

    first, second, quiet_ms, loaded_ms, took_s = asyncio.run(whole())
    answers = first.answers | second.answers
    entries = {entry["seq"]: entry for entry in house.entries("decision")}
    told = {verdict["entry"]: call for call, verdicts in answers.items() for verdict in verdicts}
    # Nobody is lost, nobody is answered twice, and whatever was answered is on record.
    assert len(answers) + second.blocked == len(entries) == CALLERS
    assert len(told) == len(answers)
    assert set(told) < set(entries) or set(told) == set(entries)
    ended = {entry["body"]["decision"]: entry["body"]["state"] for entry in house.entries("outcome")}
    assert {ended[entry] for entry in set(entries) - set(told)} <= {"blocked"}
    fence = max(entry["seq"] for entry in house.entries("authority.changed", "other-bot"))
    late = [verdict for verdicts in second.answers.values() for verdict in verdicts if verdict["entry"] > fence]
    assert {verdict["verdict"] for verdict in late} == {"DENY"}
    assert all(verdict["verdict"] == "ALLOW" for verdicts in first.answers.values() for verdict in verdicts)
    assert first.turned + second.turned > 0
    assert loaded_ms < 2000
    with capsys.disabled():
        print(
            f"\n{CALLERS} callers in {took_s:.1f} s ({CALLERS / took_s:.0f}/s), {first.turned + second.turned} turned"
            f" away with 429; a stop over HTTP took {quiet_ms:.1f} ms alone and {loaded_ms:.1f} ms among them"
        )
