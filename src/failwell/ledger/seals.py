"""Seals: the newest head, signed by the guard behind the acknowledgment (D18, I1).

A thread of its own coalesces what was committed and has it signed within 100 ms; whoever needs a seal (a permit for
what cannot be undone, a hold) triggers one at once and waits for it. What contains never waits here (I8). An
acknowledged entry that is not sealed a second later is told by `late`, by which the writer closes the gate on record;
what the guard refuses (a rollback, a fork) is told by `refusal` and is never asked again.
This module neither signs nor stores, and does not decide what a late seal means.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from failwell.core import merkle
from failwell.core.errors import Corrupt, FailwellError, Unhealthy
from failwell.ledger.book import Head
from failwell.ports.guard import Guard, GuardMoved, GuardRefused, Sealed

#: How long heads are gathered before one is signed, when nobody waits for it: well below the promised 100 ms.
COALESCE_S = 0.040
#: An acknowledged entry that is older than this without a seal closes the gate.
LATE_S = 1.0
#: How often a guard that failed is asked again, and how long it may take to answer once the gate is closed: as long as
#: one takes to come up on a busy machine. A shorter time would end each new one before it can answer.
RETRY_S = 0.2
ANSWER_S = 5.0
#: With less than this left until the gate closes a busy guard cannot answer in time: it is not ended for that.
SHORTEST_S = 0.25


def _nothing() -> None:
    """The observer of seals that nobody observes."""


class Seals:
    """Has `guard` sign the heads it is told of. Thread-safe.

    `subtree` gives stored subtree hashes (`merkle.Get`); `sealed` is called after each new seal and after each change
    of `late`, from this thread: it must be quick.
    """

    def __init__(self, guard: Guard, subtree: merkle.Get, sealed: Callable[[], None] = _nothing) -> None:
        self.guard = guard
        self.newest: Sealed | None = guard.last()
        #: How long the oldest entry under the newest seal had waited for it; None before the first one made here.
        self.waited_s: float | None = None
        self.refusal: FailwellError | None = None
        self.sealed = sealed
        self._subtree = subtree
        self._grown = guard.grown()[0]
        self._turn = threading.Condition()
        self._head: Head | None = None
        #: (size, when it was acknowledged) of commits that no seal covers, oldest first. Once late, what comes is taken
        #: for as old as the newest of them: no more are kept, and none passes for younger than it is.
        self._unsealed: deque[tuple[int, float]] = deque()
        self._waiting: list[tuple[int, Future[Sealed]]] = []
        self._failed: FailwellError | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="ledger-seals", daemon=True)
        self._thread.start()

    # -- told by the writer ------------------------------------------------------------------------------------

    def committed(self, head: Head) -> None:
        """Entries up to `head` are durable and read back."""
        with self._turn:
            idle = self._head is None
            self._head = head
            now = time.monotonic()
            if len(self._unsealed) < 2 or self._unsealed[0][1] + LATE_S > now:
                self._unsealed.append((head.size, now))
            else:
                self._unsealed[-1] = (head.size, self._unsealed[-1][1])
            if idle:
                self._turn.notify()

    def late(self) -> FailwellError | None:
        """Why the gate must be closed for want of a seal, None while seals keep up. One comparison when they do."""
        if self.refusal is not None:
            return self.refusal
        unsealed = self._unsealed
        try:
            since = unsealed[0][1] if unsealed else None
        except IndexError:  # taken off by the other thread this very moment: it was sealed
            return None
        if since is None or time.monotonic() < since + LATE_S:
            return None
        return self._failed or Unhealthy(f"the guard has sealed nothing for {LATE_S:g} s")

    # -- asked by whoever needs a seal -------------------------------------------------------------------------

    def wait(self, size: int) -> Future[Sealed]:
        """A seal over the first `size` entries, triggered at once; the caller bounds its own waiting.

        The future fails with the guard's refusal, and with Unhealthy when the ledger closes first.
        """
        future: Future[Sealed] = Future()
        with self._turn:
            if self.newest is not None and self.newest.size >= size:
                future.set_result(self.newest)
            elif self.refusal is not None or self._closing:
                future.set_exception(_closing() if self.refusal is None else _again(self.refusal))
            else:
                self._waiting.append((size, future))
                self._turn.notify()
        return future

    def close(self, timeout_s: float) -> bool:
        """Seal what is left, for at most `timeout_s`; whether all that was acknowledged is sealed. The guard stays."""
        with self._turn:
            self._closing = True
            self._turn.notify()
        self._thread.join(timeout_s)
        with self._turn:
            left, self._waiting = self._waiting, []
        for _, future in left:
            _fail(future, _closing())
        return not self._unsealed

    # -- the loop ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            head = self._next()
            if head is None:
                return
            try:
                sealed = self._ask(head)
            except Unhealthy as error:  # the guard, or the store that is just being opened again: it may pass
                if not self._endure(error):
                    return
            except FailwellError as error:  # refused, or our own tree does not hang together: asking again is no use
                self._refused(error)
                return
            except Exception as error:  # noqa: BLE001  a fault of ours closes the gate; it must not end all sealing
                if not self._endure(Unhealthy(f"sealing failed: {type(error).__name__}: {error}")):
                    return
            else:
                self._done(sealed)
                self.sealed()

    def _next(self) -> Head | None:
        """The head to sign next, once one is due; None when closing and nothing is left."""
        with self._turn:
            while self._head is None:
                if self._closing:
                    return None
                self._turn.wait()
            if not self._waiting and not self._closing and self._failed is None:
                # From the oldest on, not from now: what was acknowledged during the last seal has waited already.
                left_s = self._unsealed[0][1] + COALESCE_S - time.monotonic() if self._unsealed else COALESCE_S
                if left_s > 0:
                    self._turn.wait(left_s)
            return self._head

    def _ask(self, head: Head) -> Sealed:
        path = merkle.consistency_path(self._grown, head.size, self._subtree)
        root = merkle.Frontier.from_hashes(head.size, head.hashes).root()
        with self._turn:
            since = self._unsealed[0][1] if self._unsealed else time.monotonic()
        left_s = since + LATE_S - time.monotonic()
        try:
            wait_s = left_s if left_s > SHORTEST_S else ANSWER_S
            return self.guard.seal(head.size, root, path, wait_s, since=self._grown)
        except GuardMoved as moved:
            return self._found(moved.sealed, head)

    def _found(self, sealed: Sealed, head: Head) -> Sealed:
        """What the guard has signed meanwhile: ours, where an answer was lost. Raises GuardRefused for another's."""
        # Attack: a copy of the workspace runs beside us, and what was sealed there passes for our seal.
        if sealed.size > head.size or merkle.range_root(0, sealed.size, self._subtree) != sealed.root:
            raise GuardRefused(
                f"the guard has signed a tree of {sealed.size} leaves that is not ours",
                hint="Does a copy of this workspace run somewhere?",
            )
        return sealed

    def _done(self, sealed: Sealed) -> None:
        with self._turn:
            self.newest, self._grown, self._failed = sealed, sealed.size, None
            if self._unsealed and self._unsealed[0][0] <= sealed.size:
                self.waited_s = time.monotonic() - self._unsealed[0][1]
            while self._unsealed and self._unsealed[0][0] <= sealed.size:
                self._unsealed.popleft()
            if self._head is not None and self._head.size <= sealed.size:
                self._head = None
            done = [future for size, future in self._waiting if size <= sealed.size]
            self._waiting = [item for item in self._waiting if item[0] > sealed.size]
        for future in done:
            if future.set_running_or_notify_cancel():
                future.set_result(sealed)

    def _endure(self, error: Unhealthy) -> bool:
        """Go on after a failure that may pass; False when there is no time left for it."""
        with self._turn:
            self._failed = error
            self._waiting = [item for item in self._waiting if not item[1].done()]  # who gave up is forgotten
            if self._closing:
                return False
        self.sealed()  # before the pause: an idle node records that it is late at once
        with self._turn:
            if not self._closing:
                self._turn.wait(RETRY_S)
        return True

    def _refused(self, error: FailwellError) -> None:
        with self._turn:
            self.refusal = error if isinstance(error, Corrupt) else Corrupt(error.message, hint=error.hint)
            left, self._waiting = self._waiting, []
        for _, future in left:
            _fail(future, _again(self.refusal))
        self.sealed()


def _closing() -> Unhealthy:
    return Unhealthy("the ledger is closing")


def _again(error: FailwellError) -> Corrupt:
    """The same refusal for another caller: one exception raised by many would grow by each of them."""
    return Corrupt(error.message, hint=error.hint, code=error.code)


def _fail(future: Future[Sealed], error: FailwellError) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)
