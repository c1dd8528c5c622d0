"""The chain: what a second implementation found that the first passed over, each found once and for all."""

from __future__ import annotations

import pytest

from tests.unit.verify.logs import Log


@pytest.mark.parametrize("at", ["", "now", "2026-02-30T00:00:00.000000Z"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_first_entries_without_a_true_time(at: str, count: int) -> None:
    log = Log()
    log.entries.clear()
    log.data.clear()
    for _ in range(count):
        log.add("genesis" if not log.size else "health", envelope={"at": at}, format=1, mode="live",
                log_key=log.pair.text, software="test/1")  # fmt: skip
    report = log.verify()
    assert report.counts == {"entry.time": count}
    assert report.first_bad == 0
