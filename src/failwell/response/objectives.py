"""What was agreed for incidents and did not happen in time is written down, and told to people, by the clock (R22)."""

from __future__ import annotations

from failwell.core.incidents import objectives, steps
from failwell.ledger.jobs import Plan, Turn

ACTOR = "node"
#: Objectives that one turn writes down; each is followed by letters. The next turn takes the rest.
AT_ONCE = 20


def miss_objectives(turn: Turn) -> Plan[int]:
    """Write down what was missed by now. Answers how much that was."""
    state = turn.state
    if state.mode != "live":
        return Plan((), lambda entries: 0)
    late = objectives.overdue(state, turn.now_us)[:AT_ONCE]
    drafts = tuple(
        steps.missed(due, state.incident[due.incident].agent or None, ACTOR, state.incident[due.incident].opened)
        for due in late
    )
    return Plan(drafts, len)
