"""Split view: the attacker shows one history to one person and another to somebody else, each of them genuine.

Whoever holds the log key can sign both. Two people who compare what they were shown have proof: no ledger agrees with
both checkpoints, and no consistency proof joins them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from failwell.core import kinds, merkle, proof
from failwell.core.errors import Corrupt, FailwellError
from failwell.core.records import Draft
from failwell.guard.sealing import LocalGuard
from failwell.node import assembly, audit
from failwell.node.workspace import Workspace
from tests.attacks.ledger.judging import TALLY, Ground, caught, fair, hashes, undetected
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, replace


def other_view(ground: Ground, seq: int) -> Forger:
    """The same history but for one entry, signed with the same key."""
    forger = ground.forger()
    forger.change(seq, lambda e: replace(e, boot="e" * 32 if seq < 2 else e.boot, mono_us=e.mono_us + 1), resign=True)
    return forger


VIEWS = (21, 24, 36, 52, 59, 69)


@pytest.mark.parametrize("seq", VIEWS)
def test_each_view_agrees_with_its_own_checkpoint_and_none_with_both(ground: Ground, seq: int) -> None:
    forger = other_view(ground, seq)
    theirs: bytes = forger.one("SELECT note FROM checkpoint")
    fair(ground.forger().verify(ground.kept()))
    if (alone := forger.verify(theirs)).ok:
        undetected(alone)
    caught(forger.verify(theirs, ground.kept()), within=(0, ground.size - 1))
    caught(ground.forger().verify(ground.kept(), theirs), within=(0, ground.size - 1), code="kept.root")
    caught(ground.forger().verify(ground.kept(seq), theirs), within=(seq, ground.size - 1), code="kept.root")


@pytest.mark.parametrize("seq", VIEWS)
@pytest.mark.requirement("R13.7")
def test_two_checkpoints_of_one_log_that_no_consistency_proof_joins(ground: Ground, seq: int) -> None:
    """By two people who have no ledger at all: whatever path they are given, made of either view, it is refused."""
    forger = other_view(ground, seq)
    get = hashes(forger)
    new = forger.root(ground.size)
    for size in range(seq + 1, ground.size + 1):
        path = merkle.consistency_path(size, ground.size, get)
        TALLY.attacks += 1
        with pytest.raises(Corrupt, match="consistency"):
            proof.verify_consistency(size, ground.roots[size], ground.size, new, path)
        TALLY.detected += 1
    for size in range(1, seq + 1):  # up to where they part, both are one history
        proof.verify_consistency(
            size, ground.roots[size], ground.size, new, merkle.consistency_path(size, ground.size, get)
        )


@pytest.fixture
def twins(tmp_path: Path) -> Iterator[tuple[ledgers.Made, ledgers.Made]]:
    """A workspace and a copy of it, both run at once, by nodes that ask one guard (as one behind a socket is asked)."""
    path = tmp_path / "shop"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
    shutil.copytree(path, tmp_path / "twin")
    guard = LocalGuard.open(tmp_path / "shop.guard")
    found = []
    for each in (path, tmp_path / "twin"):
        workspace = Workspace(each)
        clock = ledgers.StepClock(mono_us=10_000_000_000)
        book = assembly.open_book(workspace, workspace.open_keys(), clock)
        found.append(ledgers.Made(each, clock, assembly.sealed_writer(book, guard), workspace.open_keys()))
    yield found[0], found[1]
    for made in found:
        made.writer.close()


def health(text: str) -> Draft:
    return Draft(body=kinds.Health(part="storage", state="ok", detail=text), actor="node")


@pytest.mark.requirement("R13.14")
@pytest.mark.parametrize("more", [1, 2, 3, 9])
def test_a_copy_run_beside_the_original_is_the_second_history_and_gets_no_seal(
    twins: tuple[ledgers.Made, ledgers.Made], more: int
) -> None:
    """Shorter, as long, longer: no permit that waits for a seal takes the seal of the other history for its own."""
    first, second = twins
    first.write(*(health(f"here {number}") for number in range(3)))
    kept = first.sealed()
    second.write(*(health(f"there {number}") for number in range(more)))
    for size in range(first.book.state.size - 3 + 1, second.book.state.size + 1):
        TALLY.attacks += 1
        with pytest.raises(FailwellError):
            second.writer.seals.wait(size).result(10)
        TALLY.detected += 1
    assert second.book.storage.checkpoint() != kept
    first.write(health("on"))
    first.sealed()
    fair(audit.verify_workspace(first.path))
    caught(audit.verify_workspace(second.path, checkpoints=[kept]))
