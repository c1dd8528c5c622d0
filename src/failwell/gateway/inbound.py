"""One HTTP request of MCP held against itself: what its headers say before its body is believed, and what that says.

Two eras share the address. Up to 2025-11-25 a session is opened by `initialize` and named by Mcp-Session-Id; from
2026-07-28 each POST stands for itself, and says in headers too what its body says, so that whoever routes it need not
read that. Attack: headers that say one thing to a proxy, and a body that says another to us; a header that is there
twice, of which each reader takes another one. Pure; who may ask is decided elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from failwell.core.errors import FailwellError
from failwell.gateway import messages
from failwell.gateway.eras import CAPABILITIES_KEY, HANDSHAKE, STATELESS, VERSION_KEY
from failwell.gateway.messages import INVALID_PARAMS, INVALID_REQUEST, UNSUPPORTED_REVISION, Faulty, Message

HEADER_MISMATCH: Final = -32020
#: Of a request without the header (the specification of 2025-06-18: Protocol Version Header).
ASSUMED: Final = "2025-03-26"
#: The first revision whose clients take an event that only has an id.
PRIMED: Final = "2025-11-25"
VERSION, METHOD, NAME = "mcp-protocol-version", "mcp-method", "mcp-name"
#: What stands before the name that a tool's schema gives to an argument which is repeated in a header.
PARAMETER: Final = "mcp-param-"
SESSION, LAST_EVENT = "mcp-session-id", "last-event-id"
#: Which parameter Mcp-Name repeats.
NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_WRAPPED = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)
_SESSION_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Rejected(FailwellError):
    """A request that is answered by its status, and a JSON-RPC error that says why."""

    code = "rejected"

    def __init__(self, status: int, message: str, *, number: int = INVALID_REQUEST, data: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.fault = Faulty(number, message, data)


class Headers:
    """The header fields of a request by lower-case name; one that stands twice has no value that could be relied on."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in raw:
            self._values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())

    def one(self, name: str) -> str | None:
        """The value of a field that may stand once. Rejected where it stands more often."""
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise Rejected(400, f"the header {name} stands {len(values)} times", number=HEADER_MISMATCH)
        return values[0]

    def members(self, name: str) -> list[str]:
        """The members of a field that is a list, lower-case, without their parameters."""
        members = ",".join(self._values.get(name, [])).split(",")
        return [member.split(";")[0].strip().lower() for member in members]

    def beginning(self, prefix: str) -> list[str]:
        """The names that begin so."""
        return [name for name in self._values if name.startswith(prefix)]


def is_stateless(headers: Headers) -> bool:
    """Whether the request stands for itself. A revision that nobody knows is answered in that era's way (-32022)."""
    version = headers.one(VERSION)
    return version is not None and version not in HANDSHAKE


def check_accept(headers: Headers, *wanted: str) -> None:
    """Rejected unless the caller takes each of the media types in `wanted`."""
    taken = set(headers.members("accept"))
    for kind in wanted:
        if not taken & {kind, f"{kind.partition('/')[0]}/*", "*/*"}:
            raise Rejected(406, f"the caller does not accept {kind}: Accept: {', '.join(wanted)}")


def check_content_type(headers: Headers) -> None:
    """Rejected unless the body is said to be JSON.

    Attack: a form of a web page, which a browser sends anywhere without asking first, as text/plain.
    """
    if headers.members("content-type") != ["application/json"]:
        raise Rejected(415, "the body is application/json")


def session_id(headers: Headers) -> str | None:
    """The session that is named; Rejected for what cannot be one."""
    named = headers.one(SESSION)
    if named is not None and not _SESSION_ID.fullmatch(named):
        raise Rejected(404, "there is no such session")
    return named


def read_message(body: bytes) -> Message:
    """The one message of a POST; Rejected for anything else. Batches went with 2025-06-18, and pass here in no era."""
    if body.lstrip()[:1] == b"[":
        raise Rejected(400, "a POST carries one message, no batch")
    try:
        return messages.read(body)
    except Faulty as error:
        raise Rejected(400, error.message, number=error.number) from error


def check_stateless(headers: Headers, message: Message) -> str:
    """The revision of a request that stands for itself; Rejected where its headers and its body do not say the same."""
    try:
        params = messages.members(message.params, "params")
        meta = messages.members(params.get("_meta", b""), "params._meta")
    except Faulty as error:
        raise Rejected(400, error.message, number=INVALID_PARAMS) from error
    missing = [name for name in (VERSION_KEY, CAPABILITIES_KEY) if name not in meta]
    if missing:
        raise Rejected(400, f"params._meta does not say {', '.join(missing)}", number=INVALID_PARAMS)
    version = _text(meta[VERSION_KEY])
    _same(VERSION, headers.one(VERSION), version)
    _same(METHOD, headers.one(METHOD), message.method)
    named = NAMED.get(message.method)
    if named is not None and named in params:
        _same(NAME, unwrapped(headers.one(NAME)), _text(params[named]))
    if version not in STATELESS:
        raise _unspoken(version)
    return version


def check_parameters(headers: Headers, schema: Any, arguments: bytes) -> None:
    """Rejected where a header Mcp-Param-NAME does not say what the argument says whose schema names it (x-mcp-header).

    Attack: a proxy sends a call on by a region or a tenant that its arguments do not have.
    """
    try:
        given = msgspec.json.decode(arguments)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        given = None
    expected = dict(_mirrored(schema, given if isinstance(given, dict) else {}))
    for name, wanted in expected.items():
        told = headers.one(name)
        if (told is None) != (wanted is None) or unwrapped(told) != wanted:
            raise Rejected(400, f"the header {name[:80]} does not say what its argument says", number=HEADER_MISMATCH)


def _mirrored(schema: Any, given: Any) -> Iterator[tuple[str, str | None]]:
    """Each header that repeats an argument, and what it has to say; None: it may not be there."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    for argument, described in properties.items() if isinstance(properties, dict) else ():
        value = given.get(argument) if isinstance(given, dict) else None
        named = described.get("x-mcp-header") if isinstance(described, dict) else None
        if isinstance(named, str):
            yield PARAMETER + named.lower(), _rendered(value)
        yield from _mirrored(described, value)


def _rendered(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int) else None


def check_revision(headers: Headers) -> str:
    """The revision of a notification of the stateless era; Rejected for one that is not spoken here."""
    version = headers.one(VERSION) or ASSUMED
    if version not in (*STATELESS, *HANDSHAKE):
        raise _unspoken(version)
    return version


def unwrapped(value: str | None) -> str | None:
    """A header's text, also where it was wrapped as `=?base64?...?=` because headers are ASCII; None for a broken one.

    Attack: several spellings of one text, of which a proxy knows the one and we take the other.
    """
    found = None if value is None else _WRAPPED.fullmatch(value)
    if found is None:
        return value
    try:
        raw = base64.b64decode(found[1], validate=True)
        return raw.decode() if base64.b64encode(raw).decode() == found[1] else None
    except (binascii.Error, ValueError):
        return None


def _unspoken(version: str | None) -> Rejected:
    return Rejected(
        400, f"the revision {str(version)[:40]!r} is not spoken here", number=UNSUPPORTED_REVISION,
        data={"supported": list(STATELESS), "requested": version},
    )  # fmt: skip


def _same(header: str, told: str | None, body: str | None) -> None:
    if told is None or told != body:
        raise Rejected(400, f"the header {header} does not say what the body says", number=HEADER_MISMATCH)


def _text(raw: bytes) -> str | None:
    """The text that a raw value is; None for any other value."""
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.MsgspecError, UnicodeError):
        return None
