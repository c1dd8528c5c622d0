"""The moments of an incident, from its onset to the release: each by the entry that says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from failwell.core import kinds
from failwell.core.instants import parse_at
from failwell.core.records import Entry


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of the response: the entry that says so, its ledger time, and milliseconds since the onset."""

    entry: int
    at: str
    after_onset_ms: float


class Moments:
    """An incident's own moments: for each the first entry that makes it."""

    def __init__(
        self, number: int, onset: int, cause: int, entries: Iterable[Entry[Any]], *, detect_only: bool = False
    ) -> None:  # fmt: skip
        """`cause`: what the signal that opened it is about."""
        #: What its vendor said of a detect-only agent's access: nothing that we order stops it.
        self.access: str | None = "nobody has been asked yet to take it away" if detect_only else None
        self.moments: dict[str, Entry[Any]] = {}
        #: Actions that were to be stopped, each with the entry that ordered it first.
        self.actions: dict[int, Entry[Any]] = {}
        self.ends: dict[int, Entry[Any]] = {}
        self.pages: set[int] = set()
        for entry in entries:
            if entry.seq == onset:
                self._first("onset", entry)
            if entry.seq == cause and isinstance(entry.body, kinds.InterruptUnconfirmed):
                # It was opened because this could not be confirmed: the first thing that is not shown to have stopped.
                self.actions[entry.body.action] = self.ends[entry.body.action] = entry
            self._take(number, entry, entry.body)

    def _first(self, name: str, entry: Entry[Any]) -> None:
        self.moments.setdefault(name, entry)

    def _take(self, number: int, entry: Entry[Any], body: Any) -> None:
        if isinstance(body, kinds.PageAttempted) and body.accepted and body.page in self.pages:
            self._first("paged", entry)
        elif isinstance(body, kinds.InterruptConfirmed | kinds.InterruptUnconfirmed) and body.action in self.actions:
            self.ends[body.action] = entry
            if self.actions.keys() <= {done for done, end in self.ends.items() if is_shown(end)}:
                self._first("stopped", entry)
        if getattr(body, "incident", None) == number:
            self._take_own(entry, body)

    def _take_own(self, entry: Entry[Any], body: Any) -> None:
        """An entry that names this incident."""
        named = _MOMENT_OF.get(type(body))
        if isinstance(body, kinds.AuthorityChanged):
            named = {"SUSPENDED": "suspended", "PROBATION": "released"}.get(body.now)
        if named is not None:
            self._first(named, entry)
        if isinstance(body, kinds.PageQueued):
            self.pages.add(body.page)
        elif isinstance(body, kinds.AccessRevoked):
            self.access = f"{body.state}: {body.detail} (try {body.tries}, entry {entry.seq})"
            if body.state == "confirmed":
                self._first("stopped", entry)
        elif isinstance(body, kinds.InterruptOrdered):
            self.actions = {**dict.fromkeys(body.actions, entry), **self.actions}
            if not self.actions and self.access is None:
                self._first("stopped", entry)


def is_shown(end: Entry[Any]) -> bool:
    """Whether that entry says that the action stopped; one of which nobody can say it has none."""
    return isinstance(end.body, kinds.InterruptConfirmed)


_MOMENT_OF: dict[type, str] = {
    kinds.IncidentOpened: "detected",
    kinds.InterruptOrdered: "ordered",
    kinds.HoldPlaced: "held",
    kinds.Acknowledged: "acknowledged",
}

#: All moments, in the order in which they are told.
MOMENTS = (
    "onset", "detected", "ordered", "stopped", "suspended", "held", "paged", "acknowledged", "released",
)  # fmt: skip


def times(own: Moments) -> dict[str, Moment | None]:
    """Every moment, None where no entry makes it, with its distance from the onset."""
    start = own.moments.get("onset") or own.moments.get("detected")
    start_us = parse_at(start.at) if start is not None else 0
    found: dict[str, Moment | None] = {}
    for name in MOMENTS:
        entry = own.moments.get(name)
        found[name] = (
            None
            if entry is None
            else Moment(entry=entry.seq, at=entry.at, after_onset_ms=(parse_at(entry.at) - start_us) / 1000)
        )
    return found
