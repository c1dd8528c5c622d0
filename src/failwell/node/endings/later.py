"""What nobody could confirm at a stop, looked at again until somebody can: one more entry then, and history stays.

Nothing is tried anew here and nothing is stopped: it is only asked whether it has ended. Who is never shown anything
says so (`waiting`). A node that ends forgets what it was looking for; what it did not see it does not confirm.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from failwell.core.errors import FailwellError
from failwell.ledger.jobs import CONTAINMENT
from failwell.ledger.writer import Writer
from failwell.node.endings.statement import Proof, Shown
from failwell.node.timers import Timers
from failwell.response.containment import confirmed_later


class Afterwards:
    """Proofs that are waited for. `run` does what may wait under a name, off the timers' thread."""

    def __init__(self, writer: Writer, timers: Timers, run: Callable[[str, Callable[[], None]], Future[Any]]) -> None:
        self._writer = writer
        self._timers = timers
        self._run = run
        self._lock = threading.Lock()
        self._why: dict[int, str] = {}

    def add(self, action: int, proof: Proof | None) -> None:
        """Look for the proof that an action stopped; None where there can be none."""
        if proof is None:
            return
        with self._lock:
            if action in self._why:
                return
            self._why[action] = "not looked at yet"
        self._again(action, proof, iter(proof.pauses_s))

    def waiting(self) -> dict[int, str]:
        """By action whose stop is still looked for: why what was seen last is no proof."""
        with self._lock:
            return dict(self._why)

    def _again(self, action: int, proof: Proof, pauses_s: Iterator[float]) -> None:
        pause_s = next(pauses_s, None)
        if pause_s is None:
            with self._lock:
                self._why.pop(action, None)
            return
        self._timers.after(pause_s, lambda: self._submit(action, proof, pauses_s))

    def _submit(self, action: int, proof: Proof, pauses_s: Iterator[float]) -> None:
        def over(looked: Future[Any]) -> None:
            if looked.cancelled() or looked.exception() is not None:  # no thread could be had; once more, if we may
                self._again(action, proof, pauses_s)

        self._run(f"later {proof.whose}", lambda: self._look(action, proof, pauses_s)).add_done_callback(over)

    def _look(self, action: int, proof: Proof, pauses_s: Iterator[float]) -> None:
        try:
            found = proof.look()
        except (OSError, FailwellError) as error:
            found = f"it could not be looked at: {error}"
        if not isinstance(found, Shown):
            with self._lock:
                self._why[action] = found
            self._again(action, proof, pauses_s)
            return
        job = confirmed_later(action, found.proven_by, found.ended_us, found.state)
        try:
            recorded, why = self._writer.submit(job, CONTAINMENT).result(), "its end is not on record yet"
        except FailwellError as error:  # the ledger does not take it now
            recorded, why = False, f"it could not be recorded: {error.message}"
        if not recorded:
            with self._lock:
                self._why[action] = why
            self._again(action, proof, pauses_s)
            return
        with self._lock:
            self._why.pop(action, None)
