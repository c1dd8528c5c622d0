"""What a self-test says of each executor class: no more than was shown, and no less."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from failwell.core.kinds import ExecutorTested
from failwell.node.settings import ToolSettings
from failwell.node.shown import missing_commands, shown
from failwell.ports.executor import SelfTest

PASSED = SelfTest(
    interrupt="confirmed", interrupt_us=1, interrupt_processes=3, node_killed="confirmed", node_killed_us=2,
    node_killed_processes=3, pid_namespace=True, pid_namespace_why=None, elapsed_us=3, cgroup=True, cgroup_why=None,
    rollback="confirmed", cpu_us=4,
)  # fmt: skip
ORDINARY = replace(
    PASSED, pid_namespace=False, pid_namespace_why="unshare: not permitted", cgroup=False, cgroup_why="not delegated"
)


def told(test: SelfTest | str, used: tuple[str, ...] = (), **tools: ToolSettings) -> dict[str, ExecutorTested]:
    return {body.executor: body for body in shown(test, tools, Path("/"), frozenset(used))}


def tool(**fields: object) -> ToolSettings:
    return ToolSettings(command=("true",), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("test", "state", "mechanisms"),
    [
        (PASSED, "ok", ("sweep", "pid namespace", "cgroup")),
        (replace(PASSED, cgroup=False, cgroup_why="not delegated"), "ok", ("sweep", "pid namespace")),
        (replace(PASSED, pid_namespace=False, pid_namespace_why="no"), "ok", ("sweep", "cgroup")),
        (ORDINARY, "degraded", ("sweep",)),
        (replace(PASSED, interrupt="a process was left"), "failed", ()),
        (replace(PASSED, node_killed="still there: 7 (sleep) S"), "failed", ()),
        ("the self-test gave no result", "failed", ()),
    ],
)
def test_supervised_is_as_good_as_what_was_shown(
    test: SelfTest | str, state: str, mechanisms: tuple[str, ...]
) -> None:  # fmt: skip
    body = told(test)["supervised"]
    assert (body.state, body.mechanisms) == (state, mechanisms)
    if state == "failed":
        assert told(test)["transactional"].state == "failed", "it runs under a supervisor too"


def test_a_mechanism_that_was_in_use_and_is_not_shown_any_more_is_given_up_and_said() -> None:
    lost = replace(PASSED, cgroup=False, cgroup_why="could not be frozen")
    assert told(lost)["supervised"].state == "ok"
    body = told(lost, ("sweep", "pid namespace", "cgroup"))["supervised"]
    assert (body.state, body.mechanisms) == ("degraded", ("sweep", "pid namespace"))
    assert "given up cgroup: could not be frozen" in body.detail


def test_what_is_not_ours_to_test_is_called_untested_and_never_fine() -> None:
    found = told(PASSED)
    assert {name: found[name].state for name in ("fenced", "unstoppable", "cooperative")} == dict.fromkeys(
        ("fenced", "unstoppable", "cooperative"), "untested"
    )
    assert told(replace(PASSED, rollback="not tested"))["transactional"].state == "untested"
    assert told(replace(PASSED, rollback="2 of 600 rows"))["transactional"].state == "failed"


def test_commands_that_cannot_be_executed_are_found_by_name_path_and_mode(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    plain.chmod(0o600)
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    tools = {
        "there": tool(fence=(str(script),)), "by-name": tool(fence=("true",)),
        "beside": tool(fence=("./script",), cwd=str(tmp_path)), "none": tool(),
        "gone": tool(fence=(str(tmp_path / "gone"),)), "plain": tool(fence=(str(plain),)),
        "directory": tool(fence=(str(tmp_path),)), "unknown": tool(fence=("no-such-command-here",)),
    }  # fmt: skip
    assert sorted(missing_commands(tools, "fence", Path("/"))) == ["directory", "gone", "plain", "unknown"]
    assert told(PASSED, a=tools["there"])["fenced"].state == "ok"
    assert told(PASSED, a=tools["there"], b=tools["gone"])["fenced"].state == "degraded"
    assert told(PASSED, b=tools["gone"])["fenced"].state == "failed"
    assert told(PASSED, b=tool(confirm=("/no/such",)))["unstoppable"].state == "degraded", "it promises no stop"
