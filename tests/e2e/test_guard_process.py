"""The guard as a process: it signs, dies, hangs, is replaced, ends with its node, and listens for another user."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from failwell.core import note
from failwell.guard.frames import Frames, frame
from failwell.guard.keypair import verify
from failwell.guard.remote import RemoteGuard
from failwell.guard.sealing import LocalGuard
from failwell.guard.state import FILE_NAME, peek
from failwell.ports.guard import Guard, GuardFailed, GuardLost, GuardMoved, GuardRefused, Sealed
from tests.unit.guard.trees import HONEST

ORIGIN = "failwell/00112233aabbccdd"
ROOT = Path(__file__).resolve().parents[2]
#: What a busy machine may add to any deadline before a test calls it missed.
SLACK_S = 2.0


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "guard"
    LocalGuard.create(place, ORIGIN).close()
    return place


@pytest.fixture
def guard(place: Path) -> Iterator[RemoteGuard]:
    guard = RemoteGuard.at(str(place))
    yield guard
    guard.close()


def grow(guard: Guard, size: int, timeout_s: float = 5.0) -> Sealed:
    begin, _ = guard.grown()
    return guard.seal(size, HONEST.root(size), HONEST.path(begin, size), timeout_s, since=begin)


def pid_of(guard: RemoteGuard) -> int:
    assert guard.pid is not None
    return guard.pid


def state_of(pid: int) -> str:
    """Its letter in proc(5); X for one that is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def gone(pid: int) -> bool:
    """Whether the process runs no more; one that nobody has collected yet does not run."""
    return state_of(pid) in "ZX"


def until(holds: Callable[[], bool], limit_s: float = 5.0) -> bool:
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


# ---- it signs -------------------------------------------------------------------------------------------------------


def test_it_signs_in_its_own_process_and_remembers_across_restarts(place: Path, guard: RemoteGuard) -> None:
    pid = pid_of(guard)
    assert pid != os.getpid()
    sealed = None
    for size in (0, 1, 5, 6, 8, 40):
        sealed = grow(guard, size)
        checkpoint = note.open_checkpoint(sealed.note, ORIGIN, [(note.VerifierKey.parse(guard.key), verify)])
        assert (checkpoint.size, checkpoint.root) == (size, HONEST.root(size))
    guard.close()
    assert gone(pid)
    again = RemoteGuard.at(str(place), key=guard.key)
    assert again.last() == sealed
    again.close()


def test_a_key_is_handed_over_across_processes(place: Path, guard: RemoteGuard) -> None:
    grow(guard, 3)
    change = guard.rotate(5.0)
    assert guard.rotate(5.0) == change == guard.waiting
    guard.close()
    guard = RemoteGuard.at(str(place), key=change.key)  # the record names the new key already, the guard not yet
    assert guard.waiting == change
    guard.confirm(change.key, 5, 5.0)
    grow(guard, 4)
    assert guard.shown().key == change.was
    grow(guard, 5)
    assert guard.shown().key == change.key
    assert guard.shown().waiting is None
    guard.close()
    with pytest.raises(GuardRefused, match="signs with"):
        RemoteGuard.at(str(place), key=change.was)


def test_a_retired_guard_says_so_and_keeps_its_note(place: Path, guard: RemoteGuard) -> None:
    sealed = grow(guard, 3)
    guard.retire("continued elsewhere", 5.0)
    with pytest.raises(GuardRefused, match="continued elsewhere"):
        grow(guard, 4)
    assert (guard.retired, guard.last()) == ("continued elsewhere", sealed)
    assert peek(place).seeds == frozenset()


def test_what_is_refused_is_refused_across_processes(guard: RemoteGuard) -> None:
    grow(guard, 5)
    with pytest.raises(GuardRefused, match="rollback"):
        guard.seal(4, HONEST.root(4), [], 5.0)
    with pytest.raises(GuardRefused, match="fork"):
        guard.seal(8, b"\1" * 32, HONEST.path(5, 8), 5.0)
    with pytest.raises(GuardRefused):
        guard.seal(2**53, b"\1" * 32, [], 5.0)
    with pytest.raises(GuardRefused):
        guard.confirm("nothing", 9, 5.0)
    grow(guard, 6)


def test_a_lost_answer_is_told_with_what_was_signed(place: Path, guard: RemoteGuard) -> None:
    grow(guard, 5)
    guard.close()
    lost = LocalGuard.open(place, wait_s=2.0)
    sealed = grow(lost, 7)
    lost.close()
    guard = RemoteGuard.at(str(place))
    with pytest.raises(GuardMoved) as moved:
        guard.seal(9, HONEST.root(9), HONEST.path(5, 9), 5.0, since=5)
    assert moved.value.sealed == sealed
    grow(guard, 9)
    guard.close()


def test_many_threads_are_answered_one_after_the_other(guard: RemoteGuard) -> None:
    grow(guard, 5)
    with ThreadPoolExecutor(8) as pool:
        notes = set(pool.map(lambda _: guard.seal(5, HONEST.root(5), [], 10.0), range(200)))
    assert notes == {guard.last()}


# ---- it shares nothing ----------------------------------------------------------------------------------------------


def test_it_gets_no_file_no_variable_and_no_keystroke_of_its_node(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILWELL_SECRET_OF_THE_NODE", "x")
    secret = os.open(place, os.O_RDONLY)
    os.set_inheritable(secret, True)
    guard = RemoteGuard.at(str(place))
    try:
        pid = pid_of(guard)
        assert b"SECRET" not in Path(f"/proc/{pid}/environ").read_bytes()
        files = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if int(path.name) > 2}
        assert {name.partition(":")[0] for name in files} == {"socket", "anon_inode", str(place / FILE_NAME)}
        assert len(files) == 3
        # Ctrl-C goes to the node's process group. The session is shared: no sweep for stray tools looks in there.
        assert os.getpgid(pid) == pid
        assert os.getsid(pid) == os.getsid(0)
    finally:
        guard.close()
        os.close(secret)


NODE = """
    import sys, time
    from failwell.guard.remote import RemoteGuard
    guard = RemoteGuard.at(sys.argv[1])
    print(guard.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_it_ends_with_its_node_however_that_ends(place: Path, stopped: bool) -> None:
    node = subprocess.Popen([sys.executable, "-c", textwrap.dedent(NODE), str(place)], stdout=subprocess.PIPE)
    assert node.stdout is not None
    pid = int(node.stdout.readline())
    if stopped:  # it cannot see that its node is gone
        os.kill(pid, signal.SIGSTOP)
        assert until(lambda: state_of(pid) == "T")
    node.kill()
    node.wait()
    node.stdout.close()
    if stopped:  # whether the kernel wakes it depends on who inherits it; the next node does in any case
        RemoteGuard.at(str(place)).close()
    assert until(lambda: gone(pid))
    guard = RemoteGuard.at(str(place))
    grow(guard, 1)
    guard.close()


HELD = """
    import sys
    from pathlib import Path
    from failwell.guard.sealing import LocalGuard
    guard = LocalGuard.open(Path(sys.argv[1]))
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_left_stopped_by_a_dead_node_does_not_keep_the_next_one_out(place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HELD), str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as old:
        assert old.stdout is not None
        assert old.stdin is not None
        assert old.stdout.readline() == b"held\n"
        old.send_signal(signal.SIGSTOP)
        assert until(lambda: state_of(old.pid) == "T")
        old.stdin.close()  # as the end of its node would
        guard = RemoteGuard.at(str(place))
        grow(guard, 1)
        guard.close()
        assert old.wait(10) == 0


def test_a_node_that_starts_while_the_old_guard_still_ends_waits_for_it(place: Path) -> None:
    old = LocalGuard.open(place)
    timer = threading.Timer(0.7, old.close)
    timer.start()
    guard = RemoteGuard.at(str(place))
    grow(guard, 1)
    guard.close()
    timer.join()


def test_a_second_node_is_told_who_has_the_guard(place: Path, guard: RemoteGuard) -> None:
    with pytest.raises(GuardFailed, match=f"process {guard.pid}"):
        RemoteGuard.at(str(place))
    grow(guard, 1)


def test_closing_ends_and_collects_it_also_where_it_hangs(place: Path) -> None:
    for hang in (False, True):
        guard = RemoteGuard.at(str(place))
        pid = pid_of(guard)
        if hang:
            os.kill(pid, signal.SIGSTOP)
        begin = time.monotonic()
        guard.close()
        guard.close()
        assert not Path(f"/proc/{pid}").exists()
        assert time.monotonic() - begin < 1.0 * hang + SLACK_S
        with pytest.raises(GuardFailed, match="closed"):
            grow(guard, 1)


def test_closing_does_not_wait_for_a_question_that_hangs(guard: RemoteGuard) -> None:
    os.kill(pid_of(guard), signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(grow, guard, 1, 30.0)
        time.sleep(0.2)
        begin = time.monotonic()
        guard.close()
        assert time.monotonic() - begin < 1.0 + SLACK_S
        with pytest.raises(GuardFailed):
            asked.result()


# ---- it dies and hangs ----------------------------------------------------------------------------------------------


def test_one_that_died_between_two_questions_is_replaced_by_the_next(guard: RemoteGuard) -> None:
    sealed = grow(guard, 3)
    pid = pid_of(guard)
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: gone(pid))
    grow(guard, 4)
    assert pid_of(guard) != pid
    assert sealed.size == 3


@pytest.mark.requirement("R28.2")
def test_killed_in_the_middle_of_a_question_it_fails_that_one_and_answers_the_next(guard: RemoteGuard) -> None:
    grow(guard, 3)
    for size in (4, 5, 6):
        pid = pid_of(guard)
        os.kill(pid, signal.SIGSTOP)
        timer = threading.Timer(0.2, os.kill, (pid, signal.SIGKILL))
        timer.start()
        with pytest.raises(GuardFailed):
            grow(guard, size, 10.0)
        timer.join()
        assert grow(guard, size).size == size


@pytest.mark.requirement("R28.2")
def test_a_wedged_one_fails_in_time_and_is_killed_by_the_next_question(guard: RemoteGuard) -> None:
    grow(guard, 3)
    pid = pid_of(guard)
    os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    with pytest.raises(GuardFailed, match="in time"):
        grow(guard, 4, 0.3)
    assert time.monotonic() - begin < 0.3 + SLACK_S
    assert not gone(pid)
    grow(guard, 4)
    assert not Path(f"/proc/{pid}").exists()


def test_who_waits_behind_a_question_that_hangs_has_a_deadline_too(guard: RemoteGuard) -> None:
    os.kill(pid_of(guard), signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(grow, guard, 1, 1.0)
        time.sleep(0.1)
        with pytest.raises(GuardFailed, match="busy"):
            grow(guard, 1, 0.2)
        assert not asked.done()
        with pytest.raises(GuardFailed, match="in time"):
            asked.result()
    grow(guard, 1)


def test_no_answer_is_taken_for_that_of_a_later_question(guard: RemoteGuard) -> None:
    """The one that was stopped answers after all, when it goes on: to nobody."""
    for size in (1, 3, 5, 7):
        os.kill(pid_of(guard), signal.SIGSTOP)
        with pytest.raises(GuardFailed):
            grow(guard, size, 0.05)
        os.kill(pid_of(guard), signal.SIGCONT)
        with contextlib.suppress(GuardMoved):
            assert grow(guard, size + 1).size == size + 1
        last = guard.last()
        assert last is not None
        assert last.size in (size, size + 1)
        grow(guard, size + 1)


def test_one_that_cannot_start_is_not_started_without_end(place: Path, guard: RemoteGuard) -> None:
    pid = pid_of(guard)
    begun: list[str] = []
    sys.addaudithook(lambda event, _: begun.append(event) if event == "subprocess.Popen" else None)
    held = place.rename(place.with_name("aside"))
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: gone(pid))
    begun.clear()
    begin = time.monotonic()
    failures = 0
    while time.monotonic() - begin < 1.0:
        with pytest.raises((GuardFailed, GuardLost)):
            guard.seal(1, HONEST.root(1), [], 0.02)
        failures += 1
    assert failures > 5
    assert 1 <= len(begun) <= 7
    with pytest.raises(GuardLost, match="no guard"):
        guard.seal(1, HONEST.root(1), [], 5.0)
    held.rename(place)
    grow(guard, 1)


def test_a_lost_memory_is_told_as_such_by_the_process(place: Path) -> None:
    data = (place / FILE_NAME).read_bytes()
    (place / FILE_NAME).write_bytes(bytes(len(data)))
    with pytest.raises(GuardLost, match="unreadable"):
        RemoteGuard.at(str(place))
    (place / FILE_NAME).write_bytes(data)
    (place / FILE_NAME).chmod(0o644)
    with pytest.raises(GuardFailed, match="mode 0644"):
        RemoteGuard.at(str(place))


def test_killed_at_any_moment_of_writing_it_has_signed_all_or_nothing(place: Path) -> None:
    """SIGKILL at every system call that reaches the file, injected by strace; asserted that it was."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not here (apt-get install strace)")
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from failwell.guard.sealing import LocalGuard
        from tests.unit.guard.trees import HONEST
        guard = LocalGuard.open(Path(sys.argv[1]))
        for size in range(guard.grown()[0] + 1, guard.grown()[0] + 4):
            print(guard.seal(size, HONEST.root(size), HONEST.path(size - 1, size)).note.split()[1].decode(), flush=True)
    """)
    kills = 0
    for call in ("pwrite64", "fdatasync"):
        for when in range(1, 6):
            before = peek(place).size
            done = subprocess.run(
                ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(place / FILE_NAME), "-e", f"trace={call}",
                 "-e", f"inject={call}:signal=SIGKILL:when={when}", sys.executable, "-c", program, str(place)],
                cwd=ROOT, capture_output=True, text=True, check=False, timeout=30,
                env={**os.environ, "PYTHONPATH": "src:."},
            )  # fmt: skip
            told = [int(line) for line in done.stdout.split()]
            killed = done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
            if "ptrace" in done.stderr and not killed:
                pytest.skip("processes may not be traced here (needs CAP_SYS_PTRACE)")
            kills += killed
            assert killed or told == [before + 1, before + 2, before + 3], done.stderr
            assert peek(place).size >= max(told, default=before)
            assert peek(place).size - max(told, default=before) in (0, 1)
    assert kills >= 8


# ---- as another user's service --------------------------------------------------------------------------------------


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="fw-") as name:
        yield Path(name)


@contextlib.contextmanager
def served(place: Path, at: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "failwell", "guard", "serve", "--state", str(place), "--socket", str(at), "--json",
         *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


def ready(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    assert isinstance(told, dict)
    return told


def test_it_listens_for_one_node_after_the_other_until_it_is_told_to_end(place: Path, short: Path) -> None:
    at = short / "guard.sock"
    with served(place, at) as process:
        told = ready(process)
        assert told == {"schema": "failwell/guard-serve/1", "place": f"unix:{at}", "pid": process.pid}
        assert at.stat().st_mode & 0o777 == 0o600
        for size in (1, 2, 3):
            guard = RemoteGuard.at(f"unix:{at}")
            assert guard.pid is None
            assert guard.peer() == (process.pid, os.geteuid())
            grow(guard, size)
            onlooker = RemoteGuard.at(f"unix:{at}")
            assert onlooker.last() == guard.last()
            onlooker.close()
            guard.close()
        process.terminate()
        assert process.wait(10) == 0
    assert not at.exists()
    LocalGuard.open(place).close()


def test_one_that_is_gone_is_reached_again_when_it_is_back(place: Path, short: Path) -> None:
    at = short / "guard.sock"
    with served(place, at) as process:
        ready(process)
        guard = RemoteGuard.at(f"unix:{at}")
        grow(guard, 1)
        process.kill()
        process.wait()
    with pytest.raises(GuardFailed):
        grow(guard, 2, 0.5)
    assert at.exists()  # left by the kill: replaced by the next, because nobody answers at it
    with served(place, at) as process:
        ready(process)
        assert grow(guard, 2).size == 2
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(GuardFailed, match="in time"):
            grow(guard, 3, 0.3)
        os.kill(process.pid, signal.SIGCONT)
        with contextlib.suppress(GuardMoved):  # it had read the question before it was stopped for good
            grow(guard, 3)
        assert grow(guard, 4).size == 4
        assert not gone(process.pid)
        guard.close()


def test_it_takes_no_place_that_is_taken(place: Path, short: Path) -> None:
    at = short / "guard.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(at))
        other.listen()
        with served(place, at) as process:
            assert process.wait(10) == 3
            assert process.stdout is not None
            assert "another process listens" in json.loads(process.stdout.read())["error"]["message"]
    at.unlink()
    at.write_text("a file")
    with served(place, at) as process:
        assert process.wait(10) == 2
    assert at.read_text() == "a file"


ASK = """
    import os, sys
    from failwell.core.errors import FailwellError
    from failwell.guard.remote import RemoteGuard
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    try:
        guard = RemoteGuard.at("unix:" + sys.argv[1])
        print("signed", guard.seal(1, bytes.fromhex(sys.argv[2]), [], 5.0).size)
    except FailwellError as error:
        print(error.code, error.message)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="asking as another user needs root; run the tests as root")
@pytest.mark.parametrize("allowed", [False, True])
def test_it_answers_only_users_that_it_was_told_of(place: Path, short: Path, allowed: bool) -> None:
    at = short / "guard.sock"
    short.chmod(0o711)
    with served(place, at, "--allow-uid", "65534" if allowed else "65533") as process:
        ready(process)
        assert at.stat().st_mode & 0o777 == 0o666
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(ASK), str(at), HONEST.root(1).hex()], capture_output=True, text=True,
            check=False, timeout=20,
        )  # fmt: skip
        expected = "signed 1" if allowed else "guard-failed this guard does not answer user 65534"
        assert done.stdout.strip() == expected, done.stderr
    assert peek(place).size == int(allowed)


# ---- shown to people ------------------------------------------------------------------------------------------------


def show(workspace: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "failwell", "guard", "show", "--workspace", str(workspace), *more],
        capture_output=True, text=True, check=False, timeout=30, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path, place: Path) -> Path:
    """As much of one as a guard's place is read from."""
    workspace = tmp_path / "ws"
    (workspace / "keys").mkdir(parents=True)
    (workspace / "ledger.db").touch()
    (workspace / "keys" / "guard").write_text(f"{place}\n")
    return workspace


def test_a_person_sees_where_it_is_who_runs_it_and_what_it_signed(workspace: Path, place: Path) -> None:
    assert "The guard has signed nothing yet." in show(workspace).stdout
    guard = RemoteGuard.at(str(place))
    sealed = grow(guard, 5)
    change = guard.rotate(5.0)
    told = json.loads(show(workspace, "--json").stdout)
    assert told == {
        "schema": "failwell/guard-show/1", "place": str(place), "run_by": "this-user", "uid": os.geteuid(),
        "pid": guard.pid, "key": guard.key, "size": 5, "root": sealed.root.hex(), "note": sealed.note.decode(),
        "grows_from": 5, "next_key": change.key, "next_from": None, "retired": None,
    }  # fmt: skip
    text = show(workspace).stdout
    for wanted in (
        "signed the first 5 entries",
        str(place),
        str(guard.pid),
        guard.key,
        change.key,
        "malicious",
    ):
        assert wanted in text
    guard.retire("replaced", 5.0)
    guard.close()
    done = show(workspace)
    assert done.returncode == 1
    assert "retired" in done.stdout
    assert re.search(r"^process +none$", done.stdout, re.MULTILINE)
    (place / FILE_NAME).write_bytes(b"")
    done = show(workspace)
    assert (done.returncode, done.stdout) == (1, "")
    assert "unreadable" in done.stderr


def test_a_person_sees_that_another_process_is_asked(workspace: Path, place: Path, short: Path) -> None:
    at = short / "guard.sock"
    (workspace / "keys" / "guard").write_text(f"unix:{at}\n")
    assert show(workspace).returncode == 3
    with served(place, at) as process:
        ready(process)
        told = json.loads(show(workspace, "--json").stdout)
    assert (told["place"], told["pid"], told["uid"]) == (f"unix:{at}", process.pid, os.geteuid())


# ---- what is sent to it ---------------------------------------------------------------------------------------------

WISH = {"id": 1, "do": "seal", "size": 1, "root": HONEST.root(1).hex(), "path": [], "since": None}


def raw(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


MALFORMED = {
    "length-0": raw(b""),
    "length-too-large": (16_385).to_bytes(4, "big"),
    "length-huge": b"\xff\xff\xff\xff",
    "not-json": raw(b"seal!"),
    "not-utf-8": raw(b'{"id":1,"do":"\xff"}'),
    "not-canonical": raw(b'{"id": 1, "do": "rotate"}'),
    "twice": raw(b'{"do":"rotate","do":"rotate","id":1}'),
    "float": raw(b'{"do":"rotate","id":1.0}'),
    "deep": raw(b"[" * 8000 + b"]" * 8000),
    "array": raw(b"[1]"),
    "null": raw(b"null"),
    "no-number": frame({"do": "rotate"}),
    "number-0": frame({"id": 0, "do": "rotate"}),
    "number-negative": frame({"id": -1, "do": "rotate"}),
    "number-text": frame({"id": "1", "do": "rotate"}),
    "number-true": frame({"id": True, "do": "rotate"}),
    "no-verb": frame({"id": 1}),
    "verb-unknown": frame({"id": 1, "do": "sign"}),
    "verb-list": frame({"id": 1, "do": ["seal"]}),
    "verb-null": frame({"id": 1, "do": None}),
    "missing": frame({key: value for key, value in WISH.items() if key != "since"}),
    "more": frame({**WISH, "force": True}),
    "size-text": frame({**WISH, "size": "1"}),
    "size-true": frame({**WISH, "size": True}),
    "root-number": frame({**WISH, "root": 1}),
    "path-object": frame({**WISH, "path": {}}),
    "why-list": frame({"id": 1, "do": "retire", "why": []}),
    "key-null": frame({"id": 1, "do": "confirm", "key": None, "size": 1}),
}
#: Well-formed frames with values that no head has: refused, and the connection goes on.
REFUSED = {
    "root-short": {**WISH, "root": "00"},
    "root-upper-case": {**WISH, "root": HONEST.root(1).hex().upper()},
    "root-spaced": {**WISH, "root": HONEST.root(1).hex(" ")[:64]},
    "path-of-numbers": {**WISH, "path": [1]},
    "path-of-short": {**WISH, "path": ["00"]},
    "path-too-long": {**WISH, "path": ["00" * 32] * 200},
    "size-negative": {**WISH, "size": -1},
    "since-ahead": {**WISH, "since": 9, "size": 10},
}


@pytest.fixture(scope="module")
def listening() -> Iterator[tuple[Path, Path]]:
    with tempfile.TemporaryDirectory(prefix="fw-") as name:
        place, at = Path(name) / "guard", Path(name) / "guard.sock"
        LocalGuard.create(place, ORIGIN).close()
        with served(place, at) as process:
            ready(process)
            yield place, at
            assert process.poll() is None


def converse(at: Path, data: bytes) -> tuple[list[dict[str, object]], bool]:
    """Everything that is answered to `data` after the greeting, and whether the guard hung up."""
    frames = Frames()
    answers: list[dict[str, object]] = []
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(10)
        caller.connect(str(at))
        caller.sendall(data)
        hung_up = False
        while len(answers) < 2:
            received = caller.recv(65536)
            if not received:
                hung_up = True
                break
            frames.feed(received)
            while (value := frames.take()) is not None:
                answers.append(value)
        if not hung_up:
            caller.settimeout(0.05 if "error" not in answers[-1] or answers[-1]["id"] else 10)
            with contextlib.suppress(TimeoutError):
                hung_up = caller.recv(1) == b""
    assert answers[0]["id"] == 0
    assert "ok" in answers[0]
    return answers[1:], hung_up


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_frame_gets_a_clear_error_and_ends_that_connection_only(
    listening: tuple[Path, Path], name: str
) -> None:
    place, at = listening
    ((answer,), hung_up) = converse(at, MALFORMED[name])
    assert hung_up
    assert answer["id"] == 0
    error = answer["error"]
    assert isinstance(error, dict)
    assert error["code"] in ("input", "canonical")
    assert error["message"]
    assert peek(place).note is None
    RemoteGuard.at(f"unix:{at}").close()


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_no_head_has_are_refused_and_the_connection_goes_on(
    listening: tuple[Path, Path], name: str
) -> None:
    place, at = listening
    ((answer,), hung_up) = converse(at, frame(REFUSED[name]))
    assert not hung_up
    assert answer["id"] == 1
    assert isinstance(answer["error"], dict)
    assert answer["error"]["code"] in ("input", "guard-refused")
    assert peek(place).note is None


def test_a_caller_that_never_ends_its_frame_or_never_reads_holds_up_nobody(listening: tuple[Path, Path]) -> None:
    place, at = listening
    with socket.socket(socket.AF_UNIX) as half, socket.socket(socket.AF_UNIX) as deaf:
        half.connect(str(at))
        half.sendall(b"\0\0")
        deaf.connect(str(at))
        deaf.settimeout(0.2)
        with contextlib.suppress(TimeoutError, OSError):
            while True:
                deaf.sendall(frame({"id": 1, "do": "confirm", "key": "x", "size": 1}) * 100)
        guard = RemoteGuard.at(f"unix:{at}")
        assert guard.grown() == (peek(place).size, peek(place).root)
        guard.close()


def test_more_callers_than_it_takes_are_turned_away_and_the_others_stay(listening: tuple[Path, Path]) -> None:
    _, at = listening
    with contextlib.ExitStack() as stack:
        told = []
        for _ in range(20):
            caller = stack.enter_context(socket.socket(socket.AF_UNIX))
            caller.settimeout(10)
            caller.connect(str(at))
            frames = Frames()
            frames.feed(caller.recv(65536))
            told.append(frames.take())
        assert ["ok" in value for value in told if value] == [True] * 16 + [False] * 4
        with pytest.raises(GuardFailed, match="16 others"):
            RemoteGuard.at(f"unix:{at}")
    RemoteGuard.at(f"unix:{at}").close()
