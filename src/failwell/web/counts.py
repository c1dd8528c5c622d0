"""What the door counts of itself: requests by operation and status, and how long they took. In OpenMetrics text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

MEDIA_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
#: Upper bounds of what is counted together, in seconds.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Counts:
    """Of one door, since its start."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self._took: dict[str, list[int]] = {}
        self._sum_s: dict[str, float] = {}

    def add(self, operation: str, status: int, took_s: float) -> None:
        """One more that was answered."""
        self.requests[operation, status] += 1
        buckets = self._took.setdefault(operation, [0] * (len(BOUNDS) + 1))
        buckets[sum(took_s > bound for bound in BOUNDS)] += 1
        self._sum_s[operation] = self._sum_s.get(operation, 0.0) + took_s

    def lines(self) -> Iterable[str]:
        """They as OpenMetrics families."""
        yield from family("failwell_http_requests", "counter", "Answered requests, by operation and status.")
        for (operation, status), count in sorted(self.requests.items()):
            yield f'failwell_http_requests_total{{operation="{operation}",status="{status}"}} {count}'
        yield from family("failwell_http_seconds", "histogram", "How long they took.", unit="seconds")
        for operation, buckets in sorted(self._took.items()):
            reached = 0
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
                reached += count
                yield f'failwell_http_seconds_bucket{{operation="{operation}",le="{bound}"}} {reached}'
            yield f'failwell_http_seconds_count{{operation="{operation}"}} {reached}'
            yield f'failwell_http_seconds_sum{{operation="{operation}"}} {self._sum_s[operation]:.6f}'


def family(name: str, kind: str, words: str, *, unit: str | None = None) -> Iterable[str]:
    """The head of one family of metrics."""
    yield f"# TYPE {name} {kind}"
    if unit is not None:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {words}"


def gauges(values: Mapping[str, tuple[int, str]]) -> Iterable[str]:
    """One family for each value, by name, with its words."""
    for name, (value, words) in values.items():
        yield from family(name, "gauge", words)
        yield f"{name} {value}"
