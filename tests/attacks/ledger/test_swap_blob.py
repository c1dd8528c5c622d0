"""Swap a blob: the attacker has the file and puts another ciphertext, wrapped key or token beside an entry."""

from __future__ import annotations

from hashlib import sha256
from itertools import permutations

from failwell.core.records import BlobRef
from failwell.core.tokens import token_digest
from tests.attacks.ledger.judging import Ground, caught, undetected
from tests.unit.verify.forgery import Forger, replace


def test_every_blob_in_the_place_of_others_whole_or_by_half(ground: Ground) -> None:
    for number, (here, there) in enumerate([*permutations(ground.rows["blob"], 2)][::3]):
        columns, values = (
            ("ciphertext = ?, wrapped = ?", there[1:]),
            ("ciphertext = ?", there[1:2]),
            ("wrapped = ?", there[2:]),
        )[number % 3]
        forger = ground.forger()
        forger.sql(f"UPDATE blob SET {columns} WHERE seq = ?", *values, here[0])
        caught(forger.verify(), entry=here[0], code="blob.changed")
        ground.hold(forger)


def test_every_token_in_the_place_of_others(ground: Ground) -> None:
    for here, there in [*permutations(ground.rows["token"], 2)][::4]:
        forger = ground.forger()
        forger.sql("UPDATE token SET token = ?, lookup = ?, sealed = ? WHERE id = ?", *there[1:], here[0])
        caught(forger.verify(), entry=here[0] // 1024, code="token.changed")
        ground.hold(forger)


def exchanged(ground: Ground, seq: int, *, resign: bool) -> Forger:
    """The blob of `seq` replaced by another, and the digest in its entry with it, and all that follows from that."""
    other = next(row for row in ground.rows["blob"] if row[0] != seq)
    forger = ground.forger()
    reference = BlobRef(ciphertext=sha256(other[1]).hexdigest(), key=sha256(other[2]).hexdigest())
    forger.change(seq, lambda e: replace(e, blob=reference), resign=resign)
    forger.sql("UPDATE blob SET ciphertext = ?, wrapped = ? WHERE seq = ?", *other[1:], seq)
    return forger


def test_a_blob_exchanged_together_with_the_digest_in_its_entry(ground: Ground) -> None:
    for seq, *_ in ground.rows["blob"]:
        caught(exchanged(ground, seq, resign=False).verify(), within=(0, ground.size - 1), code="head.root")


def test_a_blob_exchanged_with_its_digest_and_signed_again_is_found_by_a_kept_checkpoint(ground: Ground) -> None:
    for seq, *_ in ground.rows["blob"]:
        forger = exchanged(ground, seq, resign=True)
        undetected(forger.verify())
        caught(forger.verify(ground.kept(seq), ground.kept(seq + 1), ground.kept()), entry=seq)
        ground.hold(forger)


def test_a_token_exchanged_with_its_digest_and_signed_again_is_found_by_a_kept_checkpoint(ground: Ground) -> None:
    for entry in ground.entries:
        if entry.tokens:
            row = next(row for row in ground.rows["token"] if row[0] == entry.seq * 1024)
            digest = token_digest("c-" + "0" * 32, *row[2:])
            forger = ground.forger()
            forger.sql("UPDATE token SET token = ? WHERE id = ?", "c-" + "0" * 32, row[0])
            forger.change(entry.seq, lambda e: replace(e, tokens=(digest, *e.tokens[1:])), resign=True)  # noqa: B023
            undetected(forger.verify())
            caught(forger.verify(ground.kept(entry.seq), ground.kept()), within=(entry.seq, ground.size - 1))
            ground.hold(forger)
