"""Things to do a while from now, on one thread: deadlines and graces of actions, and looks at what is not proven yet.

What is called must not wait, or everything after it is late. Nothing outlives the node.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
import time
from collections.abc import Callable


class Timers:
    """`after` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._closed = False
        # At once: where a fork storm has used up what this user may start, a later one could not be had.
        self._thread = threading.Thread(target=self._run, name="failwell-timers", daemon=True)
        self._thread.start()

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call it once, `seconds` from now; never if the node stops before."""
        with self._lock:
            if self._closed:
                return
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), call))
            self._lock.notify()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except Exception:  # noqa: BLE001 - said, and what is due after it is not lost for it
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), self._thread)))

    def _next(self) -> Callable[[], None] | None:
        """Wait for what is due next; None when there is nothing to wait for any more."""
        with self._lock:
            while not self._closed:
                left_s = self._due[0][0] - time.monotonic() if self._due else None
                if left_s is not None and left_s <= 0:
                    return heapq.heappop(self._due)[2]
                self._lock.wait(left_s)
            return None

    def close(self) -> None:
        """Forget what is not due yet."""
        with self._lock:
            self._closed = True
            self._due.clear()
            self._lock.notify()
        if self._thread is not threading.current_thread():
            self._thread.join(5)
