"""Random bytes are handed out once, by one process."""

from __future__ import annotations

import itertools
import os

import pytest

from failwell.ledger import entropy as pools
from failwell.ledger.entropy import Entropy


def numbered() -> Entropy:
    """From a source whose every four bytes are another number."""
    numbers = itertools.count()
    return Entropy(lambda count: b"".join(next(numbers).to_bytes(4) for _ in range(-(-count // 4))))


def test_no_bytes_are_handed_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "POOL_BYTES", 64)
    draw = numbered()
    drawn = [draw(count) for count in (12, 16, 56, 4, 200, 16, 64) * 20]
    words = [each[start : start + 4] for each in drawn for start in range(0, len(each), 4)]
    assert [len(each) for each in drawn] == [12, 16, 56, 4, 200, 16, 64] * 20
    assert len(words) == len(set(words))


def test_what_was_handed_out_is_kept_nowhere() -> None:
    draw = Entropy()
    key = draw(32)
    assert key not in bytes(draw._pool)


def test_a_process_that_was_forked_draws_bytes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: parent and child hold the same pool, and seal two blobs under one nonce."""
    draw = Entropy()
    draw(16)
    left = bytes(draw._pool)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert draw(16) not in left
