"""A disk that fails at chosen steps and can lose its power: what a guard's state file meets at its worst.

`Disk.cache` is what any process reads, `Disk.durable` what is left when the power is cut. As on Linux, a sync that
failed has forgotten what it should have written: the next sync of the same pages succeeds and writes nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from failwell.guard.sealing import LocalGuard
from failwell.guard.state import FILE_NAME, StateFile

#: What a step may do, besides working: `lost` did nothing and said so, `done` did all and said it failed, `torn` wrote
#: only its first bytes.
PUT_FAULTS = ("lost", "done", "torn")
SYNC_FAULTS = ("lost", "done")


class Disk:
    """The file of one guard. `fault(step, kind)` says how step number `step` ("put" or "sync") fails, None: not."""

    def __init__(self, directory: Path, fault: Callable[[int, str], str | None] = lambda step, kind: None) -> None:
        self.directory = directory
        self.path = directory / FILE_NAME
        self.durable = bytearray(self.path.read_bytes())
        self.dirty: list[tuple[int, bytes]] = []
        self.fault = fault
        self.steps: list[str] = []
        self.fired = 0

    def open(self, kind: type[TriedFile] | None = None) -> LocalGuard:
        """A guard on this disk, which opens its file anew by itself after a failure."""
        return LocalGuard(lambda: (kind or TriedFile)(self))

    def cut_power(self) -> None:
        """Everything that was not synced is gone. Whoever had the file open must be closed before."""
        self.dirty.clear()
        with self.path.open("r+b") as file:
            file.write(self.durable)

    def meet(self, kind: str) -> str | None:
        """Count one step and say how it fails."""
        self.steps.append(kind)
        fault = self.fault(len(self.steps) - 1, kind)
        self.fired += fault is not None
        return fault

    def keep(self, writes: Iterable[tuple[int, bytes]]) -> None:
        """These bytes reached the disk."""
        for offset, data in writes:
            self.durable[offset : offset + len(data)] = data


class TriedFile(StateFile):
    """The state file itself, on such a disk: only what the kernel does for it is replaced."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.directory)

    def _put(self, data: bytes, offset: int) -> None:
        fault = self._disk.meet("put")
        written = {None: data, "lost": b"", "done": data, "torn": data[: len(data) // 16]}[fault]
        if os.pwrite(self._handle, written, offset) != len(data) or fault:
            self._disk.dirty.append((offset, written))
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._disk.dirty.append((offset, written))

    def _sync(self) -> None:
        fault = self._disk.meet("sync")
        writes, self._disk.dirty = self._disk.dirty, []
        if fault != "lost":
            self._disk.keep(writes)
        if fault:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
