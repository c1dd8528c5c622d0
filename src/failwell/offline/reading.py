"""What was given to be verified: a workspace or its ledger file, a directory of tiles, or an extract of one agent.

Finds out which it is, and where the key lies when none was given. Nothing is verified here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from failwell.core import tiles
from failwell.core.errors import InputError
from failwell.verify.anchors import find_notes

DATABASE: Final = "ledger file"
TILES: Final = "directory of tiles"
EXTRACT: Final = "extract"

_LEDGER: Final = "ledger.db"
_KEY: Final = Path("keys") / "log.pub"
_MAX_TEXT_BYTES: Final = 1_000_000
_MAX_NOTE_BYTES: Final = 100_000


class Given(NamedTuple):
    """`kind` of what lies at `path`; `key` is where the log's published key lies beside it, None where it does not."""

    kind: str
    path: Path
    key: Path | None


def look_at(path: Path) -> Given:
    """What lies at `path`. Raises InputError where there is nothing that could be verified."""
    if path.is_dir():
        if (path / _LEDGER).exists() or (path / _KEY).exists():
            return Given(DATABASE, path / _LEDGER, _beside(path))
        if (path / tiles.CHECKPOINT).exists() or (path / "tile").exists():
            return Given(TILES, path, None)
        raise InputError(
            f"{path} is neither a workspace nor a log in tiles",
            hint=f"A workspace holds {_LEDGER}, an export of tiles holds a file named {tiles.CHECKPOINT}.",
        )
    try:
        with path.open("rb") as file:
            begins = file.read(_MAX_NOTE_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    # Canonical JSON begins with its brace; anything else is for SQLite to judge.
    if begins[:1] == b"{":
        return Given(EXTRACT, path, None)
    if b"\0" not in begins and _holds_checkpoint(begins):  # text; a ledger that was damaged stays a finding
        raise InputError(
            f"{path} holds a checkpoint, and no record",
            hint="Give the record that it is to be held against, and this one with --checkpoint.",
        )
    return Given(DATABASE, path, _beside(path.parent))


def _holds_checkpoint(data: bytes) -> bool:
    try:
        return bool(find_notes(data))
    except InputError:
        return False


def _beside(directory: Path) -> Path | None:
    key = directory / _KEY
    return key if key.is_file() else None


def read_text(path: Path, what: str) -> str:
    """The text of a small file, such as a key's. Raises InputError, naming `what`."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_TEXT_BYTES + 1)
        if len(data) > _MAX_TEXT_BYTES:
            raise InputError(f"the {what} {path} is larger than any {what}")
        return data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(f"the {what} {path} cannot be read: {why}") from error


def read_bytes(path: Path, what: str) -> bytes:
    """The bytes of a file. Raises InputError, naming `what`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"the {what} {path} cannot be read: {error.strerror}") from error
