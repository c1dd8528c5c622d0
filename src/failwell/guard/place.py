"""Where guards are: a directory outside every workspace, or the socket of a guard that another user runs (D10, D18)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from failwell.core.errors import InputError

SOCKET_PREFIX = "unix:"
#: What the kernel takes as a socket's path, its closing zero included (unix(7)).
MAX_SOCKET_BYTES = 107

_RANDOM_NAME = re.compile(r".*/([0-9a-f]{16,64})")


class Place(NamedTuple):
    """One of the two: `directory` of a guard that this user starts, `socket` of one that runs by itself."""

    directory: Path | None
    socket: Path | None

    @classmethod
    def parse(cls, line: str) -> Place:
        """Read what `keys/guard` says: an absolute directory, or `unix:` and an absolute path. Raises InputError."""
        text = line.removeprefix(SOCKET_PREFIX)
        path = Path(text)
        if not path.is_absolute() or "\n" in text or "\0" in text:
            raise InputError(
                f"{line[:80]!r} is no place of a guard", hint="An absolute directory, or unix:/its/socket."
            )
        if text == line:
            return cls(path, None)
        if len(os.fsencode(text)) > MAX_SOCKET_BYTES:
            raise InputError(f"a socket's path has at most {MAX_SOCKET_BYTES} bytes: {text}")
        return cls(None, path)

    def __str__(self) -> str:
        return str(self.directory) if self.directory is not None else f"{SOCKET_PREFIX}{self.socket}"


def place_of(origin: str, environ: Mapping[str, str]) -> Path:
    """The directory for a new guard of log `origin`; `LocalGuard.create` makes it, for its owner only.

    $FAILWELL_STATE, else $XDG_STATE_HOME/failwell, else ~/.local/state/failwell (XDG Base Directory: what is not
    absolute is ignored), and in it `guards/` and the random part of the origin. Raises InputError for a
    $FAILWELL_STATE that is not absolute.
    """
    named = _RANDOM_NAME.fullmatch(origin)
    short = named[1] if named else sha256(origin.encode("utf-8", "replace")).hexdigest()[:16]
    return _root(environ) / "guards" / short


def _root(environ: Mapping[str, str]) -> Path:
    given = environ.get("FAILWELL_STATE", "")
    if given:
        if not os.path.isabs(given):
            raise InputError("FAILWELL_STATE is not an absolute path", hint="A guard is found from everywhere by it.")
        return Path(given)
    base = environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "failwell"
    home = environ.get("HOME", "")
    return Path(home if os.path.isabs(home) else os.path.expanduser("~")) / ".local" / "state" / "failwell"
