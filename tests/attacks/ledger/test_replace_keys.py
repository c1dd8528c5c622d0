"""Replace keys: the attacker has the file and the published key, and exchanges both for their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from failwell.core import note
from failwell.identity import keys
from failwell.node import audit
from failwell.verify.finding import HEAD
from tests.attacks.ledger.judging import Ground, caught, undetected
from tests.unit.verify.forgery import Forger, replace

FAKE = keys.from_seed(b"f" * 32)


@pytest.fixture
def forged(ground: Ground) -> tuple[Forger, str]:
    """Genesis, checkpoint and published half all of another key; its vkey."""
    forger = ground.forger()
    own = note.VerifierKey(ground.image.origin, FAKE.public).text()
    forger.change(0, lambda e: replace(e, body=replace(e.body, log_key=own)), resign=False)
    text = note.Checkpoint(ground.image.origin, ground.size, forger.root(ground.size)).text()
    forger.sql("UPDATE checkpoint SET note = ?", note.sign(text, ground.image.origin, FAKE.public, FAKE.sign))
    return forger, own


def test_a_log_that_chose_its_own_judge_is_held_against_the_key_from_outside(
    ground: Ground, forged: tuple[Forger, str]
) -> None:
    forger, _ = forged
    caught(forger.verify(), code="head.signature")


def test_a_log_that_chose_its_own_judge_is_found_by_a_kept_checkpoint(
    ground: Ground, forged: tuple[Forger, str]
) -> None:
    forger, own = forged
    undetected(forger.verify(log_key=own))  # nobody outside kept key or checkpoint: nothing is left to compare
    caught(forger.verify(ground.kept(), log_key=own), code="kept.unsigned")


def test_only_the_published_key_exchanged(ground: Ground, tmp_path: Path) -> None:
    """Genuine entries under a key that signed none of them."""
    own = note.VerifierKey(ground.image.origin, FAKE.public).text()
    workspace = Path(shutil.copytree(ground.workspace, tmp_path / "w"))
    (workspace / "keys" / "log.pub").write_text(own + "\n")
    caught(audit.verify_workspace(workspace), code="head.signature")
    assert audit.verify_workspace(workspace, log_key=ground.image.log_key).ok


def test_the_published_key_taken_away_is_said_not_passed_over(ground: Ground, tmp_path: Path) -> None:
    """Without any key from outside the head is not checkable, and no checkpoint kept elsewhere can be opened."""
    workspace = Path(shutil.copytree(ground.workspace, tmp_path / "w"))
    (workspace / "keys" / "log.pub").unlink()
    assert audit.verify_workspace(workspace).checks[HEAD - 1].state == "not checkable"
    caught(audit.verify_workspace(workspace, checkpoints=[ground.kept()]), code="kept.unsigned")
    caught(audit.verify_workspace(workspace, log_key="not a key"), code="head.key")
