"""Parts of an incident's account: each under its key, and one that fails takes nothing else with it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failwell.response.account import Account
from failwell.response.parts import Material, Part, all_asked, tell_parts
from failwell.response.whole import PARTS, Whole
from tests.unit.gate.house import FATAL, open_house


class Found(msgspec.Struct, frozen=True):
    size: int
    asked: tuple[str, ...] = ()


def material() -> Material:
    house = open_house()
    house.ask(house.run(), FATAL)
    row = house.state.incident[1]
    return Material(
        number=1, row=row, agent=house.agent(), entries=house.entries(), read=house.entries, text=lambda seq: None,
        reveal=lambda token: token,
    )  # fmt: skip


def broken(told: Material, seen: Any) -> Any:
    raise KeyError("a row that is not there")


@pytest.mark.requirement("R22.10")
def test_a_part_that_fails_is_named_and_the_others_are_told() -> None:
    """Attack: something in the record that one part cannot read, so that nobody reads how the stop went."""
    good = Part("holds", lambda state, number: 7, lambda told, seen: Found(seen, ("Look: failwell hold show 7",)))
    bad = Part("impact", lambda state, number: 1, broken)
    told, untold = tell_parts((bad, good), material(), {"holds": 7, "impact": 1})
    assert told == {"impact": None, "holds": Found(7, ("Look: failwell hold show 7",))}
    assert untold == {"impact": "KeyError: 'a row that is not there'"}
    assert all_asked(("Now: failwell hold show 7",), told) == ("Now: failwell hold show 7",)
    assert all_asked(("Take it: failwell incident acknowledge 1",), told) == (
        "Take it: failwell incident acknowledge 1", "Look: failwell hold show 7",
    )  # fmt: skip


def test_what_the_doors_say_of_an_incident_is_what_its_parts_tell() -> None:
    fields = set(Whole.__struct_fields__) - set(Account.__struct_fields__)
    assert fields == {part.key for part in PARTS} | {"untold"}
