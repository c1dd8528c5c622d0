"""Ends that somebody who can write the ledger made up, or edited: no outcome says more than its proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from failwell.core import kinds
from failwell.core.records import Draft, Entry
from failwell.gate.outcomes import Settlement, draft_outcome, started
from failwell.node.endings.statement import ended
from failwell.response.containment import confirmed_later, ended_by_order
from tests.unit.gate.house import AGENT, House, open_house
from tests.unit.response.test_compensation import faults

CONFIRMED, UNCONFIRMED = "interrupted_confirmed", "interrupted_unconfirmed"


@pytest.fixture
def house() -> Iterator[House]:
    made = open_house()
    yield made
    made.close()


def begin(house: House, executor: str = "supervised") -> int:
    decision = house.ask(house.run()).entry
    house.do(started(decision, executor, 1, 1))
    return decision


def end(house: House, decision: int, state: Any, method: str = "supervised: order") -> int:
    settlement = Settlement(decision=decision, state=state, by="supervisor", why="ordered")
    said = ended(decision, state, "ordered", "no child left")
    house.do(ended_by_order(said, method, lambda turn: draft_outcome(turn, settlement)))
    return decision


def changed(kind: type[Any], **fields: Any) -> Callable[[Entry[Any]], Entry[Any]]:
    def change(entry: Entry[Any]) -> Entry[Any]:
        return replace(entry, body=replace(entry.body, **fields)) if isinstance(entry.body, kind) else entry

    return change


def proof(action: int, **fields: Any) -> Draft:
    body = kinds.InterruptConfirmed(action=action, state=CONFIRMED, processes=0, ended_mono_us=5, proven_by="me")
    return Draft(body=replace(body, **fields), actor="node", agent=AGENT, refs=(action,))


def test_honest_ends_are_no_finding(house: House) -> None:
    decision = begin(house)
    unproven = begin(house, "unstoppable")
    house.suspend("piet")
    end(house, decision, CONFIRMED)
    end(house, unproven, UNCONFIRMED, "unstoppable: order")
    assert house.do(confirmed_later(unproven, "its side says so", 7))
    assert faults(house) == []


@pytest.mark.requirement("R6.16")
def test_what_is_confirmed_later_ends_the_waiting_of_its_incident_and_erases_no_history(house: House) -> None:
    decision, other = begin(house), begin(house)
    house.suspend("piet")
    end(house, decision, UNCONFIRMED)
    end(house, other, CONFIRMED)
    assert (house.state.incident[1].failed, "STOPPED" in house.state.incident[1].marks) == ((decision,), False)
    assert house.do(confirmed_later(decision, "seen to have ended", 7))
    incident = house.state.incident[1]
    assert (incident.failed, incident.waiting) == ((), ())
    assert {"CONTAINMENT_FAILED", "STOPPED"} <= set(incident.marks)
    assert incident.marks["STOPPED"] == house.state.size - 1
    assert '"interrupted_unconfirmed"' in house.stored()["action"][decision]


def test_an_incident_that_a_failed_stop_opened_is_not_called_stopped(house: House) -> None:
    """Attack: a tool outlives its deadline, and nothing else of its agent runs when that is noticed."""
    decision = begin(house)
    end(house, decision, UNCONFIRMED, "supervised: deadline")
    incident = house.state.incident[1]
    assert (incident.failed, "STOPPED" in incident.marks) == ((decision,), False)
    assert "CONTAINMENT_FAILED" in incident.marks
    house.do(confirmed_later(decision, "seen to have ended", 7))
    assert "STOPPED" in house.state.incident[1].marks
    assert faults(house) == []


def test_an_open_action_is_not_confirmed_later(house: House) -> None:
    decision = begin(house)
    assert not house.do(confirmed_later(decision, "me", 7))
    assert house.bodies(kinds.InterruptConfirmed) == []


MADE_UP: dict[str, Callable[[House, int], Draft]] = {
    "of an action that nobody stopped": lambda house, action: proof(action),
    "of one that ended by itself": lambda house, action: (house.settle(action), proof(action))[1],
    "of one that was confirmed at once": lambda house, action: (end(house, action, CONFIRMED), proof(action))[1],
    "a second time": lambda house, action: (
        end(house, action, UNCONFIRMED), house.do(confirmed_later(action, "x", 7)), proof(action)
    )[2],
    "as one that never started": lambda house, action: (
        end(house, action, UNCONFIRMED), proof(action, state="blocked")
    )[1],
    "that it is not": lambda house, action: (
        end(house, action, UNCONFIRMED), proof(action, state=UNCONFIRMED)
    )[1],
}  # fmt: skip


@pytest.mark.parametrize("what", MADE_UP)
@pytest.mark.requirement("R6.12")
def test_a_later_proof_that_is_made_up_is_found(house: House, what: str) -> None:
    draft = MADE_UP[what](house, begin(house))
    house.clock.skip(10)
    assert faults(house) == []
    house.write(draft)
    assert faults(house) != []


def test_a_failure_that_became_a_proof_is_found(house: House) -> None:
    decision = begin(house)
    end(house, decision, UNCONFIRMED)

    def better(entry: Entry[Any]) -> Entry[Any]:
        if not isinstance(entry.body, kinds.InterruptUnconfirmed):
            return entry
        return replace(entry, kind="interrupt.confirmed", body=proof(decision).body)

    assert any("no entry before it says how that went" in said for said in faults(house, tampered=better))


@pytest.mark.parametrize(
    ("tampered", "said"),
    [
        (changed(kinds.Outcome, state=CONFIRMED), "no entry before it does that"),
        (changed(kinds.Started, executor="transactional"), "was started as transactional"),
        (changed(kinds.InterruptAttempted, method="cooperative: order"), "was started as supervised"),
        (changed(kinds.InterruptAttempted, action=0), "which was not open"),
    ],
)
def test_an_end_that_was_edited_is_found(
    house: House, tampered: Callable[[Entry[Any]], Entry[Any]], said: str
) -> None:  # fmt: skip
    decision = begin(house)
    end(house, decision, UNCONFIRMED)
    found = faults(house, tampered=tampered)
    assert any(said in each for each in found), found


@pytest.mark.parametrize("executor", ["cooperative", "unstoppable"])
def test_what_no_kill_of_ours_ends_is_never_confirmed_at_once(house: House, executor: str) -> None:
    decision = begin(house, executor)
    end(house, decision, CONFIRMED, f"{executor}: order")
    assert any("no order of ours shows at once" in said for said in faults(house))


@pytest.mark.parametrize("method", ["none: order", "order"])
@pytest.mark.parametrize("executor", ["cooperative", "unstoppable"])
def test_a_method_that_names_no_class_does_not_make_such_a_stop_confirmed(
    house: House, executor: str, method: str
) -> None:  # fmt: skip
    decision = begin(house, executor)
    end(house, decision, CONFIRMED, method)
    assert any("no order of ours shows at once" in said for said in faults(house))
