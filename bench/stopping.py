"""Stopping: what a supervisor adds to a start, how long a stop takes, and the same asked of peers' kill switches.

The stop is that of `agent suspend` through a real node: one tool with a small family (`bench.family`) runs for each of
many agents, each is suspended in turn, and it is timed twice: from outside (before the order's bytes are sent until the
kernel says that the last process is gone, by pidfds), and from what the ledger has (`containment.measured`). The peers
stop the same family, each in the best way that it documents (`bench/peer_*.py`), by subprocess, in the same run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench import probe
from bench.evaluation import PEER_PYTHON
from bench.family import Watched, command
from bench.orders import prepare
from failwell.client.powers import as_fields, make_order
from failwell.client.wire import Wire, hello, reach
from failwell.core import kinds, orders
from failwell.core.errors import FailwellError
from failwell.execute.supervised import SupervisedExecutor
from failwell.identity import agents
from failwell.identity.persons import sign_order
from failwell.node.audit import tail
from failwell.node.workspace import Workspace
from failwell.ports.executor import Launch

COLD_BOUND_MS, WARM_BOUND_MS = 40.0, 3.0
STOP_BOUND_MS = 50.0
STARTS = 100
STOPS = 120
BESIDE = 20
APART_S = 0.05
AT_ONCE = 64
PEERS = {"peer_agt_kill.py": 20, "peer_hummbl.py": 20, "peer_smartswitch.py": 5}


# -- what a supervisor adds to a start -----------------------------------------------------------------------------


def started_cold() -> dict[str, Any]:
    """/bin/true under a supervisor of its own, launch to told end, less a plain start and wait of it (p50 of each)."""
    return _started(0, COLD_BOUND_MS)


def started_warm() -> dict[str, Any]:
    """The same where supervisors stand by, as by default: each launch comes when both do."""
    return _started(2, WARM_BOUND_MS)


def _started(warm: int, bound_ms: float) -> dict[str, Any]:
    """`isolated_p50_ms`: in a pid namespace and a cgroup as well, where the self-test proves them here."""
    root = Path(tempfile.mkdtemp(prefix="failwell-bench-"))
    executor = SupervisedExecutor(root / "run", root / "orders", warm=warm)
    try:
        plain, ours = [], []
        for number in range(STARTS):
            plain.append(_run_plain(executor))
            ours.append(_run_ours(executor, number + 1))  # in turn, so that both see the same machine
        burst = _run_true(executor, list(range(10_000, 10_000 + AT_ONCE)))
        shown = executor.self_test()
        isolated = sorted(_run_ours(executor, 20_000 + number) for number in range(STARTS // 2))
    finally:
        executor.close()
        shutil.rmtree(root)
    plain.sort()
    ours.sort()
    added = probe.quantile(ours, 0.5) - probe.quantile(plain, 0.5)
    return {
        "added_p50_ms": added, "p50_ms": probe.quantile(ours, 0.5), "p99_ms": probe.quantile(ours, 0.99),
        "plain_p50_ms": probe.quantile(plain, 0.5), "isolated_p50_ms": probe.quantile(isolated, 0.5),
        "namespace": shown.pid_namespace, "cgroup": shown.cgroup, f"{AT_ONCE}_at_once_ms": burst, "starts": STARTS,
        "allowed_ms": bound_ms, "held": added <= bound_ms,
    }  # fmt: skip


def _rest(executor: SupervisedExecutor) -> None:
    executor.await_standby(5)
    time.sleep(APART_S)


def _run_plain(executor: SupervisedExecutor) -> float:
    """As a program without us would start it: subprocess forks and executes by vfork(2)."""
    _rest(executor)
    began = time.perf_counter()
    subprocess.run(["/bin/true"], env={}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000


def _run_ours(executor: SupervisedExecutor, action: int) -> float:
    _rest(executor)
    return _run_true(executor, [action])


def _run_true(executor: SupervisedExecutor, actions: list[int]) -> float:
    """Milliseconds until all are told to have ended, each launched from a thread of its own where they are many."""
    ended = threading.Semaphore(0)
    states: list[str] = []

    def told(end: Any) -> None:
        states.append(end.state)
        ended.release()

    def launch(action: int) -> None:
        executor.launch(
            Launch(
                action=action, agent="bench", tool="bench", command=("/bin/true",), cwd=None, env={}, stdin=b"",
                deadline_us=10_000_000, output_cap_bytes=1024, marker=f"bench-{action}",
            ),
            told,
        )  # fmt: skip

    threads = [threading.Thread(target=launch, args=(action,)) for action in actions[1:]]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    launch(actions[0])
    for _ in actions:
        ended.acquire()
    took = (time.perf_counter() - began) * 1000
    for thread in threads:
        thread.join()
    assert states == ["completed"] * len(actions)
    return took


# -- a stop through a real node --------------------------------------------------------------------------------------


class Stopped(NamedTuple):
    """Stops of as many agents, in milliseconds, sorted: from outside, and as the ledger has them."""

    outside: list[float]
    group: list[float]
    recorded: list[float]
    answered: list[float]
    next_call: str
    fresh_call: str
    unconfirmed: int


def stopped() -> dict[str, Any]:
    """Order -> last process gone, entries behind it: p99 under 50 ms, from outside and on record."""
    found = _stopped(STOPS)
    p99 = {name: probe.quantile(took, 0.99) for name, took in (("out", found.outside), ("rec", found.recorded))}
    return {
        "p50_ms": probe.quantile(found.outside, 0.5), "p99_ms": p99["out"], "max_ms": found.outside[-1],
        "recorded_p50_ms": probe.quantile(found.recorded, 0.5), "recorded_p99_ms": p99["rec"],
        "order_durable_p50_ms": probe.quantile(found.answered, 0.5), "stops": len(found.outside),
        "on_record": len(found.recorded), "unconfirmed": found.unconfirmed, "allowed_ms": STOP_BOUND_MS,
        "held": max(p99.values()) < STOP_BOUND_MS and len(found.recorded) == STOPS and not found.unconfirmed,
    }  # fmt: skip


def _stopped(count: int) -> Stopped:
    with _house(count) as (workspace, names, signer, wire):
        origin = workspace.origin()
        outside, group, answered = [], [], []
        next_calls, fresh_calls = set(), set()
        for number, name in enumerate(names):
            folder = workspace.path.parent / f"family-{number}"
            folder.mkdir()
            caller = _Caller(workspace, name)
            caller.act(number, command(folder, 60))
            watched = Watched(folder)
            order = make_order(
                "agent.suspend", origin, signer.person, "0" * 64, orders.AgentSuspend(agent=name, reason="measured")
            )
            signed = as_fields(sign_order(signer, order))
            began = time.perf_counter()
            answer = wire.ask("order", orders=[signed])
            answer.add_done_callback(lambda _, began=began: answered.append((time.perf_counter() - began) * 1000))  # type: ignore[misc]
            gone = watched.await_gone(("itself", "child")), watched.await_gone()
            assert None not in gone, f"something of it runs on: {watched.left()}"
            group.append(((gone[0] or 0) - began) * 1000)
            outside.append(((gone[1] or 0) - began) * 1000)
            answer.result(10)
            watched.close()
            next_calls.add(caller.verdict(number))
            caller.close()
            fresh_calls.add(_fresh(workspace, name, number))
        recorded, unconfirmed = _on_record(workspace, count)
    return Stopped(
        sorted(outside), sorted(group), recorded, sorted(answered), ", ".join(next_calls), ", ".join(fresh_calls),
        unconfirmed,
    )  # fmt: skip


@contextmanager
def _house(count: int) -> Iterator[tuple[Workspace, list[str], Any, Wire]]:
    """A node with so many agents under contract; it is ended by its pid."""
    root = Path(tempfile.mkdtemp(prefix="failwell-bench-"))
    os.environ["FAILWELL_CONFIG"] = str(root / "config")
    wire = None
    try:
        workspace, names, signer = prepare(root, count - 1)
        wire = reach(workspace.socket, workspace.path)
        yield workspace, names, signer, wire
    finally:
        if wire is not None:
            os.kill(wire.greeting["pid"], signal.SIGTERM)
            wire.close()
        time.sleep(1)
        shutil.rmtree(root, ignore_errors=True)


class _Caller:
    """An agent's open session with a run."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        key = agents.load_agent_key(Path(os.environ["FAILWELL_CONFIG"]), workspace.origin(), name)
        self._name = name
        self._wire = Wire(workspace.socket)
        hello(self._wire, "agent", name, key)
        self._run = self._wire.call("run.open", agent=name)
        self.close = self._wire.close

    def act(self, number: int, tool: list[str], call: str = "call") -> Any:
        return self._wire.ask(
            "act", agent=self._name, run=self._run, call=f"{call}-{number}", tool="payments.refund", how="execute",
            arguments=json.dumps({"customer_id": "c-1", "order_id": f"o-{number}", "amount": "9.50"}), reason=None,
            target={"command": tool, "env": {}},
        )  # fmt: skip

    def verdict(self, number: int) -> str:
        """What becomes of the next call."""
        try:
            answer = self.act(number, ["/bin/true"], "next").result(10)
        except FailwellError:
            return "refused"
        verdict = answer.get("verdict", answer)
        verdict = verdict if isinstance(verdict, str) else verdict["verdict"]
        return "runs" if verdict == "ALLOW" else "refused"


def _fresh(workspace: Workspace, name: str, number: int) -> str:
    """What becomes of a call in a session, and a run, of its own."""
    try:
        caller = _Caller(workspace, name)
    except FailwellError:
        return "refused"
    try:
        return caller.verdict(number + 1_000_000)
    finally:
        caller.close()


def _on_record(workspace: Workspace, count: int, within_s: float = 10.0) -> tuple[list[float], int]:
    """Milliseconds of each stop by its own entry, and how many actions are said to be unconfirmed."""
    until = time.monotonic() + within_s
    while True:
        shown = [each.entry.body for each in tail(workspace.path, 1_000_000) if each.entry is not None]
        bodies = [body for body in shown if isinstance(body, kinds.ContainmentMeasured) and body.actions]
        if len(bodies) >= count or time.monotonic() > until:
            break
        time.sleep(0.2)
    took = [(body.ended_mono_us - body.received_mono_us) / 1000 for body in bodies if body.ended_mono_us is not None]
    return sorted(took), sum(body.unconfirmed for body in bodies)


# -- beside the peers --------------------------------------------------------------------------------------------------


def beside_peers() -> dict[str, Any]:
    """One table: the same family stopped by us and by each peer, and what becomes of the next call."""
    if not PEER_PYTHON.exists():
        return {"peers": "not installed: make peers", "held": None}
    found = _stopped(BESIDE)
    table = [
        {
            "peer": "failwell", "way": "tool: a process under its supervisor (default)", "running_tool": "killed",
            "left": [], "group_p50_ms": probe.quantile(found.group, 0.5),
            "all_p50_ms": probe.quantile(found.outside, 0.5), "all_max_ms": found.outside[-1], "rounds": BESIDE,
            "next_call": found.next_call, "other_process": f"a fresh one: {found.fresh_call}",
            "claims": "interrupt.confirmed" if not found.unconfirmed else "interrupt.unconfirmed",
        }
    ]  # fmt: skip
    for script, rounds in PEERS.items():
        command_line = [str(PEER_PYTHON), str(Path(__file__).with_name(script)), str(rounds)]
        said = subprocess.run(command_line, capture_output=True, text=True, check=True)
        answer = json.loads(said.stdout.splitlines()[-1])
        table += [{"peer": answer["peer"], **row} for row in answer["rows"]]
    held = (found.next_call, found.fresh_call, found.unconfirmed) == ("refused", "refused", 0)
    return {"table": table, "held": held and found.outside[-1] < STOP_BOUND_MS}
