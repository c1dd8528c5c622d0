"""What people order about a failing agent at once: stop it, take the case (R10). How it is given back: `releases`.

Suspending restricts, so it takes one person and never waits; the reactions in `core.react` do the rest in the same
commit.
"""

from __future__ import annotations

from failwell.core import kinds
from failwell.core.errors import NotFound
from failwell.core.orders import SignedOrder, parse_order
from failwell.core.records import Draft
from failwell.core.rows import Incident
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit


def suspend(signed: SignedOrder, verify: VerifyOrder, *, source: str) -> Job[int]:
    """A person stops an agent. Answers the order's entry number; repeated for a suspended agent it changes nothing."""

    def job(turn: Turn) -> Plan[int]:
        named = parse_order(signed.order).details.agent
        agent = turn.state.agent_named(named)
        if agent is None:
            raise NotFound(f"no agent {named} is registered here", hint="failwell agent list")
        _, draft = admit(turn, signed, verify, wanted="agent.suspend", agent=agent, source=source)
        return Plan((draft,), lambda entries: entries[0].seq)

    return job


def acknowledge(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """A named person takes an incident."""

    def job(turn: Turn) -> Plan[int]:
        number = parse_order(signed.order).details.incident
        row = _incident(turn, number)
        agent = row.agent or None  # of what was reported, nobody may know yet which agent it was
        order, draft = admit(turn, signed, verify, wanted="incident.acknowledge", agent=agent, source="node")
        body = kinds.Acknowledged(incident=number, person=order.person)
        drafts = [draft, Draft(body=body, actor=draft.actor, agent=agent, refs=(turn.seq, row.opened))]
        if row.state in ("OPEN", "REOPENED"):
            triaged = kinds.IncidentUpdated(
                incident=number,
                state="TRIAGED",
                severity=row.severity,
                signal=None,
                note=f"taken by {order.person}",
            )
            drafts.append(Draft(body=triaged, actor=draft.actor, agent=agent, refs=(turn.seq,)))
        return Plan(tuple(drafts), lambda entries: entries[1].seq)

    return job


def _incident(turn: Turn, number: int) -> Incident:
    row = turn.state.incident.get(number)
    if row is None:
        raise NotFound(f"there is no incident {number}", hint="failwell incident list shows those there are.")
    return row
