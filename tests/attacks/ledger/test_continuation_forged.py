"""A continued log forged: the attacker loses entries on purpose, or in secret, and goes on under another name.

A log that was found behind its guard goes on by a person's order, and the first entry under the new name says what is
there and what was lost. Whoever kept a checkpoint of what was lost is told by which order.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from failwell.core import kinds, note
from failwell.core.records import Draft, Entry
from failwell.guard.keypair import KeyPair
from failwell.guard.sealing import LocalGuard
from failwell.identity import keys, persons
from failwell.node import continuity
from failwell.node.workspace import Workspace
from failwell.ports.guard import GuardRefused
from tests.attacks.ledger.judging import TALLY, Ground, caught, fair
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace


class Continued(NamedTuple):
    """A ledger that lost its end and went on: what people had kept of it before and after the loss."""

    image: Image
    before: Image
    entry: int
    origin: str
    retired: Path
    kept_of_rest: bytes
    kept_of_lost: bytes


@pytest.fixture(scope="module")
def continued(tmp_path_factory: pytest.TempPathFactory) -> Continued:
    place = tmp_path_factory.mktemp("continued")
    path = place / "shop"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FAILWELL_STATE", str(place / "state"))
        with ledgers.fresh(path) as made:
            ledgers.begin(made)
            kept_of_rest = made.sealed()
        shutil.copytree(path, place / "backup")
        with ledgers.reopened(path, ledgers.StepClock(boot="b" * 32)) as made:
            ledgers.work(made)
            kept_of_lost = made.sealed()
        before = Image(path)
        shutil.rmtree(path)
        shutil.copytree(place / "backup", path)
        workspace = Workspace(path)
        olga = persons.Signer("olga", keys.from_seed(b"\1" * 32))
        done = continuity.continue_log(workspace, olga, "the disk died", lambda shown: True)
        clock = ledgers.StepClock(boot="d" * 32, wall_us=ledgers.START_US + 10**15)
        with ledgers.reopened(path, clock) as made:
            made.write(Draft(body=kinds.NodeStopped(reason="asked to"), actor="node"))
        return Continued(Image(path), before, done.entry, done.was, place / "shop.guard", kept_of_rest, kept_of_lost)


def test_an_honest_continuation_is_not_accused_nor_what_was_kept_of_what_is_still_there(continued: Continued) -> None:
    fair(Forger(continued.image).verify())
    fair(Forger(continued.image).verify(continued.kept_of_rest))
    fair(Forger(continued.image).verify(continued.kept_of_rest, continued.image.checkpoint))


@pytest.mark.requirement("R13.16")
def test_entries_given_up_are_told_to_whoever_kept_a_checkpoint_of_them_with_the_order(continued: Continued) -> None:
    """Attack: restore a backup and order to go on, so that what came after it never was."""
    report = Forger(continued.image).verify(continued.kept_of_lost)
    caught(report, entry=continued.entry, code="kept.lost")
    assert f"given up by the order in entry {continued.entry - 1}" in report.findings[0].message


def test_the_guard_of_the_old_name_signs_nothing_any_more(continued: Continued) -> None:
    guard = LocalGuard.open(continued.retired)
    TALLY.attacks += 1
    size, root = guard.grown()
    with pytest.raises(GuardRefused, match="retired"):
        guard.seal(size + 1, root, [])
    guard.close()
    TALLY.detected += 1


@pytest.mark.requirement("R13.16")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("was", "failwell/" + "0" * 16),
        ("size", 5),
        ("root", "0" * 64),
        ("key", None),
        ("lost_size", None),
        ("lost_size", 30),
        ("lost_root", None),
        ("lost_root", "1" * 64),
        ("lost_note", "nothing was lost"),
        ("why", "no reason at all"),
    ],
)
def test_a_continuation_that_says_something_else_than_was_ordered_or_is_there(
    continued: Continued, field: str, value: Any
) -> None:
    """By whoever has the new guard's key: hashes, rows and signature made new."""
    if field == "key":
        value = KeyPair.generate(continued.image.origin).key
    forger = Forger(continued.image)
    forger.change(continued.entry, lambda e: replace(e, body=replace(e.body, **{field: value})), resign=True)
    report = forger.verify()
    caught(report)
    first = report.findings[0]
    # Another key in it makes the head one that nobody here can verify.
    assert field == "key" or (first.first or 0) <= continued.entry <= (first.last or 0), first


def test_what_was_lost_left_unsaid_is_found_by_the_checkpoint_of_what_was_lost(continued: Continued) -> None:
    forger = Forger(continued.image)
    forger.change(continued.entry, lambda e: replace(e, body=replace(e.body, lost_note=None)), resign=True)
    caught(forger.verify(continued.kept_of_lost), code="kept.lost")


def forged(ground: Ground, order: Entry[Any], own: KeyPair) -> Forger:
    """An order's entry and a continuation of the attacker's own behind the closed ledger, signed by their key."""
    last, size, origin = ground.entries[-1], ground.size, own.verifier.name
    behind = replace(
        order, seq=size, at=last.at, mono_us=last.mono_us, boot=last.boot, agent=None, aseq=None, aprev=None, refs=()
    )  # fmt: skip
    body = kinds.Continued(
        was=ground.image.origin, size=size, root=ground.roots[-1].hex(), key=own.key, lost_size=None, lost_root=None,
        lost_note=None, why="we moved",
    )  # fmt: skip
    forger = ground.forger()
    after = replace(behind, seq=size + 1, kind="continued", v=1, body=body, origin=origin)
    forger.store([*ground.entries, behind, after], resign=False)
    text = note.Checkpoint(origin, size + 2, forger.root(size + 2)).text()
    head = note.sign(text, origin, own.verifier.public, own.sign)
    forger.sql("UPDATE checkpoint SET size = ?, note = ?", size + 2, head)
    return forger


@pytest.mark.requirement("R13.16")
def test_a_continuation_that_nobody_ordered_is_found_whichever_key_it_is_judged_by(ground: Ground) -> None:
    """By the file alone: the attacker's own guard, key and name, behind an order that was given for something else."""
    own = KeyPair.generate("failwell/" + "e" * 16)
    for order in (entry for entry in ground.entries if isinstance(entry.body, kinds.Order)):
        forger = forged(ground, order, own)
        for key in (ground.image.log_key, own.key):
            report = forger.verify(log_key=key)
            caught(report)
            assert (report.first_bad or 0) >= ground.size
        caught(forger.verify(ground.kept(), log_key=ground.image.log_key))
        ground.hold(forger)


def test_entries_before_the_break_changed_by_the_new_guards_key_are_found_by_what_was_kept_of_them(
    continued: Continued,
) -> None:
    forger = Forger(continued.image)
    rest = continued.entry - 2
    for seq in range(2, rest):
        forger = Forger(continued.image)
        forger.change(seq, lambda e: replace(e, mono_us=e.mono_us + 1), resign=True)
        caught(forger.verify(continued.kept_of_rest), within=(0, continued.image.size - 1))
