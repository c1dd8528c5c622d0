"""`ledger verify` as a person and a program meet it: what is not sealed yet, what the grade is, what it cost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from failwell.core import note
from failwell.core.cosignature import CosignerKey, add, cosign
from failwell.identity import keys
from failwell.node.workspace import Workspace
from tests.integration.shell import Shell, open_shell
from tests.simulate.guards import checkpoint_key
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    root = tmp_path_factory.mktemp("verify")
    ledgers.small(root / "ws")
    with open_shell(root) as opened:
        yield opened


def copied(shell: Shell, name: str) -> Path:
    return ledgers.small(shell.root / name)


def test_the_figures_of_a_verification_stand_beside_what_it_found(shell: Shell) -> None:
    told = shell.json("ledger", "verify")
    timing = told["timing"]
    assert 0 <= timing["core"]["elapsed_ms"] <= timing["full"]["elapsed_ms"] <= timing["elapsed_ms"]
    assert timing["core"]["entries_per_second"] > timing["full"]["entries_per_second"] > 0
    assert told["grade"]["grade"] == "C"
    assert told["unsealed"] == 0


def test_entries_that_are_not_sealed_yet_are_said_and_are_no_finding(shell: Shell) -> None:
    path = copied(shell, "behind")
    image = Image(path)
    early = Forger(image).sign(image.size - 5, Forger(image).root(image.size - 5))
    connection = apsw.Connection(str(path / "ledger.db"))
    connection.execute("UPDATE checkpoint SET size = ?, note = ?", (image.size - 5, early))
    connection.close()
    (path / "keys" / "guard").write_text("unix:/nowhere/guard.sock\n")  # what it signed cannot be read from here
    done = shell("ledger", "verify", at=path)
    assert done.first.startswith("The record verifies:")
    assert "The last 5 entries not sealed yet." in done.out.splitlines()[1]
    assert "unsealed tail: 5" in done.out
    assert "its memory is another user's" in " ".join(done.out.split())
    told = shell.json("ledger", "verify", at=path)
    assert (told["ok"], told["unsealed"]) == (True, 5)
    assert told["grade"]["entries"] == image.size - 5


def test_a_record_without_a_key_from_outside_is_not_said_to_be_this_logs(shell: Shell) -> None:
    path = copied(shell, "keyless")
    (path / "keys" / "log.pub").unlink()
    done = shell("ledger", "verify", at=path)
    assert "Not shown: that it is this log's record" in done.out.splitlines()[1]
    assert "Grade: none" in done.out


def test_what_witnesses_cosigned_is_told_by_their_published_keys(shell: Shell) -> None:
    workspace = Workspace(shell.workspace)
    key = checkpoint_key(workspace)
    witness = keys.from_seed(b"w" * 32)
    cosigner = CosignerKey("witness.example/w", witness.public)
    image = Image(shell.workspace)
    text = note.Checkpoint(image.origin, 9, Forger(image).root(9)).text()
    signed = note.sign(text, image.origin, key.public, key.sign)
    (shell.root / "kept").write_bytes(add(signed, cosign(signed, cosigner, 1_795_000_000, witness.sign)))
    (shell.root / "witnesses").write_text(f"# who may cosign\n{cosigner.text()}\n")
    done = shell("ledger", "verify", "--checkpoint", "kept", "--witness", "witnesses")
    said = " ".join(done.out.split())
    assert "1 of 1 known witnesses cosigned: witness.example/w over 9 entries" in said
    assert "Grade B for the first 9 entries" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"", "names no witness"), (b"nobody\n", "vkey"), (b"\xff\xfe", "cannot be read")],
)
def test_a_file_of_witnesses_that_names_none(shell: Shell, content: bytes | None, said: str) -> None:
    path = shell.root / "odd"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    assert said in shell("ledger", "verify", "--witness", "odd", code=2).err
