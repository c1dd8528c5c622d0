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
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar, get_origin

import msgspec

from failwell.core import canonical
from failwell.core.errors import Corrupt, InputError

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
_FREE_KEYS: dict[type[Body], tuple[str, ...]] = {}
_ENCODER = msgspec.json.Encoder(order="sorted")


class _Reader(NamedTuple):
    """What reads one kind: its name and version, its decoder, and the fields of its body whose keys are free."""

    kind: str
    v: int
    decode: Callable[[bytes], Entry[Any]]
    free: tuple[str, ...]


#: By the text of kind and version, as they stand in canonical bytes.
_READERS: dict[tuple[bytes, bytes], _Reader] = {}
#: Where canonical bytes name their kind: behind it come no keys but the envelope's, and no text holds a bare quote.
_KIND_MARK = b'"kind":"'


#: A number of 2^53 or more has 16 digits or more. Texts and digests have such runs too, so a hit only asks for a closer
#: look, and the closest costs as much as reading the entry: the cheap looks come first.
_SIXTEEN_DIGITS = b"0" * 16
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x78 for byte in range(256))
_MAYBE_TOO_LARGE = re.compile(rb"[:,\[]-?[0-9]{16}").search
_KEY = re.compile(r"[a-z0-9_.-]+").fullmatch
#: Keys that were found to fit: names of facts and self-tests, of which there are few.
_SEEN: set[str] = set()
MAX_SEEN, MAX_SEEN_LENGTH = 4096, 64


def register(kind: str, v: int = 1) -> Any:
    """Class decorator: enter a body type into the closed registry as version `v` of `kind`."""

    def enter(body: type[Body]) -> type[Body]:
        if (kind, v) in _REGISTRY:
            raise ValueError(f"entry kind {kind} v{v} is registered twice")
        _REGISTRY[kind, v] = body
        _KIND_OF[body] = (kind, v)
        decode = msgspec.json.Decoder(Entry[body]).decode  # type: ignore[valid-type]
        _FREE_KEYS[body] = free = free_keys(body)
        _READERS[kind.encode(), b"%d" % v] = _Reader(kind, v, decode, free)
        return body

    return enter


def free_keys(body: type[Body]) -> tuple[str, ...]:
    """Fields of a body that are dicts, whose keys no type bounds. (No dict lies deeper: the tests look.)"""
    fields = msgspec.structs.fields(body)
    return tuple(field.name for field in fields if (get_origin(field.type) or field.type) is dict)


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
    if _looks_large(data) or not _keys_fit(entry.body, _FREE_KEYS.get(type(entry.body), ())):
        _check_profile(data)
    return data


def _looks_large(data: bytes) -> bool:
    """Whether there may be a number in it that other readers of JSON would round."""
    return _SIXTEEN_DIGITS in data.translate(_DIGITS) and _MAYBE_TOO_LARGE(data) is not None


def _keys_fit(body: Body, free: tuple[str, ...]) -> bool:
    """Whether all keys of `free` fields sort the same for every reader (`canonical`)."""
    for field in free:
        keys = getattr(body, field)
        if not _SEEN.issuperset(keys) and not all(map(_fits, keys)):
            return False
    return True


def _fits(key: str) -> bool:
    if _KEY(key) is None:
        return False
    if len(_SEEN) < MAX_SEEN and len(key) <= MAX_SEEN_LENGTH:  # no stranger fills memory by it
        _SEEN.add(key)
    return True


def _check_profile(data: bytes) -> None:
    try:
        canonical.decode(data, max_bytes=MAX_ENTRY_BYTES)
    except InputError as error:
        raise Corrupt(f"the entry is outside the profile: {error.message}") from error


def decode_entry(data: bytes, buffer: bytearray | None = None) -> Entry[Any]:
    """The entry that `data` is the one spelling of.

    Accepts only what `canonical.decode` accepts too. `buffer`: room for spelling it again, of one thread; who reads a
    million entries need not ask for it each time. Raises Corrupt for unknown kinds or versions, unknown, missing or
    duplicate fields, any other spelling, and everything outside the profile.
    """
    at = data.rfind(_KIND_MARK) + len(_KIND_MARK)
    reader = _READERS.get((data[at : data.find(b'"', at)], data[data.rfind(b":") + 1 : -1]))
    if reader is not None and len(data) <= MAX_ENTRY_BYTES:
        try:
            entry = reader.decode(data)
            if buffer is None:
                buffer = bytearray()
            _ENCODER.encode_into(entry, buffer)
            # INVARIANT: one entry, one spelling; this refuses duplicate keys, spaces and odd escapes. What it leaves
            # open are large numbers and free keys: types bound all else that the profile does (the tests look).
            if (
                buffer == data
                and entry.kind == reader.kind
                and entry.v == reader.v
                and not (reader.free and not _keys_fit(entry.body, reader.free))
                and not (_SIXTEEN_DIGITS in data.translate(_DIGITS) and _looks_large(data))
            ):
                return entry
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            pass
    return _look_closer(data)


def _look_closer(data: bytes) -> Entry[Any]:
    """The same, slowly: says what is wrong, or that nothing is."""
    if len(data) > MAX_ENTRY_BYTES:
        raise Corrupt(f"entry of {len(data)} bytes, at most {MAX_ENTRY_BYTES} are allowed")
    try:
        peek = _PEEK.decode(data)
        reader = _READERS.get((peek.kind.encode(), b"%d" % peek.v))
        if reader is None:
            raise Corrupt(f"unknown entry kind {peek.kind!r} version {peek.v}")
        entry = reader.decode(data)
        spelled = _ENCODER.encode(entry)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Corrupt(f"entry does not decode: {error}") from error
    if spelled != data:
        raise Corrupt(f"entry {entry.seq} is not spelled canonically")
    _check_profile(data)
    return entry


class _Peek(msgspec.Struct):
    kind: str
    v: int


_PEEK = msgspec.json.Decoder(_Peek)


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
