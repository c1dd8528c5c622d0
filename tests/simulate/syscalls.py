"""SIGKILL at a chosen system call on a chosen file: strace injects it, and its own log shows that it did.

`count` runs a program once and counts its calls on given files; `kill_at` runs it again and kills it on entering the
nth of one kind on one file, before the kernel has done it (dying after a call is dying before the next). strace
counts for each thread by itself, so the nth call is that of the thread which comes to it first.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

NEEDS = "strace, and the right to trace, are needed here: apt-get install strace (in a container: --cap-add SYS_PTRACE)"
#: Calls that change a file or a name: what a crash point matters most before and after.
CHANGING = frozenset({"pwrite64", "write", "fdatasync", "fsync", "ftruncate", "unlink", "fallocate", "rename", "link"})
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)")
_KILLED = "+++ killed by SIGKILL +++"


class Point(NamedTuple):
    """The `nth` (from 1) `call` on the file `path`."""

    path: Path
    call: str
    nth: int

    def __str__(self) -> str:
        return f"{self.call} {self.nth} on {self.path.name}"


class Killed(NamedTuple):
    """A program that was killed at a point: what it had said until then, in lines."""

    point: Point
    said: tuple[str, ...]


def can_trace() -> bool:
    """Whether strace is there and may trace."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


def count(
    command: Sequence[str],
    paths: Sequence[Path],
    log: Path,
    *,
    env: Mapping[str, str],
    cwd: Path,
    timeout_s: float = 60,
) -> list[Point]:
    """Run `command` to its end and return every point of it: for each file and kind of call, 1 up to how many."""
    seen: Counter[tuple[Path, str, str]] = Counter()
    subprocess.run(
        ["strace", "-f", "-qq", "-y", "-s", "0", *_only(paths), "-o", str(log), *command],
        stdout=subprocess.PIPE, check=True, env=env, cwd=cwd, timeout=timeout_s,
    )  # fmt: skip
    for line in log.read_text(errors="replace").splitlines():
        found = _CALL.match(line)
        if found is not None and (path := _about(found[3], paths)) is not None:
            seen[path, found[2], found[1]] += 1
    most: Counter[tuple[Path, str]] = Counter()
    for (path, call, _), number in seen.items():
        most[path, call] = max(most[path, call], number)
    return [Point(path, call, nth + 1) for (path, call), number in sorted(most.items()) for nth in range(number)]


def kill_at(
    point: Point,
    command: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str],
    cwd: Path,
    alone: bool = False,
    timeout_s: float = 60,
) -> Killed | None:
    """Run `command` and kill it at `point`; None when it ended without coming there.

    `alone`: the call is of a process that it starts, which dies while `command` itself must go on to its end. Raises
    AssertionError when it ended in any other way than by this kill.
    """
    ended = subprocess.run(
        ["strace", "-f", "-qq", "-s", "0", *_only([point.path]), "-e", f"trace={point.call}",
         "-e", f"inject={point.call}:signal=SIGKILL:when={point.nth}", "-o", str(log), *command],
        capture_output=True, check=False, env=env, cwd=cwd, timeout=timeout_s,
    )  # fmt: skip
    lines = log.read_text(errors="replace").splitlines()
    if ended.returncode == 0 and not any(_KILLED in line for line in lines):
        return None
    assert ended.returncode == (0 if alone else -signal.SIGKILL), (
        f"{point}: ended with {ended.returncode}: {ended.stderr.decode()[-500:]}"
    )
    calls = Counter(found[1] for line in lines if (found := _CALL.match(line)) and found[2] == point.call)
    assert any(_KILLED in line for line in lines), f"{point}: strace saw no kill"
    assert point.nth in calls.values(), f"{point}: killed, but after {sorted(calls.values())} calls"
    return Killed(point, tuple(ended.stdout.decode().splitlines()))


def _only(paths: Sequence[Path]) -> list[str]:
    return [part for path in paths for part in ("-P", str(path))]


def _about(arguments: str, paths: Sequence[Path]) -> Path | None:
    """The file of `paths` that a call's arguments name, by descriptor (`3</path>`) or by name."""
    for path in paths:
        if f"<{path}>" in arguments or f'"{path}"' in arguments:
            return path
    return None
