"""When a node is late, and who is killed for it: judged from looks alone, and never somebody else's process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from failwell.execute.processes import read_stat
from failwell.execute.records import read_boot_id
from failwell.node import heartbeat, takeover
from failwell.node.heartbeat import Beat, Heart, read_beat
from failwell.node.takeover import Late, Watch
from failwell.node.workspace import Lock, Workspace

S = 1_000_000
LOOK = 100_000
BOOT = "b" * 32


def beat(at_us: int, phase: str = heartbeat.SERVING, pid: int = 7) -> Beat:
    return Beat(pid, 70, BOOT, at_us, phase)


def looks(watch: Watch, found: Beat | None, since_us: int, until_us: int, holder: int | None = 7) -> Late | None:
    """Look in time at what does not change, until it is judged to be late."""
    for now_us in range(since_us, until_us + 1, LOOK):
        if (late := watch.judge(holder, found, now_us)) is not None:
            return late
    return None


@pytest.mark.requirement("R28.30")
def test_a_beat_is_late_after_two_seconds_and_not_before() -> None:
    assert looks(Watch(BOOT), beat(10 * S), 10 * S, 12 * S) is None
    late = looks(Watch(BOOT), beat(10 * S), 10 * S, 13 * S)
    assert late == Late(beat(10 * S), takeover.SILENT, 2 * S + LOOK)


@pytest.mark.requirement("R28.31")
def test_a_machine_that_stood_still_makes_no_node_late() -> None:
    watch = Watch(BOOT)
    assert looks(watch, beat(10 * S), 10 * S, 10 * S + LOOK) is None
    assert watch.judge(7, beat(10 * S), 50 * S) is None  # both slept: this look is as late as the beat
    assert looks(watch, beat(10 * S), 50 * S + LOOK, 52 * S) is None
    assert looks(watch, beat(10 * S), 52 * S + LOOK, 53 * S) is not None  # and it still says nothing


def test_who_begins_to_look_judges_nobody_by_what_it_did_not_see() -> None:
    assert looks(Watch(BOOT), beat(10 * S), 100 * S, 102 * S) is None
    assert looks(Watch(BOOT), beat(10 * S), 100 * S, 103 * S) is not None


@pytest.mark.parametrize(("phase", "most_s"), [(heartbeat.STARTING, 60), (heartbeat.ENDING, 30)])
def test_a_node_that_starts_or_ends_has_longer_and_not_for_ever(phase: str, most_s: int) -> None:
    assert looks(Watch(BOOT), beat(10 * S, phase), 10 * S, (10 + most_s) * S) is None
    assert looks(Watch(BOOT), beat(10 * S, phase), 10 * S, (11 + most_s) * S) is not None


def test_a_free_lock_beside_a_beat_is_a_dead_node_and_without_one_an_end_on_purpose() -> None:
    watch = Watch(BOOT)
    assert watch.judge(None, None, 10 * S) is None
    found = watch.judge(None, beat(10 * S - LOOK), 10 * S)
    assert found is not None
    assert found.why == takeover.DIED
    gave_way = watch.judge(None, beat(10 * S, heartbeat.GAVE_WAY), 10 * S)
    assert gave_way is not None
    assert gave_way.why == takeover.GAVE_WAY


def test_a_beat_of_another_boot_or_of_who_does_not_hold_the_lock_says_nothing() -> None:
    old = Beat(7, 70, "a" * 32, 0, heartbeat.SERVING)
    assert looks(Watch(BOOT), old, 10 * S, 20 * S) is None
    assert Watch(BOOT).judge(None, old, 10 * S) is None
    assert looks(Watch(BOOT), beat(10 * S), 10 * S, 20 * S, holder=8) is None


# ---- taking it -----------------------------------------------------------------------------------------------


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "ws").mkdir()
    return Workspace(tmp_path / "ws")


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def forged(workspace: Workspace, pid: int, phase: str = heartbeat.SERVING) -> Beat:
    """A beat in the place of the node's that names another process."""
    stat = read_stat(pid)
    assert stat is not None
    made = Beat(pid, stat.start_ticks, read_boot_id(), heartbeat.now_us(), phase)
    text = f"{made.pid} {made.start_ticks} {made.boot_id} {made.at_us} {made.phase}"
    (workspace.runtime / heartbeat.FILE_NAME).write_text(text)
    assert read_beat(workspace.runtime) == made
    return made


@pytest.mark.requirement("R28.32")
def test_a_beat_that_names_somebody_elses_process_gets_nobody_killed(
    workspace: Workspace, bystander: subprocess.Popen[bytes]
) -> None:
    """Attack: the agent writes the process id of the guard, or of a shell, into the heartbeat."""
    held = Lock(workspace)
    made = forged(workspace, bystander.pid)
    assert takeover.take(workspace, Late(made, takeover.SILENT, 9 * S)) is None
    assert bystander.poll() is None
    held.release()


def test_who_holds_the_lock_is_killed_by_process_id_and_start_time_and_by_neither_alone(workspace: Workspace) -> None:
    """Attack: the node is gone, and its number is another process's by the time it is killed."""
    held = Lock(workspace)
    command = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command, pass_fds=(held._handle,)) as node:
        made = forged(workspace, node.pid)
        os.close(held._handle)
        assert takeover.take(workspace, Late(made._replace(start_ticks=1), takeover.SILENT, 9 * S)) is None
        assert node.poll() is None
        node.send_signal(signal.SIGSTOP)
        taken = takeover.take(workspace, Late(made, takeover.SILENT, 9 * S))
        assert node.wait() == -signal.SIGKILL
    assert taken is not None
    assert (taken.killed, taken.pid, taken.late_us) == (True, node.pid, 9 * S)
    taken.lock.release()


@pytest.mark.requirement("R28.33")
def test_a_node_that_ended_on_purpose_meanwhile_is_not_replaced_and_its_lock_is_free_again(
    workspace: Workspace,
) -> None:
    heart = Heart(workspace.runtime)
    seen = read_beat(workspace.runtime)
    assert seen is not None
    assert seen.phase == heartbeat.STARTING
    heart.stop(on_purpose=True)
    assert takeover.take(workspace, Late(seen, takeover.DIED, 0)) is None
    Lock(workspace).release()


def test_a_node_that_died_is_replaced_by_who_gets_the_lock(
    workspace: Workspace, bystander: subprocess.Popen[bytes]
) -> None:
    made = forged(workspace, bystander.pid)
    bystander.send_signal(signal.SIGKILL)
    bystander.wait()
    taken = takeover.take(workspace, Late(made, takeover.DIED, 5))
    assert taken is not None
    assert not taken.killed
    assert takeover.take(workspace, Late(made, takeover.DIED, 5)) is None  # a second one comes too late
    taken.lock.release()


def test_what_lies_in_the_place_of_the_heartbeat_is_neither_followed_nor_believed(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Attack: a link to a file of the operator's in the place of the heartbeat, or nonsense in it."""
    victim = tmp_path / "precious"
    victim.write_text("precious")
    place = workspace.runtime / heartbeat.FILE_NAME
    place.symlink_to(victim)
    assert read_beat(workspace.runtime) is None
    heart = Heart(workspace.runtime)
    heart.stop(on_purpose=False)
    assert victim.read_text() == "precious"
    found = read_beat(workspace.runtime)
    assert found is not None
    assert found.phase == heartbeat.GAVE_WAY
    for text in ("", "1 2 3", "x" * 300, "\xff"):
        place.write_text(text, "latin-1")
        assert read_beat(workspace.runtime) is None
