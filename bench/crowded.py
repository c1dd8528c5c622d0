"""An order over HTTP, alone and among a thousand callers at once: containment goes its own way, or it does not.

Door, node, crowd and whoever gives the orders are processes of their own. Each order suspends another agent, comes on a
connection of its own, and is timed from before that is made to its durable answer. The same orders are given twice in
one run: first with nobody else there, then among the crowd. What the crowd itself takes of the machine is in the second
figure too: with two cores and four busy processes nobody is there at once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import probe
from bench.http import Asking
from bench.orders import prepare
from bench.workspace import CONTRACT
from failwell.client.powers import as_fields, make_order
from failwell.client.wire import Wire, reach
from failwell.core import orders
from failwell.identity import agents
from failwell.identity.persons import sign_order

CALLERS, ROUNDS = 1000, 15
MOST_MS = 50.0
PAUSE_S = 0.15
#: Gives the orders that it reads, so that nothing of the crowd's is measured with them.
GIVER = """
import http.client, sys, time
place = sys.stdin.readline().strip().partition("://")[2]
for line in sys.stdin:
    began = time.perf_counter()
    link = http.client.HTTPConnection(place)
    link.request("POST", "/v1/orders", line.strip().encode(), {"Content-Type": "application/json"})
    answer = link.getresponse()
    told = answer.read()
    print((time.perf_counter() - began) * 1000 if answer.status == 200 else told, flush=True)
    link.close()
"""


def stopped_among(rounds: int = ROUNDS) -> dict[str, Any]:
    """p50 and p90 of an order alone, and among `CALLERS` callers."""
    root = Path(tempfile.mkdtemp(prefix="failwell-bench-"))
    os.environ["FAILWELL_CONFIG"] = str(root / "config")
    started: list[subprocess.Popen[str]] = []
    wire: Wire | None = None
    try:
        text = CONTRACT.replace("effect: irreversible", "effect: reversible")
        workspace, names, signer = prepare(root, 2 * rounds, text)
        wire = reach(workspace.socket, workspace.path)
        server = _start(started, "-m", "bench.http", str(workspace.path))
        address = _line(server)
        asking = Asking(address, names[-1], agents.load_agent_key(root / "config", workspace.origin(), names[-1]))
        giver = _start(started, "-I", "-S", "-c", GIVER)
        _say(giver, address)
        given = [_order(workspace.origin(), signer, name) for name in names[:-1]]
        alone = _given(giver, given[:rounds])
        crowd = _start(started, "-m", "bench.crowd", address, names[-1], str(asking.run), str(CALLERS))
        _say(crowd, str(root / "config"), workspace.origin(), asking.door)
        assert _line(crowd) == "ready"
        among = _given(giver, given[rounds:])
        _say(crowd, "")
        told = json.loads(_line(crowd))
    finally:
        for process in started:
            process.terminate()
            process.wait(10)
        if wire is not None:
            os.kill(wire.greeting["pid"], signal.SIGTERM)
            wire.close()
        time.sleep(1)
        shutil.rmtree(root, ignore_errors=True)
    return {
        "alone_p50_ms": probe.quantile(alone, 0.5), "alone_p90_ms": probe.quantile(alone, 0.9),
        "alone_max_ms": alone[-1], "among_p50_ms": probe.quantile(among, 0.5),
        "among_p90_ms": probe.quantile(among, 0.9), "among_max_ms": among[-1],
        "answered_a_second": told["a_second"], "turned_away": told["turned"], "load": os.getloadavg()[0],
        "held": probe.quantile(among, 0.9) <= MOST_MS,
    }  # fmt: skip


def _start(started: list[subprocess.Popen[str]], *command: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    started.append(process)
    return process


def _say(process: subprocess.Popen[str], *lines: str) -> None:
    assert process.stdin is not None
    process.stdin.write("".join(f"{line}\n" for line in lines))
    process.stdin.flush()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _order(origin: str, signer: Any, name: str) -> str:
    details = orders.AgentSuspend(agent=name, reason="measured")
    order = make_order("agent.suspend", origin, signer.person, "0" * 64, details)
    return json.dumps({"orders": [as_fields(sign_order(signer, order))]})


def _given(giver: subprocess.Popen[str], given: list[str]) -> list[float]:
    """Milliseconds of each order, sorted."""
    took = []
    for order in given:
        time.sleep(PAUSE_S)
        _say(giver, order)
        took.append(float(_line(giver)))
    return sorted(took)
