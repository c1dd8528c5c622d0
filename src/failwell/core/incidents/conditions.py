"""What has to be so before authority is given back, by two persons or by one alone (R23).

The verdicts stand in one place: whoever carries out an order asks before anything is written, `ledger verify` asks
again of what was. Each raises Refused, with what is lacking and what to do about it.
"""

from __future__ import annotations

from failwell.core import rows
from failwell.core.errors import Refused
from failwell.core.incidents import apart, binding, probation
from failwell.core.incidents.locking import need_told
from failwell.core.instants import format_at
from failwell.core.orders import MINUTE_US, ReleasePropose
from failwell.core.projections import Projections

YES, NO, UNKNOWN = "yes", "no", "unknown"


def releasable(state: Projections, number: int, authority: str, now_us: int) -> None:
    """The agent of incident `number` may be given back to that authority at `now_us`."""
    row = state.incident[number]
    agent = state.agent[row.agent]
    if authority == "PROBATION":
        suspended_for(state, number)
        _owned(state, row.agent)
        _contained(state, row)
    elif authority == "ACTIVE" and agent.authority in ("PROBATION", "RESTRICTED"):
        _answered(state, number)
        _owned(state, row.agent)
        _served(agent, now_us)
    elif agent.authority == "SUSPENDED":
        raise Refused("a suspended agent is released into PROBATION", hint="Leave out --authority.")
    else:
        raise Refused(
            f"{row.agent} is {agent.authority}, not suspended: there is nothing to give back as {authority}",
            hint="Out of PROBATION or RESTRICTED: --authority ACTIVE",
        )


def approvable(state: Projections, number: int, person: str, proposal: str, now_us: int) -> rows.Release:
    """`person` may approve the release that stands proposed, which is the one of this digest, and stands as it did."""
    row = state.incident[number]
    if row.agent in state.agent and state.agent[row.agent].authority == "SUSPENDED":
        suspended_for(state, number)
    if row.proposal is None or row.proposed_by is None or row.proposal != proposal:
        raise Refused("this is not the release that stands proposed", hint=f"failwell incident show {number}")
    if state.person[row.proposed_by].left is not None:
        raise Refused(f"{row.proposed_by}, who proposed this release, has left", hint="Another person proposes it.")
    if row.release is None or row.release.bound != binding.bound(state, number):
        raise Refused(
            "the case or what binds its agent stands otherwise than when this release was proposed",
            hint=f"failwell incident show {number} tells how. Propose it again: failwell agent release propose",
        )
    releasable(state, number, row.release.authority, now_us)
    _second(state, number, person, row.proposed_by, "approves it")
    need_told(state, (row.agent,), "this release")
    return row.release


def breakable(state: Projections, number: int, person: str) -> None:
    """`person` alone may give the agent back for a while: once a case, while no earlier one is owed a review."""
    row, roles = state.incident[number], state.person[person].roles
    if not {"approver", "operator"} & set(roles):
        raise Refused(f"giving back alone takes an approver or an operator; {person} is neither")
    why = apart.kept_from(state, number, person, None, what="gives it back")
    if why is not None:
        raise Refused(why)
    # Attack: whenever its time is over one person breaks the glass again, and two are never asked.
    if row.broken is not None:
        raise Refused(
            f"it was given back by one person alone before (entry {row.broken}), and nobody has reviewed that",
            hint="failwell agent release review AGENT --uphold|--reject --as ANOTHER",
        )
    if any(apart.one(state, person, other, row.opened) for other in row.broken_by):
        # Attack: under a second name, enrolled since.
        raise Refused(f"{person} gave it back alone in this case before, or may have: now it takes two persons")
    suspended_for(state, number)
    _owned(state, row.agent)
    if "HELD" not in row.marks:
        raise Refused("its record is not locked yet", hint=f"failwell hold place --incident {number}")
    need_told(state, (row.agent,), "this release")


def reviewable(state: Projections, number: int, person: str, broken: int, now_us: int, *, upheld: bool) -> None:
    """`person` may review what another one alone gave back. To uphold it while it goes on is to approve it."""
    row = state.incident[number]
    if row.broken is None or row.broken != broken:
        raise Refused("no release by one person alone is owed this review", hint="failwell incident list")
    _second(state, number, person, row.broken_by[-1], "reviews it")
    agent = state.agent[row.agent]
    if upheld and agent.probation is not None and agent.probation.broken == broken:
        if probation.over(agent, now_us):
            raise Refused("its time is over: it is suspended again", hint="Two persons release it.")
        _contained(state, row)
        need_told(state, (row.agent,), "to uphold this release")


def lasts_us(details: ReleasePropose, severity: str) -> int | None:
    """How long the PROBATION that a proposal asks for lasts at least; None where it asks for more than that."""
    if details.authority != "PROBATION":
        return None
    return details.probation_minutes * MINUTE_US or probation.LASTS_US[severity]


def separated(first: str | None, second: str | None) -> str:
    """Whether two orders came from two users of the operating system. From one they may be of one person."""
    if first is None or second is None:
        return UNKNOWN
    return NO if first == second else YES


def suspended_for(state: Projections, number: int) -> None:
    """The agent is suspended, and for this case."""
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


def _second(state: Projections, number: int, person: str, by: str, what: str) -> None:
    why = apart.kept_from(state, number, person, by, what=what)
    if why is not None:
        raise Refused(why, hint="failwell person list tells who there is.")


def _owned(state: Projections, name: str) -> None:
    owner = state.person.get(state.agent[name].owner)
    if owner is not None and owner.left is not None:
        short, who = state.agent[name].name, state.agent[name].owner
        raise Refused(
            f"{who}, who owned {name}, has left: nobody would answer for it",
            hint=f"failwell agent assign {short} --owner PERSON --as OPERATOR",
        )


def _contained(state: Projections, row: rows.Incident) -> None:
    missing = binding.lacking(state, row)
    if missing:
        raise Refused(
            f"containment is not complete: {', '.join(missing)}",
            hint="failwell incident show tells what is open; an incident is taken with: failwell incident acknowledge",
        )


def _answered(state: Projections, number: int) -> None:
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


def _served(agent: rows.Agent, now_us: int) -> None:
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
    if now_us < given.until_us:
        raise Refused(
            f"its probation lasts until {format_at(given.until_us)} at least",
            hint="It counts from the last signal that was answered.",
        )
