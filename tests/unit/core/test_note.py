"""Signed notes and checkpoints: strict text, and trust only from known keys."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from failwell.core.errors import Corrupt, FailwellError, InputError
from failwell.core.merkle import EMPTY_ROOT
from failwell.core.note import (
    Checkpoint,
    Signature,
    SignedNote,
    VerifierKey,
    open_checkpoint,
    open_note,
    sign,
)

NAME = "example.com/log"
ROOT = hashlib.sha256(b"root").digest()
TEXT = f"{NAME}\n7\n{base64.b64encode(ROOT).decode()}\n"


def private(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def key(number: int, name: str = NAME) -> VerifierKey:
    return VerifierKey(name, private(number).public_key().public_bytes_raw())


def signed(text: str, number: int = 1, name: str = NAME) -> bytes:
    return sign(text, name, key(number).public, private(number).sign)


def line(data: bytes) -> bytes:
    return data.rpartition(b"\n\n")[2]


def refusal(kind: type[FailwellError], call: Any, *args: Any) -> FailwellError:
    with pytest.raises(kind) as caught:
        call(*args)
    return caught.value


KNOWN = [(key(1), verify)]


# ---- keys


def test_the_key_id_follows_from_name_type_and_key() -> None:
    public = key(1).public
    assert key(1).key_id == hashlib.sha256(NAME.encode() + b"\n\x01" + public).digest()[:4]
    encoded = base64.b64encode(b"\x01" + public).decode()
    assert key(1).text() == f"{NAME}+{key(1).key_id.hex()}+{encoded}"
    assert VerifierKey.parse(key(1).text()) == key(1)


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\u00a0b", "a\u2003b", "a\nb", "a\x00b", "a\x85b", "\ud800"], ids=ascii
)
def test_key_names_that_a_line_cannot_hold_are_refused(name: str) -> None:
    refusal(InputError, VerifierKey, name, bytes(32))
    refusal(InputError, sign, TEXT, name, bytes(32), private(1).sign)


def test_a_key_under_the_id_of_another_is_refused() -> None:
    name, _, encoded = key(1).text().split("+", 2)
    refusal(InputError, VerifierKey.parse, f"{name}+{key(2).key_id.hex()}+{encoded}")


def test_a_renamed_key_is_refused() -> None:
    refusal(InputError, VerifierKey.parse, key(1).text().replace(NAME, "example.com/other"))


def test_other_key_types_are_refused() -> None:
    data = b"\x04" + key(1).public
    key_id = hashlib.sha256(NAME.encode() + b"\n" + data).digest()[:4]
    error = refusal(InputError, VerifierKey.parse, f"{NAME}+{key_id.hex()}+{base64.b64encode(data).decode()}")
    assert "0x01" in error.message


# ---- opening


def test_a_signed_text_opens_with_its_key() -> None:
    opened = open_note(signed(TEXT), KNOWN)
    assert opened.text == TEXT
    assert opened.signers == (key(1),)


def test_a_text_may_hold_empty_lines_and_lines_like_signatures() -> None:
    text = "one\n\n" + line(signed("x\n", 2)).decode() + "\n\nlast\n"
    assert open_note(signed(text), KNOWN).text == text


@pytest.mark.parametrize("at", range(len(TEXT)))
def test_any_changed_byte_of_the_text_is_refused(at: int) -> None:
    data = bytearray(signed(TEXT))
    data[at] ^= 1
    refusal(FailwellError, open_note, bytes(data), KNOWN)


def test_unknown_signatures_are_ignored_beside_a_known_one() -> None:
    data = signed(TEXT, 2, "other.example") + line(signed(TEXT)) + line(signed(TEXT, 3, "third.example"))
    assert open_note(data, KNOWN).signers == (key(1),)


def test_a_key_of_the_same_name_but_another_id_is_unknown() -> None:
    assert refusal(Corrupt, open_note, signed(TEXT, 2), KNOWN).code == "note-unsigned"


def test_a_signature_under_the_id_of_a_known_key_but_another_name_is_unknown() -> None:
    parsed = SignedNote.parse(signed(TEXT))
    renamed = Signature("other.example", parsed.signatures[0].key_id, parsed.signatures[0].signature)
    data = SignedNote(TEXT, (renamed,)).encode()
    assert refusal(Corrupt, open_note, data, KNOWN).code == "note-unsigned"


def test_unknown_signatures_may_stand_twice_because_they_must_be_ignored() -> None:
    other = line(signed(TEXT, 2, "other.example"))
    assert open_note(signed(TEXT) + other + other, KNOWN).signers == (key(1),)


def test_a_bad_signature_of_a_known_key_refuses_the_whole_note_even_beside_a_good_one() -> None:
    bad = Signature(NAME, key(1).key_id, bytes(64)).line().encode()
    good = line(signed(TEXT, 2, "other.example"))
    known = [*KNOWN, (key(2, "other.example"), verify)]
    error = refusal(Corrupt, open_note, TEXT.encode() + b"\n" + good + bad, known)
    assert error.code == "note-signature"


@pytest.mark.parametrize("length", [1, 63, 65])
def test_a_known_keys_signature_of_another_length_never_reaches_the_verifier(length: int) -> None:
    bad = Signature(NAME, key(1).key_id, bytes(length)).line().encode()
    asked: list[bytes] = []

    def trusting(public: bytes, message: bytes, signature: bytes) -> bool:
        asked.append(signature)
        return True

    refusal(Corrupt, open_note, TEXT.encode() + b"\n" + bad, [(key(1), trusting)])
    assert asked == []


def test_a_known_signature_twice_is_refused() -> None:
    data = signed(TEXT)
    assert "twice" in refusal(Corrupt, open_note, data + line(data), KNOWN).message


def test_two_verifiers_of_one_name_and_id_are_refused() -> None:
    refusal(InputError, open_note, signed(TEXT), [(key(1), verify), (key(1), verify)])


def test_a_verifier_that_answers_anything_but_true_has_not_said_yes() -> None:
    for answer in (False, None, 1, "yes"):
        lenient: Any = lambda *_, answer=answer: answer  # noqa: E731
        refusal(Corrupt, open_note, signed(TEXT), [(key(1), lenient)])


def test_without_known_keys_nothing_is_believed() -> None:
    assert refusal(Corrupt, open_note, signed(TEXT), []).code == "note-unsigned"


# ---- strict text


def with_line(text: str) -> bytes:
    return f"{TEXT}\n{text}".encode()


GOOD = line(signed(TEXT)).decode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        TEXT.encode(),
        TEXT.encode() + b"\n",
        TEXT.encode() + GOOD.encode(),
        GOOD.encode(),
        b"\n" + GOOD.encode(),
        with_line(GOOD[:-1]),
        with_line(GOOD + "\n"),
        with_line(GOOD.replace("\u2014", "-")),
        with_line(GOOD.replace("\u2014 ", "\u2014")),
        with_line(" " + GOOD),
        with_line(GOOD.replace(NAME, "")),
        with_line(GOOD.replace(NAME, "a b")),
        with_line(GOOD.replace(NAME, "a+b")),
        with_line(GOOD.replace("\n", " \n")),
        with_line(GOOD.replace("\n", "\r\n")),
        with_line(GOOD.replace("\n", "=\n")),
        with_line(GOOD[:-3] + "\n"),
        with_line(f"\u2014 {NAME} AAAA\n"),
        with_line(f"\u2014 {NAME} AAAAAA==\n"),
        with_line(f"\u2014 {NAME} \n"),
        with_line(f"\u2014 {NAME} AAAAAAB=\n"),
        with_line(f"\u2014 {NAME} AAA-AAA_\n"),
        with_line(f"\u2014 {NAME} AAAA\u00e9AAA\n"),
        with_line(GOOD + "note\n"),
        with_line(GOOD + GOOD[:-1]),
        with_line(GOOD + GOOD[:-9]),
        with_line(GOOD + "\u2014"),
        with_line(GOOD * 101),
        b"\x00" + with_line(GOOD),
        b"\t" + with_line(GOOD),
        b"\xff" + with_line(GOOD),
        b"\xed\xa0\x80" + with_line(GOOD),
        b"x" * 1_000_001,
        b"x" * 1_000_000 + with_line(GOOD),
    ],
    ids=lambda each: ascii(each[-24:]),
)
def test_malformed_notes_are_refused(data: bytes) -> None:
    assert refusal(InputError, SignedNote.parse, data).code == "note"


def test_a_signature_has_one_spelling_in_base64() -> None:
    """Trailing bits that a lax decoder drops would make a second note that says the same."""
    strict = Signature(NAME, b"abcd", bytes(64)).line().removesuffix("\n")
    assert strict.endswith("AAA=")
    lax = strict.removesuffix("A=") + "B="
    assert base64.b64decode(lax.split(" ")[2]) == b"abcd" + bytes(64)
    assert Signature.parse(strict).signature == bytes(64)
    refusal(InputError, Signature.parse, lax)


def test_sixteen_signatures_are_accepted_as_the_standard_asks() -> None:
    lines = b"".join(line(signed(TEXT, number, f"k{number}.example")) for number in range(2, 17))
    assert open_note(signed(TEXT) + lines, KNOWN).signers == (key(1),)


@pytest.mark.parametrize("text", ["", "no newline", "tab\there\n", "cr\r\n", "nul\x00\n", "\ud800\n"], ids=ascii)
def test_texts_that_a_note_cannot_hold_are_not_signed(text: str) -> None:
    refusal(InputError, sign, text, NAME, key(1).public, private(1).sign)


def test_a_note_too_large_to_be_read_is_not_signed() -> None:
    refusal(InputError, sign, "x" * 1_000_000 + "\n", NAME, key(1).public, private(1).sign)


def test_a_signer_that_gives_no_ed25519_signature_is_refused() -> None:
    refusal(InputError, sign, TEXT, NAME, key(1).public, lambda message: b"short")


def test_a_note_without_signatures_cannot_be() -> None:
    refusal(InputError, SignedNote, TEXT, ())


# ---- checkpoints


def test_a_checkpoint_is_read_and_written() -> None:
    checkpoint = Checkpoint(NAME, 7, ROOT)
    assert checkpoint.text() == TEXT
    assert Checkpoint.parse(TEXT) == checkpoint
    assert open_checkpoint(signed(TEXT), NAME, KNOWN) == checkpoint


def test_extension_lines_are_kept_as_they_are() -> None:
    text = TEXT + "one extension\n\u00e9 = 2\n"
    assert Checkpoint.parse(text).extensions == ("one extension", "\u00e9 = 2")
    assert Checkpoint.parse(text).text() == text


def test_the_empty_tree_has_size_zero_and_its_own_root() -> None:
    text = Checkpoint(NAME, 0, EMPTY_ROOT).text()
    assert text.split("\n")[1] == "0"
    assert Checkpoint.parse(text).size == 0
    refusal(InputError, Checkpoint, NAME, 0, ROOT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT + "ext\n\n",
        TEXT + "ext",
        TEXT + "\next\n",
        "\n" + TEXT.partition("\n")[2],
        TEXT.replace("\n7\n", "\n07\n"),
        TEXT.replace("\n7\n", "\n+7\n"),
        TEXT.replace("\n7\n", "\n-7\n"),
        TEXT.replace("\n7\n", "\n 7\n"),
        TEXT.replace("\n7\n", "\n7 \n"),
        TEXT.replace("\n7\n", "\n\u0667\n"),
        TEXT.replace("\n7\n", "\n7_0\n"),
        TEXT.replace("\n7\n", "\n0x7\n"),
        TEXT.replace("\n7\n", "\n\n"),
        TEXT.replace("\n7\n", "\n00\n"),
        TEXT.replace("\n7\n", f"\n{2**63}\n"),
        TEXT.replace("\n7\n", f"\n{10**19}\n"),
        TEXT.replace("=\n", "\n"),
        TEXT.replace("=\n", "==\n"),
        TEXT.replace("=\n", "= \n"),
        f"{NAME}\n7\n{base64.b64encode(ROOT[:31]).decode()}\n",
        f"{NAME}\n7\n{base64.b64encode(ROOT + b'x').decode()}\n",
        f"{NAME}\n7\n",
        f"{NAME}\n7\n\n",
        f"{NAME}\t\n" + TEXT.partition("\n")[2],
    ],
    ids=ascii,
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    assert refusal(InputError, Checkpoint.parse, text).code == "checkpoint"


@pytest.mark.parametrize(
    "fields",
    [
        ("", 7, ROOT),
        ("a\nb", 7, ROOT),
        ("a\r", 7, ROOT),
        ("\ud800", 7, ROOT),
        (NAME, -1, ROOT),
        (NAME, 2**63, ROOT),
        (NAME, True, ROOT),
        (NAME, 7.0, ROOT),
        (NAME, 7, ROOT[:31]),
        (NAME, 7, bytearray(ROOT)),
        (NAME, 7, ROOT, ("",)),
        (NAME, 7, ROOT, ("a\nb",)),
    ],
    ids=ascii,
)
def test_a_checkpoint_that_its_text_cannot_hold_cannot_be(fields: Any) -> None:
    refusal(InputError, Checkpoint, *fields)


def test_a_checkpoint_of_another_log_under_the_same_key_is_refused() -> None:
    other = Checkpoint("example.com/other", 7, ROOT).text()
    assert refusal(Corrupt, open_checkpoint, signed(other), NAME, KNOWN).code == "note-origin"


def test_a_signed_text_that_is_no_checkpoint_is_refused() -> None:
    refusal(InputError, open_checkpoint, signed("hello\n"), NAME, KNOWN)
