"""tlog-proof and add-checkpoint: one spelling each, and nothing proven that the checkpoint does not seal."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from failwell.core import merkle
from failwell.core.errors import Corrupt, FailwellError, InputError
from failwell.core.note import Checkpoint, SignedNote, VerifierKey, sign
from failwell.core.tlog_proof import MAX_EXTRA_BYTES, MAX_PATH, TlogProof, open_proof
from failwell.core.tlog_witness import AddCheckpoint, open_growth
from failwell.identity.keys import verify

ORIGIN = "example.com/log"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
LOG = VerifierKey(ORIGIN, KEY.public_key().public_bytes_raw())
KNOWN = [(LOG, verify)]
ENTRIES = [b"entry %d" % number for number in range(21)]
LEAVES = [merkle.leaf_hash(each) for each in ENTRIES]


def stored(level: int, index: int) -> bytes:
    return merkle.root_of(LEAVES[index << level : (index + 1) << level])


def note(size: int, origin: str = ORIGIN) -> bytes:
    return sign(Checkpoint(origin, size, merkle.root_of(LEAVES[:size])).text(), ORIGIN, LOG.public, KEY.sign)


def prove(index: int, size: int, extra: bytes = b"") -> TlogProof:
    return TlogProof(index, tuple(merkle.inclusion_path(index, size, stored)), note(size), extra)


def grow(old: int, new: int) -> AddCheckpoint:
    return AddCheckpoint(old, tuple(merkle.consistency_path(old, new, stored)), note(new))


def refused(kind: type[FailwellError], call: Callable[[], object]) -> FailwellError:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


PROOF = prove(13, 21, ENTRIES[13])
GROWTH = grow(13, 21)


# ---- what holds


def test_every_entry_of_every_size_proves_and_comes_back() -> None:
    for size in range(1, len(ENTRIES) + 1):
        for index in range(size):
            proof = prove(index, size)
            assert TlogProof.parse(proof.encode()) == proof
            assert open_proof(proof, LEAVES[index], ORIGIN, KNOWN).size == size


def test_every_growth_proves_and_comes_back() -> None:
    for new in range(len(ENTRIES) + 1):
        for old in range(new + 1):
            growth = grow(old, new)
            assert AddCheckpoint.parse(growth.encode()) == growth
            assert open_growth(growth, merkle.root_of(LEAVES[:old]), ORIGIN, KNOWN).size == new


def test_the_text_is_the_standards() -> None:
    root = b64encode(merkle.root_of(LEAVES[:2])).decode()
    signature = b64encode(LOG.key_id + SignedNote.parse(note(2)).signatures[0].signature).decode()
    assert prove(1, 2, b"entry 1").encode().decode() == (
        "c2sp.org/tlog-proof@v1\n"
        "extra ZW50cnkgMQ==\n"
        "index 1\n"
        f"{b64encode(LEAVES[0]).decode()}\n"
        "\n"
        f"{ORIGIN}\n2\n{root}\n"
        "\n"
        f"— {ORIGIN} {signature}\n"
    )
    assert grow(1, 2).encode().decode().startswith(f"old 1\n{b64encode(LEAVES[1]).decode()}\n\n{ORIGIN}\n2\n")


def test_an_entry_of_the_largest_size_fits() -> None:
    largest = b"x" * 65_535
    assert TlogProof.parse(replace(PROOF, extra=largest).encode()).extra == largest


# ---- attacks


def test_a_proof_of_another_leaf_index_path_or_log_does_not_hold() -> None:
    other = bytes(32)
    assert refused(Corrupt, lambda: open_proof(PROOF, LEAVES[12], ORIGIN, KNOWN)).code == "inclusion"
    for index in (0, 12, 14, 20, 21, 2**63 - 1):
        moved = replace(PROOF, index=index)
        assert refused(Corrupt, lambda moved=moved: open_proof(moved, LEAVES[13], ORIGIN, KNOWN)).code == "inclusion"  # type: ignore[misc]
    for path in (PROOF.path[:-1], (*PROOF.path, other), (other, *PROOF.path[1:]), PROOF.path[::-1], ()):
        bent = replace(PROOF, path=path)
        refused(Corrupt, lambda bent=bent: open_proof(bent, LEAVES[13], ORIGIN, KNOWN))  # type: ignore[misc]
    assert refused(Corrupt, lambda: open_proof(PROOF, LEAVES[13], "example.com/other", KNOWN)).code == "note-origin"
    stranger = VerifierKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"s" * 32).public_key().public_bytes_raw())
    assert refused(Corrupt, lambda: open_proof(PROOF, LEAVES[13], ORIGIN, [(stranger, verify)])).code == "note-unsigned"


def test_extra_data_proves_nothing() -> None:
    lying = replace(PROOF, extra=b"entry 99")
    assert open_proof(lying, LEAVES[13], ORIGIN, KNOWN).size == 21
    refused(Corrupt, lambda: open_proof(lying, merkle.leaf_hash(lying.extra), ORIGIN, KNOWN))


def test_growth_from_another_root_or_size_does_not_hold() -> None:
    old = merkle.root_of(LEAVES[:13])
    for growth, root in (
        (GROWTH, merkle.root_of(LEAVES[:12])),
        (replace(GROWTH, old=12), old),
        (replace(GROWTH, path=GROWTH.path[:-1]), old),
        (replace(GROWTH, path=()), old),
        (replace(GROWTH, old=0), old),
        (replace(GROWTH, checkpoint=note(20)), old),
    ):
        refused(Corrupt, lambda growth=growth, root=root: open_growth(growth, root, ORIGIN, KNOWN))  # type: ignore[misc]


def second_spellings(text: bytes) -> Iterator[bytes]:
    """Other bytes that a lenient reader would take for the same proof."""
    yield text.replace(b"\n", b"\r\n", 1)
    yield b"\n" + text
    yield text + b"\n"
    yield text[:-1]
    yield text.replace(b"index 13", b"index 013").replace(b"old 13", b"old 013")
    yield text.replace(b"index 13", b"index +13").replace(b"old 13", b"old +13")
    yield text.replace(b"index 13", b"index  13").replace(b"old 13", b"old  13")
    yield text.replace(b"index 13", b"index 1_3").replace(b"old 13", b"old 1_3")
    yield text.replace(b"index 13", "index ١٣".encode()).replace(b"old 13", "old ١٣".encode())
    yield text.replace(b"=\n", b"\n", 1)
    yield text.replace(b"=\n", b"= \n", 1)
    yield text.replace(b"=\n", b"==\n", 1)
    yield text.replace(b"\n\n", b"\n\n\n", 1)
    yield b"c2sp.org/tlog-proof@v2" + text.removeprefix(b"c2sp.org/tlog-proof@v1")


@pytest.mark.parametrize("honest", [PROOF, GROWTH], ids=["tlog-proof", "add-checkpoint"])
def test_there_is_one_spelling(honest: TlogProof | AddCheckpoint) -> None:
    text = honest.encode()
    others = {other for other in second_spellings(text) if other != text}
    assert len(others) >= 13
    for other in others:
        refused(InputError, lambda other=other: type(honest).parse(other))  # type: ignore[misc]


def test_an_empty_extra_line_is_refused() -> None:
    bare = prove(13, 21).encode()
    refused(InputError, lambda: TlogProof.parse(bare.replace(b"index", b"extra \nindex")))
    refused(InputError, lambda: TlogProof.parse(bare.replace(b"index", b"extra\nindex")))


def test_no_line_but_the_unvouched_one_can_be_left_out_or_doubled() -> None:
    lines = PROOF.encode().split(b"\n")
    assert lines[1].startswith(b"extra ")
    for at in range(len(lines) - 1):
        for other in ([*lines[:at], *lines[at + 1 :]], [*lines[: at + 1], *lines[at:]]):
            try:
                open_proof(TlogProof.parse(b"\n".join(other)), LEAVES[13], ORIGIN, KNOWN)
            except FailwellError:
                continue
            assert (at, len(other)) == (1, len(lines) - 1)


def test_values_that_the_format_cannot_hold_are_refused() -> None:
    for bad in (
        {"index": -1}, {"index": 2**63}, {"index": True}, {"path": (b"x" * 31,)},
        {"path": (bytes(32),) * (MAX_PATH + 1)}, {"extra": bytes(MAX_EXTRA_BYTES + 1)}, {"checkpoint": b""},
        {"checkpoint": b"no\n\nnote\n"},
    ):  # fmt: skip
        refused(InputError, lambda bad=bad: replace(PROOF, **bad))  # type: ignore[misc]
    poem = sign("a poem\n", ORIGIN, LOG.public, KEY.sign)
    assert refused(InputError, lambda: replace(PROOF, checkpoint=poem)).code == "checkpoint"
    for growth in ({"old": -1}, {"old": 22}, {"path": (bytes(32),) * (MAX_PATH + 1)}, {"checkpoint": poem}):
        refused(InputError, lambda growth=growth: replace(GROWTH, **growth))  # type: ignore[misc]


# ---- any bytes


def mangled(honest: bytes) -> st.SearchStrategy[bytes]:
    """Honest bytes with a few places overwritten, cut, doubled."""
    places = st.integers(0, len(honest))
    edit = st.tuples(places, places, st.binary(max_size=4) | st.sampled_from([b"\n", b"\n\n", b"=", b" ", b"0", b"A"]))

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        data = honest
        for begin, length, new in edits:
            data = data[:begin] + new + data[begin + length % 4 :]
        return data

    return st.lists(edit, min_size=1, max_size=3).map(apply)


@given(st.binary(max_size=400) | mangled(PROOF.encode()))
@example(PROOF.encode())
def test_no_bytes_bring_another_error_or_a_second_spelling_of_a_proof(data: bytes) -> None:
    try:
        parsed = TlogProof.parse(data)
    except InputError:
        return
    assert parsed.encode() == data
    try:
        open_proof(parsed, LEAVES[13], ORIGIN, KNOWN)
    except Corrupt:
        return
    assert replace(parsed, extra=b"") == replace(PROOF, extra=b""), "only the extra data may differ"


@given(st.binary(max_size=400) | mangled(GROWTH.encode()))
@example(GROWTH.encode())
def test_no_bytes_bring_another_error_or_a_second_spelling_of_growth(data: bytes) -> None:
    try:
        parsed = AddCheckpoint.parse(data)
    except InputError:
        return
    assert parsed.encode() == data
    try:
        open_growth(parsed, merkle.root_of(LEAVES[:13]), ORIGIN, KNOWN)
    except Corrupt:
        return
    assert parsed == GROWTH


def test_an_oversized_proof_is_refused_before_it_is_taken_apart() -> None:
    refused(InputError, lambda: TlogProof.parse(b"c2sp.org/tlog-proof@v1\nindex 0\n" + b"A" * 10_000_000))


def test_a_hash_is_a_hash() -> None:
    short = b64encode(hashlib.sha1(b"x", usedforsecurity=False).digest())
    head, _, rest = prove(13, 21).encode().partition(b"index 13\n")
    refused(InputError, lambda: TlogProof.parse(head + b"index 13\n" + short + b"\n" + rest.partition(b"\n")[2]))
