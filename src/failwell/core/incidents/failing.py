"""A containment that failed: nobody can say that something stopped, so the next people hear of it at once (R6, R10).

Whoever was paged of the case first may be asleep, and a tool that goes on does not wait. So no acknowledgment is waited
for: operators who were not told yet are paged in the same commit, where there is none the approvers, and where there is
nobody else the owner a second time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from failwell.core import asking, kinds, rows
from failwell.core.escalation import due
from failwell.core.escalation.stepping import escalates, further, start
from failwell.core.following import BESIDE, TELLS, Reaction
from failwell.core.machines import CASE_OVER as OVER
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry
from failwell.core.stops import MAILED_AT_ONCE

ACTOR = "response"
_MARK = "CONTAINMENT_FAILED"


def _after_unconfirmed(state: Projections, entry: Entry[Any], body: kinds.InterruptUnconfirmed) -> tuple[Draft, ...]:
    """The cases whose containment failed by this entry. One that fails again has had its next people paged."""
    what = f"nobody can confirm that action {body.action} has stopped"
    cases = [number for number, row in state.incident.items() if row.marks.get(_MARK) == entry.seq]
    agent = state.agent.get(str(entry.agent))
    current = None if agent is None else agent.incident
    if not cases and current is not None and _MARK not in state.incident[current].marks:
        cases = [current]  # it ran past a deadline of its own while its agent was contained for something else
    return _paged(state, entry, cases, what)


def _after_revoked(state: Projections, entry: Entry[Any], body: kinds.AccessRevoked) -> tuple[Draft, ...]:
    cases = [number for number, row in state.incident.items() if row.marks.get(_MARK) == entry.seq]
    return _paged(state, entry, cases, "nobody can confirm that its access is gone")


def _after_opened(state: Projections, entry: Entry[Any], body: kinds.IncidentOpened) -> tuple[Draft, ...]:
    """A case that is about nothing else than a stop which failed."""
    row = state.incident[body.incident]
    if _MARK not in row.marks or not row.agent:
        return ()
    return _paged(state, entry, (body.incident,), f"nobody can confirm that action {row.failed[0]} has stopped")


def _paged(state: Projections, entry: Entry[Any], cases: Iterable[int], what: str) -> tuple[Draft, ...]:
    drafts: list[Draft] = []
    for number in cases:
        row = state.incident[number]
        if escalates(state) and number not in state.escalation and _begins(entry, row):
            drafts.append(start(state, number, due.OPENED, entry.seq))
        name = state.agent[row.agent].name if row.agent in state.agent else "an agent"
        for person in next_persons(state, number, row):
            page = kinds.PageQueued3(
                page=state.pages + 1, incident=number, person=person, channel="email", step=2,
                due_us=state.last_at_us, why=f"{name} may go on: {what}", ticket=None, about="next-step",
            )  # fmt: skip
            drafts.append(Draft(body=page, actor=ACTOR, agent=row.agent or None, refs=(entry.seq,)))
    return tuple(drafts)


def _begins(entry: Entry[Any], row: rows.Incident) -> bool:
    """Whether nothing else begins to ask about it: what a rule tells of is asked about in the commit that opens it."""
    return not (isinstance(entry.body, kinds.IncidentOpened) and TELLS & set(row.response)) and row.state not in OVER


def next_persons(state: Projections, number: int, row: rows.Incident) -> tuple[str, ...]:
    """Who is asked next about a case: nobody who was asked first, but somebody always."""
    told = {page.person for page in state.page.values() if page.incident == number and page.about not in BESIDE}
    told |= {page.person for page in state.escalation[number].told} if number in state.escalation else set()
    owner = None if row.agent not in state.agent else state.reachable(state.agent[row.agent].owner)
    if owner is not None:
        told.add(owner)
        told.update(asking.reviewers(state, row.agent) if "ask" in row.response else ())
    along = further(state, number)
    if along:
        return along
    for role in ("operator", "approver"):
        found = [
            name
            for name, person in state.person.items()
            if person.left is None and role in person.roles and name not in told
        ]
        if found:
            return tuple(sorted(found)[:MAILED_AT_ONCE])
    return () if owner is None else (owner,)


REACTIONS: dict[type, Reaction] = {
    kinds.InterruptUnconfirmed: _after_unconfirmed,
    kinds.AccessRevoked: _after_revoked,
    kinds.IncidentOpened: _after_opened,
}
