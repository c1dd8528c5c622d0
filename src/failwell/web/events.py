"""The event stream of a caller that executes actions itself: over it the node asks it to stop (server-sent events).

Whoever begins an action names the stream by which it can be told to stop. Losing the stream is losing the caller, as on
the unix socket: what was begun over it is stopped, and on record as what nobody can say the end of.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import OrderedDict
from typing import Any

import msgspec
from starlette.types import Send

from failwell.core.errors import FailwellError, Unhealthy
from failwell.web.callers import Caller
from failwell.web.connection import DOOR
from failwell.web.door import Asked, Door

MEDIA_TYPE = "text/event-stream"
#: A line now and then shows to both sides that the other is there.
QUIET_S = 10.0
#: Streams of one caller at once, events of one that wait to be read, and stops of actions that it does not know yet.
MOST_OF_ONE, MOST_WAITING, MOST_EARLY = 16, 10_000, 1000
LOST = "the event stream ended by which its caller could be told to stop"


class Stream:
    """One open stream of one caller, and what was begun over it."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.name = secrets.token_hex(16)
        self._begun: dict[int, tuple[int, str]] = {}
        self._early: OrderedDict[int, None] = OrderedDict()
        self._events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(MOST_WAITING)
        self._behind = False
        self.over = False
        caller.wire.listeners.add(self._pushed)

    def begun(self, action: int, run: int, call: str) -> None:
        """This action's caller hears of a stop here; one that came meanwhile is told now."""
        self._begun[action] = run, call
        if action in self._early:
            self._tell(action)

    def ended(self, action: int) -> None:
        """It was settled: nobody is told of it any more."""
        self._begun.pop(action, None)

    def has(self, agent: str, action: int) -> bool:
        """Whether `agent` began it over this stream."""
        return self.caller.name == agent and action in self._begun

    def _pushed(self, message: dict[str, Any]) -> None:
        if message.get("push") != "interrupt":
            return
        action = int(message["action"])
        if action in self._begun:
            self._tell(action)
            return
        self._early[action] = None
        while len(self._early) > MOST_EARLY:
            self._early.popitem(last=False)

    def _tell(self, action: int) -> None:
        try:
            self._events.put_nowait(("interrupt", {"action": action}))
        except asyncio.QueueFull:
            self._behind = True  # it does not read: it is cut off, and so gone

    async def close(self) -> None:
        """Its caller is gone: the node is told of all that was begun over it."""
        self.over = True
        self.caller.wire.listeners.discard(self._pushed)
        for run, call in tuple(self._begun.values()):
            await self.lose(run, call)

    async def lose(self, run: int, call: str) -> None:
        """Nobody can ask its caller to stop this any more."""
        with contextlib.suppress(FailwellError):  # a node that is gone has lost it already
            await self.caller.wire.call("cancel", agent=self.caller.name, run=run, call=call, why=LOST)

    async def next(self, ending: asyncio.Event) -> tuple[str, Any] | None:
        """The next event, a quiet one after a while; None once the door closes or the node is gone."""
        event = asyncio.ensure_future(self._events.get())
        over = asyncio.ensure_future(ending.wait())
        awaited: set[asyncio.Future[Any]] = {event, over, self.caller.wire.ended}
        try:
            await asyncio.wait(awaited, timeout=QUIET_S, return_when=asyncio.FIRST_COMPLETED)
            if event.done():
                return event.result()
            if over.done() or self._behind or self.caller.wire.ended.done():
                return None
            return "", None
        finally:
            event.cancel()
            over.cancel()


async def serve(door: Door, asked: Asked, send: Send) -> None:
    """Tell what comes until the caller hangs up, the node is gone or the door closes."""
    caller: Caller = asked.caller
    if sum(each.caller.name == caller.name for each in door.streams.values()) >= MOST_OF_ONE:
        raise Unhealthy(f"{caller.name} has {MOST_OF_ONE} event streams open", code="crowded")
    stream = Stream(caller)
    try:
        await _tell(door, asked, stream, send)
    finally:
        await asyncio.shield(stream.close())


async def _tell(door: Door, asked: Asked, stream: Stream, send: Send) -> None:
    ending: asyncio.Event = asked.scope["extensions"][DOOR]["ending"]
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
    door.streams[stream.name] = stream
    gone = asyncio.ensure_future(asked.gone())
    telling = asyncio.ensure_future(_write(stream, ending, send, headers))
    try:
        await asyncio.wait({gone, telling}, return_when=asyncio.FIRST_COMPLETED)
        if telling.done():
            telling.result()
    finally:
        del door.streams[stream.name]
        gone.cancel()
        telling.cancel()


async def _write(stream: Stream, ending: asyncio.Event, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    event: tuple[str, Any] | None = ("open", {"stream": stream.name})
    while event is not None:
        await send({"type": "http.response.body", "body": text(*event), "more_body": True})
        event = await stream.next(ending)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def text(name: str, data: Any) -> bytes:
    """An event as it is written; one without a name says nothing."""
    return b":\n\n" if not name else b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))
