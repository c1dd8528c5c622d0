"""What an incident's account tells of the lock on its record, and whether an authority has to hear of it first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from failwell.core import kinds, rows
from failwell.core.incidents.endings import is_over
from failwell.core.incidents.holding import owed
from failwell.core.instants import format_at
from failwell.core.state import State
from failwell.response.parts import Material, Part


class HeldDirectory(msgspec.Struct, frozen=True, kw_only=True):
    """A directory that was to be copied: `entry` None while it still is; `complete` whether all of it was there."""

    directory: str
    entry: int | None
    complete: bool
    missing: str | None


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A hold that was placed for the incident, or on its agent before it was over."""

    hold: int
    first: int
    placed_at: str
    lifted: int | None
    asked: tuple[str, ...]
    directories: tuple[HeldDirectory, ...]


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """`waits`: nothing that loosens passes for its agent, since no authority was informed yet."""

    holds: tuple[Held, ...]
    serious: int | None
    informed: tuple[int, ...]
    waits: bool
    asked: tuple[str, ...]


class _Seen(NamedTuple):
    holds: tuple[tuple[int, rows.Hold], ...]
    waits: bool


def _look(state: State, number: int) -> _Seen:
    case = state.incident[number]
    mine = tuple(
        (hold, row)
        for hold, row in state.hold.items()
        if row.incident == number or (row.incident is None and row.agent == case.agent and row.lifted is None)
    )
    return _Seen(mine, case.serious is not None and not case.informed and not is_over(state, number))


def _tell(material: Material, seen: _Seen) -> Lock:
    asked: tuple[str, ...] = ()
    if seen.waits:
        told = f'failwell incident inform {material.number} --authority "..."'
        asked = (f"Inform the authority, and say that you did: nothing that loosens passes before. Run: {told}",)
    return Lock(
        holds=tuple(_held(material, number, row) for number, row in seen.holds), serious=material.row.serious,
        informed=material.row.informed, waits=seen.waits, asked=asked,
    )  # fmt: skip


def _held(material: Material, number: int, row: rows.Hold) -> Held:
    bodies = [entry.body for entry in material.entries]
    kept = {
        body.name: body for body in bodies if isinstance(body, kinds.DirectoryPreserved) and body.hold == number
    }  # fmt: skip
    waiting = owed(row)
    entries = {each.name: each.entry for each in row.preserved}
    return Held(
        hold=number, first=row.first, placed_at=format_at(row.placed_us), lifted=row.lifted,
        asked=tuple(
            body.person for body in bodies if isinstance(body, kinds.PreservationAsked) and body.hold == number
        ),
        directories=tuple(
            HeldDirectory(
                directory=name, entry=entries.get(name), complete=name in kept and kept[name].complete,
                missing="not copied yet" if name in waiting else None if name not in kept else kept[name].missing,
            )
            for name in row.directories
        ),
    )  # fmt: skip


PART = Part("lock", _look, _tell)


# ---- the timeline --------------------------------------------------------------------------------------------


def _tell_preserved(body: kinds.DirectoryPreserved) -> tuple[str, str]:
    if body.digest is None:
        return "DIRECTORY NOT COPIED", f"{body.name} for hold {body.hold}: {body.missing}"
    files = f"{body.files} {'file' if body.files == 1 else 'files'}, {body.bytes:,} bytes"
    return "directory copied", f"{body.name} for hold {body.hold}: {files}{'' if body.complete else '; NOT ALL OF IT'}"


def _tell_informed(body: kinds.AuthorityInformed) -> tuple[str, str]:
    more = "" if body.complete else "; a first report, more follows"
    return "authority informed", f"{body.authority} at {body.informed_at}, says {body.person}{more}"


WORDS: dict[type, Callable[[Any], tuple[str, str] | None]] = {
    kinds.HoldPlaced: lambda body: ("record held", f"hold {body.hold}, from entry {body.first}"),
    kinds.HoldDescribed: lambda body: (
        "state described",
        f"hold {body.hold}: actions {len(body.running)}, runs {len(body.runs)}, tickets {len(body.tickets)} open then",
    ),
    kinds.PreservationAsked: lambda body: (
        "keeping asked",
        f"{body.person}, of records of {', '.join(body.tools[:5])}{' and more' if len(body.tools) > 5 else ''}",
    ),
    kinds.DirectoryPreserved: _tell_preserved,
    kinds.HoldProposed: lambda body: ("lifting proposed", f"hold {body.hold}, by {body.person}: {body.why}"),
    kinds.HoldLifted: lambda body: ("HOLD LIFTED", f"hold {body.hold}, by {body.person}"),
    kinds.AuthorityInformed: _tell_informed,
}
