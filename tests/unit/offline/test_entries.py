"""The standard library's reading of entries against the typed one: whatever bytes come, both accept or both refuse."""

from __future__ import annotations

import json
import random
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from failwell.core import canonical, kinds, records
from failwell.core.errors import Corrupt, InputError
from failwell.offline import entries
from failwell.verify.envelope import READ_BODIES
from tests.unit.core.entries import TYPES, bodies, entry_of, specimen

EVERY_KIND = sorted(TYPES)
HONEST = [records.encode_entry(entry_of(specimen(TYPES[kind]))) for kind in EVERY_KIND]
RICH = records.encode_entry(
    entry_of(
        kinds.Health(part="disk", state="ok", detail='"\\\n\x7f\u2028\U0001f600'), agent="a", aseq=3, aprev=2, run=1,
        blob=records.BlobRef(ciphertext="00", key="11"), refs=(records.Ref("o", 1, "22"), records.Ref("o", 2, "33")),
        tokens=("44", "55"),
    )
)  # fmt: skip


def canonical_accepts(data: bytes) -> bool:
    try:
        canonical.decode(data)
    except InputError:
        return False
    return True


def ours_accepts(data: bytes) -> bool:
    try:
        entries.decode(data)
    except Corrupt:
        return False
    return True


def agree(data: bytes) -> bool:
    """Both readers accept or both refuse; whether they accept."""
    wanted = canonical_accepts(data)
    assert ours_accepts(data) == wanted, data
    if wanted:
        assert entries.decode(data) == canonical.decode(data)
    return wanted


@pytest.mark.parametrize("kind", EVERY_KIND, ids=[f"{kind}-v{v}" for kind, v in EVERY_KIND])
@settings(max_examples=4)
@given(data=st.data())
def test_entries_of_every_kind_are_read_as_the_typed_decoder_reads_them(
    kind: tuple[str, int], data: st.DataObject
) -> None:
    written = records.encode_entry(entry_of(data.draw(bodies(TYPES[kind]))))
    typed, ours = records.decode_entry(written), entries.decode_entry(9, written)
    for field in msgspec.structs.fields(records.Entry):
        if field.name not in ("body", "refs", "blob", "tokens"):
            assert getattr(ours, field.name) == getattr(typed, field.name)
    body = ours.body.__dict__ if isinstance(ours.body, entries.Body) else ours.body
    assert body == msgspec.json.decode(msgspec.json.encode(typed.body))


def test_citations_blob_and_tokens_are_read() -> None:
    read = entries.decode_entry(9, RICH)
    assert [(ref.origin, ref.seq, ref.leaf) for ref in read.refs] == [("o", 1, "22"), ("o", 2, "33")]
    assert read.blob is not None
    assert (read.blob.ciphertext, read.blob.key, list(read.tokens)) == ("00", "11", ["44", "55"])


def test_the_kinds_known_here_are_those_of_this_release() -> None:
    assert set(records.kinds()) == entries.KNOWN


def test_the_bodies_that_the_chain_reads_are_checked_with_the_types_that_they_have() -> None:
    assert {kind for kind, _ in entries.BODIES} == READ_BODIES
    for (kind, v), fields in entries.BODIES.items():
        body = TYPES[kind, v]
        hints = typing.get_type_hints(body)
        assert fields.keys() == hints.keys()
        for name, types in fields.items():
            assert set(types) == set(typing.get_args(hints[name]) or (hints[name],)), (kind, name)


# ---- one spelling ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [*HONEST, RICH], ids=lambda data: "")
def test_a_changed_byte_is_taken_or_refused_by_both(data: bytes, rng: random.Random) -> None:
    assert agree(data)
    for _ in range(60):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2))):
            changed[rng.randrange(len(changed))] = rng.choice((*b'{}[],:"\\ \t\n-0123456789.eEtrufalsn', 0, 255, 0xC3))
        agree(bytes(changed))


SPELLINGS = [
    b"", b" ", b"null", b"true", b"0", b"-0", b"00", b"-1", b"1.0", b"1e3", b"1E3", b"-0.0", b"NaN", b"Infinity",
    b"-Infinity", b'""', b'"\\u0041"', b'"\\/"', b'"/"', b'"\\u001f"', b'"\\u001F"', b'"\\b\\f\\n\\r\\t"', b'"\\u000a"',
    b'"\\ud83d\\ude00"', b'"\\ud800"', '"\ud83d"'.encode("utf-16-le", "surrogatepass"), '"\U0001f600"'.encode(),
    b'"\x7f"', b'"\x1f"', b'"\xff"', b'"\xed\xa0\x80"', b"{}", b"[]", b"{} ", b" {}", b"{}x", b"[1,]", b"[1 ]",
    b'{"a":1,"a":1}', b'{"a":1,"a":2}', b'{"b":1,"a":2}', b'{"a":1,"b":2}', b'{"A":1}', b'{"":1}', b'{"a b":1}',
    '{"\u00e9":1}'.encode(), b'{"a":{"b":{"C":1}}}', b'[[[{"a":[{"B":1}]}]]]', b"9007199254740991", b"9007199254740992",
    b"-9007199254740991", b"-9007199254740992", b"[9007199254740992]", b'["9007199254740992"]',
    b'[":9007199254740992"]',
    b'{"a":9007199254740993}', b"[0000000000000001]", b"1" * 4301, b"[" + b"1" * 5000 + b"]", b"[" * 32 + b"]" * 32,
    b"[" * 33 + b"]" * 33, b"[" * 32 + b"1" + b"]" * 32, b'{"a":' * 32 + b"1" + b"}" * 32,
    b'{"a":' * 33 + b"1" + b"}" * 33,
    b"[" * 30_000, b"[" * 30_000 + b"]" * 30_000, b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"//", b"/**/{}",
    b'["' + b"x" * 65_531 + b'"]', b'["' + b"x" * 65_532 + b'"]', b'{"a":null,"b":[true,false,{}]}', b"nul", b"'a'",
    b"[" * 900 + b"9007199254740992" + b"]" * 900, b'{"a":' * 900 + b'"\\n"' + b"}" * 900, b"[-0]", b"[-0,1]",
    b'{"a":-0}', b'["\\n",-0]', b'["-0"]', b'{"a":"\\n","a":1}', b'{"a":1,"a":"\\n"}', b'{"a":{"b":1,"b":1}}',
    b'{"a":":","a":1}', b'{"b":"\\n","a":1}', b'[{"b":1,"a":1}]', b'["\\n" ]', b'["\\n"]\n', b'["a"]\n',
    b'["\\n",9007199254740992]', b'["\\\\"]', b'["\\u005c"]', b'["a",\r"b"]', b'["a"\t]', b'["a\tb"]', b'["a",\x0b"b"]',
    "[\u00a01]".encode(), "[\u20281]".encode(), b"[1,-1,-10]", b'{"a":"b":1}', b'{"a":1:2}', b'["\\n",1.5]', b'["\\"]',
    b'["', b'{"a":1,"b":{"a":1,"a":1}}', b'["\\n"] ', b'{"a":[{"x":1},{"x":1,"x":2}]}',
]  # fmt: skip


@pytest.mark.parametrize("data", SPELLINGS, ids=lambda data: repr(data[:20]))
def test_every_odd_spelling_is_taken_or_refused_by_both(data: bytes) -> None:
    agree(data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**54), 2**54) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abZ_.-\u00e9 ", max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150)
@given(value=VALUES, spaced=st.booleans(), ascii_only=st.booleans(), ordered=st.booleans())
@example(value={"a": 2**53 - 1}, spaced=False, ascii_only=False, ordered=True)
def test_any_json_is_taken_or_refused_by_both(value: Any, spaced: bool, ascii_only: bool, ordered: bool) -> None:
    text = json.dumps(
        value, ensure_ascii=ascii_only, sort_keys=ordered, separators=(", ", ": ") if spaced else (",", ":")
    )  # fmt: skip
    agree(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=100)
@given(data=st.binary(max_size=40) | st.text('{}[]",:\\u0123e.-ab \n', max_size=30).map(str.encode))
def test_any_bytes_are_taken_or_refused_by_both(data: bytes) -> None:
    agree(data)


# ---- the envelope ------------------------------------------------------------------------------------------------


def put(path: tuple[str | int, ...], value: Any) -> bytes:
    fields = json.loads(RICH)
    here = fields
    for step in path[:-1]:
        here = here[step]
    if value is ...:
        del here[path[-1]]
    else:
        here[path[-1]] = value
    return canonical.encode(fields)


ENVELOPE = [field.name for field in msgspec.structs.fields(records.Entry)]
ODD: list[Any] = [..., None, True, 7, "x", [], {}, ["x"], {"x": 1}]


@pytest.mark.parametrize("name", ENVELOPE)
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_a_field_of_another_type_is_taken_or_refused_as_the_typed_decoder_does(name: str, value: Any) -> None:
    data = put((name,), value)
    if name in ("body", "kind", "v") and type(value) in (dict, str, int):
        return  # what a body holds, and which kinds there are, the typed decoder knows alone
    try:
        records.decode_entry(data)
    except Corrupt:
        with pytest.raises(Corrupt):
            entries.decode_entry(9, data)
    else:
        entries.decode_entry(9, data)


@pytest.mark.parametrize(
    "data",
    [
        put(("more",), 1), put(("refs", 0), ["o", 1]), put(("refs", 0), ["o", 1, "22", 4]),
        put(("refs", 0), {"leaf": "22", "origin": "o", "seq": 1}), put(("refs", 1, 1), True), put(("refs", 1, 2), None),
        put(("blob", "key"), ...), put(("blob", "more"), "x"), put(("blob", "ciphertext"), 1), put(("tokens", 1), 5),
        put(("tokens", 0), None), b"[]", b"null", b'"x"', canonical.encode({"seq": 1}),
    ],
    ids=range(15),
)  # fmt: skip
def test_a_misshapen_envelope_is_refused_by_both(data: bytes) -> None:
    with pytest.raises(Corrupt):
        records.decode_entry(data)
    with pytest.raises(Corrupt):
        entries.decode_entry(9, data)


@pytest.mark.parametrize("kind", sorted(entries.BODIES), ids=[kind for kind, _ in sorted(entries.BODIES)])
def test_a_body_that_the_chain_reads_is_refused_with_a_field_missing_added_or_of_another_type(
    kind: tuple[str, int],
) -> None:
    honest = json.loads(records.encode_entry(entry_of(specimen(TYPES[kind]))))
    assert entries.decode_entry(9, canonical.encode(honest)).kind == kind[0]
    changed: list[dict[str, Any]] = [honest["body"] | {"more": 1}]
    for name in honest["body"]:
        changed.append({other: value for other, value in honest["body"].items() if other != name})
        changed.append(honest["body"] | {name: [1]})
    for body in changed:
        data = canonical.encode(honest | {"body": body})
        with pytest.raises(Corrupt):
            records.decode_entry(data)
        with pytest.raises(Corrupt):
            entries.decode_entry(9, data)


def test_a_kind_that_is_not_known_is_read_and_a_new_version_of_what_the_chain_reads_is_not() -> None:
    unknown = put(("kind",), "from.the.future")
    assert entries.decode_entry(9, unknown).kind == "from.the.future"
    assert ("from.the.future", 1) not in entries.KNOWN
    with pytest.raises(Corrupt, match="not known to this verifier"):
        entries.decode_entry(9, canonical.encode(json.loads(RICH) | {"kind": "log.key", "v": 2}))


def test_a_body_nested_too_deep_inside_an_entry_is_refused_by_both() -> None:
    """The entry itself is one level, so its body may have one less than a value that stands alone."""
    for levels, fine in ((30, True), (31, False)):
        value: Any = 1
        for _ in range(levels):
            value = [value]
        data = json.dumps(json.loads(RICH) | {"body": {"a": value}, "kind": "odd"}, sort_keys=True,
                          separators=(",", ":"), ensure_ascii=False).encode()  # fmt: skip
        assert canonical_accepts(data) == fine
        if fine:
            entries.decode_entry(9, data)
        else:
            with pytest.raises(Corrupt):
                entries.decode_entry(9, data)


def test_keys_of_a_strangers_making_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: set[tuple[str, ...]] = set()
    monkeypatch.setattr(entries, "_key_rows", kept)
    for number in range(3000):
        entries.decode(b'{"k%d":1}' % number)
    entries.decode(canonical.encode({f"{number:05}": 1 for number in range(500)}))
    assert len(kept) == entries._KEPT_ROWS
