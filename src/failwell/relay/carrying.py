"""Carries messages between two pipes and a tool server that is elsewhere, and lets through what belongs to a request.

Over HTTP an answer comes on the connection of its request: one under another number is nobody's. Errors of the way are
told as errors of the request, in our words. What a message means is the business of whoever is at the pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

import msgspec

from failwell.core.errors import FailwellError
from failwell.mcp import messages
from failwell.mcp.messages import Malformed, Notification, Number, Reply, Request
from failwell.mcp.revisions import HANDSHAKE, INITIALIZE
from failwell.relay.elsewhere import Elsewhere, Lost, NotOffered, SessionGone
from failwell.relay.routing import Routing

LISTEN_AGAIN_S: Final = (1.0, 2.0, 5.0, 15.0, 30.0)
"""How long after each failure in a row a server is listened to again; the last one from then on."""


class _Cancelled(msgspec.Struct):
    requestId: int | str  # noqa: N815 - as the protocol spells it


class _Initialized(msgspec.Struct):
    protocolVersion: str = ""  # noqa: N815


class Carrier:
    """Between one pair of pipes and one server. `write` sends a line towards who asks; `over` hears that the session
    is gone and nothing can be asked any more.
    """

    def __init__(
        self, server: Elsewhere, write: Callable[[bytes], Awaitable[None]], over: Callable[[str], None], max_bytes: int
    ) -> None:
        self._server = server
        self._write = write
        self._over = over
        self._max_bytes = max_bytes
        self._routing = Routing()
        self._asking: dict[Number, asyncio.Task[None]] = {}
        #: Requests that carry their envelope: to close the connection of one is to cancel it.
        self._stateless: set[Number] = set()
        self._others: set[asyncio.Task[None]] = set()

    async def take(self, line: bytes) -> None:
        """Send one line on; what is said to it is written as it comes."""
        message = messages.read(line, max_bytes=self._max_bytes)
        if isinstance(message, Request):
            self._asking[message.number] = self._aside(self._ask(message, line))
        elif isinstance(message, Notification) and message.method == "notifications/initialized":
            await self._tell(line)  # whatever is asked next is asked in a session that has begun
            self._aside(self._listen())
        elif not (isinstance(message, Notification) and self._is_cancelled_here(message)):
            self._aside(self._tell(line))

    async def close(self) -> None:
        """Stop asking."""
        running = [*self._asking.values(), *self._others]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _aside(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._others.add(task)
        task.add_done_callback(self._others.discard)
        return task

    # ---------------------------------------------------------------------------------------------- asking

    async def _ask(self, request: Request, line: bytes) -> None:
        headers = self._routing.headers(request)
        if headers:
            self._stateless.add(request.number)
        try:
            await self._answered(request, line, headers)
        except SessionGone as error:
            await self._fail(request, error)
            self._over(error.message)
        except FailwellError as error:
            await self._fail(request, error)
        finally:
            self._asking.pop(request.number, None)
            self._stateless.discard(request.number)

    async def _answered(self, request: Request, line: bytes, headers: dict[str, str]) -> None:
        begins = request.method == INITIALIZE
        async with contextlib.aclosing(self._server.answers(line, headers, begins=begins)) as answers:
            async for data in answers:
                if await self._passed(data, request):
                    return
        raise Lost("it ended its answer before there was one")

    async def _passed(self, data: bytes, request: Request) -> bool:
        """Pass on what was said to `request`; whether that was its answer."""
        said = _one_line(data)
        try:
            message = messages.read(said, max_bytes=self._max_bytes)
        except Malformed as error:
            raise Lost(f"it answered with what is no message: {error.message}") from None
        if not isinstance(message, Reply):
            await self._write(said)
            return False
        # An error under no number is that of a request whose number could not be read.
        if message.number != request.number and not (message.number is None and message.error):
            return False  # attack: an answer to somebody else's request
        if not message.error:
            self._learn(request, message.raw)
        write = messages.error if message.error else messages.result
        await self._write(write(request.number, message.raw))
        return True

    def _learn(self, request: Request, result: bytes) -> None:
        if request.method == "tools/list":
            self._routing.learn(result)
        elif request.method == INITIALIZE:
            with contextlib.suppress(msgspec.MsgspecError, RecursionError):
                said = msgspec.json.decode(result, type=_Initialized)
                if said.protocolVersion in HANDSHAKE:
                    self._server.revision = said.protocolVersion

    async def _fail(self, request: Request, error: FailwellError) -> None:
        lost = isinstance(error, Lost)
        words = f"{error.message}; what it was asked to do may have been done" if lost else error.message
        raw = messages.error_object(messages.INTERNAL_ERROR, words, messages.LOST if lost else None)
        await self._write(messages.error(request.number, raw))

    def _is_cancelled_here(self, message: Notification) -> bool:
        """Where each request stands for itself, closing its connection says that nobody waits for it."""
        if message.method != "notifications/cancelled":
            return False
        try:
            number = msgspec.json.decode(message.params, type=_Cancelled).requestId
        except (msgspec.MsgspecError, RecursionError):
            return True
        if number in self._asking and number not in self._stateless:
            return False
        if number in self._asking:
            self._asking[number].cancel()
        return True

    # ------------------------------------------------------------------------------- telling, and being told

    async def _tell(self, line: bytes) -> None:
        """Send what waits for no answer. Where it does not arrive nobody is told: nobody waits."""
        with contextlib.suppress(FailwellError):
            async with contextlib.aclosing(self._server.answers(line, {})) as answers:
                async for _ in answers:
                    break

    async def _listen(self) -> None:
        """Pass on what the server says without being asked, for as long as the session is there."""
        failed = 0
        while self._server.session is not None:
            try:
                async with contextlib.aclosing(self._server.told()) as told:
                    async for data in told:
                        failed = 0
                        await self._pass_told(_one_line(data))
            except SessionGone as error:
                self._over(error.message)
                return
            except NotOffered:
                return
            except FailwellError:
                pass  # it may be back in a while
            await asyncio.sleep(LISTEN_AGAIN_S[min(failed, len(LISTEN_AGAIN_S) - 1)])
            failed += 1

    async def _pass_told(self, said: bytes) -> None:
        try:
            message = messages.read(said, max_bytes=self._max_bytes)
        except Malformed:
            return
        if not isinstance(message, Reply):  # attack: answers that come on another connection than their request
            await self._write(said)


def _one_line(data: bytes) -> bytes:
    """Return JSON text as one line: an end of line in it is a blank, since strings cannot hold one."""
    return data.replace(b"\n", b" ").replace(b"\r", b" ")
