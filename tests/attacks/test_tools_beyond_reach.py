"""Tools that wait in the kernel, are held by others, or step out of what holds them: confirmed only if it is true."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache

import pytest

from failwell.execute.processes import find_descendants, read_stat, scan_processes
from tests.unit.execute.silent import silent_file
from tests.unit.execute.stage import (
    AS_NOBODY,
    EXTREMES,
    IN_CGROUP,
    IN_NAMESPACE,
    NOBODY,
    Node,
    Stage,
    await_true,
    cgroup_place,
    stage_fixture,
)

PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    yield from stage_fixture()


@pytest.fixture(scope="module")
def nodes(stage: Stage) -> Callable[[str], Node]:
    """One node per kind, for the tools that leave their supervisor alone."""
    return lru_cache(stage.node)


# -- that wait in the kernel ----------------------------------------------------------------------------------------


@pytest.mark.requirement("R6.3")
def test_a_process_that_outlives_its_kill_in_the_kernel_is_named_and_never_called_stopped(
    nodes: Callable[[str], Node],
) -> None:
    with silent_file() as path:
        running = nodes("cgroup").animal("reads_what_never_answers", path).await_settled(2)
        ended = running.interrupt()
        left = running.look()
        assert [stat.state for stat in left] == ["D"], "killed, and there"
        assert ended["state"] == "interrupted_unconfirmed"
        assert f"{left[0].pid} (python" in ended["why"]
        assert ended["proven_by"] == "bound reached"
    await_true(lambda: not running.look())
    cgroup = running.cgroup()
    assert cgroup is not None, "it stays as long as somebody is in it, for the next start of a node"
    assert cgroup.await_empty()
    assert cgroup.remove()


@pytest.mark.parametrize("kind", EXTREMES)
def test_a_parent_that_waits_in_the_kernel_for_its_child_is_killed_with_it(
    nodes: Callable[[str], Node], kind: str
) -> None:
    running = nodes(kind).animal("waits_in_vfork").await_settled(2)
    await_true(lambda: any(stat.state == "D" for stat in running.look()))
    running.assert_confirmed(running.interrupt())


# -- that are held by somebody else -----------------------------------------------------------------------------------


@contextlib.contextmanager
def traced(pid: int) -> Iterator[None]:
    """Be its tracer: what is traced is collected by its tracer first, and only then by its parent."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    if ptrace(PTRACE_SEIZE, pid, None, None) != 0:
        pytest.skip(f"no process can be traced here: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        ptrace(PTRACE_DETACH, pid, None, None)


@pytest.mark.requirement("R6.3")
def test_a_dead_process_that_its_tracer_does_not_give_back_is_named_with_the_tracer(
    nodes: Callable[[str], Node],
) -> None:
    running = nodes("cgroup").animal("deaf").await_settled(1)
    pid = running.look()[0].pid
    with traced(pid):
        ended = running.interrupt()
        running.assert_gone()
        assert ended["state"] == "interrupted_unconfirmed", "the kernel did not say that no child is left"
        assert f"not yet collected by its tracer {os.getpid()}" in ended["why"]


def test_a_tool_of_the_same_user_cannot_take_hold_of_its_supervisor(stage: Stage) -> None:
    """Attack: it would have the supervisor say what it likes of it."""
    running = stage.node("nobody").animal("traces_supervisor").await_settled(1)
    supervisor = read_stat(running.supervisor)
    assert supervisor is not None
    assert supervisor.state != "t"
    ended = running.interrupt()
    running.assert_confirmed(ended)
    assert ended["output"] == b"refused\n"


def test_a_tool_of_root_that_holds_its_supervisor_is_killed_by_the_node(stage: Stage) -> None:
    running = stage.node("cgroup").animal("traces_supervisor")
    await_true(lambda: (held := read_stat(running.supervisor)) is not None and held.state == "t")
    ended = running.interrupt()
    running.assert_gone()
    assert ended["state"] in ("interrupted_confirmed", "unknown")
    assert running.cgroup() is None, "the node removes what the supervisor could not"


# -- in namespaces ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EXTREMES)
def test_a_tool_in_namespaces_of_its_own_is_dead_with_all_that_it_has_there(
    nodes: Callable[[str], Node], kind: str
) -> None:
    if kind in AS_NOBODY and not can_make_user_namespaces():
        pytest.skip("no user namespaces for an ordinary user")
    running = nodes(kind).animal("own_namespaces").await_settled(3)
    running.assert_confirmed(running.interrupt())


def can_make_user_namespaces() -> bool:
    command = ["unshare", "-U", "true"]
    done = subprocess.run(
        command, capture_output=True, check=False, cwd="/", user=NOBODY, group=NOBODY, extra_groups=[]
    )
    return done.returncode == 0


@contextlib.contextmanager
def foreign_namespace() -> Iterator[tuple[int, str]]:
    """Give process 1 of a pid namespace that no tool has made, and a file by which it can be entered."""
    holder = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sleep", "30"])
    descriptor, path = tempfile.mkstemp(prefix="failwell-namespace-")
    os.close(descriptor)
    mounted = False
    try:
        await_true(lambda: bool(find_descendants(scan_processes(), [holder.pid])))
        init = find_descendants(scan_processes(), [holder.pid])[0].pid
        mounted = subprocess.run(["mount", "--bind", f"/proc/{init}/ns/pid", path], check=False).returncode == 0
        if not mounted:
            pytest.skip("nothing can be mounted here")
        yield init, path
    finally:
        holder.kill()
        holder.wait()
        if mounted:
            subprocess.run(["umount", "--lazy", path], check=True)
        os.unlink(path)


@pytest.mark.requirement("R6.3")
@pytest.mark.parametrize("kind", ["cgroup", "both", "namespace"])
@pytest.mark.requirement("R6.5")
def test_who_leaves_the_descent_through_a_foreign_namespace_is_found_in_its_cgroup_or_cannot_leave(
    nodes: Callable[[str], Node], kind: str
) -> None:
    """Attack: by descent alone, nothing of it would be left."""
    node = nodes(kind)
    with foreign_namespace() as (init, path):
        running = node.animal("enters_namespace", path)
        if kind in IN_NAMESPACE:
            ended = running.wait()
            running.assert_gone()
            assert (ended["state"], ended["exit_code"]) == ("failed", 3), "the kernel lets nobody into it from here"
            return
        await_true(lambda: bool(running.look()) and bool(find_descendants(scan_processes(), [init])))
        away = find_descendants(scan_processes(), [init])[0]
        ended = running.interrupt()
        assert (now := read_stat(away.pid)) is None or now.dead
        running.assert_confirmed(ended)


# -- in cgroups -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(IN_CGROUP))
def test_who_leaves_its_cgroup_is_found_by_descent(nodes: Callable[[str], Node], kind: str) -> None:
    node = nodes(kind)
    running = node.animal("leaves_cgroup", str(cgroup_place())).await_settled(3)
    cgroup = running.cgroup()
    assert cgroup is not None
    assert len([pid for pid in cgroup.members() if pid in {stat.pid for stat in running.look()}]) == 1
    ended = running.interrupt()
    running.assert_confirmed(ended)
    assert ended["swept"] == 3


@pytest.mark.parametrize("kind", sorted(IN_CGROUP))
def test_cgroups_that_a_tool_has_made_below_its_own_are_emptied_and_removed(
    nodes: Callable[[str], Node], kind: str
) -> None:
    running = nodes(kind).animal("builds_cgroups", str(cgroup_place())).await_settled(5)
    cgroup = running.cgroup()
    assert cgroup is not None
    assert os.path.isdir(f"{cgroup.path}/0/1/2/3")
    running.assert_confirmed(running.interrupt())


@pytest.mark.parametrize("kind", ["cgroup", "delegated"])
def test_a_supervisor_that_its_tool_moves_into_the_cgroup_does_not_stop_itself(stage: Stage, kind: str) -> None:
    running = stage.node(kind).animal("takes_supervisor_in", str(cgroup_place()))
    await_true(lambda: (made := running.cgroup()) is not None and running.supervisor in made.members())
    running.assert_confirmed(running.interrupt())


@pytest.mark.parametrize("kind", ["cgroup", "delegated"])
def test_orphans_that_nothing_else_tells_are_known_by_their_cgroup(stage: Stage, kind: str) -> None:
    """Attack: kill the supervisor, and leave behind who has neither marker nor session nor parent of the launch."""
    node = stage.node(kind)
    running = node.animal("kills_supervisor").await_hidden()
    ended = running.wait()
    running.assert_gone()
    assert (ended["state"], ended["why"]) == ("interrupted_confirmed", "the supervisor died")
    assert running.cgroup() is None


def test_an_ordinary_user_to_whom_none_was_given_goes_without_and_is_told_why(stage: Stage) -> None:
    node = stage.node("nobody")
    assert "Delegate=yes" in node.ask("use_cgroups")["why"]
    running = node.animal("family").await_settled(4)
    running.assert_confirmed(running.interrupt())
