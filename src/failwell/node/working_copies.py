"""The copies of agents' directories that holds owe: made one after the other, each until it is on record (R9).

A hold says in its own commit which directories are owed. Here each is copied behind it, on a thread of its own that
delays nobody; what a dead node left unfinished is begun anew by the next one. No copy is ever deleted. Where the disk
would become too full for the record itself, copying waits: the record comes first.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tarfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from failwell.identity import keys
from failwell.ledger.vault import commitment
from failwell.node.agreed_settings import PreserveSettings
from failwell.node.copy_file import KEY_BYTES, CopyWriter, copy_path
from failwell.node.copying import Bounds, Ended, Taken, copy_directory, own_directories
from failwell.response.copies import Copied, Owed, copies_owed, keep_copy

if TYPE_CHECKING:
    from failwell.node.service import Node

#: What copies leave free for the record.
FREE_BYTES = 512 * 1024 * 1024
#: How long one directory may take; twice as long it is waited for, then it is left behind as hanging.
WITHIN_S = 300.0
#: After a copy that could not be made: how long until the next try, at first and at most.
RETRY_S, MOST_RETRY_S = 5.0, 300.0
UNFINISHED = ".part"


class WorkingCopies:
    """`tick` is called by the node's loop; it waits for nothing."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.place = node.workspace.path / "blobs"
        #: What is copied now, and until when it is waited for; by the loop's clock.
        self._working: Owed | None = None
        self._until = self._again_at = 0.0
        self._pause = RETRY_S
        #: Directories at which a copy hangs: not tried again by this node.
        self._hanging: set[str] = set()
        self._ending = threading.Event()
        #: Why the newest try failed; None since one did not.
        self.failed: str | None = None

    def tick(self, now_s: float) -> None:
        """Begin the next copy that is owed, unless one is under way."""
        if self._working is not None:
            if now_s > self._until:  # its thread hangs in a file system, and is left behind there
                self._hanging.add(self._working.directory)
                self.failed = f"{self._working.directory} for hold {self._working.hold}: looking there hangs"
                self._working = None
            return
        if now_s >= self._again_at and (owed := self._owed()):
            self._until, self._working = now_s + 2 * WITHIN_S, owed[0]
            threading.Thread(target=self._copy, args=(owed[0], now_s), name="copying", daemon=True).start()

    def _owed(self) -> list[Owed]:
        state = self._node.writer.book.state
        return [each for each in copies_owed(state) if each.directory not in self._hanging] if state.hold else []

    def busy(self) -> bool:
        """Whether a copy is under way, or could be made: a node waits for it before it ends by itself."""
        return self.failed is None and bool(self._owed())

    def end(self) -> None:
        """Nothing is waited for: the next start copies anew what was under way."""
        self._ending.set()

    def _copy(self, owed: Owed, now_s: float) -> None:
        """On a thread of its own. Whatever goes wrong with a copy is told, and it is tried again."""
        try:
            copied = self._make(owed)
            if not self._ending.is_set():
                self._node.writer.submit(keep_copy(copied)).result()
            failed = None
        except Ended:
            failed = None
        except Exception as error:  # noqa: BLE001  a file system can fail in any way, and its thread must say so
            failed = f"{owed.directory} for hold {owed.hold}: {error}"
        if self._working is not owed:
            return  # it was left behind
        self.failed = failed
        self._pause = RETRY_S if failed is None else min(2 * self._pause, MOST_RETRY_S)
        self._again_at = 0.0 if failed is None else now_s + self._pause
        self._working = None

    def _declared(self, owed: Owed) -> tuple[str, PreserveSettings]:
        """Where the directory lies, and how much of it is copied; by what is so by itself, once nothing declares it."""
        found = PreserveSettings(agent=owed.agent or "-", directories=(owed.directory,))
        for declared in self._node.settings.preserve.values():
            if owed.directory in declared.directories:
                found = declared
        return str(self._node.workspace.path / owed.directory), found

    def _make(self, owed: Owed) -> Copied:
        """Called off the loop. Raises OSError where the copy cannot be written: then nothing of it is left."""
        began = time.monotonic()
        path, declared = self._declared(owed)
        keys.private_directory(self.place)
        room = shutil.disk_usage(self.place).free - FREE_BYTES
        if room <= 0:
            raise OSError(f"less than {FREE_BYTES // 2**20} MiB are free, which are for the record itself")
        ours = own_directories(self._node.workspace.path, self._node.workspace.runtime)
        if (why := _unopenable(path, ours)) is not None:
            return Copied(hold=owed.hold, directory=owed.directory, missing=(f"all of it: {why}",))
        bounds = Bounds(
            files=declared.most_files, most_bytes=min(declared.most_mb * 2**20, room), until=began + WITHIN_S,
            ended=self._ending.is_set, ours=ours,
        )  # fmt: skip
        key, salt = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(16)
        taken, digest = self._write(path, key, bounds)
        return Copied(
            hold=owed.hold, directory=owed.directory, files=len(taken.files), bytes=taken.size, digest=digest,
            listing=commitment(salt, taken.listing(path)), secret={"key": key.hex(), "salt": salt.hex()},
            missing=taken.words(), took_us=round((time.monotonic() - began) * 1_000_000),
        )  # fmt: skip

    def _write(self, path: str, key: bytes, bounds: Bounds) -> tuple[Taken, str]:
        for left in self.place.glob(f"*{UNFINISHED}"):
            left.unlink(missing_ok=True)
        part = self.place / f"{secrets.token_hex(8)}{UNFINISHED}"
        writer = CopyWriter(part, key)
        try:
            with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
                taken = copy_directory(path, archive, bounds)
            digest = writer.finish()
            part.rename(copy_path(self.place, digest))
        except BaseException:
            writer.abandon()
            part.unlink(missing_ok=True)
            raise
        _sync(self.place)
        return taken, digest


def _unopenable(path: str, ours: frozenset[tuple[int, int]]) -> str | None:
    """Why a directory cannot be copied at all; None where it can be tried."""
    if os.path.islink(path):
        # Attack: the agent puts a link to the house's secrets in the place of where it works.
        return "it is a symbolic link, which is not followed"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        return error.strerror or "it cannot be opened"
    found = os.fstat(handle)
    os.close(handle)
    return "it is our own workspace" if (found.st_dev, found.st_ino) in ours else None


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):
        os.fsync(handle)
    os.close(handle)
