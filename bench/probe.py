"""What this disk and machine can do right now: the yardstick of every durable figure."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

PAGE = 4096


def fdatasync_ms(directory: Path, rounds: int = 200) -> list[float]:
    """Milliseconds of each of `rounds` fdatasync calls after appending 4 KiB, sorted."""
    handle, name = tempfile.mkstemp(dir=directory)
    try:
        data = os.urandom(PAGE)
        took = []
        for place in range(rounds):
            os.pwrite(handle, data, place * PAGE)
            began = time.perf_counter()
            os.fdatasync(handle)
            took.append((time.perf_counter() - began) * 1000)
        return sorted(took)
    finally:
        os.close(handle)
        os.unlink(name)


class Disk:
    """The same, one call at a time between others that are measured; the file is gone from the start."""

    def __init__(self, directory: Path) -> None:
        self._handle, name = tempfile.mkstemp(dir=directory)
        os.unlink(name)
        self._data = os.urandom(PAGE)

    def sync_ms(self, place: int) -> float:
        os.pwrite(self._handle, self._data, place * PAGE)
        began = time.perf_counter()
        os.fdatasync(self._handle)
        return (time.perf_counter() - began) * 1000


def quantile(ordered: list[float], share: float) -> float:
    """The value below which `share` of the sorted values lie."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def machine() -> dict[str, str | int | float]:
    """Cores, load and versions: a figure without them means nothing."""
    import apsw
    import cedarpy

    return {
        "cores": os.cpu_count() or 0,
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "kernel": platform.release(),
        "sqlite": apsw.sqlite_lib_version(),
        "cedarpy": getattr(cedarpy, "__version__", "?"),
    }


def median(values: list[float]) -> float:
    return statistics.median(values)
