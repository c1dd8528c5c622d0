"""100 incidents that are open together, by as many orders behind 10,000 queued actions (D3, D5): the orders come one
every 25 ms, as from people who watch, and then another 100 all in the same moment, which is told beside it.

Each agent has an action waiting in that queue when its order comes, and asks for another once its order is answered:
both are judged after it, and must be denied.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from bench import probe
from bench.orders import prepare
from failwell.client.powers import as_fields, make_order
from failwell.client.wire import Wire, hello, reach
from failwell.core import orders
from failwell.identity import agents
from failwell.identity.persons import sign_order
from failwell.node.workspace import Workspace

AT_ONCE, QUEUED = 100, 10_000
APART_S = 0.025
ARGUMENTS = json.dumps({"customer_id": "c-1", "order_id": "o-1", "amount": "9.50"})


class _Agent:
    """One of those that are stopped: its line, its run, and what it asked for."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.name = name
        self.wire = reach(workspace.socket, workspace.path, start=False)
        key = agents.load_agent_key(Path(os.environ["FAILWELL_CONFIG"]), workspace.origin(), name)
        hello(self.wire, "agent", name, key)
        self.run = self.wire.call("run.open", agent=name)
        self.asked: list[Future[Any]] = []

    def ask(self) -> None:
        """For an action, whose answer comes when all that was queued before it is judged."""
        call = f"call-{len(self.asked)}"
        asked = self.wire.ask(
            "act", agent=self.name, run=self.run, call=call, tool="payments.refund", arguments=ARGUMENTS
        )
        self.asked.append(asked)


def at_once() -> dict[str, Any]:
    """From giving each order to its durable answer: at most 2 fdatasync + 15 ms (p50 over those that come apart)."""
    root = Path(tempfile.mkdtemp(prefix="failwell-bench-"))
    os.environ["FAILWELL_CONFIG"] = str(root / "config")
    wire = feeder = None
    try:
        workspace, names, signer = prepare(root, 2 * AT_ONCE)
        wire = reach(workspace.socket, workspace.path)
        waiting = [_Agent(workspace, name) for name in names[:-1]]
        sync_ms = probe.quantile(probe.fdatasync_ms(root), 0.5)
        feeder = subprocess.Popen(
            [sys.executable, "-m", "bench.feeder", str(workspace.path), names[-1], str(QUEUED)],
            stdout=subprocess.PIPE, text=True, env=os.environ,
        )  # fmt: skip
        assert feeder.stdout is not None
        queued = max(json.loads(feeder.stdout.readline())["waiting"] for _ in range(4))
        for agent in waiting:
            agent.ask()
        took = _ordered(workspace, wire, signer, waiting[:AT_ONCE], APART_S)
        burst = _ordered(workspace, wire, signer, waiting[AT_ONCE:], 0.0)
        queued = min(queued, json.loads(feeder.stdout.readline())["waiting"])
        feeder.terminate()
        feeder.wait()
        seen = [asked.result(120) for agent in waiting for asked in agent.asked]
        sync_ms = max(sync_ms, probe.quantile(probe.fdatasync_ms(root), 0.5))
    finally:
        if feeder is not None and feeder.poll() is None:
            feeder.kill()
        if wire is not None:
            os.kill(wire.greeting["pid"], signal.SIGTERM)
            wire.close()
        time.sleep(1)
        shutil.rmtree(root, ignore_errors=True)
    unseen = sum(answer["verdict"] != "DENY" for answer in seen)
    allowed = 2 * sync_ms + 15
    p50 = probe.quantile(took, 0.5)
    return {
        "p50_ms": p50, "max_ms": took[-1], "fdatasync_p50_ms": sync_ms, "allowed_ms": allowed, "queued": queued,
        "burst_p50_ms": probe.quantile(burst, 0.5), "burst_max_ms": burst[-1], "asked_after": len(seen),
        "not_denied": unseen, "held": p50 <= allowed and not unseen,
    }  # fmt: skip


def _note(took: list[float], began: float, _: Future[Any]) -> None:
    took.append((time.perf_counter() - began) * 1000)


def _ordered(workspace: Workspace, wire: Wire, signer: Any, stopped: list[_Agent], apart_s: float) -> list[float]:
    """An order for each, so far apart; milliseconds of each from being given to its answer, sorted."""
    given = []
    for agent in stopped:
        details = orders.AgentSuspend(agent=agent.name, reason="measured")
        order = make_order("agent.suspend", workspace.origin(), signer.person, "0" * 64, details)
        given.append((agent, as_fields(sign_order(signer, order))))
    took: list[float] = []
    answers = []
    for agent, signed in given:
        asked = wire.ask("order", orders=[signed])
        asked.add_done_callback(functools.partial(_note, took, time.perf_counter()))
        answers.append((agent, asked))
        time.sleep(apart_s)
    for agent, asked in answers:
        asked.result(60)
        agent.ask()
    return sorted(took)
