"""What people made of a case so far: who has it, what they found, what is to be done, what waits for a second person.

What a person wrote lies apart from the record and may be erased: then that is told, with the entry that bound it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from failwell.core import kinds, rows
from failwell.core.incidents.cases import FALSE_ALARM, LOWER, NONE, NOT_SERIOUS
from failwell.core.incidents.endings import left_open, parts
from failwell.core.instants import format_at
from failwell.core.state import State
from failwell.response.parts import Material, Part

ERASED = "(not kept any more; the entry holds its digest)"
_WAITS = {
    LOWER: ("lowering its severity", "lower"), FALSE_ALARM: ("that it is a false alarm", "dismiss"),
    NONE: ("that nothing is to be changed", "close"), NOT_SERIOUS: ("that it is not serious", "serious"),
}  # fmt: skip


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A note, finding or factor of a person, as they wrote it."""

    note: int
    sort: str
    person: str
    at: str
    text: str
    cites: tuple[int, ...]
    entry: int


class Todo(msgspec.Struct, frozen=True, kw_only=True):
    """A task, open or ended. `due` is RFC 3339; `state` is open, done or dropped."""

    task: int
    person: str
    by: str
    due: str | None
    state: str
    text: str
    entry: int


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A change that a person says was made because of it."""

    change: str
    person: str
    text: str
    entry: int


class CaseTold(msgspec.Struct, frozen=True, kw_only=True):
    """`parts` are the incident and those merged into it; `open` is what keeps it from being closed."""

    holder: str | None
    offered: str | None
    serious: int | None
    aware: str | None
    merged_into: int | None
    parts: tuple[int, ...]
    missed: tuple[str, ...]
    proposed: dict[str, Any] | None
    written: tuple[Written, ...]
    tasks: tuple[Todo, ...]
    claims: tuple[Claim, ...]
    open: tuple[str, ...]
    asked: tuple[str, ...]


class _Seen(NamedTuple):
    row: rows.Incident
    parts: tuple[int, ...]
    open: tuple[str, ...]


def look(state: State, number: int) -> _Seen:
    """What the state says of the case."""
    return _Seen(state.incident[number], parts(state, number), left_open(state, number))


def tell(material: Material, seen: _Seen) -> CaseTold:
    """The case as people left it."""
    row, number = seen.row, material.number
    proposed = None if row.proposed is None else msgspec.structs.asdict(row.proposed)
    return CaseTold(
        holder=row.holder, offered=row.offered, serious=row.serious,
        aware=None if row.aware_us is None else format_at(row.aware_us),
        merged_into=row.merged_into, parts=seen.parts, missed=row.missed, proposed=proposed,
        written=_written(material), tasks=_tasks(material), claims=_claims(material), open=seen.open,
        asked=_asked(number, row, seen),
    )  # fmt: skip


def _at(us: int | None) -> str | None:
    return None if us is None else format_at(us)


def _said(material: Material, entry: int, words: str | None) -> str:
    if words is None:
        return ""
    found = material.text(entry)
    return ERASED if found is None else found


def _own(material: Material, kind: type) -> list[Any]:
    found: list[Any] = [entry for entry in material.entries if isinstance(entry.body, kind)]
    return [entry for entry in found if entry.body.incident == material.number]


def _written(material: Material) -> tuple[Written, ...]:
    return tuple(
        Written(
            note=entry.body.note, sort=entry.body.sort, person=entry.body.person, at=entry.at,
            text=_said(material, entry.seq, entry.body.words), cites=entry.body.cites, entry=entry.seq,
        )
        for entry in _own(material, kinds.IncidentNoted)
    )  # fmt: skip


def _tasks(material: Material) -> tuple[Todo, ...]:
    ended = {entry.body.task: entry.body.state for entry in _own(material, kinds.IncidentTaskEnded)}
    return tuple(
        Todo(
            task=entry.body.task, person=entry.body.person, by=entry.body.by,
            due=None if entry.body.due_us is None else format_at(entry.body.due_us),
            state=ended.get(entry.body.task, "open"), text=_said(material, entry.seq, entry.body.words),
            entry=entry.seq,
        )
        for entry in _own(material, kinds.IncidentTask)
    )  # fmt: skip


def _claims(material: Material) -> tuple[Claim, ...]:
    return tuple(
        Claim(
            change=entry.body.change, person=entry.body.person, text=_said(material, entry.seq, entry.body.words),
            entry=entry.seq,
        )
        for entry in _own(material, kinds.ChangeClaimed)
    )  # fmt: skip


def _asked(number: int, row: rows.Incident, seen: _Seen) -> tuple[str, ...]:
    """What the case is waiting for, each a sentence that ends in a command."""
    asked: list[str] = []
    if row.merged_into is not None:
        return (f"It is told in incident {row.merged_into}: failwell incident show {row.merged_into}",)
    if row.offered is not None:
        asked.append(
            f"{row.offered} is asked to take it over: failwell incident acknowledge {number} --as {row.offered}"
        )
    if row.proposed is not None:
        what, command = _WAITS[row.proposed.what]
        asked.append(
            f"{row.proposed.person} proposed {what} ({row.proposed.why}); another person, an approver, agrees: "
            f"failwell incident {command} {number} --agree"
        )
    else:
        asked += _next(number, row, seen)
    return tuple(asked)


def _next(number: int, row: rows.Incident, seen: _Seen) -> list[str]:
    if row.state == "REOPENED":
        return [f"It turned out not to be over. Somebody takes it: failwell incident acknowledge {number}"]
    if row.state == "TRIAGED":
        return [f'Find out what happened, citing entries: failwell incident find {number} "..." --cites ENTRY']
    if row.state == "INVESTIGATING" and not row.factors:
        return [f'Say what contributed: failwell incident find {number} "..." --cites ENTRY --factor']
    if row.state == "INVESTIGATING":
        return [f'Once nothing more goes wrong: failwell incident resolve {number} "WHY"']
    if row.state == "RESOLVED" and row.claimed is None:
        return [f'Decide what is learned; if nothing is changed: failwell incident close {number} --none "WHY"']
    if row.state == "LEARNED":
        left = f"Open before it closes: {'; '.join(seen.open[:3])}. Then" if seen.open else "Nothing of it is open"
        return [f"{left}: failwell incident close {number}"]
    return []


PART = Part("case", look, tell)
