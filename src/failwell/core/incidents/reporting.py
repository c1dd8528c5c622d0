"""The case that a person's report opens: its own one, at once, whatever else is open about the agent (R22).

A report may be of a failure learned from outside, and of an agent that nobody knows yet. Whether it is the same failure
as another case, a person says by merging.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from failwell.core import kinds
from failwell.core.escalation.due import OPENED
from failwell.core.escalation.stepping import escalates, start
from failwell.core.incidents.endings import REHEARSED
from failwell.core.incidents.steps import operators
from failwell.core.projections import Projections
from failwell.core.records import Body, Draft, Entry

ACTOR = "response"
REPORTED = "reported"
#: What is done about an agent that was reported for something that had no effect.
_NEAR_MISS: tuple[str, ...] = ("notify",)


def is_report(body: kinds.Noticed) -> bool:
    """Whether a person says so, who is enrolled and signed it."""
    return body.by.startswith("person:")


def answered(draft: Draft, told: kinds.Noticed) -> Draft:
    """The signal of a report as its kind has it answered: what is rehearsed or was caught sets nothing in motion."""
    if told.kind in REHEARSED:
        return replace(draft, body=replace(draft.body, response=("record",), applied=False))
    if told.kind == "near-miss":
        return replace(draft, body=replace(draft.body, response=_NEAR_MISS))
    return draft


def after_signal(state: Projections, entry: Entry[Any], body: kinds.Signal) -> tuple[Draft, ...]:
    """The case of a report, and when whoever is accountable learned of it."""
    told = state.lately.noticed.get(body.about)
    if body.signal != REPORTED or told is None or state.mode != "live":
        return ()
    number = state.incidents + 1
    first = body.about if told.first is None else told.first
    opened = kinds.IncidentOpened(
        by=told.by, incident=number, kind=told.kind, severity=body.severity, title=told.title, signal=entry.seq,
        onset_first=first, onset_last=first if told.last is None else told.last,
        response=body.response if body.applied else ("record",),
    )  # fmt: skip
    drafts = [_draft(entry, opened)]
    if told.aware is not None:
        aware = kinds.IncidentChanged(
            incident=number, what="aware", was="-", now=told.aware, why="as reported", proposal=None
        )
        drafts.append(_draft(entry, aware))
    return tuple(drafts)


def after_opened(state: Projections, entry: Entry[Any], body: kinds.IncidentOpened) -> tuple[Draft, ...]:
    """Nobody knows yet which agent it was: all of the record is locked where it is grave, and operators are told."""
    drafts: list[Draft] = []
    if "hold" in body.response:
        first = min(body.onset_first, entry.seq)
        hold = kinds.HoldPlaced(
            hold=state.holds + 1, incident=body.incident, first=first, last=entry.seq, why=body.title
        )
        drafts.append(_draft(entry, hold))
    if "notify" in body.response and escalates(state):
        return (*drafts, start(state, body.incident, OPENED, entry.seq))
    for person in operators(state) if "notify" in body.response else ():
        page = kinds.PageQueued3(
            page=state.pages + 1, incident=body.incident, person=person, channel="email", step=1,
            due_us=state.last_at_us, why=body.title, ticket=None, about="",
        )  # fmt: skip
        drafts.append(_draft(entry, page))
    return tuple(drafts)


def _draft(entry: Entry[Any], body: Body) -> Draft:
    return Draft(body=body, actor=ACTOR, agent=entry.agent, refs=(entry.seq,))
