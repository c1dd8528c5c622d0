"""Reports that a supervisor leaves on disk when there is no node to hear it (`swept-<action>.json`).

Standard library only, and few modules of it: the supervisor imports this file alone. A report carries no
output of the tool (it may be personal data and lies unencrypted); it is a statement of the supervisor, not
an entry.
"""

from __future__ import annotations

import json
import os
import stat

SCHEMA = "failwell/swept/1"
#: More than the largest report or record: 32 processes by name, and an action's scopes.
LIMIT_BYTES = 1024 * 1024


def report_path(directory: str, action: int) -> str:
    """Give the path of the report on one action."""
    return os.path.join(directory, f"swept-{action}.json")


def write_atomically(path: str, body: dict[str, object], *, durable: bool) -> None:
    """Write JSON as a whole or not at all, readable by its owner only; `durable` syncs file and directory."""
    temporary = f"{path}.{os.getpid()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        data = json.dumps(body, sort_keys=True).encode()
        while data:
            data = data[os.write(fd, data) :]
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    if durable:
        directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def read_json(path: str) -> dict[str, object] | None:
    """Read one file of ours, None where it is absent; raises ValueError when it is no file with one JSON object.

    Attack: a tool puts a pipe in its place, or something without end, so that who reads it waits for ever.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    try:
        body = json.loads(_read_file(fd))
    except (OSError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    finally:
        os.close(fd)
    if not isinstance(body, dict):
        raise ValueError(f"{path} is not a JSON object")
    return body


def _read_file(fd: int) -> bytes:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError("it is not a file")
    data = b""
    while len(data) <= LIMIT_BYTES and (more := os.read(fd, LIMIT_BYTES + 1 - len(data))):
        data += more
    if len(data) > LIMIT_BYTES:
        raise OSError(f"it has over {LIMIT_BYTES} bytes")
    return data
