"""Supervisors that stand by: each launch runs exactly once, whatever becomes of them and of what forked them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.execute.processes import Stat, read_stat, scan_processes
from failwell.execute.records import stop_recorded
from tests.unit.execute.stage import KINDS, Node, Running, Stage, await_true, stage_fixture

COUNT = 2


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    yield from stage_fixture()


@pytest.fixture
def node(stage: Stage) -> Node:
    return warm(stage.node("sweep"))


def warm(node: Node, count: int = COUNT) -> Node:
    assert node.ask("warm", count=count) == {"full": True}
    return node


def nursery_of(node: Node) -> int | None:
    """The node names it: from outside it looks like those of its supervisors that were launched."""
    pid: int | None = node.ask("nursery")["pid"]
    return None if pid is None or is_dead(pid) else pid


def standing_by(node: Node) -> list[Stat]:
    """Those that its nursery has forked and that have no launch yet."""
    session = nursery_of(node)
    if session is None:
        return []
    return [stat for stat in scan_processes().values() if stat.session == session and stat.pid != session]


def is_dead(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is None or stat.dead


def is_stopped(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.state == "T"


def await_full(node: Node, but: set[int] = frozenset()) -> list[Stat]:  # type: ignore[assignment]
    """Wait until as many stand by as should, none of these among them."""
    found: list[Stat] = []

    def full() -> bool:
        found[:] = [stat for stat in standing_by(node) if stat.ppid == node.child.pid]
        return len(found) == COUNT and not {stat.pid for stat in found} & but

    await_true(full)
    return found


def note(node: Node, name: str) -> tuple[Path, tuple[str, ...]]:
    """A tool that leaves one line for each time that it runs."""
    path = node.directory / name
    return path, ("/bin/sh", "-c", f"echo did >> {path}")


def runs_once(running: Running, path: Path) -> None:
    ended = running.wait()
    assert ended["state"] == "completed", ended
    assert path.read_text() == "did\n"
    assert len(running.node.ended[running.action]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_launch_goes_to_one_that_stands_by_and_another_takes_its_place(stage: Stage, kind: str) -> None:
    node = warm(stage.node(kind))
    before = {stat.pid for stat in await_full(node)}
    running = node.animal("family").await_settled(4)
    assert running.supervisor in before
    stat = read_stat(running.supervisor)
    assert stat is not None
    assert (stat.session, stat.ppid) == (running.supervisor, node.child.pid)
    await_full(node, {running.supervisor})
    ended = running.interrupt()
    assert (ended["state"], ended["swept"]) == ("interrupted_confirmed", 4)
    running.assert_gone()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.requirement("R6.22")
@pytest.mark.requirement("R6.23")
def test_a_killed_node_leaves_neither_nursery_nor_supervisor_nor_tool_not_even_stopped_ones(
    stage: Stage, kind: str
) -> None:
    node = warm(stage.node(kind))
    running = node.animal("family").await_settled(4)
    left = await_full(node, {running.supervisor})
    nursery = nursery_of(node)
    assert nursery is not None
    holder = node.ask("fork_child", session=False)["pid"]  # it holds every descriptor of the node open
    os.kill(left[0].pid, signal.SIGSTOP)
    os.kill(nursery, signal.SIGSTOP)
    node.child.kill()
    node.child.wait()
    try:
        await_true(lambda: all(is_dead(pid) for pid in (nursery, left[0].pid, left[1].pid)))
        await_true(lambda: is_dead(running.supervisor))
        running.assert_gone()
    finally:
        os.kill(holder, signal.SIGKILL)
    assert node.report(running.action)["state"] == "interrupted_confirmed"


def test_what_stands_by_dead_or_stopped_is_not_given_a_launch(node: Node) -> None:
    for number, harm in enumerate((signal.SIGKILL, signal.SIGSTOP)):
        path, command = note(node, f"harmed-{number}")
        before = await_full(node)
        for stat in before:
            os.kill(stat.pid, harm)
        await_true(lambda before=before: all(is_dead(stat.pid) or is_stopped(stat.pid) for stat in before))  # type: ignore[misc]
        running = node.launch(*command)
        runs_once(running, path)
        assert running.supervisor not in {stat.pid for stat in before}
        await_true(lambda before=before: all(is_dead(stat.pid) for stat in before))  # type: ignore[misc]


@pytest.mark.parametrize("signals", [[signal.SIGKILL], []], ids=["killed", "stopped"])
def test_a_supervisor_lost_with_an_unread_launch_costs_nothing_and_starts_nothing_twice(
    node: Node, signals: list[int]
) -> None:
    path, command = note(node, "lost")
    assert node.ask("strike", signals=signals) == {"struck": True}
    before = {stat.pid for stat in await_full(node)}
    running = node.launch(*command)
    runs_once(running, path)
    assert running.supervisor not in before, "it is told of, and on record as, the one that really ran the tool"
    await_full(node, before - {stat.pid for stat in standing_by(node)})
    assert not list((node.directory / "run" / "running").iterdir())


def test_a_launch_that_a_signal_ordered_to_stop_is_not_given_to_another(node: Node) -> None:
    """As a suspension without the node does (D2): the supervisor has the order, and has not read the launch."""
    path, command = note(node, "stopped")
    node.ask("strike", signals=[signal.SIGTERM, signal.SIGCONT])
    running = node.launch(*command)
    assert running.wait()["state"] == "blocked"
    assert not path.exists()


def test_a_launch_that_is_frozen_while_its_supervisor_dies_is_not_given_to_another(node: Node) -> None:
    path, command = note(node, "frozen")
    node.ask("strike", signals=[signal.SIGKILL], then="freeze")
    running = node.launch(*command)
    assert running.wait()["state"] == "blocked"
    assert not path.exists()


@pytest.mark.requirement("R8.28")
def test_an_order_that_lies_unread_when_the_launch_is_on_record_starts_nothing(node: Node) -> None:
    path, command = note(node, "unread")
    node.order("unread", now=True)
    launch = {
        "action": 900, "agent": "a", "tool": "t", "command": command, "cwd": None, "env": {}, "stdin": "",
        "deadline_us": None, "output_cap_bytes": 10, "marker": "m",
    }  # fmt: skip
    refused = node.ask("launch", **launch)
    assert refused["error"]["code"] == "refused"
    assert "order" in refused["error"]["message"]
    assert stop_recorded(node.directory / "run", None) == []
    node.order("unread", now=False)
    assert node.ask("launch", **launch)["process"]["pid"] > 0
    assert node.wait(900)["state"] == "completed"
    assert path.read_text() == "did\n"


def test_the_nursery_is_killed_again_and_again_while_tools_are_launched(node: Node) -> None:
    tools = []
    for number in range(12):
        path, command = note(node, f"during-{number}")
        if number % 2 and (nursery := nursery_of(node)) is not None:
            os.kill(nursery, signal.SIGKILL)
        tools.append((node.launch(*command), path))
        if number == 6:
            time.sleep(1.1)  # there is another after a second
    for running, path in tools:
        runs_once(running, path)
    await_full(node)


def test_a_stopped_nursery_costs_no_launch_and_is_replaced(node: Node) -> None:
    node.order("impatient")
    nursery = nursery_of(node)
    assert nursery is not None
    os.kill(nursery, signal.SIGSTOP)
    tools = []
    for number in range(5):
        path, command = note(node, f"wedged-{number}")
        tools.append((node.launch(*command), path))
    for running, path in tools:
        runs_once(running, path)
    await_true(lambda: is_dead(nursery))
    await_full(node)


AROUND = """
import os, signal, sys
def stat(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()
supervisor = os.getppid()
node = int(stat(supervisor)[1])
if os.fork() == 0:
    os.setsid()
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(30)"], {})
victims = []
for entry in os.listdir("/proc"):
    if entry.isdigit():
        try:
            if int(stat(entry)[1]) == node:
                victims.append(int(entry))
        except OSError:
            pass
victims.sort(key=lambda pid: pid == supervisor)
for pid in victims:
    os.kill(pid, signal.SIGKILL)
import time; time.sleep(30)
"""


def test_a_tool_that_kills_its_supervisor_and_all_beside_it_is_swept_and_the_next_one_runs(stage: Stage) -> None:
    node = warm(stage.node("sweep", owns_children=True))
    before = {stat.pid for stat in await_full(node)}
    nursery = nursery_of(node)
    assert nursery is not None
    running = node.launch(node.interpreter, "-I", "-S", "-c", AROUND)
    ended = running.wait()
    running.assert_gone()
    assert ended["state"] == "interrupted_confirmed"
    assert all(is_dead(pid) for pid in (nursery, *before))
    path, command = note(node, "after")
    runs_once(node.launch(*command), path)
    await_full(node)


def test_a_tool_that_kills_the_nursery_alone_goes_on_and_so_does_the_node(node: Node) -> None:
    nursery = nursery_of(node)
    assert nursery is not None
    running = node.launch("/bin/sh", "-c", f"kill -9 {nursery}; echo done")
    assert running.wait()["output"] == b"done\n"
    path, command = note(node, "next")
    runs_once(node.launch(*command), path)
    await_true(lambda: is_dead(nursery))
    await_full(node)


@pytest.mark.parametrize("owns_children", [False, True])
@pytest.mark.requirement("R6.24")
@pytest.mark.requirement("R6.25")
def test_those_that_stand_by_are_no_orphans_and_no_orphan_passes_for_one(stage: Stage, owns_children: bool) -> None:
    node = warm(stage.node("sweep", owns_children=owns_children))
    other = node.animal("deaf").await_settled(1)
    running = node.animal("family").await_settled(4)
    standing = await_full(node, {other.supervisor, running.supervisor})
    nursery = nursery_of(node)
    assert nursery is not None
    assert {stat.session for stat in running.look()}.isdisjoint({nursery})
    os.kill(running.supervisor, signal.SIGKILL)
    ended = running.wait()
    assert ended["state"] == ("interrupted_confirmed" if owns_children else ended["state"])
    assert str(nursery) not in (ended["why"] or "")
    assert not is_dead(nursery)
    assert not any(is_dead(stat.pid) for stat in standing)
    assert len(other.look()) == 1
    for stat in running.look():
        os.kill(stat.pid, signal.SIGKILL)  # the one that cannot be attributed where the node has children of its own


def test_sixty_four_launches_at_once_run_once_each(node: Node) -> None:
    path = node.directory / "many"
    launch: dict[str, Any] = {
        "agent": "a", "tool": "t", "command": ["/bin/sh", "-c", f"echo did >> {path}"], "cwd": None, "env": {},
        "deadline_us": None, "output_cap_bytes": 10, "marker": "m",
    }  # fmt: skip
    actions = list(range(5000, 5064))
    assert node.ask("launch_many", launch=launch, actions=actions) == {"launched": 64}
    assert {node.wait(action)["state"] for action in actions} == {"completed"}
    assert path.read_text() == "did\n" * 64
    assert all(len(node.ended[action]) == 1 for action in actions)
    await_full(node)


@pytest.mark.parametrize("left", [1, 2, 4])
def test_a_node_without_descriptors_runs_a_tool_once_or_says_that_it_did_not(stage: Stage, left: int) -> None:
    node = warm(stage.node("sweep"))
    outcomes: list[Callable[[], bool]] = []
    assert node.ask("exhaust", left=left) == {"exhausted": True}
    for number in range(4):
        path, command = note(node, f"left-{number}")
        launch = {
            "action": 700 + number, "agent": "a", "tool": "t", "command": command, "cwd": None, "env": {}, "stdin": "",
            "deadline_us": None, "output_cap_bytes": 10, "marker": "m",
        }  # fmt: skip
        answer = node.ask("launch", **launch)
        if "error" in answer:
            assert answer["error"]["code"] == "unhealthy"
            outcomes.append(lambda path=path: not path.exists())  # type: ignore[misc]
        else:
            assert node.wait(700 + number)["state"] == "completed"
            outcomes.append(lambda path=path: path.read_text() == "did\n")  # type: ignore[misc]
    assert all(outcome() for outcome in outcomes)
    assert node.ask("relieve") == {"relieved": True}
    path, command = note(node, "relieved")
    runs_once(node.launch(*command), path)
    await_full(node)


def test_a_node_whose_standard_error_is_closed_has_a_nursery_all_the_same(stage: Stage) -> None:
    node = stage.node("sweep")
    node.order("close_errors")
    warm(node)
    before = {stat.pid for stat in await_full(node)}
    running = node.launch("/bin/sh", "-c", "echo out; echo err >&2")
    ended = running.wait()
    assert (ended["state"], ended["output"], ended["errors"]) == ("completed", b"out\n", b"err\n")
    assert running.supervisor in before


def test_neither_the_nodes_environment_nor_a_launch_is_in_the_nursery(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = warm(stage.node("sweep", marker="of-the-node-7f3a"))
    running = node.launch("/bin/true", env={"TOKEN": "of-the-tool-91bc"}, stdin=b"argument-of-the-tool-5d0e")
    ended = running.wait()
    assert ended["state"] == "completed", ended
    standing = await_full(node, {running.supervisor})
    nursery = nursery_of(node)
    assert nursery is not None
    for pid in (nursery, *(stat.pid for stat in standing)):
        seen = _memory(pid)
        assert b"nursery" in seen, "it was really looked into"
        for secret in (b"of-the-node-7f3a", b"of-the-tool-91bc", b"argument-of-the-tool-5d0e"):
            assert secret not in seen


def _memory(pid: int) -> bytes:
    """Every page that a process could have written to."""
    seen = Path(f"/proc/{pid}/environ").read_bytes()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, mode, *_ = line.split()
            if mode.startswith("rw"):
                begin, end = (int(part, 16) for part in span.split("-"))
                memory.seek(begin)
                with contextlib.suppress(OSError):
                    seen += memory.read(end - begin)
    return seen


def test_closing_ends_all_that_stand_by_and_the_nursery(node: Node) -> None:
    running = node.animal("family").await_settled(4)
    await_full(node, {running.supervisor})
    assert node.ask("close") == {"closed": True}
    assert running.wait()["state"] == "interrupted_confirmed"
    assert [stat for stat in scan_processes().values() if stat.ppid == node.child.pid] == [], "nor dead ones"


def test_fewer_or_more_stand_by_when_the_settings_say_so(stage: Stage) -> None:
    node = warm(stage.node("sweep"), 3)
    assert len(standing_by(node)) == 3
    node.ask("warm", count=0)
    await_true(lambda: standing_by(node) == [])
    path, command = note(node, "none")
    runs_once(node.launch(*command), path)
    warm(node, 1)
    assert len(standing_by(node)) == 1
