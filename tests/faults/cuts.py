"""Histories on a disk that will be cut: recorded once, then judged at every cut, and cut again while they recover."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from failwell.core.errors import FailwellError
from failwell.guard.sealing import LocalGuard
from failwell.guard.state import FILE_NAME, StateFile
from failwell.identity import keys
from failwell.ledger import seals, writer
from failwell.node import continuity
from failwell.node.workspace import Workspace
from failwell.ports.guard import Sealed
from failwell.storage import sqlite
from tests.faults import guard_cuts
from tests.faults.judge import GUARD, WORKSPACE, Judge, Violation, copy_machine, lay_out, local_guards
from tests.faults.work import Labour, journal_answers
from tests.simulate.powercut import REPLACE, SYNC, Journal, RecordingDisk, State, recording, states
from tests.unit.verify import ledgers

#: Pages of the log after which it is moved into the file; the product's own number would need long histories.
SMALL_LOG_PAGES = (30, 80, 2000)
#: Seals are made sooner than in the product, so that more of them fall into a short history.
SOON_S = 0.002
#: What a broken product may raise while it is recorded: what its disk was asked until then is judged.
BROKEN = (FailwellError, AssertionError)
#: Answers of a ledger's beginning; before them there is nothing to go on with.
BEGUN = 6
#: States of a history that are recovered from under the eyes of the recorder, and cut again.
SECOND_CUTS = 6


class Tally(NamedTuple):
    """What was judged: disks, contents verified whole, states gone on with, acknowledgments, and what was wrong."""

    states: int
    contents: int
    gone_on: int
    acks: int
    violations: tuple[Violation, ...]

    def plus(self, other: Tally) -> Tally:
        return Tally(
            self.states + other.states, self.contents + other.contents, self.gone_on + other.gone_on,
            self.acks + other.acks, self.violations + other.violations,
        )  # fmt: skip


NOTHING = Tally(0, 0, 0, 0, ())


def judge_history(
    directory: Path,
    seed: int,
    wanted: int,
    *,
    acts: int = 25,
    mutant: AbstractContextManager[object] | None = None,
    failing: bool | None = None,
) -> Tally:
    """Record one random history and judge about `wanted` disks that cuts may leave of it and of its recovery.

    With a `mutant` (a fault seeded into the product) the recording is done under it; judging never is.
    """
    rng = random.Random(f"{seed}:history")
    journal = record(directory / "first", rng, acts, mutant, failing=failing)
    most = 20 if mutant is None else 1
    first, left = _judged(directory / "judged", journal, rng, int(wanted * 0.8), most)
    if first.violations:
        return first
    return first.plus(_second_cuts(directory, journal, left, rng, wanted - first.states))


def record(
    root: Path,
    rng: random.Random,
    acts: int,
    mutant: AbstractContextManager[object] | None = None,
    *,
    failing: bool | None = None,
) -> Journal:
    """A machine from a ledger's very beginning, at work, closed and opened again; and what its disk was asked.

    In some lives its key is changed; in some (`failing`, or as it falls) one sync of the ledger fails on the way.
    """
    path = root / WORKSPACE
    # The empty file's name is durable before anything is written: SQLite syncs the directory with its first journal.
    journal = Journal(root, {f"{WORKSPACE}/ledger.db": b""})
    log_pages = rng.choice(SMALL_LOG_PAGES)
    fails = rng.random() < 0.3 if failing is None else failing
    rotates = mutant is None and rng.random() < 0.4
    with machine(journal) as disk, mutant or nullcontext(), suppress(*(BROKEN if mutant is not None else ())):
        with ledgers.fresh(path) as made, watched(made, journal, log_pages):
            ledgers.begin(made)
            _labour(made, rng, acts, disk if fails else None)
            signer = made.signers["olga"]
        if mutant is not None:  # a broken product need not open what it wrote
            return journal
        if rotates:
            continuity.rotate_key(Workspace(path), signer, "as planned", lambda shown: True)
        clock = ledgers.StepClock("b" * 32, wall_us=ledgers.START_US + 60_000_000)
        with ledgers.reopened(path, clock) as made, watched(made, journal, log_pages):
            _labour(made, rng, acts // 2, None)
    return journal


@contextmanager
def machine(journal: Journal) -> Iterator[RecordingDisk]:
    """Everything that the ledger and its guard ask of the disk, and every seal handed out, goes into the journal."""
    seal = LocalGuard.seal

    def sealing(self: LocalGuard, *asked: Any, **named: Any) -> Sealed:
        sealed = seal(self, *asked, **named)
        journal.acknowledge(sealed)
        return sealed

    create = StateFile.create.__func__  # type: ignore[attr-defined]

    def creating(cls: type[StateFile], directory: Path, state: Any) -> StateFile:
        made: StateFile = create(cls, directory, state)
        journal.base[f"{GUARD}/{FILE_NAME}"] = made.path.read_bytes()
        return made

    replace = keys.replace_private

    def replacing(path: Path, data: bytes) -> None:
        published = path.suffix == ".pub"  # where the guard is, which another machine has elsewhere, never changes
        if published:
            journal.note(REPLACE, path, 0, data)
        replace(path, data)
        if published:
            journal.note(SYNC, path)

    with (
        recording(journal) as disk,
        local_guards(),
        mock.patch.object(keys, "replace_private", replacing),
        mock.patch.object(writer, "MEND_US", 2_000),
        guard_cuts.journalled(journal),
        mock.patch.object(LocalGuard, "seal", sealing),
        mock.patch.object(StateFile, "create", classmethod(creating)),
        mock.patch.object(seals, "COALESCE_S", SOON_S),
    ):
        yield disk


@contextmanager
def watched(made: ledgers.Made, journal: Journal, log_pages: int) -> Iterator[None]:
    journal_answers(made, journal)
    with mock.patch.object(sqlite, "MOVE_PAGES", log_pages):
        yield


def _labour(made: ledgers.Made, rng: random.Random, acts: int, disk: RecordingDisk | None) -> None:
    """So many acts; on a `disk` given, one sync fails during them, and work goes on once the store does."""
    labour = Labour(made, rng)
    at = rng.randrange(acts // 2) if disk is not None else -1
    for number in range(acts):
        if number == at and disk is not None:
            disk.syncs_until_failure = rng.randrange(1, 4)
        try:
            labour.act()
        except FailwellError:
            if disk is None:
                raise
            labour.forget()
            threading.Event().wait(0.005)


def _judged(
    place: Path, journal: Journal, rng: random.Random, wanted: int, most: int = 20
) -> tuple[Tally, list[State]]:
    """Judge about `wanted` disks of a journal; also some of them, to be gone on with under another cut."""
    judge = Judge(journal.root, place, journal.acks, rng)
    per_cut = max(1, round(wanted / (len(journal.ops) + 1)))
    kept: list[State] = []

    def seen() -> Iterator[State]:
        for number, state in enumerate(states(journal, rng, per_cut)):
            if number >= wanted:
                return
            if len(kept) < SECOND_CUTS:
                kept.append(state)
            elif (place := rng.randrange(number + 1)) < SECOND_CUTS:
                kept[place] = state
            yield state

    wrong = judge.violations(seen(), most)
    shutil.rmtree(place)
    return Tally(judge.states, judge.contents, judge.gone_on, len(journal.acks), tuple(wrong)), kept


def _second_cuts(
    directory: Path, journal: Journal, left: list[State], rng: random.Random, wanted: int
) -> Tally:  # fmt: skip
    """Lay out disks as a first cut left them, let the product recover and work, and cut that too."""
    tally = NOTHING
    begun = [state for state in left if state.acks > BEGUN]
    for number, state in enumerate(begun):
        place = directory / f"again-{number}"
        copy_machine(journal.root, place)
        lay_out(place, state.files)
        again = Journal(place, state.files)
        again.acks += journal.acks[: state.acks]
        with (
            machine(again),
            ledgers.reopened(place / WORKSPACE, ledgers.StepClock("e" * 32)) as made,
            watched(made, again, rng.choice(SMALL_LOG_PAGES)),
        ):
            # A cut in the beginning, in which seals are answers too, may have left nobody who works.
            _labour(made, rng, 3 if made.book.state.contract else 0, None)
        judged, _ = _judged(directory / "judged", again, rng, wanted // len(begun))
        tally = tally.plus(judged)
        shutil.rmtree(place)
    return tally
