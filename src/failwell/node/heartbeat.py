"""The node's heartbeat: one small file in the runtime directory that says which process holds the workspace and lives.

Whoever stands by for a node (`node.takeover`) reads it. It is a pointer and no evidence: what it names is held against
the kernel's own tables before anything is done to it. Times are of the boot's monotonic clock, which stands still while
the machine sleeps: a laptop that wakes has no late node.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path
from typing import NamedTuple

from failwell.execute.processes import read_stat
from failwell.execute.records import read_boot_id

FILE_NAME = "node.beat"
#: How often a node that serves says that it does.
BEAT_S = 0.25
#: Room for one beat: written in place, as one whole, and never longer than what stood there before.
_BYTES = 256

STARTING, SERVING, ENDING, GAVE_WAY = "starting", "serving", "ending", "gave-way"


class Beat(NamedTuple):
    """Process `pid` (with its start time, of one boot) was in `phase` at `at_us`."""

    pid: int
    start_ticks: int
    boot_id: str
    at_us: int
    phase: str


def now_us() -> int:
    """Microseconds of the clock that beats are told by."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def read_beat(runtime: Path) -> Beat | None:
    """The newest beat; None where no node left one, or none that can be read."""
    try:
        handle = os.open(runtime / FILE_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        words = os.read(handle, _BYTES).decode("ascii").split()
        return Beat(int(words[0]), int(words[1]), words[2], int(words[3]), words[4])
    except (OSError, UnicodeDecodeError, ValueError, IndexError):
        return None
    finally:
        os.close(handle)


class Heart:
    """Beats for this process, which holds the workspace's lock."""

    def __init__(self, runtime: Path) -> None:
        self._path = runtime / FILE_NAME
        stat = read_stat(os.getpid())
        self._who = f"{os.getpid()} {0 if stat is None else stat.start_ticks} {read_boot_id()}"
        # Attack: what lies there is a link to a file of somebody's, a pipe, or a directory. It is put out of the way.
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            self._path.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._handle = os.open(self._path, flags, 0o600)
        self.beat(STARTING)

    def beat(self, phase: str) -> None:
        """Say that this process is in `phase` now. A beat that cannot be written is one that did not come."""
        text = f"{self._who} {now_us()} {phase}"
        with contextlib.suppress(OSError):
            os.pwrite(self._handle, text.ljust(_BYTES).encode("ascii"), 0)

    async def keep_beating(self) -> None:
        """Beat as long as the loop turns that answers callers: a thread of its own would beat for a node that hangs."""
        while True:
            self.beat(SERVING)
            await asyncio.sleep(BEAT_S)

    def stop(self, *, on_purpose: bool) -> None:
        """The last beat. One that ended on purpose leaves none behind; one that makes room says so. Idempotent."""
        if self._handle < 0:
            return
        if on_purpose:
            with contextlib.suppress(OSError):
                self._path.unlink()
        else:
            self.beat(GAVE_WAY)
        handle, self._handle = self._handle, -1
        os.close(handle)
