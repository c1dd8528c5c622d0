"""Events as lines of a file, one JSON object each: what a collector on this machine reads."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from failwell.notify import ocsf
from failwell.ports.clock import Clock
from failwell.ports.notifier import NotifyFailed
from failwell.ports.systems import Happening


class Lines:
    """Appends to `path`, and answers once the line is on the disk."""

    tickets = False

    def __init__(self, path: Path, origin: str, clock: Clock) -> None:
        self._path = path
        self._origin = origin
        self._clock = clock

    @property
    def provider(self) -> str:
        """Where it is written to."""
        return str(self._path)

    def take(self, happening: Happening, theirs: str | None) -> str | None:
        """Write one line. NotifyFailed where the file cannot be written."""
        self._append(ocsf.line_of(ocsf.event_of(happening)))
        return None

    def probe(self) -> str:
        """Write a line that is about no incident."""
        self._append(ocsf.line_of(ocsf.probe_of(self._origin, self._clock.wall_us())))
        return "a line was written"

    def _append(self, line: str) -> None:
        try:
            # Attack: a link laid where the file is to be, so that the node writes over somebody else's file.
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.open(self._path, flags, 0o600)
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise NotifyFailed(f"{self._path} is no file", temporary=False)
                _write(file, line.encode() + b"\n")
            finally:
                os.close(file)
        except OSError as error:
            raise NotifyFailed(f"{self._path} cannot be written: {error.strerror}", temporary=True) from error


def _write(file: int, data: bytes) -> None:
    """All of it, on the disk; or, where the disk is full, nothing of it: half a line would spoil the next one."""
    end = os.fstat(file).st_size
    if end and os.pread(file, 1, end - 1) != b"\n":
        data = b"\n" + data  # a power cut left half a line there
    try:
        left = data
        while left:
            left = left[os.write(file, left) :]
        os.fdatasync(file)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(file, end)
        raise
