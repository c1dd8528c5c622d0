"""The agent: it tells customers that a parcel is late, and keeps its notes in a memory that is too small.

Its fault is a real one and nobody plays it: like a model whose context is cut, it forgets whom it has told first,
takes them for untold, and its list of whom to tell again only ever grows. What it does about an error is also what
agents do: it tries again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from failwell.core.errors import FailwellError
from failwell.drills.demo import story

#: Notes that fit into its memory; fewer than there are customers.
ROOM = 3
#: So long a list makes it turn to the bulk send.
LONG_LIST = 64
TRIES = 3
BACK_OFF_S = 0.15

Say = Callable[[str, dict[str, Any]], None]


class Run(Protocol):
    """The part of a run that an agent uses."""

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **more: Any) -> Any: ...


class RefundBot:
    """One task: `customers` are to be told once each. `say` is its log; nothing that it says is counted anywhere."""

    def __init__(self, run: Run, customers: Sequence[str], say: Say) -> None:
        self._run = run
        self._customers = customers
        self._say = say
        self._notes: deque[str] = deque(maxlen=ROOM)
        self._again: list[str] = []
        self._bulk: asyncio.Task[Any] | None = None

    async def work(self) -> None:
        """Tell everybody, then everybody it does not remember; ends when it is stopped."""
        try:
            for customer in self._customers:
                await self._tell(customer, "The carrier is late; this customer has a parcel on the way.")
            while missing := [each for each in self._customers if each not in self._notes]:
                self._again += missing
                if len(self._again) >= LONG_LIST and (self._bulk is None or self._bulk.done()):
                    self._bulk = asyncio.create_task(self._tell_all())
                await self._tell(missing[0], f"My notes do not say that {missing[0]} was told.")
        finally:
            if self._bulk is not None:
                await asyncio.gather(self._bulk, return_exceptions=True)

    async def _tell(self, customer: str, reason: str) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                await self._run.call(story.SEND, customer_id=customer, notice=story.NOTICE, reason=reason)
                break
            except FailwellError as error:
                self._say("error", {"code": error.code, "message": error.message})
                if attempt == TRIES:
                    raise
                await asyncio.sleep(BACK_OFF_S)
        self._notes.append(customer)
        self._say("told", {"customer": customer})

    async def _tell_all(self) -> None:
        reason = f"{len(self._again)} notices seem not to have gone out; I send them in bulk."
        try:
            await self._run.call(story.SEND_BULK, customer_ids=list(self._again), notice=story.NOTICE, reason=reason)
        except FailwellError as error:
            self._say("error", {"code": error.code, "message": error.message})
