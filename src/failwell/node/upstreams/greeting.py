"""How a connection to a tool server begins, and how its list of tools is read: bounded, whatever the server says.

Asks by what it is given and keeps nothing. Whether a tool is offered to anybody is not decided here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeAlias

import msgspec

from failwell.core.errors import InputError
from failwell.mcp import messages, revisions
from failwell.mcp.definitions import Definition, read_definition, read_page
from failwell.mcp.plain_text import clean

MAX_PAGES: Final = 64
MAX_TOOLS: Final = 1024
MAX_LIST_BYTES: Final = 4 * 1024 * 1024
#: A longer list is read beside the loop.
MAX_AT_ONCE_BYTES: Final = 65_536


class Offer(NamedTuple):
    """What a server says it offers. `left_out`: tools that it named and that cannot be offered, and why."""

    protocol: str
    server: str
    version: str
    instructions: str | None
    definitions: tuple[Definition, ...]
    methods: frozenset[str]
    left_out: tuple[tuple[str, str], ...] = ()


class Answer(NamedTuple):
    """The end of one request: `raw` is its result, or with `error` the error object.

    `failed`: the server says of a tool that it did not succeed. `truncated`: it said more than is kept; `raw` then says
    so in the place of what it said. `lost`: what came is no answer, or came to nobody: what was done, nobody knows.
    """

    raw: bytes
    error: bool
    failed: bool
    truncated: bool
    lost: bool = False


Ask: TypeAlias = Callable[[str, bytes], Awaitable[Answer]]
Tell: TypeAlias = Callable[[str, bytes], None]


class _Error(msgspec.Struct):
    code: int = 0
    message: str = ""
    data: object = None


def says_lost(raw: bytes) -> bool:
    """Say whether an error object is a relay's about an answer that it could not have. A server that says so of itself
    is believed: what it did is not known then.
    """
    try:
        return msgspec.json.decode(raw, type=_Error).data == messages.LOST
    except (msgspec.MsgspecError, RecursionError):
        return False


async def greet(ask: Ask, tell: Tell) -> revisions.Greeting:
    """Agree on a revision; raises InputError.

    The handshake comes first: every server that is in use answers it, and some older ones end at a question that they
    do not know. One that refuses it is asked as the stateless revisions are.
    """
    first = await ask(revisions.INITIALIZE, revisions.initialize_params())
    if not first.error:
        greeting = revisions.read_initialized(first.raw)
        tell("notifications/initialized", b"{}")
        return greeting
    second = await ask(revisions.DISCOVER, b"{}")
    if second.error:
        raise InputError(f"it refuses to begin: {_words(first.raw)}")
    return revisions.read_discovered(second.raw)


async def list_tools(ask: Ask) -> tuple[tuple[Definition, ...], tuple[tuple[str, str], ...]]:
    """Return the tools that a server names, and those among them that cannot be offered; raises InputError.

    Attack: a list that never ends, or comes back to a page that was read. All of it is refused: a part of a list is not
    what a person looked at.
    """
    items: list[bytes] = []
    size = 0
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        answer = await ask("tools/list", b"{}" if cursor is None else messages.text_of({"cursor": cursor}))
        if answer.error:
            raise InputError(f"it does not list its tools: {_words(answer.raw)}")
        page = read_page(answer.raw, "tools")
        items += page.items
        size += len(answer.raw)
        if len(items) > MAX_TOOLS or size > MAX_LIST_BYTES:
            raise InputError(f"its list of tools is longer than {MAX_TOOLS} tools or {MAX_LIST_BYTES} bytes")
        if page.cursor is None:
            # Attack: a list that takes long to read, again and again: others are answered meanwhile.
            return await asyncio.to_thread(_told_apart, items) if size > MAX_AT_ONCE_BYTES else _told_apart(items)
        if page.cursor in seen:
            raise InputError("its list of tools comes back to a page that was read")
        seen.add(page.cursor)
        cursor = page.cursor
    raise InputError(f"its list of tools has more than {MAX_PAGES} pages")


def _told_apart(items: list[bytes]) -> tuple[tuple[Definition, ...], tuple[tuple[str, str], ...]]:
    found: dict[str, Definition] = {}
    left_out: dict[str, str] = {}
    for place, item in enumerate(items):
        try:
            definition = read_definition(item)
        except InputError as error:
            left_out[f"tool {place + 1} of its list"] = error.message
            continue
        if definition.name in found:
            # Attack: the one is shown to the person who pins, the other to the model.
            left_out[definition.name] = "two tools of this server have this name"
        found[definition.name] = definition
    offered = tuple(definition for name, definition in found.items() if name not in left_out)
    return offered, tuple(left_out.items())


def _words(raw: bytes) -> str:
    """Return what an error of a server says, fit to be shown."""
    try:
        said = msgspec.json.decode(raw, type=_Error)
    except (msgspec.MsgspecError, RecursionError):
        return "an error that is not one"
    return f"{clean(said.message, 200)} ({said.code})"
