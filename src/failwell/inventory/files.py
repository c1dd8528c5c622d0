"""Reading files that nobody vouches for: regular ones only, by size, never through a symbolic link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from failwell.core.errors import InputError

#: Configuration files beyond this are no configuration.
MAX_CONFIG_BYTES = 4 * 1024 * 1024


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file, open for reading; InputError says why it is not.

    Attack: a link to somewhere else, a pipe that never ends, a device.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        why = "a symbolic link is not followed" if path.is_symlink() else error.strerror
        raise InputError(f"cannot be opened: {why}") from error
    except ValueError as error:
        raise InputError("cannot be opened: no path has such a name") from error
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InputError("is not a regular file")
        yield file


def read_text(path: Path, most: int = MAX_CONFIG_BYTES) -> str:
    """The text of a small file; InputError for a larger one, and for one that is not UTF-8."""
    with opened(path) as file:
        try:
            data = file.read(most + 1)
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}") from error
    if len(data) > most:
        raise InputError(f"has more than {most:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text") from error
