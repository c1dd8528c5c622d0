"""What people order about release: propose, approve, give authority back alone in an emergency, review that (R23).

Two persons give back: neither suspended the agent, the second one did not propose it either, and changed nothing that
binds the agent since. Both stand for the same: a proposal names what it is for, and is void once that stands
otherwise. One alone may for a while; everybody who operates is told, and another person has to look at it.
"""

from __future__ import annotations

from failwell.core import kinds, rows
from failwell.core.errors import NotFound, Refused
from failwell.core.incidents import binding, conditions, probation
from failwell.core.instants import format_at
from failwell.core.machines import AUTHORITY, step
from failwell.core.orders import MINUTE_US, SignedOrder, order_digest, parse_order
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit, need_role
from failwell.response.said import MakeJob, Said

# ---- by two persons ------------------------------------------------------------------------------------------


def propose_release(signed: SignedOrder, verify: VerifyOrder, user: str | None = None) -> Job[int]:
    """One person proposes to give authority back, citing evidence; refused while containment lacks a mark.

    `user`: whose process of the operating system brought the order, where that is known.
    """

    def job(turn: Turn) -> Plan[int]:
        state = turn.state
        details = parse_order(signed.order).details
        row = _incident(turn, details.incident, details.agent)
        order, draft = admit(turn, signed, verify, wanted="release.propose", agent=row.agent, source="node")
        conditions.releasable(state, details.incident, details.authority, turn.now_us)
        beyond = [seq for seq in details.evidence if seq >= turn.seq]
        if beyond:
            raise Refused(f"there is no entry {beyond[0]} to cite as evidence")
        body = kinds.ReleaseProposed2(
            incident=details.incident, person=order.person, digest=order_digest(order), conditions=details.conditions,
            authority=details.authority, probation_us=conditions.lasts_us(details, row.severity),
            bound=binding.bound(state, details.incident), notified=binding.notified(state, row) or "", user=user,
        )  # fmt: skip
        proposed = Draft(body=body, actor=draft.actor, agent=row.agent, refs=(turn.seq, *details.evidence))
        return Plan((draft, proposed), lambda entries: entries[1].seq)

    return job


def approve_release(signed: SignedOrder, verify: VerifyOrder, user: str | None = None) -> Job[int]:
    """A second person approves what stands proposed, for as long as case and agent stand as they did then."""

    def job(turn: Turn) -> Plan[int]:
        state = turn.state
        details = parse_order(signed.order).details
        row = _incident(turn, details.incident, details.agent)
        order, draft = admit(turn, signed, verify, wanted="release.approve", agent=row.agent, source="node")
        need_role(turn, order.person, "approver", "approving a release")
        release = conditions.approvable(state, details.incident, order.person, details.proposal, turn.now_us)
        agent = state.agent[row.agent]
        until_us = None if release.probation_us is None else turn.now_us + release.probation_us
        approved = kinds.ReleaseApproved2(
            incident=details.incident, person=order.person, digest=details.proposal, authority=release.authority,
            until_us=until_us, user=user, separated=conditions.separated(release.user, user),
        )  # fmt: skip
        changed = kinds.AuthorityChanged(
            was=agent.authority, now=step(AUTHORITY, agent.authority, release.authority), epoch=agent.epoch + 1,
            why=f"release of incident {details.incident}", incident=details.incident, by=f"person:{order.person}",
        )  # fmt: skip
        bodies = (approved, changed)
        drafts = (Draft(body=body, actor=draft.actor, agent=row.agent, refs=(turn.seq,)) for body in bodies)
        return Plan((draft, *drafts), lambda entries: entries[1].seq)

    return job


# ---- by one alone --------------------------------------------------------------------------------------------


def break_release(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """Break-glass: one person who did not suspend the agent gives it back for some minutes, once a case.

    Nothing is waited for but the lock on the record, and an authority that has to hear of it first.
    """

    def job(turn: Turn) -> Plan[int]:
        state = turn.state
        details = parse_order(signed.order).details
        row = _incident(turn, details.incident, details.agent)
        order, draft = admit(turn, signed, verify, wanted="release.break", agent=row.agent, source="node")
        conditions.breakable(state, details.incident, order.person)
        agent = state.agent[row.agent]
        broken = kinds.ReleaseBroken(
            incident=details.incident, person=order.person, why=details.reason,
            until_us=turn.now_us + details.minutes * MINUTE_US,
        )  # fmt: skip
        changed = kinds.AuthorityChanged(
            was=agent.authority, now=step(AUTHORITY, agent.authority, "PROBATION"), epoch=agent.epoch + 1,
            why=f"given back by {order.person} alone for {details.minutes} minutes", incident=details.incident,
            by=f"person:{order.person}",
        )  # fmt: skip
        bodies = (broken, changed)
        drafts = (Draft(body=body, actor=draft.actor, agent=row.agent, refs=(turn.seq,)) for body in bodies)
        return Plan((draft, *drafts), lambda entries: entries[1].seq)

    return job


def review_release(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """Another person's answer: upheld it goes on as a PROBATION by two, not upheld it is suspended again at once."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = _incident(turn, details.incident, None)
        order, draft = admit(turn, signed, verify, wanted="release.review", agent=row.agent, source="node")
        need_role(turn, order.person, "approver", "reviewing a release")
        conditions.reviewable(
            turn.state, details.incident, order.person, details.broken, turn.now_us, upheld=details.upheld
        )  # fmt: skip
        body = kinds.ReleaseReviewed(
            incident=details.incident, broken=details.broken, person=order.person, upheld=details.upheld,
            words=details.words,
        )  # fmt: skip
        secret = said.secret(details.words)
        reviewed = Draft(body=body, actor=draft.actor, agent=row.agent, refs=(turn.seq, details.broken), secret=secret)
        return Plan((draft, reviewed), lambda entries: entries[1].seq)

    return job


def end_broken(turn: Turn) -> Plan[tuple[str, ...]]:
    """The job that ends what one person alone gave back, once its time is over; answers whose. A rule does the rest."""
    ended = [(name, row.probation) for name, row in turn.state.agent.items() if probation.over(row, turn.now_us)]
    drafts = tuple(
        Draft(
            body=kinds.ReleaseOver(
                incident=given.incident, broken=given.broken,
                why=f"what one person alone gave back ended at {format_at(given.until_us)}",
            ),
            actor="node", agent=name, refs=(given.broken,),
        )
        for name, given in ended
        if given is not None and given.broken is not None
    )  # fmt: skip
    return Plan(drafts, lambda entries: tuple(name for name, _ in ended))


def _incident(turn: Turn, number: int, named: str | None) -> rows.Incident:
    """The incident, if it is about the agent that is named (None: about any)."""
    row = turn.state.incident.get(number)
    if row is None:
        raise NotFound(f"there is no incident {number}", hint="failwell incident list shows those there are.")
    if row.agent not in turn.state.agent or (named is not None and turn.state.agent_named(named) != row.agent):
        raise Refused(f"the incident is about {row.agent or 'no agent yet'}, not {named}")
    return row


JOBS: dict[str, MakeJob] = {"release.break": break_release, "release.review": review_release}
