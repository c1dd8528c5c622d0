"""The gateway over its standard input and output, one message on a line, as clients start tool servers.

Whoever started it may stop reading, send a line without end, or close its input in the midst of a call: memory is
bounded in both directions, and what still runs then is stopped. The two descriptors are taken away from the rest of the
process, so that nothing that is printed gets between the messages.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

from failwell.gateway import messages
from failwell.gateway.backend import Backend
from failwell.gateway.session import AgentSession

#: How long requests that are under way may still be answered when the client has closed its end; then they are stopped.
#: Clients wait for two seconds before they end a server by force.
GRACE_S = 1.0
#: What may wait for the client to be read; beyond, no more is read of what it asks, and progress is not told.
MOST_UNREAD_BYTES = 1024 * 1024
READ_BYTES = 65_536


async def serve(
    backend: Backend, *, single: bool, note: Callable[[str], None], reading: int = 0, writing: int = 1
) -> None:  # fmt: skip
    """Serve one client until it closes its end, or a signal ends this process. Owns the session, not the backend's
    connection.
    """
    theirs, ours = _taken(reading, os.O_RDONLY), _taken(writing, os.O_WRONLY)
    carried = Carried()
    session = AgentSession(backend, single=single, notice=carried.write, note=note)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, carried.leave)
    try:
        await carried.start(session, theirs, ours)
        session.begin()
        await carried.over.wait()
        await carried.finish(GRACE_S if carried.asked else 0.0)
    finally:
        await session.close()
        await carried.close()


class Carried:
    """Messages on two descriptors. `over` is set when no more will come, `asked` false where nobody waits any more."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.asked = True
        self._session: AgentSession | None = None
        self._lines = _Lines(self._line, self._overlong, self.over.set)
        self._out = _Out(self._unblocked, self.leave)
        self._answering: set[asyncio.Task[None]] = set()

    async def start(self, session: AgentSession, reading: int, writing: int) -> None:
        self._session = session
        await self._out.start(writing)
        await self._lines.start(reading)

    def leave(self) -> None:
        """Nobody waits for answers any more."""
        self.asked = False
        self.over.set()

    def write(self, data: bytes) -> None:
        """Send a message; it may wait here until the client reads."""
        if messages.is_progress(data) and self._out.unread > MOST_UNREAD_BYTES:
            return
        if b"\n" in data:
            data = data.replace(b"\n", b" ")  # between members: inside a text a bare line feed is not JSON
        self._out.write(data + b"\n")
        if self._out.unread > MOST_UNREAD_BYTES:
            self._lines.pause()

    async def finish(self, within_s: float) -> None:
        """Let what is under way end by itself, then stop it."""
        if self._answering and within_s:
            await asyncio.wait(self._answering, timeout=within_s)
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    async def close(self) -> None:
        self._lines.close()
        await self._out.close()

    def _line(self, line: bytes) -> None:
        task = asyncio.ensure_future(self._answer(line))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, line: bytes) -> None:
        assert self._session is not None
        answer = await self._session.handle(line, self.write)
        if answer is not None:
            self.write(answer)

    def _overlong(self) -> None:
        told = f"a message of more than {messages.MAX_MESSAGE_BYTES} bytes is not read"
        self.write(messages.error_response(b"null", messages.Faulty(messages.INVALID_REQUEST, told)))

    def _unblocked(self) -> None:
        self._lines.resume()


class _Lines(asyncio.Protocol):
    """Lines from a descriptor; one that is too long is dropped and told of."""

    def __init__(self, got: Callable[[bytes], None], overlong: Callable[[], None], ended: Callable[[], None]) -> None:
        self._got, self._overlong, self._ended = got, overlong, ended
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False
        self._transport: asyncio.ReadTransport | None = None
        self._copying: asyncio.Task[None] | None = None
        self._may_read = asyncio.Event()
        self._may_read.set()

    async def start(self, descriptor: int) -> None:
        file = os.fdopen(descriptor, "rb", buffering=0)
        try:
            self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: self, file)
        except ValueError:  # a plain file, which is always ready
            self._copying = asyncio.ensure_future(self._copy(file))

    async def _copy(self, file: Any) -> None:
        with file:
            while data := await asyncio.to_thread(file.read, READ_BYTES):
                self.data_received(data)
                await self._may_read.wait()
        self.eof_received()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        start = 0
        while (end := self._buffer.find(b"\n", max(start, self._searched))) >= 0:
            line = bytes(self._buffer[start:end])
            start = end + 1
            if self._skipping:
                self._skipping = False
                self._overlong()
            elif line.strip():
                self._got(line)
        del self._buffer[:start]
        if len(self._buffer) > messages.MAX_MESSAGE_BYTES:
            self._skipping = True
        if self._skipping:
            self._buffer.clear()
        self._searched = len(self._buffer)

    def eof_received(self) -> None:
        self._ended()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended()

    def pause(self) -> None:
        self._may_read.clear()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        self._may_read.set()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        if self._copying is not None:
            self._copying.cancel()
        if self._transport is not None:
            self._transport.close()


class _Out(asyncio.Protocol):
    """Bytes to a descriptor. `unread`: how many wait there to be taken."""

    def __init__(self, unblocked: Callable[[], None], gone: Callable[[], None]) -> None:
        self._unblocked, self._gone = unblocked, gone
        self._transport: asyncio.WriteTransport | None = None
        self._plain: Any = None
        self._over = asyncio.Event()

    async def start(self, descriptor: int) -> None:
        file = os.fdopen(descriptor, "wb", buffering=0)
        try:
            self._transport, _ = await asyncio.get_running_loop().connect_write_pipe(lambda: self, file)
            self._transport.set_write_buffer_limits(high=MOST_UNREAD_BYTES, low=MOST_UNREAD_BYTES // 4)
        except ValueError:  # a plain file takes what it is given
            self._plain = file

    @property
    def unread(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        if self._plain is not None:
            self._plain.write(data)
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def resume_writing(self) -> None:
        self._unblocked()

    def pause_writing(self) -> None:
        """Asked before each message is read (`unread`)."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._over.set()
        self._gone()

    async def close(self) -> None:
        """Send what waits, to a client that reads it soon; then close."""
        if self._plain is not None:
            self._plain.close()
        if self._transport is not None:
            self._transport.close()
            try:
                await asyncio.wait_for(self._over.wait(), GRACE_S)
            except TimeoutError:
                self._transport.abort()


def _taken(descriptor: int, how: int) -> int:
    """The descriptor under another number; under its own there is nothing to read, and output goes to the log."""
    import fcntl

    mine = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    if how == os.O_RDONLY:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, descriptor)
        os.close(nothing)
    else:
        os.dup2(2, descriptor)
    return mine
