"""What an incident's account says of its impact: how much was wrong, how many customers, who is still to be told.

Figures alone; which acts, whom and for how much is `ask about=impact`. Customers are counted by their tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from failwell.core import contract as contracts
from failwell.core import rows
from failwell.core.contract import Contract
from failwell.core.errors import ContractError
from failwell.core.incidents.customers import place_of
from failwell.core.records import Entry
from failwell.core.state import State
from failwell.response.impact import Impact, Known, impact
from failwell.response.parts import Material, Part


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """`wrong` of the `touched` acts, `perhaps` of which nobody can say whether they happened; `customers` whom they
    reached, `not_told` and `not_whole` of these. `asked` are sentences that end in a command.
    """

    wrong: int
    touched: int
    perhaps: int
    undone: int
    irreversible: int
    customers: int
    not_told: int
    not_whole: int
    unknown: tuple[str, ...]
    asked: tuple[str, ...]


class Seen(NamedTuple):
    """The contracts by agent and `ID@VERSION`, and what people said of this incident's customers."""

    contracts: dict[tuple[str, str], rows.ContractRow]
    said: dict[str, rows.Customer]


def look(state: State, number: int) -> Seen:
    """What was adopted, and what was said."""
    return Seen(
        {(row.agent, f"{row.id}@{row.version}"): row for row in state.contract.values()},
        {place: row for place, row in state.customer.items() if place.startswith(place_of(number, ""))},
    )


def summary(number: int, found: Impact) -> Summary:
    """The figures of an impact, and what is asked because of them."""
    harmed = [one for one in found.customers if one.wrong]
    untold = sum(one.told is None for one in harmed)
    owed = sum(one.restored is None for one in harmed)
    asked: tuple[str, ...] = ()
    if untold or owed:
        of = "1 customer was" if len(harmed) == 1 else f"{len(harmed)} customers were"
        asked = (f"{of} reached: {untold} not told, {owed} not made whole: failwell incident customers {number}",)
    return Summary(
        wrong=found.wrong, touched=found.touched, perhaps=found.perhaps, undone=found.undone,
        irreversible=found.irreversible, customers=len(harmed), not_told=untold, not_whole=owed, unknown=found.unknown,
        asked=asked,
    )  # fmt: skip


def _tell(material: Material, seen: Seen) -> Summary:
    read: dict[int, Iterable[Entry[Any]]] = {}

    def pages(first: int) -> Iterable[Entry[Any]]:
        if first not in read:
            read[first] = material.read(first)
        return read[first]

    def terms(agent: str, label: str) -> Contract | None:
        row = seen.contracts.get((agent, label))
        try:
            return None if row is None else contracts.from_canonical(row.document.encode())
        except ContractError:  # of an earlier release
            return None

    known = Known(terms=terms, facts=lambda _: {}, names=lambda _: {}, row_of=lambda _: None, said=seen.said)
    return summary(material.number, impact(material.number, material.row, material.agent, pages, known, most=0))


#: Its part of an incident's account.
PART = Part("impact", look, _tell)
