"""A writer and its guard killed at a system call: what they had told is there, they agree, and the ledger goes on."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from failwell.core.errors import FailwellError
from failwell.guard.sealing import LocalGuard
from failwell.node import assembly, audit, guarding
from failwell.node.workspace import Workspace
from tests.faults.judge import GUARD, WORKSPACE
from tests.faults.work import health
from tests.simulate.house import ROOT
from tests.simulate.syscalls import CHANGING, Killed, Point, count, kill_at
from tests.unit.verify import ledgers

ACTS = 5
#: Whether the guard dies with its node, or alone and its node has it started again.
TOGETHER, APART = "together", "apart"
#: strace counts for each process anew, so every guard that follows dies at the same call: it must get some work done.
ANSWERS_FIRST = 5


class Victim:
    """One begun ledger that lives its short life again and again, each time up to another point."""

    def __init__(self, directory: Path, seed: int, how: str = TOGETHER) -> None:
        self._apart = how == APART
        self.machine = directory / "machine"
        self.log = directory / "strace"
        self._model = directory / "model"
        self._command = [sys.executable, "-m", "tests.faults.child", str(self.path), str(ACTS), str(seed), how]
        self._env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
        with ledgers.fresh(self.path) as made:
            ledgers.begin(made)
        self.machine.rename(self._model)

    @property
    def path(self) -> Path:
        return self.machine / WORKSPACE

    def points(self) -> list[Point]:
        """Every call of one life on the ledger, its log and the guard's memory."""
        self._fresh()
        ledger = [self.path / "ledger.db", self.path / "ledger.db-wal"]
        files = [*([] if self._apart else ledger), self.machine / GUARD / "state"]
        return count(self._command, files, self.log, env=self._env, cwd=ROOT)

    def kill(self, point: Point) -> Killed | None:
        self._fresh()
        return kill_at(point, self._command, self.log, env=self._env, cwd=ROOT, alone=self._apart)

    def _fresh(self) -> None:
        shutil.rmtree(self.machine, ignore_errors=True)
        shutil.copytree(self._model, self.machine)

    def wrong(self, killed: Killed) -> str | None:
        """What should not be after this death, None where all is well."""
        try:
            return self._wrong(killed)
        except FailwellError as error:
            return f"{killed.point}: {error.code}: {error.message}"

    def _wrong(self, killed: Killed) -> str | None:
        workspace = Workspace(self.path)
        book = assembly.open_book(workspace, workspace.open_keys(), ledgers.StepClock())
        guard = LocalGuard.open(Path(workspace.guard_place()))
        try:
            guarding.check_history(guard, book)  # it never signed what is not there
            sealed = guard.last()
            stored = {row.seq: hashlib.sha256(row.data).hexdigest() for row in book.storage.entries(0, 1 << 30)}
        finally:
            guard.close()
            book.storage.close()
        for line in killed.said:
            fact = line.split()
            if fact[0] == "ack" and stored.get(int(fact[1])) != fact[2]:
                return f"{killed.point}: entry {fact[1]} was acknowledged and is not there"
            if fact[0] == "sealed" and (sealed is None or int(fact[1]) > sealed.size):
                return f"{killed.point}: a seal over {fact[1]} was handed out and is forgotten"
        return self._verified(killed.point) or self._goes_on(killed.point)

    def _verified(self, point: Point) -> str | None:
        report = audit.verify_workspace(self.path)
        return None if report.ok else f"{point}: ledger verify finds {report.findings[0].message}"

    def _goes_on(self, point: Point) -> str | None:
        with ledgers.reopened(self.path, ledgers.StepClock("f" * 32)) as made:
            made.write(health("after the kill"))
            made.sealed()
        return self._verified(point)


def choose(points: Sequence[Point], number: int, rng: random.Random) -> list[Point]:
    """`number` of the points, those first that change a file; among them of every file and kind of call some."""
    changing = [point for point in points if point.call in CHANGING]
    looking = [point for point in points if point.call not in CHANGING]
    kinds = {(point.path, point.call): point for point in rng.sample(changing, len(changing))}
    most = Counter((point.path, point.call) for point in points)
    early = [point for point in changing if 2 * point.nth <= most[point.path, point.call] + 1]  # every life comes there
    files = {point.path: point for point in rng.sample(early, len(early))}
    first = [*files.values(), *(point for point in kinds.values() if point not in files.values())]
    rest = [point for point in changing if point not in first]
    chosen = first + rng.sample(rest, len(rest)) + rng.sample(looking, len(looking))
    if number >= len(chosen):
        return chosen
    some = max(1, number // 5)  # a fifth of them at calls that only look, where as much may be half done
    return [*chosen[: number - some], *rng.sample(looking, min(some, len(looking)))]


def kill_all(directory: Path, seed: int, number: int, how: str = TOGETHER) -> tuple[list[Killed], list[str]]:
    """Kill `number` lives at different points; the deaths that happened, and what was wrong after them."""
    rng = random.Random(f"{seed}:kills")
    victim = Victim(directory, seed, how)
    deaths: list[Killed] = []
    wrong: list[str] = []
    points = [point for point in victim.points() if how != APART or point.nth >= ANSWERS_FIRST]
    for point in choose(points, 2 * number + 8, rng):  # a life is not the same twice: some never come to their point
        if len(deaths) >= number:
            break
        killed = victim.kill(point)
        if killed is not None:
            deaths.append(killed)
            wrong += [why] if (why := victim.wrong(killed)) else []
    return deaths, wrong
