"""Server-sent events as they come over HTTP: bytes in, events out, with a bound on each.

Follows the event stream format of the HTML standard as far as the Model Context Protocol uses it: data, id, retry. What
the data means is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from failwell.core.errors import InputError

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_MAX_ID_BYTES: Final = 1024
_MAX_RETRY_MS: Final = 5_000
#: Attack: an event of a million lines of one letter, each of which is held as a text of its own.
_LINE_COST: Final = 64


class Event(NamedTuple):
    """One event: `data` is one JSON text, its lines joined by a blank."""

    data: bytes
    kind: bytes


class Events:
    """Reads one stream. `last_id`, `retry_ms`: where and when the server wants it taken up again."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._kind = b""
        self._begun = False
        self.last_id: str | None = None
        self.retry_ms = 1_000

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that `chunk` completes; InputError for one that is too long."""
        self._rest += chunk
        if not self._begun and len(self._rest) >= 3:
            self._begun = True
            if self._rest.startswith(b"\xef\xbb\xbf"):
                del self._rest[:3]
        for line in self._lines():
            event = self._take(line)
            if event is not None:
                yield event
        if len(self._rest) + self._size > self._max_bytes:
            raise InputError(f"an event of more than {self._max_bytes} bytes")

    def _lines(self) -> Iterator[bytes]:
        place = 0
        for end in _LINE_END.finditer(self._rest):
            if end.end() == len(self._rest) and end[0] == b"\r":
                break  # the other half of this end of line may be on its way
            yield bytes(self._rest[place : end.start()])
            place = end.end()
        del self._rest[:place]

    def _take(self, line: bytes) -> Event | None:
        if not line:
            event = Event(b" ".join(self._data), self._kind or b"message") if self._data else None
            self._data, self._size, self._kind = [], 0, b""
            return event
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + _LINE_COST
        elif name == b"event":
            self._kind = value
        elif name == b"id" and len(value) <= _MAX_ID_BYTES and value.isascii() and value.decode().isprintable():
            self.last_id = value.decode()
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self.retry_ms = min(int(value), _MAX_RETRY_MS)
        return None
