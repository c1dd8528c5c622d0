"""A decision over HTTP against the same server's echo: what the gate costs on top of being asked at all.

The server is a process of its own with the product's door and one more route that gives back what it was sent. Each
request is signed before it is timed, and timed from the first byte sent to the last one read, on one connection. The
echo verifies no signature: what that takes is in the decision's figure, and told beside it.

What is compared is what stands side by side: every round asks each way once, in an order that turns from round to
round, and probes the disk once; the figure is the median of the rounds' differences. A machine that others use too is
told by how far the medians of `BLOCK` rounds lie apart.
"""

from __future__ import annotations

import asyncio
import gc
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from bench import probe
from bench.orders import prepare
from bench.workspace import CONTRACT
from failwell.client.wire import Wire, hello, reach
from failwell.identity import agents, http_signatures, keys
from failwell.identity.http_signatures import Stamp
from failwell.node.reached import HttpSettings
from failwell.node.workspace import Workspace
from failwell.web.app import FIRST, lane, make_app
from failwell.web.callers import Callers
from failwell.web.connection import Limits
from failwell.web.door import Door
from failwell.web.serving import serve

OVER_MS = 1.0
ROUNDS, WARMING, BLOCK = 600, 60, 60
REASON = "The customer reported a double charge on ticket 8812 and asks for the money back."


def decided(rounds: int = ROUNDS) -> dict[str, Any]:
    """p50 of POST /v1/actions/decide: at most 1 ms and one fdatasync over the echo of the same server."""
    root = Path(tempfile.mkdtemp(prefix="failwell-bench-"))
    os.environ["FAILWELL_CONFIG"] = str(root / "config")
    wire: Wire | None = None
    server: subprocess.Popen[str] | None = None
    try:
        workspace, names, _ = prepare(root, 0, CONTRACT.replace("effect: irreversible", "effect: reversible"))
        wire = reach(workspace.socket, workspace.path)
        server = subprocess.Popen(
            [sys.executable, "-m", "bench.http", str(workspace.path)], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        key = agents.load_agent_key(root / "config", workspace.origin(), names[0])
        asking, socket = Asking(address, names[0], key), _Socket(wire, names[0], key)
        ways: dict[str, Callable[[int], float]] = {
            "decide": asking.decide, "echo": asking.echo, "signed-echo": asking.signed_echo, "socket": socket.decide,
            "fdatasync": probe.Disk(root).sync_ms,
        }  # fmt: skip
        took = _by_turns(ways, rounds)
    finally:
        if server is not None:
            server.terminate()
            server.wait(10)
        if wire is not None:
            os.kill(wire.greeting["pid"], signal.SIGTERM)
            wire.close()
        time.sleep(1)
        shutil.rmtree(root, ignore_errors=True)
    over = [decide - echo for decide, echo in zip(took["decide"], took["echo"], strict=True)]
    blocks = sorted(probe.median(over[place : place + BLOCK]) for place in range(0, rounds, BLOCK))
    p50 = {name: probe.median(each) for name, each in took.items()}
    allowed = OVER_MS + p50["fdatasync"]
    return {
        "over_ms": probe.median(over), "least_over_ms": blocks[0], "most_over_ms": blocks[-1],
        "fdatasync_p50_ms": p50["fdatasync"], "allowed_ms": allowed, "held": probe.median(over) <= allowed,
        "decide_p50_ms": p50["decide"], "decide_p99_ms": probe.quantile(sorted(took["decide"]), 0.99),
        "echo_p50_ms": p50["echo"], "signed_echo_p50_ms": p50["signed-echo"], "socket_p50_ms": p50["socket"],
        "load": os.getloadavg()[0],
    }  # fmt: skip


def _by_turns(ways: dict[str, Callable[[int], float]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each way, round by round; whoever is first in one round is last in the next."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(WARMING + rounds):
        for name in names:
            took_ms = ways[name](number)
            if number >= WARMING:
                took[name].append(took_ms)
        names.append(names.pop(0))
    return took


class Asking:
    """One connection of one agent."""

    def __init__(self, address: str, agent: str, key: keys.SigningKey) -> None:
        self._address, self._agent, self._key = address, agent, key
        self._link = http.client.HTTPConnection(address.partition("://")[2])
        self.door = ""
        self.door = self._ask("GET", "/v1/health")[0].headers["failwell-door"]
        self.run = json.loads(self._ask("POST", "/v1/runs", b"{}")[1])["run"]

    def decide(self, number: int) -> float:
        answer, told, took_ms = self._ask("POST", "/v1/actions/decide", self._body(number))
        assert answer.status == 200, told
        assert b'"ALLOW"' in told, told
        return took_ms

    def echo(self, number: int) -> float:
        return self._given_back("/echo", self._body(number))

    def signed_echo(self, number: int) -> float:
        return self._given_back("/signed-echo", self._body(number))

    def _given_back(self, path: str, body: bytes) -> float:
        answer, told, took_ms = self._ask("POST", path, body)
        assert (answer.status, told) == (200, body)
        return took_ms

    def _body(self, number: int) -> bytes:
        return json.dumps(
            {
                "run": self.run, "call": f"call-{number}", "tool": "payments.refund", "reason": REASON,
                "arguments": _arguments(number),
            }
        ).encode()  # fmt: skip

    def _ask(self, method: str, path: str, body: bytes = b"") -> tuple[http.client.HTTPResponse, bytes, float]:
        nonce = secrets.token_hex(16)
        stamp = Stamp(int(time.time()), f"{self.door}.{nonce}" if self.door else nonce)
        target = self._address + path
        signed = http_signatures.sign(self._key, "agent", self._agent, method, target, body, stamp)
        headers = {**signed, "Content-Type": "application/json"} if method == "POST" else signed
        began = time.perf_counter()
        self._link.request(method, path, body or None, headers)
        answer = self._link.getresponse()
        told = answer.read()
        return answer, told, (time.perf_counter() - began) * 1000


class _Socket:
    """The same decisions asked of the node itself: what HTTP has no part in."""

    def __init__(self, wire: Wire, agent: str, key: keys.SigningKey) -> None:
        hello(wire, "agent", agent, key)
        self._wire, self._agent = wire, agent
        self.run = wire.call("run.open", agent=agent)

    def decide(self, number: int) -> float:
        arguments = json.dumps(_arguments(number))
        began = time.perf_counter()
        self._wire.call(
            "act", agent=self._agent, run=self.run, call=f"call-{number}", tool="payments.refund",
            arguments=arguments, reason=REASON, how="decide",
        )  # fmt: skip
        return (time.perf_counter() - began) * 1000


def _arguments(number: int) -> dict[str, str]:
    return {"customer_id": f"c-{number}", "order_id": f"o-{number}", "amount": "20.50"}


# -- the server ------------------------------------------------------------------------------------------------


def _with_echo(app: ASGIApp, door: Door) -> ASGIApp:
    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].endswith("echo"):
            await app(scope, receive, send)
            return
        body = (await receive())["body"]
        if scope["path"] == "/signed-echo":
            await door.callers.of(scope, body)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return served


async def _serve(workspace: Workspace) -> None:
    settings = HttpSettings(listen="127.0.0.1:0", rate_per_s=1_000_000)
    door = Door(workspace, settings, Callers(workspace.socket, workspace.keys, ()))
    until = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, until.set)

    def ready(address: str) -> None:
        door.callers.reached_as([f"http://{address}"])
        gc.collect()
        gc.freeze()  # as the product's own process does
        print(f"http://{address}", flush=True)

    await serve(
        _with_echo(make_app(door), door), settings.listen, None, Limits(), ready, lane=lane, first=FIRST, until=until
    )
    await door.close()


if __name__ == "__main__":
    asyncio.run(_serve(Workspace(Path(sys.argv[1]))))
