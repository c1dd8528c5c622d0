"""How long a start takes to read a ledger, and what memory it takes, by how much was ever recorded.

The ledger is made by the product's own code in bulk (many jobs to a commit, no sync), by a mix as work gives it: runs
of six actions, each started and settled, some denied, some blocked, every customer and order another. The index is
brought up to date, as a node's thread does, and a fresh process opens the ledger; then once more without an index, as
happens once to a ledger that was restored or comes from an earlier release.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from failwell.core import contract as contracts
from failwell.core.react import react
from failwell.gate import outcomes, registry, runs
from failwell.gate.verdicts import Gate, Proposal
from failwell.ledger.book import Book
from failwell.ledger.jobs import Job, Plan
from failwell.ledger.vault import Vault
from failwell.node.assembly import EVALUATOR, genesis_drafts
from failwell.storage import index, sqlite

AGENTS = 100
PER_COMMIT = 400
ORIGIN = "failwell/0123456789abcdef"
KEY = "failwell/0123456789abcdef+00000000+AQ=="
BOUND_S = 1.0
CONTRACT = """
contract: bench-{number}
version: 1
agent: spiffe://bench.example/agent/bench-{number}
owner: bench-owner
purpose: Leave behind what work leaves behind.
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
  - {{id: ceiling, deny: payments.refund, when: context.args.amount > 20000, severity: minor}}
limits:
  - {{id: per-hour, count: payments.refund, at_most: 900000, per: 1h, then: deny}}
  - {{id: once, once_per: payments.refund, keys: [order_id], then: record, severity: minor}}
response:
  - {{signal: "denied(ceiling) >= 900 in 1h", do: [interrupt, suspend, hold, notify]}}
"""


class SteadyClock:
    """Ten looks a second, as far as the ledger can tell."""

    def __init__(self, mono_us: int = 0) -> None:
        self._mono_us = mono_us

    def boot(self) -> str:
        return "a" * 32

    def mono_us(self) -> int:
        self._mono_us += 100_000
        return self._mono_us

    def wall_us(self) -> int:
        return 1_795_000_000_000_000 + self._mono_us


def open_book(path: Path, mono_us: int = 0) -> Book:
    vault = Vault(b"b" * 32, b"t" * 32, ORIGIN, secrets.token_bytes)
    return Book(sqlite.SqliteStorage(path), vault, SteadyClock(mono_us), ORIGIN, react)


class Filler:
    """Fills a ledger without a writer's thread: a job runs at once, many share a commit."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.gate = Gate(EVALUATOR)
        self.open = 0

    def do(self, job: Job[Any]) -> Any:
        make, entries = self.book.run(job, lambda entry: None)
        self.open += 1
        if self.open >= PER_COMMIT:
            self.commit()
        return make(entries)

    def commit(self) -> None:
        self.book.commit()
        self.open = 0

    def agents(self) -> list[str]:
        made = []
        for number in range(AGENTS):
            contract = contracts.load(CONTRACT.format(number=number), name="bench")
            made.append(self.do(registry.adopt_for_backtest(contracts.to_canonical(contract), EVALUATOR)))
        return made

    def run(self, agent: str, number: int) -> None:
        """One task of an agent: six actions, of which one in fifty is denied and one in fifty never starts."""
        run = self.do(runs.open_run(agent, principal=f"customer:{number}", request="Refund my order.", host=None))
        for place in range(6):
            action = number * 6 + place
            amount = 300 if action % 50 == 49 else action % 150
            arguments = b'{"customer_id":"c-%d","order_id":"o-%d","amount":"%d.50"}' % (number, action, amount)
            proposal = Proposal(
                agent=agent, run=run, call=f"call-{place}", tool="payments.refund", arguments=arguments,
                reason="The customer reported a double charge on ticket 8812 and asks for the money back.",
            )  # fmt: skip
            verdict = self.do(self.gate.decide(proposal))
            if verdict.verdict == "ALLOW":
                blocked = action % 50 == 23
                if not blocked:
                    self.do(outcomes.started(verdict.entry, "supervised", 4242, 77))
                state = "blocked" if blocked else "completed"
                self.do(outcomes.settle(outcomes.Settlement(decision=verdict.entry, state=state, by="supervisor")))
        if number % 1000:  # one run in a thousand is left open by its host
            self.do(runs.close_run(run, agent, "done"))


@contextlib.contextmanager
def filled(entries: int) -> Iterator[Path]:
    """A ledger of that many entries, indexed to the end and closed."""
    folder = Path(tempfile.mkdtemp(prefix="failwell-bench-"))
    try:
        path = folder / "ledger.db"
        sqlite.create(path)
        book = open_book(path)
        book.storage._write.pragma("synchronous", 0)  # type: ignore[attr-defined]
        filler = Filler(book)
        filler.do(lambda turn: Plan(genesis_drafts(book, KEY, "backtest"), lambda _: None))
        agents = filler.agents()
        number = 0
        while book.state.size < entries:
            filler.run(agents[number % AGENTS], number)
            number += 1
        filler.commit()
        book.storage.past()
        book.storage.close()
        yield path
    finally:
        shutil.rmtree(folder)


_CHILD = """
import json, sys, time
from pathlib import Path
from bench import reopen
def resident(): return int(Path("/proc/self/statm").read_text().split()[1]) * 4 / 1024
before = resident()
began = time.perf_counter()
book = reopen.open_book(Path(sys.argv[1]), 10**15)
took = time.perf_counter() - began
print(json.dumps({"s": took, "mib": resident() - before, "size": book.state.size}))
book.storage.close()
"""


def opened(path: Path) -> dict[str, Any]:
    """Seconds that a fresh process takes to have the ledger in memory, and the MiB that it takes."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(path)], capture_output=True, text=True, check=True
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(entries: int) -> dict[str, Any]:
    with filled(entries) as path:
        clean = min((opened(path) for _ in range(3)), key=lambda each: each["s"])
        index.remove(path.with_name(index.NAME))
        anew = opened(path)
    return {
        "entries": clean["size"], "clean_s": clean["s"], "clean_mib": clean["mib"], "no_index_s": anew["s"],
        "no_index_mib": anew["mib"],
    }  # fmt: skip


def reopen(sizes: tuple[int, ...] = (10_000, 100_000)) -> dict[str, Any]:
    """Start on 100,000 entries, beside one on 10,000."""
    found = [measure(size) for size in sizes]
    last = found[-1]
    return {"held": last["clean_s"] < BOUND_S, "sizes": found, **last}


if __name__ == "__main__":
    for size in [int(each) for each in sys.argv[1:]] or [10_000, 100_000]:
        began = time.perf_counter()
        print(json.dumps(measure(size)), f"made in {time.perf_counter() - began:.0f} s", flush=True)
