"""One drawn world of stops with real processes (`make campaign` lives a hundred)."""

from __future__ import annotations

from tests.faults.stops import lived


def test_everything_is_accounted_for_however_nodes_supervisors_and_callers_end() -> None:
    # On a busy machine all of a few tools may be killed before their first line: then others live, or nothing is shown.
    assert any(lived(seed, 3, steps=10)["began"] for seed in range(20261123, 20261129))
