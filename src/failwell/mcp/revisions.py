"""Revisions of the Model Context Protocol and the two ways in which they begin.

Through 2025-11-25 a connection opens with a handshake (initialize) and keeps its state; since 2026-07-28 each request
says for itself who asks and by which revision (params._meta), and server/discover says what there is. What we are able
to do for a server is nothing in both: no sampling, no elicitation, no roots, so that no server asks our agents' models.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

import msgspec

from failwell.core.errors import InputError
from failwell.core.release import VERSION
from failwell.mcp.messages import joined, members, text_of
from failwell.mcp.plain_text import clean

HANDSHAKE: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Revisions that begin with initialize, the oldest first."""
STATELESS: Final = ("2026-07-28",)
"""Revisions whose requests each carry their envelope."""

INITIALIZE: Final = "initialize"
DISCOVER: Final = "server/discover"

REVISION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_KEY: Final = "io.modelcontextprotocol/clientInfo"
ABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
SERVER_KEY: Final = "io.modelcontextprotocol/serverInfo"

HEADER_MISMATCH: Final = -32020
MISSING_ABILITY: Final = -32021
UNSUPPORTED_REVISION: Final = -32022

RESOURCE_METHODS: Final = ("resources/list", "resources/templates/list", "resources/read")
PROMPT_METHODS: Final = ("prompts/list", "prompts/get")

MAX_INSTRUCTIONS_CHARACTERS: Final = 4096
_Said = TypeVar("_Said")
_US: Final = {"name": "failwell", "version": VERSION}


class Greeting(NamedTuple):
    """What a server says of itself. `tools_change`: it says it tells when its tools do."""

    revision: str
    name: str
    version: str
    instructions: str | None
    has_tools: bool
    tools_change: bool
    methods: frozenset[str]


def initialize_params() -> bytes:
    """Return the params of our handshake: the newest revision that has one, and no abilities."""
    return text_of({"protocolVersion": HANDSHAKE[-1], "capabilities": {}, "clientInfo": _US})


def envelope_meta(revision: str) -> dict[str, bytes]:
    """Return the members of params._meta that each request of a stateless revision carries."""
    return {REVISION_KEY: text_of(revision), CLIENT_KEY: text_of(_US), ABILITIES_KEY: b"{}"}


def with_meta(params: bytes, meta: dict[str, bytes]) -> bytes:
    """Return `params` with `meta` as its _meta, whatever stood there; the rest is left as it was written."""
    parts = members(params)
    parts.pop("_meta", None)
    return joined({"_meta": joined(meta), **parts} if meta else parts)


class _Tools(msgspec.Struct, frozen=True):
    listChanged: bool = False  # noqa: N815 - as the protocol spells it


class _Abilities(msgspec.Struct, frozen=True):
    tools: _Tools | None = None
    resources: dict[str, msgspec.Raw] | None = None
    prompts: dict[str, msgspec.Raw] | None = None


class _Implementation(msgspec.Struct, frozen=True):
    name: str = ""
    version: str = ""


class _Initialized(msgspec.Struct, frozen=True):
    protocolVersion: str  # noqa: N815
    capabilities: _Abilities
    serverInfo: _Implementation = _Implementation()  # noqa: N815
    instructions: str | None = None


class _DiscoveredMeta(msgspec.Struct, frozen=True):
    server: _Implementation = msgspec.field(default=_Implementation(), name=SERVER_KEY)


class _Discovered(msgspec.Struct, frozen=True):
    supportedVersions: list[str]  # noqa: N815
    capabilities: _Abilities
    meta: _DiscoveredMeta = msgspec.field(default=_DiscoveredMeta(), name="_meta")
    instructions: str | None = None


def read_initialized(result: bytes) -> Greeting:
    """Return what a server answered to initialize; InputError for no such answer, and for a revision unknown here."""
    said = _decoded(result, _Initialized, INITIALIZE)
    if said.protocolVersion not in HANDSHAKE:
        raise InputError(f"it speaks revision {clean(said.protocolVersion, 40)!r}, which is not known here")
    return _greeting(said.protocolVersion, said.serverInfo, said.capabilities, said.instructions)


def read_discovered(result: bytes) -> Greeting:
    """Return what a server answered to server/discover, at the newest revision that both know; raises InputError."""
    said = _decoded(result, _Discovered, DISCOVER)
    both = [revision for revision in STATELESS if revision in said.supportedVersions]
    if not both:
        named = ", ".join(clean(revision, 40) for revision in said.supportedVersions[:5])
        raise InputError(f"it speaks revisions {named or '(none)'}, of which none is known here")
    return _greeting(both[-1], said.meta.server, said.capabilities, said.instructions)


def _decoded(result: bytes, kind: type[_Said], method: str) -> _Said:
    try:
        return msgspec.json.decode(result, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise InputError(f"its answer to {method} is not one") from None


def _greeting(revision: str, who: _Implementation, able: _Abilities, instructions: str | None) -> Greeting:
    methods = (RESOURCE_METHODS if able.resources is not None else ()) + (
        PROMPT_METHODS if able.prompts is not None else ()
    )
    return Greeting(
        revision=revision, name=clean(who.name, 100), version=clean(who.version, 100),
        instructions=None if instructions is None else clean(instructions, MAX_INSTRUCTIONS_CHARACTERS),
        has_tools=able.tools is not None, tools_change=able.tools is not None and able.tools.listChanged,
        methods=frozenset(methods),
    )  # fmt: skip
