"""Definitions of tools as a server says them, and the digest by which a person has accepted one (a pin).

The digest is SHA-256 of the RFC 8785 text of the whole definition: its name, title, description, schemas, annotations
and whatever else stands in it. Nothing of it is interpreted here, and a definition that changes in a comma of its
description is another one: the text is what a model is told.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

import msgspec

from failwell.core.canonical import jcs, parse
from failwell.core.errors import InputError
from failwell.mcp.messages import members

MAX_DEFINITION_BYTES: Final = 262_144
MAX_NAME_CHARACTERS: Final = 128


class Definition(NamedTuple):
    """One tool of a server. `raw`: the object as the server wrote it; `digest`: 64 hexadecimal characters."""

    name: str
    raw: bytes
    digest: str

    def value(self) -> dict[str, Any]:
        """Return what `raw` says."""
        said: dict[str, Any] = parse(self.raw, max_bytes=MAX_DEFINITION_BYTES)
        return said


def read_definition(raw: bytes) -> Definition:
    """Return the definition that `raw` is; InputError for one that two readers could read differently."""
    value = parse(raw, max_bytes=MAX_DEFINITION_BYTES)
    if not isinstance(value, dict):
        raise InputError("a definition that is not an object", code="definition")
    name = value.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        raise InputError(f"a tool whose name is not 1 to {MAX_NAME_CHARACTERS} printable characters", code="definition")
    if not isinstance(value.get("inputSchema"), dict):
        raise InputError(f"tool {name!r} without an inputSchema that is an object", code="definition")
    return Definition(name, raw, digest_of(value))


def digest_of(value: dict[str, Any]) -> str:
    """Return what a pin holds for the definition `value`."""
    return hashlib.sha256(jcs(value)).hexdigest()


class Page(NamedTuple):
    """One answer to a request for a list: `items` as they were written, and where the next page begins."""

    items: tuple[bytes, ...]
    cursor: str | None


def read_page(result: bytes, member: str) -> Page:
    """Return the page that the result of a `.../list` request is; its list stands under `member`. Raises InputError."""
    parts = members(result)
    if member not in parts:
        raise InputError(f"a list without {member!r}", code="definition")
    cursor = parse(parts["nextCursor"]) if "nextCursor" in parts else None
    if cursor is not None and not isinstance(cursor, str):
        raise InputError("a next page whose cursor is not a text", code="definition")
    return Page(_elements(parts[member]), cursor)


def _elements(raw: bytes) -> tuple[bytes, ...]:
    try:
        return tuple(bytes(item) for item in msgspec.json.decode(raw, type=list[msgspec.Raw]))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise InputError("a list that is not one", code="definition") from None
