"""Attacks on a record that its guard does not vouch for: have it written to, signed, renamed, or made to lose a stop.

The ledger file is older than its guard, or another one. Whatever is started on it may read, and leaves every byte of
the workspace as it is; what people ordered meanwhile is carried out once a node may write again.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from failwell.core.errors import FailwellError
from failwell.guard.sealing import LocalGuard
from failwell.guard.state import peek
from failwell.identity import keys
from failwell.identity.persons import Signer, prove_enrolment
from failwell.node import continuity
from failwell.node.clock import SystemClock
from failwell.node.guarding import Behind
from tests.e2e.test_guarded_node import roll_back
from tests.simulate.fixtures import house, stage
from tests.simulate.house import DOMAIN, House

__all__ = ["house", "stage"]


def yes(shown: dict[str, Any]) -> bool:
    return True


def rotate(house: House) -> None:
    continuity.rotate_key(house.workspace, house.persons["anna"], "once a year", yes)


def go_on(house: House) -> continuity.Continued:
    return continuity.continue_log(house.workspace, house.persons["anna"], "the disk was replaced", yes)


def contents(house: House) -> dict[str, bytes]:
    """Every file of the workspace but the lock, whose holder is no secret."""
    place = house.workspace.path
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.name != "node.lock"
    }


@contextmanager
def older_record(house: House, meanwhile: Callable[[House], object]) -> Iterator[None]:
    """The ledger file as it was before `meanwhile` happened; the newer one is put back at the end."""
    place = house.workspace.ledger
    old, new = house.root / "old.db", house.root / "new.db"
    shutil.copyfile(place, old)
    meanwhile(house)
    shutil.copyfile(place, new)
    shutil.copyfile(old, place)
    yield
    shutil.copyfile(new, place)


@pytest.mark.parametrize("meanwhile", [rotate, roll_back], ids=["another key", "entries"])
def test_a_node_on_an_older_record_leaves_every_byte_as_it_is(house: House, meanwhile: Callable[[House], Any]) -> None:
    """Attack: put a backup in place, and the start itself takes the newer key out of what is published."""
    with older_record(house, meanwhile):
        before = contents(house)
        node = house.node()
        assert house.ask("status")["health"] != "ok"
        assert house.ask("incidents") == {}
        with pytest.raises(FailwellError):
            house.agent()
        house.end(node)
        assert contents(house) == before


def test_a_backup_from_before_a_change_of_key_that_was_cut_off_is_read_only(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: nothing that was sealed is lost, and yet the guard would sign with a key that no entry names."""

    class CutError(Exception):
        pass

    def cut(*_: Any, **__: Any) -> None:
        raise CutError

    old = house.root / "old.db"
    shutil.copyfile(house.workspace.ledger, old)
    with monkeypatch.context() as patch:
        patch.setattr("failwell.node.continuity._seal", cut)
        with pytest.raises(CutError):
            rotate(house)
    shutil.copyfile(old, house.workspace.ledger)
    node = house.node()
    assert "change of key" in house.ask("status")["health"]
    house.end(node)
    assert go_on(house).lost_size is not None
    node = house.node()
    assert house.agent().write("after")["verdict"]["verdict"] == "ALLOW"
    house.end(node)
    house.verify()


def test_a_stop_by_somebody_whom_the_older_record_does_not_know_is_not_lost(house: House) -> None:
    """Attack: a backup from before a person was enrolled; their order is looked at, found strange, and put away."""

    dave = Signer("dave", keys.generate())

    def enrol(house: House) -> None:
        node = house.node()
        public = base64.b64encode(dave.key.public).decode()
        proof = prove_enrolment(dave, house.workspace.origin())
        house.hand("anna").enrol(dave, public, proof, ("approver",), f"dave@{DOMAIN}")
        house.end(node)

    house.persons = {**house.persons, "dave": dave}
    with older_record(house, enrol):
        node = house.node()
        assert not house.suspend(person="dave").confirmed
        house.ask("status")
        house.end(node)
        assert len(list(house.workspace.orders.glob("*.order"))) == 1
    node = house.node()
    house.end(node)
    assert house.entries("authority.changed")[-1]["body"]["now"] == "SUSPENDED"


def test_a_stop_that_was_ordered_under_the_former_name_is_carried_out_under_the_new_one(house: House) -> None:
    """Attack: agents that run on because the record was renamed between the order and its being read."""
    roll_back(house)
    assert not house.suspend().confirmed
    go_on(house)
    node = house.node()
    house.end(node)
    assert house.entries("authority.changed")[-1]["body"]["now"] == "SUSPENDED"
    house.verify()


@pytest.mark.parametrize("ceremony", [rotate, go_on, "said no"])
def test_a_ceremony_that_does_not_happen_writes_nothing(
    house: House, ceremony: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: after a reboot the time is entered before it is known whether this is the record that was signed."""

    def refuse(house: House) -> None:
        continuity.continue_log(house.workspace, house.persons["anna"], "no", lambda shown: False)

    if ceremony is not go_on:
        roll_back(house)
    before = house.workspace.ledger.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(SystemClock, "boot", lambda self: "b" * 32)
        with pytest.raises(FailwellError) as caught:
            (refuse if ceremony == "said no" else ceremony)(house)
    assert (ceremony is rotate) == isinstance(caught.value, Behind)
    assert house.workspace.ledger.read_bytes() == before


@pytest.mark.parametrize("ceremony", [rotate, go_on])
def test_a_ceremony_in_a_new_boot_tells_the_time_first(
    house: House, ceremony: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ceremony is go_on:
        roll_back(house)
    with monkeypatch.context() as patch:
        patch.setattr(SystemClock, "boot", lambda self: "b" * 32)
        ceremony(house)
    house.verify()
    kinds = [entry["kind"] for entry in house.entries()][-3:]
    assert kinds == ["clock", "order", "log.key" if ceremony is rotate else "continued"]


def test_the_lost_record_put_back_after_it_was_given_up_is_read_only(house: House) -> None:
    """Attack: the old name goes on beside the new one, and the workspace's own pointer is turned back for it."""
    lost = house.root / "lost.db"
    backup = house.root / "backup2.db"
    shutil.copyfile(house.workspace.ledger, backup)
    node = house.node()
    house.agent().write("lost")
    house.end(node)
    shutil.copyfile(house.workspace.ledger, lost)
    shutil.copyfile(backup, house.workspace.ledger)
    go_on(house)
    shutil.copyfile(lost, house.workspace.ledger)
    before = contents(house)
    node = house.node()
    assert house.ask("status")["health"] != "ok"
    with pytest.raises(FailwellError):
        house.agent()
    house.end(node)
    assert contents(house) == before


def test_the_former_guard_is_retired_also_after_a_cut_between_the_order_and_that(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: the old name's key survives a crash of the ceremony, for whoever puts the old record in place again."""

    class CutError(Exception):
        pass

    def cut(*_: Any, **__: Any) -> None:
        raise CutError

    roll_back(house)
    old = Path(house.workspace.guard_place())
    with monkeypatch.context() as patch:
        patch.setattr("failwell.guard.remote.RemoteGuard.retire", cut)
        with pytest.raises(CutError):
            go_on(house)
    assert peek(old).retired is None
    node = house.node()
    assert house.agent().write("after")["verdict"]["verdict"] == "ALLOW"
    house.end(node)
    assert peek(old).retired is not None
    assert peek(old).pair is None
    house.verify()


@pytest.mark.parametrize(
    "pointer", [b"\xff\xfe\n", b"", b"relative/guard\n", b"/tmp/a\n/tmp/b\n", b"unix:\n", b"/nonexistent/guard\n"]
)
def test_a_pointer_that_points_nowhere_makes_the_record_read_only_in_words(house: House, pointer: bytes) -> None:
    house.workspace.guard.write_bytes(pointer)
    before = contents(house)
    node = house.node()
    health = house.ask("status")["health"]
    assert health != "ok"
    assert "Error" not in health
    with pytest.raises(FailwellError):
        house.agent()
    house.end(node)
    assert contents(house) == before


def test_another_records_guard_in_the_pointer_is_neither_believed_nor_touched(house: House) -> None:
    other = house.root / "other-guard"
    LocalGuard.create(other, "failwell/0123456789abcdef").close()
    memory = (other / "state").read_bytes()[:8192]
    house.workspace.guard.write_text(f"{other}\n")
    node = house.node()
    assert house.ask("status")["health"] != "ok"
    house.end(node)
    assert (other / "state").read_bytes()[:8192] == memory
