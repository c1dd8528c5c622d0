"""The guard's memory taken away or exchanged: the attacker can write the guard's directory.

Deleted, damaged, another guard's or an older one in its place: nothing is signed, nothing is begun anew, and the record
is only read until a person orders to go on.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from failwell.core.errors import FailwellError
from failwell.guard.sealing import LocalGuard
from failwell.node import assembly, audit, guarding
from failwell.node.workspace import Workspace
from tests.attacks.ledger.judging import TALLY, caught, fair
from tests.unit.verify import ledgers


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A workspace at rest; its guard lies beside it, in `shop.guard`."""
    return ledgers.small(tmp_path / "shop")


def start(path: Path) -> FailwellError | None:
    """Why a node that starts here writes nothing; None where it would write."""
    workspace = Workspace(path)
    book = assembly.open_book(workspace, workspace.open_keys(), ledgers.StepClock())
    guard, behind = guarding.open_guard(workspace, book)
    guard.close()
    book.storage.close()
    return behind


def refused(path: Path) -> FailwellError:
    TALLY.attacks += 1
    before = (path / "ledger.db").read_bytes()
    behind = start(path)
    assert behind is not None
    assert (path / "ledger.db").read_bytes() == before
    TALLY.detected += 1
    return behind


def test_an_untouched_guard_is_not_accused(shop: Path) -> None:
    assert start(shop) is None
    fair(audit.verify_workspace(shop))


def test_the_guards_directory_deleted(shop: Path) -> None:
    shutil.rmtree(shop.with_name("shop.guard"))
    refused(shop)
    assert not shop.with_name("shop.guard").exists()  # nobody made a new one that remembers nothing


def test_a_fresh_guard_of_the_same_name_in_its_place(shop: Path) -> None:
    origin = Workspace(shop).origin()
    shutil.rmtree(shop.with_name("shop.guard"))
    LocalGuard.create(shop.with_name("shop.guard"), origin).close()
    assert "another key" in refused(shop).message


def test_a_fresh_guard_with_its_key_published_as_well(shop: Path) -> None:
    """The ledger's own first entry names the true key."""
    workspace = Workspace(shop)
    shutil.rmtree(shop.with_name("shop.guard"))
    fresh = LocalGuard.create(shop.with_name("shop.guard"), workspace.origin())
    workspace.log_pub.write_text(fresh.key + "\n")
    fresh.close()
    caught(audit.verify_workspace(shop), code="head.genesis")
    refused(shop)


def test_the_guard_of_another_log_in_its_place(shop: Path, tmp_path: Path) -> None:
    ledgers.small(tmp_path / "other")
    shutil.rmtree(shop.with_name("shop.guard"))
    shutil.copytree(tmp_path / "other.guard", shop.with_name("shop.guard"))
    refused(shop)


def test_the_guards_memory_damaged_in_both_copies(shop: Path, rng: random.Random) -> None:
    state = shop.with_name("shop.guard") / "state"
    whole = state.read_bytes()
    for _ in range(6):
        data = bytearray(whole)
        for slot in (0, 4096):
            data[slot + rng.randrange(400)] ^= 1 << rng.randrange(8)
        state.write_bytes(bytes(data))
        refused(shop)
    state.write_bytes(whole)
    assert start(shop) is None


@pytest.mark.requirement("R13.15")
def test_an_older_memory_of_the_guard_put_back_alone(tmp_path: Path) -> None:
    """It would sign another future from there; the record's own checkpoint says that it had signed more."""
    path, guard = tmp_path / "shop", tmp_path / "shop.guard"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
    shutil.copytree(guard, tmp_path / "older")
    with ledgers.reopened(path, ledgers.StepClock(boot="b" * 32)) as made:
        ledgers.work(made)
        kept = made.sealed()
    shutil.rmtree(guard)
    shutil.copytree(tmp_path / "older", guard)
    assert "of which its guard remembers 24" in refused(path).message
    fair(audit.verify_workspace(path, checkpoints=[kept]))  # nothing is wrong with the record
