"""From entries to what other systems are told of them: each as the incident stood then, not as it stands now.

Attack: a system that was away for a night, and is told of an incident that it never heard of that it was closed, or is
told today's severity of what happened yesterday.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from failwell.core import kinds
from failwell.core.escalation.feeds import incident_of
from failwell.core.instants import parse_at
from failwell.core.machines import SEVERITIES
from failwell.core.records import Entry, decode_entry
from failwell.node.posting import thread_of
from failwell.ports.storage import Storage, StoredEntry
from failwell.ports.systems import Happening
from failwell.response.steps import tell

PAGE = 500
#: What may say of an incident that it stands otherwise.
_ABOUT = b'"incident"'


class Standing(NamedTuple):
    """How an incident stood after some entry."""

    title: str
    severity: str
    state: str
    agent: str
    opened_us: int


class Reading:
    """Reads happenings of one ledger in order. `names`: short names of agents as they are known now."""

    def __init__(
        self, storage: Storage, origin: str, opened: Callable[[int], int], names: Callable[[str], str]
    ) -> None:
        self._storage = storage
        self._origin = origin
        self._opened = opened
        self._names = names
        self._stand: dict[int, Standing] = {}
        self._at = -1

    def after(self, seq: int, below: int) -> Iterator[tuple[int, Happening | None]]:
        """Every entry behind `seq` and under `below`: its number, and what it tells other systems."""
        if seq != self._at:
            self._stand, self._at = {}, seq  # it goes back, or leaps: nothing that is known holds there
        for stored in self._stored(seq + 1, below):
            entry = decode_entry(stored.data) if _ABOUT in stored.data else None
            number = None if entry is None else incident_of(entry.body)
            if entry is None or number is None:
                self._at = stored.seq
                yield stored.seq, None
                continue
            self._stand[number] = self._moved(number, entry)
            self._at = stored.seq
            yield stored.seq, self._happening(stored, entry, number)

    def _moved(self, number: int, entry: Entry[Any]) -> Standing:
        before = self._stand.get(number)
        if before is None and not isinstance(entry.body, kinds.IncidentOpened):
            before = self._before(number, entry.seq)
        body = entry.body
        if isinstance(body, kinds.IncidentMerged):  # the other one takes its severity over
            into = self._stand.get(body.into) or self._before(body.into, entry.seq)
            self._stand[body.into] = into._replace(severity=_worse(into.severity, _known(before).severity))
        return moved(before, entry, number)

    def _before(self, number: int, seq: int) -> Standing:
        """How an incident stood before entry `seq`, read again from its first one."""
        found: Standing | None = None
        for stored in self._stored(self._opened(number), seq):
            if _ABOUT not in stored.data:
                continue
            entry = decode_entry(stored.data)
            if isinstance(entry.body, kinds.IncidentMerged) and entry.body.into == number:
                found = _known(found)
                other = self._before(entry.body.incident, entry.seq)
                found = found._replace(severity=_worse(found.severity, other.severity))
            elif incident_of(entry.body) == number:
                found = moved(found, entry, number)
        return _known(found)

    def _stored(self, first: int, below: int) -> Iterator[StoredEntry]:
        while first < below:
            page = self._storage.entries(first, min(PAGE, below - first))
            if not page:
                return
            yield from page
            first = page[-1].seq + 1

    def _happening(self, stored: StoredEntry, entry: Entry[Any], number: int) -> Happening:
        stand = self._stand[number]
        what, detail = tell(entry.body) or (entry.kind.replace(".", " "), "")
        return Happening(
            key=key_of(self._origin, entry.seq), thread=thread_of(self._origin, number), origin=self._origin,
            seq=entry.seq, leaf=stored.leaf.hex(), checkpoint="", kind=entry.kind, at_us=parse_at(entry.at),
            actor=entry.actor, what=what, detail=detail, incident=number, title=stand.title, severity=stand.severity,
            state=stand.state, opened_us=stand.opened_us, agent=stand.agent,
            agent_name=self._names(stand.agent) if stand.agent else "",
        )  # fmt: skip


def key_of(origin: str, seq: int) -> str:
    """The key of what is told of an entry, the same at every attempt."""
    return "told-" + hashlib.sha256(f"{origin}/{seq}".encode()).hexdigest()[:24]


def moved(before: Standing | None, entry: Entry[Any], number: int) -> Standing:
    """How incident `number` stands after an entry about it. LookupError where it was never opened."""
    body = entry.body
    if isinstance(body, kinds.IncidentOpened):
        return Standing(body.title, body.severity, "OPEN", entry.agent or "", parse_at(entry.at))
    stand = _known(before)
    if isinstance(body, kinds.IncidentUpdated):
        return stand._replace(state=body.state, severity=_worse(stand.severity, body.severity))
    if isinstance(body, kinds.IncidentMerged):
        return stand._replace(state="MERGED")
    if isinstance(body, kinds.IncidentChanged) and body.what == "state":
        return stand._replace(state=body.now)
    if isinstance(body, kinds.IncidentChanged) and body.what == "severity":
        return stand._replace(severity=body.now)
    return stand


def _known(stand: Standing | None) -> Standing:
    if stand is None:
        raise LookupError("an incident that was never opened")
    return stand


def _worse(one: str, other: str) -> str:
    return max(one, other, key=SEVERITIES.index)
