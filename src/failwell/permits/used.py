"""What a verifier must remember: the permits that were used, and the epochs below which everything is void.

`Memory` holds it in one process: it begins with the process, and is full at a stated size. `permits.store.Store` holds
it in a file, for several processes and over restarts. Both fail closed: what cannot be remembered is not accepted.

INVARIANT: a permit is forgotten only once it has lapsed, and what was forgotten is refused by its time ever after, also
where the clock is set back later.
"""

from __future__ import annotations

import heapq
import os
import threading
from typing import Final, Protocol

from failwell.permits.claims import Epochs
from failwell.permits.refusal import PermitRefused

#: Names with epochs that one process remembers. Each came with a signed permit or from the server's own operator.
MAX_SCOPES: Final = 10_000


class Register(Protocol):
    """Where uses and epochs are kept."""

    @property
    def since_us(self) -> int:
        """From when on it remembers (wall clock): of uses before it knows nothing."""

    def take(self, jti: str, until_us: int, epochs: Epochs, now_us: int) -> None:
        """Use a permit up, and raise the epochs that it shows. PermitRefused where it may not be used.

        `until_us`: when it has lapsed for good; `now_us` the time that it was found good at.
        """

    def fence(self, epochs: Epochs) -> None:
        """From now on refuse every permit that bears a lower epoch for one of these. Never goes down."""


class Memory:
    """Uses and epochs of one process. Thread-safe; a fork of the process has no part in it."""

    def __init__(self, since_us: int, at_most: int) -> None:
        """`at_most`: uses that are remembered at once; while there are so many, everything is refused."""
        self.since_us = since_us
        self._at_most = at_most
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._used: set[str] = set()
        self._order: list[tuple[int, str]] = []
        self._epochs: dict[str, int] = {}
        self._forgotten_us = 0

    def take(self, jti: str, until_us: int, epochs: Epochs, now_us: int) -> None:
        """See `Register.take`."""
        self._check_process()
        with self._lock:
            self._forget(now_us)
            if until_us <= self._forgotten_us:
                raise expired()
            for scope, epoch in epochs:
                if epoch < self._epochs.get(scope, 0):
                    raise void(scope)
            if jti in self._used:
                raise used()
            raised = [(scope, epoch) for scope, epoch in epochs if epoch > self._epochs.get(scope, 0)]
            if len(self._used) >= self._at_most or (raised and len(self._epochs) + len(raised) > MAX_SCOPES):
                raise PermitRefused(
                    "full", "more permits are in use than this server remembers: none is taken before some lapse",
                    hint="Give the Verifier a store, or a larger remember.",
                )  # fmt: skip
            self._used.add(jti)
            heapq.heappush(self._order, (until_us, jti))
            self._epochs.update(raised)

    def fence(self, epochs: Epochs) -> None:
        """See `Register.fence`. What is fenced is remembered however much that is."""
        self._check_process()
        with self._lock:
            for scope, epoch in epochs:
                self._epochs[scope] = max(epoch, self._epochs.get(scope, 0))

    def _forget(self, now_us: int) -> None:
        while self._order and self._order[0][0] <= now_us:
            self._forgotten_us, jti = heapq.heappop(self._order)
            self._used.discard(jti)

    def _check_process(self) -> None:
        # Attack: a server that makes its verifier and forks its workers then: each of them would take a permit once.
        if os.getpid() != self._pid:
            raise PermitRefused(
                "forked", "the memory of used permits belongs to another process",
                hint="Several processes share a store: Verifier(..., store=PATH). Or make it in each after the fork.",
            )  # fmt: skip


def expired() -> PermitRefused:
    """Its time is over."""
    return PermitRefused("expired", "the permit has lapsed", hint="Ask the gate for a new one; compare the clocks.")


def void(scope: str) -> PermitRefused:
    """A higher epoch of `scope` is known."""
    return PermitRefused("epoch", f"the permit is void: {scope} was stopped, or let go again, since it was made")


def used() -> PermitRefused:
    """Somebody had it before."""
    return PermitRefused("used", "the permit was used already: it is leave to act once")
