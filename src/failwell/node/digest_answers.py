"""What is told of digests: those there are, and one as its entry has it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from failwell.core.errors import InputError, NotFound
from failwell.core.records import Entry, decode_entry

if TYPE_CHECKING:
    from failwell.core import rows
    from failwell.core.state import State
    from failwell.node.service import Node

#: Digests that are listed, the newest.
LISTED = 200


class DigestAnswers:
    """Answers about the digests of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def listed(self, key: Any) -> list[dict[str, Any]]:
        """The newest digests first; of a person where `key` names one."""

        def see(state: State) -> list[tuple[int, rows.Digest]]:
            found = [(number, row) for number, row in state.digest.items() if key in (None, row.person)]
            return sorted(found, reverse=True)[:LISTED]

        seen: list[tuple[int, rows.Digest]] = await self._node.questions.look(see)
        return await asyncio.to_thread(lambda: [self._told(number, row) for number, row in seen])

    async def told(self, key: Any) -> dict[str, Any]:
        """One digest, with everything that it counts; agents by their short names."""
        if not isinstance(key, int) or isinstance(key, bool):
            raise InputError("a digest is named by its number", hint="failwell digest list")

        def see(state: State) -> tuple[rows.Digest | None, dict[str, str]]:
            return state.digest.get(key), {agent: row.name for agent, row in state.agent.items()}

        row, names = await self._node.questions.look(see)
        if row is None:
            raise NotFound(f"there is no digest {key}", hint="failwell digest list")
        told = await asyncio.to_thread(self._told, key, row)
        made = await asyncio.to_thread(self._entry, row.made)
        counts = [
            {"agent": names.get(agent, agent), "signal": signal, "times": times}
            for agent, signal, times in made.body.counts
        ]
        return {**told, "counts": counts, "more": made.body.more}

    def _told(self, number: int, row: rows.Digest) -> dict[str, Any]:
        made = self._entry(row.made)
        received = None if row.received is None else self._entry(row.received)
        return {
            "digest": number, "person": row.person, "at": made.at, "entry": row.made, "since": row.since,
            "until": row.until, "times": sum(times for _, _, times in made.body.counts),
            "received": None if received is None
            else {"entry": received.seq, "at": received.at, "how": received.body.how},
        }  # fmt: skip

    def _entry(self, seq: int) -> Entry[Any]:
        stored = self._node.storage.entry(seq)
        if stored is None:
            raise NotFound(f"entry {seq} is not stored yet", hint="Ask again in a moment.")
        return decode_entry(stored.data)
