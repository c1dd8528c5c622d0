"""What is told of an incident's impact: the ledger read in order, names and amounts revealed, what was left in reach.

What people said of a customer is in the rows; everything else is read from the entries each time it is asked, so that
a later finding, look at the world or line in a tool side's log is in the next answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from failwell.core import contract as contracts
from failwell.core import kinds, rows
from failwell.core.contract import Contract
from failwell.core.errors import ContractError, InputError, NotFound
from failwell.core.instants import parse_at
from failwell.core.records import Entry, decode_entry
from failwell.core.state import State
from failwell.response.customer_drafts import draft, find_customer
from failwell.response.impact import TOLD_ACTS, Impact, Known, impact
from failwell.response.reach import Reach, reach

if TYPE_CHECKING:
    from failwell.node.service import Node

#: Entries that are read at once.
PAGE = 2000
ALL = 2**53


class _Looked(msgspec.Struct, frozen=True):
    """What was seen in the writer's turn. Rows never change, they are replaced."""

    row: rows.Incident
    agent: rows.Agent | None
    contracts: dict[tuple[str, str], rows.ContractRow]
    said: dict[str, rows.Customer]
    reach: Reach | None


class ImpactAnswers:
    """Answers about the impact of the incidents of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def told(self, key: Any) -> dict[str, Any]:
        """The impact of incident `key`."""
        return msgspec.to_builtins(await self.impact(_number(key)))  # type: ignore[no-any-return]

    async def draft(self, key: Any) -> dict[str, Any]:
        """A letter to one customer (`customer`, name or token) of `incident`, for a person to read and change."""
        try:
            number, named = _number(key["incident"]), str(key["customer"])
        except (KeyError, TypeError) as error:
            raise InputError("a draft is asked for by incident and customer") from error
        found = await self.impact(number, most=ALL)
        customer = find_customer(found, named)
        authority = await self._node.questions.look(lambda state: _authority(state, found.agent))
        text = draft(found, customer, stopped=authority in ("SUSPENDED", "RETIRED"))
        return {"incident": number, "customer": msgspec.to_builtins(customer), "text": text}

    async def impact(self, number: int, *, most: int = TOLD_ACTS) -> Impact:
        """The impact of an incident, read from the ledger; at most `most` acts one by one."""
        row = await self._node.questions.look(lambda state: _row(state, number))
        suspended = await asyncio.to_thread(self._suspension, row)
        looked = await self._node.questions.look(lambda state: _look(state, number, suspended))
        return await asyncio.to_thread(self._tell, number, looked, most)

    def _suspension(self, row: rows.Incident) -> Entry[Any] | None:
        """The entry by which its agent was suspended, where it was."""
        seq = row.marks.get("SUSPENDED")
        stored = None if seq is None else self._node.storage.entry(seq)
        return None if stored is None else decode_entry(stored.data)

    def _tell(self, number: int, looked: _Looked, most: int) -> Impact:
        terms: dict[tuple[str, str], Contract | None] = {}

        def contract(agent: str, label: str) -> Contract | None:
            place = agent, label
            if place not in terms:
                terms[place] = _read(looked.contracts.get(place))
            return terms[place]

        known = Known(terms=contract, facts=self._facts, names=self._names, row_of=self._run, said=looked.said)
        return impact(number, looked.row, looked.agent, self._pages, known, looked.reach, most=most)

    def _pages(self, first: int) -> Iterator[Entry[Any]]:
        """Entries from `first` to the end, a page at a time: no more of a long ledger is held at once."""
        page = self._node.storage.entries(first, PAGE)
        while page:
            yield from (decode_entry(stored.data) for stored in page)
            page = self._node.storage.entries(page[-1].seq + 1, PAGE)

    def _facts(self, decision: int) -> Mapping[str, Any]:
        blob = self._node.storage.blob(decision)
        facts: Mapping[str, Any] = {} if blob is None else self._node.vault.open(blob).get("facts") or {}
        return facts

    def _names(self, tokens: set[str]) -> Mapping[str, str]:
        return self._node.questions.names(set(tokens)) if tokens else {}

    def _run(self, run: int) -> rows.Run | None:
        stored = self._node.storage.row("run", run)
        return None if stored is None else rows.decode_row("run", stored)


def _number(key: Any) -> int:
    try:
        return int(key)
    except (TypeError, ValueError) as error:
        raise InputError("an incident is named by its number", hint="failwell incident list") from error


def _row(state: State, number: int) -> rows.Incident:
    row = state.incident.get(number)
    if row is None:
        raise NotFound(f"there is no incident {number}", hint="failwell incident list shows those there are.")
    return row


def _authority(state: State, agent: str) -> str | None:
    row = state.agent.get(agent)
    return None if row is None else row.authority


def _look(state: State, number: int, suspended: Entry[Any] | None) -> _Looked:
    row = _row(state, number)
    left = None
    if suspended is not None and isinstance(suspended.body, kinds.AuthorityChanged):
        left = reach(state, str(suspended.agent), suspended.seq, parse_at(suspended.at), suspended.body.was)
    return _Looked(
        row=row, agent=state.agent.get(row.agent),
        contracts={(each.agent, f"{each.id}@{each.version}"): each for each in state.contract.values()},
        said={place: said for place, said in state.customer.items() if place.startswith(f"{number}/")}, reach=left,
    )  # fmt: skip


def _read(row: rows.ContractRow | None) -> Contract | None:
    """The contract of a row; None where it is of an earlier release that cannot be read any more."""
    try:
        return None if row is None else contracts.from_canonical(row.document.encode())
    except ContractError:
        return None
