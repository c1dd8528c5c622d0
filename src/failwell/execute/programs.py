"""Whether the program that is to hold a secret is its operator's alone to change.

Attack: another user of this machine may write the file that runs, or a directory above it, and puts a program of their
own there, which then gets the secret. It looks at files and their directories, and does not guard against processes of
the same user, nor against what a program loads by itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_MOST_LINKS = 40


def changeable(command: Iterable[str]) -> str | None:
    """Why another user could change what `command` runs, None where nobody can. Raises OSError where it is not there.

    Looked at are its program and each file that it is given by an absolute path, such as an interpreter's script.
    """
    program, *given = command
    for path in (program, *(part for part in given if part.startswith("/") and os.path.isfile(part))):
        for step in _steps(path):
            found = os.lstat(step)
            if found.st_uid not in (0, os.geteuid()):
                return f"{step} belongs to user {found.st_uid}"
            # In a directory with the sticky bit (/tmp) others may add files, and not replace what is there.
            sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
            if found.st_mode & _OTHERS and not stat.S_ISLNK(found.st_mode) and not sticky:
                return f"{step} can be written by other users (mode {stat.S_IMODE(found.st_mode):04o})"
    return None


def _steps(path: str) -> Iterator[str]:
    """Every directory, link and file that is passed on the way to `path`, from the root on."""
    here, links = "/", 0
    yield here
    ahead = path.split("/")[::-1]
    while ahead:
        name = ahead.pop()
        if name in ("", "."):
            continue
        if name == "..":
            here = os.path.dirname(here)
            continue
        step = os.path.join(here, name)
        yield step
        if not os.path.islink(step):
            here = step
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(f"{path} leads through too many links")
        target = os.readlink(step)
        here = "/" if target.startswith("/") else here
        ahead += target.split("/")[::-1]
