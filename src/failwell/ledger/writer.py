"""The one writer of a workspace (D3, D4): takes what is queued, runs it, commits once, reads back, acknowledges.

One thread numbers, encodes and hashes; it is the only one that touches the state. A batch is capped by time, so that
an order of the containment lane waits for at most one batch. Reactions run in the transaction of the entry that
caused them. Nothing is acknowledged that was not committed with a full sync and read back through another
connection. After a failure the handles are dropped, the state is loaded from what is really stored, and only
containment is tried again, from the reserved disk space; a failed sync is never retried on the same handle.
The guard signs behind the acknowledgment (`seals`); a seal that is late closes the gate by a health entry first.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from failwell.core import kinds
from failwell.core.errors import Corrupt, FailwellError, Unhealthy
from failwell.core.records import Draft, Entry
from failwell.ledger.book import Book
from failwell.ledger.jobs import CONTAINMENT, NORMAL, Job, Plan, Turn
from failwell.ledger.pending import Pending, acknowledge, again, answer, awaited
from failwell.ledger.seals import Seals
from failwell.ports.storage import StorageFailed

T = TypeVar("T")

#: Work gathered before a commit, in seconds: as long as the last commit took, within these bounds. An order does not
#: wait for it (it cuts the batch short), only for the commit under way.
BATCH_S, BATCH_MOST_S = 0.004, 0.020
BATCH_JOBS = 512
QUEUE_JOBS = 50_000
#: How often a failed store is asked whether it works again.
MEND_US = 1_000_000

#: How long a batch waits for callers that were just answered: this share of the last commit, and never longer than.
LINGER_SHARE = 0.25
LINGER_MOST_S = 0.002
#: How long a batch that nobody awaits waits for one that somebody does.
BEHIND_S = 0.004

#: How long a closing ledger waits for its last seal.
SEAL_LAST_S = 2.0

_WAKE = None


def _nothing(_: Any = None) -> None:
    """The observer of a ledger that nobody observes (tests, backtests)."""


class Writer:
    """Runs jobs on a `Book` in its own thread.

    `before(entry)` is called for each entry before its commit (raising a fence may not wait), `after(entries)` for
    each batch once it is durable and read back, `dropped(entries)` for a batch that could not be written, `urgent()`
    before each batch (orders left in the workspace); all from the writer's thread, all must be quick.

    `failure` closes the ledger to all that permits until the store works again; `barred` does so for good. Questions
    are answered all the same, and containment goes on. `read_only` refuses everything that would be written: what is
    stored contradicts what the guard signed, and a further entry would be a second history.
    """

    def __init__(
        self,
        book: Book,
        seals: Seals,
        *,
        before: Callable[[Entry[Any]], None] = _nothing,
        after: Callable[[list[Entry[Any]]], None] = _nothing,
        dropped: Callable[[list[Entry[Any]]], None] = _nothing,
        urgent: Callable[[], None] = _nothing,
        paused: bool = False,
    ) -> None:
        self.book = book
        self.seals = seals
        seals.sealed = self._sealed
        self.read_only: FailwellError | None = None
        self.failure: FailwellError | None = None
        self.barred: FailwellError | None = None
        self._unloaded: FailwellError | None = None
        self._before = before
        self._after = after
        self._dropped = dropped
        self._urgent = urgent
        self._normal: queue.SimpleQueue[Pending | None] = queue.SimpleQueue()
        self._containment: deque[Pending] = deque()
        self._closing = False
        self._door = threading.Lock()
        self._open: list[Pending] = []
        self._mend_at_us = 0
        #: Whether this writer told of a late seal. What an earlier one told is answered by the start of this node.
        self._told_late = False
        self._crowd = 1
        self._commit_s = 0.0
        #: When the job that runs now was received, for the observers of its entries.
        self.received_us = 0
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        if not paused:
            self.start()

    def start(self) -> None:
        sealed = 0 if self.seals.newest is None else self.seals.newest.size
        if self.read_only is None and self.book.state.size > sealed:
            self.seals.committed(self.book.head)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread that writes still runs; without it every job is refused."""
        return self._thread.is_alive()

    # -- doors -------------------------------------------------------------------------------------------------

    def submit(
        self, job: Job[T], lane: int = NORMAL, *, certain: bool = False, behind: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> Future[T]:  # fmt: skip
        """Queue a job from a thread; the future is resolved when its entries are durable and read back (on `loop`).

        Raises Unhealthy when the queue is full (a flood is told, not swallowed) or the ledger is closed. A `certain`
        job is taken also by a full queue: there are no more of them than there are actions that run. One that nobody
        awaits goes `behind`: it waits a moment for another to share its commit with.
        """
        future: Future[T] = Future()
        pending = Pending(job, lane, loop, self.book.mono_us(), future, behind=behind)
        self._enqueue(pending, certain=certain)
        return future

    def submit_async(self, job: Job[T], lane: int = NORMAL, *, received_us: int | None = None) -> asyncio.Future[T]:
        """The same for callers in an asyncio loop: one wake-up of the loop per batch (D8)."""
        received_us = self.book.mono_us() if received_us is None else received_us
        pending = Pending(job, lane, asyncio.get_running_loop(), received_us)
        self._enqueue(pending)
        future: asyncio.Future[T] = pending.future
        return future

    def _enqueue(self, pending: Pending, *, certain: bool = False) -> None:
        with self._door:  # nothing is queued behind the last look of a closing writer, to wait there for ever
            if self._closing:
                raise Unhealthy("the ledger is closed", hint="connect again: a node starts on demand")
            if pending.lane == CONTAINMENT:
                self._containment.append(pending)
                self._normal.put(_WAKE)
            elif not certain and self._normal.qsize() >= QUEUE_JOBS:
                raise Unhealthy(
                    f"{QUEUE_JOBS} actions are waiting already", hint="slow down and ask again", code="busy"
                )
            else:
                self._normal.put(pending)

    def close(self) -> None:
        """Finish what is queued, have it sealed if the guard answers, then close the store and the guard."""
        with self._door:
            if not self._closing:
                self._closing = True
                self._normal.put(_WAKE)
        if self._thread.ident is not None:
            self._thread.join()
        self.seals.close(SEAL_LAST_S)
        if self.read_only is None:
            with contextlib.suppress(FailwellError):  # if not stored, it is got from the guard at the next start
                self.book.commit(self.seals.newest)
        self.book.storage.close()
        self.seals.guard.close()

    def _sealed(self) -> None:
        """A seal came, or is late: let the writer store it, or say so, also when nobody asks for anything."""
        with contextlib.suppress(FailwellError):
            self.submit(lambda turn: Plan((), _nothing), certain=True, behind=True)

    # -- the loop ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            self._abandon()

    def _serve(self) -> None:
        while self._turn(wait=not self._closing) or not self._finished():
            pass

    def _turn(self, *, wait: bool) -> bool:
        """One batch, and before it what lies in the workspace or must not wait; False where there was nothing to do."""
        # A closing writer does not wait: its wake-up may have been taken while a batch was gathered.
        first = self._take(wait=wait)
        if first is None:
            return False
        self._open = [first]
        self._tell(self._urgent)
        while self._containment and first.lane != CONTAINMENT:  # what lay in the workspace, before who found it
            self._batch(self._containment.popleft())
        self._batch(first)
        return True

    def _finished(self) -> bool:
        return self._closing and not self._containment and self._normal.empty()

    def _take(self, *, wait: bool) -> Pending | None:
        """The next job, containment first; None when there is none (or when woken for nothing)."""
        if self._containment:
            return self._containment.popleft()
        try:
            item = self._normal.get(wait)
        except queue.Empty:
            return None
        if item is _WAKE and self._containment:
            return self._containment.popleft()
        return item

    def _batch(self, first: Pending) -> None:
        batch: list[Pending] = []
        self._open = batch
        self._mend()
        try:
            self._gather(first, batch)
            self._commit(batch)
        except StorageFailed as error:
            lost = self.book.written
            self._distrust(error)
            self._tell(self._dropped, lost)
            for pending in batch:
                if pending.lane == CONTAINMENT:
                    self._alone(pending)
                else:
                    pending.error = error
        except Corrupt:
            self._recover()
            for pending in batch:  # one of them is at fault: each alone, so that the others do not pay for it
                self._alone(pending)
        acknowledge(batch)
        self._open = []

    def _heed_guard(self) -> None:
        """Put the health entry of a late or mended seal before the verdicts that it alters (D18): one comparison."""
        if self.read_only is not None or self.failure is not None:
            return  # nothing is permitted now, and what cannot be written must not keep questions from being answered
        late = self.seals.late()
        if (late is not None) == ("guard" in self.book.state.failed) or (late is None and not self._told_late):
            return
        self._told_late = True
        state, detail = ("ok", "seals keep up again") if late is None else ("failed", late.message)
        self.book.run(_health("guard", state, detail), self._before)

    def _gather(self, first: Pending, batch: list[Pending]) -> None:
        """Run jobs into the book until the time cap; what contains is committed at once, with more that does."""
        gather_s = max(BATCH_S, min(self._commit_s, BATCH_MOST_S))
        deadline = time.monotonic() + gather_s
        pending: Pending | None = first
        while pending is not None:
            batch.append(pending)
            self._run_job(pending)
            contained = pending.lane == CONTAINMENT and not self._containment  # many orders share a commit
            if contained or len(batch) >= BATCH_JOBS or time.monotonic() >= deadline:
                return
            pending = self._take(wait=False) or self._linger(batch)

    def _linger(self, batch: list[Pending]) -> Pending | None:
        """Wait a fraction of a commit for callers that were here a moment ago and have just been answered.

        Without it they miss this commit by microseconds, and 64 callers share each sync with some 20. One caller
        waits for nobody, and who comes behind for whoever comes next; an order ends the waiting.
        """
        gathered = awaited(batch)
        if gathered >= self._crowd or self._closing:
            return None
        wait_s = min(self._commit_s * LINGER_SHARE, LINGER_MOST_S) if gathered else BEHIND_S
        try:
            item = self._normal.get(True, wait_s)
        except queue.Empty:
            self._crowd = max(gathered, 1)
            return None
        return self._containment.popleft() if item is _WAKE and self._containment else item

    def _run_job(self, pending: Pending) -> None:
        pending.make, pending.error = None, None
        if self._unloaded is not None:
            self._recover()
        if self._unloaded is not None:  # what is in memory is not what is stored: nothing can be judged by it
            pending.error = again(self._unloaded)
            return
        try:
            self._heed_guard()
            self.received_us = pending.received_us
            pending.make, pending.entries = self.book.run(self._guarded(pending), self._before)
        except Corrupt:
            raise
        except FailwellError as error:
            pending.error = error
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            if self.book.torn:
                raise Corrupt(f"the batch was dropped: {what}") from error
            pending.error = Unhealthy(f"the request could not be judged: {what}")

    def _guarded(self, pending: Pending) -> Job[Any]:
        """The job; while the ledger is closed to what permits, only if it writes nothing or contains."""
        closed = self.read_only
        if closed is None and pending.lane != CONTAINMENT:
            closed = self.barred or self.failure
        if closed is None:
            return pending.job

        def asking(turn: Turn) -> Plan[Any]:
            plan = pending.job(turn)
            if plan.drafts:
                raise again(closed)
            return plan

        return asking

    def _commit(self, batch: list[Pending]) -> None:
        began = time.monotonic()
        written = self.book.commit(None if self.read_only is not None else self.seals.newest)
        if written:
            self.seals.committed(self.book.head)
            self._commit_s = time.monotonic() - began
        self._crowd = max(1, awaited(batch) + self._normal.qsize())
        for pending in batch:
            answer(pending)
        if written:
            self._tell(self._after, written)

    def _tell(self, observer: Callable[..., None], *what: object) -> None:
        """Call an observer; one that fails closes the ledger to all but containment, and does not stop it."""
        try:
            observer(*what)
        except Exception as error:  # noqa: BLE001  what it should have done is not known to be done: fail closed
            self.failure = Unhealthy(f"an observer of the ledger failed: {type(error).__name__}: {error}")
            self._mend_at_us = time.monotonic_ns() // 1000 + MEND_US

    def _alone(self, pending: Pending) -> None:
        """Run and commit one job by itself; whatever fails is its answer."""
        try:
            self._run_job(pending)
            self._commit([pending])
        except FailwellError as error:
            pending.make, pending.error = None, error
            self._recover()

    # -- failure -----------------------------------------------------------------------------------------------

    def _abandon(self) -> None:
        """However the writer ends, nobody waits for ever: what is still queued is refused."""
        with self._door:
            self._closing = True
        left = [pending for pending in self._open if not pending.future.done()]
        while self._containment or not self._normal.empty():
            pending = self._take(wait=False)
            if pending is not None:
                left.append(pending)
        for pending in left:
            pending.error = Unhealthy("the ledger's writer has ended", hint="connect again: a node starts on demand")
        acknowledge(left)

    def _recover(self) -> None:
        """Back to what is stored. If even that fails, everything but the fence is closed (I8)."""
        try:
            self.book.recover()
            self._unloaded = None
            # What was stored and reported as failed is there, and wants its seal too.
            # Attack: a record that contradicts its guard is damaged further, and recovery has the guard sign it.
            if self.book.state.size and self.read_only is None:
                self.seals.committed(self.book.head)
        except FailwellError as error:
            self.failure = self._unloaded = error

    def _distrust(self, error: StorageFailed) -> None:
        """The store failed: permit nothing, free the reserved space, and say so in the record while it still can."""
        self.book.storage.spend_reserve()  # first: on a full disk the file may not even open again without it
        self._recover()
        self.failure = error
        self._mend_at_us = time.monotonic_ns() // 1000 + MEND_US
        self._say_health("failed", error.message)

    def _mend(self) -> None:
        """Ask a failed store, once a second, whether it works again: reserve refilled and a health entry written."""
        if self.failure is None or time.monotonic_ns() // 1000 < self._mend_at_us:
            return
        self._mend_at_us = time.monotonic_ns() // 1000 + MEND_US
        if self.book.storage.refill_reserve() and self._say_health("ok", "writes succeed again"):
            self.failure = None

    def _say_health(self, state: str, detail: str) -> bool:
        pending = Pending(_health("storage", state, detail), CONTAINMENT, None, self.book.mono_us())
        self._alone(pending)
        return pending.error is None


def _health(part: str, state: str, detail: str) -> Job[None]:
    body = kinds.Health(part=part, state=state, detail=detail[:500])
    return lambda turn: Plan((Draft(body=body, actor="node"),), _nothing)
