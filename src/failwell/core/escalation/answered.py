"""From a page that was answered without a key to what that does: its incident is taken, and nothing else (R10).

INVARIANT: one answer for each page, by the secret that an attempt on record carried, while its cycle runs. An entry
that says otherwise does not fold: who writes that somebody answered has to have written first that they were asked.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.escalation import due
from failwell.core.escalation.path import EMAIL
from failwell.core.escalation.stepping import told
from failwell.core.following import Fold, Reaction
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

ACTOR = "response"
#: The word of an on-call service: it says itself who of its users it was.
SERVICE = "pagerduty"
#: What stands in a message and can be opened: it expires. A code that is sent back does not, while its cycle runs.
LINK = "link"
#: How long what travels with a page answers it at most, whatever becomes of the page.
GOOD_FOR_US = 7 * 86_400_000_000
_WAYS = frozenset({LINK, "reply", SERVICE})
_UNTAKEN = frozenset({"OPEN", "REOPENED"})


def of_page(state: Projections, page: int) -> tuple[int, rows.Escalation, rows.Told] | None:
    """The incident whose running cycle a page belongs to, its escalation, and the page; None where there is none."""
    for number, row in state.escalation.items():
        for each in row.told:
            if each.page == page:
                return number, row, each
    return None


def _answered(state: Projections, entry: Entry[Any], body: kinds.PageAnswered, at_us: int) -> None:
    found = of_page(state, body.page)
    if found is None or body.how not in _WAYS or found[1].state == due.OVER:
        raise Corrupt(f"entry {entry.seq} answers page {body.page}, which asks for nothing")
    number, row, page = found
    if page.answered is not None or any(each.token == body.token and each.answered for each in row.told):
        raise Corrupt(f"entry {entry.seq} answers page {body.page} a second time")
    own = page.channel == EMAIL
    if own == (body.how == SERVICE) or (own and (body.person, body.token) != (page.person, page.token)):
        raise Corrupt(f"entry {entry.seq} answers page {body.page} with what it did not carry")
    if not state.enrolled(body.person):
        raise Corrupt(f"entry {entry.seq} answers for {body.person}, who is not there")
    told(state, number, body.page, answered=entry.seq, token=body.token)


def _after_answered(state: Projections, entry: Entry[Any], body: kinds.PageAnswered) -> tuple[Draft, ...]:
    found = of_page(state, body.page)
    if found is None:
        return ()
    number, case = found[0], state.incident[found[0]]
    taken = kinds.Acknowledged2(incident=number, person=body.person, by=body.how, page=body.page)
    return (Draft(body=taken, actor=ACTOR, agent=case.agent or None, refs=(entry.seq, case.opened)),)


def _after_taken(state: Projections, entry: Entry[Any], body: kinds.Acknowledged2) -> tuple[Draft, ...]:
    case = state.incident[body.incident]
    if case.state not in _UNTAKEN:
        return ()
    triaged = kinds.IncidentUpdated(
        incident=body.incident, state="TRIAGED", severity=case.severity, signal=None, note=f"taken by {body.person}"
    )
    return (Draft(body=triaged, actor=ACTOR, agent=case.agent or None, refs=(entry.seq,)),)


FOLDS: dict[type, Fold] = {kinds.PageAnswered: _answered}
REACTIONS: dict[type, Reaction] = {kinds.PageAnswered: _after_answered, kinds.Acknowledged2: _after_taken}
