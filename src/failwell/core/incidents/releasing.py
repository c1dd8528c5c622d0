"""Giving authority back: by two persons, or by one alone for a while, who owes a review; and taking it again (R23)."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from failwell.core import kinds, rows
from failwell.core.ends import mark
from failwell.core.errors import Corrupt
from failwell.core.following import Fold, Reaction, case_of
from failwell.core.incidents import probation
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry
from failwell.core.stops import INTERRUPTED_AT_ONCE

ACTOR = "response"
#: Marks of a case that stand when its agent is suspended anew: all others are made once more.
_STAND = ("DETECTED", "HELD")


# ---- folds ---------------------------------------------------------------------------------------------------


def _proposed_first(state: Projections, entry: Entry[Any], body: kinds.ReleaseProposed, at_us: int) -> None:
    mark(state, body.incident, "RELEASE_PROPOSED", entry.seq, proposed_by=body.person, proposal=body.digest)


def _proposed(state: Projections, entry: Entry[Any], body: kinds.ReleaseProposed2, at_us: int) -> None:
    case_of(state, entry, body.incident)
    release = rows.Release(
        entry.seq, body.authority, body.probation_us, body.bound, body.conditions,
        tuple((ref.seq, ref.leaf) for ref in entry.refs[1:]), body.notified, body.user,
    )  # fmt: skip
    mark(
        state, body.incident, "RELEASE_PROPOSED", entry.seq, proposed_by=body.person, proposal=body.digest,
        release=release,
    )  # fmt: skip


def _approved(state: Projections, entry: Entry[Any], body: kinds.ReleaseApproved2, at_us: int) -> None:
    case_of(state, entry, body.incident)
    # Attack: what was proposed once gives authority back a second time.
    state.change("incident", body.incident, **_NONE_STANDS)
    if body.until_us is not None and entry.agent in state.agent:
        given = rows.Probation(body.incident, at_us, body.until_us, None)
        state.change("agent", entry.agent, probation=given)


def _broken(state: Projections, entry: Entry[Any], body: kinds.ReleaseBroken, at_us: int) -> None:
    case = case_of(state, entry, body.incident)
    if case.broken is not None or body.person in case.broken_by:
        raise Corrupt(f"entry {entry.seq} gives back a second time what one person gave back alone")
    broken_by = (*case.broken_by, body.person)
    state.change("incident", body.incident, broken=entry.seq, broken_by=broken_by, **_NONE_STANDS)
    given = rows.Probation(body.incident, at_us, body.until_us, entry.seq)
    state.change("agent", entry.agent, probation=given)


def _over(state: Projections, entry: Entry[Any], body: kinds.ReleaseOver, at_us: int) -> None:
    row = state.agent.get(str(entry.agent))
    given = None if row is None else row.probation
    if row is None or given is None or given.broken != body.broken or not probation.over(row, at_us):
        raise Corrupt(f"entry {entry.seq} ends a release that one person gave alone, and that goes on")


def _reviewed(state: Projections, entry: Entry[Any], body: kinds.ReleaseReviewed, at_us: int) -> None:
    case = case_of(state, entry, body.incident)
    if case.broken is None or case.broken != body.broken:
        raise Corrupt(f"entry {entry.seq} reviews a release that is not the one that is owed a review")
    state.change("incident", body.incident, broken=None)
    agent = state.agent.get(case.agent)
    if body.upheld and agent is not None and agent.probation is not None and agent.probation.broken == body.broken:
        # Two persons stand for it from here on: it is a PROBATION like any other, as long as any other.
        until_us = at_us + probation.LASTS_US[case.severity]
        given = replace(agent.probation, since_us=at_us, until_us=until_us, broken=None)
        state.change("agent", case.agent, probation=given)


#: A case for which no release stands proposed.
_NONE_STANDS: dict[str, None] = {"proposed_by": None, "proposal": None, "release": None}

FOLDS: dict[type, Fold] = {
    kinds.ReleaseProposed: _proposed_first,
    kinds.ReleaseProposed2: _proposed,
    kinds.ReleaseApproved2: _approved,
    kinds.ReleaseBroken: _broken,
    kinds.ReleaseOver: _over,
    kinds.ReleaseReviewed: _reviewed,
}


# ---- what other folds tell here ------------------------------------------------------------------------------


def stands(row: rows.Agent, body: kinds.AuthorityChanged) -> dict[str, Any]:
    """The case that an agent is answered for and its probation, once its authority is another one.

    A probation goes on where its agent is restricted in it: restricted, it has not served it.
    """
    given = row.probation if body.now in ("PROBATION", "RESTRICTED") else None
    if body.now in ("PROBATION", "ACTIVE"):
        return {"incident": None, "probation": given}
    suspends = body.now == "SUSPENDED" and body.incident is not None  # whatever else is open, it is held for this
    incident = body.incident if suspends else row.incident
    return {"incident": incident, "probation": given}


def suspended(state: Projections, number: int | None) -> None:
    """An agent is suspended for a case. If it was released from it before, its containment begins anew.

    Attack: the marks of the first time let the second one be undone without anybody having taken it.
    """
    case = None if number is None else state.incident.get(number)
    if case is not None and "RELEASED" in case.marks:
        marks = {name: seq for name, seq in case.marks.items() if name in _STAND}
        state.change("incident", number, marks=marks, **_NONE_STANDS)


def _signal(state: Projections, entry: Entry[Any], body: kinds.Signal, at_us: int) -> None:
    """A signal about an agent that was given back: its time begins anew, or the signal is counted."""
    row = state.agent.get(str(entry.agent))
    if row is not None and row.probation is not None:
        applied = body.applied and not body.signal.startswith("escalated(")
        now = probation.noticed(row.probation, body.signal, body.severity, at_us, applied=applied)
        if now != row.probation:
            state.change("agent", entry.agent, probation=now)


def _contract(state: Projections, entry: Entry[Any], body: kinds.ContractAdopted, at_us: int) -> None:
    _note_authors(state, str(entry.agent), body.owner, body.approver)


def _floor(state: Projections, entry: Entry[Any], body: kinds.FloorAdopted, at_us: int) -> None:
    for name, agent in list(state.agent.items()):
        if body.scope == "organisation" or body.scope.removeprefix("group:") in agent.groups:
            _note_authors(state, name, body.signer, body.approver)


def _claimed(state: Projections, entry: Entry[Any], body: kinds.ChangeClaimed, at_us: int) -> None:
    _note_authors_of(state, body.incident, body.person)


def _note_authors(state: Projections, agent: str, *persons: str) -> None:
    """What binds an agent was changed by these: none of them approves its release from what stands open by then."""
    row = state.agent[agent]
    for number in {row.incident, None if row.probation is None else row.probation.incident} - {None}:
        _note_authors_of(state, number, *persons)


def _note_authors_of(state: Projections, number: int | None, *persons: str) -> None:
    case = None if number is None else state.incident.get(number)
    if case is not None and not set(persons) <= set(case.authors):
        state.change("incident", number, authors=tuple(sorted({*case.authors, *persons})))


def _rules(state: Projections, entry: Entry[Any], body: kinds.ResponseRules, at_us: int) -> None:
    """Agents that were given back by the rules before these begin their time here: they would never have served it."""
    for name, row in list(state.agent.items()):
        released = [n for n, case in state.incident.items() if case.agent == name and "RELEASED" in case.marks]
        if row.authority == "PROBATION" and row.probation is None and released:
            number = max(released)
            until_us = at_us + probation.LASTS_US[state.incident[number].severity]
            state.change("agent", name, probation=rows.Probation(number, at_us, until_us, None))


#: What is noted here of entries that others fold, after they did.
ALSO: dict[type, Fold] = {
    kinds.Signal: _signal,
    kinds.ContractAdopted: _contract,
    kinds.FloorAdopted: _floor,
    kinds.ChangeClaimed: _claimed,
    kinds.ResponseRules: _rules,
}


def after(folds: dict[type, Fold]) -> dict[type, Fold]:
    """Folds of others, each with what is noted here after it."""
    return {kind: _both(folds[kind], also) for kind, also in ALSO.items()}


def _both(first: Fold, then: Fold) -> Fold:
    def fold(state: Projections, entry: Entry[Any], body: Any, at_us: int) -> None:
        first(state, entry, body, at_us)
        then(state, entry, body, at_us)

    return fold


# ---- what follows --------------------------------------------------------------------------------------------


def _after_broken(state: Projections, entry: Entry[Any], body: kinds.ReleaseBroken) -> tuple[Draft, ...]:
    """One person decided alone: everybody who operates, the owner and who holds the case hear of it at once."""
    case, row = state.incident[body.incident], state.agent[str(entry.agent)]
    operators = [name for name, each in sorted(state.person.items()) if "operator" in each.roles and each.left is None]
    told = dict.fromkeys([state.reachable(row.owner), *filter(None, (case.holder,)), *operators])
    others = [person for person in told if person != body.person] or [state.reachable(row.owner)]
    why = f"{body.person} alone gave {row.name} its authority back, without a second person: {body.why}"
    return tuple(_page(state, entry, body.incident, person, why) for person in others)


def _after_over(state: Projections, entry: Entry[Any], body: kinds.ReleaseOver) -> tuple[Draft, ...]:
    return _suspend_again(state, entry, body.incident, by=ACTOR, why=body.why)


def _after_reviewed(state: Projections, entry: Entry[Any], body: kinds.ReleaseReviewed) -> tuple[Draft, ...]:
    given = None if entry.agent not in state.agent else state.agent[entry.agent].probation
    if body.upheld or given is None or given.broken != body.broken:
        return ()
    why = f"{body.person} did not uphold that one person alone gave it back"
    return _suspend_again(state, entry, body.incident, by=f"person:{body.person}", why=why)


def _suspend_again(state: Projections, entry: Entry[Any], number: int, *, by: str, why: str) -> tuple[Draft, ...]:
    """Authority, what runs, and pages, in one commit: as if it had never been given back."""
    name = str(entry.agent)
    row = state.agent[name]
    if row.authority not in ("PROBATION", "RESTRICTED"):
        return ()
    number = number if row.incident is None else row.incident
    running = state.running(name)
    bodies: list[Any] = [
        kinds.AuthorityChanged(
            was=row.authority, now="SUSPENDED", epoch=row.epoch + 1, why=why, incident=number, by=by
        ),
        *(
            kinds.InterruptOrdered(incident=number, actions=running[first:][:INTERRUPTED_AT_ONCE], why=why)
            for first in range(0, max(1, len(running)), INTERRUPTED_AT_ONCE)
        ),
    ]  # fmt: skip
    case = state.incident[number]
    if "HELD" not in case.marks:
        first = min(case.onset_first, case.opened)
        bodies.append(
            kinds.HoldPlaced(hold=state.holds + 1, incident=number, first=first, last=entry.seq, why=why)
        )  # fmt: skip
    told = dict.fromkeys([state.reachable(row.owner), *filter(None, (case.holder,))])
    return (
        *(Draft(body=body, actor=ACTOR, agent=name, refs=(entry.seq,)) for body in bodies),
        *(_page(state, entry, number, person, f"{row.name} is suspended again: {why}") for person in told),
    )


def _page(state: Projections, entry: Entry[Any], number: int, person: str, why: str) -> Draft:
    body = kinds.PageQueued3(
        page=state.pages + 1, incident=number, person=person, channel="email", step=1, due_us=state.last_at_us,
        why=why, ticket=None, about="break-glass",
    )  # fmt: skip
    return Draft(body=body, actor=ACTOR, agent=entry.agent, refs=(entry.seq,))


REACTIONS: dict[type, Reaction] = {
    kinds.ReleaseBroken: _after_broken,
    kinds.ReleaseOver: _after_over,
    kinds.ReleaseReviewed: _after_reviewed,
}
