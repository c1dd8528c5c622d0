"""Stops of more than one agent held against their rules: who stopped and who lifted, and that nothing passed (I7, I8).

That a stop interrupts what ran, and in which epoch it stands, the fold and the reactions say. Here stands what people
had to do: a stop is somebody's order, lifting it is two other persons'; and no ALLOW stands while a scope is closed.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, orders, rows, stops
from failwell.core.contract import STOPPED
from failwell.core.incidents import apart
from failwell.core.records import Entry
from failwell.core.state import State


def stop_fault(entry: Entry[Any], body: Any, order: orders.Order[Any], state: State) -> str | None:
    """What a stop, or its lifting, says that its order or the state before it do not bear out; None for nothing."""
    if isinstance(body, kinds.ScopeStopped):
        same = (body.by, body.why) == (f"person:{order.person}", order.details.reason)
        return None if same else "who stopped it, or why, is not what the order says"
    if isinstance(body, kinds.ContractAdopted):
        scope = stops.leaves_closed(state, str(entry.agent), body.contract)
        return None if scope is None else f"it takes the agent out of {scope}, which is stopped"
    if not isinstance(body, kinds.ScopeProposed | kinds.ScopeLifted):
        return None
    return _given_back(body, order, state)


def _given_back(
    body: kinds.ScopeProposed | kinds.ScopeLifted, order: orders.Order[Any], state: State
) -> str | None:  # fmt: skip
    row = state.stop.get(body.scope)
    if row is None or body.person != order.person:
        return "it is not that person's order about a stop in force"
    if f"person:{body.person}" in row.stopped_by:
        return f"{body.person} ordered the stop"
    if row.waiting:
        return "the stop waits for the end of an action"
    if isinstance(body, kinds.ScopeLifted):
        return _lift_fault(body, order, row, state) or _one_person(state, row, body.person, row.proposed_by)
    if body.digest != orders.order_digest(order):
        return "it proposes another order than its own"
    return _one_person(state, row, body.person, None)


def _one_person(state: State, row: rows.Stop, person: str, by: str | None) -> str | None:
    """Releases before these rules asked for two names and two keys, and not where the second one came from."""
    return apart.kept_from_lifting(state, row, person, by) if state.workspace[1].rules >= 2 else None


def _lift_fault(body: kinds.ScopeLifted, order: orders.Order[Any], row: rows.Stop, state: State) -> str | None:
    if not row.proposal == body.digest == order.details.proposal:
        return "it is not the lift that was proposed"
    proposer, person = state.person.get(row.proposed_by or ""), state.person.get(body.person)
    if proposer is None or person is None or proposer.left is not None:
        return f"{row.proposed_by}, who proposed it, is not known or had left"
    one = row.proposed_by == body.person or proposer.key == person.key
    return "one person, or one key, proposed it and lifted it" if one else None


def decision_fault(entry: Entry[Any], body: kinds.Decision, state: State, *, runs: bool) -> str | None:
    """What is wrong with what a decision says of the scopes it is within; None where it is right.

    Attack: an ALLOW is slipped in while everything is stopped, or a denial is blamed on a stop that there was not.
    """
    denied = any(clause.id == STOPPED for clause in body.clauses)
    if not denied and not state.stop:  # nearly always
        return None
    run = None if entry.run is None else state.run.get(entry.run)
    scope = stops.closed_by(state, (*(() if run is None else run.chain), str(entry.agent)), body.tool)
    if scope is not None and runs:
        return f"{body.verdict} while {scope} was stopped"
    return "it was denied for a stop, and nothing that it is within was stopped" if denied and scope is None else None
