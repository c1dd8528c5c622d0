"""Tools of the node's own user that write in their supervisors' place, or make what those write unreadable.

Whoever may write to the workspace may write there what they like (D10); what it brings them is not to be believed over
the processes that are seen alive, and not to have anybody wait.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from failwell.execute import processes
from failwell.execute.records import clear_stale_records, read_records, stop_recorded
from failwell.execute.reports import read_json
from tests.unit.execute.stage import Node, Running, Stage, await_true, stage_fixture

#: Writes the report of a confirmed stop (argv: its path, its action) and kills the supervisor, with a child that stays.
FORGES = """
import json, os, signal, sys, time
supervisor, now_us = os.getppid(), time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
    os._exit(0)
with open(sys.argv[1], "w") as file:
    json.dump({"schema": "failwell/swept/1", "supervisor": supervisor, "action": int(sys.argv[2]), "agent": "agent-a",
        "tool": "tool-t", "state": sys.argv[3], "exit_code": None, "signal": None, "truncated": False,
        "started_us": now_us, "ended_us": now_us, "swept": 1, "proven_by": "no child left to wait for",
        "why": "ordered", "sweep_us": 1, "processes": []}, file)
while not os.path.exists(sys.argv[1] + ".go"):
    time.sleep(0.002)
os.kill(supervisor, signal.SIGKILL)
time.sleep(60)
"""
#: Puts something in the place of the report that nobody can read to its end, and kills the supervisor.
SPOILS = """
import os, signal, sys, time
path, how = sys.argv[1:]
if how == "pipe":
    os.mkfifo(path)
elif how == "zero":
    os.symlink("/dev/zero", path)
elif how == "deep":
    open(path, "w").write("[" * 500_000)
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    yield from stage_fixture()


@pytest.fixture(scope="module", params=("sweep", "nobody"))
def node(request: pytest.FixtureRequest, stage: Stage) -> Node:
    return stage.node(request.param)


def _with_report(node: Node, code: str, *given: str) -> Running:
    return node.launch(node.interpreter, "-I", "-S", "-c", code, str(_report(node)), *given)


def _report(node: Node) -> Path:
    """Where the supervisor of the next launch reports."""
    return node.directory / "orders" / f"swept-{node._next + 1}.json"


@pytest.mark.parametrize("state", ["interrupted_confirmed", "completed"])
def test_a_report_that_the_tool_wrote_itself_hides_nothing_that_lives(node: Node, state: str) -> None:
    go = Path(f"{_report(node)}.go")
    running = _with_report(node, FORGES, str(node._next + 1), state).await_settled(2)
    go.touch()
    ended = running.wait()
    running.assert_gone()
    assert ended["proven_by"] == "swept by the node, process scan clean twice"
    assert ended["why"] == "the supervisor died"


@pytest.mark.parametrize("how", ["pipe", "zero", "deep"])
def test_a_report_that_cannot_be_read_holds_up_nobody_else(node: Node, how: str) -> None:
    other = node.animal("deaf").await_settled(1)
    assert _with_report(node, SPOILS, how).wait()["why"] == "the supervisor died"
    other.assert_confirmed(other.interrupt())


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _long(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


def _deep(path: Path) -> None:
    path.write_text("[" * 500_000)


@pytest.mark.parametrize("spoil", [_pipe, _endless, _long, _deep, Path.mkdir])
def test_records_that_cannot_be_read_keep_neither_a_stop_nor_a_start_waiting(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    (tmp_path / "running").mkdir()
    path = tmp_path / "running" / "7.json"
    spoil(path)
    done = []

    def all_of_it() -> None:
        with pytest.raises(ValueError, match="cannot be read"):
            read_json(str(path))
        assert [each.sent for each in stop_recorded(tmp_path, None)] == [False]
        assert read_records(tmp_path) == []
        clear_stale_records(tmp_path)
        done.append(True)

    threading.Thread(target=all_of_it, daemon=True).start()
    await_true(lambda: bool(done))
    assert path.is_dir() or not path.exists()


def test_a_tool_of_many_threads_is_not_looked_at_thread_by_thread(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: thousands of threads, each with a list of children, make one look longer than a whole stop may take."""
    code = (
        "import threading, time; threading.stack_size(65536)\n"
        "for _ in range(300): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "print('up', flush=True); time.sleep(60)"
    )
    running = node.launch(node.interpreter, "-I", "-S", "-c", code)
    await_true(lambda: any(stat.threads > 300 for stat in running.look()))
    read = processes._read_children
    asked: list[int] = []

    def note(pid: int) -> list[int]:
        asked.append(pid)
        return read(pid)

    monkeypatch.setattr(processes, "_read_children", note)
    seen = processes.walk_descendants(running.supervisor)
    assert {stat.key for stat in running.look()} <= {stat.key for stat in seen}
    assert asked == [running.supervisor]
    running.assert_confirmed(running.interrupt())
