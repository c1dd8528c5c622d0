"""A directory of C2SP tlog-tiles that only grows: files are written whole, once, and compared ever after.

Each file is written beside its place, synced and renamed, so that whatever interrupts an export leaves whole files
and at most one leftover, which the next export replaces. The checkpoint is renamed last, when everything under it is
there. Knows files and names, not what they prove (`exports`).
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from failwell.core import tiles
from failwell.core.errors import Corrupt, InputError, Unhealthy
from failwell.core.note import Checkpoint, SignedNote

_UNFINISHED: Final = ".unfinished"
#: Files that are synced at once: one after the other, each would wait for the disk alone.
_WRITERS: Final = 8
_MOST_WAITING: Final = 64
_HINT: Final = "Nothing there was changed. Keep it as it is, or export to a new directory."


class TileFiles:
    """One export directory, made where it is missing and locked while open, as a context.

    Counts `written` and `kept` files. Raises InputError where other things lie in it, Unhealthy where it is locked.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.written = 0
        self.kept = 0
        self._there: dict[tuple[int, int], set[int]] = {}
        self._touched: set[Path] = set()
        self._writing: deque[Future[None]] = deque()
        directory.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._handle)
            raise Unhealthy(f"another export writes to {directory}", hint="Wait until it has ended.") from error
        self._pool = ThreadPoolExecutor(_WRITERS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        os.close(self._handle)

    def checkpoint(self) -> bytes | None:
        """The note of the checkpoint that lies in the directory, unverified; Corrupt where it cannot be read as one."""
        path = self.directory / tiles.CHECKPOINT
        try:
            note = path.read_bytes()
            Checkpoint.parse(SignedNote.parse(note).text)
        except FileNotFoundError:
            return None
        except InputError as error:
            raise _differs(f"{path} is no checkpoint: {error.message}") from error
        return note

    def check_names(self, size: int) -> None:
        """Look at every name: InputError for what is not a log's, Corrupt for tiles that `size` entries do not make."""
        for parent, below, names in os.walk(self.directory):
            below.sort()
            for name in names:
                path = Path(parent, name).relative_to(self.directory)
                if name.endswith(_UNFINISHED) or str(path) == tiles.CHECKPOINT:
                    continue
                tile = self._tile_at(path)
                if tile.begin + tile.width > size >> tiles.HEIGHT * max(tile.level, 0):
                    raise _differs(f"{self.directory / path} is of a log with more than {size} entries")
                self._there.setdefault((tile.level, tile.index), set()).add(tile.width)

    def _tile_at(self, path: Path) -> tiles.Tile:
        try:
            return tiles.Tile.parse(path.as_posix())
        except InputError as error:
            raise InputError(
                f"{self.directory} holds {path}, which is not part of a log",
                hint="Export to a directory of its own: a new one is made.",
            ) from error

    def put(self, tile: tiles.Tile, items: Sequence[bytes], encode: Callable[[Sequence[bytes]], bytes]) -> None:
        """Write one tile where it is missing; what is there, narrower ones included, is compared. Raises Corrupt."""
        widths = self._there.get((tile.level, tile.index), set())
        for width in sorted(widths):
            path = self.directory / tiles.Tile(tile.level, tile.index, width).path()
            # Attack: another history under a tile that this export would take for its own.
            if path.read_bytes() != encode(items[:width]):
                raise _differs(f"{path} differs from what this log holds there")
        self.kept += len(widths)
        if tile.width not in widths:
            self._begin(self.directory / tile.path(), encode(items))

    def finish(self, note: bytes) -> None:
        """Put the checkpoint in place, after everything under it is durable. Raises OSError where a file is not."""
        self._wait(0)
        for path in sorted(self._touched):
            _sync(path)
        path = self.directory / tiles.CHECKPOINT
        if path.exists() and path.read_bytes() == note:
            self.kept += 1
        else:
            _write(path, note)
            self.written += 1
        _sync(self.directory)

    def _begin(self, path: Path, data: bytes) -> None:
        # Also the directories above: a name is durable when the directory that holds it is.
        inside = path.parent.relative_to(self.directory)
        self._touched.update(self.directory / each for each in (inside, *inside.parents))
        self._writing.append(self._pool.submit(_write, path, data))
        self.written += 1
        self._wait(_MOST_WAITING)

    def _wait(self, most: int) -> None:
        while len(self._writing) > most:
            self._writing.popleft().result()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}{_UNFINISHED}")
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _differs(message: str) -> Corrupt:
    return Corrupt(message, hint=_HINT, code="export-differs")
