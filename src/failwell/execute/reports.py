"""Reports that a supervisor leaves on disk when there is no node to hear it (`swept-<action>.json`).

Standard library only, and few modules of it: the supervisor imports this file alone. A report carries no
output of the tool (it may be personal data and lies unencrypted); it is a statement of the supervisor, not
an entry.
"""

from __future__ import annotations

import json
import os

SCHEMA = "failwell/swept/1"


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
    """Read one file of ours, None where it is absent; raises ValueError when it is not a JSON object."""
    try:
        with open(path, "rb") as file:
            body = json.loads(file.read())
    except FileNotFoundError:
        return None
    if not isinstance(body, dict):
        raise ValueError(f"{path} is not a JSON object")
    return body
