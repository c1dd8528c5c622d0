"""The counting of `contract test` and that of the ledger: the same history gives the same verdicts."""

from __future__ import annotations

import json
import random

from failwell.core import contract as contracts
from failwell.core.contract.examples import Earlier, Example, try_all
from tests.unit.gate.house import SECOND_US, contract_text, open_house

LIMITS = """
limits:
  - {id: often, count: payments.refund, at_most: 4, per: 1h, then: deny}
  - {id: budget, sum: payments.refund.amount, at_most: 3000, per: 2h, then: escalate}
  - {id: pause, cooldown: payments.refund, keys: [customer_id], per: 10m, then: deny}
  - {id: at-once, concurrent: payments.refund, at_most: 2, then: escalate}
  - {id: read-first, sequence: payments.refund, after: orders.read, keys: [order_id], then: deny}
  - {id: beyond-recall, blast: amount, at_most: 9000, per: 1d, then: deny}
  - {id: in-a-run, count: payments.refund, each: [run], at_most: 6, then: deny}
response:
  - {signal: denied(often), do: [record]}
  - {signal: denied(pause), do: [record]}
  - {signal: denied(read-first), do: [record]}
  - {signal: denied(beyond-recall), do: [record]}
  - {signal: denied(in-a-run), do: [record]}
"""


def test_an_example_with_its_history_is_judged_as_the_gate_judged_it(rng: random.Random) -> None:
    compiled = contracts.compile(contracts.load(contract_text(LIMITS), name="contract.yaml"))
    seen: set[str] = set()
    for _ in range(4):
        seen |= _live(rng, compiled)
    assert {"ALLOW", "DENY", "ESCALATE"} < seen
    assert len(seen) > 6


def _live(rng: random.Random, compiled: contracts.Compiled) -> set[str]:
    """One drawn history at a real gate; what it ran into."""
    house = open_house(LIMITS)
    runs = {1: house.run(), 2: house.run()}
    history: list[tuple[int, Earlier]] = []
    seen: set[str] = set()
    for _ in range(45):
        house.clock.skip(rng.choice((1, 60, 600, 1800)) * SECOND_US)
        number, order = rng.choice((1, 2)), rng.choice(("o-1", "o-2"))
        reads = rng.random() < 0.25
        given = {"order_id": order}
        if not reads:
            given |= {"customer_id": f"c-{rng.randrange(4)}", "amount": str(rng.choice((1, 5, 12)))}
        tool, arguments = "orders.read" if reads else "payments.refund", json.dumps(given).encode()
        verdict = house.ask(runs[number], tool=tool, arguments=arguments)
        now_us = house.state.last_at_us
        # The example's own run is 1: what was done in it before is named so.
        after = tuple(
            _earlier(earlier, now_us - at_us, run=1 if earlier.run == number else 2) for at_us, earlier in history
        )
        example = Example(about="one more", tool=tool, arguments=arguments, expect="ALLOW", after=after)
        (tried,) = try_all(compiled, (example,))
        assert (tried.verdict, set(tried.by)) == (verdict.verdict, set(verdict.clauses)), tried.problem
        assert not str(tried.problem).startswith("what it comes after")
        seen |= {verdict.verdict, *verdict.clauses}
        if verdict.verdict == "ALLOW":
            running = not reads and rng.random() < 0.1
            if not running:
                house.settle(verdict.entry)
            history.append((now_us, Earlier(tool=tool, arguments=arguments, ago_us=0, run=number, running=running)))
    return seen


def _earlier(earlier: Earlier, ago_us: int, *, run: int) -> Earlier:
    return Earlier(
        tool=earlier.tool, arguments=earlier.arguments, ago_us=ago_us, run=run, running=earlier.running
    )  # fmt: skip
