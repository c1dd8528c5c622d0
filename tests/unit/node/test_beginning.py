"""A workspace's beginning, cut off at each of its steps: it is never used half made, and is made by asking again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from failwell.core.errors import InputError, NotFound
from failwell.identity import keys
from failwell.identity.persons import Signer
from failwell.node.audit import verify_workspace
from failwell.node.beginning import begin
from failwell.node.service import Node
from failwell.node.workspace import Workspace, find_workspace

STEPS = (
    "failwell.identity.keys.save_secret",
    "failwell.guard.sealing.LocalGuard.create",
    "failwell.node.workspace.Workspace.guarded_by",
    "failwell.storage.sqlite.create",
    "failwell.node.assembly.open_book",
    "failwell.node.beginning.sign_order",
    "failwell.node.beginning.write_now",
    "failwell.ledger.writer.Writer.close",
)


class CutError(BaseException):
    """Ends everything, as a kill would; no handler of ours takes it for a failure of its own."""


def ask(path: Path) -> None:
    anna = Signer("anna", keys.from_seed(b"a" * 32))
    text = "[node]\nidle_s = 0\n"
    begin(Workspace(path), anna, email=None, roles=("operator",), settings_toml=text, guard_place=path.with_name("g"))


@pytest.mark.parametrize("step", STEPS)
def test_a_beginning_that_was_cut_off_is_made_again_by_asking_again(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: Any, **__: Any) -> None:
        raise CutError

    path = tmp_path / "w"
    with monkeypatch.context() as patch:
        patch.setattr(step, cut)
        with pytest.raises(CutError):
            ask(path)
    with pytest.raises(NotFound, match="cut off"):
        Node(Workspace(path))
    if (path / "ledger.db").exists():
        with pytest.raises(NotFound, match="cut off"):
            find_workspace(str(path), {}, tmp_path)
    if (tmp_path / "g").exists():  # by itself a guard's place is named at random, so no second beginning finds it
        (tmp_path / "g").rename(tmp_path / "g-former")
    ask(path)
    assert find_workspace(str(path), {}, tmp_path).path == path
    report = verify_workspace(path)
    assert report.ok, report.findings


def test_a_beginning_on_a_workspace_that_is_there_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w"
    ask(path)
    before = {each: each.read_bytes() for each in path.rglob("*") if each.is_file()}
    with pytest.raises(InputError, match="is a workspace already"):
        ask(path)
    assert {each: each.read_bytes() for each in path.rglob("*") if each.is_file()} == before


def test_a_directory_that_others_can_read_and_that_holds_settings_becomes_a_workspace(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.mkdir()
    path.chmod(0o755)
    (path / "failwell.toml").write_text("[node]\nidle_s = 0\n")
    ask(path)
    assert verify_workspace(path).ok


def test_a_false_mark_makes_nobody_lose_a_record(tmp_path: Path) -> None:
    """Attack: one file is made in a living workspace, and the operator is told to make it again."""
    path = tmp_path / "w"
    ask(path)
    record = (path / "ledger.db").read_bytes()
    (path / "unfinished").touch()
    (tmp_path / "g").rename(tmp_path / "g-former")
    ask(path)
    assert [each.read_bytes() for each in path.glob("cut-off-*/ledger.db")] == [record]
    assert len(list(path.glob("cut-off-*/*.key"))) == 2
