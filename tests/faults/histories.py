"""Honest histories: lives of a ledger as they go in an honest house, crashes and all. `ledger verify` must accuse none.

A history is a row of lives of one workspace. A life opens it as a node does, works, and ends: by a clean close, by a
crash of the process (the files as the kernel has them), or by a cut of the power (a disk that may be left, torn tails
and all). Between them the key may be changed, the machine booted, its wall clock set; during them a second honest
process may come and must be refused. After each, everything told must be there and verify must find nothing, also
against the checkpoints that were kept elsewhere on the way.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from failwell.core import merkle
from failwell.core.errors import Corrupt, FailwellError, Unhealthy
from failwell.guard.sealing import LocalGuard
from failwell.node import audit, continuity
from failwell.node.workspace import Lock, Workspace
from failwell.ports.guard import GuardFailed, Sealed
from tests.faults.cuts import machine, watched
from tests.faults.judge import GUARD, WORKSPACE, lay_out, local_guards
from tests.faults.work import Labour, Told
from tests.simulate.house import ROOT
from tests.simulate.powercut import Journal, state_at
from tests.unit.verify import ledgers

ENDS = ("closed", "crashed", "power cut")
MOST_LIVES = 6
#: How often the second process is a real one: most of its work is starting.
REAL_ONE_IN = 40
LOG_PAGES = (25, 80, 2000)


class Lived(NamedTuple):
    """What one history had in it, and who was accused or what was lost (None: nobody, nothing)."""

    events: Counter[str]
    entries: int
    wrong: str | None


class History:
    """One workspace through its lives. `directory` is its own."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.rng = random.Random(f"{seed}:honest")
        self.told: Told = {}
        self.kept: list[bytes] = []
        self.events: Counter[str] = Counter()
        self.root = directory / "0"
        self._boot = self._booted = 0
        self._mono_us = 0
        self._wall_us = ledgers.START_US

    @property
    def path(self) -> Path:
        return self.root / WORKSPACE

    def live(self) -> Lived:
        """All of it; stops at the first thing that is wrong."""
        entries = 0
        try:
            for number in range(self.rng.randrange(2, MOST_LIVES + 1)):
                self._life(number)
                report = audit.verify_workspace(self.path, checkpoints=self.kept)
                entries = report.entries
                if not report.ok:
                    return self._lived(entries, f"life {number}: accused: {report.findings[0].message}")
                if (lost := self._lost()) is not None:
                    return self._lived(entries, f"life {number}: {lost}")
        except FailwellError as error:
            return self._lived(entries, f"{error.code}: {error.message}")
        return self._lived(entries, None)

    def _lived(self, entries: int, wrong: str | None) -> Lived:
        return Lived(self.events, entries, wrong)

    def _lost(self) -> str | None:
        shown = {one.seq: one.leaf for one in audit.tail(self.path, 1 << 20)}
        for seq, data in self.told.items():
            if shown.get(seq) != merkle.leaf_hash(data).hex():
                return f"entry {seq} was acknowledged and is not there"
        return None

    # -- one life ------------------------------------------------------------------------------------------------

    def _life(self, number: int) -> None:
        end = "closed" if number == 0 else self.rng.choice(ENDS)
        self.events[end] += 1
        journal = Journal(self.root, {} if number == 0 else self._durable())
        lock = None if number == 0 else Lock(Workspace(self.path))
        opened = ledgers.fresh(self.path) if number == 0 else ledgers.reopened(self.path, self._clock())
        with machine(journal), opened as made, watched(made, journal, self.rng.choice(LOG_PAGES)):
            if number == 0:
                ledgers.begin(made)
                self._signer = made.signers["olga"]
            labour = Labour(made, self.rng)
            for _ in range(self.rng.randrange(1, 9)):
                labour.act()
            if lock is not None and self.rng.random() < 0.3:
                self._second()
            self._mono_us = made.clock.mono_us()
        if lock is not None:
            lock.release()
        acks = len(journal.acks)
        if end != "closed":
            cut = self.rng.randrange(len(journal.ops) + 1)
            state = state_at(journal, cut, self.rng if end == "power cut" else None)
            acks = state.acks
            lay_out(self.root, state.files)
            self._boot += end == "power cut"
        self._keep(journal.acks[:acks])
        if number and self.rng.random() < 0.2:
            self._rotate()

    def _clock(self) -> ledgers.StepClock:
        """The same boot going on, or another one; its wall clock was set in the meantime, at times back."""
        if self.rng.random() < 0.5:
            self._boot += 1
        same = self._boot == self._booted
        self._booted = self._boot
        self._wall_us += self.rng.randrange(-30_000_000, 600_000_000)
        return ledgers.StepClock(f"{self._boot:032x}", self._mono_us + 1_000_000 if same else 3_000_000, self._wall_us)

    def _durable(self) -> dict[str, bytes]:
        """What the disk holds of everything that is journalled."""
        workspace, guard = self.path, self.root / GUARD
        found = [*workspace.glob("ledger.db"), *workspace.glob("ledger.db-wal"), *workspace.glob("keys/*.pub")]
        return {str(path.relative_to(self.root)): path.read_bytes() for path in (*found, *guard.glob("state"))}

    def _keep(self, acks: list[object]) -> None:
        """What was told before the end holds; of the seals some are kept by somebody else."""
        for told in acks:
            if isinstance(told, dict):
                self.told |= told
            elif isinstance(told, Sealed) and self.rng.random() < 0.2:
                self.kept.append(told.note)

    def _second(self) -> None:
        """Another honest process wants the same workspace: it is refused in words of ours and has changed nothing."""
        self.events["second process refused"] += 1
        asked: tuple[tuple[Callable[[], object], type[FailwellError]], ...] = (
            (lambda: Lock(Workspace(self.path)), Unhealthy),
            (lambda: LocalGuard.open(self.root / GUARD), GuardFailed),
        )
        for ask, refusal in asked:
            try:
                ask()
            except refusal:
                continue
            raise Corrupt("a second process was let in beside the first")
        if self.rng.randrange(REAL_ONE_IN) == 0:
            self.events["a real second process refused"] += 1
            command = [sys.executable, "-m", "failwell.node", "--workspace", str(self.path), "--idle-s", "0"]
            ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
            if ended.returncode == 0 or "holds this workspace" not in ended.stderr + ended.stdout:
                raise Corrupt(f"a second node ended with {ended.returncode}: {(ended.stderr + ended.stdout)[-300:]}")

    def _rotate(self) -> None:
        """A person has the checkpoint key changed while no node runs."""
        self.events["key changed"] += 1
        with local_guards():
            continuity.rotate_key(Workspace(self.path), self._signer, "as planned", lambda shown: True)
        self._boot += 1  # the ceremony has the machine's own clock: what follows it is another boot to the ledger
        self._wall_us = max(self._wall_us, time.time_ns() // 1000)


def live_all(directory: Path, seed: int, number: int, *, first: int = 0, stop: bool = False) -> list[Lived]:
    """So many histories of a seed, from the `first` on; `stop`: no further than the first with something wrong."""
    lived: list[Lived] = []
    for each in range(first, first + number):
        if stop and lived and lived[-1].wrong is not None:
            break
        place = directory / f"history-{each}"
        place.mkdir()
        lived.append(History(place, seed * 100_003 + each).live())
        shutil.rmtree(place)
    return lived
