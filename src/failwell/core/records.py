"""The entry: what one row of the ledger says, and the closed registry of entry kinds.

An entry is an envelope (who, when, in which order) around one versioned body. Its bytes are canonical
JSON (RFC 8785 under the no-float profile of `core.canonical`), at most 65,535 of them; the leaf of the RFC 6962
tree is taken over exactly these bytes. Bytes are accepted only if encoding what was decoded gives them back, so
one entry has one spelling. A released kind never changes: it gains a version (`register`).

This module does not number, hash, store or judge. Personal data never enters a body: texts go to the entry's
encrypted blob (`blob`), people appear as random tokens whose rows are bound by `tokens`.
"""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar

import msgspec

from failwell.core import canonical
from failwell.core.errors import Corrupt, InputError
from failwell.core.tokens import MAX_TOKENS as MAX_TOKENS  # noqa: PLC0414  (part of how an entry binds its rows)
from failwell.core.tokens import token_digest as token_digest  # noqa: PLC0414

MAX_ENTRY_BYTES = 65_535

B = TypeVar("B")


class Ref(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A citation that cannot be re-pointed: entry `seq` of log `origin`, whose leaf hash is `leaf` (hex)."""

    origin: str
    seq: int
    leaf: str


class BlobRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """SHA-256 (hex) of the entry's stored ciphertext and of its wrapped key: binds the blob row to the entry."""

    ciphertext: str
    key: str


class Entry(msgspec.Struct, Generic[B], frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The envelope. Times: `at` is ledger time (RFC 3339 UTC), `mono_us` the boot clock of boot `boot`."""

    actor: str
    agent: str | None
    aprev: int | None
    aseq: int | None
    at: str
    blob: BlobRef | None
    body: B
    boot: str
    kind: str
    mono_us: int
    origin: str
    refs: tuple[Ref, ...]
    run: int | None
    seq: int
    tokens: tuple[str, ...]
    v: int


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Root of all bodies: frozen, refuses unknown fields."""


_REGISTRY: dict[tuple[str, int], type[Body]] = {}
_KIND_OF: dict[type[Body], tuple[str, int]] = {}
_DECODERS: dict[tuple[str, int], msgspec.json.Decoder[Any]] = {}
_ENCODER = msgspec.json.Encoder(order="sorted")


class _Peek(msgspec.Struct):
    kind: str
    v: int


#: A number of 2^53 or more has 16 digits or more. Texts and digests have such runs too, so a hit only asks for a closer
#: look, and the closest costs as much as reading the entry: the cheap looks come first.
_SIXTEEN_DIGITS = b"0" * 16
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x78 for byte in range(256))
_MAYBE_TOO_LARGE = re.compile(rb"[:,\[]-?[0-9]{16}").search

_PEEK = msgspec.json.Decoder(_Peek)


def register(kind: str, v: int = 1) -> Any:
    """Class decorator: enter a body type into the closed registry as version `v` of `kind`."""

    def enter(body: type[Body]) -> type[Body]:
        if (kind, v) in _REGISTRY:
            raise ValueError(f"entry kind {kind} v{v} is registered twice")
        _REGISTRY[kind, v] = body
        _KIND_OF[body] = (kind, v)
        _DECODERS[kind, v] = msgspec.json.Decoder(Entry[body])  # type: ignore[valid-type]
        return body

    return enter


def kinds() -> tuple[tuple[str, int], ...]:
    """All registered (kind, version) pairs, sorted."""
    return tuple(sorted(_REGISTRY))


def kind_of(body: Body) -> tuple[str, int]:
    """The (kind, version) that a body is registered under."""
    return _KIND_OF[type(body)]


def encode_entry(entry: Entry[Any]) -> bytes:
    """Canonical bytes of an entry.

    Raises Corrupt when the entry exceeds 65,535 bytes or holds a number outside the profile.
    Source: RFC 8785; msgspec's sorted encoding is byte-identical to it under the no-float, ASCII-key profile
    (the tests hold the two against each other).
    """
    try:
        data = _ENCODER.encode(entry)
    except UnicodeEncodeError as error:
        raise Corrupt(f"entry {entry.seq} ({entry.kind}) holds a lone surrogate") from error
    if len(data) > MAX_ENTRY_BYTES:
        raise Corrupt(f"entry {entry.seq} ({entry.kind}) would take {len(data)} bytes, at most {MAX_ENTRY_BYTES} fit")
    _check_numbers(data)
    return data


def _check_numbers(data: bytes) -> None:
    """Corrupt for a number that other readers of JSON would round."""
    if _SIXTEEN_DIGITS in data.translate(_DIGITS) and _MAYBE_TOO_LARGE(data):
        try:
            canonical.decode(data, max_bytes=MAX_ENTRY_BYTES)
        except InputError as error:
            raise Corrupt(f"the entry is outside the profile: {error.message}") from error


def decode_entry(data: bytes) -> Entry[Any]:
    """The entry that `data` is the one spelling of.

    Raises Corrupt for unknown kinds or versions, unknown, missing or duplicate fields, and any other spelling.
    """
    if len(data) > MAX_ENTRY_BYTES:
        raise Corrupt(f"entry of {len(data)} bytes, at most {MAX_ENTRY_BYTES} are allowed")
    try:
        peek = _PEEK.decode(data)
        decoder = _DECODERS.get((peek.kind, peek.v))
        if decoder is None:
            raise Corrupt(f"unknown entry kind {peek.kind!r} version {peek.v}")
        entry: Entry[Any] = decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Corrupt(f"entry does not decode: {error}") from error
    # One entry, one spelling: this also refuses duplicate keys, spaces and odd escapes.
    if _ENCODER.encode(entry) != data:
        raise Corrupt(f"entry {entry.seq} is not spelled canonically")
    _check_numbers(data)
    return entry


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An entry before it is numbered: what a job or a reaction asks the ledger to write.

    `refs` are the seqs it cites. `secret` goes to the entry's encrypted blob as JSON.
    """

    body: Body
    actor: str
    agent: str | None = None
    run: int | None = None
    refs: tuple[int, ...] = ()
    secret: dict[str, Any] | None = None
