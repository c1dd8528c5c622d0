"""A measurement of a stop that is made better after the fact does not follow from the ends on record any more."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failwell.core import kinds
from failwell.core.records import Entry
from failwell.verify.measured import Measured
from tests.unit.core.entries import entry_of

CONFIRMED = "interrupted_confirmed"


def entry(seq: int, mono_us: int, body: Any) -> Entry[Any]:
    return msgspec.structs.replace(entry_of(body), seq=seq, mono_us=mono_us)


def confirmed(action: int, ended_us: int) -> kinds.InterruptConfirmed:
    return kinds.InterruptConfirmed(
        action=action, state=CONFIRMED, processes=1, ended_mono_us=ended_us, proven_by="no child left to wait for"
    )


def figure(**changed: Any) -> kinds.ContainmentMeasured:
    honest: dict[str, Any] = {
        "order": 10, "incident": 1, "received_mono_us": 990, "fenced_mono_us": 1000, "ended_mono_us": 1300,
        "bound_us": 50_000, "actions": 2, "unconfirmed": 0, "classes": {f"supervised.{CONFIRMED}": 2},
    }  # fmt: skip
    return kinds.ContainmentMeasured(**(honest | changed))


def told(body: kinds.ContainmentMeasured, *ends: Any) -> str | None:
    record = Measured()
    assert record.take(entry(10, 1000, kinds.InterruptOrdered(incident=1, actions=(4, 5), why="it misbehaves"))) is None
    for number, end in enumerate(ends or (confirmed(4, 1200), confirmed(5, 1300)), 11):
        assert record.take(entry(number, 1400 + number, end)) is None
    return record.take(entry(20, 2000, body))


def test_an_honest_measurement_has_no_finding() -> None:
    assert told(figure()) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"ended_mono_us": 1200}, {"ended_mono_us": 1301}, {"ended_mono_us": None}, {"actions": 1},
        {"unconfirmed": 1}, {"classes": {f"supervised.{CONFIRMED}": 1}}, {"order": 11}, {"incident": 2},
        {"received_mono_us": 1001}, {"fenced_mono_us": 2001},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.requirement("R8.16")
def test_a_figure_that_was_changed_is_found(changed: dict[str, Any]) -> None:
    assert told(figure(**changed)) is not None


def test_what_is_not_confirmed_is_not_counted_as_ended() -> None:
    unproven = kinds.InterruptUnconfirmed(action=5, why="it did not say that it stopped")
    assert told(figure(), confirmed(4, 1200), unproven) is not None
    honest = figure(unconfirmed=1, ended_mono_us=None, classes={f"supervised.{CONFIRMED}": 1, "cooperative.x": 1})
    assert told(honest, confirmed(4, 1200), unproven) is None


def test_an_action_without_an_end_is_not_measured() -> None:
    assert told(figure(), confirmed(4, 1200)) == "an action that it counts has no end on record"
    # It is confirmed later, and measured again.
    assert told(figure(), confirmed(4, 1200), kinds.InterruptUnconfirmed(action=5, why="x"), confirmed(5, 1300)) is None
