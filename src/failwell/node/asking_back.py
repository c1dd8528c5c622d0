"""Whom the node asks by itself to show that a channel reaches them, and how many are known to be reached (R10).

Who could be asked by a channel is worked out in a copy, beside the writer's turn: a house of thousands of agents has
many paths.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from failwell.core import rows
from failwell.core.escalation import lint, proofs
from failwell.core.instants import format_at
from failwell.core.projections import Projections
from failwell.ledger.jobs import Plan, Turn
from failwell.response.proofs import ask_due

if TYPE_CHECKING:
    from failwell.node.service import Node

#: How often it is looked whether somebody has to be asked.
LOOK_S = 20.0
#: Persons that one look asks; the next one asks the rest.
AT_ONCE = 10
FRESH, STALE, NEVER = "proven", "stale", "never shown"


class AskingBack:
    """Of one node. `tick` is called by its loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._next_s: float | None = None
        self._task: asyncio.Task[None] | None = None
        #: How many ways to people there are, by how they stand; None before the first look.
        self.told: dict[str, int] | None = None

    def tick(self, now_s: float) -> None:
        """Look, where it is time and the last look is over; not at once when a node starts, which has more to do."""
        if self._next_s is None:
            self._next_s = now_s + LOOK_S
        if now_s < self._next_s or (self._task is not None and not self._task.done()):
            return
        self._next_s = now_s + LOOK_S
        self._task = asyncio.create_task(self._look())
        # What a look fails with, the next one will; nobody is stopped by not being asked.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def end(self) -> None:
        """Stop what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        state, now_us = await self._still()
        if state.workspace[1].escalation is None:
            self.told = None
            return
        reached = await asyncio.to_thread(lint.reached, state)
        stands = [standing(state, channel, person, now_us) for channel, person in reached]
        self.told = {each: stands.count(each) for each in (FRESH, STALE, NEVER)}
        digest_of = (await asyncio.to_thread(lambda: self._node.answering.keys)).digest
        for _ in range(AT_ONCE):
            if not await self._node.writer.submit_async(lambda turn: ask_due(turn, reached, digest_of)):
                return

    async def listed(self) -> list[dict[str, Any]]:
        """By which channels whom the paths name could be asked, and when each was last shown to reach them."""
        state, now_us = await self._still()
        reached = await asyncio.to_thread(lint.reached, state)
        known = {tuple(key.split(" ", 1)) for key in state.channel}
        return [_one(state, channel, person, (channel, person) in reached, now_us)
                for channel, person in sorted(reached | known) if state.enrolled(person)]  # fmt: skip

    async def _still(self) -> tuple[Projections, int]:
        def job(turn: Turn) -> Plan[tuple[Projections, int]]:
            seen = lint.still(turn.state), turn.now_us
            return Plan((), lambda entries: seen)

        return await self._node.writer.submit_async(job)


def standing(state: Projections, channel: str, person: str, now_us: int) -> str:
    """How a way to a person stands: proven, stale or never shown."""
    row = state.channel.get(proofs.key_of(channel, person))
    if row is None or row.proven is None:
        return NEVER
    escalating = state.workspace[1].escalation or rows.Escalating()
    return FRESH if now_us - row.proven_us <= escalating.prove_us else STALE


def _one(state: Projections, channel: str, person: str, used: bool, now_us: int) -> dict[str, Any]:
    row = state.channel.get(proofs.key_of(channel, person)) or rows.Channel()
    waits = row.asked is not None and now_us <= row.due_us
    return {
        "channel": channel, "person": person, "state": standing(state, channel, person, now_us), "used": used,
        "how": row.how or None, "proven": row.proven, "proven_at": format_at(row.proven_us) if row.proven else None,
        "asked": row.asked if waits else None, "until": format_at(row.due_us) if waits else None,
        "token": row.token if waits else None,
    }  # fmt: skip
