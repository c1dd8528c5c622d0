"""Jobs in the writer's queue, and how each one's caller hears of its end: a thread's future or one of an asyncio loop.

A caller may give up at any moment; the job runs all the same, and nobody else is kept waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from failwell.core.errors import FailwellError, Unhealthy
from failwell.core.records import Entry
from failwell.ledger.jobs import Job


class Pending:
    """A queued job and where its answer goes: a thread's future, or a future of one asyncio loop.

    A thread's future with a `loop` is resolved there, with all others of the batch. What is `behind` nobody awaits.
    `received_us` is when what it carries out reached us, by the boot clock: a stop is measured from there.
    """

    __slots__ = ("answer", "behind", "entries", "error", "future", "job", "lane", "loop", "make", "received_us")

    def __init__(
        self, job: Job[Any], lane: int, loop: asyncio.AbstractEventLoop | None, received_us: int, future: Any = None,
        *, behind: bool = False,
    ) -> None:  # fmt: skip
        self.job = job
        self.lane = lane
        self.received_us = received_us
        self.loop = loop
        self.behind = behind
        self.future: Any = loop.create_future() if loop is not None and future is None else future or Future()
        self.make: Callable[[tuple[Entry[Any], ...]], Any] | None = None
        self.entries: tuple[Entry[Any], ...] = ()
        self.answer: Any = None
        self.error: FailwellError | None = None


def awaited(batch: Iterable[Pending]) -> int:
    """How many jobs of a batch somebody waits for."""
    return sum(not pending.behind for pending in batch)


def again(error: FailwellError) -> Unhealthy:
    """The same refusal for another caller: one exception raised by many threads would grow by each of them."""
    return Unhealthy(error.message, hint=error.hint, code=error.code)


def answer(pending: Pending) -> None:
    """Make the answer of a job whose entries are durable; one that cannot be made must not stop the others."""
    if pending.make is None:
        return
    try:
        pending.answer = pending.make(pending.entries)
    except Exception as error:  # noqa: BLE001  the caller is told; the writer goes on
        pending.error = Unhealthy(f"recorded, but the answer failed: {type(error).__name__}: {error}")


def acknowledge(batch: Iterable[Pending]) -> None:
    """Tell every caller of a batch how its job ended: one wake-up for each loop (D8)."""
    loops: dict[asyncio.AbstractEventLoop, list[Pending]] = {}
    for pending in batch:
        if pending.loop is None:
            _resolve(pending)
        else:
            loops.setdefault(pending.loop, []).append(pending)
    for loop, waiting in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve_all, waiting)
        except RuntimeError:  # the loop is gone, and with it everyone who waited there
            _resolve_all([pending for pending in waiting if isinstance(pending.future, Future)])


def _resolve(pending: Pending) -> None:
    future = pending.future
    # A caller that no longer waits may cancel at any moment: from here on it cannot any more.
    if future.done() or (isinstance(future, Future) and not future.set_running_or_notify_cancel()):
        return
    if pending.error is not None:
        pending.future.set_exception(pending.error)
    else:
        pending.future.set_result(pending.answer)


def _resolve_all(waiting: list[Pending]) -> None:
    for pending in waiting:
        _resolve(pending)
