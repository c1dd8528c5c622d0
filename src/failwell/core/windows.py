"""What a limit or a response rule counts: entries of one kind in the order of time, as far back as anybody asked.

A window holds everything younger than the time it reaches back to. What is older may lie in the store (`Past`) and is
fetched when somebody asks further back, so that memory and start do not grow with all that ever was. No IO here.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, Protocol

#: Reaches back over everything there was, and over nothing yet.
EVER: Final = -(2**63)
NEVER: Final = 2**63 - 1


class Past(Protocol):
    """Reservations and signals as the store has them up to entry `size`; the same question has the same answer.

    Each gives (time in microseconds, entry) with `after_us` < time <= `upto_us` and entry < `before`, oldest first.
    """

    @property
    def size(self) -> int: ...

    def reserved(
        self, agent: str, limit: str, key: str | None, *, after_us: int, upto_us: int, before: int
    ) -> Sequence[tuple[int, int]]:
        """Actions of `agent` that reserved `limit` for `key` and were not proved unstarted since."""
        ...

    def raised(
        self, agent: str, signal: str, *, after_us: int, upto_us: int, before: int
    ) -> Sequence[tuple[int, int]]:  # fmt: skip
        """Signals of one name about `agent`."""
        ...


class Window:
    """Two arrays of equal length: what a sliding window counts, by time and by entry.

    Kept per (agent, limit, key) for reservations, per (agent, signal) for signals. `reaches_us`: all that is younger
    is held. `touched`: the newest entry that changed it. `asked_us`: the longest time that was counted over.
    """

    __slots__ = ("_returned", "_seqs", "_times", "asked_us", "reaches_us", "touched")

    def __init__(self, reaches_us: int = EVER) -> None:
        self._times = array("q")
        self._seqs = array("q")
        self._returned: set[int] = set()
        self.reaches_us = reaches_us
        self.touched = -1
        self.asked_us = 0

    def __len__(self) -> int:
        return len(self._seqs)

    @property
    def held(self) -> tuple[tuple[int, int], ...]:
        """(time, entry) of all that is held, oldest first."""
        return tuple(zip(self._times, self._seqs, strict=True))

    @property
    def first(self) -> int:
        """The oldest entry that is held."""
        return self._seqs[0] if self._seqs else NEVER

    def reserve(self, at_us: int, seq: int) -> None:
        """Add one. Limit time stands still at a withheld clock step but never goes back."""
        self._times.append(max(at_us, self._times[-1] if self._times else at_us))
        self._seqs.append(seq)
        self.touched = seq

    def used(self, now_us: int, per_us: int) -> int:
        """How many are younger than `per_us` (0 = of all time) at time `now_us`; O(log n)."""
        oldest = 0 if per_us == 0 else bisect_right(self._times, now_us - per_us)
        return len(self._times) - oldest

    def release(self, seq: int) -> None:
        """Give a reservation back: the action was proved not to have started."""
        self._returned.add(seq)  # the store may not know it yet when older ones are fetched
        place = bisect_left(self._seqs, seq)
        if place < len(self._seqs) and self._seqs[place] == seq:
            del self._times[place], self._seqs[place]

    def extend(self, since_us: int, older: Sequence[tuple[int, int]]) -> None:
        """Reach back to `since_us`: put what the store has from before, oldest first, in front."""
        kept = [(at_us, seq) for at_us, seq in older if seq not in self._returned]
        self._times[:0] = array("q", [at_us for at_us, _ in kept])
        self._seqs[:0] = array("q", [seq for _, seq in kept])
        self.reaches_us = since_us

    def trim(self, until_us: int, before: int) -> None:
        """Let go of what is not younger than `until_us`, as far as it stands before entry `before`."""
        count = min(bisect_right(self._times, until_us), bisect_left(self._seqs, before))
        if count:
            self.reaches_us = max(self.reaches_us, self._times[count - 1])
            del self._times[:count], self._seqs[:count]
        if self.touched < before:
            self._returned.clear()
