"""Ends of actions on their way into the record: one that the store did not take is written again until it is there.

Attack: a tool ends while the disk is full, and its outcome is lost with the batch. The action then stands open, nobody
runs it, and the next order to stop would call it one that never started and give back what it used up (D6).
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from failwell.core.errors import FailwellError, Unhealthy
from failwell.ledger.jobs import Job
from failwell.ledger.writer import Writer
from failwell.node.awaiting import running_loop
from failwell.node.fence import Fence


class Ends:
    """What became of the actions of one node. Until its end is durable an action is neither running nor unstarted."""

    def __init__(self, writer: Writer, fence: Fence) -> None:
        self._writer = writer
        self._fence = fence
        self._lock = threading.Lock()
        self._unwritten: dict[int, tuple[Job[Any], int]] = {}

    def record(self, action: int, job: Job[Any], lane: int) -> Future[Any]:
        """Have an end written; the future tells of the first attempt, after which it is tried with every `tick`.

        Never raises: this runs in the executor's thread, whose failure would end every tool.
        """
        recorded: Future[Any]
        try:
            # What ends on the loop is told there: it is woken once for all ends of a commit.
            recorded = self._writer.submit(job, lane, certain=True, loop=running_loop())
        except FailwellError as error:
            recorded = Future()
            recorded.set_exception(error)

        def done(finished: Future[Any]) -> None:
            if isinstance(finished.exception(), Unhealthy):
                with self._lock:
                    self._unwritten[action] = (job, lane)
            else:  # it is there, or will never be: the job was refused for good
                self._fence.settled(action)

        recorded.add_done_callback(done)
        return recorded

    @property
    def waiting(self) -> int:
        """How many ends no store has taken yet."""
        return len(self._unwritten)

    def tick(self) -> None:
        """Try once more what no store has taken."""
        with self._lock:
            unwritten, self._unwritten = self._unwritten, {}
        for action, (job, lane) in unwritten.items():
            self.record(action, job, lane)
