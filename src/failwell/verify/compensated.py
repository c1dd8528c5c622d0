"""Undoings held against what they stand on: the contract in force, how the action ended, and who ordered them (D28).

What was ordered by rule is a reaction and held there; that a step is begun and ended once, and only where it may be,
the fold says. What neither can see is held here, since no state in memory remembers an action that has ended: that its
contract says how it is undone, that it ran, that a person ordered just this, that an operator had declared the step,
and that nothing was undone twice. Whether the world is as the step says no record can show.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from failwell.core import kinds, undoing
from failwell.core.incidents.opening import ACTOR
from failwell.core.orders import Order
from failwell.core.records import Entry
from failwell.core.rows import Compensation
from failwell.core.state import State
from failwell.verify.observed import body_governed

#: Who may have an action undone beside its agent's owner.
ROLE = "approver"


@dataclass(slots=True)
class _Action:
    """One action that a contract says how to undo: how and where it ended, and what became of its undoing."""

    agent: str
    tool: str
    contract: str
    after: str | None = None
    outcome: int = -1
    ordered: int = -1
    begun: int | None = None
    end: str | None = None


class Undone:
    """See `verify.conduct.Rule`: takes the entries in order, each before it is folded."""

    code = "compensation"

    def __init__(self) -> None:
        self._actions: dict[int, _Action] = {}
        #: Steps that operators ever declared.
        self._declared: set[str] = set()

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """Note what an entry says of an undoing or its action, and hold it against those before it; what is wrong."""
        body = entry.body
        if isinstance(body, kinds.Config):
            self._declared |= _tools(body.text)
        elif isinstance(body, kinds.Decision):
            self._decided(entry, body, state)
        elif isinstance(body, kinds.Outcome):
            if body.decision in self._actions:
                self._actions[body.decision].after, self._actions[body.decision].outcome = body.state, entry.seq
        elif isinstance(body, kinds.CompensationOrdered):
            return self._ordered(entry, body, state)
        elif isinstance(body, kinds.CompensationBegun | kinds.Compensated):
            action = self._actions.get(body.decision)
            if action is None:
                return f"it speaks of the undoing of action {body.decision}, which no contract declares"
            return self._begun(entry, body, action) if isinstance(body, kinds.CompensationBegun) else _ended(
                entry, body, action
            )  # fmt: skip
        return None

    def _decided(self, entry: Entry[Any], body: kinds.Decision, state: State) -> None:
        if body.verdict != "ALLOW" or not body_governed(body):
            return
        chain = () if entry.run is None or entry.run not in state.run else state.run[entry.run].chain
        contract = undoing.declared_by(state, str(entry.agent), chain, body.tool)
        if contract is not None:
            self._actions[entry.seq] = _Action(str(entry.agent), body.tool, contract)

    def _ordered(self, entry: Entry[Any], body: kinds.CompensationOrdered, state: State) -> str | None:
        action = self._actions.get(body.decision)
        if action is None:
            return f"it orders the undoing of action {body.decision}, and no contract in force said how"
        if (entry.agent, body.tool, body.contract) != (action.agent, action.tool, action.contract):
            return f"it orders the undoing of action {body.decision} by another contract, tool or agent than it had"
        if body.after != action.after or not entry.refs or entry.refs[-1].seq != action.outcome:
            return f"it says that action {body.decision} ended {body.after}, and its outcome does not"
        if entry.actor != (ACTOR if body.by == undoing.BY_RULE else body.by):
            return f"it was not ordered by {body.by}"
        if action.end is not None and not self._again(body, action, state):
            return f"action {body.decision} was to be undone before, and is {action.end}"
        action.ordered, action.begun, action.end = entry.seq, None, None
        return None

    @staticmethod
    def _again(body: kinds.CompensationOrdered, action: _Action, state: State) -> bool:
        if body.by == undoing.BY_RULE:
            return False
        return action.end == undoing.NOT or (
            action.end != undoing.REVERSED and undoing.harmless(state, body.contract, body.step)
        )

    def _begun(self, entry: Entry[Any], body: kinds.CompensationBegun, action: _Action) -> str | None:
        if body.step not in self._declared:
            return f"it begins {body.step}, which no operator declared"
        if tuple(ref.seq for ref in entry.refs) != (body.decision, action.ordered):
            return f"it does not cite what it begins behind: action {body.decision}, entry {action.ordered}"
        action.begun = entry.seq
        return None


def _ended(entry: Entry[Any], body: kinds.Compensated, action: _Action) -> str | None:
    action.end = body.state
    cited = action.ordered if action.begun is None else action.begun
    if tuple(ref.seq for ref in entry.refs) != (body.decision, cited):
        return f"it does not cite what it ends: action {body.decision}, entry {cited}"
    if body.state == undoing.REVERSED and body.exit_code != 0:
        return f"it says that action {body.decision} was reversed by a step that did not end with 0"
    return None


def _tools(settings: str) -> set[str]:
    """The tools that settings in force declare (the text of a `config` entry)."""
    try:
        return {str(name) for name, _ in json.loads(settings).get("tools", ())}
    except (ValueError, TypeError, AttributeError):
        return set()


def order_fault(entry: Entry[Any], body: Any, order: Order[Any], state: State) -> str | None:
    """What a person's undoing says that the order does not, or that this person could not order."""
    if not isinstance(body, kinds.CompensationOrdered):
        return None
    details = order.details
    if (details.action, details.tool, details.step) != (body.decision, body.tool, body.step):
        return "it undoes another action, or by another step, than the order says"
    agent, person = state.agent.get(str(entry.agent)), state.person.get(order.person)
    owner = None if agent is None else state.reachable(agent.owner)
    if body.by != f"person:{order.person}" or (order.person != owner and (person is None or ROLE not in person.roles)):
        return f"{order.person} neither owns the agent nor is {ROLE}"
    return None


def by_rule(entry: Entry[Any]) -> bool:
    """Whether an undoing was ordered by rule: then no person's order stands before it, and the rule is held."""
    return isinstance(entry.body, kinds.CompensationOrdered) and entry.actor == ACTOR


def overdue(state: State, since_us: int, slack_us: int) -> list[tuple[int, Compensation]]:
    """Undoings that a node which runs `since_us` had the time to end. What is stopped waits as long as it is."""
    if any(row.closed for row in state.stop.values()):
        return []
    patience_us = slack_us * (1 + len(state.compensation) // 4)
    return [
        (decision, row)
        for decision, row in sorted(state.compensation.items())
        if max(row.due_us, since_us) + undoing.MOST_TRIES * row.within_us + patience_us < state.last_at_us
    ]
