"""What people make of a case: its state and severity, who holds it, what they found, what is to be done.

The folds, and what follows by rule. An entry that takes a step which the machine does not have, or takes away what two
persons have to take away, does not fold.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.incidents import releasing
from failwell.core.incidents.tables import Fold, Reaction, case_of
from failwell.core.machines import INCIDENT, worse
from failwell.core.projections import Projections
from failwell.core.records import Entry

KINDS = ("real", "drill", "canary", "external", "near-miss")
#: What takes two persons (`incident.propose`, `incident.agree`).
NONE, FALSE_ALARM, LOWER, NOT_SERIOUS = "none", "false-alarm", "severity", "not-serious"
PROPOSED = (NONE, FALSE_ALARM, LOWER, NOT_SERIOUS)
ENDED = frozenset({"CLOSED", "MERGED", "FALSE_ALARM"})


def _changed(state: Projections, entry: Entry[Any], body: kinds.IncidentChanged, at_us: int) -> None:
    row = case_of(state, entry, body.incident)
    change = _CHANGES.get(body.what)
    if change is None:
        raise Corrupt(f"entry {entry.seq} changes {body.what} of incident {body.incident}, which it has not")
    state.put("incident", body.incident, change(row, entry, body, at_us))


def _state(row: rows.Incident, entry: Entry[Any], body: kinds.IncidentChanged, at_us: int) -> rows.Incident:
    if row.state != body.was or body.now not in INCIDENT.get(row.state, ()):
        raise Corrupt(f"entry {entry.seq} takes incident {body.incident} from {row.state} to {body.now}")
    return replace(row, state=body.now, state_us=at_us, proposed=None)


def _severity(row: rows.Incident, entry: Entry[Any], body: kinds.IncidentChanged, at_us: int) -> rows.Incident:
    if row.severity != body.was or (worse(row.severity, body.now) != body.now and body.proposal is None):
        raise Corrupt(f"entry {entry.seq} lowers the severity of incident {body.incident} without a second person")
    return replace(row, severity=body.now, proposed=None if body.proposal else row.proposed)


def _kind(row: rows.Incident, entry: Entry[Any], body: kinds.IncidentChanged, at_us: int) -> rows.Incident:
    if row.kind != body.was or body.now not in KINDS:
        raise Corrupt(f"entry {entry.seq} makes incident {body.incident} a {body.now}")
    return replace(row, kind=body.now)


def _serious(row: rows.Incident, entry: Entry[Any], body: kinds.IncidentChanged, at_us: int) -> rows.Incident:
    if body.now == "yes":
        return replace(row, serious=row.serious or entry.seq)
    if body.proposal is None:
        raise Corrupt(f"entry {entry.seq} calls incident {body.incident} not serious without a second person")
    return replace(row, serious=None, proposed=None)


#: What an `incident.changed` may change, and how.
_CHANGES = {"state": _state, "severity": _severity, "kind": _kind, "serious": _serious}


def _proposed(state: Projections, entry: Entry[Any], body: kinds.IncidentProposed, at_us: int) -> None:
    case_of(state, entry, body.incident)
    if body.what not in PROPOSED:
        raise Corrupt(f"entry {entry.seq} proposes {body.what}")
    waits = rows.Proposed(body.what, body.value, body.person, body.digest, entry.seq)
    state.change("incident", body.incident, proposed=waits)


def _merged(state: Projections, entry: Entry[Any], body: kinds.IncidentMerged, at_us: int) -> None:
    row = case_of(state, entry, body.incident)
    into = case_of(state, entry, body.into)
    if "MERGED" not in INCIDENT.get(row.state, ()) or into.state in ENDED or body.into == body.incident:
        raise Corrupt(f"entry {entry.seq} merges incident {body.incident} into {body.into}, which cannot be")
    state.change("incident", body.incident, state="MERGED", state_us=at_us, merged_into=body.into)
    state.change("incident", body.into, severity=worse(into.severity, row.severity))


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
    state.change("incident", body.incident, missed=(*row.missed, body.objective))


def _claimed(state: Projections, entry: Entry[Any], body: kinds.ChangeClaimed, at_us: int) -> None:
    case_of(state, entry, body.incident)
    state.change("incident", body.incident, claimed=entry.seq)
    releasing.note_authors_of(state, body.incident, body.person)


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
REACTIONS: dict[type, Reaction] = {}
