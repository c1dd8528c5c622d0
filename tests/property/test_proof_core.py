"""The modules that a stranger's verifier rests on, against slow references written from the standards."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from failwell.core.canonical import decode, encode, jcs, number_text, parse
from failwell.core.errors import Corrupt, FailwellError, InputError
from failwell.core.merkle import EMPTY_ROOT, Frontier, consistency_path, inclusion_path, leaf_hash, root_of
from failwell.core.note import Checkpoint, Signature, SignedNote, VerifierKey, open_note, sign
from failwell.core.proof import verify_consistency, verify_inclusion

SAFE = 2**53 - 1

# ---- the tree, by the recursive definitions of RFC 9162, 2.1


def split(width: int) -> int:
    k = 1
    while k * 2 < width:
        k *= 2
    return k


def mth(leaves: list[bytes]) -> bytes:
    """2.1.1: MTH over leaf hashes."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """2.1.3.1: PATH(m, D_n)."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], known: bool) -> list[bytes]:
    """2.1.4.1: SUBPROOF(m, D_n, b)."""
    if m == len(leaves):
        return [] if known else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], known), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


class Rows:
    """Entry rows as storage keeps them: each leaf with the subtrees it completed, and nothing more."""

    def __init__(self, leaves: list[bytes]) -> None:
        frontier = Frontier()
        self.rows = [(leaf, *frontier.append(leaf)) for leaf in leaves]

    def get(self, level: int, index: int) -> bytes:
        return self.rows[((index + 1) << level) - 1][level]


LEAVES = [leaf_hash(number.to_bytes(2, "big")) for number in range(300)]
STORED = Rows(LEAVES)
HASHES = st.binary(min_size=32, max_size=32)


@given(st.lists(HASHES, max_size=70))
def test_the_frontier_gives_the_defined_root_at_every_size(leaves: list[bytes]) -> None:
    frontier = Frontier()
    for size, leaf in enumerate(leaves):
        assert frontier.root() == mth(leaves[:size])
        completed = frontier.append(leaf)
        assert list(completed) == [
            mth(leaves[size + 1 - (1 << level) : size + 1]) for level in range(1, 8) if (size + 1) % (1 << level) == 0
        ]
    assert frontier.root() == root_of(leaves) == mth(leaves)
    assert Frontier.from_hashes(len(leaves), frontier.hashes()).root() == mth(leaves)


def test_every_small_tree_gives_the_defined_proofs_and_they_verify() -> None:
    for size in range(1, 40):
        leaves = LEAVES[:size]
        for index in range(size):
            proof = inclusion_path(index, size, STORED.get)
            assert proof == path(index, leaves)
            verify_inclusion(leaves[index], index, size, proof, mth(leaves))
        for old in range(1, size + 1):
            proof = consistency_path(old, size, STORED.get)
            assert proof == subproof(old, leaves, True)
            verify_consistency(old, mth(leaves[:old]), size, mth(leaves), proof)


SIZES = st.integers(1, len(LEAVES))


@given(SIZES, SIZES)
def test_larger_trees_give_the_defined_proofs_too(first: int, second: int) -> None:
    old, new = sorted((first, second))
    assert inclusion_path(old - 1, new, STORED.get) == path(old - 1, LEAVES[:new])
    assert consistency_path(old, new, STORED.get) == subproof(old, LEAVES[:new], True)


@st.composite
def corrupted_paths(draw: st.DrawFn, honest: list[bytes]) -> list[bytes]:
    """Give a path that differs: a flipped bit, a lost, added, doubled or moved hash."""
    changed = list(honest)
    place = draw(st.integers(0, max(len(changed) - 1, 0)))
    kind = draw(st.sampled_from(["flip", "drop", "add", "double", "swap"]))
    if kind == "add" or not changed:
        changed.insert(place, draw(st.one_of(HASHES, st.sampled_from([EMPTY_ROOT, *LEAVES[:9], *honest]))))
    elif kind == "flip":
        bit = draw(st.integers(0, 255))
        changed[place] = (int.from_bytes(changed[place], "big") ^ (1 << bit)).to_bytes(32, "big")
    elif kind == "drop":
        del changed[place]
    elif kind == "double":
        changed.insert(place, changed[place])
    else:
        other = draw(st.integers(0, len(changed) - 1))
        changed[place], changed[other] = changed[other], changed[place]
    assume(changed != honest)
    return changed


@given(st.data(), SIZES)
def test_every_corrupted_inclusion_path_is_refused(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    changed = data.draw(corrupted_paths(inclusion_path(index, size, STORED.get)))
    with pytest.raises(Corrupt):
        verify_inclusion(LEAVES[index], index, size, changed, mth(LEAVES[:size]))


@given(st.data(), SIZES)
def test_no_other_leaf_index_or_root_passes_with_an_honest_path(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    honest = inclusion_path(index, size, STORED.get)
    leaf, root = LEAVES[index], mth(LEAVES[:size])
    other = data.draw(st.integers(0, len(LEAVES) - 1).filter(lambda number: number != index))
    stranger = data.draw(HASHES)
    for wrong in (
        (leaf, other, size, honest, root),
        (LEAVES[other], index, size, honest, root),
        (stranger, index, size, honest, root),
        (leaf, index, size, honest, stranger),
    ):
        with pytest.raises(Corrupt):
            verify_inclusion(*wrong)


@given(st.data(), SIZES, SIZES)
def test_every_corrupted_consistency_path_is_refused(data: st.DataObject, first: int, second: int) -> None:
    old, new = sorted((first, second))
    changed = data.draw(corrupted_paths(consistency_path(old, new, STORED.get)))
    with pytest.raises(Corrupt):
        verify_consistency(old, mth(LEAVES[:old]), new, mth(LEAVES[:new]), changed)


@given(st.data(), st.integers(2, 120))
def test_no_path_leads_from_a_history_to_one_that_changed_it(data: st.DataObject, new: int) -> None:
    old = data.draw(st.integers(1, new - 1))
    victim = data.draw(st.integers(0, old - 1))
    forged = [*LEAVES[:victim], leaf_hash(b"forged"), *LEAVES[victim + 1 : new]]
    for rows in (STORED, Rows(forged)):
        with pytest.raises(Corrupt):
            verify_consistency(old, mth(LEAVES[:old]), new, mth(forged), consistency_path(old, new, rows.get))


# ---- canonical JSON

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = st.from_regex(re.compile(r"[a-z0-9_.-]{1,8}"), fullmatch=True)
INTEGERS = st.integers(-SAFE, SAFE)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def trees(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


PROFILE = trees(st.none() | st.booleans() | INTEGERS | TEXTS, KEYS)
ANY_JSON = trees(st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS, TEXTS)


def ecmascript(number: float) -> str:
    """Number::toString of ECMA-262, step by step, from the digits s, their count k and the exponent n."""
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent = f"{abs(number):.16e}".partition("e")
    for precision in range(17):
        mantissa, _, exponent = f"{abs(number):.{precision}e}".partition("e")
        if float(f"{mantissa}e{exponent}") == abs(number):
            break
    digits = mantissa.replace(".", "").rstrip("0")
    k, n = len(digits), int(exponent) + 1
    if k <= n <= 21:
        return sign + digits + "0" * (n - k)
    if 0 < n <= 21:
        return f"{sign}{digits[:n]}.{digits[n:]}"
    if -6 < n <= 0:
        return f"{sign}0.{'0' * -n}{digits}"
    tail = f"e{'+' if n > 0 else '-'}{abs(n - 1)}"
    return sign + digits + tail if k == 1 else f"{sign}{digits[0]}.{digits[1:]}{tail}"


def reference(value: Any) -> str:
    """RFC 8785 by its text, slowly; strings by Python's own JSON writer."""
    if isinstance(value, float):
        return ecmascript(value)
    if isinstance(value, list):
        return "[" + ",".join(map(reference, value)) + "]"
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{reference(key)}:{reference(value[key])}" for key in keys) + "}"
    return json.dumps(value, ensure_ascii=False)


@given(FLOATS)
@example(5e-324)
@example(1e21)
@example(1e-6)
@example(-1e-7)
@example(123456789012345680000.0)
def test_number_text_follows_ecmascript(number: float) -> None:
    assert number_text(number) == ecmascript(number)
    assert float(number_text(number)) == number


@given(ANY_JSON)
def test_jcs_writes_what_the_rfc_says(value: Any) -> None:
    assert jcs(value).decode() == reference(value)


@given(PROFILE)
def test_the_profile_is_a_part_of_rfc8785_and_comes_back_equal(value: Any) -> None:
    data = encode(value)
    assert data == jcs(value)
    assert decode(data) == value
    assert encode(decode(data)) == data


@given(PROFILE, st.data())
def test_decode_takes_only_what_encode_writes(value: Any, data: st.DataObject) -> None:
    canonical = encode(value)
    cut = data.draw(st.integers(0, len(canonical)))
    drop = data.draw(st.integers(0, 2))
    insert = data.draw(
        st.sampled_from([b"", b" ", b"0", b"-", b'"', b",", b".0", b"\\u0061", b"{", b"}", b"\n", b"\xff"])
    )
    changed = canonical[:cut] + insert + canonical[cut + drop :]
    try:
        read = decode(changed)
    except InputError:
        return
    assert encode(read) == changed


@given(st.binary(max_size=40) | st.text('[]{}":,0123456789.-+eE \\uaNtrflsn', max_size=40).map(str.encode))
def test_no_bytes_bring_another_error_than_inputerror(data: bytes) -> None:
    for read in (decode, parse):
        try:
            value = read(data)
        except InputError:
            continue
        assert parse(jcs(value)) == value


@given(ANY_JSON, st.booleans())
def test_what_parse_accepts_keeps_its_meaning_through_rfc8785(value: Any, ascii_only: bool) -> None:
    try:
        read = parse(json.dumps(value, ensure_ascii=ascii_only))
    except InputError as error:
        assert "2^53" in error.message or "small" in error.message  # noqa: PT017
        return
    assert read == value
    assert parse(jcs(read)) == read
    assert jcs(parse(jcs(read))) == jcs(read)


@given(
    st.integers(-(10**30), 10**30)
    | st.integers(0, 80).map(lambda power: 2**power)
    | st.integers(0, 30).map(lambda n: 10**n)
)
def test_an_accepted_integer_is_the_same_for_exact_readers_and_for_doubles(number: int) -> None:
    try:
        text = number_text(number)
    except InputError:
        assert abs(number) > SAFE
        with pytest.raises(InputError):
            parse(str(number))
        return
    assert int(float(number)) == number
    assert float(text) == number
    assert parse(str(number)) == parse(text) == number


@given(st.dictionaries(TEXTS, INTEGERS, min_size=1, max_size=5), st.data())
def test_a_doubled_key_is_refused_wherever_it_stands(members: dict[str, int], data: st.DataObject) -> None:
    pairs = list(members.items())
    key = data.draw(st.sampled_from(sorted(members)))
    pairs.insert(data.draw(st.integers(0, len(pairs))), (key, data.draw(INTEGERS)))
    text = "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in pairs) + "}"
    with pytest.raises(InputError, match="twice"):
        parse(f"[[{text}]]")


# ---- notes

LINES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=[chr(code) for code in range(32)]),
    max_size=20,
)
NAMES = LINES.filter(lambda name: bool(name) and "+" not in name and not any(each.isspace() for each in name))


def seal(public: bytes, message: bytes) -> bytes:
    """A stand-in for Ed25519 with its shape: what `note` needs of cryptography is passed in."""
    return hashlib.sha512(public + message).digest()


def unseal(public: bytes, message: bytes, signature: bytes) -> bool:
    return seal(public, message) == signature


@given(st.lists(LINES, min_size=1, max_size=5), NAMES, HASHES)
def test_a_signed_text_opens_to_itself(lines: list[str], name: str, public: bytes) -> None:
    text = "\n".join(lines) + "\n"
    data = sign(text, name, public, lambda message: seal(public, message))
    key = VerifierKey(name, public)
    assert open_note(data, [(key, unseal)]).text == text
    assert SignedNote.parse(data).encode() == data
    assert VerifierKey.parse(key.text()) == key


@given(st.data())
def test_a_changed_note_never_opens_to_another_text(data: st.DataObject) -> None:
    public = bytes(32)
    text = "example.com/log\n7\n\nline\n"
    note = sign(text, "example.com/log", public, lambda message: seal(public, message))
    at = data.draw(st.integers(0, len(note) - 1))
    drop = data.draw(st.integers(0, 3))
    insert = data.draw(st.binary(max_size=3) | st.sampled_from([b"\n", b"\n\n", b" ", b"=", b"A"]))
    changed = note[:at] + insert + note[at + drop :]
    assume(changed != note)
    with pytest.raises(FailwellError):
        open_note(changed, [(VerifierKey("example.com/log", public), unseal)])


@given(NAMES, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=90))
def test_signature_lines_have_one_spelling(name: str, key_id: bytes, signature: bytes) -> None:
    whole = Signature(name, key_id, signature)
    assert Signature.parse(whole.line()[:-1]) == whole


@given(LINES.filter(bool), st.integers(1, 2**63 - 1), HASHES, st.lists(LINES.filter(bool), max_size=3))
def test_checkpoints_come_back_equal(origin: str, size: int, root: bytes, extensions: list[str]) -> None:
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert Checkpoint.parse(checkpoint.text()) == checkpoint


@given(st.text(max_size=60) | st.text("a0179+/=\n", max_size=80))
def test_no_text_brings_another_error_than_ours(text: str) -> None:
    for read in (
        Checkpoint.parse,
        VerifierKey.parse,
        Signature.parse,
        lambda each: SignedNote.parse(each.encode()),
    ):
        try:
            read(text)
        except InputError:
            continue
