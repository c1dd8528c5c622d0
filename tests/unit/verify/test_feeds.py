"""What the log says that other systems were told is counted again: whoever keeps it passes over nothing unseen."""

from __future__ import annotations

from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.records import Body, Entry, kind_of
from failwell.core.rows import Feed
from failwell.core.state import State
from failwell.verify.feeds import FeedsWhole


def entry(seq: int, body: Body, actor: str = "node") -> Entry[Any]:
    kind, version = kind_of(body)
    return Entry(
        seq=seq, at="2026-11-23T10:00:00.000000Z", actor=actor, agent=None, run=None, body=body, kind=kind, v=version,
        aprev=None, aseq=None, blob=None, boot="b", mono_us=0, origin="failwell/x", refs=(), tokens=(),
    )  # fmt: skip


def noted(incident: int = 1) -> Body:
    return kinds.IncidentNoted(incident=incident, note=1, sort="note", person="anna", words="w", cites=())


def told(last: int, count: int) -> Body:
    return kinds.FeedDelivered(feed="soc", last=last, count=count, theirs=())


def failed(at: int) -> Body:
    return kinds.FeedFailed(feed="soc", at=at, attempt=1, detail="503", due_us=2**60)


def faults(*after: Body, row: Feed | None = None, actor: str = "node") -> str | None:
    """What is found at the last of these, behind notes 3, 5 and 6."""
    rule, state = FeedsWhole(), State()
    if row is not None:
        state.put("feed", "soc", row)
    before = [noted() if seq in (3, 5, 6) else kinds.NodeStopped(reason="x") for seq in range(8)]
    found = None
    for seq, body in enumerate([*before, *after]):
        found = rule.fault(entry(seq, body, actor), state)
    return found


@pytest.mark.parametrize(("last", "count"), [(7, 3), (4, 1), (2, 0), (5, 2)])
def test_what_was_told_from_the_first_entry_on_counts_right(last: int, count: int) -> None:
    assert faults(told(last, count)) is None


def test_what_stood_there_before_a_feed_began_need_not_be_told() -> None:
    assert faults(told(7, 0)) is None


@pytest.mark.requirement("R33.11")
@pytest.mark.parametrize(("last", "count"), [(7, 2), (7, 0), (7, 4), (5, 0)])
def test_an_entry_that_was_passed_over_is_found(last: int, count: int) -> None:
    said = faults(told(last, count), row=Feed(last=3 - 1))
    assert said is not None
    assert "told" in said


def test_what_goes_on_behind_the_last_word_counts_from_there() -> None:
    assert faults(told(7, 2), row=Feed(last=3)) is None
    assert faults(told(7, 3), row=Feed(last=3)) is not None


def test_a_failure_is_at_the_next_thing_that_was_to_be_told() -> None:
    assert faults(failed(5), row=Feed(last=3)) is None
    assert faults(failed(6), row=Feed(last=3)) is not None, "something before it was passed over"
    assert faults(failed(4), row=Feed(last=3)) is not None


def test_nobody_but_the_node_says_how_far_a_feed_is() -> None:
    assert faults(told(7, 3), actor="person:anna") is not None
