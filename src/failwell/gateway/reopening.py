"""A backend whose connection may be lost and made anew: for calls that come later, never for those that were under way.

What was under way when the node went away is told so; its outcome is on record, and whoever makes the call again under
its id is told it. INVARIANT: no call is made twice from here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from failwell.client.answers import Ticket
from failwell.core.errors import FailwellError, Unreachable
from failwell.gateway.backend import Backend, Call, Called, Listener, Offered


class Connected(NamedTuple):
    """A backend, and the future that is done when its connection is over."""

    backend: Backend
    ended: asyncio.Future[FailwellError]


class Reopening:
    """The backend of one session, over as many connections as it takes. `connect` makes one; it may fail."""

    def __init__(self, connect: Callable[[], Awaitable[Connected]], note: Callable[[str], None]) -> None:
        self._connect = connect
        self._note = note
        self._now: Connected | None = None
        self._listener: Listener | None = None
        self._making: asyncio.Lock = asyncio.Lock()
        self._closed = False

    async def open(self, listener: Listener) -> Offered:
        self._listener = listener
        async with self._making:
            return await self._open()

    async def list(self) -> Offered:
        return await (await self._there()).list()

    async def call(self, call: Call) -> Called:
        return await (await self._there()).call(call)

    async def cancel(self, call: str, why: str | None) -> None:
        # Who is gone has stopped it already: the next node finds nothing of it.
        if self._now is not None and not self._now.ended.done():
            await self._now.backend.cancel(call, why)

    async def ticket(self, number: int) -> Ticket:
        return await (await self._there()).ticket(number)

    async def close(self) -> None:
        self._closed = True
        if self._now is not None:
            await self._now.backend.close()

    async def _there(self) -> Backend:
        """The backend of now, made anew where its connection is over."""
        async with self._making:
            if self._closed:
                raise Unreachable("this session is over")
            if self._now is None or self._now.ended.done():
                await self._open()
                self._note("the node is there again: its tool servers were started anew")
                if self._listener is not None:
                    self._listener.listed()
            assert self._now is not None
            return self._now.backend

    async def _open(self) -> Offered:
        assert self._listener is not None
        made = await self._connect()
        offered = await made.backend.open(self._listener)
        self._now = made
        return offered
