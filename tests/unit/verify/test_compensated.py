"""Undoings that somebody who can write the ledger made up, or edited: each is found where it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from failwell.core import kinds
from failwell.core.records import Draft, Entry
from failwell.response.compensation import Seen, begin, end
from tests.unit.gate.house import AGENT, HOUR_US, TOOLS, House, contract_text
from tests.unit.response.test_compensation import CONFIG, UNDONE, due, faults, furnish, order, stop, undo

NOT = Seen(state="not", detail="it said so", exit_code=1, elapsed_us=5)


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.close()


def body_changed(kind: type[Any], **fields: Any) -> Callable[[Entry[Any]], Entry[Any]]:
    def change(entry: Entry[Any]) -> Entry[Any]:
        return replace(entry, body=replace(entry.body, **fields)) if isinstance(entry.body, kind) else entry

    return change


def ordered(house: House, decision: int, outcome: int, **fields: Any) -> None:
    """An order to undo that no job would have written."""
    body = kinds.CompensationOrdered(
        decision=decision, tool="payments.refund", step="payments.cancel", contract=str(house.agent().contract),
        within_us=30_000_000, after="completed", by="person:olga",
    )  # fmt: skip
    house.write(Draft(body=replace(body, **fields), actor="person:olga", agent=AGENT, refs=(outcome,)))


def test_an_honest_undoing_is_no_finding(house: House) -> None:
    stop(house)
    undo(house)
    assert faults(house) == []


@pytest.mark.requirement("R7.15")
def test_a_step_that_failed_and_is_said_to_have_reversed_it(house: House) -> None:
    stop(house)
    undo(house, NOT)
    found = faults(house, tampered=body_changed(kinds.Compensated, state="reversed"))
    assert any("did not end with 0" in said for said in found), found


def test_an_undoing_that_was_to_follow_and_was_taken_out(house: House) -> None:
    stop(house)
    found = faults(house, tampered=body_changed(kinds.CompensationOrdered, by="person:olga"))
    assert any("reaction.changed" in said or "entry.fold" in said or "was not ordered by" in said for said in found)
    found = faults(house, tampered=lambda entry: entry if entry.kind != "compensation.ordered" else replace(
        entry, body=kinds.NodeStopped(reason="x"), kind="node.stopped"
    ))  # fmt: skip
    assert any("reaction.changed" in said for said in found), found


@pytest.mark.parametrize("fields", [{"step": "rm"}, {"within_us": 1}, {"after": "blocked"}, {"contract": "0" * 64}])
def test_an_undoing_by_what_no_contract_declares_does_not_follow(house: House, fields: dict[str, Any]) -> None:
    stop(house)
    assert any(
        "entry.fold" in said for said in faults(house, tampered=body_changed(kinds.CompensationOrdered, **fields))
    )


@pytest.mark.requirement("R7.15")
def test_an_undoing_that_nobody_ordered(house: House) -> None:
    decision = house.ask(furnish(house)).entry
    ordered(house, decision, house.settle(decision))
    assert any("no order action.compensate stands before it" in said for said in faults(house, people=True))


@pytest.mark.requirement("R7.15")
def test_an_undoing_of_what_no_contract_in_force_said_how_to_undo(house: House) -> None:
    """Attack: let a later contract say it, and have an older action undone by that."""
    decision = house.ask(furnish(house, TOOLS)).entry
    outcome = house.settle(decision)
    house.adopt(contract_text("", tools=UNDONE, version=2))
    ordered(house, decision, outcome)
    assert any("no contract in force said how" in said for said in faults(house))


def test_an_undoing_of_an_action_that_ended_otherwise(house: House) -> None:
    decision = house.ask(furnish(house)).entry
    outcome = house.settle(decision)
    ordered(house, decision, outcome, after="failed")
    assert any("its outcome does not" in said for said in faults(house))


@pytest.mark.requirement("R7.15")
def test_an_action_that_is_undone_twice(house: House) -> None:
    decision = house.ask(furnish(house)).entry
    outcome = house.settle(decision)
    order(house, "olga", decision)
    undo(house)
    ordered(house, decision, outcome)
    assert any("was to be undone before, and is reversed" in said for said in faults(house))


@pytest.mark.requirement("R7.15")
def test_an_order_that_said_something_else(house: House) -> None:
    run = furnish(house)
    first, second = house.ask(run).entry, house.ask(run).entry
    outcomes = house.settle(first), house.settle(second)
    order(house, "olga", first)

    def other(entry: Entry[Any]) -> Entry[Any]:
        if not isinstance(entry.body, kinds.CompensationOrdered):
            return entry
        refs = tuple(replace(ref, seq=outcomes[1]) if ref.seq == outcomes[0] else ref for ref in entry.refs)
        return replace(entry, body=replace(entry.body, decision=second), refs=refs)

    assert any("undoes another action" in said for said in faults(house, tampered=other))


@pytest.mark.requirement("R7.15")
def test_a_step_that_no_operator_ever_declared(house: House) -> None:
    stop(house)
    undo(house)
    found = faults(house, tampered=body_changed(kinds.Config, text=CONFIG.replace("payments.cancel", "x")))
    assert any("which no operator declared" in said for said in found)


def test_a_step_that_is_said_to_have_begun_twice_or_behind_nothing(house: House) -> None:
    stop(house)
    (found,) = due(house)
    number = house.do(begin(found))
    house.do(end(found.decision, number, NOT))
    assert any("entry.fold" in said for said in faults(house, tampered=body_changed(kinds.CompensationBegun, tries=2)))

    def uncited(entry: Entry[Any]) -> Entry[Any]:
        return replace(entry, refs=()) if isinstance(entry.body, kinds.CompensationBegun) else entry

    assert any("does not cite" in said for said in faults(house, tampered=uncited))


def test_an_undoing_that_a_node_had_the_time_for_and_that_never_came(house: House) -> None:
    stop(house)
    house.write(
        Draft(body=kinds.NodeStarted(software="x", pid=1, separation="x", self_test={}, recovered=0), actor="node")
    )
    assert not any("compensation.missing" in said for said in faults(house))
    house.clock.skip(HOUR_US)
    house.write(Draft(body=kinds.NodeStopped(reason="x"), actor="node"))
    assert any("compensation.missing" in said for said in faults(house))
