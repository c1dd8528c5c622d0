"""Threads by name, for what may wait long: whoever waits under one name keeps nobody waiting under another.

Attack: a resource that never answers, and as many of its actions stopped at once as there are threads; the end of
everybody else's would wait for them. What is asked for is never refused by raising: the future says it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

#: Of one name so much is done at once; more waits its turn.
AT_ONCE = 32


class Threads:
    """`run` may be called from any thread; threads start as they are needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: dict[str, ThreadPoolExecutor] = {}
        self._closed = False

    def run(self, name: str, work: Callable[[], Any]) -> Future[Any]:
        """Do it beside what is done under other names; the future fails where no thread can be had for it."""
        future: Future[Any] = Future()

        def do() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - whoever asked is told
                future.set_exception(error)

        try:
            self._of(name).submit(do).add_done_callback(lambda done: future.cancel() if done.cancelled() else None)
        except RuntimeError as error:  # the node is stopping, or a fork storm has used up what this user may start
            if future.cancel():  # it lies in the queue all the same, and is not done any more
                return _failed(error)
        return future

    def _of(self, name: str) -> ThreadPoolExecutor:
        with self._lock:
            if self._closed:
                raise RuntimeError("the node is stopping")
            if name not in self._named:
                self._named[name] = ThreadPoolExecutor(AT_ONCE, f"failwell-{name}"[:40])
            return self._named[name]

    def close(self) -> None:
        """Wait for what has begun; what has not is cancelled."""
        with self._lock:
            self._closed = True
        for pool in self._named.values():
            pool.shutdown(wait=True, cancel_futures=True)


def _failed(error: RuntimeError) -> Future[Any]:
    failed: Future[Any] = Future()
    failed.set_exception(error)
    return failed
