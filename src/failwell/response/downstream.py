"""Downstream of an incident: which runs, agents and people were handed results after what went wrong (R11).

Results go to whoever opened the run and the principal it is for; up to the run that handed it over; and from there down
to whatever was handed over later. Pure: from the entries by which runs were opened. That somebody was handed a result
does not say that they used it; what their runs did since then stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from failwell.core import kinds, rows
from failwell.core.records import Entry

#: Decisions that are named of one run; `acts` counts all.
NAMED = 20
#: The run itself, the one that had handed it over, one that was handed work over afterwards.
WAYS = ("own", "up", "down")


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """A run that results went to from entry `since` on. `how`: own (the failing agent's), up (it had handed the work
    over), down (it was handed work over afterwards).

    `acts`: what was let pass in it since then with an effect, or may have one; `entries` names the first of them.
    """

    run: int
    agent: str
    how: str
    since: int
    of: int | None
    principal: str | None
    principal_provenance: str
    host: str | None
    acts: int = 0
    entries: tuple[int, ...] = ()


RowOf = Callable[[int], rows.Run | None]


def handed(tainted: dict[int, int], row_of: RowOf, opened: Iterable[tuple[int, int]]) -> tuple[Handed, ...]:
    """The runs that were handed results: `tainted` are those that something went wrong in, each with the entry from
    which its results are. `opened`: (run, the run that handed it over), as they were opened.
    """
    children: dict[int, list[int]] = {}
    for run, parent in opened:
        children.setdefault(parent, []).append(run)
    since = dict(tainted)
    how: dict[int, tuple[str, int | None]] = {run: ("own", None) for run in tainted}
    waiting = sorted(tainted, key=tainted.__getitem__)
    while waiting:
        run = waiting.pop(0)
        row = row_of(run)
        reached = [] if row is None or row.parent is None else [(row.parent, "up", since[run])]
        reached += [(child, "down", child) for child in children.get(run, ()) if child > since[run]]
        for other, way, at in reached:
            if other not in since or at < since[other]:
                since[other] = at
                how.setdefault(other, (way, run))
                waiting.append(other)
    found = []
    for run in sorted(since, key=lambda run: (since[run], WAYS.index(how[run][0]), run)):
        row = row_of(run)
        if row is not None:
            way, of = how[run]
            found.append(
                Handed(
                    run=run,
                    agent=row.agent,
                    how=way,
                    since=since[run],
                    of=of,
                    principal=row.principal,
                    principal_provenance=row.principal_provenance,
                    host=row.host,
                )
            )
    return tuple(found)


def with_acts(
    found: Iterable[Handed], entries: Iterable[Entry[Any]], is_act: Callable[[Entry[Any]], bool]
) -> tuple[Handed, ...]:
    """The same with what each run did since then: `is_act` says of a decision whether it let an effect pass."""
    by_run = {each.run: each for each in found}
    acts: dict[int, list[int]] = {run: [] for run in by_run}
    for entry in entries:
        each = by_run.get(entry.run) if entry.run is not None else None
        if (
            each is not None and each.how != "own" and entry.seq > each.since
            and isinstance(entry.body, kinds.Decision) and is_act(entry)
        ):  # fmt: skip
            acts[each.run].append(entry.seq)
    return tuple(
        msgspec.structs.replace(each, acts=len(acts[run]), entries=tuple(acts[run][:NAMED]))
        for run, each in by_run.items()
    )
