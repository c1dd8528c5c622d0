"""Copying a directory into one file while its agent may still write there, and against its will (R9).

Each file is read from the directory that it was seen in, by descriptor: no link is followed, nothing special is opened,
no other file system and nothing of our own workspace is entered. What changes while it is read is kept as it was read,
and said. The copy is a tar archive: the files under `files/`, and `listing.json`, which tells all that was seen.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from failwell.core import canonical

READ = 1024 * 1024
#: Attack: directories in directories without end, each of which takes a descriptor of the node while it is walked.
DEEP = 32
#: What a listing names one by one of what was not taken; of more the number stands in the entry.
NAMED = 1000
#: Names that are looked at beside twice as many as there may be files.
LOOKS_BEYOND = 10_000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

LATE, UNSEEN = "the rest: not in time", "the rest: more than is looked at"
BEYOND_FILES = "files beyond the most that are copied"
BEYOND_BYTES = "files beyond the bytes that are copied"
UNREAD = "files that could not be read"
CHANGED = "files that were written while they were read"
CLOSED = "directories that could not be read"
OTHER = "directories of other file systems, which are not entered"
DEEPER = "directories that lie too deep"
OURS = "directories of our own workspace"


class Ended(Exception):
    """The copy is not wanted any more: its node ends."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a directory is copied, until when (monotonic seconds), and which directories are our own.

    `ended` says that the copy is not wanted any more.
    """

    files: int
    most_bytes: int
    until: float
    ended: Callable[[], bool] = bool
    ours: frozenset[tuple[int, int]] = frozenset()


@dataclass(slots=True)
class Taken:
    """What was seen. `files` are (path, size, SHA-256) as they were copied, `links` (path, where to), `special` paths;
    `left` counts what was not copied, by why.
    """

    files: list[tuple[str, int, str]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    special: list[tuple[str, str]] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    size: int = 0

    def listing(self, directory: str) -> bytes:
        """It as canonical JSON."""
        told: dict[str, Any] = {"directory": directory}
        for name in ("files", "links", "missing", "special"):
            told[name] = [list(each) for each in sorted(getattr(self, name))]
        return canonical.jcs(told)

    def words(self) -> tuple[str, ...]:
        """What was not copied, in words without anybody's names."""
        return tuple(why if why in (LATE, UNSEEN) else f"{count} {why}" for why, count in sorted(self.left.items()))


def copy_directory(directory: str, archive: tarfile.TarFile, bounds: Bounds) -> Taken:
    """Copy what lies there. Raises OSError where it cannot be opened at all, or the archive takes no more; Ended."""
    top = os.open(directory, _DIRECTORY)
    walk = _Walk(archive, bounds, os.fstat(top).st_dev)
    walk.enter(top, "", 0)
    text = walk.taken.listing(directory)
    _add(archive, "listing.json", len(text), 0, io.BytesIO(text))
    return walk.taken


class _Walk:
    def __init__(self, archive: tarfile.TarFile, bounds: Bounds, device: int) -> None:
        self.taken = Taken()
        self._archive = archive
        self._bounds = bounds
        self._device = device
        #: How many more names are looked at: links and directories too.
        self._looks = 2 * bounds.files + LOOKS_BEYOND

    def _leave(self, path: str, why: str) -> None:
        self.taken.left[why] += 1
        if len(self.taken.missing) < NAMED:
            self.taken.missing.append((path, why))

    def _late(self) -> bool:
        if time.monotonic() > self._bounds.until:
            self.taken.left[LATE] = 1
            return True
        return False

    def enter(self, handle: int, path: str, depth: int) -> None:
        """Copy an open directory, and close it."""
        try:
            for name in self._names(handle, path):
                if self._bounds.ended():
                    raise Ended
                if self._late():
                    return
                self._see(handle, name, path + _told(name), depth)
        finally:
            os.close(handle)

    def _names(self, handle: int, path: str) -> list[str]:
        """What lies in a directory. Attack: millions of empty files, whose names alone fill the memory of the node."""
        try:
            with os.scandir(handle) as entries:
                found = [entry.name for entry in islice(entries, self._looks + 1)]
        except OSError:
            self._leave(path, CLOSED)
            return []
        if len(found) > self._looks:
            found.pop()
            self.taken.left[UNSEEN] = 1
        self._looks -= len(found)
        return sorted(found, key=os.fsencode)

    def _see(self, handle: int, name: str, path: str, depth: int) -> None:
        try:
            found = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                self.taken.links.append((path, _told(os.readlink(name, dir_fd=handle))))
                return
        except OSError:
            self._leave(path, UNREAD)
            return
        if stat.S_ISDIR(found.st_mode):
            self._descend(handle, name, path, depth + 1)
        elif stat.S_ISREG(found.st_mode):
            self._take(handle, name, path, found)
        else:
            self.taken.special.append((path, _sort(found.st_mode)))

    def _descend(self, handle: int, name: str, path: str, depth: int) -> None:
        if depth > DEEP:
            self._leave(path, DEEPER)
            return
        try:
            inner = os.open(name, _DIRECTORY, dir_fd=handle)
        except OSError:
            self._leave(path, CLOSED)
            return
        found = os.fstat(inner)
        # Attack: the workspace is declared too, or lies within: its copies would be copied, and those again.
        why = OTHER if found.st_dev != self._device else None
        why = OURS if (found.st_dev, found.st_ino) in self._bounds.ours else why
        if why is not None:
            os.close(inner)
            self._leave(path, why)
            return
        self.enter(inner, f"{path}/", depth)

    def _take(self, handle: int, name: str, path: str, before: os.stat_result) -> None:
        """Copy one file, as long as it was when it was opened. Attack: it is exchanged for a pipe or a link between."""
        if len(self.taken.files) >= self._bounds.files:
            self._leave(path, BEYOND_FILES)
            return
        if self.taken.size + before.st_size > self._bounds.most_bytes:
            self._leave(path, BEYOND_BYTES)
            return
        try:
            file = os.open(name, _FILE, dir_fd=handle)
        except OSError:
            self._leave(path, UNREAD)
            return
        try:
            opened = os.fstat(file)
            if (opened.st_dev, opened.st_ino, opened.st_size) != (before.st_dev, before.st_ino, before.st_size):
                self._leave(path, CHANGED)
                return
            reading = _Reading(file, opened.st_size)
            _add(self._archive, f"files/{path}", opened.st_size, int(opened.st_mtime), reading)
            after = os.fstat(file)
        finally:
            os.close(file)
        self.taken.files.append((path, opened.st_size, reading.digest.hexdigest()))
        self.taken.size += opened.st_size
        same = (after.st_size, after.st_mtime_ns) == (opened.st_size, opened.st_mtime_ns)
        if reading.short or not same:
            self._leave(path, CHANGED)


class _Reading:
    """So many bytes of a file, whatever becomes of it: of one that is cut off or fails meanwhile, zeros."""

    def __init__(self, file: int, size: int) -> None:
        self._file = file
        self._left = size
        self.digest = sha256()
        self.short = False

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, or all that is left."""
        wanted = min(self._left, size)
        data = bytearray()
        while len(data) < wanted:
            data += self._some(wanted - len(data))
        self._left -= wanted
        self.digest.update(data)
        return bytes(data)

    def _some(self, wanted: int) -> bytes:
        found = b""
        if not self.short:
            with contextlib.suppress(OSError):
                found = os.read(self._file, min(wanted, READ))
        self.short = self.short or not found
        return found or bytes(wanted)


def _add(archive: tarfile.TarFile, name: str, size: int, mtime: int, source: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, mtime, 0o600
    archive.addfile(member, source)


def own_directories(*paths: Path) -> frozenset[tuple[int, int]]:
    """Device and inode of those of our directories that there are."""
    found = [path.stat() for path in paths if path.exists()]
    return frozenset((each.st_dev, each.st_ino) for each in found)


def _sort(mode: int) -> str:
    return "pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"


def _told(name: str) -> str:
    """A name of any bytes as text, so that no two names are one."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
