"""What lies in a directory after a kill: path, size and SHA-256 of each file, bounded in files, bytes and time.

Nothing is followed and nothing special is opened: no symbolic link, no device, no pipe, no other file system. What is
written there meanwhile is said. It may hang on a file system that does, so it runs in a thread of its own, which is
left behind then. Not a copy: what the files held is not kept, only what they were.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from dataclasses import dataclass, field
from hashlib import sha256

from failwell.core import canonical

FILES, BYTES, WITHIN_S = 10_000, 256 * 1024 * 1024, 2.0
#: How long the text of a listing may be, in characters of its paths; digests and sizes come on top.
PATH_CHARACTERS = 500_000
CHUNK = 1024 * 1024
#: Attack: directories in directories without end, each of which takes a descriptor of the node while it is walked.
DEEP = 32
#: Listings that hang at once before no more are made.
HANGING = 4
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_hanging = threading.Semaphore(HANGING)


@dataclass(slots=True)
class Listing:
    """`files` are (path, size, SHA-256), by path once it is done; `missing` is what was not taken, and why."""

    directory: str
    files: list[tuple[str, int, str]] = field(default_factory=list)
    size: int = 0
    missing: list[str] = field(default_factory=list)

    def text(self) -> bytes:
        """It as canonical JSON."""
        found = [[path, size, digest] for path, size, digest in sorted(self.files)]
        return canonical.jcs({"directory": self.directory, "files": found, "missing": self.missing})


def list_directory(
    directory: str, *, files: int = FILES, most_bytes: int = BYTES, within_s: float = WITHIN_S
) -> Listing:  # fmt: skip
    """What lies there by now, as far as the bounds let; it comes back in about `within_s` whatever hangs."""
    if not _hanging.acquire(blocking=False):
        return Listing(directory, missing=["all of it: earlier looks at directories hang"])
    walk = _Walk(Listing(directory), files, most_bytes, time.monotonic() + within_s)
    done = threading.Event()

    def run() -> None:
        try:
            walk.whole()
        finally:
            _hanging.release()
            done.set()

    threading.Thread(target=run, name="listing", daemon=True).start()
    done.wait(within_s + 0.2)
    return walk.taken()


class _Walk:
    """One walk. `taken` may be called while it hangs; what it finds afterwards is nobody's."""

    def __init__(self, listing: Listing, files: int, most_bytes: int, until: float) -> None:
        self._listing = listing
        self._files = files
        self._bytes = most_bytes
        self._until = until
        self._characters = 0
        self._lock = threading.Lock()
        self._device = -1
        self._left_out: dict[str, int] = {}
        self._finished = False
        self._over = False

    def taken(self) -> Listing:
        """What there is by now, and what is missing of it."""
        with self._lock:
            self._over = True
            said = [f"{count} {why}" for why, count in sorted(self._left_out.items())]
            if not self._finished:
                said.append("the rest: not in time")
            found = self._listing
            return Listing(found.directory, list(found.files), found.size, [*found.missing, *said])

    def whole(self) -> None:
        try:
            top = os.open(self._listing.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self._note(f"all of it: {error.strerror}")
        else:
            self._device = os.fstat(top).st_dev
            self._enter(top, "", 0)
        with self._lock:
            self._finished = not self._over and not self._late()

    def _note(self, what: str) -> None:
        with self._lock:
            self._listing.missing.append(what)

    def _leave_out(self, why: str) -> None:
        with self._lock:
            self._left_out[why] = self._left_out.get(why, 0) + 1

    def _late(self) -> bool:
        return time.monotonic() > self._until

    def _enter(self, handle: int, path: str, depth: int) -> None:
        """List an open directory, and close it."""
        inner: list[str] = []
        try:
            with os.scandir(handle) as entries:
                for entry in entries:
                    if self._over or self._late():
                        return
                    self._see(handle, entry, path, inner)
            for name in sorted(inner):
                self._descend(handle, name, f"{path}{_told(name)}/", depth + 1)
        except OSError:
            self._leave_out("directories that could not be read")
        finally:
            os.close(handle)

    def _see(self, handle: int, entry: os.DirEntry[str], path: str, inner: list[str]) -> None:
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            self._leave_out("that were gone when they were looked at")
            return
        if stat.S_ISDIR(found.st_mode):
            inner.append(entry.name)
        elif not stat.S_ISREG(found.st_mode):
            self._leave_out("links, pipes, sockets and devices, which are not opened")
        elif len(self._listing.files) >= self._files or self._characters > PATH_CHARACTERS:
            self._leave_out("files beyond the most that are listed")
        elif self._listing.size + found.st_size > self._bytes:
            self._leave_out("files beyond the bytes that are read")
        else:
            self._digest(handle, entry.name, path, found)

    def _descend(self, handle: int, name: str, path: str, depth: int) -> None:
        if self._over or self._late():
            return
        if depth > DEEP:
            self._leave_out("directories that lie too deep")
            return
        try:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
        except OSError:
            self._leave_out("directories that could not be read")
            return
        if os.fstat(inner).st_dev != self._device:
            os.close(inner)
            self._leave_out("directories of other file systems, which are not entered")
            return
        self._enter(inner, path, depth)

    def _digest(self, handle: int, name: str, path: str, before: os.stat_result) -> None:
        """Read one file. Attack: it is exchanged for a pipe between the two looks, on which a read would wait."""
        try:
            file = os.open(name, _READ, dir_fd=handle)
        except OSError:
            self._leave_out("files that could not be read")
            return
        try:
            opened = os.fstat(file)
            if not stat.S_ISREG(opened.st_mode) or (opened.st_dev, opened.st_ino) != (before.st_dev, before.st_ino):
                self._leave_out("files that were exchanged while they were looked at")
                return
            digest, size = sha256(), 0
            while (data := os.read(file, CHUNK)) and size <= before.st_size:
                digest.update(data)
                size += len(data)
                if self._over or self._late():
                    return
            after = os.fstat(file)
        except OSError:
            self._leave_out("files that could not be read")
            return
        finally:
            os.close(file)
        if (size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            self._leave_out("files that were written while they were read")
            return
        with self._lock:
            if not self._over:
                told = path + _told(name)
                self._characters += len(told)
                self._listing.files.append((told, size, digest.hexdigest()))
                self._listing.size += size


def _told(name: str) -> str:
    """A name of any bytes as text, so that no two names are one."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
