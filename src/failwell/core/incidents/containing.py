"""What a response does: interrupt, take authority, lock the record, page people; in one commit with its cause (D5).

How far it reaches: to the run that it is about and those it was handed over to, to all of the agent, or to its groups
(`group`). Whatever it reaches, work that was handed over goes with who handed it over.
"""

from __future__ import annotations

from typing import Any

from failwell.core import asking, kinds
from failwell.core.escalation import due, stepping
from failwell.core.following import BESIDE, TELLS
from failwell.core.incidents.group import contain_group
from failwell.core.incidents.work import left_by, stop_runs
from failwell.core.projections import Projections
from failwell.core.records import Draft
from failwell.core.stops import interrupts

ACTOR = "response"
#: Words of a response that stop all of the agent.
_SUSPENDS = frozenset({"suspend", "suspend_group"})


def contain(
    state: Projections, agent: str, incident: int, response: tuple[str, ...], *, by: str, why: str, cause: int,
    run: int | None = None,
) -> tuple[Draft, ...]:  # fmt: skip
    """Interrupt, authority, hold and page as the response asks, each once per incident, in one commit (D5).

    `run` is the one that the signal is about: an interruption without a suspension stops that one alone.
    """
    case = state.incident[incident]
    asked = set(response)
    suspends = bool(_SUSPENDS & asked)

    def draft(body: Any) -> Draft:
        return Draft(body=body, actor=ACTOR, agent=agent, refs=(cause,))

    drafts: list[Draft] = []
    if run is not None and "interrupt" in asked and not suspends and state.workspace and state.workspace[1].rules >= 2:
        drafts += _stop_run(state, agent, incident, run, by=by, why=why, cause=cause)
    elif suspends or "interrupt" in asked:
        drafts += [draft(body) for body in _interrupts(state, agent, incident, why)]
    now = "SUSPENDED" if suspends else "RESTRICTED" if "restrict" in asked else None
    row = state.agent[agent]
    if now is not None and row.authority not in (now, "SUSPENDED", "RETIRED"):
        changed = kinds.AuthorityChanged(
            was=row.authority, now=now, epoch=row.epoch + 1, why=why, incident=incident, by=by
        )  # fmt: skip
        drafts.append(draft(changed))
    if {"hold", "suspend_group"} & asked and "HELD" not in case.marks:
        first = min(case.onset_first, case.opened)
        hold = kinds.HoldPlaced(hold=state.holds + 1, incident=incident, first=first, last=case.opened, why=why)
        drafts.append(draft(hold))
    tightened = any(isinstance(each.body, kinds.AuthorityChanged) for each in drafts)
    drafts += _telling(state, agent, incident, response, why, cause, tightened=tightened)
    if "suspend_group" in asked:
        drafts += contain_group(state, agent, incident, why=why, cause=cause)
    return tuple(drafts)


def _interrupts(state: Projections, agent: str, incident: int, why: str) -> tuple[kinds.InterruptOrdered, ...]:
    """Orders to stop all that the agent has open, and all that it handed over; none twice."""
    case = state.incident[incident]
    running = tuple(seq for seq in state.running(agent) if seq not in case.waiting)
    return tuple(interrupts(running, why, incident)) if running or "ORDERED" not in case.marks else ()


def _stop_run(
    state: Projections, agent: str, incident: int, run: int, *, by: str, why: str, cause: int
) -> tuple[Draft, ...]:  # fmt: skip
    """Stop one run and those it was handed over to. What is left of them goes to people, as with a suspended agent."""
    runs, bodies = stop_runs(state, run, incident=incident, why=why, by=by)
    stopped = tuple(Draft(body=body, actor=ACTOR, agent=agent, run=run, refs=(cause,)) for body in bodies)
    return (*stopped, *left_by(state, agent, incident, runs, cause))


def _telling(
    state: Projections, agent: str, incident: int, response: tuple[str, ...], why: str, cause: int, *, tightened: bool
) -> tuple[Draft, ...]:  # fmt: skip
    """The escalation of the case, and pages to whoever is told besides."""
    pages = _pages(state, agent, incident, response, why, tightened=tightened)
    drafts = tuple(Draft(body=page, actor=ACTOR, agent=agent, refs=(cause,)) for page in pages)
    if not stepping.escalates(state) or incident in state.escalation or not TELLS & set(response):
        return drafts
    begun = stepping.start(state, incident, due.OPENED, cause)
    asked = stepping.first_asked(state, incident)
    return (begun, *(draft for draft, page in zip(drafts, pages, strict=True) if page.person not in asked))


def _pages(
    state: Projections, agent: str, incident: int, response: tuple[str, ...], why: str, *, tightened: bool
) -> tuple[kinds.PageQueued, ...]:  # fmt: skip
    """Who is told of the case, once; and once more where the agent's authority is taken after they were.

    Attack: a case opens with what is only told of. Whoever was mailed then thinks that the agent acts, and nobody hears
    that it was suspended since.
    """
    queued = {page.person for page in state.page.values() if page.incident == incident and page.about not in BESIDE}
    anew = tightened and bool(state.workspace) and state.workspace[1].rules >= 2
    if not anew and (queued or "NOTIFIED" in state.incident[incident].marks):
        return ()
    told = [person for person in _told(state, agent, response) if person not in queued]  # that letter tells of it too
    return tuple(
        kinds.PageQueued(
            page=state.pages + number, incident=incident, person=person, channel="email", step=1,
            due_us=state.last_at_us, why=why,
        )
        for number, person in enumerate(told, 1)
    )  # fmt: skip


def _told(state: Projections, agent: str, response: tuple[str, ...]) -> tuple[str, ...]:
    """Who is paged of a case: the owner, who answers for the agent; where a rule asks, also who answers its tickets."""
    if not TELLS & set(response):
        return ()
    owner = state.reachable(state.agent[agent].owner)
    others = asking.reviewers(state, agent) if "ask" in response else ()
    return (owner, *[person for person in others if person != owner][: asking.MAILED_AT_ONCE])
