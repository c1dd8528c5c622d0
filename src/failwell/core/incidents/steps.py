"""What follows by rule from what people make of a case: the next state, what came too late, and who is written to."""

from __future__ import annotations

from typing import Any

from failwell.core import asking, kinds, rows
from failwell.core.incidents import catches, objectives
from failwell.core.incidents.endings import OVER, left_open
from failwell.core.projections import Projections
from failwell.core.records import Body, Draft, Entry

ACTOR = "response"
_OPERATOR = "operator"
#: What each objective is called where a person reads it.
WORDS = {
    "acknowledge": "nobody has taken it",
    "investigate": "nothing was found out about it",
    "resolve": "it is not resolved",
}


def after_signal(state: Projections, entry: Entry[Any], body: kinds.Signal) -> tuple[Draft, ...]:
    """A near-miss in which something may have had an effect after all is none."""
    agent = str(entry.agent)
    bound = None if agent not in state.agent else state.agent[agent].incident
    row = None if bound is None else state.incident.get(bound)
    if bound is None or row is None or row.kind != catches.NEAR_MISS or row.state in OVER:
        return ()
    if not catches.is_caught_up(state, agent, body):
        return ()
    return (_change(entry, bound, row, "kind", row.kind, catches.REAL, f"further signal {body.signal}"),)


def after_updated(state: Projections, entry: Entry[Any], body: kinds.IncidentUpdated) -> tuple[Draft, ...]:
    """A person took it: late, or with findings that were there before."""
    if body.signal is not None:
        return ()
    # Both states in which nobody has it owe the same objectives.
    return (*_late(state, entry, body.incident, "OPEN"), *_found(state, entry, body.incident))


def after_changed(state: Projections, entry: Entry[Any], body: kinds.IncidentChanged) -> tuple[Draft, ...]:
    """A step that came too late is on record as such; what was learned closes a case of which nothing is open."""
    if body.what != "state":
        return ()
    drafts = _late(state, entry, body.incident, body.was)
    row = state.incident[body.incident]
    if body.now == "LEARNED" and row.state == "LEARNED" and not left_open(state, body.incident):
        why = "nothing of it is open any more"
        return (*drafts, _change(entry, body.incident, row, "state", "LEARNED", "CLOSED", why))
    return drafts


def after_merged(state: Projections, entry: Entry[Any], body: kinds.IncidentMerged) -> tuple[Draft, ...]:
    """Attack: a real case is merged into a near-miss, to be counted as a catch."""
    row, into = state.incident[body.incident], state.incident[body.into]
    if into.kind != catches.NEAR_MISS or row.kind == catches.NEAR_MISS:
        return ()
    why = f"incident {body.incident} was merged into it"
    return (_change(entry, body.into, into, "kind", into.kind, catches.REAL, why),)


def after_noted(state: Projections, entry: Entry[Any], body: kinds.IncidentNoted) -> tuple[Draft, ...]:
    """With the first finding the investigation begins."""
    return () if body.sort == "note" else _found(state, entry, body.incident)


def after_task(state: Projections, entry: Entry[Any], body: kinds.IncidentTask) -> tuple[Draft, ...]:
    """Who is to do something is told."""
    by = body.by.removeprefix("person:")
    why = f"{by} gave you task {body.task} of incident {body.incident}"
    return _pages(state, entry, body.incident, (body.person,) if body.person != by else (), "task", why)


def after_offered(state: Projections, entry: Entry[Any], body: kinds.IncidentOffered) -> tuple[Draft, ...]:
    """Who is to take it over is asked."""
    why = f"{body.person} asks you to take incident {body.incident} over"
    return _pages(state, entry, body.incident, (body.to,), "offer", why)


def after_missed(state: Projections, entry: Entry[Any], body: kinds.ObjectiveMissed) -> tuple[Draft, ...]:
    """Who has the case, who answers for its agent and who runs the house are told that time is over."""
    row = state.incident[body.incident]
    owner = None if row.agent not in state.agent else state.reachable(state.agent[row.agent].owner)
    persons = tuple(dict.fromkeys(each for each in (row.holder, owner, *operators(state)) if each is not None))
    why = f"incident {body.incident}, {body.severity}: the time agreed is over, and {WORDS[body.objective]}"
    return _pages(state, entry, body.incident, persons, "objective", why)


def operators(state: Projections) -> tuple[str, ...]:
    """Who runs the house, by name."""
    here = (name for name, row in sorted(state.person.items()) if row.left is None and _OPERATOR in row.roles)
    return tuple(here)[: asking.MAILED_AT_ONCE]


def _found(state: Projections, entry: Entry[Any], number: int) -> tuple[Draft, ...]:
    row = state.incident[number]
    if not row.findings or row.state not in ("TRIAGED", "REOPENED"):
        return ()
    return (_change(entry, number, row, "state", row.state, "INVESTIGATING", "something was found out about it"),)


def _late(state: Projections, entry: Entry[Any], number: int, was: str) -> tuple[Draft, ...]:
    return tuple(
        missed(due, entry.agent, ACTOR, entry.seq) for due in objectives.met_late(state, number, was, state.last_at_us)
    )


def missed(due: objectives.Due, agent: str | None, actor: str, cause: int) -> Draft:
    """That an objective was missed."""
    body = kinds.ObjectiveMissed(
        incident=due.incident, objective=due.objective, severity=due.severity, due_us=due.due_us
    )  # fmt: skip
    return Draft(body=body, actor=actor, agent=agent, refs=(cause,))


def _change(entry: Entry[Any], number: int, row: rows.Incident, what: str, was: str, now: str, why: str) -> Draft:
    body = kinds.IncidentChanged(incident=number, what=what, was=was, now=now, why=why, proposal=None)
    return _draft(entry, body, row.agent or None)


def _pages(
    state: Projections, entry: Entry[Any], number: int, persons: tuple[str, ...], about: str, why: str
) -> tuple[Draft, ...]:  # fmt: skip
    agent = state.incident[number].agent or None
    return tuple(
        _draft(
            entry,
            kinds.PageQueued3(
                page=state.pages + 1, incident=number, person=state.reachable(person), channel="email", step=1,
                due_us=state.last_at_us, why=why, ticket=None, about=about,
            ),
            agent,
        )
        for person in persons
    )  # fmt: skip


def _draft(entry: Entry[Any], body: Body, agent: str | None) -> Draft:
    return Draft(body=body, actor=ACTOR, agent=agent, refs=(entry.seq,))
