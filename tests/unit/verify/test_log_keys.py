"""Keys and names of a log as they change: which heads verify, which do not, and what each forged change is found by."""

from __future__ import annotations

from typing import Any

import pytest

from failwell.core import note
from failwell.verify.finding import HEAD, KEPT, KEYS, Report
from tests.unit.verify.logs import ORIGIN, OTHER, Log, Pair

OLD, NEW, NEWEST, STRANGER = Pair(1), Pair(2), Pair(3), Pair(9)
NEXT = Pair(4, OTHER)


def rotated(before: int = 5, after: int = 6) -> tuple[Log, int]:
    """A log whose key changed once, and the entry that says so."""
    log = Log(OLD)
    log.fill(before)
    seq = log.rotate(NEW)
    log.fill(after)
    return log, seq


def continued(before: int = 5, after: int = 6, **change: Any) -> tuple[Log, int]:
    """A log that goes on under another name, and the entry that says so."""
    log = Log(OLD)
    log.fill(before)
    seq = log.go_on(NEXT, **change)
    log.fill(after)
    return log, seq


def state(report: Report, step: int) -> str:
    return report.checks[step - 1].state


# ---- a changed key -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R13.10")
def test_who_trusts_the_old_key_or_the_new_one_verifies_heads_of_both() -> None:
    log, seq = rotated()
    early, late = log.sign(seq, OLD), log.sign(seq + 1, NEW)
    for trusted in (OLD, NEW):
        report = log.verify(None, early, late, log_key=trusted.text)
        assert report.ok, report.findings
        assert {state(report, step) for step in (HEAD, KEPT, KEYS)} == {"proved"}


def test_a_chain_of_changes_verifies_from_any_of_its_keys() -> None:
    log, first = rotated()
    second = log.rotate(NEWEST)
    log.fill(3)
    heads = [log.sign(1, OLD), log.sign(first, OLD), log.sign(second, NEW), log.sign(second + 1, NEWEST)]
    for trusted in (OLD, NEW, NEWEST):
        assert log.verify(None, *heads, log_key=trusted.text).ok


@pytest.mark.requirement("R13.10")
def test_a_tree_that_holds_the_change_signed_by_the_key_that_it_replaced() -> None:
    log, seq = rotated()
    for size in (seq + 1, log.size):
        assert log.verify(log.sign(size, OLD)).counts == {"head.signature": 1}
        assert log.verify(None, log.sign(size, OLD)).counts == {"kept.unsigned": 1}


def test_a_tree_from_before_the_change_signed_by_the_key_that_came_later() -> None:
    log, seq = rotated()
    assert log.verify(None, log.sign(seq, NEW)).counts == {"kept.unsigned": 1}


def test_a_key_exchanged_without_an_entry_that_says_so() -> None:
    log = Log(OLD)
    log.fill(9)
    head = log.sign(log.size, STRANGER)
    assert log.verify(head, log_key=OLD.text).counts == {"head.signature": 1}
    report = log.verify(head, log_key=STRANGER.text)
    assert report.counts == {"head.genesis": 1}
    assert report.first_bad == 0


def forged(signers: tuple[Pair, ...], was: Pair = OLD, key: Pair = STRANGER) -> str:
    """A statement that only `signers` signed."""
    text = f"failwell/log-key/1\n{ORIGIN}\n{was.text}\n{key.text}\n"
    signed = tuple(
        note.Signature(each.verifier.name, each.verifier.key_id, each.key.sign(text.encode())) for each in signers
    )
    return note.SignedNote(text, signed).encode().decode()


@pytest.mark.requirement("R13.11")
@pytest.mark.parametrize("signers", [(STRANGER,), (OLD,), (STRANGER, NEWEST), (OLD, NEWEST)])
def test_a_change_that_not_both_keys_signed(signers: tuple[Pair, ...]) -> None:
    log = Log(OLD)
    log.fill(4)
    seq = log.rotate(STRANGER, statement=forged(signers))
    log.fill(2)
    report = log.verify(log_key=OLD.text)
    assert report.counts == {"key.statement": 1}
    assert report.first_bad == seq
    assert state(report, HEAD) == "not checkable"  # the head is signed by a key that nothing vouches for


def test_a_true_statement_about_other_keys_another_log_or_played_again() -> None:
    elsewhere, there = Pair(5, OTHER), Pair(6, OTHER)
    cases: list[tuple[Pair, dict[str, Any]]] = [
        (STRANGER, {"statement": forged((OLD, NEW), OLD, NEW)}),
        (
            STRANGER,
            {
                "statement": note.sign_change(
                    elsewhere.verifier, there.verifier, elsewhere.key.sign, there.key.sign
                ).decode()
            },
        ),
        (STRANGER, {"was": NEWEST.text}),
        (STRANGER, {"statement": ""}),
        (STRANGER, {"statement": "failwell/log-key/1\n"}),
        (STRANGER, {"key": "log+00000000+AQ=="}),
    ]
    for to, change in cases:
        log = Log(OLD)
        log.fill(4)
        seq = log.rotate(to, **change)
        log.fill(2)
        report = log.verify(log_key=OLD.text)
        assert "key.statement" in report.counts
        assert report.first_bad == seq
    log, _ = rotated()
    again = log.add("log.key", **log.entries[6]["body"])
    report = log.verify()
    assert report.counts == {"key.statement": 1}
    assert report.first_bad == again


def test_every_byte_of_a_statement_changed() -> None:
    log, seq = rotated()
    statement = log.entries[seq]["body"]["statement"]
    for at in range(len(statement)):
        changed = Log(OLD)
        changed.fill(5)
        other = statement[:at] + chr(ord(statement[at]) ^ 1) + statement[at + 1 :]
        changed.rotate(NEW, statement=other)
        assert changed.verify(log_key=OLD.text).first_bad == seq


# ---- a continuity break --------------------------------------------------------------------------------------------


def test_a_continued_log_verifies_by_its_new_key_with_what_was_kept_of_the_old_name() -> None:
    log, seq = continued()
    kept = [log.sign(3, OLD), log.sign(seq - 1, OLD), log.sign(seq + 1, NEXT)]
    report = log.verify(None, *kept)
    assert report.ok, report.findings
    assert {state(report, step) for step in (HEAD, KEPT, KEYS)} == {"proved"}
    assert report.origin == OTHER


def test_the_key_of_the_old_name_does_not_vouch_for_what_came_after_the_break() -> None:
    log, seq = continued()
    report = log.verify(None, log.sign(3, OLD), log_key=OLD.text)
    assert report.ok
    assert state(report, HEAD) == "not checkable"
    assert state(report, KEPT) == "proved"
    assert f"entry {seq}" in report.checks[HEAD - 1].detail


def test_a_kept_checkpoint_of_what_was_given_up_names_the_order_that_did() -> None:
    lost = Log(OLD)
    lost.fill(5)
    same, beyond = lost.sign(6, OLD), None
    lost.add("health", part="store", state="ok", detail="what was lost")
    lost.fill(20)
    beyond = lost.sign(lost.size, OLD)
    short = lost.sign(7, OLD)
    log, seq = continued(
        lost_size=lost.size, lost_root=lost.root(lost.size).hex(), lost_note=beyond.decode()
    )  # fmt: skip
    assert log.verify(None, same).ok
    for kept in (short, beyond):
        report = log.verify(None, kept)
        assert report.counts == {"kept.lost": 1}, report.findings
        assert report.first_bad == seq
        assert f"entry {seq - 1}" in report.findings[0].message


def test_a_kept_checkpoint_of_the_old_name_that_was_rewritten_is_not_excused_by_the_break() -> None:
    true = Log(OLD)
    true.add("health", part="store", state="failed", detail="what is to be forgotten")
    kept = true.sign(2, OLD)
    log, _ = continued()  # nothing is said to be lost
    report = log.verify(None, kept)
    assert report.counts == {"kept.root": 1}
    assert report.findings[0].last == 1


@pytest.mark.parametrize(
    "change",
    [
        {"root": "0" * 64},
        {"size": 5},
        {"size": 7},
        {"was": OTHER},
        {"key": Pair(4, ORIGIN).text},
        {"key": "no key"},
        {"ordered": False},
        {"lost_note": "no note"},
        {"lost_note": Log(OLD).sign(1, OLD).decode(), "lost_size": 2, "lost_root": "0" * 64},
    ],
)
def test_a_break_that_does_not_say_what_is_there(change: dict[str, Any]) -> None:
    log, seq = continued(**change)
    report = log.verify(log.sign(log.size, NEXT), log_key=OLD.text)
    assert "log.continued" in report.counts
    assert report.first_bad == seq


def test_an_origin_that_changes_without_a_break_and_a_break_into_a_name_borne_before() -> None:
    log = Log(OLD)
    log.fill(4)
    log.origin, log.pair = OTHER, NEXT
    log.fill(2)
    report = log.verify(log_key=OLD.text)
    assert report.counts["entry.origin"] == 2
    assert report.first_bad == 5
    log, _ = continued()
    seq = log.go_on(OLD)
    report = log.verify(log_key=NEXT.text)
    assert "log.continued" in report.counts
    assert report.first_bad == seq


def test_a_break_told_twice() -> None:
    log, seq = continued(after=0)
    log.add("continued", **log.entries[seq]["body"])
    report = log.verify(log_key=NEXT.text)
    assert report.first_bad == seq + 1


def test_a_citation_of_an_entry_under_a_name_that_was_not_in_force() -> None:
    leaf = continued()[0].rows()[2][2].hex()
    for origin, ok in ((OTHER, True), (ORIGIN, False)):
        log, _ = continued()
        cites = log.add("health", envelope={"refs": [[origin, 2, leaf]]}, part="store", state="ok", detail="")
        report = log.verify()
        assert report.ok is ok
        assert ok or report.counts == {"entry.citation": 1}
        assert ok or report.first_bad == cites


def test_a_head_under_the_old_name_over_entries_of_the_new_one_and_the_other_way_round() -> None:
    log, seq = continued()
    assert log.verify(log.sign(log.size, OLD)).counts == {"head.signature": 1}
    assert log.verify(None, log.sign(3, NEXT)).counts == {"kept.unsigned": 1}
    both = log.verify(None, log.sign(log.size, OLD))  # the old key is out there, and signs on
    assert both.counts == {"kept.lost": 1}
    assert both.first_bad == seq


# ---- the tail beyond the head --------------------------------------------------------------------------------------


def test_what_lies_beyond_the_head_is_said_and_not_accused() -> None:
    log = Log(OLD)
    log.fill(10)
    for size in range(1, log.size + 1):
        report = log.verify(log.sign(size, OLD))
        assert report.ok
        assert report.unsealed == log.size - size
        assert (f"unsealed tail: {report.unsealed}" in report.checks[HEAD - 1].detail) is (report.unsealed > 0)


@pytest.mark.requirement("R13.25")
@pytest.mark.parametrize(
    ("first", "ok"),
    [
        ("node.started", True), ("clock", True), ("outcome", True), ("order", True),
        ("health", True), ("decision", False), ("node.stopped", False), ("run.opened", False), ("heads", False),
    ],
)  # fmt: skip
def test_entries_written_to_a_ledger_that_lay_closed(first: str, ok: bool) -> None:
    log = Log(OLD)
    log.fill(3)
    log.add("node.stopped", reason="asked to")
    head = log.sign(log.size, OLD)
    body: dict[str, Any] = {"root": "", "agents": 0, "upto": 0} if first == "heads" else {}
    seq = log.add(first, **body)
    log.fill(2)
    report = log.verify(head)
    assert ("head.beyond" not in report.counts) is ok
    assert report.unsealed == 3
    if not ok and first != "heads":
        assert report.first_bad == seq
        assert report.findings[0].exact


def test_a_head_that_covers_entries_which_are_not_there() -> None:
    log = Log(OLD)
    log.fill(10)
    report = log.verify(rows=log.rows()[:7])
    assert report.counts == {"head.cut": 1}
    assert report.first_bad == 7
    assert report.unsealed == 0


def test_a_subtree_hash_made_new_is_exact_below_the_head_and_a_range_beyond_it() -> None:
    log = Log(OLD)
    log.fill(10)
    for sealed in (4, 8, log.size):
        rows = log.rows()
        seq, data, leaf, nodes = rows[7]
        rows[7] = seq, data, leaf, nodes[:-1] + bytes([nodes[-1] ^ 1])
        report = log.verify(log.sign(sealed, OLD), rows=rows)
        assert set(report.counts) == {"entry.nodes"}
        assert report.findings[0].exact is (sealed > 7)
        assert (report.findings[0].first, report.findings[0].last) == (7 if sealed > 7 else 0, 7)


def test_every_byte_of_the_head_changed_with_entries_beyond_it() -> None:
    log, _ = rotated()
    head = log.sign(log.size - 2, NEW)
    for at in range(len(head)):
        for flip in (1, 32):
            changed = head[:at] + bytes([head[at] ^ flip]) + head[at + 1 :]
            ledger = [(1, log.size - 2, changed)]
            for trusted in (OLD, NEW):
                report = log.verify(head, log_key=trusted.text, checkpoints=ledger)
                assert not report.ok, (at, flip)
                assert report.unsealed == log.size or "head.signature" not in report.counts
