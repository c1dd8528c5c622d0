"""A disk that is full or only gives errors, a self-test that fails: nothing is permitted, and stops go on."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from failwell.core.errors import FailwellError, Unhealthy
from tests.simulate.fixtures import model, stage
from tests.simulate.house import Caller, House, await_true

__all__ = ["stage"]

DISK_BYTES = 24 * 1024 * 1024


def run(*command: str | Path) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def may_mount() -> bool:
    """Whether this process may mount (root in its own mount namespace, not only by user id)."""
    if os.geteuid() != 0:
        return False
    directory = Path("/tmp") / f"fw-mount-{os.getpid()}"
    directory.mkdir()
    try:
        mounted = run("mount", "-t", "tmpfs", "-o", "size=64k", "none", directory)
        return mounted and run("umount", directory)
    finally:
        directory.rmdir()


needs_mount = pytest.mark.skipif(not may_mount(), reason="a small disk takes the right to mount a tmpfs (root)")


class SmallDisk:
    """A workspace on a file system of its own that can be filled to the last block, and emptied again."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.filling = house.workspace.path / "packs" / "filling"

    def fill(self) -> None:
        """Leave not one block. Not through Python's buffers: what is promised must be written."""
        handle = os.open(self.filling, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(handle, b"\0" * size)
        os.close(handle)

    def make_room(self) -> None:
        self.filling.unlink()


@pytest.fixture
def disk(stage: Path) -> Iterator[SmallDisk]:
    root = stage / f"d{len(list(stage.iterdir()))}"
    source = model()
    (root / "ws").mkdir(parents=True)
    assert run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "none", root / "ws")
    try:
        house = source.copy(root)
        try:
            yield SmallDisk(house)
        finally:
            house.tear_down()
    finally:
        await_true(lambda: run("umount", root / "ws"))


def refused_words(caller: Caller, customer: str) -> str:
    with pytest.raises(FailwellError) as refusal:
        caller.write(customer)
    assert isinstance(refusal.value, Unhealthy)
    return str(refusal.value)


@needs_mount
@pytest.mark.ci_must_run
def test_on_a_full_disk_nothing_is_permitted_a_stop_is_durable_and_work_goes_on_once_there_is_room(
    disk: SmallDisk,
) -> None:
    house = disk.house
    node = house.node(crashing=True)
    caller, other = house.agent(), house.agent("other-bot")
    running = caller.start("c1", grandchild=True)
    disk.fill()
    told = [refused_words(caller, f"full-{number}") for number in range(3)]
    assert all("no room" in words or "full" in words for words in told), told
    assert "room" in house.ask("status")["health"], "who asks is answered, and told"
    assert len(house.began()) == 1
    done = house.suspend()
    assert done.confirmed, done
    assert running.result(15)["result"]["state"] == "interrupted_confirmed"
    assert house.alive() == []
    assert refused_words(other, "still-full")
    node.kill()
    house.hang_up()
    disk.make_room()
    house.node(crashing=True)
    assert house.ask("status")["suspended"] == ["refund-bot"], "the stop was durable"
    assert house.agent("other-bot").write("room-again")["result"]["state"] == "completed"
    health = [(entry["body"]["part"], entry["body"]["state"]) for entry in house.entries("health")]
    assert ("storage", "failed") in health
    house.hold_true(caller.acks + other.acks)


@needs_mount
@pytest.mark.ci_must_run
def test_a_disk_that_gets_room_again_is_trusted_again_without_a_restart(disk: SmallDisk) -> None:
    house = disk.house
    house.node(crashing=True)
    caller = house.agent()
    disk.fill()
    refused_words(caller, "full")
    disk.make_room()

    def works() -> bool:
        try:
            return bool(caller.write("room-again")["verdict"]["verdict"] == "ALLOW")
        except FailwellError:
            return False

    await_true(works, 10)
    states = [entry["body"]["state"] for entry in house.entries("health") if entry["body"]["part"] == "storage"]
    assert states == ["failed", "ok"], "written before the first verdict that it alters"
    assert (house.workspace.path / "reserve").exists()
    house.hold_true(caller.acks)


@needs_mount
@pytest.mark.ci_must_run
def test_a_rule_that_suspends_while_the_disk_fills_up_suspends_durably(disk: SmallDisk) -> None:
    """The denial that trips is itself the write that fails: tools must not be left standing still for ever."""
    house = disk.house
    node = house.node(crashing=True)
    caller = house.agent()
    running = caller.start("c1")
    disk.fill()
    with pytest.raises(FailwellError):
        caller.write("trip")
    assert running.result(15)["result"]["state"] == "interrupted_confirmed"
    await_true(lambda: house.ask("status")["suspended"] == ["refund-bot"])
    node.kill()
    house.hang_up()
    disk.make_room()
    house.node(crashing=True)
    assert house.ask("status")["suspended"] == ["refund-bot"]
    house.hold_true(caller.acks)
    house.end(house.nodes[-1])
    house.verify()


def test_a_store_whose_writes_fail_permits_nothing_and_its_agents_can_still_be_stopped(stage: Path) -> None:
    """Every write of the node fails (its file size limit is nought), as on a disk that only gives errors."""
    house = model().copy(stage / "errors")
    try:
        node = house.node(crashing=True)
        caller, other = house.agent(), house.agent("other-bot")
        running = caller.start("c1", grandchild=True)
        limits = resource.prlimit(node.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        for number in range(3):
            refused_words(caller, f"errors-{number}")
        done = house.suspend()
        assert not done.confirmed
        assert [sent.sent for sent in done.sent] == [True]
        await_true(lambda: not house.alive(), 10)
        assert len(list(house.workspace.orders.glob("*.order"))) == 1, "the order stands until it is on record"
        refused_words(caller, "after")
        assert node.process.poll() is None
        resource.prlimit(node.pid, resource.RLIMIT_FSIZE, limits)
        await_true(lambda: house.ask("status")["suspended"] == ["refund-bot"])
        await_true(lambda: list(house.workspace.orders.glob("*.taken")))
        with contextlib.suppress(FailwellError):
            assert running.result(10)["result"]["state"] == "interrupted_confirmed"

        def works() -> bool:
            with contextlib.suppress(FailwellError):
                return bool(other.write("again")["result"]["state"] == "completed")
            return False

        await_true(works)
        assert caller.write("later")["verdict"]["clauses"] == ["authority.suspended"]
        assert [line["customer"] for line in house.began()] == ["c1", "again"]
        house.hold_true(caller.acks + other.acks, at_rest=False)
        node.kill()
        house.hang_up()
        house.node(crashing=True)
        house.hold_true(caller.acks + other.acks)
    finally:
        house.tear_down()


def test_a_node_whose_self_test_fails_permits_nothing_however_long_it_runs(stage: Path) -> None:
    house = model().copy(stage / "selftest")
    try:
        house.node(crashing=True, env={"FAILWELL_TEST_SELF_TEST": "fails"})
        caller = house.caller()
        for number in range(3):
            assert "stopped here" in refused_words(caller, f"c{number}")
        assert "stopped here" in house.ask("status")["health"]
        assert house.suspend().confirmed
        assert refused_words(caller, "later")
        assert house.runs() == []
        assert [entry["body"]["part"] for entry in house.entries("health")] == ["stopping"]
    finally:
        house.tear_down()


def test_sigterm_in_mid_action_stops_the_tool_records_its_end_and_closes_clean(stage: Path) -> None:
    house = model().copy(stage / "sigterm")
    try:
        node = house.node(crashing=True)
        caller = house.agent()
        running = caller.start("c1", grandchild=True, deaf=True)
        os.kill(node.pid, signal.SIGTERM)
        assert node.process.wait(15) == 0, node.said()
        assert house.alive() == []
        with contextlib.suppress(FailwellError):
            running.result(5)
        house.hang_up()
        assert house.entries()[-1]["kind"] == "node.stopped"
        assert house.entries("outcome")[0]["body"]["state"] == "interrupted_confirmed"
        house.hold_true(caller.acks)
        house.verify()
        assert not list(house.workspace.path.glob("*-wal"))
    finally:
        house.tear_down()
