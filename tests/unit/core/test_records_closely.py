"""The quick reading of entries accepts exactly what the slow one does: a typed decoder, and the profile byte by byte.

A verifier that reads quickly and lets one more spelling pass would let one entry have two leaves.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest

from failwell.core import canonical, kinds
from failwell.core.errors import Corrupt, InputError
from failwell.core.records import MAX_ENTRY_BYTES, Body, Entry, decode_entry, encode_entry, free_keys
from tests.unit.core.entries import TYPES, entry_of, specimen

DECODERS = {kind: msgspec.json.Decoder(Entry[body]) for kind, body in TYPES.items()}  # type: ignore[valid-type]
SORTED = msgspec.json.Encoder(order="sorted")


def slowly(data: bytes) -> Any:
    """The entry by the profile's own reader and the type of its kind; None for bytes that are no entry."""
    try:
        plain = canonical.decode(data, max_bytes=MAX_ENTRY_BYTES)
        entry = DECODERS[plain["kind"], plain["v"]].decode(data)
    except (InputError, msgspec.MsgspecError, LookupError, TypeError):
        return None
    return entry if SORTED.encode(entry) == data else None


def quickly(data: bytes) -> Any:
    try:
        return decode_entry(data)
    except Corrupt:
        return None


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything in a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


ANYTHING: list[Any] = [
    None, True, False, 0, -1, 1, 2**53 - 1, 2**53, -(2**53), 2**63, 2**64, 2**70, 1.0, 1.5, -0.0, 1e300, "", "a", "ä",
    "\x00", "\x1f", "\x7f", "\u2028", "\ud800", "\udc00\ud800", "\U0001f600", "9" * 16, ":9999999999999999", "a,", '"',
    '"kind":"health"', "\\", "/", [], [1], [[]], {}, {"a": 1}, {"Ä": 1}, {"": 1}, {"a b": 1}, {"\x00": 1},
]  # fmt: skip
KEYS = ["Ä", "", "A", "a b", "a\n", "kind", "v", "seq", "body", "zz", "\U0001f600", '"', "a.b-c_9"]


def changed_value(plain: Any, rng: random.Random) -> Any:
    """One value, or one key, changed to anything."""
    *path, last = rng.choice([path for path in places(plain) if path])
    place = plain
    for key in path:
        place = place[key]
    if isinstance(place, dict) and rng.random() < 0.3:
        place[rng.choice(KEYS)] = place.pop(last) if rng.random() < 0.5 else rng.choice(ANYTHING)
    else:
        place[last] = rng.choice(ANYTHING)
    return plain


def texts(plain: Any, rng: random.Random) -> bytes:
    """JSON of a value: mostly as the profile spells it, sometimes otherwise."""
    order, tight, ascii_only = rng.random() < 0.9, rng.random() < 0.95, rng.random() < 0.1
    text = json.dumps(plain, sort_keys=order, separators=(",", ":") if tight else None, ensure_ascii=ascii_only)
    return text.encode("utf-8", "surrogatepass")


def broken(data: bytes, rng: random.Random) -> bytes:
    """Bytes exchanged, doubled, taken out or put in."""
    at, end = rng.randrange(len(data)), rng.randrange(1, 9)
    piece = rng.choice(
        [b"", b'"', b"\\", b"0", b" ", b"\xff", b",", b"{", b"}", b"\\u0061", b'"v":1', data[at : at + end]]
    )
    return data[:at] + piece + data[at + rng.choice([0, 1, end]) :]


@pytest.mark.parametrize("kind", sorted(TYPES), ids=[f"{kind}-v{v}" for kind, v in sorted(TYPES)])
def test_quick_and_slow_reading_accept_the_same_bytes(kind: tuple[str, int], rng: random.Random) -> None:
    line = encode_entry(entry_of(specimen(TYPES[kind])))
    accepted = 0
    for _ in range(120):
        how = rng.random()
        if how < 0.6:
            data = texts(changed_value(json.loads(line), rng), rng)
        else:
            data = broken(line, rng)
        expected = slowly(data)
        assert quickly(data) == expected, data
        accepted += expected is not None
    assert quickly(line) == slowly(line) is not None
    assert accepted  # some changes make another entry that is as good


@pytest.mark.parametrize("key", KEYS)
def test_a_free_key_is_read_and_written_only_if_every_reader_sorts_it_the_same(key: str) -> None:
    facts = {key: kinds.Fact(value=1, public=True, provenance="asserted")}
    entry = entry_of(msgspec.structs.replace(specimen(kinds.Decision), facts=facts))
    data = SORTED.encode(entry)
    fits = slowly(data) is not None
    assert (quickly(data) is not None) is fits
    if not fits:
        with pytest.raises(Corrupt, match="outside the profile"):
            encode_entry(entry)


def bounded(kind: Any, depth: int = 0) -> int:
    """How deep values of a type can nest. Fails for a type that leaves open what the profile bounds."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        assert depth < 10, "types do not hold themselves"
        return 1 + max((bounded(each, depth + 1) for each in get_type_hints(kind).values()), default=0)
    origin = get_origin(kind)
    if origin is dict:
        assert get_args(kind)[0] is str
        return 1 + bounded(get_args(kind)[1], depth + 1)
    if origin is tuple:
        return 1 + max(bounded(each, depth + 1) for each in get_args(kind) if each is not Ellipsis)
    if get_args(kind):  # a union
        return max(bounded(each, depth + 1) for each in get_args(kind))
    assert kind in (str, int, bool, type(None)), f"{kind} is not bounded by its type"
    return 0


def dicts_in(kind: Any, depth: int = 0) -> int:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return sum(dicts_in(each, depth + 1) for each in get_type_hints(kind).values())
    inside = sum(dicts_in(each, depth + 1) for each in get_args(kind) if each is not Ellipsis)
    return inside + (get_origin(kind) is dict)


@pytest.mark.parametrize("body", [TYPES[kind] for kind in sorted(TYPES)], ids=[kind for kind, _ in sorted(TYPES)])
def test_types_bound_all_that_the_profile_bounds_but_large_numbers_and_free_keys(body: type[Body]) -> None:
    assert bounded(body) + 2 <= canonical.MAX_DEPTH
    assert dicts_in(body) == len(free_keys(body))  # none lies deeper than the body's own fields
