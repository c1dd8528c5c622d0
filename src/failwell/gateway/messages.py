"""JSON-RPC between the gateway and an agent's client: what is read of it, and which errors say what.

Pure, on `mcp.messages`: what envelopes carry stays the bytes that came. What they mean is `gateway.session`'s.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from failwell.core.errors import FailwellError, InputError, Unreachable
from failwell.mcp import messages as mcp
from failwell.mcp import revisions as mcp_revisions
from failwell.mcp.messages import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    joined,
    text_of,
)

__all__ = ["INTERNAL_ERROR", "INVALID_PARAMS", "INVALID_REQUEST", "METHOD_NOT_FOUND", "PARSE_ERROR", "joined"]

UNSUPPORTED_REVISION = mcp_revisions.UNSUPPORTED_REVISION
#: Ours, in the range that the protocol leaves to implementations (-32000..-32019; the kit uses -32000 and -32001).
DENIED, ESCALATED, STOPPED, UNREACHABLE, BUSY, FAILED = -32010, -32011, -32012, -32013, -32014, -32015
#: The longest message from a client that is read: arguments that are too long are denied on record up to here.
MAX_MESSAGE_BYTES = 8 * 1024 * 1024

#: The prefix of what is ours in `_meta`.
OURS = "failwell/"
encode = text_of


class Message(NamedTuple):
    """One message from the agent's client. `number`: the id as its bytes, which an answer repeats and a cancellation
    names; empty where nothing is answered. `method` is empty for an answer to us, who ask nothing.
    """

    method: str
    number: bytes = b""
    params: bytes = b"{}"


class Faulty(FailwellError):
    """An answer to the client that is an error: its number, words, and details that a program can read.

    `asked`: the id of the request that it answers, where only whoever raises this knows it.
    """

    code = "faulty"

    def __init__(
        self, number: int, message: str, data: dict[str, Any] | None = None, *, asked: bytes | None = None
    ) -> None:
        super().__init__(message)
        self.number = number
        self.data = data
        self.asked = asked


_BATCH = msgspec.json.Decoder(list[msgspec.Raw])


def read(data: bytes) -> Message:
    """Faulty where it is no message."""
    try:
        found = mcp.read(data, max_bytes=MAX_MESSAGE_BYTES)
    except mcp.Malformed as error:
        asked = None if error.number is None else encode(error.number)
        raise Faulty(error.rpc_code, f"this is no message: {error.message}", asked=asked) from error
    if isinstance(found, mcp.Reply):
        return Message("")
    return Message(found.method, encode(found.number) if isinstance(found, mcp.Request) else b"", found.params)


def read_batch(data: bytes) -> list[bytes] | None:
    """The messages of a batch; None where `data` is none."""
    if data.lstrip()[:1] != b"[":
        return None
    try:
        return [bytes(each) for each in _BATCH.decode(data)]
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Faulty(PARSE_ERROR, "this is no JSON") from error


def members(raw: bytes, what: str) -> dict[str, bytes]:
    """The members of an object, each as its bytes; Faulty where it is none, or says something twice."""
    try:
        return mcp.members(raw) if raw else {}
    except InputError as error:
        raise Faulty(INVALID_PARAMS, f"{what}: {error.message}") from error


def text(raw: bytes | None, what: str) -> str | None:
    """A text, or None where there is none; Faulty for anything else."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Faulty(INVALID_PARAMS, f"{what} is a text") from error


def response(number: bytes, result: bytes) -> bytes:
    """The answer to request `number`."""
    return b'{"jsonrpc":"2.0","id":' + number + b',"result":' + result + b"}"


def raw_error(number: bytes, error: bytes) -> bytes:
    """A server's own error object, as it wrote it."""
    return b'{"jsonrpc":"2.0","id":' + number + b',"error":' + error + b"}"


def error_response(number: bytes, fault: Faulty) -> bytes:
    """An error of ours as the answer to request `number`."""
    return raw_error(number or b"null", mcp.error_object(fault.number, fault.message, fault.data))


def notification(method: str, params: dict[str, Any] | None = None) -> bytes:
    """What nobody answers."""
    told: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        told["params"] = params
    return encode(told)


_PROGRESS = notification("notifications/progress")[:-1]


def is_progress(data: bytes) -> bool:
    """Whether a message only says how far a call is: nobody misses one of many."""
    return data.startswith(_PROGRESS)


def faulty(error: FailwellError, call: str | None = None) -> Faulty:
    """What went wrong between the client and a verdict, as the client is told. Nothing is claimed to have been done."""
    if isinstance(error, Faulty):
        return error
    number = UNREACHABLE if isinstance(error, Unreachable) else BUSY if error.code == "busy" else FAILED
    data: dict[str, Any] = {"code": error.code, "hint": error.hint}
    words = error.message
    if call is not None:
        data["call"] = call
        words = _sentences(
            words, f"What became of this call is told to who makes it again with _meta {OURS}call = {call}"
        )
    return Faulty(number, words if error.hint is None else _sentences(words, error.hint), data)


def _sentences(first: str, second: str) -> str:
    return f"{first}{'' if first.endswith(('.', '!', '?')) else '.'} {second}"
