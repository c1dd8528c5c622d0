"""Callers that were to stop and seem to have ended: never said to be gone while anything that they started is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from failwell.execute import callers
from failwell.execute.callers import Caller, caller_of
from failwell.execute.processes import read_stat
from tests.simulate.house import ROOT, await_true

#: What each caller does once it has connected and is told `go`. `leave(work)` starts a process that nobody waits for.
PREAMBLE = """
import os, socket, sys, threading, time
def note(pid):
    with open(sys.argv[2], "a") as file:
        file.write(f"{pid}\\n")
def leave(shut=True):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            if shut:
                os.closerange(0, 64)
            time.sleep(60)
        os._exit(0)
    os.wait()
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.send(b"here")
peer.recv(1)
"""
ACTS = {
    "a child of its own": "pid = os.fork()\nif pid == 0:\n  os.closerange(0, 64); time.sleep(60)",
    "a double fork in a session of its own": "leave()",
    "a worker that carries the connection on": "leave(shut=False)",
    "a child in a process group of a thread's making": (
        "thread = threading.Thread(target=leave)\nthread.start()\nthread.join()"
    ),
    "a brother, by clone with its parent for a parent": (
        "import ctypes\nlibc = ctypes.CDLL(None)\n"
        "if libc.syscall(56, 0x8000 | 17, 0, 0, 0, 0) == 0:\n  os.closerange(0, 64); time.sleep(60); os._exit(0)"
    ),
    "a grandchild whose parents end one by one": (
        "if os.fork() == 0:\n  for _ in range(20):\n    if os.fork():\n      os._exit(0)\n    os.setsid()\n"
        "  os.closerange(0, 64); time.sleep(60)"
    ),
}


class Called:
    """A caller in a process of its own, and our end of its connection."""

    def __init__(self, place: Path, act: str, *, before: str = "") -> None:
        self.notes = place / "left"
        address = str(place / "door")
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(address)
        listening.listen()
        text = PREAMBLE.replace("peer = socket", f"{before}\npeer = socket", 1) + act
        # Its own parent is a process of ours that outlives it, as a shell or a service manager would.
        self.process = subprocess.Popen([sys.executable, "-I", "-S", "-c", text, address, str(self.notes)])
        self.peer, _ = listening.accept()
        listening.close()
        self.peer.recv(4)
        found = caller_of(self.peer, (os.getpid(),))
        assert isinstance(found, Caller)
        self.caller = found

    def go(self) -> None:
        self.peer.send(b"x")

    def ended(self) -> None:
        self.process.wait(10)

    def hung_up(self) -> bool:
        """Whether nobody holds the other end any more, as the node's loop would learn it."""
        self.peer.setblocking(False)
        try:
            self.caller.connected = bool(self.peer.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        except OSError:
            self.caller.connected = False
        return not self.caller.connected

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(10)
        self.peer.close()
        self.caller.close()


@pytest.fixture
def place() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="fw-"))
    began = set(alive(directory))
    yield directory
    for pid in set(alive(directory)) - began:
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(directory)


def alive(place: Path) -> list[int]:
    """Processes that were started with this place among their arguments."""
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and f"{place}/".encode() in Path(f"/proc/{name}/cmdline").read_bytes():
                found.append(int(name))
    return found


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    await_true(lambda: (stat := read_stat(pid)) is None or stat.dead)


@contextlib.contextmanager
def called(place: Path, act: str, **more: str) -> Iterator[Called]:
    made = Called(place, act, **more)
    try:
        yield made
    finally:
        made.close()


def test_a_caller_that_ends_alone_is_shown_to_be_gone_and_not_before(place: Path) -> None:
    with called(place, "peer.recv(1)") as made:
        assert made.caller.left() == callers.CONNECTED
        made.caller.connected = False
        assert made.caller.left() == callers.ALIVE
        made.go()
        made.process.kill()
        made.ended()
        await_true(made.hung_up)
        await_true(lambda: made.caller.left() is None)


@pytest.mark.requirement("R6.3")
@pytest.mark.parametrize("what", ACTS)
@pytest.mark.requirement("R6.10")
def test_what_a_caller_leaves_behind_keeps_it_from_being_shown_to_be_gone(place: Path, what: str) -> None:
    with called(place, ACTS[what]) as made:
        made.go()
        made.ended()
        for _ in range(5):
            assert made.caller.left() is not None
            made.hung_up()
        if what != "a worker that carries the connection on":
            await_true(made.hung_up)
            await_true(lambda: len(found := alive(place)) == 1 and str(found[0]) in str(made.caller.left()))
        for pid in await_true(lambda: alive(place)):
            end(pid)
        await_true(made.hung_up)
        await_true(lambda: made.caller.left() is None)


def test_what_a_caller_had_left_behind_before_it_connected_counts_as_well(place: Path) -> None:
    with called(place, "", before="leave()") as made:
        made.go()
        made.ended()
        (left,) = await_true(lambda: len(found := alive(place)) == 1 and found)
        await_true(made.hung_up)
        assert made.caller.left() is not None
        end(left)
        await_true(lambda: made.caller.left() is None)


def test_a_caller_that_executes_another_program_is_still_the_same_process(place: Path) -> None:
    with called(place, "os.execv('/bin/sleep', ['sleep', '60'])") as made:
        made.go()
        await_true(made.hung_up)  # the connection goes with the program, the process does not
        assert made.caller.left() == callers.ALIVE
        made.process.kill()
        made.ended()
        await_true(lambda: made.caller.left() is None)


def test_a_caller_whose_first_thread_is_gone_runs_as_long_as_another_does(place: Path) -> None:
    act = (
        "import ctypes\npeer.close()\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
        "ctypes.CDLL(None).syscall(60, 0)"  # exit(2) of this thread alone
    )
    with called(place, act) as made:
        made.go()
        await_true(lambda: (stat := read_stat(made.process.pid)) is not None and stat.state == "Z")
        await_true(made.hung_up)
        assert made.caller.left() == callers.ALIVE
        made.process.kill()
        made.ended()
        await_true(lambda: made.caller.left() is None)


def test_a_runner_that_forks_and_ends_without_end_is_never_overlooked(place: Path) -> None:
    # It ends when it is told to: it is faster than signals, and would run on for ever beside all that comes after it.
    act = (
        "\nif os.fork() == 0:\n  os.setsid(); os.closerange(0, 64)\n  going = os.path.dirname(sys.argv[1]) + '/going'\n"
        "  while os.path.exists(going) and os.fork() == 0:\n    time.sleep(0.002)"
    )
    (place / "going").touch()
    with called(place, act) as made:
        made.go()
        made.ended()
        await_true(made.hung_up)
        for _ in range(8):
            assert made.caller.left() is not None
        (place / "going").unlink()
        await_true(lambda: made.caller.left() is None)


def test_a_process_that_got_the_pid_of_a_caller_is_not_taken_for_it(place: Path) -> None:
    with called(place, "") as made:
        made.go()
        made.ended()
        await_true(made.hung_up)
        await_true(lambda: made.caller.left() is None)
        other = with_pid(made.process.pid)
        try:
            assert made.caller.ended
            if other is not None:  # only root names the next pid
                assert read_stat(made.caller.pid) is not None
                # It hangs below an ancestor of the caller, so it counts as one that the caller may have started.
                assert str(other.pid) in str(made.caller.left())
        finally:
            if other is not None:
                other.kill()
                other.wait()


def with_pid(wanted: int) -> subprocess.Popen[bytes] | None:
    """A process with this pid, where we may have one."""
    for _ in range(50):
        try:
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(wanted - 1))
        except OSError:
            return None
        made = subprocess.Popen(["/bin/sleep", "60"])
        if made.pid == wanted:
            return made
        made.kill()
        made.wait()
    return None


def test_a_connection_that_its_maker_handed_on_before_the_action_is_nobodys_to_watch(place: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(place / "door"))
    listening.listen()
    maker = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", PREAMBLE.replace('peer.send(b"here")', "leave(shut=False)\nos._exit(0)"),
         str(place / "door"), str(place / "left")]
    )  # fmt: skip
    peer, _ = listening.accept()
    maker.wait(10)
    assert caller_of(peer, ()) == callers.GONE
    peer.close()
    listening.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes a pid namespace here")
def test_a_caller_from_outside_of_the_nodes_pid_namespace_is_never_shown_to_be_gone(place: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(place / "door"))
    listening.listen()
    text = (
        "import socket, sys\nfrom failwell.execute.callers import caller_of\n"
        "peer, _ = socket.socket(fileno=int(sys.argv[1])).accept()\nprint(caller_of(peer, ()))"
    )
    inside = subprocess.Popen(
        ["unshare", "--pid", "--fork", sys.executable, "-c", text, str(listening.fileno())],
        pass_fds=(listening.fileno(),), stdout=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    with socket.socket(socket.AF_UNIX) as outside:
        outside.connect(str(place / "door"))
        said, _ = inside.communicate(timeout=20)
    listening.close()
    assert said.decode().strip() == callers.NOT_OURS


def test_where_processes_are_hidden_nothing_is_shown(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "_cannot_see", lambda: True)
    with called(place, "") as made:
        made.go()
        made.ended()
        await_true(made.hung_up)
        assert made.caller.left() == callers.HIDDEN
