"""What the node does by the clock: a set wall clock is noticed, an observation or a ticket ends, access is revoked,
what was stopped on its way is undone, it is tested that tools can be stopped, the HTTP door is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from failwell.gate.observing import end_observations
from failwell.gate.tickets import expire_tickets
from failwell.ledger.jobs import CONTAINMENT, Plan, Turn
from failwell.node.asking_back import AskingBack
from failwell.node.compensating import Compensator
from failwell.node.ensuring import Ensurer
from failwell.node.feeds import Feeds
from failwell.node.maildir import Maildir
from failwell.node.revoking import Revoker
from failwell.node.web_door import WebDoor
from failwell.node.working_copies import WorkingCopies
from failwell.node.zones import tell_zones
from failwell.response import clocks
from failwell.response.digests import make_digests
from failwell.response.escalating import step_due
from failwell.response.objectives import miss_objectives
from failwell.response.releases import end_broken
from failwell.response.teams import note_turns

if TYPE_CHECKING:
    from failwell.node.service import Node

#: How often it is looked whether an observation or a ticket is over. Until it is written down, each action is denied.
OVER_S = 1.0
#: How often ledger time is held against the wall clock.
CLOCK_S = 5.0


class Duties:
    """`tick` is called every fraction of a second by the node's loop; `end` when it stops."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.revoker = Revoker(node)
        self.ensurer = Ensurer(node)
        self.compensator = Compensator(node)
        self.copies = WorkingCopies(node)
        self.inbox = Maildir(node)
        self.asking_back = AskingBack(node)
        self.feeds = Feeds(node)
        self.web = WebDoor(node)
        self._over_at = self._clock_at = 0.0

    async def tick(self, now_s: float) -> None:
        """What is due at `now_s` of the loop's clock. Raises FailwellError where the ledger does not take it."""
        if self._node.writer.read_only is not None:
            return
        self.web.tick()
        await self._node.tested.tick(now_s)
        await self.revoker.tick(now_s)
        await self.ensurer.tick(now_s)
        await self.compensator.tick()
        self.inbox.tick(now_s)
        self.asking_back.tick(now_s)
        self.feeds.tick()
        self.copies.tick(now_s)
        if now_s >= self._over_at:
            self._over_at = now_s + OVER_S
            # It takes authority away, so it waits for nothing (I8).
            await self._node.writer.submit_async(end_observations, CONTAINMENT)
            await self._node.writer.submit_async(end_broken, CONTAINMENT)
            await self._node.writer.submit_async(step_due, CONTAINMENT)
            await self._node.writer.submit_async(expire_tickets)
            await self._node.writer.submit_async(miss_objectives)
            await self._node.writer.submit_async(clocks.tick)
        if now_s >= self._clock_at:
            self._clock_at = now_s + CLOCK_S
            await self._node.writer.submit_async(self._drift)
            await self._node.writer.submit_async(tell_zones)
            await self._node.writer.submit_async(note_turns)
            await self._node.writer.submit_async(make_digests)

    def _drift(self, turn: Turn) -> Plan[None]:
        draft = self._node.writer.book.drift_draft()
        return Plan(() if draft is None else (draft,), lambda entries: None)

    def busy(self) -> bool:
        """Whether something is under way, or due without anybody's doing: a node does not end by itself then."""
        return self.compensator.busy() or self.copies.busy() or self.feeds.busy()

    async def end(self) -> None:
        """Stop what is under way; the next start takes it up again."""
        self.copies.end()
        await self.asking_back.end()
        await self.feeds.end()
        await self.web.end()
        await self._node.tested.end()
        await self.revoker.end()
        await self.ensurer.end()
        await self.compensator.end()
