"""Tools that will not be stopped: each gets the order, then /proc is asked whether anything of it is left."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from failwell.execute.processes import boottime_us, read_stat
from tests.unit.execute.stage import ALL_KINDS, EXTREMES, NOBODY, Node, Stage, await_true, stage_fixture


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    yield from stage_fixture()


@pytest.fixture(scope="module", params=EXTREMES)
def node(request: pytest.FixtureRequest, stage: Stage) -> Node:
    """One node per kind for the tools that leave their supervisor alone."""
    return stage.node(request.param)


@pytest.fixture(params=EXTREMES)
def fresh(request: pytest.FixtureRequest, stage: Stage) -> Node:
    return stage.node(request.param)


@pytest.mark.requirement("R6.1")
def test_a_tool_that_ignores_every_signal_is_dead_after_the_order(node: Node) -> None:
    running = node.animal("deaf").await_settled(1)
    ended = running.interrupt()
    running.assert_confirmed(ended)
    assert ended["signal"] in (signal.SIGKILL, None)
    assert ended["swept"] == 1


@pytest.mark.requirement("R6.1")
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_children_and_detached_grandchildren_are_dead_also_with_a_cleared_environment(stage: Stage, kind: str) -> None:
    running = stage.node(kind).animal("family").await_settled(4)
    ended = running.interrupt()
    running.assert_confirmed(ended)
    assert ended["swept"] == 4


@pytest.mark.parametrize(
    ("animal", "count"),
    [
        ("swallows_cancellation", 1),
        ("sync_under_async", 1),
        ("threads", 3),
        ("own_subreaper", 3),
        ("closes_pipes_and_stays", 1),
    ],
)
def test_a_tool_that_nothing_cancels_or_tells_is_dead_with_its_family(node: Node, animal: str, count: int) -> None:
    running = node.animal(animal).await_settled(count)
    ended = running.interrupt()
    running.assert_confirmed(ended)
    assert ended["swept"] == count


def test_a_tool_that_writes_without_end_gains_no_time_by_it(node: Node) -> None:
    """Attack: whoever must first read all that is written never comes to the order."""
    running = node.animal("floods", output_cap_bytes=50_000).await_settled(4)
    before = boottime_us()
    ended = running.interrupt()
    running.assert_confirmed(ended)
    assert ended["ended_us"] - before < 2_000_000
    assert (len(ended["output"]), len(ended["errors"]), ended["truncated"]) == (50_000, 8192, True)


def test_a_fork_storm_is_stopped_while_it_grows(node: Node) -> None:
    running = node.animal("storm").await_processes(40)
    ended = running.interrupt()
    running.assert_confirmed(ended)
    assert 40 <= ended["swept"] <= 201


def test_a_process_that_forks_and_dies_without_end_is_caught(node: Node) -> None:
    running = node.animal("leaving_runner").await_processes(2)
    ended = running.interrupt()
    running.assert_confirmed(ended)


def test_a_tool_that_wakes_its_frozen_family_is_still_killed(node: Node) -> None:
    running = node.animal("wakes_others").await_processes(4)
    node.order("freeze", actions=[running.action])
    ended = running.interrupt()
    running.assert_confirmed(ended)
    assert ended["swept"] == 4


def test_a_tool_that_shows_as_a_zombie_while_a_thread_goes_on_is_not_taken_for_dead(node: Node) -> None:
    running = node.animal("hides_as_zombie")
    await_true(lambda: any(stat.state == "Z" for stat in running.look()))
    assert running.look(), "its second thread runs"
    ended = running.interrupt()
    running.assert_confirmed(ended)


def test_a_child_slipped_to_the_supervisor_is_stopped_with_the_rest(node: Node) -> None:
    running = node.animal("makes_sibling").await_settled(2)
    ended = running.interrupt()
    running.assert_confirmed(ended)
    assert ended["swept"] == 2


def test_a_grandchild_that_holds_the_output_open_delays_nothing_and_is_not_left_behind(node: Node) -> None:
    running = node.animal("leaves_reader")
    ended = running.wait()
    running.assert_gone()
    assert (ended["state"], ended["exit_code"], ended["swept"]) == ("completed", 0, 1)
    assert ended["output"] == b"done\n"
    assert ended["ended_us"] - ended["started_us"] < 5_000_000


def test_a_tool_that_stopped_its_supervisor_is_killed_all_the_same(fresh: Node) -> None:
    running = fresh.animal("stops_supervisor_once").await_settled(1)
    ended = running.interrupt()
    running.assert_confirmed(ended)


def test_a_deadline_holds_also_while_the_supervisor_is_stopped(stage: Stage) -> None:
    """Attack: who is to look at the clock stands still."""
    running = stage.node("both").animal("deaf", deadline_us=700_000).await_settled(1)
    os.kill(running.supervisor, signal.SIGSTOP)
    ended = running.wait()
    running.assert_confirmed(ended)
    assert ended["why"] == "deadline"
    assert ended["ended_us"] - ended["started_us"] < 3_000_000


def test_a_tool_that_stops_its_supervisor_without_end_is_killed_by_the_node(stage: Stage) -> None:
    node = stage.node("sweep")
    running = node.animal("stops_supervisor").await_settled(1)
    ended = running.interrupt()
    running.assert_gone()
    assert ended["state"] in ("interrupted_confirmed", "unknown")
    await_true(lambda: read_stat(running.supervisor) is None)


@pytest.mark.parametrize("kind", ["sweep", "nobody"])
def test_a_tool_that_kills_its_supervisor_brings_its_orphans_to_the_node_which_kills_them(
    stage: Stage, kind: str
) -> None:
    # The node has named its own children (none), so that also an orphan without a trace is known for one.
    node = stage.node(kind, owns_children=True)
    running = node.animal("kills_supervisor").await_hidden()
    ended = running.wait()
    running.assert_gone()
    assert ended["state"] == "interrupted_confirmed"
    assert ended["why"] == "the supervisor died"
    assert ended["swept"] >= 2
    assert node.ask("running") == {"running": []}


def test_an_orphan_that_cannot_be_attributed_is_reported_and_never_called_stopped(stage: Stage) -> None:
    node = stage.node("sweep")
    for _ in range(10):
        running = node.animal("kills_supervisor").await_hidden()
        ended = running.wait()
        left = running.look()
        if not left:  # the node looked before its parent was gone and so knew whose it was, or it went by itself
            continue
        try:
            assert len(left) == 1, "the grandchild that cleared its environment and its session"
            assert ended["state"] == "interrupted_unconfirmed"
            assert str(left[0].pid) in ended["why"]
        finally:
            for stat in left:
                os.kill(stat.pid, signal.SIGKILL)
        return
    pytest.fail("ten times in a row the orphan was found before its parent died")


def test_in_a_namespace_a_tool_cannot_kill_its_supervisor(stage: Stage) -> None:
    node = stage.node("namespace")
    running = node.animal("kills_supervisor").await_settled(3)
    assert read_stat(running.supervisor) is not None
    ended = running.interrupt()
    running.assert_confirmed(ended)
    assert ended["swept"] == 3


def is_wholly_root(pid: int) -> bool:
    """Whether all four of its user ids are root's: then an ordinary user may not signal it."""
    try:
        return "\nUid:\t0\t0\t0\t0\n" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.requirement("R6.3")
def test_a_process_that_this_user_may_not_kill_is_reported_and_never_called_stopped(stage: Stage) -> None:
    node = stage.node("nobody")
    # A Python that becomes root, for a second, in a directory that only the test's ordinary user enters.
    directory = Path(tempfile.mkdtemp(prefix="failwell-root-"))
    python = directory / "python"
    pid = 0
    try:
        os.chown(directory, NOBODY, NOBODY)
        shutil.copy(node.interpreter, python)
        python.chmod(0o4755)
        if os.statvfs(directory).f_flag & os.ST_NOSUID:
            pytest.skip("the temporary directory is mounted nosuid")
        code = "import posix, time; posix.setuid(0); time.sleep(30)"
        running = node.launch(str(python), "-I", "-S", "-c", code)
        await_true(lambda: any(is_wholly_root(stat.pid) for stat in running.look()))
        pid = running.look()[0].pid
        ended = running.interrupt()
        assert ended["state"] == "interrupted_unconfirmed"
        assert f"{pid} (python)" in ended["why"]
        assert read_stat(pid) is not None, "and it was true"
    finally:
        shutil.rmtree(directory)
        if pid:
            os.kill(pid, signal.SIGKILL)
