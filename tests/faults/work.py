"""Honest work in random order, for histories that are cut, killed and reopened: everything goes through real jobs.

Does not judge what comes of it (`judge`), and draws all its chances from the generator it is given.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from failwell.core import kinds
from failwell.core.records import Draft, Entry, encode_entry
from failwell.gate.verdicts import Proposal, Verdict
from failwell.ledger.heads import Heads
from failwell.ledger.jobs import CONTAINMENT, NORMAL, Job, Plan, Turn
from tests.simulate.powercut import Journal
from tests.unit.verify import ledgers

#: What a caller was told is recorded: number of the entry -> its bytes.
Told = dict[int, bytes]


def watch_answers(made: ledgers.Made, told: Callable[[Told], None]) -> None:
    """Call `told` in the writer's thread whenever a job's answer is made, which is when its entries must be durable."""
    submit = made.writer.submit

    def noting(
        job: Job[Any], lane: int = NORMAL, *, certain: bool = False, behind: bool = False, loop: Any = None
    ) -> Future[Any]:  # fmt: skip
        def watched(turn: Turn) -> Plan[Any]:
            plan = job(turn)

            def answer(entries: tuple[Entry[Any], ...]) -> Any:
                if entries:
                    told({entry.seq: encode_entry(entry) for entry in entries})
                return plan.answer(entries)

            return plan._replace(answer=answer)

        return submit(watched, lane, certain=certain, behind=behind, loop=loop)

    made.writer.submit = noting  # type: ignore[method-assign]


def journal_answers(made: ledgers.Made, journal: Journal) -> None:
    """Put every acknowledgment of `made` into the disk's journal, where it happened."""
    watch_answers(made, journal.acknowledge)


class Labour:
    """One workspace at honest work: each `act` is one or several random jobs, waited for."""

    def __init__(self, made: ledgers.Made, rng: random.Random, *, name: str = "") -> None:
        self.made = made
        self.rng = rng
        self.name = name or f"{rng.getrandbits(32):x}"
        self._calls = 0
        self._run: int | None = None
        self._open: list[Verdict] = []

    def act(self) -> None:
        """One thing that happens in a workspace."""
        choice = self.rng.choices(
            [self.propose, self.settle, self.health, self.heads, self.together, self.contain],
            weights=[6, 3, 2, 1, 2, 1],
        )[0]  # fmt: skip
        choice()

    def forget(self) -> None:
        """After an error: what was begun may not be there."""
        self._run = None
        self._open.clear()

    def _in_a_run(self) -> int:
        if self._run is None or self.rng.random() < 0.1:
            self._run = self.made.run(f"customer:{self.rng.randrange(5)}")
        return self._run

    def _proposal(self) -> Any:
        self._calls += 1
        run, call = self._in_a_run(), f"{self.name}-{self._calls}"
        if self.rng.random() < 0.4:
            arguments: Any = {"order_id": "x" * self.rng.randrange(1, 41)}
            return run, call, "orders.read", arguments
        order = f"A-{self.rng.randrange(1000)}"
        arguments = {"customer_id": f"c-{order}", "order_id": order, "amount": f"{self.rng.randrange(900)}.00"}
        return run, call, "payments.refund", arguments

    def propose(self) -> None:
        verdict = self.made.ask(*self._proposal())
        if verdict.verdict == "ALLOW":
            self._open.append(verdict)

    def settle(self) -> None:
        if not self._open:
            return self.propose()
        verdict = self._open.pop(self.rng.randrange(len(self._open)))
        if self.made.book.state.action[verdict.entry].state == "open":
            self.made.settle(verdict, self.rng.choice(("completed", "failed")))
        return None

    def health(self) -> None:
        """An entry of any size, so that rows of every shape meet the ends of pages."""
        self.made.write(health(f"{self.name} " + "d" * self.rng.randrange(480)))

    def heads(self) -> None:
        self.made.do(Heads(self.made.book).write)

    def together(self) -> None:
        """Several callers at once: they share commits."""
        self._in_a_run()
        waiting: list[Future[Any]] = []
        for _ in range(self.rng.randrange(2, 9)):
            if self.rng.random() < 0.5:
                waiting.append(self.made.writer.submit(note(f"{self.name} together")))
            else:
                run, call, tool, arguments = self._proposal()
                waiting.append(self.made.writer.submit(self.made.gate.decide(_proposed(run, call, tool, arguments))))
        for future in waiting:
            future.result(30)

    def contain(self) -> None:
        self.made.do(note(f"{self.name} first in line"), CONTAINMENT)


def health(detail: str) -> Draft:
    return Draft(body=kinds.Health(part="test", state="ok", detail=detail), actor="node")


def note(detail: str) -> Job[int]:
    """A job that writes one entry and answers its number."""
    return lambda turn: Plan((health(detail),), lambda entries: entries[0].seq)


def _proposed(run: int, call: str, tool: str, arguments: Any) -> Proposal:
    return Proposal(
        agent=ledgers.AGENT, run=run, call=call, tool=tool, arguments=json.dumps(arguments).encode(), reason="as asked"
    )
