"""What a supervised tool gets, what comes back, and how its end is told, with real processes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.unit.execute.stage import KINDS, Node, Stage, await_true, stage_fixture


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    yield from stage_fixture()


@pytest.fixture(scope="module", params=KINDS)
def node(request: pytest.FixtureRequest, stage: Stage) -> Node:
    return stage.node(request.param)


@pytest.fixture(scope="module")
def plain(stage: Stage) -> Node:
    """One node for what does not depend on the kind."""
    return stage.node("sweep")


def test_arguments_go_in_and_the_result_comes_out_whole(plain: Node) -> None:
    data = os.urandom(300_000)
    ended = plain.animal("echoes", stdin=data, output_cap_bytes=1_000_000).wait()
    assert (ended["state"], ended["exit_code"], ended["signal"]) == ("completed", 0, None)
    assert (ended["output"], ended["truncated"], ended["why"]) == (data, False, None)
    assert ended["started_us"] < ended["ended_us"]


def test_a_tool_that_cannot_be_executed_is_blocked(node: Node) -> None:
    ended = node.launch("/no/such/tool").wait()
    assert (ended["state"], ended["exit_code"], ended["swept"]) == ("blocked", None, 0)
    assert ended["why"] == "cannot execute '/no/such/tool': No such file or directory"


def test_a_failure_is_told_with_its_exit_code_and_a_crash_with_its_signal(plain: Node) -> None:
    failed = plain.launch("sh", "-c", "echo half; echo because >&2; exit 3").wait()
    assert (failed["state"], failed["exit_code"], failed["why"]) == ("failed", 3, "exit code 3")
    assert (failed["output"], failed["errors"]) == (b"half\n", b"because\n")
    crashed = plain.animal("crashes").wait()
    assert (crashed["state"], crashed["signal"], crashed["why"]) == ("failed", signal.SIGSEGV, "signal 11")


def test_64_mib_of_output_are_read_capped_and_marked(node: Node) -> None:
    ended = node.animal("loud", output_cap_bytes=100_000).wait()
    assert (ended["state"], ended["truncated"]) == ("completed", True)
    assert ended["output"] == b"y" * 100_000
    assert len(ended["errors"]) == 8192
    assert ended["errors"].endswith(b"the end")


def test_a_burst_just_before_the_end_arrives_whole(plain: Node) -> None:
    for _ in range(3):
        ended = plain.launch("head", "-c", "1000000", "/dev/zero", output_cap_bytes=2_000_000).wait()
        assert (len(ended["output"]), ended["truncated"]) == (1_000_000, False)


def test_a_tool_that_closes_its_pipes_is_still_waited_for(plain: Node) -> None:
    ended = plain.animal("closes_pipes").wait()
    assert (ended["state"], ended["exit_code"]) == ("failed", 7)
    assert ended["ended_us"] - ended["started_us"] > 150_000


def test_a_tool_that_never_reads_its_arguments_ends_all_the_same(plain: Node) -> None:
    ended = plain.animal("never_reads", stdin=b"x" * 1_000_000).wait()
    assert (ended["state"], ended["output"]) == ("completed", b"ok")


def test_the_deadline_kills_the_tool_and_its_family(node: Node) -> None:
    running = node.animal("family", deadline_us=300_000).await_processes(4)
    ended = running.wait()
    running.assert_gone()
    assert (ended["state"], ended["why"], ended["swept"]) == ("interrupted_confirmed", "deadline", 4)
    assert 300_000 <= ended["ended_us"] - ended["started_us"] < 5_000_000


def test_a_freeze_stops_every_process_where_it_stands_until_the_kill(node: Node) -> None:
    running = node.animal("family").await_settled(4)
    node.order("freeze", actions=[running.action, 12345])
    await_true(lambda: all(stat.state == "T" for stat in running.look()))
    time.sleep(0.1)
    assert [stat.state for stat in running.look()] == ["T"] * 4
    assert running.interrupt()["state"] == "interrupted_confirmed"
    running.assert_gone()


def test_an_order_on_the_heels_of_the_launch_blocks_or_kills_and_never_lets_run_on(node: Node) -> None:
    for _ in range(4):
        running = node.animal("deaf")
        ended = running.interrupt()
        running.assert_gone()
        assert ended["state"] in ("blocked", "interrupted_confirmed")


def test_a_freeze_on_the_heels_of_the_launch_lets_nothing_start(plain: Node) -> None:
    running = plain.animal("deaf")
    plain.order("freeze", actions=[running.action])
    await_true(lambda: running.action in plain.ended or any(stat.state == "T" for stat in running.look()))
    plain.order("interrupt", action=running.action)
    assert running.wait()["state"] in ("blocked", "interrupted_confirmed")
    running.assert_gone()


def test_a_tool_that_ends_as_the_order_comes_is_never_called_interrupted_after_its_effect(
    plain: Node,
) -> None:
    """Each tool leaves a mark as its last act; interrupted means that its own end was not reached."""
    states = set()
    for number in range(8):
        mark = plain.directory / f"mark-{number}"
        running = plain.launch("sh", "-c", f"sleep 0.05; echo did > {mark}; exit 5")
        time.sleep(0.06 + number * 0.003)
        ended = running.interrupt()
        states.add(ended["state"])
        if ended["state"] == "completed_after_interrupt":
            assert mark.exists()
            assert ended["exit_code"] == 5
        else:
            assert ended["state"] in ("interrupted_confirmed", "blocked", "failed")
            assert ended["state"] != "failed" or ended["exit_code"] == 5
        running.assert_gone()
    assert states


def test_an_order_after_the_end_changes_nothing(plain: Node) -> None:
    running = plain.launch("true")
    assert running.wait()["state"] == "completed"
    plain.order("interrupt", action=running.action)
    plain.order("freeze", actions=[running.action])
    assert plain.ask("running") == {"running": []}
    assert len(plain.ended[running.action]) == 1


def test_the_environment_is_exactly_what_was_given_and_the_marker(node: Node) -> None:
    running = node.launch("/usr/bin/env", env={"ONLY": "this"}, cwd="/")
    lines = set(running.wait()["output"].decode().split())
    assert lines == {"ONLY=this", f"FAILWELL_ACTION={running.marker}"}


def test_a_tool_inherits_no_descriptor_and_leads_a_session_of_its_own(node: Node) -> None:
    code = "import os; print(sorted(os.listdir('/proc/self/fd'), key=int), os.getsid(0) == os.getpid())"
    ended = node.launch(node.interpreter, "-I", "-S", "-c", code).wait()
    assert ended["output"].decode().strip() == "['0', '1', '2', '3'] True", "3 is the listing itself"


def test_a_missing_directory_blocks(plain: Node) -> None:
    ended = plain.launch("true", cwd="/no/such/place").wait()
    assert ended["state"] == "blocked"
    assert "/no/such/place" in ended["why"]


def test_a_running_tool_is_on_record_from_before_its_start_until_its_end(plain: Node) -> None:
    running = plain.animal("deaf")
    record = json.loads((plain.directory / "run" / "running" / f"{running.action}.json").read_bytes())
    assert (record["pid"], record["agent"], record["tool"]) == (running.supervisor, "agent-a", "tool-t")
    assert plain.ask("running") == {"running": [running.action]}
    running.interrupt()
    assert not list((plain.directory / "run" / "running").iterdir())


def test_many_tools_at_once_end_once_each_and_are_told_apart(plain: Node) -> None:
    tools = [plain.launch("sh", "-c", f"sleep 0.05; echo {number}") for number in range(12)]
    assert [tool.wait()["output"] for tool in tools] == [f"{number}\n".encode() for number in range(12)]
    assert all(len(plain.ended[tool.action]) == 1 for tool in tools)
    assert all(tool.wait()["state"] == "completed" for tool in tools)


def test_the_same_action_is_not_started_twice_and_an_impossible_command_not_at_all(plain: Node) -> None:
    running = plain.animal("deaf")
    launch = {
        "action": running.action,
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
    assert plain.ask("launch", **launch)["error"]["code"] == "refused"
    assert plain.ask("launch", **{**launch, "action": 999, "command": []})["error"]["code"] == "refused"
    assert plain.ask("launch", **{**launch, "action": 999, "command": ["a\0b"]})["error"]["code"] == "refused"
    running.interrupt()
    running.assert_gone()


def test_closing_the_executor_kills_what_runs_and_tells_it(stage: Stage) -> None:
    node = stage.node("sweep")
    running = node.animal("family").await_settled(4)
    assert node.ask("close") == {"closed": True}
    assert running.wait()["state"] == "interrupted_confirmed"
    running.assert_gone()
