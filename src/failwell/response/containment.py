"""From the executor back into the record: what was attempted, what is confirmed, what is not (R6, D28).

An order to stop is not a stop. `ended_by_order` writes the attempt, its proof (or that there is none) and the outcome
as separate entries in one commit.
"""

from __future__ import annotations

from collections.abc import Callable

from failwell.core import kinds, rows
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ports.executor import Ended

CONFIRMED = ("interrupted_confirmed", "completed_after_interrupt", "blocked")
#: The tool ended by itself, and nothing of it was left, while the order was on its way: stopped is stopped.
OVERTAKEN = ("completed", "failed")


def ended_by_order(ended: Ended, method: str, outcome: Callable[[Turn], Draft]) -> Job[int | None]:
    """The job that records how an interrupted action ended; `outcome` drafts its outcome, unless it has one."""

    def job(turn: Turn) -> Plan[int | None]:
        action = turn.state.action.get(ended.action)
        known = action or _settled(turn, ended.action)
        agent = None if known is None else known.agent
        run = None if known is None else known.run
        attempted = kinds.InterruptAttempted(action=ended.action, method=method)
        proof: kinds.InterruptConfirmed | kinds.InterruptUnconfirmed
        if ended.state in CONFIRMED or ended.state in OVERTAKEN:
            proof = kinds.InterruptConfirmed(
                action=ended.action, processes=ended.swept, ended_mono_us=ended.ended_us, proven_by=ended.proven_by,
                state=ended.state if ended.state in CONFIRMED else "completed_after_interrupt",
            )  # fmt: skip
        else:
            proof = kinds.InterruptUnconfirmed(action=ended.action, why=ended.why or ended.state)
        drafts = [
            Draft(body=attempted, actor="node", agent=agent, run=run, refs=(ended.action,)),
            Draft(body=proof, actor="supervisor", agent=agent, run=run, refs=(ended.action,)),
        ]
        if action is not None:
            drafts.append(outcome(turn))
        return Plan(tuple(drafts), lambda entries: entries[-1].seq)

    return job


def _settled(turn: Turn, action: int) -> rows.Action | None:
    """The row of an action that has its outcome already."""
    stored = turn.stored_row("action", action)
    return None if stored is None else rows.decode_row("action", stored)


def confirmed_later(
    action: int, proven_by: str, ended_us: int, state: str = "interrupted_confirmed"
) -> Job[bool]:  # fmt: skip
    """The job that records what nobody could confirm when it was stopped, and somebody has shown since.

    The action keeps its outcome: that is what was known of it then. Whoever asks for it does so once an action.
    """

    def job(turn: Turn) -> Plan[bool]:
        row = _settled(turn, action)
        if row is None or row.state == "open":
            return Plan((), lambda _: False)
        proof = kinds.InterruptConfirmed(
            action=action, processes=0, ended_mono_us=ended_us, proven_by=proven_by, state=state
        )
        draft = Draft(body=proof, actor="node", agent=row.agent, run=row.run, refs=(action,))
        return Plan((draft,), lambda _: True)

    return job
