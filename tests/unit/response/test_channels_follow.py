"""What channels that were told hear later: each cycle rings for itself, and stops ringing once it is taken or over."""

from __future__ import annotations

from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.node.posting import first_thread, thread_of
from tests.unit.gate.house import HOUR_US, House, folded
from tests.unit.response import casework
from tests.unit.response.asking import after, attempt, opened, path, row, step

CHANNELS = {"channels": [["pager", {"kind": "pagerduty"}], ["room", {"kind": "slack"}]]}


def told(*by: str, **more: Any) -> House:
    return opened(path(step("owner", by=["email", *by], ack_within_s=60), **more) | CHANNELS)


def heard(house: House) -> list[tuple[str, str, int]]:
    """(channel, what about, cycle) of all that channels were told, in order."""
    return [
        (body.channel, body.about, body.cycle) for body in house.bodies(kinds.PageQueued4) if body.channel != "email"
    ]


def end(house: House) -> None:
    """Somebody takes it once more, and ends it."""
    house.acknowledge("olga")
    casework.write(house, "olga", "factor", 3)
    casework.give(house, "olga", orders.IncidentResolve(incident=1, reason="it ended"))


def kept(house: House) -> None:
    """The rows are what the entries say."""
    assert folded((entry, house.book.leaf(entry.seq)) for entry in house.entries())[1] == house.stored()


@pytest.mark.requirement("R10.88")
def test_a_cycle_that_was_taken_and_forgotten_rings_anew_under_a_name_of_its_own() -> None:
    """Attack: the second trigger joins the alert that somebody took and forgot, and an on-call service rings nobody."""
    house = told("pager", progress_within_s=3600)
    house.acknowledge("olga")
    after(house, HOUR_US)
    assert heard(house) == [("pager", "", 1), ("pager", "taken", 1), ("pager", "again", 1), ("pager", "step", 2)]
    first, second = thread_of("o", 7, 1), thread_of("o", 7, 2)
    assert (first != second, first_thread(second), first_thread(first)) == (True, first, first)
    kept(house)


def test_a_room_is_not_told_that_it_is_asked_anew_beside_being_asked_anew() -> None:
    house = told("room", progress_within_s=3600)
    house.acknowledge("olga")
    after(house, HOUR_US)
    assert heard(house) == [("room", "", 1), ("room", "taken", 1), ("room", "step", 2)]


@pytest.mark.requirement("R10.89")
def test_every_channel_that_still_rings_hears_once_that_there_is_nothing_to_take() -> None:
    house = told("pager", "room", progress_within_s=3600)
    house.acknowledge("olga")
    after(house, HOUR_US)
    before = len(heard(house))
    end(house)
    assert heard(house)[before:] == [
        ("pager", "taken", 2), ("room", "taken", 2), ("pager", "over", 2), ("room", "over", 2),
    ]  # fmt: skip
    assert row(house).ringing == ()
    kept(house)


def test_a_channel_that_was_never_reached_hears_nothing_of_who_took_it() -> None:
    house = told("room")
    page = next(number for number, each in house.state.page.items() if each.channel == "room")
    attempt(house, page, accepted=False, permanent=True)
    house.acknowledge("olga")
    assert heard(house) == [("room", "", 1)]


def test_nobody_is_written_to_for_what_a_channel_hears_later() -> None:
    house = told()
    house.acknowledge("olga")
    assert [body.about for body in house.bodies(kinds.PageQueued4)] == [""]
