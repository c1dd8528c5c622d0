"""One drawn world of stops with real processes (`make campaign` lives a hundred)."""

from __future__ import annotations

from tests.faults.stops import lived


def test_everything_is_accounted_for_however_nodes_supervisors_and_callers_end() -> None:
    assert lived(20261123, 3, steps=10)["began"] > 0
