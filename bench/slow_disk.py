"""A disk whose syncs take a stated time: a SQLite VFS that waits in each xSync, then really syncs.

Installed as the process's default VFS, so that the product's own code runs unchanged and nothing in it
knows. It slows what SQLite syncs (the write-ahead log at each commit, the database at a checkpoint), not
the reserve beside the ledger or other files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import apsw

SYNC_S = 0.005


class _SlowFile(apsw.VFSFile):
    def __init__(self, disk: SlowDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(disk.below, name, flags)
        self._disk = disk

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.syncs += 1
        time.sleep(self._disk.sync_s)
        super().xSync(flags)


class SlowDisk(apsw.VFS):
    """The VFS; `syncs` counts how often SQLite asked for one. Keep it while connections are open."""

    def __init__(self, sync_s: float = SYNC_S, name: str = "failwell-slow-disk") -> None:
        self.below = apsw.vfs_names()[0]  # SQLite's present default
        self.sync_s = sync_s
        self.syncs = 0
        super().__init__(name, self.below, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _SlowFile(self, name, flags)


@contextmanager
def slow_disk(sync_s: float = SYNC_S) -> Iterator[SlowDisk]:
    """Within the block, every ledger this process opens lies on such a disk; close it before the end."""
    disk = SlowDisk(sync_s)
    try:
        yield disk
    finally:
        disk.unregister()
