"""A decision over HTTP against the same server's echo: what the gate costs on top of being asked at all.

The server is a process of its own with the product's door and one more route that gives back what it was sent. Each
request is signed before it is timed, and timed from the first byte sent to the last one read, on one connection. The
echo verifies no signature: what that takes is in the decision's figure, and told beside it.
"""

from __future__ import annotations

import asyncio
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
from failwell.web.app import lane, make_app
from failwell.web.callers import Callers
from failwell.web.connection import Limits
from failwell.web.door import Door
from failwell.web.serving import serve

OVER_MS = 1.0
ROUNDS, WARMING = 400, 40
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
        sync_ms = probe.quantile(probe.fdatasync_ms(root), 0.5)
        took = _Asking(address, names[0], key).all(rounds)
        took["socket"] = _over_socket(wire, names[0], key, rounds)
        sync_ms = max(sync_ms, probe.quantile(probe.fdatasync_ms(root), 0.5))
    finally:
        if server is not None:
            server.terminate()
            server.wait(10)
        if wire is not None:
            os.kill(wire.greeting["pid"], signal.SIGTERM)
            wire.close()
        time.sleep(1)
        shutil.rmtree(root, ignore_errors=True)
    p50 = {name: probe.quantile(each, 0.5) for name, each in took.items()}
    over = p50["decide"] - p50["echo"]
    allowed = OVER_MS + sync_ms
    return {
        "decide_p50_ms": p50["decide"], "echo_p50_ms": p50["echo"], "signed_echo_p50_ms": p50["signed-echo"],
        "socket_p50_ms": p50["socket"],
        "decide_p99_ms": probe.quantile(took["decide"], 0.99), "over_ms": over, "fdatasync_p50_ms": sync_ms,
        "allowed_ms": allowed, "held": over <= allowed,
    }  # fmt: skip


class _Asking:
    """One connection of one agent."""

    def __init__(self, address: str, agent: str, key: keys.SigningKey) -> None:
        self._address, self._agent, self._key = address, agent, key
        self._link = http.client.HTTPConnection(address.partition("://")[2])
        self._door = ""
        self._door = self._ask("GET", "/v1/health")[0].headers["failwell-door"]
        self._run = json.loads(self._ask("POST", "/v1/runs", b"{}")[1])["run"]

    def all(self, rounds: int) -> dict[str, list[float]]:
        """Milliseconds of each way to ask, sorted; they take turns, so that all see the same machine."""
        took: dict[str, list[float]] = {"decide": [], "echo": [], "signed-echo": []}
        for number in range(WARMING + rounds):
            body = json.dumps(
                {
                    "run": self._run, "call": f"call-{number}", "tool": "payments.refund", "reason": REASON,
                    "arguments": {"customer_id": f"c-{number}", "order_id": f"o-{number}", "amount": "20.50"},
                }
            ).encode()  # fmt: skip
            for name, path in (("decide", "/v1/actions/decide"), ("echo", "/echo"), ("signed-echo", "/signed-echo")):
                answer, told, took_ms = self._ask("POST", path, body)
                assert answer.status == 200, told
                assert name != "decide" or b'"ALLOW"' in told, told
                if number >= WARMING:
                    took[name].append(took_ms)
        return {name: sorted(each) for name, each in took.items()}

    def _ask(self, method: str, path: str, body: bytes = b"") -> tuple[http.client.HTTPResponse, bytes, float]:
        nonce = secrets.token_hex(16)
        stamp = Stamp(int(time.time()), f"{self._door}.{nonce}" if self._door else nonce)
        target = self._address + path
        signed = http_signatures.sign(self._key, "agent", self._agent, method, target, body, stamp)
        headers = {**signed, "Content-Type": "application/json"} if method == "POST" else signed
        began = time.perf_counter()
        self._link.request(method, path, body or None, headers)
        answer = self._link.getresponse()
        told = answer.read()
        return answer, told, (time.perf_counter() - began) * 1000


def _over_socket(wire: Wire, agent: str, key: keys.SigningKey, rounds: int) -> list[float]:
    """The same decisions asked of the node itself: what HTTP has no part in."""
    hello(wire, "agent", agent, key)
    run = wire.call("run.open", agent=agent)
    took = []
    for number in range(WARMING + rounds):
        arguments = json.dumps({"customer_id": f"c-{number}", "order_id": f"o-{number}", "amount": "20.50"})
        began = time.perf_counter()
        wire.call(
            "act", agent=agent, run=run, call=f"call-{number}", tool="payments.refund", arguments=arguments,
            reason=REASON, how="decide",
        )  # fmt: skip
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took[WARMING:])


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
        print(f"http://{address}", flush=True)

    await serve(_with_echo(make_app(door), door), settings.listen, None, Limits(), ready, lane=lane, until=until)
    await door.close()


if __name__ == "__main__":
    asyncio.run(_serve(Workspace(Path(sys.argv[1]))))
