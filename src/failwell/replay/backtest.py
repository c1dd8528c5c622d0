"""A backtest: recorded runs through the real gate into a real ledger, run after run, from wherever it
stopped.

The caller brings a ledger marked `backtest` and its clock; this puts the contracts in force, feeds the
recorded calls to the writer as jobs (`steps`), some hundreds ahead so that many share a commit, and waits
until all of it is durable. It reads one run at a time and keeps no result: what came of it is read back
from the ledger (`readback`).

Nothing is executed and no response is applied: reactions note what they would have done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from failwell.core import contract as contracts
from failwell.core import kinds
from failwell.core.contract import Contract
from failwell.core.errors import Corrupt, InputError
from failwell.core.records import Draft, Entry, decode_entry
from failwell.gate import registry
from failwell.gate.verdicts import Gate
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.writer import Writer
from failwell.ports.storage import Storage
from failwell.replay import steps
from failwell.replay.declaration import Declaration
from failwell.replay.pace import PacedClock
from failwell.replay.readback import JudgedRun, check_declared, check_same_run, judged_runs
from failwell.replay.traces import RecordedRun

#: Jobs queued ahead of the writer: enough to fill its batches, few enough that memory does not follow the
#: recording.
AHEAD_JOBS = 1024
#: A job holds a call's result: the bytes in waiting results are bounded as well.
AHEAD_BYTES = 8 * 1024 * 1024

#: (runs finished, calls finished) so far, those of an earlier attempt included.
Progress = Callable[[int, int], None]


def begin(writer: Writer, declaration: Declaration) -> None:
    """Declare the backtest in a new ledger and put its contracts in force, without any person's key."""
    waiting = [writer.submit(_declare(declaration))]
    for contract in declaration.contracts:
        adopt = registry.adopt_for_backtest(contracts.to_canonical(contract), declaration.evaluator)
        waiting.append(writer.submit(adopt))
    for future in waiting:
        future.result()


def _declare(declaration: Declaration) -> Job[Any]:
    """What this ledger is a backtest of; the postures that follow cite its digest."""
    draft = Draft(body=kinds.Config(digest=declaration.digest(), text=declaration.text()), actor="backtest")

    def job(turn: Turn) -> Plan[Any]:
        return Plan((draft,), _nothing)

    return job


def _nothing(entries: tuple[Entry[Any], ...]) -> None:
    return None


def proceed(writer: Writer, clock: PacedClock, declaration: Declaration, progress: Progress) -> None:
    """Judge every recorded call that the ledger does not hold yet; returns when all of it is durable.

    Raises InputError when the ledger is of another backtest, and whatever the ledger could not do; what was
    acknowledged until then stays, and the next attempt goes on behind it.
    """
    storage = writer.book.storage
    check_declared(storage, declaration)
    # The ledger's time goes on where it stood, whichever entry was the last.
    clock.move(_last_mono_us(storage))
    size = storage.size()
    earlier = judged_runs(storage, size)
    feed = _Feed(writer, clock, declaration, progress)
    for run in declaration.read():
        found = next(earlier, None)
        contract = declaration.contract_of(run)
        if found is not None:
            check_same_run(found, run, contract.agent)
        feed.run(run, contract, found)
    if next(earlier, None) is not None:
        raise InputError("the ledger holds more runs than were recorded", hint="Choose another --into.")
    feed.wait_for_all()


def _last_mono_us(storage: Storage) -> int:
    row = storage.entry(storage.size() - 1)
    return 0 if row is None else decode_entry(row.data).mono_us


class _Feed:
    """Turns runs into jobs and keeps a bounded number of them ahead of the writer."""

    def __init__(self, writer: Writer, clock: PacedClock, declaration: Declaration, progress: Progress) -> None:
        self._writer = writer
        self._clock = clock
        self._pace = declaration.pace
        self._gate = Gate(declaration.evaluator)
        self._progress = progress
        # The job's future, the bytes it holds, the calls of the run it closes (-1: closes none), its place.
        self._waiting: deque[tuple[Future[Any], int, int, str]] = deque()
        self._bytes = 0
        self._began_us = 0
        self._runs = self._calls = 0

    def run(self, run: RecordedRun, contract: Contract, found: JudgedRun | None) -> None:
        """Queue what is left to do of `run`; `found` is what an earlier attempt left of it."""
        began_us, self._began_us = self._began_us, self._pace.next_us(self._began_us, len(run.calls))
        if found is not None and found.closed:
            self._finished(len(run.calls))
            return
        place = f"{run.file_name}, run {run.ordinal}"
        if found is None:
            self._writer.submit(steps.wait_until(self._clock, began_us))
            self._submit(steps.open_recorded(contract.agent, run), place)
        for call in run.calls:
            at = f"{place}, call {call.ordinal}"
            self._writer.submit(steps.wait_until(self._clock, self._pace.call_us(began_us, call.ordinal)))
            self._submit(steps.decide_recorded(self._gate, contract.agent, run, call), at, len(call.arguments))
            self._submit(steps.settle_recorded(run, call), at, len(call.result or ""))
        self._submit(steps.close_recorded(contract.agent, run), place, closes=len(run.calls))

    def _submit(self, job: Job[Any], place: str, size: int = 0, closes: int = -1) -> None:
        while self._waiting and (len(self._waiting) >= AHEAD_JOBS or self._bytes + size > AHEAD_BYTES):
            self._wait_for_oldest()
        self._bytes += size
        self._waiting.append((self._writer.submit(job), size, closes, place))

    def wait_for_all(self) -> None:
        """Return when everything queued is durable; raises what the first failed job raised."""
        while self._waiting:
            self._wait_for_oldest()

    def _wait_for_oldest(self) -> None:
        future, size, closes, place = self._waiting.popleft()
        self._bytes -= size
        try:
            future.result()
        except Corrupt as error:  # this one entry could not be written, whatever stands in the recording
            raise Corrupt(f"{place}: {error.message}", hint=error.hint) from error
        if closes >= 0:
            self._finished(closes)

    def _finished(self, calls: int) -> None:
        self._runs += 1
        self._calls += calls
        self._progress(self._runs, self._calls)
