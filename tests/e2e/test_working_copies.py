"""A hold in a real node: where its agent works is copied, told, exported, and a copy that is altered is found."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import orders as o
from failwell.core.errors import Corrupt, InputError, Refused
from failwell.node.audit import verify_workspace
from failwell.node.hold_export import export_hold
from tests.simulate.fixtures import model, stage
from tests.simulate.house import SETTINGS, House, NodeProcess, apply, await_true

__all__ = ["stage"]

PLAN = "send it to everybody"


class Scene:
    """A house whose agent was suspended, with what lay where it worked at that time."""

    def __init__(self, house: House, work: Path) -> None:
        self.house = house
        self.work = work
        self.node: NodeProcess = house.node(crashing=True)

    def hold(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.house.ask("hold", number)
        return found

    def preserved(self, number: int) -> dict[str, Any]:
        """The hold, once nothing is owed to it."""

        def done() -> dict[str, Any] | None:
            told = self.hold(number)
            return told if told["directories"] and len(told["preserved"]) == len(told["directories"]) else None

        found: dict[str, Any] = await_true(done)
        return found


@pytest.fixture(scope="module")
def scene(stage: Path) -> Iterator[Scene]:
    house = model().copy(stage / "held")
    work = stage / "work"
    (work / "notes").mkdir(parents=True)
    (work / "notes" / "plan.txt").write_text(PLAN)
    (work / "keys").symlink_to(house.workspace.keys)
    made = Scene(house, work)
    declared = json.dumps([str(work), str(work / "not-there"), "."])
    settings = f'[preserve.bot]\nagent = "refund-bot"\ndirectories = {declared}\n[keepers]\n"note.*" = "cleo"\n'
    apply(house, SETTINGS + settings)
    house.suspend()
    yield made
    house.tear_down()


def test_where_a_suspended_agent_worked_is_copied_and_told_and_the_record_verifies(scene: Scene) -> None:
    told = scene.preserved(1)
    assert told["placed"]["incident"] == 1
    assert told["described"]["authority"] == "SUSPENDED"
    assert told["placed"]["at"] == told["described"]["at"]
    assert [(each["person"], each["tools"]) for each in told["asked"]] == [("cleo", ["note.send", "note.write"])]
    by_name = {each["name"]: each for each in told["copies"]}
    kept = by_name[str(scene.work)]
    assert (kept["files"], kept["bytes"], kept["complete"], kept["wrong"]) == (1, len(PLAN), True, None)
    assert by_name[str(scene.work / "not-there")]["missing"] == "all of it: No such file or directory"
    assert by_name["."]["missing"] == "all of it: it is our own workspace"
    assert PLAN.encode() not in b"".join(path.read_bytes() for path in scene.house.workspace.path.rglob("*.copy"))
    scene.house.verify()


def test_what_was_preserved_comes_out_as_it_was_and_into_a_new_directory_alone(scene: Scene, tmp_path: Path) -> None:
    scene.preserved(1)
    found = export_hold(scene.house.workspace, 1, tmp_path / "out")
    (archive,) = [each.archive for each in found if each.archive is not None]
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as opened:
        file = opened.extractfile("files/notes/plan.txt")
        assert file is not None
        assert file.read() == PLAN.encode()
        listing = opened.extractfile("listing.json")
        assert listing is not None
        assert json.loads(listing.read())["links"] == [["keys", str(scene.house.workspace.keys)]]
    with pytest.raises(InputError, match="cannot be made"):
        export_hold(scene.house.workspace, 1, tmp_path / "out")


@pytest.mark.parametrize("attack", ["changed", "missing"])
@pytest.mark.requirement("R9.21")
def test_a_copy_that_was_altered_or_taken_away_is_found(scene: Scene, tmp_path: Path, attack: str) -> None:
    kept = next(each for each in scene.preserved(1)["copies"] if each["digest"])
    path = scene.house.workspace.path / "blobs" / f"{kept['digest']}.copy"
    held = path.read_bytes()
    if attack == "changed":
        path.write_bytes(held[:-1] + bytes([held[-1] ^ 1]))
    else:
        path.unlink()
    try:
        report = verify_workspace(scene.house.workspace.path)
        (found,) = [finding for finding in report.findings if finding.code == "hold.copy"]
        assert found.entry == kept["entry"]
        assert attack in found.message
        wrong = {each["name"]: each["wrong"] for each in scene.hold(1)["copies"]}
        assert attack in str(wrong[kept["name"]])
        with pytest.raises(Corrupt):
            export_hold(scene.house.workspace, 1, tmp_path / "out")
    finally:
        path.write_bytes(held)
        os.chmod(path, 0o600)


def test_what_a_dead_node_left_unfinished_is_copied_by_the_next_one(scene: Scene) -> None:
    house = scene.house
    house.hand("anna").give("hold.place", o.HoldPlace(agent=house.full("refund-bot"), incident=None, reason="look"))
    scene.node.kill()
    house.hang_up()
    part = house.workspace.path / "blobs" / "feed.part"
    part.write_bytes(b"half")
    scene.node = house.node(crashing=True)
    told = scene.preserved(2)
    assert [each["hold"] for each in told["copies"]] == [2, 2, 2]
    assert not part.exists()
    house.verify()


def test_a_hold_is_not_lifted_over_the_socket_by_one_person_nor_while_its_incident_is_open(scene: Scene) -> None:
    house = scene.house
    with pytest.raises(Refused, match="not over"):
        house.hand("anna").give("hold.propose", o.HoldPropose(hold=1, reason="it is over"))
    house.hand("anna").give("hold.propose", o.HoldPropose(hold=2, reason="nothing was there"))
    proposal = house.ask("holds")["2"]["proposal"]
    with pytest.raises(Refused, match="another person lifts it"):
        house.hand("anna").give("hold.lift", o.HoldLift(hold=2, proposal=proposal))
    house.hand("bert").give("hold.lift", o.HoldLift(hold=2, proposal=proposal))
    assert house.ask("holds")["2"]["lifted"] is not None
    house.verify()
