"""A node's life beside others: started on demand, one at a time, crowded, killed together with its supervisors."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys

import pytest

from failwell.client.wire import Wire
from failwell.core.errors import FailwellError
from failwell.execute.processes import read_stat, scan_processes
from failwell.node.heartbeat import GAVE_WAY, read_beat
from failwell.storage.files import log_of
from failwell.storage.wal import HEADER_BYTES
from tests.simulate.fixtures import house, stage
from tests.simulate.house import ROOT, House, await_true

__all__ = ["house", "stage"]


def test_a_second_node_on_a_workspace_refuses_to_start_and_leaves_the_first_alone(house: House) -> None:
    first = house.node(crashing=True)
    second = subprocess.run(
        [sys.executable, "-m", "failwell.node", "--workspace", str(house.workspace.path)],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert second.returncode == 3
    assert f"another node (process {first.pid}) holds this workspace" in second.stderr
    assert house.agent().write("c1")["result"]["state"] == "completed"


def test_a_client_that_finds_its_node_dead_starts_another_and_goes_on_with_its_run(house: House) -> None:
    node = house.node(crashing=True)
    with house.gate() as gate, gate.run("refund-bot") as run:
        assert run.decide("note.write", customer="c1", millis=0, call_id="one").allowed
        number = run.id
        node.kill()
        with pytest.raises(FailwellError, match="gone"):
            run.decide("note.write", customer="c2", millis=0)
        again = house.gate()
        pid = int(again.wire.greeting["pid"])
        try:
            assert pid != node.pid
            resumed = again.run("refund-bot", resume=number)
            with resumed:
                assert resumed.decide("note.write", customer="c1", millis=0, call_id="one").repeated
                assert resumed.decide("note.write", customer="c3", millis=0).allowed
        finally:
            again.close()
            os.kill(pid, signal.SIGTERM)
            await_true(lambda: (stat := read_stat(pid)) is None or stat.dead)
        run.id = None
    house.hold_true()
    house.verify()


def test_what_outlives_node_and_supervisor_is_swept_at_the_next_start_and_said_to_be_unknown(house: House) -> None:
    node = house.node(crashing=True)
    caller = house.agent()
    caller.start("c1", grandchild=True, deaf=True)
    await_true(lambda: len(house.alive()) >= 2)
    os.kill(node.pid, signal.SIGSTOP)
    # Looked for until there are none: one that the node was starting when it was stopped would sweep and report.
    while supervisors := [stat.pid for stat in scan_processes().values() if stat.ppid == node.pid and not stat.dead]:
        for pid in supervisors:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    node.kill()
    house.hang_up()
    house.node(crashing=True)
    assert house.alive() == []
    assert house.entries("outcome")[0]["body"]["state"] == "unknown"
    assert house.entries("node.started")[-1]["body"]["recovered"] == 1
    house.hold_true(caller.acks)


def test_a_node_whose_writer_dies_ends_and_the_next_one_recovers(house: House) -> None:
    """The launcher's own fault stands for any that nobody foresaw: a node that can record nothing must not linger."""
    node = house.node(crashing=True)
    caller = house.agent()
    running = caller.start("c1", grandchild=True)
    node.plan_strike("commit:decision", "before", victim="nonsense")
    with pytest.raises(FailwellError):
        caller.write("c2")
    node.process.wait(20)
    assert house.alive() == []
    left = read_beat(house.workspace.runtime)
    assert left is not None
    assert left.phase == GAVE_WAY  # whoever stands by takes its place
    with contextlib.suppress(FailwellError):
        running.result(5)
    house.hang_up()
    house.node(crashing=True)
    assert house.entries("outcome")[0]["body"]["state"] in ("unknown", "interrupted_confirmed")
    assert house.agent().write("c3")["result"]["state"] == "completed"
    assert [line["customer"] for line in house.began()] == ["c1", "c3"]
    house.hold_true(caller.acks)


@pytest.mark.requirement("R28.7")
def test_what_a_crash_tore_is_repaired_and_the_next_node_says_so_in_the_record(house: House) -> None:
    """A node killed in the middle of a write: its log ends with half a page that belongs to no commit."""
    node = house.node()
    entry = house.agent().write("c1")["result"]["entry"]
    node.kill()
    house.hang_up()
    log = log_of(house.workspace.ledger)
    written = log.read_bytes()
    log.write_bytes(written + written[HEADER_BYTES : HEADER_BYTES + 500])
    node = house.node()
    told = [body for body in (each["body"] for each in house.entries("health")) if body["state"] == "repaired"]
    assert [body["part"] for body in told] == ["storage"]
    assert "were replayed from the write-ahead log, 500 bytes behind them were torn and dropped" in told[0]["detail"]
    assert house.entries("outcome")[0]["seq"] == entry
    house.end(node)
    house.hold_true()
    house.verify()


def test_a_crowd_of_idle_connections_keeps_nobody_from_being_stopped(house: House) -> None:
    """An agent that leaks connections uses up the node's descriptors, which tools and orders need too."""
    node = house.node()
    caller = house.agent()
    running = caller.start("c1")
    soft, hard = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    crowd = []
    try:
        for _ in range(300):
            idle = socket.socket(socket.AF_UNIX)
            idle.settimeout(1)
            with contextlib.suppress(OSError):
                idle.connect(str(house.workspace.socket))
            crowd.append(idle)
        assert caller.write("the-crowd-waits")["result"]["state"] == "completed"
        house.suspend()
        assert running.result(15)["result"]["state"] == "interrupted_confirmed"
        assert node.process.poll() is None
    finally:
        for idle in crowd:
            idle.close()

    def answered() -> bool:
        with contextlib.suppress(FailwellError):
            wire = Wire(house.workspace.socket, timeout_s=1)
            try:
                return bool(wire.call("ask", about="status", timeout_s=2)["suspended"] == ["refund-bot"])
            finally:
                wire.close()
        return False

    await_true(answered)
    house.hold_true(caller.acks)
