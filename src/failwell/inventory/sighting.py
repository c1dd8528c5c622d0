"""What was seen of agents, and what could not be looked at. Values only; every text in them is a stranger's."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

#: Names and details are cut here: whoever writes a trace chooses them.
MAX_TEXT = 200
#: Agents that are told one by one; a trace with more of them is told as such.
MAX_SIGHTINGS = 10_000


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """A trace of one agent. `how` is telemetry, configuration or calls; `at` when it was last seen acting (RFC 3339
    UTC), None where the trace tells no time; `count` how often. `name` None: an agent that gives no name.
    """

    name: str | None
    how: str
    where: str
    what: str
    at: str | None = None
    count: int = 1


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A place that was not, or not wholly, looked at: agents may be there that are not listed."""

    where: str
    why: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """All sightings of a search, and what it could not look at; `files` were read."""

    sightings: tuple[Sighting, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    files: int = 0

    def __add__(self, other: Found) -> Found:
        return Found(
            sightings=self.sightings + other.sightings, unreadable=self.unreadable + other.unreadable,
            files=self.files + other.files,
        )  # fmt: skip


def together(parts: Iterable[Found]) -> Found:
    """Several searches as one."""
    sightings: list[Sighting] = []
    unreadable: list[Unreadable] = []
    files = 0
    for part in parts:
        sightings += part.sightings
        unreadable += part.unreadable
        files += part.files
    return Found(sightings=tuple(sightings), unreadable=tuple(unreadable), files=files)


def cut(text: object) -> str:
    """A text of a trace, no longer than a line."""
    plain = str(text)
    return plain if len(plain) <= MAX_TEXT else f"{plain[:MAX_TEXT]}... ({len(plain)} characters)"
