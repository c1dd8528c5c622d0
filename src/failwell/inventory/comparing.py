"""Agents that were seen against agents that are registered: one line each, and none is left out (R32).

A trace names an agent by its own word, so who is called like a registered agent is taken for it, and the line says that
it goes by the name. Whoever is seen under no registered name is listed as such; what gives no name, and what could not
be looked at, is unknown. It is never taken for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from failwell.inventory.sighting import Found, Sighting

GOVERNED, OBSERVED, DETECT_ONLY, BARE, STOPPED, STRANGER, UNKNOWN = (
    "governed", "observed", "detect-only", "registered without contract", "stopped", "seen, not registered", "unknown",
)  # fmt: skip
#: What nobody governs comes first.
ORDER = (STRANGER, UNKNOWN, OBSERVED, DETECT_ONLY, BARE, GOVERNED, STOPPED)
_BY_AUTHORITY = {
    "ACTIVE": GOVERNED, "RESTRICTED": GOVERNED, "PROBATION": GOVERNED, "OBSERVED": OBSERVED, "REGISTERED": BARE,
    "SUSPENDED": STOPPED, "RETIRED": STOPPED,
}  # fmt: skip


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as the workspace has it; `seen_at` is its newest entry on record."""

    agent: str
    name: str
    owner: str
    authority: str
    contract: bool
    detect_only: bool
    observed_until: str | None
    seen_at: str | None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One agent, or one place where one may be. `where` are the traces, the newest first."""

    agent: str | None
    name: str
    state: str
    owner: str | None
    observed_until: str | None
    last_seen: str | None
    where: tuple[Sighting, ...]
    why: str | None = None


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """All lines, what nobody governs first; `counts` by state."""

    lines: tuple[Line, ...]
    counts: dict[str, int]

    @property
    def ungoverned(self) -> int:
        """Lines that are under no contract in force."""
        return sum(count for state, count in self.counts.items() if state not in (GOVERNED, STOPPED))


def compare(registered: Iterable[Registered], found: Found) -> Inventory:
    """The inventory: every registered agent, everyone who was seen, and every place that could not be looked at."""
    known = list(registered)
    by_name = {name: row for row in known for name in (row.name, row.agent)}
    seen: dict[str, list[Sighting]] = {}
    strangers: dict[str | None, list[Sighting]] = {}
    for sighting in found.sightings:
        row = None if sighting.name is None else by_name.get(sighting.name)
        if row is None:
            strangers.setdefault(sighting.name, []).append(sighting)
        else:
            seen.setdefault(row.agent, []).append(sighting)
    lines = [_registered(row, seen.get(row.agent, [])) for row in known]
    lines += [_stranger(name, traces) for name, traces in strangers.items()]
    lines += [
        Line(agent=None, name="?", state=UNKNOWN, owner=None, observed_until=None, last_seen=None, where=(),
             why=f"{place.where} {place.why}")
        for place in found.unreadable
    ]  # fmt: skip
    lines.sort(key=lambda line: (ORDER.index(line.state), line.name, line.why or ""))
    return Inventory(lines=tuple(lines), counts=_counted(lines))


def _counted(lines: Iterable[Line]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for line in lines:
        counts[line.state] = counts.get(line.state, 0) + 1
    return counts


def _registered(row: Registered, traces: list[Sighting]) -> Line:
    state = _BY_AUTHORITY.get(row.authority, UNKNOWN)
    if state is GOVERNED and not row.contract:
        state = BARE
    if row.detect_only and state is not STOPPED:
        state = DETECT_ONLY
    return Line(
        agent=row.agent, name=row.name, state=state, owner=row.owner,
        observed_until=row.observed_until if state is OBSERVED else None,
        last_seen=_latest([row.seen_at, *(one.at for one in traces)]), where=_newest_first(traces),
    )  # fmt: skip


def _stranger(name: str | None, traces: list[Sighting]) -> Line:
    why = "it gives no name by which it could be told from others" if name is None else None
    return Line(
        agent=None, name=name or "?", state=UNKNOWN if name is None else STRANGER, owner=None, observed_until=None,
        last_seen=_latest([one.at for one in traces]), where=_newest_first(traces), why=why,
    )  # fmt: skip


def _latest(times: Iterable[str | None]) -> str | None:
    return max((time for time in times if time is not None), default=None)


def _newest_first(traces: list[Sighting]) -> tuple[Sighting, ...]:
    return tuple(sorted(traces, key=lambda one: (one.at or "", one.where), reverse=True))
