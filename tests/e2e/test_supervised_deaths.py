"""The node, the supervisor, or both die or hang at the worst moment: tools are dead, or somebody says so."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from failwell.execute.channel import TAKE_OVER_US, Channel
from failwell.execute.processes import boottime_us, read_stat
from failwell.execute.records import read_boot_id, stop_recorded
from failwell.ports.executor import Launch
from tests.unit.execute.stage import KINDS, Node, Stage, await_true, stage_fixture


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    yield from stage_fixture()


@pytest.fixture(params=KINDS)
def node(request: pytest.FixtureRequest, stage: Stage) -> Node:
    return stage.node(request.param)


LAUNCH: dict[str, Any] = {
    "action": 1000,
    "agent": "a",
    "tool": "t",
    "command": ["true"],
    "cwd": None,
    "env": {},
    "stdin": "",
    "deadline_us": None,
    "output_cap_bytes": 10,
    "marker": "m",
}


def is_dead(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is None or stat.dead


def kill_node(node: Node) -> None:
    node.child.kill()
    node.child.wait()


@pytest.mark.requirement("R6.2")
def test_a_killed_node_takes_its_tools_with_it_and_a_report_stays(node: Node) -> None:
    running = node.animal("family").await_settled(4)
    kill_node(node)
    await_true(lambda: not running.look())
    report = node.report(running.action)
    assert (report["state"], report["why"]) == ("interrupted_confirmed", "the node is gone")
    assert (report["swept"], report["agent"], report["schema"]) == (4, "agent-a", "failwell/swept/1")
    await_true(lambda: is_dead(running.supervisor))


def test_a_child_of_the_node_that_keeps_the_socket_open_does_not_hide_the_nodes_death(stage: Stage) -> None:
    node = stage.node("sweep")
    running = node.animal("deaf").await_settled(1)
    holder = node.ask("fork_child", session=False)["pid"]
    try:
        kill_node(node)
        await_true(lambda: not running.look())
        assert read_stat(holder) is not None, "it still holds every descriptor of the node"
    finally:
        os.kill(holder, signal.SIGKILL)


def test_a_killed_supervisor_leaves_nothing_that_runs(node: Node) -> None:
    running = node.animal("deaf").await_settled(1)
    os.kill(running.supervisor, signal.SIGKILL)
    ended = running.wait()
    running.assert_gone()
    assert (ended["state"], ended["why"]) == ("interrupted_confirmed", "the supervisor died")
    assert ended["signal"] == signal.SIGKILL


def test_a_killed_supervisors_family_comes_to_the_node_and_is_swept(stage: Stage) -> None:
    node = stage.node("sweep", owns_children=True)
    running = node.animal("family").await_settled(4)
    os.kill(running.supervisor, signal.SIGKILL)
    ended = running.wait()
    running.assert_gone()
    assert ended["state"] == "interrupted_confirmed"


def test_other_children_of_the_node_survive_the_sweep_for_a_dead_supervisor(stage: Stage) -> None:
    node = stage.node("sweep", owns_children=True)
    other = node.animal("deaf").await_settled(1)
    running = node.animal("deaf").await_settled(1)
    own = [node.ask("fork_child", session=session)["pid"] for session in (False, True)]
    os.kill(running.supervisor, signal.SIGKILL)
    assert running.wait()["state"] == "interrupted_confirmed"
    assert len(other.look()) == 1
    assert not any(is_dead(pid) for pid in own)
    for pid in own:
        os.kill(pid, signal.SIGKILL)
    assert node.ask("running") == {"running": [other.action]}
    assert other.interrupt()["state"] == "interrupted_confirmed"


def test_a_supervisor_that_dies_before_it_starts_anything_is_a_blocked_action(stage: Stage) -> None:
    node = stage.node("sweep")
    os.kill(node.child.pid, signal.SIGCONT)
    running = node.animal("deaf")
    os.kill(running.supervisor, signal.SIGKILL)
    ended = running.wait()
    running.assert_gone()
    assert ended["state"] in ("blocked", "interrupted_confirmed")


@pytest.mark.requirement("R6.2")
def test_an_order_by_signal_works_while_the_node_hangs_and_leaves_a_report(node: Node) -> None:
    running = node.animal("family").await_settled(4)
    os.kill(node.child.pid, signal.SIGSTOP)
    sent = stop_recorded(node.directory / "run", "agent-a")
    assert [(order.action, order.pid, order.sent, order.why) for order in sent] == [
        (running.action, running.supervisor, True, None)
    ]
    await_true(lambda: not running.look())
    report = node.report(running.action)
    assert (report["state"], report["why"], report["swept"]) == ("interrupted_confirmed", "SIGTERM", 4)
    os.kill(node.child.pid, signal.SIGCONT)
    assert running.wait()["state"] == "interrupted_confirmed", "and the node learns of it when it wakes"


def test_an_order_by_signal_works_when_the_nodes_socket_is_full(stage: Stage) -> None:
    """A result larger than the socket takes waits for a node that never reads: the report must not wait."""
    node = stage.node("sweep")
    os.kill(node.child.pid, signal.SIGCONT)
    running = node.launch("sh", "-c", "head -c 4000000 /dev/zero; sleep 30", output_cap_bytes=8_000_000).await_settled(
        2
    )
    os.kill(node.child.pid, signal.SIGSTOP)
    began = time.monotonic()
    stop_recorded(node.directory / "run", None)
    await_true(lambda: not running.look())
    assert node.report(running.action)["state"] == "interrupted_confirmed"
    assert time.monotonic() - began < 6, "it lingers ten seconds for the node, and must not report after that"
    kill_node(node)
    await_true(lambda: is_dead(running.supervisor))


def test_a_finished_result_that_the_node_never_took_is_not_lost(stage: Stage) -> None:
    node = stage.node("sweep")
    mark = node.directory / "go"
    running = node.launch("sh", "-c", f"until [ -e {mark} ]; do sleep 0.02; done; echo done").await_processes(1)
    os.kill(node.child.pid, signal.SIGSTOP)
    mark.touch()
    await_true(lambda: not running.look())
    kill_node(node)
    report = node.report(running.action)
    assert (report["state"], report["exit_code"]) == ("completed", 0)


def test_an_order_by_signal_wakes_a_supervisor_that_was_stopped(stage: Stage) -> None:
    node = stage.node("sweep")
    running = node.animal("deaf").await_settled(1)
    os.kill(node.child.pid, signal.SIGSTOP)
    os.kill(running.supervisor, signal.SIGSTOP)
    assert [order.sent for order in stop_recorded(node.directory / "run", None)] == [True]
    await_true(lambda: not running.look())
    assert node.report(running.action)["state"] == "interrupted_confirmed"


def test_when_the_executors_thread_fails_every_tool_dies_and_nothing_more_is_started(stage: Stage) -> None:
    node = stage.node("sweep")
    first, second = node.animal("deaf").await_settled(1), node.animal("family").await_settled(4)
    node.order("fail_next")
    node.order("interrupt", action=first.action)
    await_true(lambda: not first.look() and not second.look())
    assert node.report(second.action)["state"] == "interrupted_confirmed"
    await_true(lambda: is_dead(second.supervisor))
    refused = node.ask("launch", **LAUNCH)
    assert refused["error"]["code"] == "unhealthy"


def test_a_supervisor_that_leaves_an_order_unanswered_is_killed(stage: Stage) -> None:
    launch = Launch(**{**LAUNCH, "command": ("true",), "stdin": b""})
    ours, theirs = socket.socketpair()
    silent = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(30)"])
    try:
        channel = Channel(launch, lambda _ended: None, silent, ours)
        channel.ordered_us = boottime_us()
        channel.look_after(channel.ordered_us + TAKE_OVER_US)
        assert silent.poll() is None
        channel.look_after(channel.ordered_us + TAKE_OVER_US + 1)
        assert silent.wait(5) == -signal.SIGKILL
    finally:
        silent.kill()
        silent.wait()
        ours.close()
        theirs.close()


def test_an_order_reaches_only_the_named_agent(stage: Stage) -> None:
    node = stage.node("sweep")
    mine = node.animal("deaf").await_settled(1)
    other = node.animal("deaf", agent="agent-b").await_settled(1)
    assert [order.action for order in stop_recorded(node.directory / "run", "agent-b")] == [other.action]
    assert other.wait()["state"] == "interrupted_confirmed"
    assert len(mine.look()) == 1
    mine.interrupt()


def test_an_order_never_hits_a_process_that_got_a_dead_supervisors_pid(stage: Stage) -> None:
    bystander = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(30)"])
    try:
        stat = read_stat(bystander.pid)
        assert stat is not None
        directory = stage.directory / "reused"
        (directory / "running").mkdir(parents=True)
        record = {"action": 7, "agent": "a", "tool": "t", "pid": stat.pid, "boot_id": read_boot_id()}
        path = directory / "running" / "7.json"
        path.write_text(json.dumps({**record, "start_ticks": stat.start_ticks - 1}))
        assert [(sent.sent, sent.why) for sent in stop_recorded(directory, "a")] == [(False, "the supervisor is gone")]
        path.write_text(json.dumps({**record, "start_ticks": stat.start_ticks, "boot_id": "another"}))
        assert [(sent.sent, sent.why) for sent in stop_recorded(directory, "a")] == [
            (False, "recorded before this boot")
        ]
        path.write_text("{half")
        assert [(sent.action, sent.sent) for sent in stop_recorded(directory, "a")] == [(-1, False)]
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("kind", ["sweep", "nobody"])
def test_what_outlives_node_and_supervisor_is_found_by_its_marker_at_the_next_start(stage: Stage, kind: str) -> None:
    node, bystander = stage.node(kind), stage.node(kind)
    other = bystander.animal("deaf").await_settled(1)
    running = node.animal("family").await_settled(4)
    # The node hangs, the supervisor is killed, and then the node: nobody is left to sweep.
    os.kill(node.child.pid, signal.SIGSTOP)
    os.kill(running.supervisor, signal.SIGKILL)
    await_true(lambda: is_dead(running.supervisor))
    kill_node(node)
    await_true(lambda: len(running.look()) == 3)  # the tool itself dies with its supervisor, its family does not
    survivors = running.look()
    after = stage.node(kind)
    leftovers = after.ask("sweep", prefix=running.marker)["leftovers"]
    marked = {left["pid"] for left in leftovers}
    assert all(left["gone"] for left in leftovers)
    unmarked = running.look()
    try:
        assert len(marked) == 2
        assert len(unmarked) == 1, "the one that cleared its environment cannot be found any more"
        assert marked | {stat.pid for stat in unmarked} == {stat.pid for stat in survivors}
        assert len(other.look()) == 1, "another node's tool is not touched"
    finally:
        for stat in unmarked:
            os.kill(stat.pid, signal.SIGKILL)
    other.interrupt()


def test_a_node_that_a_tool_started_does_not_sweep_itself_nor_its_session(stage: Stage) -> None:
    node = stage.node("sweep", marker="stage-of-a-tool-1")
    beside = node.ask("fork_child", session=False)["pid"]
    try:
        assert node.ask("sweep", prefix="stage-of-a-tool-") == {"leftovers": []}
        assert not is_dead(beside)
        assert node.launch("true").wait()["state"] == "completed"
    finally:
        os.kill(beside, signal.SIGKILL)


def test_a_new_node_clears_the_records_of_the_dead_and_keeps_those_of_the_living(stage: Stage) -> None:
    node = stage.node("sweep")
    running = node.animal("deaf").await_settled(1)
    records = node.directory / "run" / "running"
    stale = json.loads((records / f"{running.action}.json").read_bytes()) | {"pid": 4194000}
    (records / "99.json").write_text(json.dumps(stale))
    (records / "98.json").write_text("not json")
    second = stage.node("sweep", directory=node.directory)
    assert [path.name for path in records.iterdir()] == [f"{running.action}.json"]
    running.interrupt()
    second.end()
