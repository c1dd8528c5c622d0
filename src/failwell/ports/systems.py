"""How another system is told what happened in an incident: one happening, one answer, the same error as for people.

A system is told and never asked: what it says back is how it calls the incident, and nothing that it does changes
anything here. This module sends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One entry about an incident, and how the incident stood when it was written, whatever became of it since.

    `key` is the same at every attempt, `thread` that of its incident. `leaf` is the entry's leaf hash (hex, RFC 6962),
    `checkpoint` a signed note that covers it where there was one in time. `title`, `detail` and the names may carry
    what an agent wrote, so they are untrusted. Times are UTC in microseconds since 1970.
    """

    key: str
    thread: str
    origin: str
    seq: int
    leaf: str
    checkpoint: str
    kind: str
    at_us: int
    actor: str
    what: str
    detail: str
    incident: int
    title: str
    severity: str
    state: str
    opened_us: int
    agent: str
    agent_name: str


class System(Protocol):
    """Another system. `provider` is who takes it over; `tickets`: it calls incidents by names of its own, and what it
    was told is put on record one by one.
    """

    tickets: bool

    @property
    def provider(self) -> str: ...

    def take(self, happening: Happening, theirs: str | None) -> str | None:
        """Hand one over, for the incident that they call `theirs`; answers how they call it, None where they do not.

        Raises NotifyFailed where it was not taken over, or nobody knows.
        """
        ...

    def probe(self) -> str:
        """Reach it without telling of any incident; what it said. Raises NotifyFailed."""
        ...
