"""A real ledger with real keys, one agent and a contract of three clauses and two limits, in a temporary directory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from failwell.core import contract as contracts
from failwell.gate import registry, runs
from failwell.gate.verdicts import Gate, Proposal
from failwell.ledger.writer import Writer
from failwell.node.assembly import EVALUATOR, backtest_ledger
from failwell.node.clock import SystemClock
from failwell.node.workspace import Workspace

CONTRACT = """
contract: bench-{number}
version: 1
agent: spiffe://bench.example/agent/bench-{number}
owner: bench-owner
purpose: Measure a decision as an owner would write it.
tools:
  - tool: payments.refund
    effect: irreversible
    executor: supervised
    custody: none
    deadline: 10s
    arguments: {{customer_id: "id", order_id: "string(1..40)", amount: "money(2, 0..10000)"}}
    affects: {{customer: customer_id, amount: amount}}
    public: [amount]
clauses:
  - {{id: ceiling, deny: payments.refund, when: context.args.amount > 20000, severity: major}}
  - {{id: nobody, deny: payments.refund, when: 'context.args.customer_id == "nobody"', severity: minor}}
  - {{id: silent, escalate: payments.refund, when: 'context.args.order_id == ""', severity: minor}}
limits:
  - {{id: per-hour, count: payments.refund, at_most: 900000000, per: 1h, then: deny}}
"""


class Bench(NamedTuple):
    """A writer, its gate, and one (agent, run) for each agent."""

    writer: Writer
    gate: Gate
    agents: list[tuple[str, int]]
    path: Path

    def proposal(self, agent: int, number: int) -> Proposal:
        name, run = self.agents[agent % len(self.agents)]
        arguments = b'{"customer_id":"c-%d","order_id":"o-%d","amount":"%d.50"}' % (number % 1000, number, number % 150)
        return Proposal(
            agent=name, run=run, call=f"call-{number}", tool="payments.refund", arguments=arguments,
            reason="The customer reported a double charge on ticket 8812 and asks for the money back.",
        )  # fmt: skip


@contextmanager
def bench(agents: int = 1) -> Iterator[Bench]:
    """A fresh ledger on the disk of the temporary directory; removed afterwards."""
    root = Path(tempfile.mkdtemp(prefix="failwell-bench-"))
    writer = backtest_ledger(Workspace(root / "workspace"), SystemClock(), lambda entries: None)
    try:
        known = []
        for number in range(agents):
            contract = contracts.load(CONTRACT.format(number=number), name="bench")
            adopted = registry.adopt_for_backtest(contracts.to_canonical(contract), EVALUATOR)
            agent = writer.submit(adopted).result()
            opened = runs.open_run(agent, principal="customer:1", request="Refund my order.", host=None)
            known.append((agent, writer.submit(opened).result()))
        yield Bench(writer, Gate(EVALUATOR), known, root)
    finally:
        writer.close()
        shutil.rmtree(root)
