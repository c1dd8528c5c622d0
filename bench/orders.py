"""A suspension behind 10,000 queued actions, from another process, through the client (D3)."""

from __future__ import annotations

import base64
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
from bench.workspace import CONTRACT
from failwell.client.powers import Hand, as_fields, make_order
from failwell.client.wire import Wire, hello, reach
from failwell.core import contract as contracts
from failwell.core import orders
from failwell.identity import agents
from failwell.identity.persons import PersonKey, prove_enrolment, sign_order
from failwell.node.beginning import begin
from failwell.node.settings import DEFAULT_TEXT
from failwell.node.workspace import Workspace

QUEUED = 10_000


def order_behind_queue(rounds: int = 9) -> dict[str, Any]:
    """From giving the order to its durable answer: at most 2 fdatasync + 15 ms (p50 over agents suspended in turn)."""
    root = Path(tempfile.mkdtemp(prefix="failwell-bench-"))
    os.environ["FAILWELL_CONFIG"] = str(root / "config")
    wire = None
    try:
        workspace, names, signer = prepare(root, rounds)
        wire = reach(workspace.socket, workspace.path)
        sync_ms = probe.quantile(probe.fdatasync_ms(root), 0.5)
        feeder = subprocess.Popen(
            [sys.executable, "-m", "bench.feeder", str(workspace.path), names[-1], str(QUEUED)],
            stdout=subprocess.PIPE, text=True, env=os.environ,
        )  # fmt: skip
        assert feeder.stdout is not None
        took, waiting = [], []
        feeder.stdout.readline()
        for name in names[:-1]:
            details = orders.AgentSuspend(agent=name, reason="measured")
            order = make_order("agent.suspend", workspace.origin(), signer.person, "0" * 64, details)
            signed = as_fields(sign_order(signer, order))
            waiting.append(json.loads(feeder.stdout.readline())["waiting"])
            began = time.perf_counter()
            wire.call("order", orders=[signed])
            took.append((time.perf_counter() - began) * 1000)
        feeder.terminate()
        feeder.wait()
        sync_ms = max(sync_ms, probe.quantile(probe.fdatasync_ms(root), 0.5))
    finally:
        if wire is not None:
            os.kill(wire.greeting["pid"], signal.SIGTERM)
            wire.close()
        time.sleep(1)
        shutil.rmtree(root, ignore_errors=True)
    took.sort()
    allowed = 2 * sync_ms + 15
    p50 = probe.quantile(took, 0.5)
    return {
        "p50_ms": p50, "max_ms": took[-1], "fdatasync_p50_ms": sync_ms, "allowed_ms": allowed,
        "queued_p50": probe.median(waiting), "held": p50 <= allowed,
    }  # fmt: skip


def prepare(
    root: Path, rounds: int, text: str = CONTRACT, settings: str = DEFAULT_TEXT
) -> tuple[Workspace, list[str], Any]:
    """A workspace with an owner, an approver, and `rounds` + 1 agents under contract; the last one is the busy one."""
    config = Path(os.environ["FAILWELL_CONFIG"])
    owner = PersonKey.create(config, "bench-owner", "bench").unlock("bench")
    approver = PersonKey.create(config, "bench-approver", "bench").unlock("bench")
    workspace = Workspace(root / "workspace")
    begin(workspace, owner, email="owner@bench.example", roles=("operator",), settings_toml=settings)
    wire = reach(workspace.socket, workspace.path)
    hand, second = Hand(wire, owner), Hand(wire, approver)
    public = base64.b64encode(approver.key.public).decode()
    hand.enrol(approver, public, prove_enrolment(approver, workspace.origin()), ("approver",), None)
    second.verify_contact("bench-owner", None)
    names = []
    for number in range(rounds + 1):
        contract = contracts.load(text.format(number=number), name="bench")
        key = agents.create_agent_key(config, workspace.origin(), contract.agent)
        registered = orders.AgentRegister(
            agent=contract.agent, key=base64.b64encode(key.public).decode(), owner="bench-owner"
        )
        hand.give("agent.register", registered)
        second.adopt_contract(contract, hand.sign_contract(contract))
        names.append(contract.agent)
    wire.close()
    return workspace, names, owner


__all__ = ["Wire", "hello", "order_behind_queue"]
