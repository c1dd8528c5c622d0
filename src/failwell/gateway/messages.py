"""JSON-RPC as the gateway reads and writes it: envelopes are taken apart, what they carry stays the bytes that came.

Pure. What the messages mean is `gateway.session`'s.
"""

from __future__ import annotations

from typing import Any

import msgspec

from failwell.core.errors import FailwellError, Unreachable

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
UNSUPPORTED_REVISION = -32022
#: Ours, in the range that the protocol leaves to implementations (-32000..-32019; the kit uses -32000 and -32001).
DENIED, ESCALATED, STOPPED, UNREACHABLE, BUSY, FAILED = -32010, -32011, -32012, -32013, -32014, -32015

#: The prefix of what is ours in `_meta`.
OURS = "failwell/"
_ENCODER = msgspec.json.Encoder()
encode = _ENCODER.encode


class Message(msgspec.Struct, frozen=True):
    """One message from the agent's client. `id` and `params` are raw; absent where empty."""

    method: str = ""
    id: msgspec.Raw = msgspec.Raw(b"")
    params: msgspec.Raw = msgspec.Raw(b"")
    jsonrpc: str = ""

    @property
    def number(self) -> bytes:
        """The id as its bytes: what an answer repeats, and what a cancellation names."""
        return bytes(self.id)


class Faulty(FailwellError):
    """An answer to the client that is an error: its number, words, and details that a program can read."""

    code = "faulty"

    def __init__(self, number: int, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.number = number
        self.data = data


_MESSAGE = msgspec.json.Decoder(Message)
_BATCH = msgspec.json.Decoder(list[msgspec.Raw])
_ID = msgspec.json.Decoder(int | str)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read(data: bytes) -> Message:
    """Faulty where it is no message."""
    try:
        message = _MESSAGE.decode(data)
        if bytes(message.id):
            _ID.decode(message.id)
    except msgspec.ValidationError as error:
        raise Faulty(INVALID_REQUEST, f"this is no JSON-RPC message: {error}") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Faulty(PARSE_ERROR, f"this is no JSON: {error}") from error
    if message.jsonrpc != "2.0":
        raise Faulty(INVALID_REQUEST, 'a message says "jsonrpc": "2.0"')
    return message


def read_batch(data: bytes) -> list[bytes] | None:
    """The messages of a batch; None where `data` is none."""
    if not data.lstrip().startswith(b"["):
        return None
    try:
        return [bytes(each) for each in _BATCH.decode(data)]
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Faulty(PARSE_ERROR, f"this is no JSON: {error}") from error


def members(raw: bytes | msgspec.Raw, what: str) -> dict[str, msgspec.Raw]:
    """The members of an object, each as its bytes; Faulty where it is none. Of a name that stands twice the last."""
    try:
        return {} if not bytes(raw) else _MEMBERS.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Faulty(INVALID_PARAMS, f"{what} is no JSON object") from error


def text(raw: msgspec.Raw | None, what: str) -> str | None:
    """A text, or None where there is none; Faulty for anything else."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Faulty(INVALID_PARAMS, f"{what} is a text") from error


def joined(parts: dict[str, bytes]) -> bytes:
    """An object out of raw members."""
    return b"{" + b",".join(encode(name) + b":" + raw for name, raw in parts.items()) + b"}"


def response(number: bytes, result: bytes) -> bytes:
    """The answer to request `number`."""
    return b'{"jsonrpc":"2.0","id":' + number + b',"result":' + result + b"}"


def raw_error(number: bytes, error: bytes) -> bytes:
    """A server's own error object, as it wrote it."""
    return b'{"jsonrpc":"2.0","id":' + number + b',"error":' + error + b"}"


def error_response(number: bytes, fault: Faulty) -> bytes:
    """An error of ours as the answer to request `number`."""
    told: dict[str, Any] = {"code": fault.number, "message": fault.message}
    if fault.data is not None:
        told["data"] = fault.data
    return raw_error(number or b"null", encode(told))


def notification(method: str, params: dict[str, Any] | None = None) -> bytes:
    """What nobody answers."""
    told: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        told["params"] = params
    return encode(told)


def faulty(error: FailwellError, call: str | None = None) -> Faulty:
    """What went wrong between the client and a verdict, as the client is told. Nothing is claimed to have been done."""
    if isinstance(error, Faulty):
        return error
    number = UNREACHABLE if isinstance(error, Unreachable) else BUSY if error.code == "busy" else FAILED
    data: dict[str, Any] = {"code": error.code, "hint": error.hint}
    words = error.message
    if call is not None:
        data["call"] = call
        words += f". What became of this call is told to who makes it again with _meta {OURS}call = {call}"
    return Faulty(number, words if error.hint is None else f"{words}. {error.hint}", data)
