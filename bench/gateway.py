"""The gateway over HTTP against the same proxy without a gate (`bench.bare_gateway`), in the same run.

One session that calls without pause, for the time of a call; 200 sessions at once, for how many there are. The gate's
share is what it adds: who asks, the contract, the decision on record, the tool server's supervision, the outcome on
record. The bound is the disk's, measured between the calls.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench import bare_gateway, echo_server, probe
from failwell.client.powers import Hand
from failwell.client.wire import reach
from failwell.core import contract as contracts
from failwell.core import orders
from failwell.identity import agents
from failwell.identity.own_tokens import make_token
from failwell.identity.persons import PersonKey, prove_enrolment
from failwell.mcp.definitions import digest_of
from failwell.node.beginning import begin
from failwell.node.settings import DEFAULT_TEXT
from failwell.node.workspace import Workspace

ROUNDS = 400
BESIDE = 20
SESSIONS, OF_ONE, TURNS, SECONDS = 200, 50, 5, 2.0
CONTRACT = """
contract: bench-{number}
version: 1
agent: spiffe://bench.example/agent/bench-{number}
owner: bench-owner
purpose: Measure a call as an owner would allow it.
tools:
  - {{tool: echo.echo, effect: reversible, executor: supervised, custody: none, deadline: 20s,
     arguments: {{text: "string(0..2000)"}}}}
  - {{tool: echo.send, effect: irreversible, executor: supervised, custody: none, deadline: 20s,
     arguments: {{text: "string(0..2000)"}}}}
clauses:
  - {{id: nothing-else, deny: echo.echo, when: 'context.args.text == "no"', severity: minor}}
limits:
  - {{id: per-hour, count: echo.echo, at_most: 900000000, per: 1h, then: deny}}
"""
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}


class Door(NamedTuple):
    """An address, and what each agent shows there."""

    url: str
    shown: tuple[str, ...]


class Doors(NamedTuple):
    gate: Door
    bare: Door
    root: Path


# -- the time of a call ---------------------------------------------------------------------------------------------


def one_session() -> dict[str, Any]:
    """One session that calls: what the gate adds at p50, for a reversible tool at most 2.5 ms + 2 fdatasync."""
    with doors(1) as made:
        disk = probe.Disk(made.root)
        gate, bare = Client(made.gate, 0), Client(made.bare, 0)
        took: dict[str, list[float]] = {"gate": [], "bare": [], "gate_send": [], "bare_send": []}
        for client in (gate, bare):
            client.calls("echo", BESIDE)
        sync: list[float] = []
        more: list[float] = []
        for turn in range(ROUNDS // BESIDE):  # in turn, so that both, and the yardstick, see the same machine and disk
            ours, theirs = gate.calls("echo", BESIDE), bare.calls("echo", BESIDE)
            more.append(probe.median(ours) - probe.median(theirs))
            took["gate"] += ours
            took["bare"] += theirs
            sync += [disk.sync_ms(turn * BESIDE + place) for place in range(BESIDE)]
        for _ in range(ROUNDS // BESIDE // 4):
            took["gate_send"] += gate.calls("send", BESIDE)
            took["bare_send"] += bare.calls("send", BESIDE)
        gate.close()
        bare.close()
    p50 = {name: probe.quantile(sorted(values), 0.5) for name, values in took.items()}
    added, sync_p50 = probe.median(more), probe.median(sync)
    allowed = 2.5 + 2 * sync_p50
    return {
        "added_p50_ms": added, "p50_ms": p50["gate"], "p99_ms": probe.quantile(sorted(took["gate"]), 0.99),
        "bare_p50_ms": p50["bare"], "irreversible_added_p50_ms": p50["gate_send"] - p50["bare_send"],
        "fdatasync_p50_ms": sync_p50, "allowed_ms": allowed, "held": added <= allowed,
    }  # fmt: skip


class Client:
    """One session over one connection, each byte of it ours, so that the client's own time is small."""

    def __init__(self, door: Door, agent: int) -> None:
        self._connection = http.client.HTTPConnection(door.url.split("/")[2], timeout=60)
        self._fields = {
            "authorization": door.shown[agent], "content-type": "application/json",
            "accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18",
        }  # fmt: skip
        self._number = 0
        response = self._ask("initialize", HELLO)
        self._fields["mcp-session-id"] = str(response.getheader("mcp-session-id"))
        response.read()

    def _ask(self, method: str, params: Any) -> http.client.HTTPResponse:
        self._number += 1
        body = json.dumps({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        self._connection.request("POST", "/mcp", body, self._fields)
        response = self._connection.getresponse()
        if response.status != 200:
            raise SystemExit(f"{response.status}: {response.read().decode()}")
        return response

    def calls(self, tool: str, count: int) -> list[float]:
        """Milliseconds of each call."""
        took = []
        for _ in range(count):
            began = time.perf_counter()
            told = self._ask("tools/call", {"name": tool, "arguments": {"text": "hello"}}).read()
            took.append((time.perf_counter() - began) * 1000)
            if b'"isError":false' not in told.replace(b" ", b""):
                raise SystemExit(told.decode())
        return took

    def close(self) -> None:
        self._connection.request("DELETE", "/mcp", headers=self._fields)
        self._connection.getresponse().read()
        self._connection.close()


# -- many at once ---------------------------------------------------------------------------------------------------


def many_sessions(sessions: int = SESSIONS) -> dict[str, Any]:
    """200 sessions that call without pause: calls a second, at least half of what the proxy does without a gate."""
    with doors(-(-sessions // OF_ONE)) as made:
        return asyncio.run(_beside(made, sessions))


async def _beside(made: Doors, sessions: int) -> dict[str, Any]:
    bare, gate = Crowd(made.bare, sessions), Crowd(made.gate, sessions)
    bare_opened_s, opened_s = await bare.open(), await gate.open()
    for _ in range(TURNS):  # in turn, so that both see the same machine
        await bare.call()
        await gate.call()
    await bare.close()
    await gate.close()
    ratio = probe.median([ours / theirs for ours, theirs in zip(gate.per_s, bare.per_s, strict=True)])
    return {
        "ratio": ratio, "per_s": probe.median(gate.per_s), "bare_per_s": probe.median(bare.per_s),
        "p50_ms": probe.quantile(sorted(gate.took), 0.5), "bare_p50_ms": probe.quantile(sorted(bare.took), 0.5),
        "opened_s": opened_s, "bare_opened_s": bare_opened_s, "sessions": sessions, "wanted": 0.5, "held": ratio >= 0.5,
    }  # fmt: skip


class Crowd:
    """Sessions at one door, all at once: how many calls a second each turn, and how long each call took."""

    def __init__(self, door: Door, sessions: int) -> None:
        self._callers = [Caller(door, number % len(door.shown)) for number in range(sessions)]
        self.per_s: list[float] = []
        self.took: list[float] = []

    async def open(self) -> float:
        """Seconds that it took."""
        began = time.perf_counter()
        opening = asyncio.Semaphore(8)

        async def opened(caller: Caller) -> None:
            async with opening:
                await caller.open()

        await asyncio.gather(*map(opened, self._callers))
        return time.perf_counter() - began

    async def call(self) -> None:
        """One turn."""
        began = time.perf_counter()
        took = await asyncio.gather(*(caller.call_until(began + SECONDS) for caller in self._callers))
        every = [each for one in took for each in one]
        self.per_s.append(len(every) / (time.perf_counter() - began))
        self.took += every

    async def close(self) -> None:
        for caller in self._callers:
            await caller.close()


class Caller:
    """The same as `Client`, awaited."""

    def __init__(self, door: Door, agent: int) -> None:
        self._place = door.url.split("/")[2]
        self._fields = (
            f"host: {self._place}\r\nauthorization: {door.shown[agent]}\r\ncontent-type: application/json\r\n"
            "accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-06-18\r\n"
        )

    async def open(self) -> None:
        host, port = self._place.split(":")
        self._reading, self._writing = await asyncio.open_connection(host, int(port))
        head = await self._ask("POST", "initialize", HELLO)
        named = next(line for line in head.split("\r\n") if line.startswith("mcp-session-id"))
        self._fields += f"{named}\r\n"

    async def _ask(self, method: str, what: str, params: Any) -> str:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": what, "params": params})
        self._writing.write(
            f"{method} /mcp HTTP/1.1\r\n{self._fields}content-length: {len(body)}\r\n\r\n{body}".encode()
        )
        head = (await self._reading.readuntil(b"\r\n\r\n")).decode()
        length = next((line for line in head.split("\r\n") if line.startswith("content-length")), "content-length: 0")
        told = await self._reading.readexactly(int(length.partition(":")[2]))
        if not head.startswith("HTTP/1.1 2") or b'"error"' in told:
            raise SystemExit(head + told.decode())
        return head

    async def call_until(self, until: float) -> list[float]:
        took = []
        while (began := time.perf_counter()) < until:
            await self._ask("POST", "tools/call", {"name": "echo", "arguments": {"text": "hello"}})
            took.append((time.perf_counter() - began) * 1000)
        return took

    async def close(self) -> None:
        await self._ask("DELETE", "", None)
        self._writing.close()


# -- both doors -----------------------------------------------------------------------------------------------------


@contextmanager
def doors(count: int) -> Iterator[Doors]:
    """A workspace with `count` agents, its node, a gateway, and the proxy without a gate; all ended afterwards."""
    root = Path(tempfile.mkdtemp(prefix="failwell-bench-"))
    os.environ["FAILWELL_CONFIG"] = str(root / "config")
    started: list[subprocess.Popen[str]] = []
    node = 0
    try:
        workspace, names = _prepare(root, count)
        wire = reach(workspace.socket, workspace.path)
        node = wire.greeting["pid"]
        gateway = [sys.executable, "-m", "failwell", "gateway", "--http", "127.0.0.1:0", "--server", "echo"]
        for command in ([*gateway, "--workspace", str(workspace.path)], [sys.executable, "-m", bare_gateway.__name__]):
            with open(root / "said", "a") as said:
                started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True))
        urls = [process.stdout.readline().strip() for process in started if process.stdout is not None]
        shown = tuple(f"Bearer {_token(root, workspace, name)}" for name in names)
        yield Doors(Door(urls[0], shown), Door(urls[1], shown), root)
        wire.close()
    finally:
        for process in started:
            process.terminate()
            process.wait(20)
        if node:
            os.kill(node, signal.SIGTERM)
        time.sleep(1)
        shutil.rmtree(root, ignore_errors=True)


def _token(root: Path, workspace: Workspace, name: str) -> str:
    origin = workspace.origin()
    key = agents.load_agent_key(root / "config", origin, name)
    return make_token(key, name, origin, issued_s=int(time.time()), hours=1, jti=secrets.token_hex(16))


def _prepare(root: Path, count: int) -> tuple[Workspace, list[str]]:
    config = root / "config"
    owner = PersonKey.create(config, "bench-owner", "bench").unlock("bench")
    approver = PersonKey.create(config, "bench-approver", "bench").unlock("bench")
    workspace = Workspace(root / "workspace")
    pins = ", ".join(f'{tool["name"]} = "{digest_of(tool)}"' for tool in echo_server.TOOLS)
    settings = f"\n[upstreams.echo]\ncommand = {json.dumps(bare_gateway.COMMAND)}\ntools = {{{pins}}}\n"
    begin(workspace, owner, email="owner@bench.example", roles=("operator",), settings_toml=DEFAULT_TEXT + settings)
    wire = reach(workspace.socket, workspace.path)
    hand, second = Hand(wire, owner), Hand(wire, approver)
    public = base64.b64encode(approver.key.public).decode()
    hand.enrol(approver, public, prove_enrolment(approver, workspace.origin()), ("approver",), None)
    second.verify_contact("bench-owner", None)
    names = []
    for number in range(count):
        contract = contracts.load(CONTRACT.format(number=number), name="bench")
        key = agents.create_agent_key(config, workspace.origin(), contract.agent)
        registered = orders.AgentRegister(
            agent=contract.agent, key=base64.b64encode(key.public).decode(), owner="bench-owner"
        )
        hand.give("agent.register", registered)
        second.adopt_contract(contract, hand.sign_contract(contract))
        names.append(contract.agent)
    wire.close()
    return workspace, names
