"""Suspending an agent that no gate stands before: its vendor takes its access away, and says so, or it is not stopped.

A detect-only agent runs where we cannot reach it (D25). Its suspension runs the command that the settings declare; that
the command ended is no proof. Confirmed is what the vendor answers when it is asked afterwards; everything else, also
that nothing is declared, is unconfirmed, on record and with its signal. What is not confirmed is tried again, a bounded
number of times, and by the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from failwell.core import kinds
from failwell.core.errors import FailwellError
from failwell.core.records import Draft
from failwell.core.state import State
from failwell.ledger.jobs import CONTAINMENT, Job, Plan, Turn
from failwell.node.settings import RevocationSettings

if TYPE_CHECKING:
    from pathlib import Path

    from failwell.node.service import Node

#: Pauses between tries; after the last one the next start tries again.
PAUSES_S = (1.0, 10.0, 60.0, 300.0)
#: How often it is looked who waits for it, where nobody was suspended meanwhile.
LOOK_S = 5.0
MAX_ANSWER_BYTES = 65_536
#: The only variables of the node's own environment that the command inherits.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


class Revoked(NamedTuple):
    """How one try went. `detail` is ours to say; what the vendor printed is `words`, which go to the blob."""

    confirmed: bool
    method: str
    detail: str
    words: str
    elapsed_us: int


class Pending(NamedTuple):
    """A suspended detect-only agent whose access nobody has said to be gone."""

    agent: str
    name: str
    incident: int


class Revoker:
    """Revokes access off the loop; `wake` when somebody was suspended (any thread)."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._woken = threading.Event()
        self._look_at = 0.0
        self._tries: dict[tuple[str, int], int] = {}
        self._due: dict[tuple[str, int], float] = {}
        self._declared: dict[str, RevocationSettings] = {}
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._commands = Commands()

    def wake(self) -> None:
        self._woken.set()

    async def tick(self, now_s: float) -> None:
        """Begin what is due."""
        if not self._woken.is_set() and now_s < self._look_at:
            return
        self._woken.clear()
        self._look_at = now_s + LOOK_S
        if self._node.settings.revocation != self._declared:  # what was given up may work now
            self._declared = self._node.settings.revocation
            self._tries.clear()
            self._due.clear()
        for item in await self._node.questions.look(pending):
            place = (item.agent, item.incident)
            tries = self._tries.get(place, 0)
            if place in self._tasks or tries > len(PAUSES_S) or now_s < self._due.get(place, 0.0):
                continue
            self._tries[place] = tries + 1
            task = asyncio.create_task(self._revoke(item, tries + 1))
            self._tasks[place] = task
            task.add_done_callback(lambda _, done=place: self._tasks.pop(done, None))  # type: ignore[misc]

    async def _revoke(self, item: Pending, tries: int) -> None:
        declared = self._declared.get(item.agent) or self._declared.get(item.name)
        place = self._node.workspace.path
        tried = await asyncio.to_thread(self._commands.revoke, declared, item.agent, item.incident, place)
        if tries <= len(PAUSES_S):
            loop_s = asyncio.get_running_loop().time()
            self._due[item.agent, item.incident] = loop_s + PAUSES_S[tries - 1]
            self._look_at = min(self._look_at, loop_s + PAUSES_S[tries - 1])
        with contextlib.suppress(FailwellError):  # a ledger that does not write: it is pending still
            await self._node.writer.submit_async(record_revocation(item, tried, tries), CONTAINMENT)

    async def end(self) -> None:
        """Kill what runs; it stays pending."""
        self._commands.close()
        for task in tuple(self._tasks.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def pending(state: State) -> tuple[Pending, ...]:
    """Who is suspended, detect-only, and not confirmed to be without access."""
    return tuple(
        Pending(agent, row.name, row.incident)
        for agent, row in state.agent.items()
        if row.detect_only
        and row.authority == "SUSPENDED"
        and row.incident is not None
        and "STOPPED" not in state.incident[row.incident].marks
    )


def record_revocation(item: Pending, tried: Revoked, tries: int) -> Job[None]:
    """The job that records how a try went; it is recorded also where the agent was given back meanwhile."""

    def job(turn: Turn) -> Plan[None]:
        body = kinds.AccessRevoked(
            state="confirmed" if tried.confirmed else "unconfirmed", method=tried.method, tries=tries,
            elapsed_us=tried.elapsed_us, detail=tried.detail, incident=item.incident,
        )  # fmt: skip
        opened = turn.state.incident[item.incident].opened
        secret = {"words": tried.words} if tried.words else None
        return Plan((Draft(body=body, actor="node", agent=item.agent, refs=(opened,), secret=secret),), _nothing)

    return job


def _nothing(_: object) -> None:
    return None


# ---- the commands --------------------------------------------------------------------------------------------


class _Ran(NamedTuple):
    """How a command ended; `code` None: it was not ended by itself in time, or never began (`why`)."""

    code: int | None
    out: str
    why: str


class Commands:
    """Runs declared commands with a deadline, each in a process group of its own. Called off the loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._closed = False

    def revoke(self, declared: RevocationSettings | None, agent: str, incident: int, place: Path) -> Revoked:
        """Take the access of `agent` away, and ask whether it is gone."""
        began_us = time.monotonic_ns() // 1000
        if declared is None:
            return Revoked(False, "none", "no revocation is declared for it", "", 0)
        env = {"FAILWELL_AGENT": agent, "FAILWELL_INCIDENT": str(incident), **declared.env}
        done = self._run(declared.command, declared.deadline_ms / 1000, env, place)
        asked = done
        if declared.confirm:
            asked = self._run(declared.confirm, declared.deadline_ms / 1000, env, place)
        confirmed, detail = _judge(declared, done, asked)
        words = "\n".join(text for text in dict.fromkeys((done.out, asked.out)) if text)
        elapsed_us = time.monotonic_ns() // 1000 - began_us
        return Revoked(confirmed, "confirm" if declared.confirm else "answer", detail, words[:2000], elapsed_us)

    def _run(self, command: tuple[str, ...], deadline_s: float, env: dict[str, str], place: Path) -> _Ran:
        try:
            return self._run_open(command, deadline_s, env, place)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            return _Ran(None, "", f"could not be run: {type(error).__name__}")

    def _run_open(self, command: tuple[str, ...], deadline_s: float, env: dict[str, str], place: Path) -> _Ran:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        with tempfile.TemporaryFile() as out:
            # In our own session: a child in another one would be taken for a tool that outlived its supervisor.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL,
                env={**inherited, **env}, cwd=place, process_group=0,
            )  # fmt: skip
            why = self._wait(process, deadline_s)
            out.seek(0)
            text = out.read(MAX_ANSWER_BYTES).decode("utf-8", "replace")
            return _Ran(None if why else process.returncode, text, why)

    def _wait(self, process: subprocess.Popen[bytes], deadline_s: float) -> str:
        with self._lock:
            closed = self._closed
            self._running.add(process.pid)
        try:
            process.wait(0 if closed else deadline_s)
        except subprocess.TimeoutExpired:
            _kill(process.pid)
            process.wait()
            return f"gave no answer within {deadline_s:g} s"
        finally:
            with self._lock:
                self._running.discard(process.pid)
        return ""

    def close(self) -> None:
        """Nothing runs any more."""
        with self._lock:
            self._closed = True
            running = tuple(self._running)
        for pid in running:
            _kill(pid)


def _judge(declared: RevocationSettings, done: _Ran, asked: _Ran) -> tuple[bool, str]:
    """Whether access is gone by the vendor's own answer, and why that is taken or not taken for it."""
    if declared.confirm is None and declared.answer is None:
        how = done.why or f"ended with {done.code}"
        return False, f"the command {how}, and nothing is declared by which its vendor confirms it"
    what = "command" if declared.confirm is None else "confirm command"
    if asked.code is None:
        return False, f"the {what} {asked.why}"
    if asked.code != 0:
        return False, f"the {what} ended with {asked.code}"
    if declared.answer is not None and declared.answer not in (line.strip() for line in asked.out.splitlines()):
        return False, f"the {what} did not answer what says that access is gone"
    return True, f"the {what} says that access is gone"


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
