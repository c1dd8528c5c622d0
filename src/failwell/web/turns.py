"""How much a door takes up in one turn of its loop, so that a stop in the midst of a crowd finds it free soon.

What comes from the crowd waits here, in the order of its coming: reading it is little work, answering it is much. What
begins as `first` says, and goes on so, waits behind nobody. It knows no requests: what comes is bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice

#: How long a turn of the loop should take at most while a crowd waits; half as much is taken up after one that took
#: longer, and one piece more after every other, within these bounds.
TURN_S = 0.002
LEAST, MOST = 1, 32
#: Bytes that wait at once; more are taken up as they come, and then count as bodies.
MAX_WAITING_BYTES = 32 * 1024 * 1024

TakeUp = Callable[[bytes], object]


class Turns:
    """Of one door. `first`: how a request begins that waits for none."""

    def __init__(self, loop: asyncio.AbstractEventLoop, first: tuple[bytes, ...]) -> None:
        self.first = first
        self._loop = loop
        self._waiting: dict[TakeUp, bytes] = {}
        self._held = 0
        self._most = LEAST
        self._began_s = 0.0
        self._next: asyncio.Handle | None = None

    def wait(self, take_up: TakeUp, data: bytes) -> None:
        """Have `take_up` called with `data` when it is its turn, and with all that came meanwhile."""
        waiting = self._waiting.get(take_up, b"")
        self._held += len(data)
        self._waiting[take_up] = waiting + data
        if self._held > MAX_WAITING_BYTES:
            self._take(take_up)
        elif self._next is None:
            self._most, self._began_s = LEAST, self._loop.time()
            self._next = self._loop.call_soon(self._turn)

    def forget(self, take_up: TakeUp) -> None:
        """Whoever sent it is gone."""
        self._held -= len(self._waiting.pop(take_up, b""))

    def _turn(self) -> None:
        self._next = None
        now_s = self._loop.time()
        took_s, self._began_s = now_s - self._began_s, now_s
        # What was taken up in one turn is worked on in the next ones: their length tells what it was worth.
        self._most = max(LEAST, self._most // 2) if took_s > TURN_S else min(self._most + 1, MOST)
        for take_up in tuple(islice(self._waiting, self._most)):
            self._take(take_up)
        if self._waiting:
            self._next = self._loop.call_soon(self._turn)

    def _take(self, take_up: TakeUp) -> None:
        data = self._waiting.pop(take_up, b"")
        self._held -= len(data)
        take_up(data)
