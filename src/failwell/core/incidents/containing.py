"""What a response does: interrupt, take authority, lock the record, page people; in one commit with its cause (D5)."""

from __future__ import annotations

from typing import Any

from failwell.core import asking, kinds
from failwell.core.incidents.tables import BESIDE
from failwell.core.projections import Projections
from failwell.core.records import Draft
from failwell.core.stops import INTERRUPTED_AT_ONCE

ACTOR = "response"


def contain(
    state: Projections, agent: str, incident: int, response: tuple[str, ...], *, by: str, why: str, cause: int
) -> tuple[Draft, ...]:  # fmt: skip
    """Interrupt, authority, hold and page as the response asks, each once per incident, in one commit (D5)."""
    row = state.agent[agent]
    case = state.incident[incident]

    def draft(body: Any) -> Draft:
        return Draft(body=body, actor=ACTOR, agent=agent, refs=(cause,))

    drafts: list[Draft] = []
    if "interrupt" in response or "suspend" in response:
        running = tuple(seq for seq in state.running(agent) if seq not in case.waiting)
        if running or "ORDERED" not in case.marks:
            drafts += [
                draft(kinds.InterruptOrdered(incident=incident, actions=running[first:][:INTERRUPTED_AT_ONCE], why=why))
                for first in range(0, max(1, len(running)), INTERRUPTED_AT_ONCE)
            ]
    now = "SUSPENDED" if "suspend" in response else "RESTRICTED" if "restrict" in response else None
    if now is not None and row.authority not in (now, "SUSPENDED", "RETIRED"):
        drafts.append(
            draft(
                kinds.AuthorityChanged(
                    was=row.authority, now=now, epoch=row.epoch + 1, why=why, incident=incident, by=by
                )
            )
        )
    if "hold" in response and "HELD" not in case.marks:
        first = min(case.onset_first, case.opened)
        drafts.append(
            draft(kinds.HoldPlaced(hold=state.holds + 1, incident=incident, first=first, last=case.opened, why=why))
        )
    queued = (page for page in state.page.values() if page.incident == incident and page.about not in BESIDE)
    paged = any(queued) or "NOTIFIED" in case.marks
    told = () if paged else _told(state, agent, response)
    for number, person in enumerate(told, 1):
        page = kinds.PageQueued(
            page=state.pages + number, incident=incident, person=person, channel="email", step=1,
            due_us=state.last_at_us, why=why,
        )  # fmt: skip
        drafts.append(draft(page))
    return tuple(drafts)


def _told(state: Projections, agent: str, response: tuple[str, ...]) -> tuple[str, ...]:
    """Who is paged of a case: the owner, who answers for the agent; where a rule asks, also who answers its tickets."""
    if not {"notify", "ask"} & set(response):
        return ()
    owner = state.reachable(state.agent[agent].owner)
    others = asking.reviewers(state, agent) if "ask" in response else ()
    return (owner, *[person for person in others if person != owner][: asking.MAILED_AT_ONCE])
