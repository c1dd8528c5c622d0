"""What a caller sends, read strictly: JSON that two readers cannot read differently, into typed records.

Refused are other encodings than UTF-8, a key that stands twice, lone surrogates, numbers that no two readers agree on,
anything nested more than 32 deep and every field that is not known. A tool's arguments are left as they came: the node
reads them, and what is wrong with them is a denial on record.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import msgspec

from failwell.core import canonical
from failwell.core.errors import InputError

T = TypeVar("T", bound=msgspec.Struct)

#: The member that is passed on as text.
ARGUMENTS = "arguments"
_BLANK = re.compile(r"[ \t\n\r]*")
_PLAIN = json.JSONDecoder()
#: Each member as its text.
_SPELLED = msgspec.json.Decoder(dict[str, msgspec.Raw])
#: The largest number that an entry has.
MAX_NUMBER = 2**53 - 1


class RawObject:
    """The text of a JSON object, as it was sent."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def read(body: bytes, kind: type[T]) -> T:
    """The record that `body` spells; InputError (code "malformed" where it is no JSON object, else "input")."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed("it is not UTF-8") from error
    return _convert(_strict_fields(body, text) or _fields(text), kind)


def _strict_fields(body: bytes, text: str) -> dict[str, Any] | None:
    """The members of an object of which all is strict JSON, its arguments too; None for anything else."""
    try:
        fields = canonical.parse(text, max_bytes=len(body))
        if isinstance(fields, dict) and isinstance(fields.get(ARGUMENTS), dict):
            fields[ARGUMENTS] = RawObject(bytes(_SPELLED.decode(body)[ARGUMENTS]).decode())
    except (InputError, msgspec.MsgspecError):
        return None
    return fields if isinstance(fields, dict) else None


def _fields(text: str) -> dict[str, Any]:
    """The members, one by one: arguments that are not strict are a denial, all else that is not is refused."""
    fields: dict[str, Any] = {}
    for name, spelled, value in _members(text):
        if name in fields:
            # Attack: {"tool": "a", "tool": "b"}, for a proxy that judges the one and a door that takes the other.
            raise _malformed(f"{name[:64]!r} stands twice")
        fields[name] = RawObject(spelled) if name == ARGUMENTS and spelled[0] == "{" else _value(spelled, value)
    return fields


def read_query(pairs: list[tuple[str, str]], kind: type[T]) -> T:
    """The record that a query spells."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InputError("a parameter of the query stands twice")
    return _convert(fields, kind, strict=False)


def read_number(text: str) -> int:
    """The number of an entry, a run or an incident in a path."""
    if not text.isascii() or not text.isdigit() or len(text) > 16 or int(text) > MAX_NUMBER:
        raise InputError(f"{text[:40]!r} is no number of the record")
    return int(text)


def _members(text: str) -> list[tuple[str, str, Any]]:
    """The members of a JSON object in order: name, the value's text, and the value as a lenient reader takes it."""
    try:
        return list(_walk(text))
    except (ValueError, IndexError) as error:
        raise _malformed("it is no JSON object") from error
    except RecursionError as error:
        raise _malformed("it is nested too deep") from error


def _walk(text: str) -> Any:
    at = _skip(text, 0, "{")
    if text[at] == "}":
        at += 1
    else:
        while True:
            if text[at] != '"':
                raise ValueError("no name")
            name, at = _PLAIN.raw_decode(text, at)
            begin = _skip(text, _blank(text, at), ":")
            value, at = _PLAIN.raw_decode(text, begin)
            yield name, text[begin:at], value
            at = _blank(text, at)
            if text[at] == "}":
                at += 1
                break
            at = _skip(text, at, ",")
    if _blank(text, at) != len(text):
        raise ValueError("more follows")


def _blank(text: str, at: int) -> int:
    if text[at : at + 1] > " ":
        return at
    found = _BLANK.match(text, at)
    return at if found is None else found.end()


def _skip(text: str, at: int, sign: str) -> int:
    """Behind `sign` and the blanks around it."""
    at = _blank(text, at)
    if text[at] != sign:
        raise ValueError(f"no {sign}")
    return _blank(text, at + 1)


def _value(text: str, value: Any) -> Any:
    if type(value) is str and "\\" not in text:
        return value  # without an escape there is one way to read a text that is UTF-8
    try:
        return canonical.parse(text, max_bytes=len(text) * 4)
    except InputError as error:
        raise _malformed(error.message) from error


def _convert(fields: dict[str, Any], kind: type[T], *, strict: bool = True) -> T:
    try:
        return msgspec.convert(fields, kind, strict=strict, dec_hook=_hook)
    except (msgspec.ValidationError, OverflowError) as error:
        raise InputError(f"the request: {error}", hint="GET /v1/openapi.json says what each one takes.") from error


def _hook(kind: type, value: Any) -> Any:
    if isinstance(value, kind):
        return value
    raise ValueError("Expected an object")


def _malformed(why: str) -> InputError:
    return InputError(f"the body is not read: {why}", code="malformed")
