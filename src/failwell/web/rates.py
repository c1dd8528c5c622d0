"""How often one caller may ask: a bucket of tokens for each, refilled as time goes by. Bounded in callers too."""

from __future__ import annotations

import time
from collections import OrderedDict

from failwell.core.errors import Unhealthy

#: Callers that are remembered; the one that asked longest ago is forgotten, and starts with a full bucket.
MOST = 10_000
#: Seconds' worth of requests that may come at once.
BURST_S = 2.0


class Rates:
    """`per_s` requests a second for each caller, and `BURST_S` times that at once."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._most = per_s * BURST_S
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def take(self, caller: tuple[str, str]) -> None:
        """One request of `caller`; Unhealthy (code "rate") where it asked too often."""
        now = time.monotonic()
        left, at = self._left.pop(caller, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_s)
        self._left[caller] = (max(left - 1, 0.0), now)
        while len(self._left) > MOST:
            self._left.popitem(last=False)
        if left < 1:
            raise Unhealthy(
                f"{caller[0]} {caller[1]} asks more than {self._per_s:g} times a second", code="rate",
                hint="Nothing was done. Ask again after Retry-After, or have [http] rate_per_s raised.",
            )  # fmt: skip
