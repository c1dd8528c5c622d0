"""MCP over HTTP (streamable HTTP): one address for any number of agents, in both eras of the protocol.

    POST /mcp     one message; its answer is one JSON text, or events where it takes long or says something on its way
    GET /mcp      what belongs to no request, or the rest of an answer whose connection broke (Last-Event-ID)
    DELETE /mcp   the end of a session

Nothing of a request is looked at before its Host, its Origin and whoever sent it are known. Up to 2025-11-25 a broken
connection stops nothing, and the answer can be fetched; from 2026-07-28 hanging up cancels, and nothing is resumed. It
judges no action: that is `gateway.session`'s backend, the node.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from failwell.core.errors import FailwellError
from failwell.gateway import inbound, messages, on_behalf
from failwell.gateway.events import PING, Stream, event, priming, read_event_id
from failwell.gateway.http_callers import Found, OwnHost, find
from failwell.gateway.http_sessions import Asking, Bounds, Session, Sessions
from failwell.gateway.inbound import Headers, Rejected
from failwell.gateway.messages import Message
from failwell.gateway.origins import Names
from failwell.web.callers import Callers
from failwell.web.problems import headers_of, problem_of

PATH = "/mcp"
JSON, EVENTS = "application/json", "text/event-stream"
#: An answer that takes longer than this goes as events: soon where a client could go on with them after a break.
SOON_S, LATE_S = 1.0, 10.0
PING_S = 15.0
_ALLOWED = {"allow": "GET, POST, DELETE"}
_STREAMING = {"content-type": EVENTS, "cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
#: What HTTP says of errors in answers of the stateless era.
_STATUS = {
    messages.PARSE_ERROR: 400, messages.INVALID_REQUEST: 400, messages.INVALID_PARAMS: 400,
    inbound.HEADER_MISMATCH: 400, messages.UNSUPPORTED_REVISION: 400, messages.METHOD_NOT_FOUND: 404,
}  # fmt: skip


class _Error(msgspec.Struct):
    code: int = 0


class _Answer(msgspec.Struct):
    error: _Error | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


class Request:
    """One HTTP request: what came, who sent it, and how it is answered."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, fields: dict[str, str]) -> None:
        self.scope = scope
        self.headers = Headers(scope["headers"])
        self.number = b""
        self._receive = receive
        self._send = send
        self._fields = fields
        self.begun = False

    async def body(self) -> bytes:
        parts = []
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise asyncio.CancelledError
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                return b"".join(parts)

    async def gone(self) -> None:
        """Returns once whoever asked has hung up."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def answer(self, status: int, body: bytes = b"", fields: dict[str, str] | None = None) -> None:
        about = {"content-type": JSON} if body else {}
        await self.begin(status, {**about, "content-length": str(len(body)), **(fields or {})})
        await self._send({"type": "http.response.body", "body": body})

    async def begin(self, status: int, fields: dict[str, str]) -> None:
        self.begun = True
        told = [(name.encode(), value.encode("latin-1")) for name, value in {**self._fields, **fields}.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": told})

    async def more(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})


class McpOverHttp:
    """The application. `names`: how it may be addressed; `host`: in whose name it believes headers, if in anybody's."""

    def __init__(
        self, callers: Callers, sessions: Sessions, names: Names, bounds: Bounds, host: OwnHost | None
    ) -> None:
        self._callers = callers
        self._sessions = sessions
        self._bounds = bounds
        self._host = host
        self._apart = itertools.count(1)
        self._asked: dict[Any, int] = {}
        self.names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send, self._callers.fields)
        try:
            await self._serve(request)
        except Rejected as error:
            fields = _ALLOWED if error.status == 405 else {}
            await request.answer(error.status, messages.error_response(request.number, error.fault), fields)
        except FailwellError as error:
            if request.begun:
                raise
            problem = problem_of(error)
            told = messages.error_response(request.number, messages.faulty(error))
            await request.answer(problem.status, told, dict(headers_of(problem)))

    async def _serve(self, request: Request) -> None:
        scope, headers = request.scope, request.headers
        if not self.names.takes_host(headers.one("host"), scope["scheme"]):
            raise Rejected(421, "this request is for a server of another name (its operator adds names: --name)")
        if not self.names.takes_origin(headers.one("origin")):
            raise Rejected(403, "no web page calls tools here")
        if scope["path"] != PATH:
            raise Rejected(404, f"MCP is spoken at {PATH}")
        body = await request.body()
        found = await find(self._callers, scope, headers, body, self._host)
        match scope["method"]:
            case "POST":
                await self._post(request, found, body)
            case "GET":
                await self._get(request, found)
            case "DELETE":
                session = self._named(request, found)
                await self._sessions.end_soon(session)
                await request.answer(204)
            case _:
                raise Rejected(405, "MCP is spoken by POST, GET and DELETE")

    async def _post(self, request: Request, found: Found, body: bytes) -> None:
        inbound.check_accept(request.headers, JSON, EVENTS)
        inbound.check_content_type(request.headers)
        if inbound.is_stateless(request.headers):
            await self._stateless(request, found, body)
            return
        message = inbound.read_message(body)
        request.number = message.number
        if message.method == "initialize" and message.number:
            await self._initialize(request, found, body)
            return
        session = self._named(request, found)
        if not message.number:
            with session.used():
                await session.agent.handle(body, _unheard)
            await request.answer(202)
            return
        version = request.headers.one(inbound.VERSION) or inbound.ASSUMED
        within_s = SOON_S if version >= inbound.PRIMED else LATE_S
        stream, _ = self._ask(found.asking, session, body, message)
        # Attack: a call whose answer is lost on the way, and that is made once more. It goes on, and can be fetched.
        await self._tell(request, session, stream, within_s, primed=version >= inbound.PRIMED)

    async def _initialize(self, request: Request, found: Found, body: bytes) -> None:
        if inbound.session_id(request.headers) is not None:
            raise Rejected(400, "initialize opens a session, and names none")
        behalf = on_behalf.read(request.headers, found.believed, passed_on=found.passed_on)
        session = await self._sessions.open(found.asking, behalf)
        answer = None
        try:
            with session.used():
                answer = await session.agent.handle(body, _unheard)
            if answer is None or _number_of_error(answer) is not None:
                await request.answer(200, answer or b"")
                answer = None
                return
            await request.answer(200, answer, {inbound.SESSION: session.name})
        finally:
            if answer is None:
                self._sessions.end_soon(session)

    async def _stateless(self, request: Request, found: Found, body: bytes) -> None:
        message = inbound.read_message(body)
        request.number = message.number
        if not message.number:
            inbound.check_revision(request.headers)
            # There is nothing for one to act on: who cancels hangs up.
            await request.answer(202)
            return
        inbound.check_stateless(request.headers, message)
        behalf = on_behalf.read(request.headers, found.believed, passed_on=found.passed_on)
        session = await self._sessions.shared(found.asking, behalf)
        if message.method == "tools/call":
            await _check_parameters(request.headers, session, message)
        stream, task = self._ask(found.asking, session, body, message, apart=b"%d:" % next(self._apart))
        try:
            await self._tell(request, session, stream, LATE_S, primed=False)
        finally:
            task.cancel()  # whoever hung up does not want it any more; what is done is not held up
            session.streams.drop(stream)

    def _ask(
        self, asking: Asking, session: Session, body: bytes, message: Message, apart: bytes = b""
    ) -> tuple[Stream, asyncio.Task[None]]:  # fmt: skip
        owner = asking.owner
        if self._asked.get(owner, 0) >= self._bounds.requests:
            words = f"{self._bounds.requests} requests of {owner.agent} are under way: wait for one of them to end"
            raise Rejected(429, words, number=messages.BUSY)
        self._asked[owner] = self._asked.get(owner, 0) + 1
        stream, task = session.ask(body, message.number, apart)
        task.add_done_callback(lambda _: self._answered(owner))
        return stream, task

    def _answered(self, owner: Any) -> None:
        self._asked[owner] -= 1
        if not self._asked[owner]:
            del self._asked[owner]

    # -- sessions ----------------------------------------------------------------------------------------------

    def _named(self, request: Request, found: Found) -> Session:
        """The session that a request names, if it is of whoever sent that."""
        name = inbound.session_id(request.headers)
        if name is None:
            raise Rejected(400, f"the header {inbound.SESSION} names no session: initialize opens one")
        session = self._sessions.get(name)
        if session is not None and session.owner != found.asking.owner:
            # Attack: a session's name, found in a log, shown by another agent. It is told what anybody is told, and
            # the record that somebody tried.
            self._callers.turn_away("another identity's session")
            session = None
        if session is None:
            raise Rejected(404, "there is no such session: initialize opens one")
        behalf = on_behalf.read(request.headers, found.believed, passed_on=found.passed_on)
        if behalf not in (session.behalf, on_behalf.NOBODY):
            raise Rejected(409, "for which run a session works is said when it is opened, and stays so")
        return session

    async def _get(self, request: Request, found: Found) -> None:
        if inbound.is_stateless(request.headers):
            raise Rejected(405, "there is nothing to GET in this revision: subscriptions/listen tells of changes")
        inbound.check_accept(request.headers, EVENTS)
        session = self._named(request, found)
        last = request.headers.one(inbound.LAST_EVENT)
        if last is None:
            if session.notices.being_read:
                raise Rejected(409, "this session has such a stream already")
            await self._stream(request, session, session.notices, session.notices.taken)
            return
        place = read_event_id(last)
        stream = None if place is None else session.streams.get(place[0])
        if place is None or stream is None or place[1] > stream.last:
            raise Rejected(400, "what came after this event is not kept any more: what was done is on record")
        await self._stream(request, session, stream, place[1])

    # -- answers -----------------------------------------------------------------------------------------------

    async def _tell(
        self, request: Request, session: Session, stream: Stream, within_s: float, *, primed: bool
    ) -> None:  # fmt: skip
        """Answer a request, unless its client hangs up: by one JSON text where that is all and soon, else by events."""

        async def told() -> None:
            await stream.started(within_s)
            only = stream.only()
            if only is None:
                await self._events(request, session, stream, 0, primed=primed, named=not _is_stateless(request))
                return
            number = _number_of_error(only) if _is_stateless(request) else None
            await request.answer(200 if number is None else _STATUS.get(number, 200), only)
            session.streams.drop(stream)

        await _unless(told(), request.gone())

    async def _stream(self, request: Request, session: Session, stream: Stream, after: int) -> None:
        with session.used():
            await _unless(self._events(request, session, stream, after, primed=False, named=True), request.gone())

    async def _events(
        self, request: Request, session: Session, stream: Stream, after: int, *, primed: bool, named: bool
    ) -> None:  # fmt: skip
        about = {inbound.SESSION: session.name} if named else {}
        await request.begin(200, {**_STREAMING, **about})
        if primed:
            await request.more(priming(f"{stream.name}-0"))
        async for each in stream.follow(after, PING_S):
            data = PING if each is None else event(each[1], f"{stream.name}-{each[0]}" if named else None)
            await request.more(data)
        await request.end()


async def _unless(work: Any, gone: Any) -> None:
    """Do `work`, and give it up where its client hangs up meanwhile."""
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(gone)
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        working.cancel()
        watching.cancel()


def _unheard(message: bytes) -> None:
    """What is said on the way of a message that has no stream; nothing is."""


async def _check_parameters(headers: Headers, session: Session, message: Message) -> None:
    """By the schema that the client was shown."""
    offering = await session.agent.offering()
    if b"x-mcp-header" not in offering.tools_json:
        return
    params = messages.members(message.params, "params")
    offer = offering.tool(messages.text(params.get("name"), "name") or "").offer
    if offer is not None:
        inbound.check_parameters(headers, offer.definition.get("inputSchema"), params.get("arguments", b"{}"))


def _is_stateless(request: Request) -> bool:
    return inbound.is_stateless(request.headers)


def _number_of_error(answer: bytes) -> int | None:
    """The number of the error that an answer is; None for a result."""
    if b'"error"' not in answer[:512]:
        return None
    error = _ANSWER.decode(answer).error
    return None if error is None else error.code
