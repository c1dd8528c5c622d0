"""Duties to inform somebody about an incident: their deadlines, when people are reminded, what was missed (R17).

A person says that a duty applies and since when it is known of; the record counts. It knows no law: what the periods
are stands in data files, whose digest each start names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.escalation.targets import named
from failwell.core.following import Fold, Reaction, case_of
from failwell.core.instants import format_at
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

ACTOR = "response"
HOUR_US = 3_600_000_000
#: People are reminded when half of the time is over, and when so much of it is left.
LEFT_US = (24 * HOUR_US, 4 * HOUR_US)
RUNNING, ENDED = "running", "ended"


class Coming(NamedTuple):
    """What is due of a clock now: a reminder (`left_us`), or that a deadline was missed (None)."""

    incident: int
    clock: str
    deadline: str
    due_us: int
    left_us: int | None


def key_of(incident: int, clock: str) -> str:
    """The key of a clock's row."""
    return f"{incident}/{clock}"


def coming(state: Projections, now_us: int) -> Iterator[Coming]:
    """Everything that is due by `now_us` and was not said yet."""
    for key, row in state.clock.items():
        if row.state != RUNNING:
            continue
        incident, _, clock = key.partition("/")
        met = {name for name, _ in row.met}
        for each in row.deadlines:
            if each.deadline in met:
                continue
            if now_us >= each.due_us:
                if each.deadline not in row.missed:
                    yield Coming(int(incident), clock, each.deadline, each.due_us, None)
                continue
            left_us = _reminder(row, each, now_us)
            if left_us is not None:
                yield Coming(int(incident), clock, each.deadline, each.due_us, left_us)


def _reminder(row: rows.RunningClock, each: kinds.Deadline, now_us: int) -> int | None:
    """The latest mark that was passed and not said yet; None where there is none."""
    whole_us = each.due_us - row.aware_us
    marks = sorted({whole_us // 2, *(left for left in LEFT_US if left < whole_us // 2)})
    passed = [left for left in marks if each.due_us - now_us <= left]
    said = {left for name, left in row.reminded if name == each.deadline}
    if not passed or any(left <= passed[0] for left in said):
        return None
    return passed[0]


def _started(state: Projections, entry: Entry[Any], body: kinds.ClockStarted, at_us: int) -> None:
    case_of(state, entry, body.incident)
    key = key_of(body.incident, body.clock)
    known = state.clock.get(key)
    if (known is not None and known.state == RUNNING) or not body.deadlines or body.aware_us > at_us:
        raise Corrupt(f"entry {entry.seq} starts clock {body.clock} of incident {body.incident}, which cannot be")
    row = rows.RunningClock(
        title=body.title, source=body.source, aware_us=body.aware_us, deadlines=body.deadlines, entry=entry.seq,
        person=body.person,
    )  # fmt: skip
    state.put("clock", key, row)


def _reminded(state: Projections, entry: Entry[Any], body: kinds.ClockReminded, at_us: int) -> None:
    key, row, _ = _running(state, entry, body)
    state.change("clock", key, reminded=(*row.reminded, (body.deadline, body.left_us)))


def _missed(state: Projections, entry: Entry[Any], body: kinds.ClockMissed, at_us: int) -> None:
    key, row, due = _running(state, entry, body)
    if body.deadline in row.missed or at_us < due.due_us or body.due_us != due.due_us:
        raise Corrupt(f"entry {entry.seq} says that {body.deadline} was missed, which it was not")
    state.change("clock", key, missed=(*row.missed, body.deadline))


def _met(state: Projections, entry: Entry[Any], body: kinds.ClockMet, at_us: int) -> None:
    key, row, _ = _running(state, entry, body)
    state.change("clock", key, met=(*row.met, (body.deadline, entry.seq)))


def _ended(state: Projections, entry: Entry[Any], body: kinds.ClockEnded, at_us: int) -> None:
    key = key_of(body.incident, body.clock)
    row = state.clock.get(key)
    # INVARIANT (I7): who says that a duty applies is not who says that it does not.
    if row is None or row.state != RUNNING or row.person == body.person:
        raise Corrupt(f"entry {entry.seq} ends clock {body.clock} of incident {body.incident}, which cannot be")
    state.change("clock", key, state=ENDED)


def _running(state: Projections, entry: Entry[Any], body: Any) -> tuple[str, rows.RunningClock, kinds.Deadline]:
    key = key_of(body.incident, body.clock)
    row = state.clock.get(key)
    found = None if row is None else next((each for each in row.deadlines if each.deadline == body.deadline), None)
    if row is None or found is None or row.state != RUNNING or any(name == body.deadline for name, _ in row.met):
        raise Corrupt(f"entry {entry.seq} speaks of {body.deadline} of clock {body.clock}, which does not run")
    return key, row, found


def _after_reminded(state: Projections, entry: Entry[Any], body: kinds.ClockReminded) -> tuple[Draft, ...]:
    row = state.clock[key_of(body.incident, body.clock)]
    due = next(each for each in row.deadlines if each.deadline == body.deadline)
    return _pages(state, entry, body.incident, f"{row.title}: {body.deadline} is due {_at(due.due_us)}")


def _after_missed(state: Projections, entry: Entry[Any], body: kinds.ClockMissed) -> tuple[Draft, ...]:
    row = state.clock[key_of(body.incident, body.clock)]
    return _pages(
        state,
        entry,
        body.incident,
        f"{row.title}: {body.deadline} was due {_at(body.due_us)}, and nobody said it was met",
    )


def _pages(state: Projections, entry: Entry[Any], number: int, why: str) -> tuple[Draft, ...]:
    """Who started it, who has the case, who answers for its agent and who runs the house."""
    case = state.incident[number]
    owner = None if case.agent not in state.agent else state.reachable(state.agent[case.agent].owner)
    asked = (case.holder, owner, *named(state, case.agent, "role:operator", state.last_at_us))
    persons = tuple(dict.fromkeys(state.reachable(each) for each in asked if each is not None))
    return tuple(
        Draft(
            body=kinds.PageQueued3(
                page=state.pages + 1, incident=number, person=person, channel="email", step=1,
                due_us=state.last_at_us, why=why, ticket=None, about="clock",
            ),
            actor=ACTOR, agent=case.agent or None, refs=(entry.seq,),
        )
        for person in persons
    )  # fmt: skip


def _at(due_us: int) -> str:
    text = format_at(due_us)
    return f"{text[:10]} {text[11:16]} UTC"


FOLDS: dict[type, Fold] = {
    kinds.ClockStarted: _started,
    kinds.ClockReminded: _reminded,
    kinds.ClockMissed: _missed,
    kinds.ClockMet: _met,
    kinds.ClockEnded: _ended,
}
REACTIONS: dict[type, Reaction] = {kinds.ClockReminded: _after_reminded, kinds.ClockMissed: _after_missed}
