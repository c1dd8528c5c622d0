"""What a process of some user, with some variables, can reach of a tool without the gate: tried, never guessed.

Each attempt is made in a child of this process that has become that user, and that answers with words alone: what a
file holds or a command prints is looked at for being there, and let go of. The child imports nothing after the change
and executes nothing of ours, so that any user will do. It cannot say what a sandbox (namespaces, a container) would
hide from an agent that runs in one, unless this runs there too.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from failwell.core.errors import InputError, NotFound, Refused, Unhealthy

PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_MAX_ANSWER: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an agent runs: its user and groups, and its variables (None: not known, so not tried)."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    env: Mapping[str, str] | None = field(repr=False)


def here() -> Place:
    """Where this process runs."""
    return Place(uid=os.geteuid(), gid=os.getegid(), groups=tuple(os.getgroups()), env=dict(os.environ))


def place_of_user(name: str) -> Place:
    """What a user of this machine may do, of whose variables nothing is known. NotFound where there is none."""
    try:
        found = pwd.getpwnam(name)
    except KeyError as error:
        raise NotFound(f"this machine has no user {name}") from error
    return Place(uid=found.pw_uid, gid=found.pw_gid, groups=tuple(os.getgrouplist(name, found.pw_gid)), env=None)


def place_of_process(pid: int) -> Place:
    """Where a running process of the agent is, with the variables that it was started with."""
    process = Path("/proc") / str(pid)
    try:
        lines = (process / "status").read_text().splitlines()
        raw = (process / "environ").read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"there is no process {pid}") from error
    except OSError as error:
        raise Refused(f"process {pid} cannot be looked into: {error.strerror}", hint="Run this as root.") from error
    status = dict(line.partition(":")[::2] for line in lines)
    pairs = (part.partition(b"=")[::2] for part in raw.split(b"\0") if b"=" in part)
    return Place(
        uid=int(status["Uid"].split()[1]), gid=int(status["Gid"].split()[1]),
        groups=tuple(int(group) for group in status["Groups"].split()),
        env={os.fsdecode(name): os.fsdecode(value) for name, value in pairs},
    )  # fmt: skip


# ---- attempts, made by the child -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One thing to try: `kind` is readable, listed, executable, variable or answers; `of` what it is tried on.

    `least_bytes`: an answer of fewer is none. `within_s`: how long a command may take.
    """

    kind: str
    of: tuple[str, ...]
    least_bytes: int = 0
    within_s: float = 10.0


def _readable(attempt: Attempt, env: Mapping[str, str]) -> bool:
    least = max(1, attempt.least_bytes)
    try:
        handle = os.open(attempt.of[0], os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            return len(os.read(handle, least)) >= least
        finally:
            os.close(handle)
    except OSError:
        return False


def _listed(attempt: Attempt, env: Mapping[str, str]) -> bool:
    """Whether a directory can be entered and something in it read."""
    try:
        names = os.listdir(attempt.of[0])
    except OSError:
        return False
    return any(_readable(Attempt(kind="readable", of=(os.path.join(attempt.of[0], name),)), env) for name in names)


def _executable(attempt: Attempt, env: Mapping[str, str]) -> bool:
    return shutil.which(attempt.of[0], path=env.get("PATH", PATH)) is not None


def _variable(attempt: Attempt, env: Mapping[str, str]) -> bool:
    return any(env.get(name) for name in attempt.of)


def _answers(attempt: Attempt, env: Mapping[str, str]) -> bool:
    """Whether a command ends with 0 in time, and prints at least so much; what it prints is counted, not kept."""
    try:
        process = subprocess.Popen(
            attempt.of, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={"PATH": PATH, **env}, cwd="/", process_group=0,
        )  # fmt: skip
    except (OSError, ValueError):
        return False
    assert process.stdout is not None
    until, printed, ended = time.monotonic() + attempt.within_s, 0, False
    with process.stdout:
        while not ended and (left := until - time.monotonic()) > 0:
            if select.select([process.stdout], [], [], left)[0]:
                more = len(os.read(process.stdout.fileno(), 65_536))
                printed, ended = printed + more, not more
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, until - time.monotonic()))
    code = process.returncode
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # with whatever it left behind
    process.wait()
    return code == 0 and printed >= attempt.least_bytes


_TRY: Final[dict[str, Callable[[Attempt, Mapping[str, str]], bool]]] = {
    "readable": _readable, "listed": _listed, "executable": _executable, "variable": _variable, "answers": _answers,
}  # fmt: skip


# ---- the child -----------------------------------------------------------------------------------------------


def try_all(place: Place, attempts: Sequence[Attempt]) -> list[bool]:
    """Which attempts worked from `place`, in their order.

    Raises Refused where this process may not become that user, Unhealthy where the child does not answer.
    """
    if place.uid != os.geteuid() and os.geteuid() != 0:
        raise Refused(
            f"only root can try what user {place.uid} can reach", hint="Run it as that user, or as root with --user."
        )
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(ours)
            os.write(theirs, _child(place, attempts))
        except (OSError, ValueError, InputError) as error:
            os.write(theirs, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        finally:
            os._exit(0)  # whatever it was: a forked child must never return into our code
    os.close(theirs)
    return _heard(child, ours, sum(attempt.within_s for attempt in attempts) + 10, len(attempts))


def _child(place: Place, attempts: Sequence[Attempt]) -> bytes:
    # In a session of its own, so that what it starts can be ended with it.
    os.setsid()
    if os.geteuid() == 0:
        os.setgroups(place.groups)
        os.setresgid(place.gid, place.gid, place.gid)
        os.setresuid(place.uid, place.uid, place.uid)
    if os.geteuid() != place.uid:
        raise InputError("the user could not be changed")
    env = place.env or {}
    return json.dumps([_TRY[attempt.kind](attempt, env) for attempt in attempts]).encode()


def _heard(child: int, pipe: int, within_s: float, wanted: int) -> list[bool]:
    told, until = b"", time.monotonic() + within_s
    try:
        while len(told) < _MAX_ANSWER and select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
            more = os.read(pipe, 65_536)
            if not more:
                break
            told += more
    finally:
        os.close(pipe)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    try:
        found = json.loads(told)
    except ValueError:
        found = {"error": "no answer in time"}
    if not isinstance(found, list) or len(found) != wanted or not all(isinstance(each, bool) for each in found):
        why = found.get("error", "no answer") if isinstance(found, dict) else "no answer that can be read"
        raise Unhealthy(f"what can be reached could not be tried: {why}")
    return found
