"""Resources and prompts: each request is an action of the server that it goes to, allowed by contract only.

With several servers a listing is put together from those that may be asked, and what is read goes to the server that
listed it. Everything in them is a tool server's own text, and marked so.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from failwell.gateway.calls import Asked, Ended
from failwell.gateway.messages import INVALID_PARAMS, METHOD_NOT_FOUND, OURS, Faulty, encode, joined, members, text
from failwell.gateway.offers import Offering

#: Listings, with the member that they are a list in; and what is asked about one thing.
LISTINGS = {"resources/list": "resources", "resources/templates/list": "resourceTemplates", "prompts/list": "prompts"}
METHODS = frozenset({*LISTINGS, "resources/read", "prompts/get"})
#: Resources of which is remembered who listed them.
REMEMBERED = 10_000
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])

#: Makes one action: (what the request says, server, method, arguments, its call's name among several).
Act = Callable[[Asked, str, str, bytes, str | None], Awaitable[Ended]]


class OtherRequests:
    """What a session knows of its servers' resources and prompts."""

    def __init__(self, act: Act) -> None:
        self._act = act
        self._listed_by: OrderedDict[str, set[str]] = OrderedDict()

    async def ask(
        self, offering: Offering, method: str, params: dict[str, bytes], asked: Asked, server: str | None
    ) -> Ended:
        """`server`: the one that the caller means, where it says so."""
        given = {name: bytes(raw) for name, raw in params.items() if name != "_meta"}
        if method in LISTINGS:
            return await self._list(offering, method, given, asked)
        if method == "resources/read":
            uri = _given(params, "uri")
            return await self._act(asked, server or self._holder(offering, uri), method, joined(given), None)
        named, own = offering.split(_given(params, "name"))
        if named is None:
            raise Faulty(INVALID_PARAMS, "there is no prompt of this name: prompts/list names them")
        return await self._act(asked, named, method, joined({**given, "name": encode(own)}), None)

    def _holder(self, offering: Offering, uri: str) -> str:
        """The server that a resource is read from."""
        able = offering.with_method("resources/read")
        if offering.single and offering.servers:
            return next(iter(offering.servers))  # where the contract does not name it, the gate denies it on record
        listed = [name for name in able if name in self._listed_by.get(uri, ())]
        if len(listed) == 1:
            return listed[0]
        if len(able) == 1:
            return able[0]
        if len(listed) > 1:
            # Attack: a server that lists another's resource, to learn that it is read, or to answer for it.
            raise Faulty(
                INVALID_PARAMS, f"several servers list {uri!r}: say which one is meant with _meta {OURS}server",
                {"code": "ambiguous", "servers": sorted(listed)},
            )  # fmt: skip
        raise Faulty(
            INVALID_PARAMS, f"no server has listed {uri!r}: ask resources/list, or name one with _meta {OURS}server",
            {"code": "not-found", "servers": sorted(able)},
        )  # fmt: skip

    # -- listings ----------------------------------------------------------------------------------------------

    async def _list(self, offering: Offering, method: str, given: dict[str, bytes], asked: Asked) -> Ended:
        able = offering.with_method(method)
        if not able:
            raise Faulty(METHOD_NOT_FOUND, f"{method} is in no contract here, or no server offers it")
        if offering.single:
            found = await self._act(asked, able[0], method, joined(given), None)
            if found.result is not None:
                self._note(method, able[0], _items(found.result, LISTINGS[method]))
            return found
        cursors = _cursors(given.get("cursor"), able)
        pages = await asyncio.gather(
            *(self._act(asked, name, method, joined(arguments), name) for name, arguments in cursors.items())
        )
        return self._together(offering, method, dict(zip(cursors, pages, strict=True)))

    def _together(self, offering: Offering, method: str, pages: dict[str, Ended]) -> Ended:
        """One listing out of several; the first refusal where nobody answered."""
        items: list[bytes] = []
        further: dict[str, str] = {}
        answered = False
        for name, page in pages.items():
            if page.result is None:
                continue
            answered = True
            found = _items(page.result, LISTINGS[method])
            self._note(method, name, found)
            items += [joined(_renamed(offering, method, name, item)) for item in found]
            cursor = text(page.result.get("nextCursor"), "nextCursor")
            if cursor is not None:
                further[name] = cursor
        if not answered:
            return next(iter(pages.values()))
        parts = {
            LISTINGS[method]: b"[" + b",".join(items) + b"]",
            "_meta": encode({OURS + "result": {"untrusted": True}}),
        }
        if further:
            parts["nextCursor"] = encode(encode(further).decode())
        return Ended(result=parts)

    def _note(self, method: str, server: str, items: list[dict[str, bytes]]) -> None:
        if method != "resources/list":
            return
        for item in items:
            uri = text(item.get("uri"), "uri")
            if uri is not None:
                self._listed_by.setdefault(uri, set()).add(server)
        while len(self._listed_by) > REMEMBERED:
            self._listed_by.popitem(last=False)


def _items(parts: dict[str, bytes], member: str) -> list[dict[str, bytes]]:
    try:
        return [members(bytes(item), "what the tool server lists") for item in _ITEMS.decode(parts.get(member, b"[]"))]
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Faulty(INVALID_PARAMS, f"the tool server's listing has no {member}") from error


def _renamed(offering: Offering, method: str, server: str, item: dict[str, bytes]) -> dict[str, bytes]:
    if method != "prompts/list" or "name" not in item:
        return item
    own = text(item["name"], "name") or ""
    return {**item, "name": encode(offering.name_of(server, own))}


def _cursors(given: bytes | None, able: list[str]) -> dict[str, dict[str, bytes]]:
    """The servers that a page is asked of, with each one's own cursor; a first page is asked of all."""
    if given is None:
        return {name: {} for name in able}
    try:
        own: dict[str, Any] = msgspec.json.decode(text(given, "cursor") or "", type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Faulty(INVALID_PARAMS, "this cursor is none of ours: ask without one") from error
    asked = {name: {"cursor": encode(cursor)} for name, cursor in own.items() if name in able}
    if not asked:
        raise Faulty(INVALID_PARAMS, "this cursor is none of ours any more: ask without one")
    return asked


def _given(params: dict[str, bytes], name: str) -> str:
    value = text(params.get(name), name)
    if value is None:
        raise Faulty(INVALID_PARAMS, f"params are missing {name}")
    return value
