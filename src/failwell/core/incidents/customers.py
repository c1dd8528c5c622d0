"""The customers of an incident: who was told, who was made whole, by whose word (R11)."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from failwell.core import kinds, rows
from failwell.core.following import Fold, Reaction, case_of
from failwell.core.projections import Projections
from failwell.core.records import Entry


def place_of(incident: int, customer: str) -> str:
    """The key of a customer's row."""
    return f"{incident}/{customer}"


def _told(state: Projections, entry: Entry[Any], body: kinds.CustomerTold, at_us: int) -> None:
    case_of(state, entry, body.incident)
    _put(state, body.incident, body.customer, told=entry.seq)


def _restored(state: Projections, entry: Entry[Any], body: kinds.CustomerRestored, at_us: int) -> None:
    case_of(state, entry, body.incident)
    _put(state, body.incident, body.customer, restored=entry.seq)


def _put(state: Projections, incident: int, customer: str, **fields: int) -> None:
    place = place_of(incident, customer)
    row = state.customer.get(place) or rows.Customer(told=None, restored=None)
    state.put("customer", place, replace(row, **fields))


FOLDS: dict[type, Fold] = {kinds.CustomerTold: _told, kinds.CustomerRestored: _restored}
REACTIONS: dict[type, Reaction] = {}
