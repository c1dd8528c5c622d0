"""Judging alone, and a decision in memory beside the governed call of a peer in an environment of its own.

The peer is agent-governance-toolkit-core at the version that `requirements/peers.txt` locks, installed by `make peers`
into `.venv-peers` and talked to by subprocess: it forces other versions of what both use.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple, cast

from bench import probe
from bench.workspace import CONTRACT, Bench
from failwell.core import contract as contracts
from failwell.core.contract import model
from failwell.gate import registry, runs
from failwell.gate.verdicts import Gate
from failwell.ledger.book import Book
from failwell.ledger.jobs import Job, Plan
from failwell.node.assembly import EVALUATOR, create_book, genesis_drafts
from failwell.node.clock import SystemClock
from failwell.node.workspace import Workspace

ROUNDS = 3000
PEER_PYTHON = Path(__file__).resolve().parent.parent / ".venv-peers" / "bin" / "python"
PEER_SCRIPT = Path(__file__).with_name("peer_agt.py")

_TOOLS = 100
_NOON_US = 1_796_126_400_000_000


def _contract(each: int) -> contracts.Compiled:
    """100 tools with `each` clauses apiece."""
    tools = tuple(
        model.Tool(
            tool=f"shop.tool-{number}", effect="irreversible", custody="broker", deadline_us=10_000_000,
            arguments=(
                model.Argument(name="customer_id", type="id"), model.Argument(name="order_id", type="string(1..40)"),
                model.Argument(name="amount", type="money(2, 0..10000)"),
            ),
            affects=model.Affects(customer="customer_id", amount="amount"), public=("amount",),
        )
        for number in range(_TOOLS)
    )  # fmt: skip
    clauses = tuple(
        model.Clause(
            id=f"c-{number}-{place}", then="deny", tools=(tool.tool,), severity="minor",
            when=f'context.args.amount > {20_000 + place} && context.args.customer_id != "c-{number}"',
        )
        for number, tool in enumerate(tools)
        for place in range(each)
    )  # fmt: skip
    contract = model.Contract(
        contract="bench", version=1, agent="bench", owner="bench", purpose="Measure.", tools=tools,
        clauses=clauses, restricted=model.Restricted(irreversible="escalate", limits="half"),
    )  # fmt: skip
    # Together with its floors a contract may have as many clauses; alone, its canonical bytes would be too many.
    return contracts.Compiled(contract)


def by_clauses() -> dict[str, Any]:
    """Judging under 1,000 clauses over 100 tools (10 each): p50 at most 1.3 times that under 100 (one each)."""
    under = {1: _contract(1), 10: _contract(10)}
    situation = contracts.Situation(authority="ACTIVE", now_us=_NOON_US, request="asserted", usage=lambda limit, key: 0)
    took: dict[int, list[float]] = {1: [], 10: []}
    for number in range(ROUNDS):
        arguments = b'{"customer_id":"c-%d","order_id":"o-%d","amount":"%d.50"}' % (number % 997, number, number % 150)
        proposal = contracts.Proposal(tool=f"shop.tool-{number % _TOOLS}", arguments=arguments)
        for each, compiled in under.items():  # in turn, so that both see the same machine
            began = time.perf_counter()
            judgment = compiled.judge(proposal, situation)
            took[each].append((time.perf_counter() - began) * 1e6)
            assert judgment.verdict == "ALLOW"
    one, ten = (_p50(took[each]) for each in (1, 10))
    return {"one_us": one, "ten_us": ten, "ratio": ten / one, "wanted": 1.3, "held": ten <= 1.3 * one}


def judged() -> dict[str, Any]:
    """One caller, in memory: judging an action, beside the peer's governed call (rules and a line of its audit)."""
    ours, peer = _in_turn()
    fields = {"judged_us": ours.judged, **peer}
    if "peer_us" not in peer:
        return {**fields, "held": None}
    return {**fields, "ratio": ours.judged / peer["peer_us"], "held": ours.judged <= peer["peer_us"]}


def decided() -> dict[str, Any]:
    """The same with all that a decision is: encoded, its texts sealed, hashed, folded; then stored in memory.

    The peer's audit line is an object in a list with a hash of itself: it holds no arguments and stores nothing.
    """
    ours, peer = _in_turn()
    fields = {"decided_us": ours.decided, "stored_us": ours.stored, **peer}
    if "peer_us" not in peer:
        return {**fields, "held": None}
    return {**fields, "ratio": ours.decided / peer["peer_us"], "held": ours.decided <= peer["peer_us"]}


class _Took(NamedTuple):
    """p50 in microseconds: judged alone; a decision drafted on record; stored in memory too."""

    judged: float
    decided: float
    stored: float


def _in_turn() -> tuple[_Took, dict[str, Any]]:
    """Ours and the peer's, three times in turn, each at its best: so both see the same machine."""
    ours, peers = [_ours()], []
    if not PEER_PYTHON.exists():
        return ours[0], {"peer": "not installed: make peers"}
    for _ in range(3):
        said = subprocess.run([PEER_PYTHON, PEER_SCRIPT, str(ROUNDS)], capture_output=True, text=True, check=True)
        peers.append(json.loads(said.stdout.splitlines()[-1]))
        ours.append(_ours())
    best = min(peers, key=lambda one: one["p50_us"])
    return _Took(*map(min, zip(*ours, strict=True))), {"peer_us": best["p50_us"], "peer": best["peer"]}


def _ours() -> _Took:
    """One caller on a ledger in memory, without a writer's thread."""
    ram = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="failwell-bench-", dir=ram if ram.is_dir() else None))
    book, guard = create_book(Workspace(root / "workspace"), SystemClock(), root / "guard")
    try:
        gate = Gate(EVALUATOR)
        contract = contracts.load(CONTRACT.format(number=0), name="bench")
        _done(book, lambda turn: Plan(tuple(genesis_drafts(book, guard.key, "backtest")), lambda entries: None))
        agent = _done(book, registry.adopt_for_backtest(contracts.to_canonical(contract), EVALUATOR))
        run = _done(book, runs.open_run(agent, principal="customer:1", request="Refund my order.", host=None))
        made = Bench(cast("Any", None), gate, [(agent, run)], root)
        decided, stored = [], []
        for number in range(ROUNDS):
            job = gate.decide(made.proposal(0, number))
            began = time.perf_counter()
            make, entries = book.run(job, _unseen)
            middle = time.perf_counter()
            book.commit()
            verdict = make(entries)
            stored.append((time.perf_counter() - began) * 1e6)
            decided.append((middle - began) * 1e6)
            assert verdict.verdict == "ALLOW"
        return _Took(_judged(contract, made), _p50(decided), _p50(stored))
    finally:
        book.storage.close()
        shutil.rmtree(root)


def _done(book: Book, job: Job[Any]) -> Any:
    make, entries = book.run(job, _unseen)
    book.commit()
    return make(entries)


def _unseen(entry: Any) -> None:
    """Nobody watches the entries of this ledger."""


def _judged(contract: contracts.Contract, made: Bench) -> float:
    compiled = contracts.compile(contract)
    situation = contracts.Situation(authority="ACTIVE", now_us=_NOON_US, request="asserted", usage=lambda limit, key: 0)
    took = []
    for number in range(ROUNDS):
        given = made.proposal(0, number)
        proposal = contracts.Proposal(tool=given.tool, arguments=given.arguments, reason=given.reason)
        began = time.perf_counter()
        compiled.judge(proposal, situation)
        took.append((time.perf_counter() - began) * 1e6)
    return _p50(took)


def _p50(took: list[float]) -> float:
    return probe.quantile(sorted(took), 0.5)
