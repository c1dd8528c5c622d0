"""How strong a seal is said to be: never stronger than what was given and agrees, and with the reason."""

from __future__ import annotations

import pytest

from failwell.core.cosignature import CosignerKey, add, cosign
from failwell.identity import keys
from failwell.verify.anchors import Anchor
from failwell.verify.finding import KEPT, Report
from failwell.verify.record import Ledger, Record, silent
from tests.unit.verify.logs import Log, Pair, decode

NOON = 1_795_000_000


class Witness:
    """Another party that cosigns."""

    def __init__(self, seed: int) -> None:
        self.key = keys.from_seed(bytes([seed]) * 32)
        self.cosigner = CosignerKey(f"witness.example/w{seed}", self.key.public)

    def cosign(self, note: bytes) -> bytes:
        return add(note, cosign(note, self.cosigner, NOON, self.key.sign))


W1, W2 = Witness(101), Witness(102)


@pytest.fixture
def log() -> Log:
    log = Log(Pair(1))
    log.fill(9)
    return log


def verify(
    log: Log, *kept: Anchor, head: int | None = None, witnesses: tuple[Witness, ...] = (), unread: str | None = None
) -> Report:  # fmt: skip
    size = log.size if head is None else head
    ledger = Ledger(
        entries=log.rows(),
        blobs=[],
        tokens=[],
        checkpoints=[(1, size, log.sign(size, log.pair))],
        rows=lambda table: [],
    )
    record = Record(
        ledger, decode=decode, verify=keys.verify, log_key=log.pair.text, kept=kept,
        witnesses=[each.cosigner for each in witnesses], unread=unread,
    )  # fmt: skip
    record.walk(None, silent)
    return record.report(0)


def graded(report: Report) -> tuple[str, int]:
    assert report.grade is not None
    return report.grade.grade, report.grade.entries


def test_what_only_the_operator_holds_is_of_grade_c_as_far_as_it_is_sealed(log: Log) -> None:
    report = verify(log, head=7)
    assert graded(report) == ("C", 7)
    assert report.checks[KEPT - 1].state == "not checkable"


def test_what_the_logs_own_guard_remembers_agrees_and_raises_nothing(log: Log) -> None:
    report = verify(log, Anchor("that its guard remembers", log.sign(8, log.pair), ours=True))
    assert graded(report) == ("C", 10)
    assert report.checks[KEPT - 1].state == "not checkable"
    assert "the head that its guard remembers agrees, over 8" in report.checks[KEPT - 1].detail


def test_a_guard_that_could_not_be_read_is_said(log: Log) -> None:
    report = verify(log, unread="no such directory")
    assert report.ok
    assert "what its guard signed last was not read: no such directory" in report.checks[KEPT - 1].detail
    report = verify(log, Anchor("of a mail", log.sign(4, log.pair)), unread="no such directory")
    assert report.checks[KEPT - 1].state == "proved"
    assert "was not read: no such directory" in report.checks[KEPT - 1].detail


def test_a_checkpoint_kept_elsewhere_makes_grade_b_for_what_it_covers_and_no_more(log: Log) -> None:
    report = verify(log, Anchor("of a mail", log.sign(4, log.pair)), Anchor("of another", log.sign(6, log.pair)))
    assert graded(report) == ("B", 6)
    assert report.grade is not None
    assert "grade C" in report.grade.why


def test_a_cosignature_of_a_known_witness_makes_grade_b_also_on_the_guards_own_head(log: Log) -> None:
    cosigned = Anchor("that its guard remembers", W1.cosign(log.sign(8, log.pair)), ours=True)
    assert graded(verify(log, cosigned)) == ("C", 10)  # nobody said that this witness is known
    assert graded(verify(log, cosigned, witnesses=(W2,))) == ("C", 10)
    assert graded(verify(log, cosigned, witnesses=(W1, W2))) == ("B", 8)


def test_how_many_of_the_known_witnesses_cosigned_is_said(log: Log) -> None:
    note = log.sign(8, log.pair)
    for given, says in (
        (note, "0 of 2 known witnesses cosigned: none"),
        (W1.cosign(note), "1 of 2 known witnesses cosigned: witness.example/w101 over 8 entries"),
        (W2.cosign(W1.cosign(note)), "2 of 2 known witnesses cosigned"),
    ):
        report = verify(log, Anchor("kept", given), witnesses=(W1, W2))
        assert report.ok
        assert says in report.checks[KEPT - 1].detail


def test_a_forged_cosignature_of_a_known_witness_is_a_finding_and_leaves_no_grade(log: Log) -> None:
    note, other = log.sign(8, log.pair), log.sign(7, log.pair)
    moved = W1.cosign(other).split(b"\n\n")[1].split(b"\n")[1] + b"\n"  # the witness signed another head
    report = verify(log, Anchor("kept", note + moved), witnesses=(W1,))
    assert report.counts == {"kept.cosignature": 1}
    assert graded(report) == ("none", 0)
    assert verify(log, Anchor("kept", note + moved)).ok  # who knows no witness believes none


@pytest.mark.requirement("R16.4")
def test_what_does_not_verify_or_is_under_no_trusted_head_has_no_grade(log: Log) -> None:
    assert graded(verify(log, Anchor("kept", Log(Pair(1)).sign(1, Pair(2))))) == ("none", 0)
    first = log.size
    log.rotate(Pair(2), statement="nobody signed this")
    log.fill(1)
    assert graded(verify(log)) == ("none", 0)
    assert first < log.size


def test_grade_a_is_never_claimed(log: Log) -> None:
    note = W2.cosign(W1.cosign(log.sign(log.size, log.pair)))
    assert graded(verify(log, Anchor("kept", note), witnesses=(W1, W2))) == ("B", 10)
