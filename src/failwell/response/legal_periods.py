"""Legal periods as data: what the files beside this module say, each with its law and the day on which it was read.

The program counts and reminds; whether a duty applies, and whether it was met, is for counsel. Dates at which laws
begin to apply are not here: who starts a clock knows that one applies.
"""

from __future__ import annotations

import functools
import tomllib
from datetime import date
from hashlib import sha256
from importlib import resources
from typing import Annotated, Any

import msgspec

from failwell.core.errors import NotFound
from failwell.core.instants import format_at
from failwell.core.kinds import Deadline
from failwell.core.orders import DueBy

COUNSEL = "Whether it applies, and whether it was met, is for counsel. This is what somebody read on the day it names."
HOUR_US = 3_600_000_000
_UNITS = {"h": HOUR_US, "d": 24 * HOUR_US}


class Due(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One deadline: who is to be informed, `within` so many hours or days (of 24 hours) from awareness."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,40}\Z")]
    to: str
    within: Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,3}[hd]\Z")]
    incomplete: bool

    @property
    def within_us(self) -> int:
        """Microseconds."""
        return int(self.within[:-1]) * _UNITS[self.within[-1]]


class Period(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One duty to inform."""

    title: str
    law: str
    applies: str
    aware: str
    read_on: date
    note: str
    deadlines: Annotated[tuple[Due, ...], msgspec.Meta(min_length=1)]


class Known(msgspec.Struct, frozen=True):
    """A duty, its id, and the SHA-256 (hex) of the file that says so."""

    id: str
    period: Period
    digest: str

    def due(self, aware_us: int) -> tuple[Deadline, ...]:
        """Its deadlines, counted from `aware_us` (UTC, microseconds since 1970)."""
        return tuple(
            Deadline(deadline=each.name, due_us=aware_us + each.within_us, incomplete=each.incomplete)
            for each in self.period.deadlines
        )

    def shown(self, aware_us: int) -> tuple[DueBy, ...]:
        """The same as the person is shown and signs them."""
        return tuple(
            DueBy(deadline=each.deadline, at=format_at(each.due_us), incomplete=each.incomplete)
            for each in self.due(aware_us)
        )

    def told(self) -> dict[str, Any]:
        """As commands tell it."""
        return {"clock": self.id, "data": self.digest, **msgspec.to_builtins(self.period), "counsel": COUNSEL}


@functools.cache
def known() -> dict[str, Known]:
    """Every duty that this release has data of, by id."""
    place = resources.files("failwell.response") / "periods"
    found = {}
    for each in sorted(place.iterdir(), key=lambda each: each.name):
        if each.name.endswith(".toml"):
            data = each.read_bytes()
            name = each.name.removesuffix(".toml")
            period = msgspec.convert(tomllib.loads(data.decode()), Period)
            found[name] = Known(name, period, sha256(data).hexdigest())
    return found


def named(name: str) -> Known:
    """The duty of this id. NotFound where there is no data of it."""
    found = known().get(name)
    if found is None:
        raise NotFound(f"there is no data of a duty {name}", hint="failwell clock list")
    return found
