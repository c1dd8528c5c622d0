"""A session with an agent's client, whatever it is carried over: one JSON-RPC message in, at most one answer out.

    session = AgentSession(backend, single=False, notice=send_to_client, note=say_to_operator)
    session.begin()                                     # starts the servers; requests wait for that
    answer = await session.handle(raw, tell)            # None: nothing is answered; `tell` takes what belongs to it
    await session.close()

Cancelling a `handle` cancels its calls (a client that hung up). It judges nothing, and shows nothing but what its
backend offers. Requests run side by side; whoever carries them says when there are too many.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from failwell.core.errors import FailwellError
from failwell.gateway import eras, messages, results
from failwell.gateway.backend import Backend, Progress
from failwell.gateway.calls import Asked, Calls, Ended, read_asked
from failwell.gateway.eras import Era
from failwell.gateway.messages import BUSY, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, Faulty
from failwell.gateway.offers import Offering
from failwell.gateway.other_requests import METHODS, OtherRequests

#: Requests of one session that may be under way at once; more are told to come back.
AT_ONCE = 256
#: The answer's id where a message told none.
NO_ID = b"null"
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
#: What a client may listen to, by the filter that asks for it and the notification that says it.
_CHANGES = {
    "toolsListChanged": "notifications/tools/list_changed",
    "promptsListChanged": "notifications/prompts/list_changed",
    "resourcesListChanged": "notifications/resources/list_changed",
}

#: Takes one message for the client, without waiting; it may drop progress that nobody reads.
Tell = Callable[[bytes], None]


class Request(msgspec.Struct, kw_only=True, eq=False):
    """One request under way. `task` is its own; `begun`: something of it has been sent to the gate."""

    number: bytes
    method: str
    tell: Tell
    task: asyncio.Task[Any] | None
    asked: Asked = msgspec.field(default_factory=Asked)
    token: bytes | None = None
    cancelled: str | None = None
    listens: frozenset[str] = frozenset()


class AgentSession:
    """One session. `notice` takes what belongs to no request, `note` a line for the operator."""

    def __init__(
        self, backend: Backend, *, single: bool, notice: Tell, note: Callable[[str], None] = lambda line: None
    ) -> None:
        self._backend = backend
        self._single = single
        self._notice = notice
        self._note = note
        self._calls = Calls(backend)
        self._others = OtherRequests(self._act_on)
        self._era: Era | None = None
        self._offering: Offering | None = None
        self._opening: asyncio.Task[Offering] | None = None
        self._under_way: dict[bytes, Request] = {}
        self._of_call: dict[str, Request] = {}
        self._looking: asyncio.Task[None] | None = None
        self._noted: set[tuple[str, str]] = set()
        self._closed = asyncio.Event()
        self._stray: set[asyncio.Task[Any]] = set()

    # -- beginning and end -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the tool servers, behind the back of the client's first words."""
        self._opening = asyncio.ensure_future(self._open())
        self._opening.add_done_callback(self._begun)

    def _begun(self, opening: asyncio.Task[Offering]) -> None:
        if not opening.cancelled() and (error := opening.exception()) is not None:
            self._note(f"no tool server is offered: {getattr(error, 'message', error)}")

    async def _open(self) -> Offering:
        return self._adopt(Offering(await self._backend.open(self), single=self._single))

    async def offering(self) -> Offering:
        """What is offered; raises why nothing is. A start that failed is tried again by the next who asks."""
        if self._offering is not None:
            return self._offering
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self.begin()
        assert self._opening is not None
        return await asyncio.shield(self._opening)

    async def close(self) -> None:
        """End the session: its servers end, calls that run are stopped, and those who listen are told."""
        self._closed.set()
        for task in (self._opening, self._looking):
            if task is not None and not task.done():
                task.cancel()
        await self._backend.close()

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    @property
    def revision(self) -> str | None:
        """The revision that is spoken; None before the client's first accepted request."""
        return None if self._era is None else self._era.revision

    # -- messages ----------------------------------------------------------------------------------------------

    async def handle(self, raw: bytes, tell: Tell, apart: bytes = b"") -> bytes | None:
        """Answer one message. `tell` takes what is said about it before its answer. `apart` tells clients apart that
        share this session and number their requests alike.
        """
        try:
            batch = messages.read_batch(raw)
            if batch is None:
                return await self._one(raw, tell, apart)
            if self.revision != eras.BATCHES or not 0 < len(batch) <= AT_ONCE:
                words = f"1 to {AT_ONCE} messages at once are sent in revision {eras.BATCHES} only"
                raise Faulty(INVALID_REQUEST, words)
        except Faulty as fault:
            return messages.error_response(fault.asked or NO_ID, fault)
        answers = await asyncio.gather(*(asyncio.ensure_future(self._part(each, tell)) for each in batch))
        told = [answer for answer in answers if answer is not None]
        return b"[" + b",".join(told) + b"]" if told else None

    async def _part(self, raw: bytes, tell: Tell) -> bytes | None:
        try:
            return await self._one(raw, tell)
        except Faulty as fault:
            return messages.error_response(fault.asked or NO_ID, fault)

    async def _one(self, raw: bytes, tell: Tell, apart: bytes = b"") -> bytes | None:
        message = messages.read(raw)
        if not message.method:
            return None  # an answer to us, who ask nothing
        number = message.number
        if not number:
            self._heard(message)
            return None
        place = apart + number
        if place in self._under_way:
            return messages.error_response(number, Faulty(INVALID_REQUEST, "a request of this id is under way"))
        if len(self._under_way) >= AT_ONCE:
            busy = Faulty(BUSY, f"{AT_ONCE} requests of this session are under way: wait for one of them to end")
            return messages.error_response(number, busy)
        request = Request(number=number, method=message.method, tell=tell, task=asyncio.current_task())
        self._under_way[place] = request
        try:
            return await self._answer(request, message)
        except asyncio.CancelledError:
            self._withdraw(request, "the client hung up")
            if request.cancelled is None:
                raise
            return None
        finally:
            del self._under_way[place]

    async def _answer(self, request: Request, message: messages.Message) -> bytes | None:
        try:
            era, params, meta = self._envelope(message)
            answer = await self._do(request, era, params, meta)
        except FailwellError as error:
            answer = messages.error_response(request.number, messages.faulty(error))
        except Exception as error:  # noqa: BLE001  the outermost door: a fault of ours is one request's, said so
            fault = Faulty(INTERNAL_ERROR, f"a fault of the gateway itself: {type(error).__name__}")
            self._note(f"{request.method}: a fault of the gateway itself: {type(error).__name__}: {error}")
            answer = messages.error_response(request.number, fault)
        # Who cancelled reads no answer any more: the protocol wants none.
        return None if request.cancelled is not None else answer

    def _envelope(
        self, message: messages.Message
    ) -> tuple[Era, dict[str, bytes], dict[str, bytes]]:  # fmt: skip
        """The request's era, params and _meta. The first accepted request decides how the session goes on."""
        params = messages.members(message.params, "params")
        meta = messages.members(params.get("_meta", b""), "params._meta")
        if message.method == "initialize":
            if self._era is not None and self._era.stateless:
                told = {"supported": [*eras.STATELESS]}
                raise Faulty(messages.UNSUPPORTED_REVISION, "this session carries its revision in each request", told)
            if self._era is not None:
                raise Faulty(INVALID_REQUEST, "this session has begun already")
            era = eras.handshake(message.params)
        elif message.method == "ping" and self._era is None:
            return Era(""), params, meta
        else:
            era = eras.same(self._era, eras.enveloped(meta))
        self._era = era
        return era, params, meta

    async def _do(
        self, request: Request, era: Era, params: dict[str, bytes], meta: dict[str, bytes]
    ) -> bytes:  # fmt: skip
        method = request.method
        if method == "ping":
            return self._result(request, era, {})
        if method == ("server/discover" if era.stateless else "initialize"):
            return self._result(request, era, eras.begun(era, await self._first_offering(era)))
        if method == "logging/setLevel" and not era.stateless:
            return self._result(
                request, era, {}
            )  # there is nothing to log to clients: servers' lines stay with the node
        if method == "subscriptions/listen" and era.stateless:
            return self._result(request, era, await self._listen(request, params))
        if method == "tools/list":
            return self._result(request, era, await self._tools(params))
        if method != "tools/call" and method not in METHODS:
            raise Faulty(METHOD_NOT_FOUND, f"{method} does not pass the gateway")
        request.asked = read_asked(meta)
        request.token = meta.get("progressToken")
        if method == "tools/call":
            ended, structured = await self._call(request, params)
        else:
            server = messages.text(meta.get(messages.OURS + "server"), f"_meta {messages.OURS}server")
            ended, structured = (
                await self._others.ask(await self.offering(), method, params, request.asked, server),
                False,
            )
        return self._told(request, era, ended, structured=structured)

    def _result(self, request: Request, era: Era, parts: dict[str, bytes]) -> bytes:
        return messages.response(request.number, results.completed(parts, request.method, era.stamp))

    def _told(self, request: Request, era: Era, ended: Ended, *, structured: bool) -> bytes:
        if ended.error is not None:
            return messages.raw_error(request.number, ended.error)
        if ended.result is not None:
            return self._result(request, era, ended.result)
        refusal = ended.refusal
        assert refusal is not None
        if request.method != "tools/call":
            return messages.error_response(request.number, refusal.as_fault())
        return self._result(request, era, refusal.as_result(structured=structured))

    # -- tools -------------------------------------------------------------------------------------------------

    async def _first_offering(self, era: Era) -> Offering:
        try:
            return await self.offering()
        except FailwellError:
            if not era.stateless:
                self._era = None  # it has not begun: the client may try again
            raise

    async def _tools(self, params: dict[str, bytes]) -> dict[str, bytes]:
        if messages.text(params.get("cursor"), "cursor") is not None:
            raise Faulty(INVALID_PARAMS, "the tools stand on one page: ask without a cursor")
        offering = await self._renew()
        parts = {"tools": offering.tools_json}
        meta = offering.meta()
        return {**parts, "_meta": messages.encode(meta)} if meta else parts

    async def _call(self, request: Request, params: dict[str, bytes]) -> tuple[Ended, bool]:
        name = messages.text(params.get("name"), "name")
        if name is None:
            raise Faulty(INVALID_PARAMS, "tools/call names its tool")
        arguments = params.get("arguments", b"")
        target = (await self.offering()).tool(name)
        effect = "irreversible" if target.offer is None else target.offer.effect
        ended = await self._make(
            request, target.tool, b"{}" if arguments in (b"", b"null") else arguments, effect, None
        )
        return ended, target.offer is None or "outputSchema" not in target.offer.definition

    async def _act_on(self, asked: Asked, server: str, method: str, arguments: bytes, part: str | None) -> Ended:
        """One request of another kind; `part`: which of several that answer the same question."""
        request = next(each for each in self._under_way.values() if each.asked is asked)
        call = None if asked.call is None or part is None else f"{asked.call}.{part}"
        return await self._make(request, f"{server}.{method}", arguments, "read", call)

    async def _make(self, request: Request, tool: str, arguments: bytes, effect: str, call: str | None) -> Ended:
        made: list[str] = []

        def following(number: str) -> None:
            made.append(number)
            self._of_call[number] = request

        try:
            return await self._calls.make(request.asked, tool, arguments, effect=effect, call=call, following=following)
        finally:
            for number in made:
                if self._of_call.get(number) is request:
                    del self._of_call[number]

    # -- what the client says by the way -----------------------------------------------------------------------

    def _heard(self, message: messages.Message) -> None:
        if message.method != "notifications/cancelled":
            return
        try:
            params = messages.members(message.params, "params")
            why = messages.text(params.get("reason"), "reason")
        except Faulty:
            return
        request = self._under_way.get(params.get("requestId", b""))
        # The protocol lets nobody cancel its beginning.
        if request is None or request.method == "initialize" or request.cancelled is not None:
            return
        request.cancelled = why or "cancelled by the client"
        if request.asked.calls:
            self._withdraw(request, request.cancelled)
        elif request.task is not None:
            request.task.cancel()

    def _withdraw(self, request: Request, why: str) -> None:
        """Have the request's calls stopped; how they end is on record, whoever reads it."""
        for call in tuple(request.asked.calls):
            task = asyncio.ensure_future(self._cancel(call, why))
            self._stray.add(task)
            task.add_done_callback(self._stray.discard)

    async def _cancel(self, call: str, why: str) -> None:
        with contextlib.suppress(FailwellError):  # it ended meanwhile, or its node did
            await self._backend.cancel(call, why)

    # -- what nobody asked for ---------------------------------------------------------------------------------

    def progress(self, call: str, told: Progress) -> None:
        request = self._of_call.get(call)
        if request is None or request.token is None:
            return
        params: dict[str, Any] = {"progressToken": msgspec.Raw(request.token), "progress": told.progress}
        if told.total is not None:
            params["total"] = told.total
        if told.message is not None:
            params["message"] = told.message
        request.tell(messages.notification("notifications/progress", params))

    def listed(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())

    def ended(self, upstream: str, why: str) -> None:
        self._note(f"{upstream} has ended: {why}")

    async def _look(self) -> None:
        try:
            await self._renew()
        except FailwellError as error:
            self._note(f"what is offered now is not known: {error.message}")

    async def _renew(self) -> Offering:
        """What is offered now; who listens is told of a difference."""
        before = await self.offering()
        now = self._adopt(Offering(await self._backend.list(), single=self._single))
        if not now.same_tools(before):
            self._say("toolsListChanged")
        for kind, name in (("prompts", "promptsListChanged"), ("resources", "resourcesListChanged")):
            if not now.same_methods(before, kind):
                self._say(name)
        return now

    def _adopt(self, offering: Offering) -> Offering:
        self._offering = offering
        if not offering.servers and not offering.left_out:
            self._note("no tool server: the contract names no tool of any in [upstreams]")
        for each in offering.left_out:
            if (each.name, each.why) not in self._noted:
                self._noted.add((each.name, each.why))
                self._note(f"not offered: {each.name}: {each.why}")
        return offering

    def _say(self, change: str) -> None:
        if self._era is not None and not self._era.stateless:
            self._notice(messages.notification(_CHANGES[change]))
        for request in self._under_way.values():
            if change in request.listens:
                request.tell(messages.notification(_CHANGES[change], {"_meta": _stream(request)}))

    async def _listen(self, request: Request, params: dict[str, bytes]) -> dict[str, bytes]:
        """Tell of changes until the session ends or the client cancels."""
        wanted = messages.members(params.get("notifications", b""), "notifications")
        request.listens = frozenset(name for name in _CHANGES if wanted.get(name, b"") == b"true")
        honored = dict.fromkeys(sorted(request.listens), True)
        told = {"_meta": _stream(request), "notifications": honored}
        request.tell(messages.notification("notifications/subscriptions/acknowledged", told))
        await self._closed.wait()
        return {"_meta": messages.encode(_stream(request))}


def _stream(request: Request) -> dict[str, Any]:
    return {_SUBSCRIPTION: msgspec.Raw(request.number)}
