"""Headers that a request of a stateless revision carries beside its body, so that who stands between can route it.

Since 2026-07-28: the revision, the method, what the method is about, and those arguments that a tool's schema names
(x-mcp-header). They repeat what the body says and are made from it. Pure.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any, Final

from failwell.core.canonical import parse
from failwell.core.errors import InputError
from failwell.mcp.definitions import read_definition, read_page
from failwell.mcp.messages import MAX_MESSAGE_BYTES, MAX_MESSAGE_DEPTH, Request
from failwell.mcp.revisions import REVISION_KEY

REVISION_HEADER: Final = "MCP-Protocol-Version"
SESSION_HEADER: Final = "Mcp-Session-Id"
_METHOD_HEADER: Final = "Mcp-Method"
_ABOUT_HEADER: Final = "Mcp-Name"
_ARGUMENT_PREFIX: Final = "Mcp-Param-"
_ABOUT: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_ANNOTATION: Final = "x-mcp-header"
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PLAIN: Final = re.compile(r"[\x20-\x7e]*")
_WRAPPED: Final = re.compile(r"=\?base64\?.*\?=")
_MAX_TOOLS: Final = 4096

#: Where in the arguments of a tool a value stands, and the header that repeats it.
Places = dict[tuple[str, ...], str]


class Routing:
    """Knows which arguments of which tools are repeated in headers, from the lists of tools that came by."""

    def __init__(self) -> None:
        self._places: dict[str, Places] = {}

    def learn(self, result: bytes) -> None:
        """Take note of a page of a list of tools; one that cannot be read names nothing."""
        try:
            items = read_page(result, "tools").items
        except InputError:
            return
        for item in items:
            try:
                definition = read_definition(item)
                places = annotated(definition.value()["inputSchema"])
            except InputError:
                continue
            if len(self._places) < _MAX_TOOLS:
                self._places[definition.name] = places

    def headers(self, request: Request) -> dict[str, str]:
        """Return the headers of a request that carries an envelope; none for one that does not."""
        if REVISION_KEY.encode() not in request.params:
            return {}
        try:
            params = parse(request.params, max_bytes=MAX_MESSAGE_BYTES, max_depth=MAX_MESSAGE_DEPTH)
        except InputError:
            return {}
        meta = params.get("_meta")
        revision = meta.get(REVISION_KEY) if isinstance(meta, dict) else None
        if not isinstance(revision, str):
            return {}
        headers = {REVISION_HEADER: encoded(revision), _METHOD_HEADER: request.method}
        about = params.get(_ABOUT.get(request.method, ""))
        if isinstance(about, str):
            headers[_ABOUT_HEADER] = encoded(about)
            if request.method == "tools/call":
                headers.update(_repeated(self._places.get(about, {}), params.get("arguments")))
        return headers


def _repeated(places: Places, arguments: object) -> Iterator[tuple[str, str]]:
    for path, token in places.items():
        value = arguments
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, bool):
            yield _ARGUMENT_PREFIX + token, "true" if value else "false"
        elif isinstance(value, str | int | float):
            yield _ARGUMENT_PREFIX + token, encoded(str(value))


def annotated(schema: dict[str, Any]) -> Places:
    """Return the places that `schema` annotates; none at all where two of them name one header, or one is not valid."""
    places: Places = {}
    pending: list[tuple[tuple[str, ...], object]] = [((), schema)]
    while pending:
        path, part = pending.pop()
        if not isinstance(part, dict):
            continue
        token = part.get(_ANNOTATION)
        if token is not None:
            plain = isinstance(token, str) and _TOKEN.fullmatch(token) and path
            taken = plain and token.lower() in {name.lower() for name in places.values()}
            if not plain or taken or part.get("type") not in ("string", "integer", "boolean"):
                return {}
            places[path] = token
        properties = part.get("properties")
        if isinstance(properties, dict):
            pending += [((*path, name), inner) for name, inner in properties.items()]
    return places


def encoded(value: str) -> str:
    """Return `value` as a header carries it: as it is, or in base64 where it would not come over unchanged."""
    if _PLAIN.fullmatch(value) and value == value.strip() and not _WRAPPED.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode('ascii')}?="
