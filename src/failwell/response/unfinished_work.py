"""The work that a stop left: where each run stands, who is asked to take it, what became of it (R7).

Told from entries and rows alone. A person who takes a run over must know what was promised to whom and how far it came:
on whose behalf it was opened, what was done in it last, what still waits for somebody's answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from failwell.core import kinds, rows
from failwell.core.incidents.work import place_of
from failwell.core.records import Entry
from failwell.core.state import State
from failwell.response.parts import Material, Part

OPEN = ("left", "taken")


class LastAction(msgspec.Struct, frozen=True, kw_only=True):
    """The newest action of a run: its verdict, and how it ended (None: it has no end on record)."""

    action: int
    at: str
    tool: str
    verdict: str
    ended: str | None


class LeftRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `to` are asked to take it, `person` has it or ended it; `entry` says so. `done` counts what was
    completed in it, `open` are its actions without an end, `tickets` what of it waits for a person's answer.
    """

    run: int
    agent: str
    state: str
    to: tuple[str, ...]
    person: str | None
    entry: int
    opened_at: str | None
    principal: str | None
    principal_provenance: str
    request_provenance: str
    handed_over_by: tuple[str, ...]
    done: int
    last: LastAction | None
    open: tuple[int, ...]
    tickets: tuple[int, ...]


class LeftWork(msgspec.Struct, frozen=True, kw_only=True):
    """What an incident left. `asked` are sentences that end in a command."""

    runs: tuple[LeftRun, ...]
    left: int
    asked: tuple[str, ...]


class Seen(NamedTuple):
    """What was looked at in the writer's turn: the rows of the runs left, and the open tickets of each."""

    work: dict[int, rows.Work]
    tickets: dict[int, tuple[int, ...]]


def look(state: State, number: int) -> Seen:
    """The rows of what an incident left."""
    left = {
        int(place.partition("/")[2]): row
        for place, row in state.work.items()
        if place.startswith(place_of(number, 0)[:-1])
    }
    waiting: dict[int, list[int]] = {}
    for ticket, row in state.ticket.items():
        if row.run in left and row.state == "open":
            waiting.setdefault(row.run, []).append(ticket)
    return Seen(left, {run: tuple(sorted(found)) for run, found in waiting.items()})


def told(number: int, seen: Seen, entries: Iterable[Entry[Any]], reveal: Callable[[str], str]) -> LeftWork:
    """Where each run stands, by the entries from the oldest of them on."""
    stories = {run: _Story() for run in seen.work}
    for entry in entries:
        if entry.run in stories:
            stories[entry.run].take(entry)
    runs = tuple(
        stories[run].tell(run, row, seen.tickets.get(run, ()), reveal) for run, row in sorted(seen.work.items())
    )
    left = [each for each in runs if each.state == "left"]
    asked: tuple[str, ...] = ()
    if left:
        named = ", ".join(dict.fromkeys(person for each in left for person in each.to))
        what = "A run is" if len(left) == 1 else f"{len(left)} runs are"
        asked = (f"{what} left unfinished; {named} takes it: failwell incident work {number}",)
    return LeftWork(runs=runs, left=len(left), asked=asked)


class _Story:
    """One run, from its entries in order."""

    def __init__(self) -> None:
        self._opened: Entry[Any] | None = None
        self._last: Entry[Any] | None = None
        self._ends: dict[int, str] = {}
        self._allowed: dict[int, None] = {}

    def take(self, entry: Entry[Any]) -> None:
        body = entry.body
        if isinstance(body, kinds.RunOpened):
            self._opened = entry
        elif isinstance(body, kinds.Decision):
            self._last = entry
            if body.verdict == "ALLOW" or not getattr(body, "governed", True):
                self._allowed[entry.seq] = None
        elif isinstance(body, kinds.Outcome):
            self._ends[body.decision] = body.state

    def tell(self, run: int, row: rows.Work, tickets: tuple[int, ...], reveal: Callable[[str], str]) -> LeftRun:
        opened = None if self._opened is None else self._opened.body
        principal = None if opened is None or opened.principal is None else reveal(opened.principal)
        return LeftRun(
            run=run, agent=row.agent if self._opened is None else str(self._opened.agent), state=row.state, to=row.to,
            person=row.person, entry=row.entry, opened_at=None if self._opened is None else self._opened.at,
            principal=principal, principal_provenance=getattr(opened, "principal_provenance", "absent"),
            request_provenance=getattr(opened, "request_provenance", "absent"),
            handed_over_by=getattr(opened, "chain", ()),
            done=sum(state == "completed" for state in self._ends.values()), last=self._newest(),
            open=tuple(action for action in self._allowed if action not in self._ends), tickets=tickets,
        )  # fmt: skip

    def _newest(self) -> LastAction | None:
        if self._last is None:
            return None
        body = self._last.body
        return LastAction(
            action=self._last.seq, at=self._last.at, tool=body.tool, verdict=body.verdict,
            ended=self._ends.get(self._last.seq),
        )  # fmt: skip


def _tell(material: Material, seen: Seen) -> LeftWork:
    entries = material.read(min(seen.work)) if seen.work else ()
    return told(material.number, seen, entries, material.reveal)


#: Its part of an incident's account.
PART = Part("work", look, _tell)
