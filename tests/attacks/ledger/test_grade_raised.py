"""The grade raised: the operator, with file and guard's key, has the report say that somebody else holds a checkpoint.

What their own guard remembers is nobody else's. A cosignature counts if a witness known to the reader made it, over
this very checkpoint; and a grade covers the entries that the checkpoint covers, no more.
"""

from __future__ import annotations

import pytest

from failwell.core import cosignature, note
from failwell.core.cosignature import Cosignature, CosignerKey
from failwell.guard.keypair import KeyPair
from failwell.identity import keys
from failwell.node import audit
from failwell.node.copies import DiskShelf, read_ledger
from failwell.verify.anchors import Anchor
from failwell.verify.finding import Report
from failwell.verify.ledger import verify_ledger
from tests.attacks.ledger.judging import TALLY, Ground, caught, fair

SECONDS = 1_795_000_000


class Witness:
    """Somebody who cosigns; known to the reader or not."""

    def __init__(self, name: str, pair: KeyPair | None = None) -> None:
        self._pair = pair or KeyPair.generate(name)
        self.key = CosignerKey(name, self._pair.verifier.public)

    def cosign(self, data: bytes) -> Cosignature:
        return cosignature.cosign(data, self.key, SECONDS, self._pair.sign)


def judge(ground: Ground, *kept: Anchor, witnesses: tuple[Witness, ...] = ()) -> Report:
    shelf = DiskShelf(":memory:")
    report = verify_ledger(
        read_ledger(ground.forger().db), shelf=shelf, verify=keys.verify, log_key=ground.image.log_key, kept=kept,
        witnesses=[each.key for each in witnesses],
    )  # fmt: skip
    shelf.close()
    return report


def graded(report: Report) -> tuple[str, int]:
    assert report.grade is not None
    return report.grade.grade, report.grade.entries


def stays(report: Report, grade: str, entries: int) -> None:
    TALLY.attacks += 1
    assert graded(report) == (grade, entries)
    TALLY.detected += 1


@pytest.mark.requirement("R16.4")
def test_what_the_operators_own_guard_remembers_raises_no_grade(ground: Ground) -> None:
    stays(audit.verify_workspace(ground.workspace), "C", ground.size)
    stays(judge(ground, Anchor("of the guard", ground.kept(), ours=True)), "C", ground.size)


@pytest.mark.requirement("R16.4")
def test_a_kept_checkpoint_raises_it_for_the_entries_that_it_covers(ground: Ground) -> None:
    for size in (1, 10, ground.size - 1):
        report = judge(ground, Anchor("kept", ground.kept(size)), Anchor("of the guard", ground.kept(), ours=True))
        fair(report)
        stays(report, "B", size)


def test_a_checkpoint_of_another_history_leaves_no_grade_at_all(ground: Ground) -> None:
    other = ground.forger().sign(ground.size, bytes(32))
    report = judge(ground, Anchor("kept", ground.kept()), Anchor("kept", other))
    caught(report, code="kept.root")
    stays(report, "none", 0)


def test_a_cosignature_of_a_witness_that_the_reader_does_not_know_counts_nothing(ground: Ground) -> None:
    data = cosignature.add(ground.kept(), Witness("friend.example/w").cosign(ground.kept()))
    known = Witness("witness.example/w")
    stays(judge(ground, Anchor("of the guard", data, ours=True), witnesses=(known,)), "C", ground.size)


def test_a_cosignature_of_a_known_witness_counts_on_whoevers_copy_it_stands(ground: Ground) -> None:
    known = Witness("witness.example/w")
    data = cosignature.add(ground.kept(), known.cosign(ground.kept()))
    report = judge(ground, Anchor("of the guard", data, ours=True), witnesses=(known,))
    fair(report)
    assert graded(report) == ("B", ground.size)


@pytest.mark.parametrize("forgery", ["by another key", "over another head", "of another time", "spoilt"])
def test_a_forged_cosignature_of_a_known_witness_is_a_finding(ground: Ground, forgery: str) -> None:
    known, stranger = Witness("witness.example/w"), Witness("witness.example/w")
    true = known.cosign(ground.kept())
    signature, seconds = true.signature, true.timestamp
    if forgery == "by another key":
        signature = stranger.cosign(ground.kept()).signature
    elif forgery == "over another head":
        signature = known.cosign(ground.kept(30)).signature
    elif forgery == "of another time":
        seconds += 1
    else:
        signature = signature[:-1] + bytes([signature[-1] ^ 1])
    forged = Cosignature(known.key.name, known.key.key_id, seconds, signature)
    report = judge(ground, Anchor("kept", cosignature.add(ground.kept(), forged)), witnesses=(known,))
    caught(report)
    stays(report, "none", 0)


def test_the_logs_own_signature_does_not_pass_for_a_cosignature(ground: Ground) -> None:
    """Attack: the log's key as a witness's, with the signature that it has made already."""
    own = note.VerifierKey.parse(ground.image.log_key)
    signed = note.SignedNote.parse(ground.kept()).signatures[0].signature
    key = CosignerKey(own.name, own.public)
    forged = Cosignature(key.name, key.key_id, SECONDS, signed)
    witness = Witness(own.name, KeyPair.generate(own.name))
    witness.key = key
    report = judge(ground, Anchor("kept", cosignature.add(ground.kept(), forged)), witnesses=(witness,))
    caught(report)
