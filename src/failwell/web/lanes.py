"""How much is worked on at once: each request goes by a lane, waits there in turn and for a time, or is turned away.

Lanes, so that no crowd keeps a stop from getting through: what is answered at once (bounded, with a queue), what takes
long by its nature (tools that run, streams: bounded, without a queue), what restricts, and what anybody may ask. A
request has come whole before it takes up anybody's place: slow senders hold nothing but their own connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from enum import Enum

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from failwell.core.errors import FailwellError, Unhealthy
from failwell.web.connection import DOOR, Limits
from failwell.web.problems import MEDIA_TYPE, encode, headers_of, problem_of

_LOG = logging.getLogger("failwell.web")
#: Places of the lanes by which orders come, and the question for health: no crowd of others takes them.
STOPS, ASIDE = 32, 8
#: What of an order's body is not held against the sum of all bodies: a stop, whole.
STOP_BYTES = 32_768


class Lane(Enum):
    PROMPT = "prompt"
    LASTING = "lasting"
    STOP = "stop"
    ASIDE = "aside"


LaneOf = Callable[[Scope], Lane]


def prompt(scope: Scope) -> Lane:
    """Everything is answered at once."""
    return Lane.PROMPT


class _Places:
    """`most` requests at once, and `queued` that wait."""

    def __init__(self, most: int, queued: int, wait_s: float) -> None:
        self._most = most
        self._queued = queued
        self._wait_s = wait_s
        self.taken = 0
        self.waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> bool:
        """Wait for a place, in turn; False where there is none in time."""
        if self.taken < self._most:
            self.taken += 1
            return True
        if len(self.waiting) >= self._queued:
            return False
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(place)
        try:
            async with asyncio.timeout(self._wait_s):
                await place
        except TimeoutError:
            self._forget(place)
            return False
        except BaseException:
            self._forget(place)
            raise
        return True

    def _forget(self, place: asyncio.Future[None]) -> None:
        if place in self.waiting:
            self.waiting.remove(place)
        elif place.done() and not place.cancelled():
            self.give()  # it was given in the moment in which nobody wanted it any more

    def give(self) -> None:
        """The place is the next one's in the queue, else nobody's."""
        while self.waiting:
            place = self.waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.taken -= 1


class Bounded:
    """An application behind the bounds of `limits`; `lane` says which lane a request takes."""

    def __init__(self, app: ASGIApp, limits: Limits, lane: LaneOf = prompt) -> None:
        self._app = app
        self._lane = lane
        self._most_bytes = limits.buffered_bytes
        self._held_bytes = 0
        self.lanes = {
            Lane.PROMPT: _Places(limits.in_flight, limits.queued, limits.queue_s),
            Lane.LASTING: _Places(limits.lasting, 0, 0),
            Lane.STOP: _Places(STOPS, limits.queued, limits.queue_s),
            Lane.ASIDE: _Places(ASIDE, limits.queued, limits.queue_s),
        }
        self.turned_away = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, counted = bytearray(), 0
        # Attack: bodies that never end, as many as are held, so that there is no room for a stop.
        free = STOP_BYTES if self._lane(scope) is Lane.STOP else 0
        try:
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    return
                body += message.get("body", b"")
                more = message.get("more_body", False)
                before, counted = counted, max(0, len(body) - free)
                self._held_bytes += counted - before
                if counted and self._held_bytes > self._most_bytes:
                    await self._turn_away(send, "too much is being sent to this door at once", close=True)
                    return
            await self._whole(scope, bytes(body), receive, send)
        finally:
            self._held_bytes -= counted

    async def _whole(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        places = self.lanes[self._lane(scope)]
        if not await places.take():
            await self._turn_away(send, "more is asked of this door at once than it takes")
            return
        try:
            if not scope["extensions"][DOOR]["gone"]():
                await self._serve(scope, _whole(body, receive), send)
        finally:
            places.give()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception as error:
            # INVARIANT: a fault of ours is said to be one, and tells a stranger nothing else.
            _LOG.exception("a request was not served")
            if begun:
                raise
            hint = "It is in the door's log; what the record holds of it: failwell ledger tail"
            await tell(send, FailwellError(f"a fault of this door: {type(error).__name__}", hint=hint))

    async def _turn_away(self, send: Send, why: str, *, close: bool = False) -> None:
        self.turned_away += 1
        error = Unhealthy(why, code="crowded", hint="Nothing was done. Ask again after Retry-After.")
        await tell(send, error, close=close)


def _whole(body: bytes, receive: Receive) -> Receive:
    """What the application receives: the body at once, and that its caller is gone."""
    told = False

    async def take() -> Message:
        nonlocal told
        if not told:
            told = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return take


async def tell(send: Send, error: FailwellError, *, close: bool = False) -> None:
    """Answer with a problem document; `close`: what is still being sent is not read."""
    problem = problem_of(error)
    body = encode(problem)
    told = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **headers_of(problem)}
    if close:
        told["connection"] = "close"
    headers = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
