"""The HTTP door's process: started where the settings or the operator want one, watched, and ended with the node.

It is a client of this node like any other, in a process of its own: what strangers send is read there, and a door that
falls over takes nothing with it. It ends when its standard input does. Started anew after a pause that doubles while it
keeps falling over; the node's log says so each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from failwell.node.surroundings import inherited

if TYPE_CHECKING:
    from failwell.node.reached import HttpSettings
    from failwell.node.service import Node

#: The pause before it is started anew, and the most that this becomes; a door that stood so long begins afresh.
PAUSE_S, MOST_S, STOOD_S = 0.5, 30.0, 60.0
#: How long it may take to answer what it was asked and to end.
END_S = 8.0
_ADDRESS_BYTES = 300
_PLACES = ("XDG_RUNTIME_DIR", "FAILWELL_STATE", "FAILWELL_CONFIG", "PYTHONPATH")


class WebDoor:
    """`tick` is called by the node's loop; `listen` is an operator's word that goes before the settings."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.listen: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._settings: HttpSettings | None = None
        self._began_s = 0.0
        self._may_start_s = 0.0
        #: Until when it has to have ended, once it was asked to.
        self._ending_s: float | None = None
        self._pause_s = PAUSE_S
        self._restarts = 0
        self._why: str | None = None
        #: Where it answers, as it said itself; None until it did.
        self.address: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is to be one. A record that takes no entry has none: nothing is permitted there."""
        return (self.listen is not None or self._node.settings.http is not None) and self._node.writer.read_only is None

    def told(self) -> dict[str, Any]:
        """How it stands."""
        process = self._process
        return {
            "wanted": self.wanted, "address": self.address, "pid": None if process is None else process.pid,
            "restarts": self._restarts, "why": self._why,
        }  # fmt: skip

    def tick(self) -> None:
        """Start it where it is wanted, notice that it fell over, end it where it is not wanted so any more."""
        now_s = time.monotonic()
        process = self._process
        if process is None:
            if self.wanted and now_s >= self._may_start_s:
                self._start(now_s)
        elif process.poll() is not None:
            self._fell(process, now_s)
        elif self._ending_s is not None:
            if now_s > self._ending_s:
                process.kill()
        elif not self.wanted or self._settings != self._node.settings.http:
            self._ask_to_end(process)  # other settings are in force: the next one is a door under these
        else:
            self._hear(process)

    def _start(self, now_s: float) -> None:
        command = [sys.executable, "-m", "failwell.web", "--workspace", str(self._node.workspace.path)]
        if self.listen is not None:
            command += ["--listen", self.listen]
        self._settings, self._began_s = self._node.settings.http, now_s
        try:
            # Attack: a fault of what strangers speak with, and all secrets of an operator's shell in its environment.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", env=inherited(_own_places())
            )
        except OSError as error:
            self._later(f"it could not be started: {error.strerror}", now_s)
            return
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def _hear(self, process: subprocess.Popen[bytes]) -> None:
        """Its one line, where it is there by now."""
        if self.address is not None or process.stdout is None:
            return
        with contextlib.suppress(BlockingIOError):
            said = os.read(process.stdout.fileno(), _ADDRESS_BYTES).decode("utf-8", "replace").strip()
            if said:
                self.address, self._why = said, None
                _log(f"answers at {said}")

    def _fell(self, process: subprocess.Popen[bytes], now_s: float) -> None:
        self._forget(process)
        if self._ending_s is not None:
            self._ending_s, self._may_start_s, self._pause_s = None, now_s, PAUSE_S
            return
        if now_s - self._began_s > STOOD_S:
            self._pause_s = PAUSE_S
        self._restarts += 1
        self._later(f"it ended with {process.returncode}", now_s)

    def _later(self, why: str, now_s: float) -> None:
        self._why = why
        self._may_start_s = now_s + self._pause_s
        _log(f"{why}; started anew in {self._pause_s:g} s")
        self._pause_s = min(self._pause_s * 2, MOST_S)

    def _ask_to_end(self, process: subprocess.Popen[bytes]) -> None:
        """It answers what it was asked and ends, or is killed. Nobody waits for that: it needs this loop to answer."""
        self._ending_s = time.monotonic() + END_S
        with contextlib.suppress(ProcessLookupError):
            process.terminate()

    async def end(self) -> None:
        """The node stops, and its door before."""
        process = self._process
        if process is None:
            return
        self._ask_to_end(process)
        try:
            await asyncio.to_thread(process.wait, END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._forget(process)

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process = self.address = None


def _own_places() -> dict[str, str]:
    """What says where this user's node lies."""
    return {name: os.environ[name] for name in _PLACES if name in os.environ}


def _log(what: str) -> None:
    sys.stderr.write(f"http door: {what}\n")
    sys.stderr.flush()
