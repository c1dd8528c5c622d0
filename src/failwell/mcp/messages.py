"""JSON-RPC messages of the Model Context Protocol: read strictly, written by joining, never re-encoded.

What stands under "params", "result" and "error" passes through as the bytes that came, so that what is recorded, what
is hashed and what is delivered are one text. Knows no method and no revision, keeps no state, does no IO.

A message is one object on one line. Batches are refused: only revision 2025-03-26 had them, and one limit per message
would then be a limit on nothing.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

import msgspec

from failwell.core.canonical import SAFE_INTEGER_LIMIT
from failwell.core.errors import InputError

Number: TypeAlias = int | str
"""What a request is called by whoever sent it ("id"). 3 and "3" are two."""

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""The longest message that is read where nothing else is said."""
MAX_MESSAGE_DEPTH: Final = 64
"""Arguments are 32 deep at most (`canonical.MAX_DEPTH`); around them stand an envelope and lists of definitions."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

_MAX_NUMBER_CHARACTERS: Final = 256
_MAX_METHOD_CHARACTERS: Final = 128
_EMPTY: Final = b"{}"
_TEXT: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_STRING: Final = re.compile(_TEXT)
_NEXT_MEMBER: Final = re.compile(rb"[ \t\n\r]*,?[ \t\n\r]*" + _TEXT + rb"[ \t\n\r]*:[ \t\n\r]*")
_END: Final = re.compile(rb"[ \t\n\r]*\}[ \t\n\r]*")
_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


class Request(NamedTuple):
    """Somebody asks; `params` is a JSON object, b"{}" where none was sent."""

    number: Number
    method: str
    params: bytes


class Notification(NamedTuple):
    """Somebody tells, and waits for nothing."""

    method: str
    params: bytes


class Reply(NamedTuple):
    """An answer to a request: `raw` is the result, an object; with `error` it is the error object."""

    number: Number | None
    raw: bytes
    error: bool


Message: TypeAlias = Request | Notification | Reply


class Malformed(InputError):
    """What came is no message. `rpc_code` is how JSON-RPC says so; `number`: whose it was, if that could be read;
    `asks`: it names a method, so that its number is one of its sender's own.
    """

    code = "message"

    def __init__(
        self, message: str, *, rpc_code: int = INVALID_REQUEST, number: Number | None = None, asks: bool = False
    ) -> None:
        super().__init__(message)
        self.rpc_code = rpc_code
        self.number = number
        self.asks = asks


def read(text: bytes, *, max_bytes: int = MAX_MESSAGE_BYTES, max_depth: int = MAX_MESSAGE_DEPTH) -> Message:
    """Return the one message that `text` is; raises Malformed."""
    if len(text) > max_bytes:
        raise Malformed(f"a message of {len(text)} bytes, at most {max_bytes} are read")
    if b"\r" in text:
        # Inside a string a bare CR is not JSON, so it can only be a blank here; where messages are sent as events
        # it would end a line in the middle of one.
        text = text.replace(b"\r", b" ")
    envelope = _envelope(text, max_depth)
    number = _number(envelope)
    try:
        if envelope.get("jsonrpc") != b'"2.0"':
            raise Malformed('"jsonrpc" is not "2.0"', number=number)
        return _asked(envelope, number) if "method" in envelope else _answered(envelope, number)
    except Malformed as error:
        error.asks = "method" in envelope
        raise


def _envelope(text: bytes, max_depth: int) -> dict[str, bytes]:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at byte {error.start}", rpc_code=PARSE_ERROR) from None
    if text.lstrip()[:1] == b"[":
        raise Malformed("several messages in one (a batch) are not read")
    try:
        envelope = members(text)
    except InputError as error:
        raise Malformed(error.message, rpc_code=PARSE_ERROR) from None
    if is_deeper(text, max_depth):
        number = _number_if_any(envelope)
        raise Malformed(f"nested more than {max_depth} deep", number=number, asks="method" in envelope)
    return envelope


def _asked(envelope: dict[str, bytes], number: Number | None) -> Request | Notification:
    if "result" in envelope or "error" in envelope:
        raise Malformed("a message that both asks and answers", number=number)
    method = _method(envelope["method"], number)
    params = envelope.get("params", _EMPTY)
    if params[:1] != b"{":
        raise Malformed('"params" is not an object', rpc_code=INVALID_PARAMS, number=number)
    if "id" not in envelope:
        return Notification(method, params)
    if number is None:
        raise Malformed("a request whose id is null")
    return Request(number, method, params)


def _method(raw: bytes, number: Number | None) -> str:
    try:
        method = msgspec.json.decode(raw, type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Malformed('"method" is not a text', number=number) from None
    if not method or len(method) > _MAX_METHOD_CHARACTERS or not method.isascii() or not method.isprintable():
        raise Malformed(f'"method" is not 1 to {_MAX_METHOD_CHARACTERS} printable characters', number=number)
    return method


def _answered(envelope: dict[str, bytes], number: Number | None) -> Reply:
    if ("result" in envelope) == ("error" in envelope):
        raise Malformed("neither a request nor an answer with one of result and error", number=number)
    if "id" not in envelope:
        raise Malformed("an answer without id")
    error = "error" in envelope
    raw = envelope["error" if error else "result"]
    if raw[:1] != b"{":
        raise Malformed("a result or error that is not an object", number=number)
    if number is None and not error:
        raise Malformed("a result for nobody: its id is null")
    return Reply(number, raw, error)


def _number(envelope: dict[str, bytes]) -> Number | None:
    raw = envelope.get("id")
    if raw is None or raw == b"null":
        return None
    try:
        number: Number = msgspec.json.decode(raw, type=int | str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # Attack: true and 1.0, which are equal to 1 in Python.
        raise Malformed("an id that is neither a whole number nor a text") from None
    if isinstance(number, str):
        if len(number) > _MAX_NUMBER_CHARACTERS:
            raise Malformed(f"an id of more than {_MAX_NUMBER_CHARACTERS} characters")
    elif abs(number) >= SAFE_INTEGER_LIMIT:
        raise Malformed("an id of 2^53 or more, which others read as another one")
    return number


def _number_if_any(envelope: dict[str, bytes]) -> Number | None:
    try:
        return _number(envelope)
    except Malformed:
        return None


def members(text: bytes) -> dict[str, bytes]:
    """Return each member of the object `text` as the bytes that stand there; its own keys are unique.

    Raises InputError. What is deeper than one level is held to JSON's syntax and not looked at.
    """
    try:
        found = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except RecursionError:  # attack: two mebibytes of "["
        raise InputError("nested too deep to be read") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InputError("not a JSON object") from None
    # Attack: {"isError": true, "isError": false}. A dictionary keeps the last one, another reader the first; so the
    # text is walked along the members that were found, and has to end where they end.
    place = text.index(b"{") + 1
    result: dict[str, bytes] = {}
    for name, raw in found.items():
        value = bytes(raw)
        key = _NEXT_MEMBER.match(text, place)
        if key is None or not text.startswith(value, key.end()):
            raise InputError("a key stands twice in one object")
        place = key.end() + len(value)
        result[name] = value
    if _END.fullmatch(text, place) is None:
        raise InputError("a key stands twice in one object")
    return result


def is_deeper(text: bytes, levels: int) -> bool:
    """Say whether the valid JSON `text` nests objects and lists more than `levels` deep."""
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    brackets = _STRING.sub(b"", text).translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(levels):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")  # takes off what is innermost: one level
    return bool(brackets)


# ------------------------------------------------------------------------------------------------- the writing


def request(number: Number, method: str, params: bytes = _EMPTY) -> bytes:
    """Return one message without its end of line; `params` is a JSON object and is not looked at."""
    return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}' % (text_of(number), text_of(method), params)


def notification(method: str, params: bytes = _EMPTY) -> bytes:
    """Return one message that waits for no answer."""
    return b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (text_of(method), params)


def result(number: Number, raw: bytes) -> bytes:
    """Return the answer to a request, whose result is the object `raw`."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (text_of(number), raw)


def error(number: Number | None, raw: bytes) -> bytes:
    """Return the answer to a request, whose error object is `raw`; None: to one that could not be read."""
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (text_of(number), raw)


LOST: Final = {"failwell": "lost"}
"""Under "data" in an error of a relay's: an answer was due and cannot be had, so nobody knows what was done."""


def error_object(code: int, message: str, data: object = None) -> bytes:
    """Return an error as JSON-RPC spells it."""
    body: dict[str, object] = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    return text_of(body)


def text_of(value: object) -> bytes:
    """Return JSON text of what is ours: plain values, no floats that others would read differently."""
    return msgspec.json.encode(value)


def joined(parts: dict[str, bytes]) -> bytes:
    """Return the object whose members are these texts, in their order: the way back from `members`."""
    return b"{" + b",".join(text_of(name) + b":" + raw for name, raw in parts.items()) + b"}"
