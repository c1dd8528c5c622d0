"""What a limit or a response rule counts or adds up: entries of one kind in the order of time, as far back as anybody
asked.

A window holds everything younger than the time it reaches back to. What is older may lie in the store (`Past`) and is
fetched when somebody asks further back, so that memory and start do not grow with all that ever was. No IO here.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final, Protocol

#: Reaches back over everything there was, and over nothing yet.
EVER: Final = -(2**63)
NEVER: Final = 2**63 - 1


class Past(Protocol):
    """Reservations and signals as the store has them up to entry `size`; the same question has the same answer.

    Each gives (time in microseconds, entry, how much) with `after_us` < time <= `upto_us` and entry < `before`, oldest
    first; a signal counts 1.
    """

    @property
    def size(self) -> int: ...

    def reserved(
        self, agent: str, limit: str, key: str | None, *, after_us: int, upto_us: int, before: int
    ) -> Sequence[tuple[int, int, int]]:
        """Actions of `agent` that reserved `limit` for `key` and were not proved unstarted since."""
        ...

    def raised(
        self, agent: str, signal: str, *, after_us: int, upto_us: int, before: int
    ) -> Sequence[tuple[int, int, int]]:  # fmt: skip
        """Signals of one name about `agent`."""
        ...


class Window:
    """Two arrays of equal length: what a sliding window counts, by time and by entry; and the amounts, if it has any.

    Kept per (agent, limit, key) for reservations, per (agent, signal) for signals. `reaches_us`: all that is younger
    is held. `touched`: the newest entry that changed it. `asked_us`: the longest time that was counted over.
    """

    __slots__ = ("_before", "_returned", "_seqs", "_times", "_totals", "asked_us", "reaches_us", "touched")

    def __init__(self, reaches_us: int = EVER) -> None:
        self._times = array("q")
        self._seqs = array("q")
        #: Running totals by place, and what they began at; None while everything held counts 1. Amounts of 2**53 each
        #: outgrow 64 bits after a thousand, and a total that wraps round would let everything pass: exact integers.
        self._totals: list[int] | None = None
        self._before = 0
        self._returned: set[int] = set()
        self.reaches_us = reaches_us
        self.touched = -1
        self.asked_us = 0

    def __len__(self) -> int:
        return len(self._seqs)

    @property
    def held(self) -> tuple[tuple[int, int, int], ...]:
        """(time, entry, how much) of all that is held, oldest first."""
        upto = [self._before, *(self._totals or range(1, len(self._seqs) + 1))]
        amounts = (after - before for before, after in pairwise(upto))
        return tuple(zip(self._times, self._seqs, amounts, strict=True))

    @property
    def first(self) -> int:
        """The oldest entry that is held."""
        return self._seqs[0] if self._seqs else NEVER

    def reserve(self, at_us: int, seq: int, adds: int = 1) -> None:
        """Add one. Limit time stands still at a withheld clock step but never goes back."""
        if adds != 1 or self._totals is not None:
            totals = self._amounts()
            totals.append((totals[-1] if totals else self._before) + adds)
        self._times.append(max(at_us, self._times[-1] if self._times else at_us))
        self._seqs.append(seq)
        self.touched = seq

    def used(self, now_us: int, per_us: int) -> int:
        """How many are younger than `per_us` (0 = of all time) at time `now_us`; O(log n)."""
        oldest = 0 if per_us == 0 else bisect_right(self._times, now_us - per_us)
        return len(self._times) - oldest

    def total(self, now_us: int, per_us: int) -> int:
        """What those younger than `per_us` (0 = of all time) add up to at time `now_us`; O(log n)."""
        if not self._totals:
            return self.used(now_us, per_us)
        oldest = 0 if per_us == 0 else bisect_right(self._times, now_us - per_us)
        return self._totals[-1] - (self._totals[oldest - 1] if oldest else self._before)

    def release(self, seq: int) -> None:
        """Give a reservation back: the action was proved not to have started."""
        self._returned.add(seq)  # the store may not know it yet when older ones are fetched
        place = bisect_left(self._seqs, seq)
        if place < len(self._seqs) and self._seqs[place] == seq:
            if self._totals is not None:
                amount = self._totals[place] - (self._totals[place - 1] if place else self._before)
                self._totals[place:] = [total - amount for total in self._totals[place + 1 :]]
            del self._times[place], self._seqs[place]

    def extend(self, since_us: int, older: Sequence[tuple[int, int, int]]) -> None:
        """Reach back to `since_us`: put what the store has from before, oldest first, in front."""
        kept = [item for item in older if item[1] not in self._returned]
        amounts = [adds for _, _, adds in kept]
        if self._totals is not None or any(adds != 1 for adds in amounts):
            totals = self._amounts()
            self._before -= sum(amounts)
            totals[:0] = list(accumulate(amounts, initial=self._before))[1:]
        self._times[:0] = array("q", [at_us for at_us, _, _ in kept])
        self._seqs[:0] = array("q", [seq for _, seq, _ in kept])
        self.reaches_us = since_us

    def trim(self, until_us: int, before: int) -> None:
        """Let go of what is not younger than `until_us`, as far as it stands before entry `before`."""
        count = min(bisect_right(self._times, until_us), bisect_left(self._seqs, before))
        if count:
            self.reaches_us = max(self.reaches_us, self._times[count - 1])
            if self._totals is not None:
                self._before = self._totals[count - 1]
                del self._totals[:count]
            del self._times[:count], self._seqs[:count]
        if self.touched < before:
            self._returned.clear()

    def _amounts(self) -> list[int]:
        """The running totals, from now on kept: something held does not count 1."""
        if self._totals is None:
            self._before, self._totals = 0, list(range(1, len(self._seqs) + 1))
        return self._totals
