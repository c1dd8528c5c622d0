"""Attacks on what signs and waits: outrun the seal, have it signed unseen, or make the record forget what it promised.

Each is first somebody's way to an acknowledged entry that no seal covers and no denial answers, to a signature over a
record that may not be written to, or to a stop that is lost.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import apsw
import pytest

from failwell.core import kinds
from failwell.core.errors import Corrupt, FailwellError, Unhealthy
from failwell.core.records import Draft
from failwell.guard.sealing import LocalGuard
from failwell.ledger import seals as sealing
from failwell.ledger.jobs import CONTAINMENT, Plan, Turn
from failwell.node import assembly, audit
from failwell.ports.guard import GuardFailed, Sealed
from tests.faults.sealing import COMMIT
from tests.simulate.faults import LOST, FaultyConnection
from tests.simulate.house import await_true
from tests.unit.verify import ledgers

AWAY = GuardFailed("planned: the guard is away")


class Moody:
    """A real guard that answers when it is let: `mood` is asked before each seal and may raise or wait."""

    def __init__(self, guard: LocalGuard) -> None:
        self.guard = guard
        self.mood: Callable[[int], object] = lambda size: None
        self.asked: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.guard, name)

    def seal(
        self, size: int, root: bytes, path: Sequence[bytes], timeout_s: float, *, since: int | None = None
    ) -> Sealed:  # fmt: skip
        self.asked.append(size)
        self.mood(size)
        return self.guard.seal(size, root, path, timeout_s, since=since)

    def away(self, size: int) -> None:
        raise AWAY


@pytest.fixture
def made(tmp_path: Path) -> Iterator[ledgers.Made]:
    with ledgers.fresh(tmp_path / "w") as made:
        yield made


@pytest.fixture
def guard(made: ledgers.Made) -> Moody:
    """The guard of `made`, moody from here on."""
    made.sealed()
    made.writer.close()
    guard = Moody(made.guard())
    book = assembly.open_book(made.workspace, made.keys, made.clock)
    made.writer = assembly.sealed_writer(book, guard)
    return guard


@pytest.fixture(autouse=True)
def ended(made: ledgers.Made) -> Iterator[None]:
    yield
    made.writer.close()


def note(detail: str) -> Draft:
    return Draft(body=kinds.Health(part="test", state="ok", detail=detail), actor="node")


def look(made: ledgers.Made) -> tuple[str, ...]:
    """What has failed, as a verdict of now would see it."""

    def job(turn: Turn) -> Plan[tuple[str, ...]]:
        failed = turn.state.failed
        return Plan((), lambda _: failed)

    found: tuple[str, ...] = made.do(job)
    return found


# ---- a second, and not one more ------------------------------------------------------------------------------------


@pytest.mark.requirement("R28.5")
def test_a_guard_that_seals_an_old_head_now_and_then_does_not_open_the_gate(made: ledgers.Made, guard: Moody) -> None:
    """Attack: it comes back, signs what it was asked a while ago, and is gone: what came since is as late as before."""
    turn = threading.Event()

    def slowly(size: int) -> None:
        turn.wait(10)
        turn.clear()

    guard.mood = guard.away
    made.write(note("first"))
    made.write(note("second"))
    time.sleep(sealing.LATE_S + 0.1)
    assert look(made) == ("guard",)
    guard.mood = slowly
    asked = len(guard.asked)
    await_true(lambda: len(guard.asked) > asked)
    made.write(note("while late"))
    time.sleep(sealing.LATE_S + 0.1)
    asked = len(guard.asked)
    turn.set()  # the head of long ago is sealed; what is newest now is asked for next
    await_true(lambda: len(guard.asked) > asked)
    assert made.writer.seals.late() is not None
    assert look(made) == ("guard",)
    guard.mood = lambda size: None
    turn.set()
    await_true(lambda: look(made) == ())


def test_no_job_finds_the_gate_open_behind_an_entry_that_is_late(
    made: ledgers.Made, guard: Moody, rng: random.Random
) -> None:
    """Attack: a guard that dies, hangs, lies down and comes back as it likes, for six seconds."""
    acked: deque[tuple[int, float]] = deque()
    wrong: list[str] = []

    def mood(size: int) -> None:
        time.sleep(rng.choice((0.0, 0.0, 0.1, 0.3, 1.2)))
        if rng.random() < 0.6:
            raise AWAY

    def job(turn: Turn) -> Plan[int]:
        now, signed = time.monotonic(), guard.guard.grown()[0]
        while acked and acked[0][0] < signed:
            acked.popleft()
        late_s = now - acked[0][1] if acked else 0.0
        if late_s > sealing.LATE_S and "guard" not in turn.state.failed:
            wrong.append(f"entry {acked[0][0]} is acknowledged and unsealed since {late_s:.3f} s")
        return Plan((note("work"),), lambda entries: entries[0].seq)

    guard.mood = mood
    told = set()
    until = time.monotonic() + 6
    while time.monotonic() < until:
        seq = made.do(job)
        acked.append((seq, time.monotonic()))
        told.add(look(made))
        time.sleep(0.002)
    guard.mood = lambda size: None
    assert wrong == []
    assert told == {(), ("guard",)}
    await_true(lambda: look(made) == ())


def test_an_idle_ledger_records_by_itself_that_a_seal_is_late(made: ledgers.Made, guard: Moody) -> None:
    """Attack: nobody asks for anything, and the record never says that its newest entries stood unsealed."""

    def hang(size: int) -> None:
        time.sleep(sealing.LATE_S)
        raise AWAY

    guard.mood = hang
    entry = made.write(note("the last one"))[0]
    began = time.monotonic()
    stored = await_true(lambda: made.book.storage.entry(entry + 1), 5)
    assert b'"part":"guard","state":"failed"' in stored.data
    assert time.monotonic() - began < 2 * sealing.LATE_S


def test_a_flood_of_late_entries_takes_no_memory(made: ledgers.Made, guard: Moody) -> None:
    guard.mood = guard.away
    made.write(note("late"))
    time.sleep(sealing.LATE_S + 0.1)
    before = len(made.writer.seals._unsealed)
    for number in range(200):
        made.write(note(f"flood {number}"))
    assert len(made.writer.seals._unsealed) <= before + 1


def test_callers_that_gave_up_waiting_for_a_seal_are_forgotten(made: ledgers.Made, guard: Moody) -> None:
    """Attack: ask again and again for leave that cannot be sealed, until the node has no memory left."""
    guard.mood = guard.away
    entry = made.write(note("late"))[0]
    for _ in range(500):
        made.writer.seals.wait(entry + 1).cancel()
    await_true(lambda: len(made.writer.seals._waiting) < 50)


def test_callers_of_a_guard_that_refused_do_not_share_one_error(made: ledgers.Made, guard: Moody) -> None:
    """Attack: each raise of a shared error lengthens its traceback, which keeps every caller's frames."""

    def lying(size: int) -> None:
        raise Corrupt("planned: refused")

    guard.mood = lying
    entry = made.write(note("refused"))[0]
    await_true(lambda: made.writer.seals.refusal is not None)
    errors = [made.writer.seals.wait(entry + 1).exception() for _ in range(3)]
    assert len({id(error) for error in errors}) == 3


def test_a_fault_of_our_own_in_sealing_closes_the_gate_and_is_tried_again(made: ledgers.Made, guard: Moody) -> None:
    def broken(size: int) -> None:
        raise ZeroDivisionError("planned")

    guard.mood = broken
    made.write(note("never sealed"))
    time.sleep(sealing.LATE_S + 0.1)
    assert look(made) == ("guard",)
    guard.mood = lambda size: None
    await_true(lambda: look(made) == ())


# ---- beside a store that fails too ---------------------------------------------------------------------------------


def test_questions_are_answered_while_guard_and_store_both_fail(made: ledgers.Made, guard: Moody) -> None:
    """Attack: with a late seal to be told of, and a store that takes nothing, nobody could even ask what is wrong."""
    guard.mood = guard.away
    made.write(note("late"))
    storage: Any = made.book.storage

    def strike() -> None:
        storage._write = FaultyConnection(storage._write, COMMIT["entry"], LOST, apsw.FullError)

    strike()
    with pytest.raises(FailwellError):
        made.write(note("not written"))
    original = storage.reopen

    def reopen() -> None:
        original()
        strike()

    storage.reopen = reopen
    reopen()
    made.writer.failure = made.writer.failure or Unhealthy("planned")
    made.writer._mend_at_us = 2**62
    time.sleep(sealing.LATE_S + 0.1)
    assert made.writer.seals.late() is not None
    look(made)


# ---- a record that may not be written to ---------------------------------------------------------------------------


def test_a_record_that_is_only_read_is_never_offered_to_its_guard(made: ledgers.Made, guard: Moody) -> None:
    """Attack: guard and record contradict each other; a damaged blob makes the reader recover, and recovery seals."""
    made.sealed()
    made.writer.read_only = Corrupt("planned: behind")
    asked = len(guard.asked)

    def damaged(turn: Turn) -> Plan[None]:
        raise Corrupt("planned: a blob does not open")

    with pytest.raises(Corrupt):
        made.do(damaged)
    time.sleep(0.3)
    assert len(guard.asked) == asked


# ---- a start -------------------------------------------------------------------------------------------------------


def test_the_first_entry_of_another_boot_is_its_clock_also_after_a_late_guard(made: ledgers.Made, guard: Moody) -> None:
    """Attack: a guard that was late when the node died has the next one write of it before it knows the time."""
    guard.mood = guard.away
    made.write(note("late"))
    time.sleep(sealing.LATE_S + 0.1)
    assert look(made) == ("guard",)
    made.writer.close()
    size = made.book.state.size
    with ledgers.reopened(made.path, ledgers.StepClock(boot="b" * 32)) as again:
        again.sealed()
        first = again.book.storage.entry(size)
        assert first is not None
        assert b'"kind":"clock"' in first.data
    assert audit.verify_workspace(made.path).ok


# ---- as it waits ---------------------------------------------------------------------------------------------------


def test_closing_with_a_guard_that_does_not_answer_takes_seconds_not_minutes(made: ledgers.Made, guard: Moody) -> None:
    let = threading.Event()
    guard.mood = lambda size: let.wait(20)
    waiting: Future[Any] = made.writer.seals.wait(made.write(note("never sealed"))[0] + 1)
    began = time.monotonic()
    made.writer.close()
    assert time.monotonic() - began < 3
    assert isinstance(waiting.exception(1), Unhealthy)
    let.set()


def test_an_order_is_carried_out_while_the_guard_does_not_answer(made: ledgers.Made, guard: Moody) -> None:
    let = threading.Event()
    guard.mood = lambda size: let.wait(20)
    made.write(note("late"))
    took = []
    for number in range(20):
        began = time.monotonic()
        made.do(lambda turn, number=number: Plan((note(f"order {number}"),), lambda _: None), CONTAINMENT)
        took.append(time.monotonic() - began)
    assert max(took) < 1, took
    let.set()
