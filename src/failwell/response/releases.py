"""What people order about release: propose, approve, give authority back alone in an emergency, review that (R23).

Two persons give back: neither suspended the agent, the second one did not propose it either, and changed nothing that
binds the agent since. Both stand for the same: a proposal names what it is for, and is void once that stands
otherwise. One alone may for a while; everybody who operates is told, and another person has to look at it.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, rows
from failwell.core.errors import NotFound, Refused
from failwell.core.incidents import apart, binding, probation
from failwell.core.incidents.locking import need_told
from failwell.core.instants import format_at
from failwell.core.machines import AUTHORITY, step
from failwell.core.orders import MINUTE_US, Order, ReleasePropose, SignedOrder, order_digest, parse_order
from failwell.core.records import Draft
from failwell.core.state import State
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit, need_role
from failwell.response.said import MakeJob, Said

YES, NO, UNKNOWN = "yes", "no", "unknown"


# ---- by two persons ------------------------------------------------------------------------------------------


def propose_release(signed: SignedOrder, verify: VerifyOrder, user: str | None = None) -> Job[int]:
    """One person proposes to give authority back, citing evidence; refused while containment lacks a mark.

    `user`: whose process of the operating system brought the order, where that is known.
    """

    def job(turn: Turn) -> Plan[int]:
        state = turn.state
        details = parse_order(signed.order).details
        row = _incident(turn, details.incident)
        order, draft = admit(turn, signed, verify, wanted="release.propose", agent=row.agent, source="node")
        _of_its_agent(state, row, details.agent)
        _releasable(turn, details.incident, details.authority)
        beyond = [seq for seq in details.evidence if seq >= turn.seq]
        if beyond:
            raise Refused(f"there is no entry {beyond[0]} to cite as evidence")
        body = kinds.ReleaseProposed2(
            incident=details.incident, person=order.person, digest=order_digest(order), conditions=details.conditions,
            authority=details.authority, probation_us=probation_us(details, row.severity),
            bound=binding.bound(state, details.incident), notified=binding.notified(state, row) or "", user=user,
        )  # fmt: skip
        proposed = Draft(body=body, actor=draft.actor, agent=row.agent, refs=(turn.seq, *details.evidence))
        return Plan((draft, proposed), lambda entries: entries[1].seq)

    return job


def probation_us(details: ReleasePropose, severity: str) -> int | None:
    """How long the PROBATION that a proposal asks for lasts at least; None where it asks for more than that."""
    if details.authority != "PROBATION":
        return None
    return details.probation_minutes * MINUTE_US or probation.LASTS_US[severity]


def approve_release(signed: SignedOrder, verify: VerifyOrder, user: str | None = None) -> Job[int]:
    """A second person approves what stands proposed, for as long as case and agent stand as they did then."""

    def job(turn: Turn) -> Plan[int]:
        state = turn.state
        details = parse_order(signed.order).details
        row = _incident(turn, details.incident)
        order, draft = admit(turn, signed, verify, wanted="release.approve", agent=row.agent, source="node")
        need_role(turn, order.person, "approver", "approving a release")
        _of_its_agent(state, row, details.agent)
        if state.agent[row.agent].authority == "SUSPENDED":
            _suspended_for(state, details.incident)
        release, proposer = _proposed(turn, details.incident, details.proposal)
        _releasable(turn, details.incident, release.authority)
        _second(state, details.incident, order.person, proposer)
        need_told(state, (row.agent,), "this release")
        agent = state.agent[row.agent]
        until_us = None if release.probation_us is None else turn.now_us + release.probation_us
        approved = kinds.ReleaseApproved2(
            incident=details.incident, person=order.person, digest=details.proposal, authority=release.authority,
            until_us=until_us, user=user, separated=separated(release.user, user),
        )  # fmt: skip
        changed = kinds.AuthorityChanged(
            was=agent.authority, now=step(AUTHORITY, agent.authority, release.authority), epoch=agent.epoch + 1,
            why=f"release of incident {details.incident}", incident=details.incident, by=f"person:{order.person}",
        )  # fmt: skip
        bodies = (approved, changed)
        drafts = (Draft(body=body, actor=draft.actor, agent=row.agent, refs=(turn.seq,)) for body in bodies)
        return Plan((draft, *drafts), lambda entries: entries[1].seq)

    return job


def separated(first: str | None, second: str | None) -> str:
    """Whether two orders came from two users of the operating system. From one they may be of one person."""
    if first is None or second is None:
        return UNKNOWN
    return NO if first == second else YES


def _proposed(turn: Turn, number: int, proposal: str) -> tuple[rows.Release, str]:
    """The release that stands proposed and who proposed it; Refused where it is not this one, or not any more."""
    row = turn.state.incident[number]
    if row.proposal is None or row.proposed_by is None or row.proposal != proposal:
        raise Refused("this is not the release that stands proposed", hint=f"failwell incident show {number}")
    if turn.state.person[row.proposed_by].left is not None:
        raise Refused(f"{row.proposed_by}, who proposed this release, has left", hint="Another person proposes it.")
    if row.release is None or row.release.bound != binding.bound(turn.state, number):
        raise Refused(
            "the case or what binds its agent stands otherwise than when this release was proposed",
            hint=f"failwell incident show {number} tells how. Propose it again: failwell agent release propose",
            code="stale",
        )
    return row.release, row.proposed_by


def _second(state: State, number: int, person: str, by: str) -> None:
    why = apart.kept_from(state, number, person, by, what="approves it")
    if why is not None:
        raise Refused(why, hint="failwell person list tells who there is.", code="not-apart")


# ---- by one alone --------------------------------------------------------------------------------------------


def break_release(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """Break-glass: one person who did not suspend the agent gives it back for some minutes, once a case.

    Nothing is waited for but the lock on the record, and an authority that has to hear of it first.
    """

    def job(turn: Turn) -> Plan[int]:
        state = turn.state
        details = parse_order(signed.order).details
        row = _incident(turn, details.incident)
        order, draft = admit(turn, signed, verify, wanted="release.break", agent=row.agent, source="node")
        _may_break(state, details.incident, order)
        _of_its_agent(state, row, details.agent)
        _suspended_for(state, details.incident)
        _owned(state, row.agent)
        if "HELD" not in row.marks:
            raise Refused("its record is not locked yet", hint=f"failwell hold place --incident {details.incident}")
        need_told(state, (row.agent,), "this release")
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


def _may_break(state: State, number: int, order: Order[Any]) -> None:
    row, roles = state.incident[number], state.person[order.person].roles
    if not {"approver", "operator"} & set(roles):
        raise Refused(f"giving back alone takes an approver or an operator; {order.person} is neither")
    why = apart.kept_from(state, number, order.person, None, what="gives it back")
    if why is not None:
        raise Refused(why, code="not-apart")
    # Attack: whenever its time is over one person breaks the glass again, and two are never asked.
    if row.broken is not None:
        raise Refused(
            f"it was given back by one person alone before (entry {row.broken}), and nobody has reviewed that",
            hint="failwell agent release review AGENT --uphold|--reject --as ANOTHER",
        )
    if order.person in row.broken_by:
        raise Refused(f"{order.person} gave it back alone in this case before: now it takes two persons")


def review_release(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """Another person's answer: upheld it goes on as a PROBATION by two, not upheld it is suspended again at once."""

    def job(turn: Turn) -> Plan[int]:
        state = turn.state
        details = parse_order(signed.order).details
        row = _incident(turn, details.incident)
        order, draft = admit(turn, signed, verify, wanted="release.review", agent=row.agent, source="node")
        need_role(turn, order.person, "approver", "reviewing a release")
        if row.broken is None or row.broken != details.broken:
            raise Refused("no release by one person alone is owed this review", hint="failwell incident list")
        _second(state, details.incident, order.person, row.broken_by[-1])
        given = state.agent[row.agent].probation
        if details.upheld and given is not None and given.broken == row.broken:
            if probation.over(state.agent[row.agent], turn.now_us):
                raise Refused("its time is over: it is suspended again", hint="Two persons release it.")
            _contained(state, row)
            need_told(state, (row.agent,), "to uphold this release")
        body = kinds.ReleaseReviewed(
            incident=details.incident, broken=details.broken, person=order.person, upheld=details.upheld,
            words=details.words,
        )  # fmt: skip
        secret = said.secret(details.words)
        reviewed = Draft(body=body, actor=draft.actor, agent=row.agent, refs=(turn.seq, row.broken), secret=secret)
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


# ---- what has to be so ---------------------------------------------------------------------------------------


def _incident(turn: Turn, number: int) -> rows.Incident:
    row = turn.state.incident.get(number)
    if row is None:
        raise NotFound(f"there is no incident {number}", hint="failwell incident list shows those there are.")
    return row


def _of_its_agent(state: State, row: rows.Incident, named: str) -> None:
    if state.agent_named(named) != row.agent or row.agent not in state.agent:
        raise Refused(f"the incident is about {row.agent or 'no agent yet'}, not {named}")


def _releasable(turn: Turn, number: int, authority: str) -> None:
    """Whether the incident's agent may be given back to that authority: Refused says what it lacks."""
    state, row = turn.state, turn.state.incident[number]
    agent = state.agent[row.agent]
    if authority == "PROBATION":
        _suspended_for(state, number)
        _owned(state, row.agent)
        _contained(state, row)
    elif authority == "ACTIVE" and agent.authority in ("PROBATION", "RESTRICTED"):
        _answered(state, number)
        _owned(state, row.agent)
        _served(turn, agent)
    elif agent.authority == "SUSPENDED":
        raise Refused("a suspended agent is released into PROBATION", hint="Leave out --authority.")
    else:
        raise Refused(
            f"{row.agent} is {agent.authority}, not suspended: there is nothing to give back as {authority}",
            hint="Out of PROBATION or RESTRICTED: --authority ACTIVE",
        )


def _suspended_for(state: State, number: int) -> None:
    name = state.incident[number].agent
    if state.agent[name].authority != "SUSPENDED":
        raise Refused(f"{name} is not suspended")
    # Attack: an incident that was released before has all its marks and a proposal that still stands; cited again, it
    # would undo the next suspension without anybody having taken that case, and by one person alone.
    current = state.agent[name].incident
    if current != number:
        raise Refused(
            f"{name} is suspended for incident {current}, not {number}", hint=f"failwell incident show {current}"
        )


def _owned(state: State, name: str) -> None:
    owner = state.person.get(state.agent[name].owner)
    if owner is not None and owner.left is not None:
        short, who = state.agent[name].name, state.agent[name].owner
        raise Refused(
            f"{who}, who owned {name}, has left: nobody would answer for it",
            hint=f"failwell agent assign {short} --owner PERSON --as OPERATOR",
        )


def _contained(state: State, row: rows.Incident) -> None:
    missing = binding.lacking(state, row)
    if missing:
        raise Refused(
            f"containment is not complete: {', '.join(missing)}",
            hint="failwell incident show tells what is open; an incident is taken with: failwell incident acknowledge",
        )


def _answered(state: State, number: int) -> None:
    """Whether the case is the one to be named for giving back in full, and somebody took it."""
    row = state.incident[number]
    agent = state.agent[row.agent]
    given = None if agent.probation is None else agent.probation.incident
    current = agent.incident if agent.incident is not None else given
    if current is None:
        raise Refused(
            f"{row.agent} is {agent.authority} for no incident",
            hint=f"Its owner signs a contract that another person adopts: failwell agent show {agent.name}",
        )
    if current != number:
        raise Refused(
            f"{row.agent} is {agent.authority} for incident {current}, not {number}",
            hint=f"failwell incident show {current}",
        )
    missing = [mark for mark in binding.NEEDED_TO_ACT_IN_FULL if mark not in row.marks]
    if missing or row.waiting:
        what = ", ".join(missing) or f"{len(row.waiting)} actions have not ended"
        raise Refused(f"the case is not answered: {what}", hint=f"failwell incident show {number}")


def _served(turn: Turn, agent: rows.Agent) -> None:
    """Whether a probation, where the agent has one, is over without anything noticed since."""
    given = agent.probation
    if given is None:
        return
    if given.broken is not None:
        raise Refused(
            "one person alone gave it back: that is reviewed before anything more is given",
            hint=f"failwell agent release review {agent.name} --uphold|--reject --as ANOTHER",
        )
    if agent.authority == "PROBATION" and agent.incident is not None:
        raise Refused(
            f"incident {agent.incident} was noticed in its probation, and is open",
            hint=f"failwell incident show {agent.incident}",
        )
    if turn.now_us < given.until_us:
        raise Refused(
            f"its probation lasts until {format_at(given.until_us)} at least",
            hint="It counts from the last signal that was answered.",
        )


JOBS: dict[str, MakeJob] = {"release.break": break_release, "release.review": review_release}
