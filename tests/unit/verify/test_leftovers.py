"""What is said of a dead node's leftovers, edited."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.records import Draft
from failwell.verify.leftovers import Leftovers
from tests.unit.gate.house import AGENT, House, open_house


@pytest.fixture
def house() -> Iterator[House]:
    made = open_house()
    yield made
    made.close()


def fault(house: House, actor: str = "node", agent: str | None = None, **fields: Any) -> str | None:
    given: dict[str, Any] = {"processes": 2, "supervisors": 1, "left": 0, "actions": (), "detail": "", **fields}
    (seq,) = house.write(Draft(body=kinds.LeftoversSwept(**given), actor=actor, agent=agent))
    return Leftovers().fault(house.entries(seq)[0], house.state)


def test_what_was_open_when_its_node_died_may_be_named_and_nothing_else(house: House) -> None:
    action = house.ask(house.run()).entry
    assert fault(house, actions=(action,)) is None
    house.settle(action)
    assert "was not open" in (fault(house, actions=(action,)) or "")


def test_it_is_the_next_nodes_word_and_counts_something(house: House) -> None:
    assert fault(house) is None
    assert "counts nothing" in (fault(house, processes=0, supervisors=0) or "")
    assert "counts nothing" in (fault(house, left=-1) or "")
    assert "told by the next one" in (fault(house, actor=f"agent:{AGENT}", agent=AGENT) or "")
