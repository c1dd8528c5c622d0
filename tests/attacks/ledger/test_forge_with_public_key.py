"""Forge with the public key: the attacker has the file and everything that is published, and no secret at all.

A tag that a reader can check with what is published must not be one that a reader can make (an HMAC under a "public"
key is). Every signature below is made of public material only.
"""

from __future__ import annotations

import hmac
import random
from hashlib import sha256, sha512

from failwell.core import note
from failwell.identity import keys
from tests.attacks.ledger.judging import TALLY, Ground, caught

#: Order of the base point and encodings of points of small order (RFC 8032 5.1; a lenient verifier takes them).
L = 2**252 + 27742317777372353535851937790883648493
SMALL_ORDER = (bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", b"\1" + bytes(30) + b"\x80")


def signatures(public: bytes, text: bytes, genuine: bytes) -> list[bytes]:
    """What somebody with the public key, the text and one genuine signature (of another text) could try."""
    r, s = genuine[:32], int.from_bytes(genuine[32:], "little")
    as_seed = keys.from_seed(public)
    return [
        genuine,
        as_seed.sign(text),
        hmac.digest(public, text, sha512),
        hmac.digest(public, text, sha256) * 2,
        sha512(public + text).digest(),
        bytes(64),
        b"\xff" * 64,
        public + bytes(32),
        public + r,
        r + ((s + L) % 2**256).to_bytes(32, "little"),
        r + (L - s).to_bytes(32, "little"),
        *(point + bytes(32) for point in SMALL_ORDER),
        *(point + L.to_bytes(32, "little") for point in SMALL_ORDER),
        b"\0",
        genuine[:63],
        genuine + b"\0",
    ]


def test_a_shorter_ledger_signed_with_what_is_published(ground: Ground) -> None:
    key = note.VerifierKey.parse(ground.image.log_key)
    genuine = note.SignedNote.parse(ground.kept()).signatures[0].signature
    text = note.Checkpoint(ground.image.origin, 40, ground.roots[40]).text()
    for forged in signatures(key.public, text.encode(), genuine):
        data = note.SignedNote(text, (note.Signature(key.name, key.key_id, forged),)).encode()
        forger = ground.forger()
        forger.cut(40, resign=False)
        forger.sql("UPDATE checkpoint SET size = 40, note = ?", data)
        caught(forger.verify(), code="head.signature")
        caught(ground.forger().verify(data), code="kept.unsigned")
        ground.hold(forger)


def test_a_genuine_signature_spelled_otherwise_is_not_a_second_signature(ground: Ground) -> None:
    """Malleability: S + L verifies the same equation, and is refused."""
    data = note.SignedNote.parse(ground.kept())
    signature = data.signatures[0].signature
    other = signature[:32] + ((int.from_bytes(signature[32:], "little") + L) % 2**256).to_bytes(32, "little")
    key = note.VerifierKey.parse(ground.image.log_key)
    assert not keys.verify(key.public, data.text.encode(), other)
    TALLY.attacks += 1
    TALLY.detected += 1


def test_a_checkpoint_changed_on_its_way_accuses_the_checkpoint_not_the_ledger(
    ground: Ground, rng: random.Random
) -> None:
    """Attack: have an honest operator accused by a forged anchor. It is said that the anchor is none of this log."""
    kept = ground.kept()
    for _ in range(60):
        at = rng.randrange(len(kept))
        changed = kept[:at] + bytes([kept[at] ^ 1 << rng.randrange(8)]) + kept[at + 1 :]
        report = ground.forger().verify(changed)
        caught(report, code="kept.unsigned")
        assert set(report.counts) == {"kept.unsigned"}
        assert report.good == ground.size
