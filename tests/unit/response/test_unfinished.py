"""A containment that a failing store cut off, made durable once the store works again (I8)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from failwell.core import kinds
from failwell.response.unfinished import contain_again
from tests.property.lives import verified
from tests.unit.gate.house import AGENT, House, folded, open_house

RULES = """
clauses:
  - {id: fatal, deny: payments.refund, when: context.args.amount == 300, severity: critical}
  - {id: late, deny: orders.read, when: 'context.args.order_id == "gone"', severity: minor}
"""


@pytest.fixture
def house() -> Iterator[House]:
    made = open_house(RULES)
    yield made
    made.close()


def test_it_follows_from_the_record_alone_also_where_the_agents_last_entry_is_a_decision(house: House) -> None:
    """What the node knew of that decision went with the failed store; who verifies reads it in the record."""
    run = house.run()
    noticed = house.ask(run, tool="orders.read", arguments=b'{"order_id": "gone"}')
    assert noticed.verdict == "DENY"
    fine = house.ask(run, tool="orders.read", arguments=b'{"order_id": "o-1"}')
    lost = kinds.Signal(
        by="response", signal="denied(fatal)", severity="critical", about=fine.entry + 1, count=1,
        rule="default ladder", response=("interrupt", "suspend", "hold", "notify"), applied=True,
    )  # fmt: skip
    house.book.recover()
    house.do(contain_again(AGENT, lost))
    assert house.agent().authority == "SUSPENDED"
    assert house.bodies(kinds.Signal)[-1].about == fine.entry
    assert verified(house) == []
    _, made = folded((entry, house.book.leaf(entry.seq)) for entry in house.entries())
    assert made == house.stored()
