"""How people are being told of an incident: who was asked by what and what became of it, who took it, who is next when.

The first screen and the letters say it in a line; `escalation show` tells all of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from failwell.core import rows
from failwell.core.escalation import due
from failwell.core.instants import format_at
from failwell.core.state import State
from failwell.response.parts import Material, Part

#: Why a cycle began, where it is not the first.
BEGAN = {
    due.REOPENED: "it turned out not to be over", due.EXPIRED: "it was taken, and that is too long ago",
    due.SILENT: "it was taken, and nothing was heard since", due.LEFT: "who had it has left",
}  # fmt: skip


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the path. `state` is asked, passed (over), asking (now) or to come; `persons` are those it asked."""

    step: int
    notify: str
    by: tuple[str, ...]
    within_ms: int
    rounds: int
    require: str
    severity: str
    hours: str
    last_resort: bool
    state: str
    persons: tuple[str, ...]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the running cycle: queued, accepted, failed, bounced or bundled; `answered` by which entry."""

    page: int
    step: int
    round: int
    person: str
    channel: str
    state: str
    answered: int | None


class Coming(msgspec.Struct, frozen=True, kw_only=True):
    """What comes at `at` if nothing happens before; `again`: everybody is asked anew."""

    at: str
    again: bool
    why: str
    step: int
    round: int
    persons: tuple[str, ...]
    by: tuple[str, ...]


class EscalationTold(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is asking, taken or over. `total_ms`: after how long at most the last resort is asked the first time.
    `took` are those who took it in this cycle.
    """

    incident: int
    state: str
    cycle: int
    why: str
    source: str
    step: int
    round: int
    since: str
    stepped: str
    took: tuple[str, ...]
    last_resort: bool
    total_ms: int
    steps: tuple[Step, ...]
    pages: tuple[Page, ...]
    next: Coming | None
    asked: tuple[str, ...]


class Seen(NamedTuple):
    """What was looked at in the writer's turn."""

    case: rows.Incident
    row: rows.Escalation | None
    comes: due.Foreseen | None


def look(state: State, number: int) -> Seen:
    """How far it has come, and what is next."""
    return Seen(state.incident[number], state.escalation.get(number), due.foreseen(state, number))


def told(number: int, seen: Seen) -> EscalationTold | None:
    """All of it; None where nobody is told of the incident along a path."""
    row = seen.row
    if row is None:
        return None
    return EscalationTold(
        incident=number, state=row.state, cycle=row.cycle, why=row.why, source=row.source, step=row.step,
        round=row.round, since=format_at(row.since_us), stepped=format_at(row.stepped_us), took=row.acknowledged,
        last_resort=row.last_resort,
        total_ms=sum(step.within_us * step.rounds for step in row.path if not step.last_resort) // 1_000,
        steps=tuple(_step(row, at, step) for at, step in enumerate(row.path, 1)),
        pages=tuple(
            Page(
                page=each.page, step=each.step, round=each.round, person=each.person, channel=each.channel,
                state=each.state, answered=each.answered,
            )
            for each in row.told
        ),
        next=None if seen.comes is None else _coming(seen.comes), asked=_asked(number, seen.case, row),
    )  # fmt: skip


def _step(row: rows.Escalation, at: int, step: Any) -> Step:
    persons = row.asked[at - 1] if at <= len(row.asked) else ()
    now = row.state == due.ASKING and at == row.step
    state = "asking" if now else "to come" if at > row.step else "asked" if persons else "passed"
    return Step(
        step=at, notify=step.notify, by=step.by, within_ms=step.within_us // 1_000, rounds=step.rounds,
        require=step.require, severity=step.severity, hours=step.hours, last_resort=step.last_resort, state=state,
        persons=persons,
    )  # fmt: skip


def _coming(comes: due.Foreseen) -> Coming:
    return Coming(
        at=format_at(comes.at_us), again=comes.again, why=comes.why, step=comes.step, round=comes.round,
        persons=comes.persons, by=comes.by,
    )  # fmt: skip


def _asked(number: int, case: rows.Incident, row: rows.Escalation) -> tuple[str, ...]:
    """What is asked of people besides what the case asks: more of them, or somebody anew."""
    if row.state != due.ASKING:
        return ()
    command = f"failwell incident acknowledge {number}"
    if row.acknowledged:
        return (f"{' and '.join(row.acknowledged)} took it, and more of those who were asked have to: {command}",)
    if case.state not in ("OPEN", "REOPENED"):
        return (f"Nobody has it any more ({BEGAN.get(row.why, 'somebody else was asked for')}): {command}",)
    return ()


def _tell(material: Material, seen: Seen) -> EscalationTold | None:
    return told(material.number, seen)


PART = Part("escalation", look, _tell)
