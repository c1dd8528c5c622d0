"""What a verification took, by phase; and progress only where somebody would begin to wonder."""

from __future__ import annotations

import pytest

from failwell.cli.stopwatch import Stopwatch


class Clock:
    """A clock that stands where it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_phases_are_added_up_apart_and_the_copy_counts_for_neither_figure() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    for phase, took_s in (
        ("copy", 0.5),
        ("file", 0.25),
        ("core", 0.5),
        ("conduct", 1.0),
        ("core", 0.5),
        ("rows", 0.75),
    ):
        clock.now += took_s
        watch.heard(phase, 1000)
    assert watch.fields(1000) == {
        "copy_ms": 500,
        "core": {"elapsed_ms": 1000, "entries_per_second": 1000},
        "full": {"elapsed_ms": 3000, "entries_per_second": 333},
        "elapsed_ms": 3500,
    }


def test_nothing_taken_has_no_rate() -> None:
    assert Stopwatch(Clock()).fields(0)["core"] == {"elapsed_ms": 0, "entries_per_second": None}


def test_progress_is_told_on_standard_error_every_two_seconds_and_not_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    for entries in range(0, 50_000, 1000):
        clock.now += 0.125
        watch.heard("core", entries)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == ["15,000 entries ...", "31,000 entries ...", "47,000 entries ..."]
