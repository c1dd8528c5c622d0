"""Whatever is drawn and whatever happens: each verdict is what the reference says, no bound is exceeded by one, and the
same entries give the same rows (I2, I4, I6). A seed is printed with every failure.
"""

from __future__ import annotations

import threading
from collections import Counter
from random import Random
from typing import Any

import pytest

from failwell.core import stops
from failwell.core.contract import judgment
from failwell.core.errors import Refused
from failwell.core.projections import Projections
from failwell.core.windows import Window
from failwell.gate import outcomes
from tests.property.lives import holds, lived, world_holds
from tests.property.worlds import World


def test_every_verdict_in_every_world_is_what_the_reference_says(seed: int) -> None:
    verdicts: Counter[str] = Counter()
    for number in range(10):
        verdicts += world_holds(seed, number)
    # What agrees must be worth something.
    assert min(verdicts[word] for word in ("ALLOW", "DENY", "ESCALATE")) > 10, verdicts


@pytest.mark.parametrize("number", range(3))
def test_callers_at_once_get_what_the_reference_says_in_the_order_of_the_record(seed: int, number: int) -> None:
    """Real threads on a real writer, each ending what it was allowed in its own way."""
    world = World(Random(f"{seed}/at once/{number}"), 1)
    runs = [world.house.run(principal=None) for _ in range(2)]
    world.known.principals.update(dict.fromkeys(runs))
    plans = [[world.proposal(run=runs[place % 2], agent=world.agents[0]) for place in range(12)] for _ in range(6)]
    endings = [[world.rng.choice(("completed", "failed", "blocked", None)) for _ in plan] for plan in plans]
    writer = world.house.writer()
    start = threading.Barrier(len(plans))
    faults: list[BaseException] = []

    def caller(plan: list[Any], ends: list[str | None]) -> None:
        try:
            start.wait(10)
            for proposal, end in zip(plan, ends, strict=True):
                verdict: Any = writer.submit(world.house.gate.decide(proposal)).result(20)
                if verdict.verdict == "ALLOW" and end is not None:
                    done = outcomes.Settlement(decision=verdict.entry, state=end, by="supervisor")
                    writer.submit(outcomes.settle(done)).result(20)
        except Refused:  # contained meanwhile by a rule, and settled by its order
            return
        except BaseException as fault:  # noqa: BLE001  a thread's fault is the test's
            faults.append(fault)

    threads = [threading.Thread(target=caller, args=each) for each in zip(plans, endings, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert faults == []
    holds(world, f"seed {seed}, at once {number}")
    writer.close()


# ---- the reference would notice ------------------------------------------------------------------------------------


def _forget_amounts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Window, "total", Window.used)


def _never_end(patch: pytest.MonkeyPatch) -> None:
    begin = Projections.begin
    patch.setattr(Projections, "begin", lambda self, held, step=1: begin(self, held, 1) if step == 1 else None)


def _complete_always(patch: pytest.MonkeyPatch) -> None:
    release = Projections.release
    patch.setattr(Projections, "release", lambda self, row, *at: (release(self, row, *at), self.complete(row)))


def _count_allowed_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(judgment.Use, "taken", lambda use, verdict: verdict == "ALLOW" and use.limit.kind != "sequence")


def _forget_a_restart(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Projections, "recall", lambda self, table, stored: None)


def _one_too_many(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(judgment.Use, "over", property(lambda use: use.limit.kind != "sequence" and use.used > use.at_most))


def _forget_stops(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stops, "closed_by", lambda state, agents, tool: None)


@pytest.mark.parametrize(
    "fault",
    [_forget_amounts, _never_end, _complete_always, _count_allowed_only, _forget_a_restart, _one_too_many,
     _forget_stops],
    ids=lambda fault: fault.__name__,
)  # fmt: skip
def test_the_reference_would_notice(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    for number in (52, 2, 6, *range(60)):  # where they show today, first
        world = lived("noticed", number, 60)
        wrong = world.judged().wrong
        world.house.close()
        if wrong:
            return
    raise AssertionError("the fault shows in none of these worlds")
