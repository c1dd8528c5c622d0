"""What is said of a node whose place was taken, edited or forged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.records import Draft
from failwell.verify.takeovers import Takeovers
from tests.unit.gate.house import House, open_house


@pytest.fixture
def house() -> Iterator[House]:
    made = open_house()
    yield made
    made.close()


def start(pid: int) -> Draft:
    test: dict[str, str | int | bool | None] = {}
    body = kinds.NodeStarted(software="failwell/test", pid=pid, separation="none", self_test=test, recovered=0)
    return Draft(body=body, actor="node")


def took(actor: str = "node", **fields: Any) -> Draft:
    given: dict[str, Any] = {"pid": 1, "why": "silent", "late_us": 2_100_000, "killed": True, **fields}
    return Draft(body=kinds.NodeTakeover(**given), actor=actor)


def fault(house: House, *commits: tuple[Draft, ...]) -> str | None:
    """What is wrong with the last entry of these commits."""
    rule, first, wrong = Takeovers(), house.state.size, None
    for commit in commits:
        house.write(*commit)
        house.clock.skip(1000)
    for entry in house.entries(first):
        wrong = rule.fault(entry, house.state)
    return wrong


STOPPED = Draft(body=kinds.NodeStopped(reason="stopped"), actor="node")


def test_a_node_that_had_not_ended_may_be_replaced_and_one_that_gave_way(house: House) -> None:
    assert fault(house, (start(1),), (start(2), took())) is None
    assert fault(house, (start(1),), (STOPPED,), (start(2), took(why="gave-way", killed=False))) is None


@pytest.mark.parametrize("why", ["silent", "died"])
def test_a_node_that_ended_in_good_order_was_not_replaced_for_being_late(house: House, why: str) -> None:
    assert "good order" in (fault(house, (start(1),), (STOPPED,), (start(2), took(why=why))) or "")


def test_it_is_told_with_the_start_by_the_node_that_started(house: House) -> None:
    assert "with its start" in (fault(house, (start(1),), (start(2),), (took(),)) or "")
    assert "no node had run" in (fault(house, (start(2), took())) or "")
    assert "told by that node" in (fault(house, (start(1),), (start(2), took(actor="response"))) or "")
    assert "says why" in (fault(house, (start(1),), (start(2), took(why="bored"))) or "")
