"""Key rotation forged: the attacker puts a key of their own in force, or goes on with one that has ended.

A new key is named by an entry, under a person's order, by a note that old and new key both signed. From that entry on
heads are signed by the new key alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from failwell.core import kinds, note
from failwell.core.records import Draft
from failwell.guard.keypair import KeyPair
from failwell.guard.sealing import LocalGuard
from failwell.guard.state import peek
from failwell.identity import keys, persons
from failwell.node import audit, continuity
from failwell.node.workspace import Workspace
from failwell.ports.guard import GuardRefused
from tests.attacks.ledger.judging import TALLY, Ground, caught, fair, undetected
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace

#: As the second boot of these tests: behind whatever this machine's own clock says of the first.
LATER = ledgers.START_US + 10**15


class Rotated(NamedTuple):
    """A ledger whose key was changed: at which entry, from which key (which somebody kept), and a checkpoint by it."""

    path: Path
    image: Image
    entry: int
    was: KeyPair
    kept: bytes


def key_of(path: Path) -> KeyPair:
    """The key that a workspace's guard signs with, stolen."""
    pair = peek(Path(Workspace(path).guard_place())).pair
    assert pair is not None
    return pair


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Rotated:
    path = ledgers.small(tmp_path_factory.mktemp("rotated") / "shop")
    workspace = Workspace(path)
    kept = Image(path).checkpoint
    was = key_of(path)
    olga = persons.Signer("olga", keys.from_seed(b"\1" * 32))
    done = continuity.rotate_key(workspace, olga, "once a year", lambda shown: True)
    with ledgers.reopened(path, ledgers.StepClock(boot="d" * 32, wall_us=LATER)) as made:
        made.write(Draft(body=kinds.NodeStopped(reason="asked to"), actor="node"))
    return Rotated(path, Image(path), done.entry, was, kept)


def signed_by(pair: KeyPair, size: int, root: bytes) -> bytes:
    text = note.Checkpoint(pair.verifier.name, size, root).text()
    return note.sign(text, pair.verifier.name, pair.verifier.public, pair.sign)


@pytest.mark.requirement("R13.10")
def test_an_honest_change_of_key_is_not_accused_by_whoever_trusts_either_key(rotated: Rotated) -> None:
    for key in (rotated.was.key, rotated.image.log_key):
        fair(Forger(rotated.image).verify(log_key=key))
        fair(Forger(rotated.image).verify(rotated.kept, log_key=key))


@pytest.mark.requirement("R13.10")
def test_a_key_that_ended_signs_nothing_that_holds_its_end(rotated: Rotated) -> None:
    """Attack: somebody kept a copy of the old key."""
    size = rotated.image.size
    for covered in range(rotated.entry + 1, size + 1):
        forger = Forger(rotated.image)
        head = signed_by(rotated.was, covered, forger.root(covered))
        forger.sql("UPDATE checkpoint SET size = ?, note = ?", covered, head)
        for key in (rotated.was.key, rotated.image.log_key):
            caught(forger.verify(log_key=key), code="head.signature")
            caught(Forger(rotated.image).verify(head, log_key=key), code="kept.unsigned")


def test_the_new_key_signs_nothing_from_before_it_came(rotated: Rotated) -> None:
    for covered in (1, 30, rotated.entry):
        forger = Forger(rotated.image)
        forger.sql("UPDATE checkpoint SET size = ?, note = ?", covered, forger.sign(covered, forger.root(covered)))
        caught(forger.verify(), code="head.signature")
        caught(forger.verify(log_key=rotated.was.key), code="head.signature")


def test_the_history_before_the_change_shown_as_all_there_is_by_whoever_kept_the_old_key(rotated: Rotated) -> None:
    """A cut tail that the old key can sign: the published key, or any newer checkpoint, is not of that history."""
    for covered in (30, rotated.entry - 1):
        forger = Forger(rotated.image)
        forger.cut(covered, resign=False)
        forger.sql(
            "UPDATE checkpoint SET size = ?, note = ?", covered, signed_by(rotated.was, covered, forger.root(covered))
        )
        caught(forger.verify(), code="head.genesis")
        caught(forger.verify(rotated.image.checkpoint, log_key=rotated.was.key))


def test_the_change_taken_out_of_the_record(rotated: Rotated) -> None:
    forger = Forger(rotated.image)
    body = kinds.Health(part="storage", state="ok", detail="nothing happened here")
    forger.change(rotated.entry, lambda e: replace(e, actor="node", kind="health", body=body, refs=()), resign=True)
    for key in (rotated.was.key, rotated.image.log_key):
        report = forger.verify(log_key=key)
        caught(report)


def statements(origin: str, was: KeyPair, own: KeyPair, stranger: KeyPair) -> Iterator[str]:
    """What somebody without the old key can put in the place of its signature."""
    true = note.SignedNote.parse(note.sign_change(was.verifier, own.verifier, own.sign, own.sign))
    yield true.encode().decode()
    yield note.SignedNote(true.text, true.signatures[1:]).encode().decode()
    yield note.SignedNote(true.text, (true.signatures[1], true.signatures[1])).encode().decode()
    yield note.sign_change(stranger.verifier, own.verifier, stranger.sign, own.sign).decode()
    yield note.sign_change(own.verifier, stranger.verifier, own.sign, stranger.sign).decode()
    yield note.sign(f"{origin}\n", origin, own.verifier.public, own.sign).decode()
    yield ""
    yield "failwell/log-key/1"


@pytest.mark.requirement("R13.11")
def test_a_change_that_the_old_key_did_not_sign(ground: Ground) -> None:
    """By the file alone: own key in the entry, in the head, and published."""
    origin = ground.image.origin
    was = key_of(ground.workspace)
    own, stranger = KeyPair.generate(origin), KeyPair.generate(origin)
    for statement in statements(origin, was, own, stranger):
        forger = ground.forger()
        seq = forger.append(kinds.LogKey(was=was.key, key=own.key, statement=statement), "person:olga")
        forger.sql("UPDATE checkpoint SET note = ?", signed_by(own, seq + 1, forger.root(seq + 1)))
        for key in (ground.image.log_key, own.key):
            report = forger.verify(log_key=key)
            caught(report, code="key.statement")
            assert report.first_bad == seq
        caught(forger.verify(ground.kept(), log_key=stranger.key))
        ground.hold(forger)


def test_a_change_that_the_old_key_signed_and_no_person_ordered(ground: Ground) -> None:
    """The attacker has the guard's key: the statement holds, and is still nobody's order."""
    origin = ground.image.origin
    was, own = key_of(ground.workspace), KeyPair.generate(origin)
    statement = note.sign_change(was.verifier, own.verifier, was.sign, own.sign).decode()
    forger = ground.forger()
    seq = forger.append(kinds.LogKey(was=was.key, key=own.key, statement=statement), "person:olga")
    forger.sql("UPDATE checkpoint SET note = ?", signed_by(own, seq + 1, forger.root(seq + 1)))
    for key in (ground.image.log_key, own.key):
        report = forger.verify(log_key=key)
        caught(report, entry=seq, code="order.effect")


def test_a_change_played_a_second_time(rotated: Rotated) -> None:
    forger = Forger(rotated.image)
    body: Any = forger.entries()[rotated.entry].body
    seq = forger.append(body, "person:olga")
    report = forger.verify()
    caught(report)
    assert report.first_bad == seq


@pytest.mark.requirement("R13.12")
def test_the_old_key_is_nowhere_on_the_machine_any_more(rotated: Rotated) -> None:
    """Attack: read what the guard has, and go on with the old key."""
    workspace = Workspace(rotated.path)
    guard = LocalGuard.open(Path(workspace.guard_place()))
    TALLY.attacks += 1
    assert rotated.was.seed not in guard.state().seeds
    with pytest.raises(GuardRefused):
        guard.seal(rotated.entry, bytes(32), [])
    guard.close()
    TALLY.detected += 1
    fair(audit.verify_workspace(rotated.path))


def test_a_change_exchanged_by_whoever_kept_the_old_key_under_the_order_that_was_given(rotated: Rotated) -> None:
    """The order names the key that ends, for the next one is made by the guard: whoever stole the old one can write a
    hand-over to another. It passes for who trusts the old key alone; the published key, or a checkpoint, tells."""
    own = KeyPair.generate(rotated.image.origin)
    statement = note.sign_change(rotated.was.verifier, own.verifier, rotated.was.sign, own.sign).decode()
    forger = Forger(rotated.image)
    body = kinds.LogKey(was=rotated.was.key, key=own.key, statement=statement)
    forger.change(rotated.entry, lambda e: replace(e, body=body), resign=False)
    size = rotated.image.size
    forger.sql("UPDATE checkpoint SET note = ?", signed_by(own, size, forger.root(size)))
    undetected(forger.verify(log_key=rotated.was.key))
    caught(forger.verify(), code="head.genesis")
    caught(forger.verify(rotated.image.checkpoint, log_key=rotated.was.key), code="kept.unsigned")
