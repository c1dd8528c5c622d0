"""Keeping the working state of what was stopped (R9): what ran while it stood still, and what lay where it worked.

Begun once the outcome is on record, on a thread of its own: nothing here delays a stop, its outcome, or anybody who
waits for one. What stops together in one directory is looked at together. A node that dies meanwhile loses what it had
not written; the record then says nothing of it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from failwell.core.errors import FailwellError
from failwell.gate.preserving import STOPPED, Preserved, preserve
from failwell.ledger.writer import Writer
from failwell.node.listing import Listing, list_directory
from failwell.ports.executor import Ended

#: How often it is tried to record what was taken, and the pause between.
TRIES, PAUSE_S = 5, 0.5
#: What may wait with its snapshot (64 KiB each); of more, the directory alone is kept.
KEPT_SNAPSHOTS = 2000
CLOSE_BOUND_S = 5.0


class _Stopped(NamedTuple):
    action: int
    snapshot: bytes | None
    directory: str | None


def _started(run: Callable[[], None]) -> threading.Thread | None:
    """None where a fork storm has used up what this user may start: the next stop tries it again."""
    thread = threading.Thread(target=run, name="preserving", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


class Preserver:
    """`keep` is called by any thread and waits for nothing; `close` gives what waits a moment."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: queue.SimpleQueue[_Stopped | None] = queue.SimpleQueue()
        self._closing = False
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def keep(self, end: Ended, state: str, directory: str | None, recorded: Future[Any]) -> None:
        """Keep what is to be kept of an action that ended as `state`, once its outcome is on record.

        `directory`: where an operator declared that its tool works, None where nobody did.
        """
        if state not in STOPPED:
            return
        snapshot = end.snapshot if self._waiting.qsize() < KEPT_SNAPSHOTS else None
        stopped = _Stopped(end.action, snapshot, directory)
        with self._starting:
            if self._thread is None:
                self._thread = _started(self._run)
        recorded.add_done_callback(lambda _: self._waiting.put(stopped))

    def close(self) -> None:
        """Write what waits, as far as it can be done in a moment."""
        self._closing = True
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(CLOSE_BOUND_S)

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            together = [first]
            with contextlib.suppress(queue.Empty):
                while (more := self._waiting.get_nowait()) is not None:
                    together.append(more)
                self._waiting.put(None)
            listed: dict[str | None, Listing | None] = {None: None}
            for stopped in together:
                if stopped.directory not in listed:
                    listed[stopped.directory] = list_directory(str(stopped.directory))
                self._write(stopped, listed[stopped.directory])

    def _write(self, stopped: _Stopped, listing: Listing | None) -> None:
        taken = Preserved(
            decision=stopped.action, snapshot=stopped.snapshot,
            directory=None if listing is None else listing.text(),
            files=0 if listing is None else len(listing.files), bytes=0 if listing is None else listing.size,
            missing=() if listing is None else tuple(f"{listing.directory}: {each}" for each in listing.missing),
        )  # fmt: skip
        for left in reversed(range(TRIES)):
            with contextlib.suppress(FailwellError):
                self._writer.submit(preserve(taken)).result()
                return
            if not left or self._closing:
                return  # the store does not take it: nothing stands in the record that was not kept
            time.sleep(PAUSE_S)
