"""What a node knows of an action that the one before it had started: its class, and how long it may still go on."""

from __future__ import annotations

from failwell.core import kinds
from failwell.core.records import Draft
from failwell.node.endings.choosing import _started_as
from tests.unit.gate.house import AGENT, SECOND_US, open_house


def test_the_deadline_of_what_a_dead_node_started_counts_from_its_decision() -> None:
    house = open_house()
    action = house.ask(house.run()).entry
    decided_us = house.entries()[action].mono_us
    house.clock.skip(3 * SECOND_US)
    house.write(
        Draft(
            body=kinds.Started(decision=action, command=None, executor="unstoppable", pid=7, start_ticks=1),
            actor="node", agent=AGENT, refs=(action,),
        )
    )  # fmt: skip
    began = house.do(_started_as(action, house.clock))
    assert (began.agent, began.tool, began.executor) == (AGENT, "payments.refund", "unstoppable")
    assert began.until_us == decided_us + 10 * SECOND_US


def test_after_a_restart_of_the_machine_all_of_the_deadline_may_be_left() -> None:
    house = open_house()
    action = house.ask(house.run()).entry
    house.clock.reboot(0)
    house.reopen()
    assert house.do(_started_as(action, house.clock)).until_us == house.clock.mono_us() + 10 * SECOND_US


def test_of_what_no_contract_bounds_no_deadline_is_told() -> None:
    house = open_house()
    action = house.decide(house.proposal(house.run(), tool="orders.read")).entry
    assert house.do(_started_as(action, house.clock)).until_us is None
