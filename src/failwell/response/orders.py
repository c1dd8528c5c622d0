"""What people order about a failing agent: stop it, take the case, give authority back (R10, R23).

Suspending restricts, so it takes one person and never waits; the reactions in `core.react` do the rest in the same
commit. Release permits, so it takes two persons, neither of whom may be the one who suspended.
"""

from __future__ import annotations

from failwell.core import kinds
from failwell.core.errors import NotFound, Refused
from failwell.core.machines import AUTHORITY, missing_for_release, step
from failwell.core.orders import SignedOrder, order_digest, parse_order
from failwell.core.records import Draft
from failwell.core.rows import Incident
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit, need_role


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
        order, draft = admit(turn, signed, verify, wanted="incident.acknowledge", agent=row.agent, source="node")
        body = kinds.Acknowledged(incident=number, person=order.person)
        drafts = [draft, Draft(body=body, actor=draft.actor, agent=row.agent, refs=(turn.seq, row.opened))]
        if row.state == "OPEN":
            triaged = kinds.IncidentUpdated(
                incident=number,
                state="TRIAGED",
                severity=row.severity,
                signal=None,
                note=f"taken by {order.person}",
            )
            drafts.append(Draft(body=triaged, actor=draft.actor, agent=row.agent, refs=(turn.seq,)))
        return Plan(tuple(drafts), lambda entries: entries[1].seq)

    return job


def propose_release(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """One person proposes to give authority back, citing evidence; refused while containment lacks a mark."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = _incident(turn, details.incident)
        order, draft = admit(turn, signed, verify, wanted="release.propose", agent=row.agent, source="node")
        _releasable(turn, details.incident, row, details.agent)
        beyond = [seq for seq in details.evidence if seq >= turn.seq]
        if beyond:
            raise Refused(f"there is no entry {beyond[0]} to cite as evidence")
        if details.authority != "PROBATION":
            raise Refused("a suspended agent is released into PROBATION", hint="Leave out --authority.")
        body = kinds.ReleaseProposed(
            incident=details.incident,
            person=order.person,
            digest=order_digest(order),
            conditions=details.conditions,
        )
        proposed = Draft(body=body, actor=draft.actor, agent=row.agent, refs=(turn.seq, *details.evidence))
        return Plan((draft, proposed), lambda entries: entries[1].seq)

    return job


def approve_release(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """A second person approves: not the proposer, not the one who suspended, and with another key."""

    def job(turn: Turn) -> Plan[int]:
        state = turn.state
        details = parse_order(signed.order).details
        row = _incident(turn, details.incident)
        order, draft = admit(turn, signed, verify, wanted="release.approve", agent=row.agent, source="node")
        need_role(turn, order.person, "approver", "approving a release")
        agent = _releasable(turn, details.incident, row, details.agent)
        if row.proposal is None or row.proposed_by is None or row.proposal != details.proposal:
            raise Refused("this is not the release that stands proposed", hint="failwell incident show")
        if state.person[row.proposed_by].left is not None:
            raise Refused(f"{row.proposed_by}, who proposed this release, has left", hint="Another person proposes it.")
        if order.person == row.proposed_by or state.person[order.person].key == state.person[row.proposed_by].key:
            raise Refused(f"{order.person} proposed this release: another person approves it")
        if f"person:{order.person}" in row.stopped_by:
            raise Refused(f"{order.person} suspended this agent: another person approves its release")
        was = state.agent[agent].authority
        approved = kinds.ReleaseApproved(
            incident=details.incident, person=order.person, digest=details.proposal, authority="PROBATION"
        )
        changed = kinds.AuthorityChanged(
            was=was, now=step(AUTHORITY, was, "PROBATION"), epoch=state.agent[agent].epoch + 1,
            why=f"release of incident {details.incident}", incident=details.incident, by=f"person:{order.person}",
        )  # fmt: skip
        drafts = (
            draft,
            Draft(body=approved, actor=draft.actor, agent=agent, refs=(turn.seq,)),
            Draft(body=changed, actor=draft.actor, agent=agent, refs=(turn.seq,)),
        )
        return Plan(drafts, lambda entries: entries[1].seq)

    return job


def _incident(turn: Turn, number: int) -> Incident:
    row = turn.state.incident.get(number)
    if row is None:
        raise NotFound(f"there is no incident {number}", hint="failwell incident list shows those there are.")
    return row


def _releasable(turn: Turn, number: int, row: Incident, agent: str) -> str:
    """The incident's agent, if it is the one named, suspended for this incident, and its containment complete."""
    if turn.state.agent_named(agent) != row.agent:
        raise Refused(f"the incident is about {row.agent}, not {agent}")
    if turn.state.agent[row.agent].authority != "SUSPENDED":
        raise Refused(f"{row.agent} is not suspended")
    # Attack: an incident that was released before has all its marks and a proposal that still stands; cited again, it
    # would undo the next suspension without anybody having taken that case, and by one person alone.
    current = turn.state.agent[row.agent].incident
    if current != number:
        raise Refused(
            f"{row.agent} is suspended for incident {current}, not {number}", hint=f"failwell incident show {current}"
        )
    owner = turn.state.agent[row.agent].owner
    if owner in turn.state.person and turn.state.person[owner].left is not None:
        raise Refused(
            f"{owner}, who owned {row.agent}, has left: nobody would answer for it",
            hint=f"failwell agent assign {turn.state.agent[row.agent].name} --owner PERSON --as OPERATOR",
        )
    missing = missing_for_release(row.marks)
    if missing:
        raise Refused(
            f"containment is not complete: {', '.join(missing)}",
            hint="failwell incident show tells what is open; an incident is taken with: failwell incident acknowledge",
        )
    return row.agent
