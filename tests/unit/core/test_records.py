"""The entry's bytes: one entry, one spelling, the same as two other encoders give; everything else is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failwell.core import canonical, kinds
from failwell.core.errors import Corrupt
from failwell.core.records import (
    MAX_ENTRY_BYTES,
    BlobRef,
    Body,
    Entry,
    Ref,
    decode_entry,
    encode_entry,
    kind_of,
    register,
)
from failwell.core.records import kinds as registered
from failwell.core.tokens import MAX_TOKENS, token_digest
from tests.unit.core.entries import TYPES, bodies, entry_of, specimen

EVERY_KIND = sorted(TYPES)


def health(detail: str = "as ever", **envelope: Any) -> Entry[Any]:
    return entry_of(kinds.Health(part="disk", state="ok", detail=detail), **envelope)


LINE = encode_entry(health())


# ---- one spelling ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY_KIND, ids=[f"{kind}-v{v}" for kind, v in EVERY_KIND])
@settings(max_examples=12)
@given(data=st.data())
def test_every_kind_is_encoded_as_two_other_encoders_do_and_decodes_to_itself(
    kind: tuple[str, int], data: st.DataObject
) -> None:
    entry = data.draw(bodies(TYPES[kind]).map(entry_of))
    line = encode_entry(entry)
    plain = msgspec.to_builtins(entry)
    assert line == canonical.encode(plain, max_bytes=MAX_ENTRY_BYTES)
    assert line == canonical.jcs(plain)
    # Third witness: under the profile (ASCII keys, no floats) the standard library's text is RFC 8785 too.
    assert line == json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    assert decode_entry(line) == entry


@given(seq=st.integers(0, 2**53 - 1), refs=st.lists(st.tuples(st.text(), st.integers(0, 9), st.text()), max_size=3))
def test_the_envelope_keeps_what_it_was_given(seq: int, refs: list[tuple[str, int, str]]) -> None:
    entry = health(
        seq=seq, refs=tuple(Ref(*each) for each in refs), agent="a", aseq=4, aprev=2, run=7, tokens=("t" * 64,),
        blob=BlobRef(ciphertext="c" * 64, key="k" * 64),
    )  # fmt: skip
    assert decode_entry(encode_entry(entry)) == entry


@settings(max_examples=300)
@given(place=st.integers(0, len(LINE) - 1), byte=st.integers(0, 255))
def test_no_other_bytes_stand_for_the_same_entry(place: int, byte: int) -> None:
    changed = LINE[:place] + bytes([byte]) + LINE[place + 1 :]
    if changed != LINE:
        with contextlib.suppress(Corrupt):
            assert decode_entry(changed) != health()


@settings(max_examples=200)
@given(data=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_a_stranger_s_bytes_are_corrupt_and_nothing_else(data: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_entry(data)


def replaced(old: str, new: str) -> bytes:
    text = LINE.decode()
    assert text.count(old) == 1
    return text.replace(old, new).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    "line",
    [
        replaced('"kind":"health"', '"kind":"healthy"'),
        replaced('"v":1', '"v":2'),
        replaced('"v":1', '"v":0'),
        replaced('"v":1', '"v":true'),
        replaced('"v":1', '"v":1.0'),
        replaced('"v":1', '"v":"1"'),
        replaced('"seq":9', '"seq":09'),
        replaced('"seq":9', '"seq":9.0'),
        replaced('"seq":9', '"seq":9e0'),
        replaced('"seq":9', f'"seq":{2**53}'),
        replaced('"seq":9', f'"seq":-{2**53}'),
        replaced('"seq":9', f'"seq":{2**70}'),
        replaced('"seq":9,', ""),
        replaced('"seq":9', '"seq":9,"seq":9'),
        replaced('"seq":9', '"seq":9,"sequel":9'),
        replaced('"part":"disk"', '"part":"disk","part":"disk"'),
        replaced('"part":"disk"', '"part":"disk","zone":1'),
        replaced('"part":"disk",', ""),
        replaced('"part":"disk"', '"part":null'),
        replaced('"part":"disk"', '"part":["disk"]'),
        replaced("disk", "\\u0064isk"),
        replaced("disk", "disk\\/"),
        replaced("disk", "\ud800"),
        replaced("disk", "\\ud800"),
        replaced("disk", "dis\x01k"),
        replaced('"seq":9,', '"seq":9, '),
        replaced('"refs":[]', '"refs":[["o",1]]'),
        replaced('"refs":[]', '"refs":[["o",1,"l","more"]]'),
        LINE + b"\n",
        b" " + LINE,
        LINE + LINE,
        b"\xef\xbb\xbf" + LINE,
        b"[" * 100_000,
        b'{"kind":' * 9000,
        b"",
        b"null",
        LINE[:-1],
    ],
)
def test_unknown_missing_duplicate_and_respelled_are_refused(line: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_entry(line)


def test_keys_in_another_order_are_another_spelling() -> None:
    backwards = dict(reversed(json.loads(LINE).items()))
    with pytest.raises(Corrupt, match="canonical"):
        decode_entry(json.dumps(backwards, separators=(",", ":")).encode())


def test_text_that_looks_like_a_large_number_is_text() -> None:
    entry = health(detail=f"[{2**60},:{2**60}")
    assert decode_entry(encode_entry(entry)) == entry


# ---- what never becomes bytes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63, 2**64, 2**80])
def test_a_number_that_other_readers_round_is_never_written(number: int) -> None:
    with pytest.raises(Corrupt):
        encode_entry(health(mono_us=number))


@pytest.mark.parametrize("number", [2**53 - 1, 1 - 2**53])
def test_the_largest_numbers_of_the_profile_are_written(number: int) -> None:
    assert decode_entry(encode_entry(health(mono_us=number))).mono_us == number


def test_a_lone_surrogate_is_corrupt_not_a_crash() -> None:
    with pytest.raises(Corrupt, match="surrogate"):
        encode_entry(health(detail="\ud800"))


def test_the_size_bound_is_exact_both_ways() -> None:
    room = MAX_ENTRY_BYTES - len(encode_entry(health(detail="")))
    line = encode_entry(health(detail="x" * room))
    assert len(line) == MAX_ENTRY_BYTES
    assert decode_entry(line).body.detail == "x" * room
    with pytest.raises(Corrupt, match="65536 bytes"):
        encode_entry(health(detail="x" * (room + 1)))
    with pytest.raises(Corrupt, match="65536 bytes"):
        decode_entry(line[:-2] + b"  " + line[-1:])


# ---- the registry ------------------------------------------------------------------------------------------------


def test_the_registry_is_closed_and_knows_each_kind_once() -> None:
    assert set(registered()) == set(TYPES)
    assert len(set(TYPES.values())) == len(TYPES)
    for kind, body in TYPES.items():
        assert kind_of(specimen(body)) == kind
    with pytest.raises(ValueError, match="twice"):
        register("health")(kinds.Health)


def test_a_body_that_was_never_registered_has_no_kind() -> None:
    class Stray(Body, frozen=True, kw_only=True):
        pass

    with pytest.raises(KeyError):
        kind_of(Stray())


def test_an_entry_never_has_room_for_as_many_tokens_as_one_may_claim_rows() -> None:
    """Two entries could otherwise claim one token row, and the later would unbind the earlier."""
    with pytest.raises(Corrupt):
        encode_entry(health(tokens=("f" * 64,) * MAX_TOKENS))


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=40), st.binary(max_size=3))
def test_a_token_s_digest_binds_each_of_its_fields(lookup: bytes, sealed: bytes, more: bytes) -> None:
    digest = token_digest("c-1", lookup, sealed)
    assert digest != token_digest("c-2", lookup, sealed)
    if more:
        assert digest != token_digest("c-1", lookup, sealed + more)
        assert digest != token_digest("c-1", bytes([lookup[0] ^ 1]) + lookup[1:], sealed)
