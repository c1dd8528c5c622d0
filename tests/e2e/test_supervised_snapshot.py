"""What is kept of a tool that is stopped: how it stood before it was killed, for the node and for nobody else."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from failwell.core import canonical
from failwell.execute.processes import Stat
from failwell.execute.records import stop_recorded
from failwell.execute.snapshot import LIMIT_BYTES
from tests.unit.execute.stage import EXTREMES, Node, Running, Stage, await_true, stage_fixture

SECRET = "a-key-of-the-shop"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    yield from stage_fixture()


@pytest.fixture(params=EXTREMES)
def node(request: pytest.FixtureRequest, stage: Stage) -> Node:
    return stage.node(request.param)


def family(node: Node, **rest: Any) -> Running:
    env = {"PATH": "/usr/bin:/bin", "SHOP_KEY": SECRET}
    return node.animal("family", "--for", "customer-7", env=env, **rest).await_settled(4)


def read(snapshot: bytes | None) -> Any:
    assert snapshot is not None
    assert SECRET.encode() not in snapshot
    return canonical.decode(snapshot, max_bytes=LIMIT_BYTES)


@pytest.mark.requirement("R9.4")
def test_an_ordered_stop_keeps_the_processes_their_files_and_names_of_their_environment(node: Node) -> None:
    seen: dict[int, Stat] = {}
    body: Any = {}
    for _ in range(8):
        running = family(node)
        seen = {stat.pid: stat for stat in running.look()}
        body = read(running.interrupt()["snapshot"])
        assert (body["reason"], body["stood_still"]) == ("ordered", True)
        assert {process["pid"] for process in body["processes"]} == set(seen)
        assert all("not in time" in said for said in body["missing"]), "on a busy machine, and it is said"
        if not body["missing"]:
            break
    for process in body["processes"]:
        stat = seen[process["pid"]]
        assert (process["started_ticks"], process["name"]) == (stat.start_ticks, stat.name)
        assert {file["fd"] for file in process["files"]} >= {0, 1, 2}
    assert sum("SHOP_KEY" in process["environment"] for process in body["processes"]) == 3, "one has cleared its own"
    assert any(process["arguments"][-2:] == ["--for", "customer-7"] for process in body["processes"])


def test_a_deadline_keeps_them_too_with_the_tail_of_what_was_said(stage: Stage) -> None:
    node = stage.node("both")
    running = node.launch("sh", "-c", "echo half; echo why >&2; exec sleep 20", deadline_us=400_000)
    body = read(running.wait()["snapshot"])
    assert (body["reason"], body["output_tail"], body["errors_tail"]) == ("deadline", "half\n", "why\n")
    assert [process["name"] for process in body["processes"]] == ["sleep"]


def test_what_a_tool_leaves_behind_is_kept_and_of_one_that_leaves_nothing_there_is_none(stage: Stage) -> None:
    node = stage.node("both")
    body = read(node.animal("leaves_reader").wait()["snapshot"])
    assert (body["reason"], len(body["processes"]), body["output_tail"]) == (None, 1, "done\n")
    assert node.launch("true").wait()["snapshot"] is None


@pytest.mark.requirement("R9.4")
def test_nothing_of_it_lies_on_disk_where_no_node_takes_it(node: Node) -> None:
    """Attack: kill the node, and read in its supervisors' reports what the tool was given."""
    running = family(node)
    node.child.kill()
    node.child.wait()
    await_true(lambda: not running.look())
    report = node.report(running.action)
    assert report["state"] == "interrupted_confirmed"
    assert not {"snapshot", "arguments", "command", "output"} & set(report)
    text = json.dumps(report)
    assert SECRET not in text
    assert "customer-7" not in text
    assert "SHOP_KEY" not in text


def test_a_node_that_hung_gets_it_when_it_wakes(stage: Stage) -> None:
    node = stage.node("both")
    running = family(node)
    os.kill(node.child.pid, signal.SIGSTOP)
    stop_recorded(node.directory / "run", "agent-a")
    await_true(lambda: not running.look())
    assert "customer-7" not in json.dumps(node.report(running.action))
    os.kill(node.child.pid, signal.SIGCONT)
    body = read(running.wait()["snapshot"])
    assert (body["reason"], len(body["processes"])) == ("SIGTERM", 4)
