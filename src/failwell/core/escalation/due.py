"""What is due of an escalation, and when: pure, from its row and the state alone.

The timers are rows, so that whoever opens the ledger next finds the same ones.
"""

from __future__ import annotations

from typing import NamedTuple

from failwell.core import rows
from failwell.core.escalation import quiet
from failwell.core.escalation.path import path_of
from failwell.core.escalation.targets import applies, named
from failwell.core.kinds import PathStep
from failwell.core.projections import Projections

ASKING, TAKEN, OVER = "asking", "taken", "over"
#: Why a new cycle begins.
OPENED, REOPENED, EXPIRED, SILENT, LEFT = "opened", "reopened", "expired", "silent", "left"
#: Why a step is taken.
FIRST, NOBODY, UNREACHED, ASKED = "first", "nobody in time", "could not be reached", "somebody else was asked for"
#: It waited for the end of quiet hours, and is not minor any more.
HURRIED = "it does not wait any more"
#: With these the next step follows, whatever rounds of this one are left.
_NEXT = frozenset({UNREACHED, ASKED, HURRIED})
_GONE = frozenset({"failed", "bounced"})


class Due(NamedTuple):
    """What comes next of an incident's escalation at `at_us` (ledger time): its next step, or (`again`) a new cycle."""

    incident: int
    at_us: int
    again: bool
    why: str


class Next(NamedTuple):
    """The step (from 1) and round to take, whom it names, and the steps passed over before it."""

    step: int
    round: int
    persons: tuple[str, ...]
    passed: tuple[int, ...]


def next_due(state: Projections, number: int, row: rows.Escalation) -> Due | None:
    """What is due next; None once there is nothing to take any more. What has come before now is due at once."""
    if row.state == OVER:
        return None
    if row.state == TAKEN:
        return _lapse(state, number, row)
    if _unreached(row):
        return Due(number, row.stepped_us, False, UNREACHED)
    if _hurried(state, number, row):
        return Due(number, row.stepped_us, False, HURRIED)
    return Due(number, row.due_us, False, NOBODY)


def late(state: Projections, now_us: int) -> tuple[Due, ...]:
    """Everything that is due by `now_us`, the longest due first."""
    found = (next_due(state, number, row) for number, row in state.escalation.items() if row.state != OVER)
    by_now = (each for each in found if each is not None and each.at_us <= now_us)
    return tuple(sorted(by_now, key=lambda each: (each.at_us, each.incident)))


def _hurried(state: Projections, number: int, row: rows.Escalation) -> bool:
    """Whether a step waits for the end of quiet hours that hold its incident back no longer."""
    waits = bool(row.step) and row.due_us - row.path[row.step - 1].within_us > row.stepped_us
    return waits and quiet.until_us(state, state.incident[number], row.stepped_us) == row.stepped_us


def _lapse(state: Projections, number: int, row: rows.Escalation) -> Due:
    """When it is not taken any more: the time is over, nothing was heard, or nobody of those who have it is there."""
    if not any(state.enrolled(person) for person in row.acknowledged):
        return Due(number, row.taken_us, True, LEFT)
    lasts_us, progress_us = terms(state)
    expires_us, silent_us = row.taken_us + lasts_us, row.progress_us + progress_us
    return Due(number, min(expires_us, silent_us), True, EXPIRED if expires_us <= silent_us else SILENT)


def terms(state: Projections) -> tuple[int, int]:
    """How long an acknowledgment lasts, and within which time whoever took it is heard of (microseconds)."""
    escalating = (state.workspace[1].escalation if state.workspace else None) or rows.Escalating()
    return escalating.lasts_us, escalating.progress_us


def _unreached(row: rows.Escalation) -> bool:
    """Whether every page of the running step failed for good. A last resort waits its time: it is asked again."""
    if row.last_resort:
        return False
    told = [page for page in row.told if (page.step, page.round) == (row.step, row.round)]
    return bool(told) and all(page.state in _GONE for page in told)


def next_step(state: Projections, row: rows.Escalation, agent: str, severity: str, at_us: int, why: str) -> Next:
    """The step that follows, past those that do not apply now or name nobody; the last resort always follows."""
    if row.step and why not in _NEXT and row.round < row.path[row.step - 1].rounds:
        persons = named(state, agent, row.path[row.step - 1].notify, at_us)
        if persons:
            return Next(row.step, row.round + 1, persons, ())
    passed: list[int] = []
    last = len(row.path)
    for step in range(row.step + 1, last):
        persons = _asked_by(state, row.path[step - 1], agent, severity, at_us)
        if persons:
            return Next(step, 1, persons, tuple(passed))
        passed.append(step)
    persons = named(state, agent, row.path[-1].notify, at_us) or named(state, agent, "owner", at_us)
    persons = persons or named(state, agent, "house", at_us)
    return Next(last, row.round + 1 if row.step == last else 1, persons, tuple(passed))


def _asked_by(state: Projections, step: PathStep, agent: str, severity: str, at_us: int) -> tuple[str, ...]:
    return named(state, agent, step.notify, at_us) if applies(state, step, severity, at_us) else ()


class Foreseen(NamedTuple):
    """What comes at `at_us` if nothing happens before: whom the next step asks, by what; or (`again`) a new cycle's."""

    at_us: int
    again: bool
    why: str
    step: int
    round: int
    persons: tuple[str, ...]
    by: tuple[str, ...]


def foreseen(state: Projections, number: int) -> Foreseen | None:
    """Who is next about an incident and when, as things stand; None where nobody is asked about it any more."""
    row, case = state.escalation.get(number), state.incident[number]
    comes = None if row is None else next_due(state, number, row)
    if row is None or comes is None:
        return None
    if comes.again:
        row = rows.Escalation(cycle=row.cycle + 1, state=ASKING, source="", path=path_of(state, case.agent)[1])
    follows = next_step(state, row, case.agent, case.severity, comes.at_us, FIRST if comes.again else comes.why)
    by = row.path[follows.step - 1].by
    return Foreseen(comes.at_us, comes.again, comes.why, follows.step, follows.round, follows.persons, by)
