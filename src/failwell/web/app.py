"""The API as an ASGI application: from a request to one operation, its caller and its record, and back.

Each request is counted, each refusal told as a problem. It judges nothing: verdicts are the node's, identities those of
`callers`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from failwell.core.errors import FailwellError, InputError, NotFound, Refused
from failwell.web import answering, bodies, events, openapi, problems, reading, shapes
from failwell.web.acting import Conflict, NotStarted, denial_of
from failwell.web.door import Asked, Door
from failwell.web.lanes import Lane
from failwell.web.problems import Problem, problem_of
from failwell.web.routes import JSON, OPERATIONS, Operation

#: What serves such a path: (door, scope, receive, answer).
_Visit = Callable[[Door, Scope, Receive, Any], Awaitable[None]]
_ENCODER = msgspec.json.Encoder()
_EVENTS, _OPENAPI = "/v1/events", "/v1/openapi.json"
_LASTING = frozenset(each.path for each in OPERATIONS if each.lane is Lane.LASTING)
_OWN = {each.path: each.lane for each in OPERATIONS if each.lane in (Lane.STOP, Lane.ASIDE)}
#: How the requests begin that wait for no crowd: those that restrict.
FIRST = tuple(f"{each.method} {each.path} ".encode() for each in OPERATIONS if each.lane is Lane.STOP)


def lane(scope: Scope) -> Lane:
    """The lane that a request goes by."""
    path = scope["path"]
    # Attack: `wait%5Fs`, which waits as well and does not look so. A ticket's query has nothing else to say.
    if path in _LASTING or (path.startswith("/v1/tickets/") and scope["query_string"]):
        return Lane.LASTING
    return _OWN.get(path, Lane.PROMPT)


def make_app(door: Door) -> ASGIApp:
    """The application of one door."""
    by_path: dict[str, dict[str, Operation]] = {}
    for each in OPERATIONS:
        by_path.setdefault(each.path, {})[each.method] = each
    resources: dict[str, ASGIApp] = {path: _Resource(door, methods) for path, methods in by_path.items()}
    resources[_OPENAPI] = _Description(door)
    named = {path: resource for path, resource in resources.items() if "{" not in path}
    routes = [Route(path, resource) for path, resource in resources.items() if path not in named]
    routes.append(Route(answering.LINK, _Visited(door, "link", answering.link, ("GET", "HEAD", "POST"))))
    routes.append(Route(answering.HOOK, _Visited(door, "hook", answering.hook, ("POST",))))
    return _Paths(named, Router(routes, redirect_slashes=False, default=_Elsewhere(door)))


class _Paths:
    """A path without names in it leads to its resource at once; only the others are matched one after the other."""

    def __init__(self, named: Mapping[str, ASGIApp], others: ASGIApp) -> None:
        self._named = named
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._named.get(scope["path"], self._others)(scope, receive, send)


class _Answers:
    """Whatever answers: it times and counts, and tells failures as problems."""

    def __init__(self, door: Door, name: str = "none") -> None:
        self._door = door
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        answer = _Answer(send, self._door, self._name)
        try:
            await self.serve(scope, receive, answer)
        except FailwellError as error:
            if answer.status:
                raise
            await answer.tell_problem(error)
        finally:
            self._door.counts.add(answer.name, answer.status, time.perf_counter() - began)

    async def serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        raise NotFound(f"{scope['path'][:200]} is nothing here", hint="GET /v1/openapi.json says what there is.")


class _Elsewhere(_Answers):
    """What no path leads to."""


class _Description(_Answers):
    """The API's own description."""

    async def serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        answer.name = "openapi"
        _check_method(scope, ("GET",), answer)
        self._door.callers.check_host(scope)
        await answer.write(HTTPStatus.OK, JSON, openapi.described())


class _Visited(_Answers):
    """A path for whoever has what was sent: no part of the API, and of nobody who would have to prove anything."""

    def __init__(self, door: Door, name: str, handle: _Visit, methods: tuple[str, ...]) -> None:
        super().__init__(door, name)
        self._handle = handle
        self._methods = methods

    async def serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        _check_method(scope, self._methods, answer)
        self._door.callers.check_host(scope)
        await self._handle(self._door, scope, receive, answer)


class _Resource(_Answers):
    """One path, with the operation of each method."""

    def __init__(self, door: Door, operations: Mapping[str, Operation]) -> None:
        super().__init__(door)
        self._operations = operations

    async def serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        _check_method(scope, tuple(self._operations), answer)
        operation = self._operations[scope["method"]]
        answer.name = operation.name
        asked = Asked(scope=scope, receive=receive, raw=(await receive())["body"], path=scope.get("path_params", {}))
        await self._know(operation, asked)
        _read(operation, asked)
        if operation.path == _EVENTS:
            await events.serve(self._door, asked, answer.stream)
            return
        told = await operation.handle(self._door, asked)
        if isinstance(told, str):
            await answer.write(operation.status, operation.media_type, told.encode())
        else:
            status = HTTPStatus.ACCEPTED if isinstance(told, shapes.Left) else operation.status
            await answer.write(status, operation.media_type, _ENCODER.encode(told))

    async def _know(self, operation: Operation, asked: Asked) -> None:
        """Find out who asks, where that matters."""
        if operation.path in _OWN:
            return  # one word, and what is signed itself: for whoever asks, however they call this door
        if not operation.who and not (operation.optional and not reading.from_here(asked)):
            self._door.callers.check_host(asked.scope)
            return
        caller = await self._door.callers.of(asked.scope, asked.raw)
        self._door.rates.take((caller.role, caller.name))
        if operation.who and caller.role not in operation.who:
            raise Refused(f"{operation.name} is for {' and '.join(f'{role}s' for role in sorted(operation.who))} only")
        asked.caller = caller


def _check_method(scope: Scope, allowed: tuple[str, ...], answer: _Answer) -> None:
    if scope["method"] not in allowed:
        answer.more = [(b"allow", ", ".join(allowed).encode())]
        raise InputError(f"{scope['method'][:20]} is not done to {scope['path'][:200]}", code="method")


def _read(operation: Operation, asked: Asked) -> None:
    """The record that is asked with, and the query."""
    pairs = _pairs(asked.scope["query_string"])
    asked.query = bodies.read_query(pairs, operation.query)
    if operation.method == "POST":
        kinds = [value for name, value in asked.scope["headers"] if name == b"content-type"]
        # Attack: a page in a browser, which may send text to any address without asking, but no JSON.
        if len(kinds) != 1 or kinds[0].partition(b";")[0].strip().lower() != b"application/json":
            raise InputError("the body is not said to be application/json", code="media-type")
        asked.body = bodies.read(asked.raw, operation.asks)
    elif asked.raw:
        raise InputError(f"{operation.method} takes no body", code="malformed")


def _pairs(query: bytes) -> list[tuple[str, str]]:
    if not query:
        return []
    try:
        return parse_qsl(
            query.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=16
        )
    except ValueError as error:
        raise InputError("the query is not read", code="malformed") from error


class _Answer:
    """One answer. `status` is 0 until it is begun; `more` goes along as headers."""

    def __init__(self, send: Send, door: Door, name: str) -> None:
        self._send = send
        self._door = door
        self.name = name
        self.status = 0
        self.more: list[tuple[bytes, bytes]] = []

    async def write(self, status: int, media_type: str, body: bytes) -> None:
        """Write it whole."""
        self.status = int(status)
        headers = [
            (b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"), *self.more, *self._door.fields(),
        ]  # fmt: skip
        await self._send({"type": "http.response.start", "status": self.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def tell_problem(self, error: FailwellError) -> None:
        """Write what went wrong."""
        problem: Problem
        if isinstance(error, NotStarted):
            problem = denial_of(error)
        else:
            problem = problem_of(error, entry=error.entry if isinstance(error, Conflict) else None)
        self.more += [(name.encode(), value.encode()) for name, value in problems.headers_of(problem).items()]
        await self.write(problem.status, problems.MEDIA_TYPE, _ENCODER.encode(problem))

    async def stream(self, message: Any) -> None:
        """Pass on what is written piece by piece."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message["headers"], *self._door.fields()]}
        await self._send(message)
