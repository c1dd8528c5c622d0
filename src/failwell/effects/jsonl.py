"""Effects from a file of JSON lines that a tool appends to.

A line counts when its line feed is there; what stands behind the last one may still be written. The cursor
holds the offset behind the last line read and that line's digest, so that a file that was cut, replaced or
rewritten there is noticed. It does not follow rotated files: point it at a file that only grows. What was
changed further up is not noticed here; the digests in the ledger show it.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO, Final

from failwell.core import canonical
from failwell.core.errors import Corrupt, InputError, NotFound, Unhealthy
from failwell.effects.fields import effect_of, unreadable
from failwell.effects.settings import JsonLines
from failwell.ports.effects import Effect

MAX_LINES: Final = 1_000
MAX_LINE_BYTES: Final = 1_048_576
_CHUNK_BYTES: Final = 65_536
_CURSOR: Final = re.compile(r"(0|[1-9][0-9]{0,18}):(0|[1-9][0-9]{0,18}):([0-9a-f]{64})")
_NOTHING: Final = hashlib.sha256(b"").hexdigest()


class JsonLinesReader:
    """Opens the file anew each time. `root` is where a relative path begins."""

    def __init__(self, settings: JsonLines, root: Path) -> None:
        self._settings = settings
        self._path = root / settings.path

    @property
    def witness(self) -> str:
        """The name of the log that is read."""
        return self._settings.witness

    def read(self, after: str | None) -> tuple[list[Effect], str]:
        """The next complete lines as effects, at most a thousand; raises as
        `ports.effects.EffectReader.read`."""
        offset, size, digest = _parse_cursor(after)
        try:
            with self._path.open("rb") as stream:
                self._check(stream, offset, size, digest)
                return self._lines(stream, offset, size, digest)
        except FileNotFoundError as error:
            if after is not None:
                raise self._cut("it is gone") from error
            raise NotFound(f"witness {self.witness}: there is no log {self._path}") from error
        except OSError as error:
            raise Unhealthy(f"witness {self.witness}: {self._path}: {error.strerror}") from error

    def _check(self, stream: BinaryIO, offset: int, size: int, digest: str) -> None:
        length = os.fstat(stream.fileno()).st_size
        if length < offset:
            raise self._cut(f"it has {length} bytes, {offset} were read before")
        stream.seek(offset - size)
        found, taken = _digest_of(stream, size)
        if taken != size or found != digest:
            raise self._cut(f"the line that ended at byte {offset} is not the one that was read")

    def _lines(self, stream: BinaryIO, offset: int, size: int, digest: str) -> tuple[list[Effect], str]:
        effects: list[Effect] = []
        while len(effects) < MAX_LINES:
            line = stream.readline(MAX_LINE_BYTES + 1)
            if line.endswith(b"\n"):
                size, digest = len(line), hashlib.sha256(line).hexdigest()
                effects.append(self._effect(line, offset, digest))
            elif len(line) <= MAX_LINE_BYTES:
                break  # nothing more, or a torn last line: the next reading sees it whole
            else:
                rest = _rest_of_line(stream, line)
                if rest is None:
                    break
                digest, size = rest
                effects.append(unreadable(self._settings, f"byte:{offset}", digest, "the line is too long"))
            offset += size
        return effects, f"{offset}:{size}:{digest}"

    def _effect(self, line: bytes, offset: int, digest: str) -> Effect:
        place = f"byte:{offset}"
        try:
            fields = canonical.parse(line)
        except InputError as error:
            return unreadable(self._settings, place, digest, error.message)
        if not isinstance(fields, dict):
            return unreadable(self._settings, place, digest, "the line is not a JSON object")
        return effect_of(self._settings, fields, place, digest)

    def _cut(self, why: str) -> Corrupt:
        return Corrupt(
            f"witness {self.witness}: the log {self._path} was cut: {why}",
            hint="Find out who changed it. Effects may be missing from here on; read it from the beginning.",
            code="log-cut",
        )


def _parse_cursor(after: str | None) -> tuple[int, int, str]:
    if after is None:
        return 0, 0, _NOTHING
    found = _CURSOR.fullmatch(after)
    if found is None or int(found[2]) > int(found[1]):
        raise InputError(f"{after[:80]!r} is not a cursor of a file of JSON lines")
    return int(found[1]), int(found[2]), found[3]


def _digest_of(stream: BinaryIO, size: int) -> tuple[str, int]:
    running, taken = hashlib.sha256(), 0
    while taken < size:
        chunk = stream.read(min(_CHUNK_BYTES, size - taken))
        if not chunk:
            break
        running.update(chunk)
        taken += len(chunk)
    return running.hexdigest(), taken


def _rest_of_line(stream: BinaryIO, begun: bytes) -> tuple[str, int] | None:
    """Digest and size of a line too long to keep; None where its end is not written yet."""
    running, size = hashlib.sha256(begun), len(begun)
    while chunk := stream.readline(_CHUNK_BYTES):
        running.update(chunk)
        size += len(chunk)
        if chunk.endswith(b"\n"):
            return running.hexdigest(), size
    return None
