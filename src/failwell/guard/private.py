"""Files that only their owner may read, made whole or not at all, judged by what was opened (not by a path).

Rooms of one floor are strangers, so this stands beside `identity.keys`, which keeps other keys by the same rules.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import stat
from pathlib import Path

from failwell.ports.guard import GuardFailed


def private_directory(directory: Path) -> Path:
    """Make a directory with mode 0700 (its missing parents too), or check the one that is there.

    Raises GuardFailed where others may enter it.
    """
    missing = [each for each in (directory, *directory.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):
            each.mkdir(mode=0o700)
            _sync_directory(each.parent)  # else a power cut could take the whole directory, and the memory with it
    check_directory(directory)
    return directory


def check_directory(directory: Path) -> None:
    """Raises GuardFailed unless only its owner, who runs this, may enter it; the OSError where it is not there."""
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise GuardFailed(f"{directory} is not a directory")
    _check_private(directory, found, 0o077, "700")


def _check_private(path: Path, found: os.stat_result, forbidden: int, wanted: str) -> None:
    if found.st_uid != os.geteuid():
        raise GuardFailed(f"{path} belongs to user {found.st_uid}, this guard is user {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) & forbidden:
        raise GuardFailed(
            f"{path} has mode {stat.S_IMODE(found.st_mode):04o}: others may have read the guard's key",
            hint=f"chmod {wanted} {shlex.quote(str(path))}, then change the key: failwell ledger rotate",
        )


def open_private(path: Path, flags: int) -> int:
    """Open a plain file of this user with mode 0600 in a directory of mode 0700; give its descriptor.

    Raises GuardFailed for any other owner, mode or kind, and the OSError of what cannot be opened.
    """
    check_directory(path.parent)
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise GuardFailed(f"{path} is not a plain file")
        _check_private(path, found, 0o177, "600")
    except BaseException:
        os.close(handle)
        raise
    return handle


def write_new(path: Path, data: bytes) -> None:
    """Make a file of mode 0600, durable on return. Raises FileExistsError where there is one, and other OSErrors."""
    directory = path.parent
    part = directory / f".{path.name}.{secrets.token_hex(8)}.part"
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(part, path, follow_symlinks=False)  # not rename: it would replace another's memory
    finally:
        part.unlink(missing_ok=True)
    _sync_directory(directory)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
