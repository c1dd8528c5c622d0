"""The guard misled: the attacker is the node, or speaks to the guard in its place, and asks for another history.

They have the ledger file and every hash in it, and make the best proof that can be made. Whatever is asked, the guard
signs only what grows from what it signed, and goes on with the true history afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from failwell.core import merkle
from failwell.guard.sealing import LocalGuard
from failwell.ports.guard import GuardFailed, GuardRefused
from tests.attacks.ledger.judging import TALLY, Ground, hashes
from tests.unit.verify.forgery import replace

SIGNED = 40


@pytest.fixture
def guard(ground: Ground, tmp_path: Path) -> Iterator[LocalGuard]:
    """A guard of this log that has signed its first 40 entries."""
    made = LocalGuard.create(tmp_path / "guard", ground.image.origin)
    made.seal(SIGNED, ground.roots[SIGNED], [])
    yield made
    made.close()


@pytest.fixture
def refused(ground: Ground, guard: LocalGuard) -> Iterator[Callable[..., None]]:
    """Asserts that the guard refuses; at the end that it remembers the same and signs the true history."""
    before = guard.last()

    def refuse(size: int, root: bytes, path: list[bytes], since: int | None = None) -> None:
        TALLY.attacks += 1
        with pytest.raises((GuardRefused, GuardFailed)):
            guard.seal(size, root, path, since=since)
        assert guard.last() == before
        TALLY.detected += 1

    yield refuse
    path = merkle.consistency_path(SIGNED, ground.size, hashes(ground.forger()))
    assert guard.seal(ground.size, ground.roots[-1], path).size == ground.size


def test_a_rollback_to_every_earlier_size(ground: Ground, refused: Callable[..., None]) -> None:
    for size in range(SIGNED):
        for path in ([], merkle.consistency_path(size, SIGNED, hashes(ground.forger()))):
            refused(size, ground.roots[size], path)
            refused(size, ground.roots[size], path, size)


@pytest.mark.requirement("R13.13")
def test_another_history_of_every_size_with_the_best_proofs_there_are(
    ground: Ground, refused: Callable[..., None]
) -> None:
    """Forked at an entry that was signed: proofs of the fork's own tree, of the true one, of both."""
    true = hashes(ground.forger())
    for seq in (0, 17, SIGNED - 1):
        forger = ground.forger()
        forger.change(seq, lambda e: replace(e, mono_us=e.mono_us + 1), resign=False)
        fork = hashes(forger)
        for size in range(SIGNED, ground.size + 1):
            root = merkle.range_root(0, size, fork)
            false, honest = (merkle.consistency_path(SIGNED, size, get) for get in (fork, true))
            mixed = [ours if number % 2 else theirs for number, (ours, theirs) in enumerate(zip(false, honest))]  # noqa: B905
            for path in (false, honest, mixed, [], false[:-1], [*false, root]):
                refused(size, root, path)


def test_a_fork_beyond_what_was_signed_is_signed_once(ground: Ground, guard: LocalGuard) -> None:
    """Two futures of one past: whichever comes first is the history, the other one never is."""
    seq = SIGNED + 9
    forger = ground.forger()
    forger.change(seq, lambda e: replace(e, mono_us=e.mono_us + 1), resign=False)
    fork, true = hashes(forger), hashes(ground.forger())
    guard.seal(60, ground.roots[60], merkle.consistency_path(SIGNED, 60, true))
    for size in range(seq + 1, ground.size + 1):
        for start in (SIGNED, 60):
            TALLY.attacks += 1
            path = merkle.consistency_path(start, size, fork) if size >= start else []
            with pytest.raises((GuardRefused, GuardFailed)):
                guard.seal(size, merkle.range_root(0, size, fork), path, since=start)
            TALLY.detected += 1
    assert guard.grown() == (60, ground.roots[60])


def test_a_true_head_with_any_hash_of_its_proof_changed(
    ground: Ground, refused: Callable[..., None], rng: random.Random
) -> None:
    true = hashes(ground.forger())
    for size in range(SIGNED + 1, ground.size + 1):
        path = merkle.consistency_path(SIGNED, size, true)
        for at in range(len(path)):
            changed = bytearray(path[at])
            changed[rng.randrange(32)] ^= 1 << rng.randrange(8)
            refused(size, ground.roots[size], [*path[:at], bytes(changed), *path[at + 1 :]])
        refused(size, rng.randbytes(32), path)
        refused(size, ground.roots[size - 1], path)
