"""What a channel that was told hears later: that somebody has it, that there is nothing to take any more, or that it is
asked anew.

An on-call service rings until it is told, each cycle of an incident for itself: under an alert that somebody took there
a second trigger would ring nobody. People are not written to for that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from failwell.core import kinds, rows
from failwell.core.escalation.path import EMAIL
from failwell.core.escalation.stepping import STEP
from failwell.core.following import Reaction
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

ACTOR = "response"
#: What such a page is about: two ways in which an escalation ends, and the end of a cycle behind which another began.
TAKEN, OVER, AGAIN = "taken", "over", "again"
#: Kinds of channel that know each cycle as an alert of its own.
_RINGS = frozenset({"pagerduty"})
#: A page in one of these states reached nobody, and will not.
_UNTOLD = frozenset({"failed", "bounced"})


def ring(state: Projections, body: kinds.PageQueued4) -> None:
    """A page is queued: its channel was told of this cycle from now on, or hears that it is over."""
    row = state.escalation.get(body.incident or 0)
    if row is None or body.channel == EMAIL or not body.cycle:
        return
    told = (body.channel, body.cycle, body.person)
    if body.about in ("", STEP) and not any(each[:2] == told[:2] for each in row.ringing):
        state.change("escalation", body.incident, ringing=(*row.ringing, told))
    elif body.about in (OVER, AGAIN):
        left = tuple(each for each in row.ringing if each[0] != body.channel or each[1] > body.cycle)
        state.change("escalation", body.incident, ringing=left)


def _after_ended(state: Projections, entry: Entry[Any], body: kinds.EscalationEnded) -> tuple[Draft, ...]:
    row = state.escalation[body.incident]
    why = f"taken by {', '.join(body.persons)}" if body.persons else body.why
    if body.outcome == OVER:
        newest = {channel: cycle for channel, cycle, _ in row.ringing}
        rings = ringing_channels(state)
        told = (each for each in row.ringing if each[0] in rings or newest[each[0]] == each[1])
        return _told(state, entry, row, body.incident, told, OVER, why, ())
    now = (each for each in row.ringing if each[1] == row.cycle and not _untold(row, each[0]))
    return _told(state, entry, row, body.incident, now, TAKEN, why, body.persons)


def _after_started(state: Projections, entry: Entry[Any], body: kinds.EscalationStarted) -> tuple[Draft, ...]:
    """Attack: the alert that somebody took and forgot swallows the next one, and an on-call service rings no more."""
    row = state.escalation[body.incident]
    rings = ringing_channels(state)
    before = (each for each in row.ringing if each[1] < row.cycle and each[0] in rings)
    return _told(state, entry, row, body.incident, before, AGAIN, "it is asked anew", ())


def ringing_channels(state: Projections) -> frozenset[str]:
    """The declared channels that ring until they are told to stop."""
    escalating = state.workspace[1].escalation
    return frozenset(name for name, kind in (() if escalating is None else escalating.channels) if kind in _RINGS)


def _untold(row: rows.Escalation, channel: str) -> bool:
    pages = [page for page in row.told if page.channel == channel]
    return bool(pages) and all(page.state in _UNTOLD for page in pages)


def _told(
    state: Projections, entry: Entry[Any], row: rows.Escalation, number: int,
    ringing: Iterable[tuple[str, int, str]], about: str, why: str, persons: tuple[str, ...],
) -> tuple[Draft, ...]:  # fmt: skip
    return tuple(
        Draft(
            body=kinds.PageQueued4(
                page=state.pages + 1, incident=number, person=person, channel=channel, step=max(1, row.step),
                due_us=state.last_at_us, why=why, ticket=None, about=about, cycle=cycle, round=max(1, row.round),
                persons=persons or (person,), digest=None,
            ),
            actor=ACTOR, agent=entry.agent, refs=(entry.seq,),
        )
        for channel, cycle, person in sorted(ringing)
    )  # fmt: skip


REACTIONS: dict[type, Reaction] = {kinds.EscalationEnded: _after_ended, kinds.EscalationStarted: _after_started}
