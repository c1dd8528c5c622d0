"""Cosignatures: what a witness adds counts for that checkpoint, that time and that witness, and for nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from failwell.core import cosignature
from failwell.core.cosignature import MAX_TIMESTAMP, Cosignature, CosignerKey, Witnessed, cosign, open_cosigned
from failwell.core.errors import Corrupt, FailwellError, InputError
from failwell.core.note import Checkpoint, SignedNote, VerifierKey, open_note, sign
from failwell.identity.keys import verify

ORIGIN = "example.com/log"
CHECKPOINT = Checkpoint(ORIGIN, 7, hashlib.sha256(b"root").digest())


def private(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def public(number: int) -> bytes:
    return private(number).public_key().public_bytes_raw()


LOG = VerifierKey(ORIGIN, public(1))
FIRST = CosignerKey("witness.example/w1", public(2))
SECOND = CosignerKey("witness.example/w2", public(3))
NOTE = sign(CHECKPOINT.text(), ORIGIN, LOG.public, private(1).sign)
FIRST_LINE = cosign(NOTE, FIRST, 1_679_315_147, private(2).sign)
SECOND_LINE = cosign(NOTE, SECOND, 1_679_315_150, private(3).sign)
COSIGNED = cosignature.add(NOTE, FIRST_LINE, SECOND_LINE)


def opened(data: bytes, *witnesses: CosignerKey) -> tuple[Witnessed, ...]:
    return open_cosigned(data, ORIGIN, [(LOG, verify)], [(each, verify) for each in witnesses])[1]


def refused(kind: type[FailwellError], call: Callable[[], object]) -> FailwellError:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


# ---- what holds


def test_each_known_witness_is_told_with_its_time() -> None:
    assert opened(COSIGNED, FIRST, SECOND) == (Witnessed(FIRST, 1_679_315_147), Witnessed(SECOND, 1_679_315_150))
    assert opened(COSIGNED, SECOND) == (Witnessed(SECOND, 1_679_315_150),)
    assert opened(COSIGNED) == ()
    assert opened(NOTE, FIRST, SECOND) == ()


def test_the_signed_message_is_the_standards() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    assert cosignature.message(text, 1_679_315_147) == b"cosignature/v1\ntime 1679315147\n" + text.encode()


def test_the_log_still_verifies_alone_in_a_cosigned_note() -> None:
    assert open_note(COSIGNED, [(LOG, verify)]).signers == (LOG,)


def test_the_key_id_follows_from_name_type_four_and_key() -> None:
    assert FIRST.key_id == hashlib.sha256(b"witness.example/w1\n\x04" + public(2)).digest()[:4]
    assert CosignerKey.parse(FIRST.text()) == FIRST
    assert VerifierKey(FIRST.name, FIRST.public) != FIRST


def test_extension_lines_are_cosigned_too() -> None:
    longer = sign(
        Checkpoint(ORIGIN, 7, CHECKPOINT.root, ("extension 1", "extension 2")).text(), ORIGIN, LOG.public,
        private(1).sign,
    )  # fmt: skip
    line = cosign(longer, FIRST, 5, private(2).sign)
    assert opened(cosignature.add(longer, line), FIRST) == (Witnessed(FIRST, 5),)
    refused(Corrupt, lambda: opened(cosignature.add(NOTE, line), FIRST))


# ---- attacks


def changed(at: int, by: int = 1) -> bytes:
    """COSIGNED with one bit of the first cosignature's bytes flipped: key id 0-3, time 4-11, signature 12-75."""
    note = SignedNote.parse(COSIGNED)
    lines = [each.line() for each in note.signatures]
    head, encoded = lines[1].rstrip("\n").rsplit(" ", 1)
    data = bytearray(base64.b64decode(encoded))
    data[at] ^= by
    lines[1] = f"{head} {base64.b64encode(bytes(data)).decode()}\n"
    return (note.text + "\n" + "".join(lines)).encode()


@pytest.mark.parametrize("at", range(4, 76))
def test_a_changed_time_or_signature_is_refused(at: int) -> None:
    assert refused(Corrupt, lambda: opened(changed(at), FIRST)).code == "note-signature"


def test_a_changed_key_id_is_somebody_elses_line() -> None:
    assert opened(changed(0), FIRST, SECOND) == (Witnessed(SECOND, 1_679_315_150),)


def test_a_logs_signature_does_not_pass_as_a_cosignature_nor_the_other_way_round() -> None:
    same = CosignerKey(ORIGIN, LOG.public)
    assert same.key_id != LOG.key_id
    plain = SignedNote.parse(NOTE).signatures[0].signature
    forged = Cosignature(ORIGIN, same.key_id, 0, plain)
    refused(Corrupt, lambda: opened(cosignature.add(NOTE, forged), same))
    honest = cosign(NOTE, same, 0, private(1).sign)
    with pytest.raises(Corrupt):
        open_note(
            SignedNote(CHECKPOINT.text(), (SignedNote.parse(cosignature.add(NOTE, honest)).signatures[1],)).encode(),
            [(LOG, verify)],
        )


def test_a_witness_cannot_stand_in_for_the_log() -> None:
    only = SignedNote(CHECKPOINT.text(), SignedNote.parse(COSIGNED).signatures[1:]).encode()
    assert refused(Corrupt, lambda: opened(only, FIRST)).code == "note-unsigned"


def test_a_cosignature_of_another_checkpoint_is_refused() -> None:
    other = sign(Checkpoint(ORIGIN, 8, CHECKPOINT.root).text(), ORIGIN, LOG.public, private(1).sign)
    assert refused(Corrupt, lambda: opened(cosignature.add(other, FIRST_LINE), FIRST)).code == "note-signature"


def test_one_witness_counts_once() -> None:
    assert refused(InputError, lambda: cosignature.add(COSIGNED, FIRST_LINE)).code == "cosignature"
    twice = COSIGNED + FIRST_LINE.line().encode()
    assert refused(Corrupt, lambda: opened(twice, FIRST)).code == "note-signature"
    refused(InputError, lambda: open_cosigned(COSIGNED, ORIGIN, [(LOG, verify)], [(FIRST, verify)] * 2 + [
        (CosignerKey(FIRST.name, FIRST.public), verify)
    ]))  # fmt: skip


def test_a_verifier_that_does_not_say_true_has_not_agreed() -> None:
    def truthy(public: bytes, message: bytes, signature: bytes) -> bool:
        return 1  # type: ignore[return-value]

    refused(Corrupt, lambda: open_cosigned(COSIGNED, ORIGIN, [(LOG, verify)], [(FIRST, truthy)]))


def test_only_checkpoints_are_cosigned() -> None:
    poem = sign("not a checkpoint\n", ORIGIN, LOG.public, private(1).sign)
    assert refused(InputError, lambda: cosign(poem, FIRST, 1, private(2).sign)).code == "checkpoint"
    assert refused(InputError, lambda: cosignature.add(poem, FIRST_LINE)).code == "checkpoint"


def test_a_time_beyond_the_standards_is_refused() -> None:
    assert cosign(NOTE, FIRST, MAX_TIMESTAMP, private(2).sign).timestamp == MAX_TIMESTAMP
    for bad in (-1, MAX_TIMESTAMP + 1, True):
        refused(InputError, lambda bad=bad: cosign(NOTE, FIRST, bad, private(2).sign))  # type: ignore[misc]
    line = FIRST_LINE.line().rstrip("\n")
    encoded = base64.b64encode(FIRST.key_id + b"\x80" + bytes(7) + FIRST_LINE.signature).decode()
    refused(InputError, lambda: Cosignature.parse(f"{line.rsplit(' ', 1)[0]} {encoded}\n"))


def test_keys_of_another_type_are_no_witness_keys() -> None:
    refused(InputError, lambda: CosignerKey.parse(LOG.text()))
    refused(InputError, lambda: VerifierKey.parse(FIRST.text()))


# ---- any bytes


@given(st.binary(max_size=300))
@example(b"")
@example(COSIGNED)
def test_no_bytes_bring_another_error_than_ours(data: bytes) -> None:
    for call in (lambda: opened(data, FIRST), lambda: cosignature.add(data, FIRST_LINE)):
        try:
            call()
        except FailwellError:
            continue
        assert data in (COSIGNED, NOTE)


@given(st.text(max_size=200))
def test_what_a_line_parses_to_is_written_back_the_same(text: str) -> None:
    for line in (text, FIRST_LINE.line() + text, text + FIRST_LINE.line()):
        try:
            parsed = Cosignature.parse(line)
        except InputError:
            continue
        assert parsed.line() == line


@given(st.data(), st.sampled_from([COSIGNED, NOTE]))
def test_a_changed_byte_never_makes_more_witnesses(data: st.DataObject, note: bytes) -> None:
    at = data.draw(st.integers(0, len(note) - 1))
    byte = data.draw(st.binary(min_size=0, max_size=2).filter(lambda new: new != note[at : at + 1]))
    mangled = note[:at] + byte + note[at + 1 :]
    before: Sequence[Witnessed] = opened(note, FIRST, SECOND)
    try:
        after = opened(mangled, FIRST, SECOND)
    except FailwellError:
        return
    assert set(after) <= set(before)
