"""What people make of a case: its state and severity, who holds it, what they found, what is to be done.

The folds, and what follows by rule. An entry that takes a step which the machine does not have, or takes away what two
persons have to take away, does not fold.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.following import Fold, Reaction, case_of
from failwell.core.incidents import reporting, steps
from failwell.core.incidents.endings import BELIEVED_OVER, OVER, left_open
from failwell.core.instants import parse_at
from failwell.core.machines import INCIDENT, worse
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

KINDS = ("real", "drill", "canary", "external", "near-miss")
#: What takes two persons (`incident.propose`, `incident.agree`).
NONE, FALSE_ALARM, LOWER, NOT_SERIOUS = "none", "false-alarm", "severity", "not-serious"
PROPOSED = (NONE, FALSE_ALARM, LOWER, NOT_SERIOUS)
#: States that two persons take a case to, and what they agree on for it.
_BY_TWO = {"FALSE_ALARM": FALSE_ALARM, "LEARNED": NONE}


def _changed(state: Projections, entry: Entry[Any], body: kinds.IncidentChanged, at_us: int) -> None:
    row = case_of(state, entry, body.incident)
    change = _CHANGES.get(body.what)
    if change is None:
        raise Corrupt(f"entry {entry.seq} changes {body.what} of incident {body.incident}, which it has not")
    state.put("incident", body.incident, change(row, entry, body, at_us))
    if body.what == "state" and body.now == "CLOSED" and (left := left_open(state, body.incident)):
        raise Corrupt(f"entry {entry.seq} closes incident {body.incident}, and open is: {left[0]}")


def _state(row: rows.Incident, entry: Entry[Any], body: kinds.IncidentChanged, at_us: int) -> rows.Incident:
    if row.state != body.was or body.now not in INCIDENT.get(row.state, ()) or body.now == "MERGED":
        raise Corrupt(f"entry {entry.seq} takes incident {body.incident} from {row.state} to {body.now}")
    if body.now in _BY_TWO:
        _agreed(row, entry, body, _BY_TWO[body.now])
    if body.now == "LEARNED" and row.claimed is not None:
        raise Corrupt(f"entry {entry.seq} has learned from incident {body.incident} by a change that nobody proved")
    changed = replace(row, state=body.now, state_us=at_us, proposed=None)
    return replace(changed, reopened_us=at_us, missed=()) if body.now == "REOPENED" else changed


def _severity(row: rows.Incident, entry: Entry[Any], body: kinds.IncidentChanged, at_us: int) -> rows.Incident:
    if row.severity != body.was or body.now == body.was:
        raise Corrupt(f"entry {entry.seq} changes a severity that incident {body.incident} has not")
    if worse(row.severity, body.now) != body.now:
        _agreed(row, entry, body, LOWER)
    return replace(row, severity=body.now, proposed=None)


def _kind(row: rows.Incident, entry: Entry[Any], body: kinds.IncidentChanged, at_us: int) -> rows.Incident:
    if row.kind != body.was or (body.was, body.now) != ("near-miss", "real"):
        raise Corrupt(f"entry {entry.seq} makes incident {body.incident}, a {row.kind}, a {body.now}")
    return replace(row, kind=body.now, proposed=None)


def _serious(row: rows.Incident, entry: Entry[Any], body: kinds.IncidentChanged, at_us: int) -> rows.Incident:
    if body.now == "yes":
        return replace(row, serious=row.serious or entry.seq, proposed=None)
    _agreed(row, entry, body, NOT_SERIOUS)
    return replace(row, serious=None, proposed=None)


def _aware(row: rows.Incident, entry: Entry[Any], body: kinds.IncidentChanged, at_us: int) -> rows.Incident:
    return replace(row, aware_us=parse_at(body.now))


def _agreed(row: rows.Incident, entry: Entry[Any], body: kinds.IncidentChanged, what: str) -> None:
    """INVARIANT (I7): what takes two persons was proposed by one, stands proposed, and is agreed to by another."""
    waits = row.proposed
    if waits is None or body.proposal != waits.digest or waits.what != what or entry.actor == f"person:{waits.person}":
        raise Corrupt(f"entry {entry.seq}: nobody else proposed what it says of incident {body.incident} ({what})")
    if what == LOWER and waits.value != body.now:
        raise Corrupt(f"entry {entry.seq} lowers incident {body.incident} to {body.now}, proposed was {waits.value}")


def agreed_step(row: rows.Incident, waits: rows.Proposed) -> tuple[str, str, str]:
    """(what, was, now) of what a second person agrees to."""
    if waits.what == LOWER:
        return "severity", row.severity, waits.value
    if waits.what == NOT_SERIOUS:
        return "serious", "yes", "no"
    return "state", row.state, "FALSE_ALARM" if waits.what == FALSE_ALARM else "LEARNED"


#: What an `incident.changed` may change, and how.
_CHANGES = {"state": _state, "severity": _severity, "kind": _kind, "serious": _serious, "aware": _aware}


def _proposed(state: Projections, entry: Entry[Any], body: kinds.IncidentProposed, at_us: int) -> None:
    case_of(state, entry, body.incident)
    if body.what not in PROPOSED:
        raise Corrupt(f"entry {entry.seq} proposes {body.what}")
    waits = rows.Proposed(body.what, body.value, body.person, body.digest, entry.seq, body.why)
    state.change("incident", body.incident, proposed=waits)


def _merged(state: Projections, entry: Entry[Any], body: kinds.IncidentMerged, at_us: int) -> None:
    """Told in the other one from here on, which takes over what must not be lost by that: the worse severity, the
    earlier beginning, a person's mark, what was missed.

    Attack: what nobody has looked into is merged into what was looked into already, and closed with it by one person.
    """
    row = case_of(state, entry, body.incident)
    into = case_of(state, entry, body.into)
    if "MERGED" not in INCIDENT.get(row.state, ()) or into.state in OVER | BELIEVED_OVER or body.into == body.incident:
        raise Corrupt(f"entry {entry.seq} merges incident {body.incident} into {body.into}, which cannot be")
    state.change("incident", body.incident, state="MERGED", state_us=at_us, merged_into=body.into, proposed=None)
    state.change(
        "incident", body.into, severity=worse(into.severity, row.severity), proposed=None,
        opened_us=min(into.opened_us, row.opened_us), onset_first=min(into.onset_first, row.onset_first),
        serious=into.serious or row.serious, informed=tuple(sorted({*into.informed, *row.informed})),
        missed=(*into.missed, *(each for each in row.missed if each not in into.missed)),
    )  # fmt: skip


def _noted(state: Projections, entry: Entry[Any], body: kinds.IncidentNoted, at_us: int) -> None:
    row = case_of(state, entry, body.incident)
    if body.note != row.notes + 1:
        raise Corrupt(f"entry {entry.seq} is note {body.note} of incident {body.incident} after {row.notes}")
    state.change(
        "incident", body.incident, notes=body.note, findings=row.findings + (body.sort != "note"),
        factors=row.factors + (body.sort == "factor"),
    )  # fmt: skip


def _task(state: Projections, entry: Entry[Any], body: kinds.IncidentTask, at_us: int) -> None:
    row = case_of(state, entry, body.incident)
    if body.task != row.tasked + 1:
        raise Corrupt(f"entry {entry.seq} is task {body.task} of incident {body.incident} after {row.tasked}")
    task = rows.Task(body.task, body.person, body.due_us, entry.seq)
    state.change("incident", body.incident, tasked=body.task, tasks=(*row.tasks, task))


def _task_ended(state: Projections, entry: Entry[Any], body: kinds.IncidentTaskEnded, at_us: int) -> None:
    row = case_of(state, entry, body.incident)
    left = tuple(task for task in row.tasks if task.number != body.task)
    if len(left) == len(row.tasks) or body.state not in ("done", "dropped"):
        raise Corrupt(f"entry {entry.seq} ends task {body.task} of incident {body.incident}, which is not open")
    state.change("incident", body.incident, tasks=left)


def _offered(state: Projections, entry: Entry[Any], body: kinds.IncidentOffered, at_us: int) -> None:
    case_of(state, entry, body.incident)
    state.change("incident", body.incident, offered=body.to)


def _missed(state: Projections, entry: Entry[Any], body: kinds.ObjectiveMissed, at_us: int) -> None:
    row = case_of(state, entry, body.incident)
    if body.objective in row.missed:
        raise Corrupt(f"entry {entry.seq} says a second time that {body.objective} was missed")
    if body.due_us >= at_us:
        raise Corrupt(f"entry {entry.seq} says that {body.objective} was missed before its time")
    state.change("incident", body.incident, missed=(*row.missed, body.objective))


def _claimed(state: Projections, entry: Entry[Any], body: kinds.ChangeClaimed, at_us: int) -> None:
    case_of(state, entry, body.incident)
    state.change("incident", body.incident, claimed=entry.seq, proposed=None)


def _after_signal(state: Projections, entry: Entry[Any], body: kinds.Signal) -> tuple[Draft, ...]:
    return (*steps.after_signal(state, entry, body), *reporting.after_signal(state, entry, body))


FOLDS: dict[type, Fold] = {
    kinds.IncidentChanged: _changed,
    kinds.IncidentProposed: _proposed,
    kinds.IncidentMerged: _merged,
    kinds.IncidentNoted: _noted,
    kinds.IncidentTask: _task,
    kinds.IncidentTaskEnded: _task_ended,
    kinds.IncidentOffered: _offered,
    kinds.ObjectiveMissed: _missed,
    kinds.ChangeClaimed: _claimed,
}
REACTIONS: dict[type, Reaction] = {
    kinds.Signal: _after_signal,
    kinds.IncidentUpdated: steps.after_updated,
    kinds.IncidentChanged: steps.after_changed,
    kinds.IncidentMerged: steps.after_merged,
    kinds.IncidentNoted: steps.after_noted,
    kinds.IncidentTask: steps.after_task,
    kinds.IncidentOffered: steps.after_offered,
    kinds.ObjectiveMissed: steps.after_missed,
}
