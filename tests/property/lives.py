"""Drawn workspaces, lived through and held against the reference, the verifier and a fold from nothing (I2, I4, I6).

    python -m tests.property.lives --worlds 500 --seed 7

prints one line and exits 1 at the first world in which anything does not hold.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from random import Random

import pytest

from failwell.core import kinds, projections
from failwell.identity import keys
from failwell.ledger import book as books
from failwell.ledger import vault as vaults
from failwell.storage import sqlite
from failwell.verify.conduct import Conduct
from failwell.verify.finding import Findings
from tests.property.worlds import World
from tests.unit.core.test_folds import memory
from tests.unit.gate.house import House, folded

STEPS = 90


def lived(seed: int | str, number: int, steps: int = STEPS) -> World:
    """A workspace of one to three agents after so many steps."""
    world = World(Random(f"{seed}/{number}"), 1 + number % 3)
    for _ in range(steps):
        world.step()
    return world


def forgetful(patch: pytest.MonkeyPatch) -> None:
    """An index from the first entry on, and a memory that lets go of what it can at once."""
    patch.setattr(sqlite, "INDEX_FROM", 0)
    patch.setattr(books, "SETTLE_ENTRIES", 4)
    patch.setattr(vaults, "KEPT_TOKENS", 1)
    patch.setattr(projections, "KEPT_WINDOWS", 1)
    patch.setattr(projections, "KEPT_ROWS", 0)


def holds(world: World, where: str) -> Counter[str]:
    """Hold everything that was decided against the reference, the verifier and a fold from nothing."""
    chronicle = world.judged()
    assert chronicle.wrong == [], where
    assert verified(world.house) == [], where
    state, made = folded((entry, world.house.book.leaf(entry.seq)) for entry in world.house.entries())
    assert made == world.house.stored(), where
    assert memory(world.house.state, state) == memory(state, state), where
    open_before: set[int] = set()
    for entry in world.house.entries():
        if isinstance(entry.body, kinds.Decision) and entry.body.verdict == "ALLOW":
            assert not entry.body.errors, (where, entry.seq)
            open_before.add(entry.seq)
        elif isinstance(entry.body, kinds.Outcome):
            open_before.remove(entry.body.decision)  # KeyError: it ended twice, or was never allowed
    return Counter(chronicle.verdicts)


def verified(house: House) -> list[str]:
    findings = Findings()
    conduct = Conduct(findings, keys.verify)
    for entry in house.entries():
        conduct.take(entry, house.book.leaf(entry.seq))
    conduct.end()
    codes = ("entry.", "decision.", "action.", "reaction.")
    return [finding.message for finding in findings.found() if finding.code.startswith(codes)]


def world_holds(seed: int | str, number: int) -> Counter[str]:
    """Live through one world, every second one with a forgetful memory; how many verdicts there were of each."""
    with pytest.MonkeyPatch.context() as patch:
        if number % 2:
            forgetful(patch)
        world = lived(seed, number)
    verdicts = holds(world, f"seed {seed}, world {number}")
    world.house.close()
    return verdicts


def main() -> int:
    """The campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=500)
    parser.add_argument("--seed", default="")
    given = parser.parse_args()
    seed, began, verdicts = given.seed or "20260101", time.monotonic(), Counter[str]()
    for number in range(given.worlds):
        try:
            verdicts += world_holds(seed, number)
        except Exception as wrong:  # noqa: BLE001  whatever it is, it is told with its seed
            sys.stdout.write(f"lives FAILED: seed {seed}, world {number}: {type(wrong).__name__}: {wrong}\n")
            return 1
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    sys.stdout.write(f"lives: {given.worlds} worlds hold ({told}); seed {seed}, {time.monotonic() - began:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
