"""Signed notes as others publish them: Go's note package, C2SP's examples, a real log's checkpoint."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from failwell.core.errors import Corrupt, InputError
from failwell.core.note import Checkpoint, SignedNote, VerifierKey, open_checkpoint, open_note, sign

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "signed_note.json").read_text())
GO: dict[str, Any] = VECTORS["go"]
C2SP: dict[str, str] = VECTORS["c2sp"]
SUMDB: dict[str, str] = VECTORS["sumdb"]
PETER = VerifierKey.parse(GO["peter"]["vkey"])
ENOCH = VerifierKey.parse(GO["enoch"]["vkey"])


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def go_note(*lines: str) -> bytes:
    text: str = GO["text"]
    return (text + "\n" + "".join(lines)).encode()


def test_go_vkeys_are_read_and_written() -> None:
    for vkey, key in ((GO["peter"]["vkey"], PETER), (GO["enoch"]["vkey"], ENOCH)):
        assert key.text() == vkey
        assert key.key_id.hex() == vkey.split("+")[1]


def test_every_mangling_of_a_go_vkey_is_refused() -> None:
    vkey: str = GO["peter"]["vkey"]
    cuts = [vkey[i:j] for i in range(len(vkey)) for j in range(i + 1, len(vkey) + 1) if j - i < len(vkey)]
    steps = [vkey[:i] + chr(ord(vkey[i]) + 1) + vkey[i + 1 :] for i in range(len(vkey))]
    for mangled in ["", *cuts, *steps, *GO["bad_vkeys"]]:
        with pytest.raises(InputError):
            VerifierKey.parse(mangled)


def test_signing_gives_the_bytes_that_go_gives() -> None:
    seed = base64.b64decode(GO["peter"]["secret_key"].split("+", 4)[4])[1:]
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes_raw()
    assert public == PETER.public
    assert sign(GO["text"], "PeterNeumann", public, key.sign) == go_note(GO["peter"]["line"])


def test_go_notes_open_with_the_keys_that_are_known() -> None:
    both = go_note(GO["peter"]["line"], GO["enoch"]["line"])
    one = open_note(both, [(PETER, verify)])
    assert (one.text, one.signers) == (GO["text"], (PETER,))
    assert open_note(both, [(ENOCH, verify), (PETER, verify)]).signers == (PETER, ENOCH)
    with pytest.raises(Corrupt) as unsigned:
        open_note(both, [])
    assert unsigned.value.code == "note-unsigned"


def test_the_malformed_notes_of_go_are_refused() -> None:
    text, line = GO["text"], GO["peter"]["line"]
    bad = line[:-1].replace("PeterNeumann", "Bad Name")
    for malformed in (
        text.encode(),
        (text + "\n").encode(),
        go_note(line[:-1]),
        b"\x01" + go_note(line),
        b"\xff" + go_note(line),
        go_note(bad),
        go_note(bad + "\n"),
        go_note(line, "Unexpected line.\n"),
        go_note(line * 101),
    ):
        with pytest.raises(InputError) as refused:
            open_note(malformed, [(PETER, verify)])
        assert refused.value.code == "note"


def test_c2sp_examples_are_read_and_written_byte_for_byte() -> None:
    poem = SignedNote.parse(C2SP["note"].encode())
    assert poem.text.endswith("\n\ned è subito sera.\n")
    assert [each.name for each in poem.signatures] == ["quasimodo.example/salvatore"]
    cosigned = SignedNote.parse(C2SP["checkpoint"].encode())
    assert [len(each.signature) for each in cosigned.signatures] == [64, 8 + 64]
    assert Checkpoint.parse(cosigned.text).origin == "example.com/behind-the-sofa"
    for note, whole in ((poem, C2SP["note"]), (cosigned, C2SP["checkpoint"])):
        assert note.encode() == whole.encode()


def test_a_checkpoint_of_the_go_checksum_database_verifies() -> None:
    key = VerifierKey.parse(SUMDB["vkey"])
    opened = open_checkpoint(SUMDB["checkpoint"].encode(), "go.sum database tree", [(key, verify)])
    assert opened.size == 20_852_163
    assert opened.root.hex() == "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
    assert opened.extensions == ()


def test_a_changed_size_in_a_real_checkpoint_is_refused() -> None:
    key = VerifierKey.parse(SUMDB["vkey"])
    changed = SUMDB["checkpoint"].replace("20852163", "20852164").encode()
    with pytest.raises(Corrupt) as refused:
        open_checkpoint(changed, "go.sum database tree", [(key, verify)])
    assert refused.value.code == "note-signature"
