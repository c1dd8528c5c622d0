"""What answers a request, kept until its client has it: a stream of messages that can be gone on with after a break.

An answer takes the form of server-sent events where it takes long or says something on its way. Each event has an id;
a client whose connection broke names the last one it got and is told the rest, also of a call that ended meanwhile, so
that nobody repeats an action because its answer was lost on the way. Bounded: what a session no longer keeps is said to
be gone. Not kept: anything beyond its session, or beyond the life of this process; an answer that went out as one JSON
text, of which no client can name a part; streams of the stateless era, where hanging up cancels.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Final

PING: Final = b": ping\n\n"
#: How long a client waits before it connects again, in milliseconds.
RETRY_MS: Final = 500
_LINE_END = re.compile(rb"\r\n|\r|\n")
_EVENT_ID = re.compile(r"([0-9a-z]{1,16})-([0-9]{1,12})")


def event(data: bytes, name: str | None = None) -> bytes:
    """One event. Attack: a server that breaks its JSON in the middle, so that the rest is read as fields of ours."""
    lines = b"".join(b"data: " + line + b"\n" for line in _LINE_END.split(data))
    return (b"" if name is None else b"id: " + name.encode() + b"\n") + b"event: message\n" + lines + b"\n"


def priming(name: str) -> bytes:
    """An event that says nothing but from where to go on."""
    return f"id: {name}\nretry: {RETRY_MS}\ndata:\n\n".encode()


def read_event_id(text: str) -> tuple[str, int] | None:
    """Stream and number of an event's id; None for what is none of ours."""
    found = _EVENT_ID.fullmatch(text)
    return None if found is None else (found[1], int(found[2]))


class Stream:
    """Messages in order, each with its number from 1. One reader at a time: a later one takes an earlier one's place.

    `taken` is the number of the last that any reader got.
    """

    def __init__(self, name: str, most_bytes: int) -> None:
        self.name = name
        self.done = False
        self.size = 0
        self.taken = 0
        self._most = most_bytes
        self._first = 1
        self._held: list[bytes] = []
        self._changed = asyncio.Event()
        self._reader: object | None = None

    @property
    def last(self) -> int:
        """The number of the newest message, 0 before the first."""
        return self._first + len(self._held) - 1

    @property
    def being_read(self) -> bool:
        return self._reader is not None

    def put(self, data: bytes) -> None:
        """One more message; of those that no longer fit the oldest go, never the newest."""
        self._held.append(data)
        self.size += len(data)
        while self.size > self._most and len(self._held) > 1:
            self.size -= len(self._held.pop(0))
            self._first += 1
        self._wake()

    def end(self) -> None:
        """Nothing follows."""
        self.done = True
        self._wake()

    def only(self) -> bytes | None:
        """The one message that this whole stream came to; None where it is another number of them."""
        return self._held[0] if self.done and self._first == 1 and len(self._held) == 1 else None

    async def started(self, within_s: float) -> None:
        """Until there is a message or nothing will come, at most so long."""
        try:
            async with asyncio.timeout(within_s):
                while not self._held and not self.done:
                    await self._changed.wait()
        except TimeoutError:
            return

    async def follow(self, after: int, ping_s: float) -> AsyncGenerator[tuple[int, bytes] | None, None]:
        """The messages after that number as they come, None where for so long none did; until the end, or until another
        reader takes this one's place.
        """
        self._reader = mine = object()
        self._wake()
        try:
            while self._reader is mine:
                after = max(after, self._first - 1)
                if after < self.last:
                    after += 1
                    self.taken = max(self.taken, after)
                    yield after, self._held[after - self._first]
                elif self.done:
                    return
                else:
                    changed = self._changed
                    try:
                        async with asyncio.timeout(ping_s):
                            await changed.wait()
                    except TimeoutError:
                        yield None
        finally:
            if self._reader is mine:
                self._reader = None

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Streams:
    """The streams of one session by their names: those that go on, and the last of those that have ended."""

    def __init__(self, most_bytes: int, keep: int = 32) -> None:
        self._most = most_bytes
        self._keep = keep
        self._count = 0
        self._streams: dict[str, Stream] = {}

    def new(self) -> Stream:
        self._count += 1
        stream = Stream(f"s{self._count}", self._most)
        self._streams[stream.name] = stream
        self._forget()
        return stream

    def get(self, name: str) -> Stream | None:
        return self._streams.get(name)

    def drop(self, stream: Stream) -> None:
        """Its answer is with the client, or can never be asked for."""
        self._streams.pop(stream.name, None)

    def end(self) -> None:
        for stream in tuple(self._streams.values()):
            stream.end()

    def _forget(self) -> None:
        """Of the streams that have ended the oldest go first, by number and by what they hold together."""
        ended = [stream for stream in self._streams.values() if stream.done]
        size = sum(stream.size for stream in ended)
        while ended and (len(ended) > self._keep or size > self._most):
            oldest = ended.pop(0)
            size -= oldest.size
            del self._streams[oldest.name]
