"""Cut the tail: the attacker takes the newest entries away, with all that belongs to them."""

from __future__ import annotations

import pytest

from tests.attacks.ledger.judging import Ground, caught, kept_unchecked, undetected


@pytest.mark.requirement("R13.4")
def test_the_end_cut_off_at_every_entry_under_the_checkpoint_that_was_there(ground: Ground) -> None:
    for size in range(1, ground.size):
        forger = ground.forger()
        forger.cut(size, resign=False)
        caught(forger.verify(), entry=size, code="head.cut")
        ground.hold(forger)


@pytest.mark.requirement("R13.4")
def test_the_end_cut_off_at_every_entry_and_signed_again_is_found_by_a_kept_checkpoint(ground: Ground) -> None:
    for size in range(1, ground.size):
        forger = ground.forger()
        forger.cut(size, resign=True)
        report = forger.verify(ground.kept())
        caught(report, entry=size, code="kept.cut")
        ground.hold(forger)


def test_the_end_cut_off_and_signed_again_passes_where_nobody_kept_a_checkpoint(ground: Ground) -> None:
    """Where a commit ends, a shorter history is a history. In the middle of one, what followed by rule is missing."""
    passed = 0
    for size in range(1, ground.size, 2):
        forger = ground.forger()
        forger.cut(size, resign=True)
        report = forger.verify()
        if report.ok:
            undetected(report)
            assert kept_unchecked(report)
            passed += 1
        else:
            caught(report, within=(0, size))
    assert passed > 10
