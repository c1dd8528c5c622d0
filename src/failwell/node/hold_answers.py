"""What is told of one hold: what it locks, how its agent stood, who was asked to keep what, and each copy (R9).

What the copies hold is not told over the socket: `hold_export` opens them, with the workspace's own keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from failwell.core import kinds, rows
from failwell.core.errors import InputError, NotFound
from failwell.core.incidents.holding import owed
from failwell.core.instants import format_at
from failwell.core.records import Entry, decode_entry
from failwell.core.state import State
from failwell.node.copy_file import copy_fault
from failwell.ports.storage import StoredEntry

if TYPE_CHECKING:
    from failwell.node.service import Node

#: How far behind what it locks a hold's own entries are looked for.
SEARCHED, PAGE = 50_000, 1000
_OF_A_HOLD = (kinds.HoldPlaced, kinds.HoldDescribed, kinds.PreservationAsked)


class HoldAnswers:
    """Answers about the holds of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def summed(self, state: State) -> dict[str, Any]:
        """How many holds stand, the directories that are owed a copy still and why, and the copies that there are."""
        standing = [row for row in state.hold.values() if row.lifted is None]
        return {
            "standing": len(standing), "owed": [name for row in standing for name in owed(row)],
            "copies": [kept.digest for row in state.hold.values() for kept in row.preserved if kept.digest],
            "failed": self._node.duties.copies.failed,
        }  # fmt: skip

    async def listed(self, key: Any) -> dict[str, Any]:
        """All holds, by number."""
        stored = [(number, rows.decode_row("hold", row)) for number, row in self._node.storage.rows("hold")]
        return {str(number): told_row(row) for number, row in stored}

    async def told(self, key: Any) -> dict[str, Any]:
        """Everything about hold `key`. Copies are read, so it takes as long as their bytes do."""
        try:
            number = int(key)
        except (TypeError, ValueError) as error:
            raise InputError("a hold is named by its number", hint="failwell hold list") from error

        def see(state: State) -> rows.Hold:
            row = state.hold.get(number)
            if row is None:
                raise NotFound(f"there is no hold {number}", hint="failwell hold list shows those there are.")
            return row

        row: rows.Hold = await self._node.questions.look(see)
        return await asyncio.to_thread(self._tell, number, row)

    def _tell(self, number: int, row: rows.Hold) -> dict[str, Any]:
        found = entries_of(self._node.storage.entries, number, row)
        copies = self._node.duties.copies
        told = {
            "hold": number, **told_row(row), "placed": None, "described": None, "asked": [], "copies": [],
            "failed": copies.failed,
        }  # fmt: skip
        for entry in found:
            body = {"entry": entry.seq, "at": entry.at, **msgspec.to_builtins(entry.body)}
            if isinstance(entry.body, kinds.HoldPlaced):
                told["placed"] = {**body, "by": entry.actor}
            elif isinstance(entry.body, kinds.HoldDescribed):
                told["described"] = body
            else:
                told["asked"].append(body)
        for kept in row.preserved:
            stored = self._node.storage.entry(kept.entry)
            body = {} if stored is None else msgspec.to_builtins(decode_entry(stored.data).body)
            wrong = None if kept.digest is None else copy_fault(copies.place, kept.digest)
            took_us = body.pop("took_us", None)
            took_ms = None if took_us is None else took_us / 1000
            told["copies"].append({**body, "took_ms": took_ms, "entry": kept.entry, "wrong": wrong})
        return told


def told_row(row: rows.Hold) -> dict[str, Any]:
    """A hold for people: its time as one, what is owed to it beside what has been dealt with."""
    told: dict[str, Any] = msgspec.to_builtins(row)
    del told["placed_us"]
    return {
        **told, "placed_at": format_at(row.placed_us) if row.placed_us else None, "owed": list(owed(row)),
        "preserved": [kept.name for kept in row.preserved],
    }  # fmt: skip


def entries_of(
    entries: Callable[[int, int], list[StoredEntry]], number: int, row: rows.Hold
) -> list[Entry[Any]]:  # fmt: skip
    """The entries that placed and described a hold: all of one commit, behind what it locks."""
    found: list[Entry[Any]] = []
    first = row.last
    while first < row.last + SEARCHED and (page := entries(first, PAGE)):
        for stored in page:
            entry: Entry[Any] = decode_entry(stored.data)
            if found and entry.at != found[0].at:
                return found
            if isinstance(entry.body, _OF_A_HOLD) and entry.body.hold == number:
                found.append(entry)
        first = page[-1].seq + 1
    return found
