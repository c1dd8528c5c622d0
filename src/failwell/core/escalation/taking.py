"""Taken, and what came of it: an acknowledgment ends the asking for a while, an ended case ends it for good.

Whoever took it is heard of within a time, or everybody is asked anew (`due`): taken is not over.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.escalation import due
from failwell.core.escalation.stepping import ACTOR, escalates, running, start
from failwell.core.escalation.targets import satisfied
from failwell.core.following import TELLS, Fold, Reaction
from failwell.core.machines import BELIEVED_OVER, CASE_OVER
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

#: How an escalation ends.
TAKEN, OVER = "taken", "over"
_OUTCOMES = frozenset({TAKEN, OVER})
_OVER_STATES = CASE_OVER | BELIEVED_OVER
_UNTAKEN = frozenset({"OPEN", "REOPENED"})

# ---- from entries to the row ---------------------------------------------------------------------------------


def _ended(state: Projections, entry: Entry[Any], body: kinds.EscalationEnded, at_us: int) -> None:
    row = running(state, entry, body)
    if body.outcome not in _OUTCOMES or row.state == due.OVER or (body.outcome == TAKEN and row.state == due.TAKEN):
        raise Corrupt(f"entry {entry.seq} ends what is {row.state} as {body.outcome}")
    if body.outcome == OVER:
        state.change("escalation", body.incident, state=due.OVER)
        return
    if not body.persons or body.persons != satisfied(state, row):
        raise Corrupt(f"entry {entry.seq} says that incident {body.incident} is taken by others than took it")
    state.change("escalation", body.incident, state=due.TAKEN, **_lasts(state, at_us, at_us))


def acknowledged(state: Projections, number: int, person: str, at_us: int) -> None:
    """A person took it: noted for the cycle that runs; what was taken already is theirs anew from here on."""
    row = state.escalation.get(number)
    if row is None or row.state == due.OVER:
        return
    took = tuple(dict.fromkeys((*row.acknowledged, person)))
    anew = {} if row.state == due.ASKING else _lasts(state, at_us, at_us)
    state.change("escalation", number, acknowledged=took, **anew)


def note_progress(state: Projections, entry: Entry[Any], at_us: int) -> None:
    """Whatever a person has on record about an incident that is taken shows that somebody works on it.

    Attack: a mail program opens each letter, and nobody is ever silent. Having seen is not working.
    """
    number = getattr(entry.body, "incident", None)
    if not isinstance(number, int) or not entry.actor.startswith("person:") or isinstance(entry.body, kinds.Seen):
        return
    row = state.escalation.get(number)
    if row is not None and row.state == due.TAKEN:
        state.change("escalation", number, **_lasts(state, row.taken_us, at_us))


def _lasts(state: Projections, taken_us: int, progress_us: int) -> dict[str, int]:
    """The timers of what was taken at `taken_us`, and last worked on at `progress_us`."""
    lasts_us, within_us = due.terms(state)
    due_us = min(taken_us + lasts_us, progress_us + within_us)
    return {"taken_us": taken_us, "progress_us": progress_us, "due_us": due_us}


# ---- what follows in the same commit -------------------------------------------------------------------------


def _after_acknowledged(state: Projections, entry: Entry[Any], body: kinds.Acknowledged) -> tuple[Draft, ...]:
    row = state.escalation.get(body.incident)
    if row is None or row.state != due.ASKING:
        return ()
    persons = satisfied(state, row)
    if not persons:
        return ()  # more of them have to take it
    return (_end(state, entry, body.incident, row, TAKEN, persons, "as many took it as its path asks for"),)


def _after_changed(state: Projections, entry: Entry[Any], body: kinds.IncidentChanged) -> tuple[Draft, ...]:
    return _after_state(state, entry, body.incident) if body.what == "state" else ()


def _after_merged(state: Projections, entry: Entry[Any], body: kinds.IncidentMerged) -> tuple[Draft, ...]:
    """Attack: what nobody has taken is merged into what nobody was ever asked about."""
    row = state.escalation.get(body.incident)
    ended = _after_state(state, entry, body.incident)
    asked = row is not None and row.state == due.ASKING and body.into not in state.escalation
    return (*ended, start(state, body.into, due.OPENED, entry.seq)) if asked else ended


def _after_state(state: Projections, entry: Entry[Any], number: int) -> tuple[Draft, ...]:
    """What is over is asked of nobody; what turned out not to be is asked anew."""
    row, case = state.escalation.get(number), state.incident[number]
    if case.state in _OVER_STATES and row is not None and row.state != due.OVER:
        return (_end(state, entry, number, row, OVER, (), f"it is {case.state}"),)
    if case.state == "REOPENED" and (row is None or row.state != due.ASKING):
        return (start(state, number, due.REOPENED, entry.seq),)
    return ()


def _after_rules(state: Projections, entry: Entry[Any], body: kinds.ResponseRules) -> tuple[Draft, ...]:
    """The cases that agents have now, and that a release before this one left untaken, are asked of people.

    Older ones wait in `incident list`: an upgrade wakes nobody for each of them.
    """
    if not escalates(state) or state.mode != "live":
        return ()
    held = {row.incident for row in state.agent.values() if row.incident is not None}
    return tuple(
        start(state, number, due.OPENED, entry.seq)
        for number in sorted(held - state.escalation.keys())
        if state.incident[number].state in _UNTAKEN and TELLS & set(state.incident[number].response)
    )


def _end(
    state: Projections, entry: Entry[Any], number: int, row: rows.Escalation, outcome: str, persons: tuple[str, ...],
    why: str,
) -> Draft:  # fmt: skip
    body = kinds.EscalationEnded(incident=number, cycle=row.cycle, outcome=outcome, persons=persons, why=why)
    return Draft(body=body, actor=ACTOR, agent=state.incident[number].agent or None, refs=(entry.seq,))


FOLDS: dict[type, Fold] = {kinds.EscalationEnded: _ended}
REACTIONS: dict[type, Reaction] = {
    kinds.Acknowledged: _after_acknowledged,
    kinds.Acknowledged2: _after_acknowledged,
    kinds.IncidentChanged: _after_changed,
    kinds.IncidentMerged: _after_merged,
    kinds.ResponseRules: _after_rules,
}
