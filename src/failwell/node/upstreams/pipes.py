"""Lines to and from a process of somebody else's, over two descriptors, on the loop of the node.

Whoever is at the other end may send a line without end, a thousand lines in one breath, nothing, or stop reading:
memory is bounded in both directions, and no turn of the loop is long. What the lines mean is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable
from typing import Final

READ_BYTES: Final = 65_536
LINES_A_TURN: Final = 64
"""So many lines are handed over before the loop has its turn; the others wait where they are."""
MOST_UNREAD_BYTES: Final = 8 * 1024 * 1024
"""What may wait to be read by the other end beside the line that is being written."""
SKIPPED_LINES: Final = 4
"""An overlong line is skipped up to so many times the longest; beyond it, it is taken for one without end."""
KEPT_BYTES: Final = 512
"""Of an overlong line, so much of its beginning and of its end is handed over."""

#: Many read an end of line in a carriage return too.
_ONE_LINE: Final = bytes.maketrans(b"\r\n", b"  ")


class Lines:
    """Owns both descriptors from `start` on. `got` hears each line, `overlong` the two ends of one that was too long,
    `ended` once why no more will come; not after `close`.
    """

    def __init__(
        self, reading: int, writing: int, *, max_line: int, got: Callable[[bytes], None],
        overlong: Callable[[bytes, bytes], None], ended: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._reading = reading
        self._writing = writing
        self._max_line = max_line
        self._got = got
        self._overlong = overlong
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._searched = 0
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        #: Of a line that is being skipped: its beginning, what its end may be, and its length so far.
        self._head = b""
        self._tail = b""
        self._skipped = 0
        self._resting: asyncio.Handle | None = None
        self._at_end = False
        self._closed = False
        for descriptor in (reading, writing):
            os.set_blocking(descriptor, False)
        self._loop.add_reader(reading, self._readable)

    # ---------------------------------------------------------------------------------------------- reading

    def _readable(self) -> None:
        try:
            data = os.read(self._reading, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error.strerror or "its output cannot be read")
            return
        if not data:
            self._at_end = True
            self._loop.remove_reader(self._reading)
        self._buffer += data
        self._hand_over()

    def _hand_over(self) -> None:
        """Pass on the lines that are whole: a few of them, then it is the loop's turn."""
        for _ in range(LINES_A_TURN):
            if self._closed or self._resting is not None:
                return
            line = self._next_line()
            if line is None:
                self._wait_for_more()
                return
            if line:
                self._got(line)
        if self._resting is None:
            self.rest(0)

    def _wait_for_more(self) -> None:
        if self._at_end:
            self._end("it closed its output")
        else:
            self._loop.add_reader(self._reading, self._readable)

    def rest(self, seconds: float) -> None:
        """Read nothing for a while: who writes too much waits until its pipe is empty."""
        if self._closed:
            return
        self._loop.remove_reader(self._reading)
        if self._resting is not None:
            self._resting.cancel()
        self._resting = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._resting = None
        self._hand_over()

    def _next_line(self) -> bytes | None:
        """Take the next line out of the buffer: b"" for one that was overlong, None where none is whole."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            if self._skipped or len(self._buffer) > self._max_line:
                self._skip(len(self._buffer))
            return None
        if self._skipped or end > self._max_line:
            self._skip(end)
            end = 0
            self._told_overlong()
            line = b""
        else:
            line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def _skip(self, end: int) -> None:
        """Forget the buffer up to `end`, a part of a line that is too long, but for what may say whose it is."""
        if not self._skipped:
            self._head = bytes(self._buffer[:KEPT_BYTES])
        self._skipped += end
        self._tail = (self._tail + bytes(self._buffer[max(0, end - KEPT_BYTES) : end]))[-KEPT_BYTES:]
        del self._buffer[:end]
        self._searched = 0
        if self._skipped > SKIPPED_LINES * self._max_line:
            self._end(f"it sent a line of more than {SKIPPED_LINES * self._max_line} bytes")

    def _told_overlong(self) -> None:
        head, tail = self._head, self._tail
        self._head, self._tail, self._skipped = b"", b"", 0
        if not self._closed:
            self._overlong(head, tail)

    # ---------------------------------------------------------------------------------------------- writing

    def write(self, line: bytes) -> None:
        """Send a line; it may wait here until the other end reads."""
        if self._closed:
            return
        # Attack: an end of line between two members of an argument, and behind it a message of the caller's own, for a
        # tool that nobody allowed. It is a blank there: JSON has none inside a text.
        data = line.translate(_ONE_LINE) + b"\n"
        if self._waiting_bytes > MOST_UNREAD_BYTES:
            self._end(f"it does not read what it is sent: {self._waiting_bytes} bytes wait for it")
            return
        self._waiting.append(memoryview(data))
        self._waiting_bytes += len(data)
        if len(self._waiting) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._waiting:
            try:
                sent = os.write(self._writing, self._waiting[0])
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._writing, self._flush)
                return
            except OSError as error:
                self._end(f"it closed its input: {error.strerror}")
                return
            self._waiting_bytes -= sent
            if sent == len(self._waiting[0]):
                self._waiting.popleft()
            else:
                self._waiting[0] = self._waiting[0][sent:]
        self._loop.remove_writer(self._writing)

    # ---------------------------------------------------------------------------------------------- the end

    def _end(self, why: str) -> None:
        if not self._closed:
            self.close()
            self._ended(why)

    def close(self) -> None:
        """Close both descriptors; nothing is heard from then on. A process that waits for its input learns of it."""
        if self._closed:
            return
        self._closed = True
        if self._resting is not None:
            self._resting.cancel()
        self._loop.remove_reader(self._reading)
        self._loop.remove_writer(self._writing)
        self._waiting.clear()
        self._buffer.clear()
        for descriptor in {self._reading, self._writing}:
            with contextlib.suppress(OSError):
                os.close(descriptor)
