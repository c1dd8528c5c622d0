"""Backdate: the attacker has everything, keys and clock too, and lets entries say another time than they were written.

Time only goes forward in a ledger, and what a kept checkpoint covers was there when it was kept. Nothing here proves an
instant: that takes a timestamp of somebody else's clock.
"""

from __future__ import annotations

from pathlib import Path

from failwell.core.instants import format_at, parse_at
from failwell.node import audit
from tests.attacks.ledger.judging import Ground, caught, undetected
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import replace

DAY_US = 86_400_000_000


def test_every_entry_dated_before_the_one_before_it(ground: Ground) -> None:
    for entry in ground.entries[2:]:
        forger = ground.forger()
        earlier = format_at(parse_at(ground.entries[entry.seq - 1].at) - 1)
        forger.change(entry.seq, lambda e: replace(e, at=earlier), resign=True)  # noqa: B023
        report = forger.verify()
        caught(report, code="entry.time")
        found = report.findings[0]
        assert (found.first or 0) <= entry.seq <= (found.last or 0) + 1


def test_the_end_of_the_record_backdated_to_where_time_allows_it_is_found_by_a_kept_checkpoint(ground: Ground) -> None:
    """The last commit said to be from the instant of the one before it."""
    commit = [entry.seq for entry in ground.entries if entry.at == ground.entries[-1].at]
    before = ground.entries[commit[0] - 1].at
    forger = ground.forger()
    forger.store([replace(e, at=before) if e.seq in commit else e for e in ground.entries], resign=True)
    undetected(forger.verify())
    caught(forger.verify(ground.kept(commit[0]), ground.kept()), within=(commit[0], ground.size - 1))
    ground.hold(forger)


def test_a_whole_record_backdated_is_found_by_a_kept_checkpoint(ground: Ground) -> None:
    """All times moved by a year, signed again: orders carry their own time under their person's key."""
    forger = ground.forger()
    forger.store([replace(e, at=format_at(parse_at(e.at) - 365 * DAY_US)) for e in ground.entries], resign=True)
    caught(forger.verify(ground.kept()), within=(0, ground.size - 1))


def test_a_ledger_made_today_that_says_it_is_of_last_year_passes_below_a_qualified_timestamp(tmp_path: Path) -> None:
    """Every key is the attacker's own, the clock as well: nobody outside ever saw this ledger."""
    clock = ledgers.StepClock(wall_us=ledgers.START_US - 365 * DAY_US)
    with ledgers.fresh(tmp_path / "w", clock=clock) as made:
        ledgers.begin(made)
        kept = made.sealed()
    undetected(audit.verify_workspace(tmp_path / "w"))
    undetected(audit.verify_workspace(tmp_path / "w", checkpoints=[kept]))
