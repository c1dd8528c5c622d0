"""The backtest command on a disk that kills its process (SIGKILL) before its n-th write, truncation or sync.

    python -m tests.integration.killed_backtest N OPTIONS...

What was written before stays, as after a real kill. N 0 never kills and prints how many operations there were.
"""

from __future__ import annotations

import os
import signal
import sys

import apsw

from failwell.cli.main import _main


class _File(apsw.VFSFile):
    def __init__(self, disk: KillingDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(disk.below, name, flags)
        self._disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.count()
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._disk.count()
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        self._disk.count()
        super().xSync(flags)


class KillingDisk(apsw.VFS):
    """SQLite's default disk, until its n-th operation."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at
        self.operations = 0
        self.below = apsw.vfs_names()[0]
        super().__init__("killing-disk", self.below, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _File(self, name, flags)

    def count(self) -> None:
        self.operations += 1
        if self.operations == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    disk = KillingDisk(int(sys.argv[1]))
    status = _main(["backtest", *sys.argv[2:]])
    print(f"operations: {disk.operations}", file=sys.stderr)
    sys.exit(status)
