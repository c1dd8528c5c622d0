"""Actions that this process runs itself, and that are asked to stop: a task is cancelled, and what goes on is said.

Cancelling ends nothing but the awaiting: a task may swallow it, and a thread that it waits for knows nothing of it. So
whoever was cancelled looks whether something that began since is still at work, and does not say that it stopped.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import thread as pools
from types import FrameType
from typing import Any

from failwell.client.answers import Interrupted, Outcome, Verdict
from failwell.client.wire import THREAD as WIRE_THREAD

#: What a thread of a pool runs while it works; an idle one waits outside of it.
_WORKS = pools._WorkItem.run.__code__


class Acting:
    """An action that this process executes itself. Poll `interrupted`: nobody else can stop it from outside.

    `goes_on` says what was found still at work when it was to stop.
    """

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.interrupted = False
        self.goes_on: str | None = None
        self.result: Any = None
        #: The entry of its outcome, once that is on record.
        self.settled = verdict.entry
        self._lock = threading.Lock()
        self._stop: Callable[[], object] | None = None

    def ask_to_stop(self) -> None:
        """The node asks; called from the connection's thread."""
        with self._lock:
            self.interrupted = True
            stop = self._stop
        if stop is not None:
            stop()

    def stop_by(self, stop: Callable[[], object]) -> None:
        """How it is stopped from now on; at once if it was asked to before."""
        with self._lock:
            self._stop = stop
            asked = self.interrupted
        if asked:
            stop()

    def end(self, state: str) -> str:
        """What may be said of its end: `state` (completed or failed), unless it was to stop."""
        if not self.interrupted or state == "completed":
            return state
        return "running" if self.goes_on is not None else "interrupted"

    def stopped(self, given: int = 0, how: str = "asked to stop, and its task was cancelled") -> Interrupted:
        """What its caller hears; `given` results had left before."""
        why = self.goes_on or how
        outcome = Outcome(
            state="interrupted_unconfirmed", result=None, entry=self.verdict.entry, verdict=self.verdict, why=why,
            given=given,
        )  # fmt: skip
        return Interrupted(outcome)


async def stoppable(acting: Acting, work: Coroutine[Any, Any, Any], given: int = 0) -> Any:
    """What `work` gives, as a task that is cancelled when the action is to stop; Interrupted if it was."""
    before, loop = at_work(), asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    acting.stop_by(lambda: loop.call_soon_threadsafe(task.cancel))
    try:
        return await task
    except asyncio.CancelledError:
        if not acting.interrupted:
            raise
        left = at_work() - before
        if left:
            acting.goes_on = f"cancelled, and {len(left)} threads that began since are still at work"
        raise acting.stopped(given) from None


def at_work() -> frozenset[tuple[int, int]]:
    """The threads of this process that run something, each with what it works on.

    Not this one, those of pools that wait for work, nor our own, which listen to nodes.
    """
    idle = {item.ident for item in threading.enumerate() if getattr(item, "_target", None) is pools._worker}
    ours = {item.ident for item in threading.enumerate() if item.name == WIRE_THREAD} | {threading.get_ident()}
    found = set()
    for ident, frame in sys._current_frames().items():
        work = _work_of(frame)
        if ident not in ours and (work is not None or ident not in idle):
            found.add((ident, id(work)))
    return frozenset(found)


def _work_of(frame: FrameType | None) -> object | None:
    """What a pool's thread works on; None for one that waits, or is in no pool."""
    while frame is not None:
        if frame.f_code is _WORKS:
            found: object = frame.f_locals["self"]
            return found
        frame = frame.f_back
    return None
