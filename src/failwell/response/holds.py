"""What people order about holds and authorities: place, lift by two, mark as serious, say who was informed.

Placing a hold and calling an incident serious restrict: one enrolled person is enough, and neither waits. A hold is let
go of by two persons with two keys, once the incident that it was placed for is over. Whose informing it was stands on
record by their word: nobody here asks the authority.
"""

from __future__ import annotations

from failwell.core import kinds, rows
from failwell.core.errors import NotFound, Refused
from failwell.core.incidents import apart
from failwell.core.incidents.endings import is_over, told_in
from failwell.core.incidents.locking import need_told
from failwell.core.instants import parse_at
from failwell.core.orders import SignedOrder, order_digest, parse_order
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit, need_role
from failwell.response.said import MakeJob, Said

#: How far ahead of ledger time somebody may say that an authority was informed: clocks differ, promises do not count.
AHEAD_US = 5 * 60_000_000


def place(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """A person locks the record of an agent, or all of it. Answers the entry of the hold."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        agent = _agent(turn, details.agent)
        if details.incident is not None:
            _incident(turn, details.incident)
        _, draft = admit(turn, signed, verify, wanted="hold.place", agent=agent, source="node")
        body = kinds.HoldPlaced(
            hold=turn.state.holds + 1, incident=details.incident, first=0, last=turn.seq, why=details.reason
        )
        placed = Draft(body=body, actor=draft.actor, agent=agent, refs=(turn.seq,))
        return Plan((draft, placed), lambda entries: entries[1].seq)

    return job


def propose_lift(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """One person proposes to let go of a hold; refused while its incident is not over."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = _liftable(turn, details.hold)
        order, draft = admit(turn, signed, verify, wanted="hold.propose", agent=row.agent or None, source="node")
        body = kinds.HoldProposed(
            hold=details.hold, person=order.person, digest=order_digest(order), why=details.reason
        )
        proposed = Draft(body=body, actor=draft.actor, agent=row.agent or None, refs=(turn.seq,))
        return Plan((draft, proposed), lambda entries: entries[1].seq)

    return job


def lift(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """A second person, with another key, agrees; refused while an authority has to hear of something first."""

    def job(turn: Turn) -> Plan[int]:
        people = turn.state.person
        details = parse_order(signed.order).details
        row = _liftable(turn, details.hold)
        order, draft = admit(turn, signed, verify, wanted="hold.lift", agent=row.agent or None, source="node")
        need_role(turn, order.person, "approver", "lifting a hold")
        if row.proposal is None or row.proposed_by is None or row.proposal != details.proposal:
            raise Refused("this is not the lift that stands proposed", hint=f"failwell hold show {details.hold}")
        if people[row.proposed_by].left is not None:
            raise Refused(f"{row.proposed_by}, who proposed this, has left", hint="Another person proposes it.")
        if order.person == row.proposed_by or people[order.person].key == people[row.proposed_by].key:
            raise Refused(f"{order.person} proposed to lift this hold: another person lifts it")
        if apart.one(turn.state, order.person, row.proposed_by, apart.since_hold(turn.state, row)):
            raise Refused(
                f"{order.person} is not shown to be another than {row.proposed_by}, who proposed to lift this hold",
                hint="Another person lifts it, who was enrolled before the incident or by somebody else.",
            )
        need_told(turn.state, (row.agent,) if row.agent else None, "lifting this hold")
        body = kinds.HoldLifted(hold=details.hold, person=order.person, digest=details.proposal)
        lifted = Draft(body=body, actor=draft.actor, agent=row.agent or None, refs=(turn.seq,))
        return Plan((draft, lifted), lambda entries: entries[1].seq)

    return job


def mark_serious(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """A person's mark with legal consequence. Who may suspend may set it; to take it back takes two (`cases`)."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = _incident(turn, details.incident)
        if row.serious is not None:
            raise Refused(
                f"incident {details.incident} is marked as serious already (entry {row.serious})", code="repeated"
            )
        _, draft = admit(turn, signed, verify, wanted="incident.serious", agent=row.agent or None, source="node")
        body = kinds.IncidentChanged(
            incident=details.incident, what="serious", was="no", now="yes", why=details.reason, proposal=None
        )
        marked = Draft(body=body, actor=draft.actor, agent=row.agent or None, refs=(turn.seq, row.opened))
        return Plan((draft, marked), lambda entries: entries[1].seq)

    return job


def inform(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """The agent's owner or an operator says which authority was informed, and when: not before it was detected."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = _incident(turn, details.incident)
        order, draft = admit(turn, signed, verify, wanted="incident.inform", agent=row.agent or None, source="node")
        _may_inform(turn, order.person, row)
        if row.serious is None:
            raise Refused(
                f"incident {details.incident} is not marked as serious: no authority has to hear of it",
                hint=f'failwell incident serious {details.incident} "..."',
            )
        if not row.opened_us <= parse_at(details.at) <= turn.now_us + AHEAD_US:
            # Attack: a report of last year, or one that is yet to be written, opens the lock.
            raise Refused(f"{details.at} is before the incident was detected, or still to come")
        body = kinds.AuthorityInformed(
            incident=details.incident, authority=details.authority, person=order.person, informed_at=details.at,
            complete=details.complete, words=details.words,
        )  # fmt: skip
        informed = Draft(
            body=body, actor=draft.actor, agent=row.agent or None, refs=(turn.seq, row.serious),
            secret=said.secret(details.words),
        )  # fmt: skip
        return Plan((draft, informed), lambda entries: entries[1].seq)

    return job


def _may_inform(turn: Turn, person: str, row: rows.Incident) -> None:
    """Whoever says it opens a lock for others: that is for who answers for the agent, or for the whole."""
    agent = turn.state.agent.get(row.agent)
    if agent is not None and person == turn.state.reachable(agent.owner):
        return
    need_role(turn, person, "operator", "saying that an authority was informed")


def _liftable(turn: Turn, number: int) -> rows.Hold:
    """The hold, if it stands and the incident that it was placed for is over."""
    row = turn.state.hold.get(number)
    if row is None:
        raise NotFound(f"there is no hold {number}", hint="failwell hold list shows those there are.")
    if row.lifted is not None:
        raise Refused(f"hold {number} was lifted already (entry {row.lifted})", code="repeated")
    if row.incident is not None and not is_over(turn.state, row.incident):
        told = told_in(turn.state, row.incident)
        raise Refused(
            f"hold {number} was placed for incident {row.incident}, which is not over: what it locks is its evidence",
            hint=f"failwell incident show {told}",
        )
    return row


def _incident(turn: Turn, number: int) -> rows.Incident:
    row = turn.state.incident.get(number)
    if row is None:
        raise NotFound(f"there is no incident {number}", hint="failwell incident list shows those there are.")
    return row


def _agent(turn: Turn, named: str | None) -> str | None:
    agent = None if named is None else turn.state.agent_named(named)
    if named is not None and agent is None:
        raise NotFound(f"no agent {named} is registered here", hint="failwell agent list")
    return agent


JOBS: dict[str, MakeJob] = {
    "hold.place": place,
    "hold.propose": propose_lift,
    "hold.lift": lift,
    "incident.serious": mark_serious,
    "incident.inform": inform,
}
