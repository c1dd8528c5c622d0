"""Random lives of actions that are stopped, undone, confirmed late, ordered by people, and of nodes that die meanwhile.

Whatever happens in whatever order: no step is begun twice that does harm twice, nothing is reversed that was not begun,
what was not stopped is undone by a person's order alone, and the record verifies and folds to the stored rows.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from failwell.core import kinds, undoing
from failwell.core.errors import FailwellError
from failwell.core.records import Draft
from failwell.response.compensation import Seen, begin, end
from tests.unit.gate.house import AGENT, MINUTE_US, House, folded
from tests.unit.response.test_compensation import IDEMPOTENT, UNDONE, due, faults, furnish, order

LIVES, STEPS = 24, 50
ENDS = ("completed", "failed", "unknown", "blocked")
STOPS = ("interrupted_confirmed", "completed_after_interrupt", "completed", "failed", "blocked")


class Life:
    """One house and one agent, whose actions come and go; what happens next is drawn."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.harmless = seed % 3 == 0
        self.house = House()
        self.run = furnish(self.house, IDEMPOTENT if self.harmless else UNDONE, rules=_QUIET)
        self.open: list[int] = []
        self.unconfirmed: list[int] = []
        self.begun: dict[int, int] = {}

    def step(self) -> None:
        self.draw.choice(
            (self.ask, self.ask, self.settle, self.stop, self.stop, self.begin, self.begin, self.end, self.end,
             self.confirm, self.order, self.wait, self.die)
        )()  # fmt: skip

    def ask(self) -> None:
        verdict = self.house.ask(self.run)
        if verdict.may_start:
            self.open.append(verdict.entry)

    def _take(self) -> int | None:
        return self.open.pop(self.draw.randrange(len(self.open))) if self.open else None

    def settle(self) -> None:
        if (action := self._take()) is not None:
            self.house.settle(action, self.draw.choice(ENDS))

    def stop(self) -> None:
        if (action := self._take()) is not None:
            self.house.stop(action, self.draw.choice(STOPS))

    def confirm(self) -> None:
        """What could not be confirmed at its stop is confirmed later, by its node."""
        if (action := self._take()) is not None:
            self.house.stop(action, "interrupted_unconfirmed")
            self.unconfirmed.append(action)
        elif self.unconfirmed:
            shown = kinds.InterruptConfirmed(
                action=self.unconfirmed.pop(), processes=0, ended_mono_us=1, proven_by="asked later",
                state="interrupted_confirmed",
            )  # fmt: skip
            self.house.write(Draft(body=shown, actor="node", agent=AGENT, refs=(shown.action,)))

    def begin(self) -> None:
        for found in due(self.house, *self.begun):
            if found.over is not None:
                state = "not" if found.begun is None else "unknown"
                self.house.do(end(found.decision, found.begun, Seen(state=state, detail=found.over)))
            elif (number := self.house.do(begin(found))) is not None:
                self.begun[found.decision] = number

    def end(self) -> None:
        if self.begun:
            decision = self.draw.choice(sorted(self.begun))
            state = self.draw.choice(undoing.ENDS)
            code = 0 if state == "reversed" else 1
            self.house.do(end(decision, self.begun.pop(decision), Seen(state=state, detail="said", exit_code=code)))

    def order(self) -> None:
        decisions = [each.seq for each in self.house.entries() if isinstance(each.body, kinds.Decision)]
        if decisions:
            with_luck = self.draw.choice(decisions)
            try:
                order(self.house, self.draw.choice(("olga", "piet")), with_luck)
            except FailwellError:
                return

    def wait(self) -> None:
        self.house.clock.skip(self.draw.choice((1, MINUTE_US, 11 * MINUTE_US)))

    def die(self) -> None:
        """kill -9: what was begun stays begun, and the next node finds it."""
        self.house.reopen()
        self.begun.clear()


_QUIET = """
response:
  - {signal: executor.unconfirmed, do: [record]}
  - {signal: compensate(payments.refund), do: [record]}
"""


@pytest.mark.parametrize("seed", range(LIVES))
def test_no_life_of_an_undoing_runs_a_step_that_does_harm_twice_or_believes_what_was_not_begun(seed: int) -> None:
    life = Life(seed)
    for _ in range(STEPS):
        life.step()
    house = life.house
    assert faults(house) == []
    leaves = [row.leaf.hex() for row in house.storage.entries(0, 99_999)]
    assert folded(zip(house.entries(), leaves, strict=True))[1] == house.stored()
    begun: Counter[int] = Counter()
    undone: dict[int, str] = {}
    ordered: dict[int, str] = {}
    outcomes = {body.decision: body.state for body in house.bodies(kinds.Outcome)}
    tried = {body.action for body in house.bodies(kinds.InterruptAttempted)}
    for entry in house.entries():
        body = entry.body
        if isinstance(body, kinds.CompensationOrdered):
            assert outcomes[body.decision] not in ("blocked", None)
            assert body.by != undoing.BY_RULE or body.decision in tried
            ordered[body.decision] = body.by
            assert undone.get(body.decision) in (None, "not") or life.harmless
            begun[body.decision] = 0
        elif isinstance(body, kinds.CompensationBegun):
            begun[body.decision] += 1
            assert begun[body.decision] <= (undoing.MOST_TRIES if life.harmless else 1)
        elif isinstance(body, kinds.Compensated):
            assert body.state != "reversed" or begun[body.decision]
            undone[body.decision] = body.state
    stopped = {decision for decision in tried if outcomes[decision] != "blocked"}
    assert stopped <= ordered.keys()
    house.close()
