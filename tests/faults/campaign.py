"""The campaign's tasks: each a process of its own, with a seed and a directory of its own; `__main__` tells of them."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from tests.faults import cuts, guard_cuts, histories, kills
from tests.faults.conftest import MEMORY

#: Disks judged of one recorded history; enough of them that the many contents of it are verified for little.
STATES_PER_HISTORY = 4000
GUARD_STATES_PER_LIFE = 1000
HISTORIES_PER_TASK = 20
KILLS_PER_TASK = 25
CUTS, GUARDS, KILLS, HONEST = "power cuts", "power cuts of the guard", "kills", "honest histories"
COUNTED = {
    CUTS: "disks judged",
    GUARDS: "memories judged",
    KILLS: "deaths at a system call",
    HONEST: "histories verified",
}


class Result(NamedTuple):
    """What one task tried, and what is wrong: `tried` disks, deaths or histories, `facts` for the table."""

    part: str
    tried: int
    facts: dict[str, int]
    wrong: list[str]


def cut_task(place: Path, seed: int, number: int) -> Result:
    tally = cuts.judge_history(place, seed, number)
    wrong = [f"seed {seed}, cut {one.cut}, arrived {one.persisted}: {one.why}" for one in tally.violations]
    facts = {"contents verified whole": tally.contents, "gone on with": tally.gone_on, "answers owed": tally.acks}
    return Result(CUTS, tally.states, facts, wrong)


def guard_task(place: Path, seed: int, number: int) -> Result:
    judged, violations = guard_cuts.judge_guard(place, seed, number)
    wrong = [f"seed {seed}, cut {one.cut}, arrived {one.persisted}: {one.why}" for one in violations]
    return Result(GUARDS, judged, {}, wrong)


def kill_task(place: Path, seed: int, number: int) -> Result:
    apart = max(1, number // 8)
    deaths, wrong = kills.kill_all(place, seed, number - apart)
    (place / kills.APART).mkdir()
    alone, wrong_alone = kills.kill_all(place / kills.APART, seed, apart, kills.APART)
    deaths, wrong = deaths + alone, wrong + wrong_alone
    facts = {f"at {call}": 0 for call in sorted({death.point.call for death in deaths})} | {"guard alone": len(alone)}
    for death in deaths:
        facts[f"at {death.point.call}"] += 1
    return Result(KILLS, len(deaths), facts, [f"seed {seed}, {why}" for why in wrong])


def history_task(place: Path, seed: int, number: int) -> Result:
    lived = histories.live_all(place, seed, number)
    facts: dict[str, int] = {}
    for one in lived:
        for event, times in one.events.items():
            facts[event] = facts.get(event, 0) + times
    return Result(HONEST, len(lived), facts, [f"seed {seed}: {one.wrong}" for one in lived if one.wrong])


Task = Callable[[Path, int, int], Result]
#: Each part's task, how much of it is one task, and which share of what a task is asked for it has at least tried:
#: a journal has only so many different disks.
_TASKS: dict[str, tuple[Task, int, float]] = {
    CUTS: (cut_task, STATES_PER_HISTORY, 0.9),
    GUARDS: (guard_task, GUARD_STATES_PER_LIFE, 0.5),
    KILLS: (kill_task, KILLS_PER_TASK, 1.0),
    HONEST: (history_task, HISTORIES_PER_TASK, 1.0),
}


def planned(wanted: dict[str, int], seed: int) -> Iterator[tuple[Task, int, int]]:
    """The tasks of a campaign: what, with which seed, how many."""
    for part, number in wanted.items():
        task, each, share = _TASKS[part]
        left, count = float(number), 0
        while left > 0:
            size = min(each, max(1, round(left / share)))
            yield task, seed * 10_000 + count, size
            left -= size * share
            count += 1


def run(task: Task, seed: int, number: int) -> Result:
    """One task in a directory of its own; whatever breaks it is a finding, too."""
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="failwell-faults-", dir=memory) as place:
        try:
            return task(Path(place), seed, number)
        except Exception as error:  # noqa: BLE001  a campaign that breaks has shown nothing, and says where
            part = next(part for part, (known, *_) in _TASKS.items() if known is task)
            return Result(part, 0, {}, [f"seed {seed}: broke: {type(error).__name__}: {error}"])


def campaign(wanted: dict[str, int], seed: int, processes: int, say: Callable[[str], None]) -> dict[str, Result]:
    """Run everything and `say` how far it is; the sums by part."""
    sums = {part: Result(part, 0, {}, []) for part in wanted}
    started = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        waiting: list[Future[Result]] = [pool.submit(run, *task) for task in planned(wanted, seed)]
        for number, done in enumerate(as_completed(waiting), 1):
            part, tried, facts, wrong = done.result()
            before = sums[part]
            merged = {name: before.facts.get(name, 0) + facts.get(name, 0) for name in {**before.facts, **facts}}
            sums[part] = Result(part, before.tried + tried, merged, before.wrong + wrong)
            after = f"{time.monotonic() - started:.0f} s"
            say(f"{number}/{len(waiting)} {part}: {sums[part].tried} of {wanted[part]}, {after}")
            for one in wrong:
                say(f"  WRONG {one}")
    return sums
