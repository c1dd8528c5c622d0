"""The node's socket for processes that speak for many callers at once: one connection, thousands of requests on it.

The same frames and errors as `client.wire`, awaited in an asyncio loop and used by that loop's thread only. It starts
no node and repeats nothing: when the node is gone every waiting call fails with Unreachable, and whoever holds the wire
opens another one. Standard library and `cryptography` only.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from failwell.client import proofs
from failwell.client.wire import GONE, SILENT_HINT, failure
from failwell.core.errors import FailwellError, Unreachable

#: Answers that are taken up in one turn of the loop: those to a crowd keep nobody else's waiting.
ANSWERS_A_TURN = 2
#: No answer is longer: the largest output that is kept, in base64, several times over.
MAX_ANSWER_BYTES = 512 * 1024 * 1024


class AsyncWire:
    """One connection. `on_push` gets the frames that answer nothing; `ended` says why the connection is over."""

    greeting: dict[str, Any]

    def __init__(self, link: _Link) -> None:
        """Use `open`."""
        self._link = link
        self._ids = itertools.count(1)
        self.on_push: Callable[[dict[str, Any]], None] = lambda message: None
        self.ended: asyncio.Future[FailwellError] = link.ended

    @classmethod
    async def open(cls, path: Path, timeout_s: float = 5.0) -> Self:
        """Connect and read the greeting; Unreachable where that is not done within `timeout_s`."""
        link = _Link()
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().create_unix_connection(lambda: link, str(path))
                wire = cls(link)
                # Attack: a byte now and then; the greeting has one deadline as a whole.
                wire.greeting = await link.greeting
        except BaseException as error:
            link.end(Unreachable("given up"))
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                # Without the path: a door says this to strangers.
                raise Unreachable(f"the node does not answer: {error.strerror or error}") from error
            if not isinstance(error, TimeoutError):
                raise
            raise Unreachable(
                f"the node takes calls and does not answer within {timeout_s:g} s", code="silent", hint=SILENT_HINT
            ) from error
        link.pushed = wire._pushed
        return wire

    async def call(self, do: str, *, timeout_s: float | None = None, **fields: Any) -> Any:
        """Ask and await the answer; raises what `Wire.call` raises. A call that is cancelled is answered all the same:
        what it asked for is not taken back.
        """
        number = next(self._ids)
        data = json.dumps({"do": do, "id": number, **fields}).encode()
        if timeout_s is None:
            return await self._link.ask(number, data)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._link.ask(number, data)
        except TimeoutError as error:
            raise Unreachable(f"the node did not answer within {timeout_s} s") from error

    def _pushed(self, message: dict[str, Any]) -> None:
        self.on_push(message)

    @property
    def waiting(self) -> int:
        """How many calls await their answers."""
        return len(self._link.waiting)

    async def close(self) -> None:
        """Hang up; calls still waiting fail."""
        self._link.end(Unreachable("the connection was closed"))
        await self._link.gone.wait()


class _Link(asyncio.Protocol):
    """Frames in and out. INVARIANT: what waits is answered, or fails with the reason why the link ended."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.greeting: asyncio.Future[dict[str, Any]] = loop.create_future()
        self.ended: asyncio.Future[FailwellError] = loop.create_future()
        self.waiting: dict[int, asyncio.Future[Any]] = {}
        self.pushed: Callable[[dict[str, Any]], None] = lambda message: None
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._more: asyncio.Handle | None = None
        #: Set once the socket is closed, too.
        self.gone = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    async def ask(self, number: int, data: bytes) -> Any:
        if not self._writable.is_set():
            await self._writable.wait()
        if self.ended.done() or self._transport is None:
            raise self._over()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting[number] = future
        self._transport.write(len(data).to_bytes(4, "big") + data)
        return await future

    def end(self, why: FailwellError) -> None:
        if self.ended.done():
            return
        self.ended.set_result(why)
        self._writable.set()
        if self._transport is not None:
            self._transport.abort()
        for future in (self.greeting, *self.waiting.values()):
            if not future.done():
                future.set_exception(self._over())
                future.exception()  # a greeting that nobody awaits any more is no forgotten error
        self.waiting.clear()

    def _over(self) -> FailwellError:
        """An error of its own for each caller: a traceback grows on it."""
        why = self.ended.result() if self.ended.done() else Unreachable("the connection was never made")
        return type(why)(why.message, hint=why.hint, code=why.code)

    # -- what the loop calls -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self.ended.done():
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._more is None:
            self._received()

    def _received(self) -> None:
        try:
            self._read()
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self.end(Unreachable(f"the node says what is no answer: {error!r}", hint="failwell doctor"))

    def _read(self) -> None:
        start, buffer = 0, self._buffer
        self._more = None
        for _ in range(ANSWERS_A_TURN):
            if len(buffer) - start < 4:
                break
            length = int.from_bytes(buffer[start : start + 4], "big")
            if length > MAX_ANSWER_BYTES:
                raise ValueError(f"an answer of {length} bytes")
            if len(buffer) - start < 4 + length:
                break
            message = json.loads(bytes(buffer[start + 4 : start + 4 + length]))
            start += 4 + length
            self._take(message)
        else:
            self._more = asyncio.get_running_loop().call_soon(self._received)
        del buffer[:start]

    def _take(self, message: dict[str, Any]) -> None:
        if "push" in message:
            self.pushed(message)
        elif not self.greeting.done():
            self.greeting.set_result(message)
        else:
            future = self.waiting.pop(message["id"], None)
            if future is None or future.done():
                return
            error = message.get("error")
            if error is None:
                future.set_result(message.get("ok"))
            else:
                future.set_exception(failure(error))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        while self._more is not None:  # what was answered before is told
            self._more.cancel()
            self._received()
        self.end(Unreachable(f"the node is gone: {exc or 'the connection was closed'}", hint=GONE))
        self.gone.set()


async def prove(wire: AsyncWire, config: Path, role: str, name: str) -> proofs.Proof:
    """Prove an identity on this connection as `client.proofs.prove` does, keys being read beside the loop."""
    line = _Line(wire, asyncio.get_running_loop())
    return await asyncio.to_thread(proofs.prove, line, config, role, name)


class _Line:
    """The wire as a thread beside its loop uses it, which waits for the loop and so must never be the loop's own."""

    def __init__(self, wire: AsyncWire, loop: asyncio.AbstractEventLoop) -> None:
        self._wire, self._loop = wire, loop
        self.greeting = wire.greeting

    def call(self, do: str, *, timeout_s: float | None = None, **fields: Any) -> Any:
        asked = self._wire.call(do, timeout_s=timeout_s, **fields)
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()
