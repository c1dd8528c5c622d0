"""Escalations in the record: each step when it was due and as its path has it, by a rule, the clock or an order; none
left out while a node was at work (R10).

What follows in the commit of something else the reactions hold. Here stands what the clock and people do.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, orders
from failwell.core.errors import FailwellError
from failwell.core.escalation import due, stepping
from failwell.core.incidents.opening import ACTOR
from failwell.core.instants import parse_at
from failwell.core.records import Body, Draft, Entry
from failwell.core.state import State

NEEDED: dict[type[Body], tuple[frozenset[str], ...]] = {
    kinds.EscalationStarted: (frozenset({"incident.escalate"}),),
    kinds.EscalationStepped: (frozenset({"incident.escalate"}),),
}
_NODE = "node"
#: A node has taken a step by the time it has been seen at work for so long. Silence counts little. It takes so many
#: steps a second.
_SLACK_US, _SEEN_US, _STEPS_A_SECOND = 60_000_000, 2_000_000, 20
_SECOND_US = 1_000_000


def by_rule(entry: Entry[Any]) -> bool:
    """Whether a step or cycle is no person's: the reactions hold it, or (the node's) it is held below."""
    return isinstance(entry.body, kinds.EscalationStarted | kinds.EscalationStepped) and entry.actor in (ACTOR, _NODE)


def order_fault(entry: Entry[Any], body: Any, order: orders.Order[Any], state: State) -> str | None:
    """What a step that a person asked for says that their order and the path do not bear out; None for nothing."""
    if not isinstance(body, kinds.EscalationStarted | kinds.EscalationStepped):
        return None
    row = state.escalation.get(body.incident)
    begins = isinstance(body, kinds.EscalationStarted)
    if body.incident not in state.incident or begins != (row is None):
        return "it is not what follows from the order: who was asked goes on with the next step, else with the first"
    cause = entry.refs[0].seq if entry.refs else entry.seq
    if begins:
        expected = stepping.start(state, body.incident, due.OPENED, cause, actor=f"person:{order.person}")
    else:
        expected = stepping.step(
            state, body.incident, due.ASKED, parse_at(entry.at), cause, actor=f"person:{order.person}", but=order.person
        )  # fmt: skip
    return None if _same(entry, expected) else "it is not the next step of the path that the incident has"


class EscalationsInTime:
    """Steps and cycles that the clock asks for: neither early, nor another's, nor left out; and pages of no step."""

    code = "escalation.step"

    def __init__(self) -> None:
        self._last_us = self._looked_us = 0
        #: How long a node was seen at work while a step stood untaken, by incident, cycle, step and round.
        self._seen: dict[tuple[int, int, int, int], int] = {}

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        at_us, body = parse_at(entry.at), entry.body
        wrong = None
        if isinstance(body, kinds.EscalationStarted | kinds.EscalationStepped) and entry.actor == _NODE:
            wrong = _untimely(entry, body, state, at_us)
        elif isinstance(body, kinds.EscalationEnded) and entry.actor != ACTOR:
            wrong = "the end of an escalation that no rule told"
        elif isinstance(body, kinds.PageQueued4) and body.cycle and entry.actor != ACTOR:
            wrong = "a page of an escalation that no step asked for"
        wrong = wrong or self._unsaid(body, state, at_us)
        self._last_us = at_us
        return wrong

    def _unsaid(self, body: Any, state: State, at_us: int) -> str | None:
        """Attack: the step that would have woken somebody is left out, and the record reads as if it were not due."""
        if isinstance(body, kinds.NodeStarted):
            self._seen.clear()
        if not state.escalation or state.mode != "live" or at_us < self._looked_us + _SECOND_US:
            return None
        passed_us = min(at_us - self._looked_us, _SEEN_US)
        self._looked_us = at_us
        late = due.late(state, self._last_us)
        standing = {(each.incident, *_place(state, each.incident)): each for each in late}
        self._seen = {place: self._seen.get(place, 0) + passed_us for place in standing}
        slack_us = _SLACK_US + len(late) * _SECOND_US // _STEPS_A_SECOND
        found = next((place for place, seen_us in self._seen.items() if seen_us > slack_us), None)
        if found is None:
            return None
        self._seen[found] = -(2**53)  # said once
        return f"the step after {found[2]}.{found[3]} of incident {found[0]} was due, and no entry takes it"


def _place(state: State, number: int) -> tuple[int, int, int]:
    row = state.escalation[number]
    return row.cycle, row.step, row.round


def _untimely(
    entry: Entry[Any], body: kinds.EscalationStarted | kinds.EscalationStepped, state: State, at_us: int
) -> str | None:
    row = state.escalation.get(body.incident)
    if row is None:
        return f"incident {body.incident} has no escalation that could go on"
    try:
        next_due = due.next_due(state, body.incident, row)
        if next_due is None or next_due.at_us > at_us or next_due.again != isinstance(body, kinds.EscalationStarted):
            return f"nothing of the kind was due of incident {body.incident} by then"
        cause = state.incident[body.incident].opened
        if next_due.again:
            expected = stepping.start(state, body.incident, next_due.why, cause, actor=_NODE)
        else:
            expected = stepping.step(state, body.incident, next_due.why, at_us, cause, actor=_NODE)
    except (FailwellError, LookupError) as error:
        return f"what was due cannot be told: {error}"
    return None if _same(entry, expected) else "it is not the step that the path and the record ask for"


def _same(entry: Entry[Any], expected: Draft) -> bool:
    return (
        entry.body == expected.body
        and (entry.actor, entry.agent, entry.run) == (expected.actor, expected.agent, expected.run)
        and tuple(ref.seq for ref in entry.refs) == expected.refs
        and entry.blob is None
    )
