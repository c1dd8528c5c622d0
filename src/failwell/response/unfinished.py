"""Containment that a failing store cut off: its fence is up and its tools stand still, so it is made durable (I8)."""

from __future__ import annotations

from failwell.core import kinds
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn


def contain_again(agent: str, lost: kinds.Signal) -> Job[None]:
    """The job that contains an agent whose containment was cut off by a failing store; nothing where it is contained.

    `lost` is the signal that was not written; what it was about was not written either, so it names the agent's last
    entry that was.
    """

    def job(turn: Turn) -> Plan[None]:
        row, head = turn.state.agent.get(agent), turn.state.head.get(agent)
        if row is None or head is None or row.authority in ("SUSPENDED", "RETIRED"):
            return Plan((), lambda entries: None)
        body = kinds.Signal(
            by=lost.by, signal=lost.signal, severity=lost.severity, about=head.last, count=lost.count,
            rule=f"{lost.rule}, after the store failed", response=lost.response, applied=True,
        )  # fmt: skip
        return Plan((Draft(body=body, actor="node", agent=agent, refs=(head.last,)),), lambda entries: None)

    return job
