"""Recorded files as JSON texts with their place: plain or gzip, one text per line, an array, or one alone.

What it is comes from the bytes, never from the file's name. JSON lines are read one line at a time at any
size; an array is loaded whole, within a bound. The same open file is hashed and then read, so the digest is
that of the bytes that were judged. This module does not know what a run is.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import msgspec
from msgspec import Raw

from failwell.core.errors import InputError, NotFound

# Bounds on every input: a small gzip can unpack without end, and a line without a newline is a whole file.
LINE_LIMIT_BYTES = 32 * 1024 * 1024
WHOLE_LIMIT_BYTES = 256 * 1024 * 1024

_CHUNK_BYTES = 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"

T = TypeVar("T")


@dataclass(slots=True)
class RecordedFile:
    """One open recording: its name for messages, SHA-256 (hex) as stored, blank lines passed over."""

    path: Path
    digest: str
    stream: IO[bytes]
    blank_lines: int = 0

    def texts(self) -> Iterator[tuple[str, bytes]]:
        """Yield (place, JSON text) of each record in file order; the place reads "runs.jsonl, line 3".

        Raises InputError on an empty file, a line or text over the bound, and what is neither JSON nor lines.
        """
        number, first = self._first_line()
        if first.lstrip().startswith(b"{") and _is_object(first):
            yield f"{self.path}, line {number}", first
            yield from self._lines(number)
            return
        text = first + self.stream.read(max(0, WHOLE_LIMIT_BYTES + 1 - len(first)))
        if len(text) > WHOLE_LIMIT_BYTES:
            raise InputError(
                f"{self.path}: more than {WHOLE_LIMIT_BYTES >> 20} MiB in one JSON text",
                hint="Write one run per line (JSON lines): such files are read at any size.",
            )
        yield from self._items(text, number)

    def _first_line(self) -> tuple[int, bytes]:
        number = 0
        while line := self.stream.readline(WHOLE_LIMIT_BYTES + 1):
            number += 1
            if line.strip():
                return number, line
            self.blank_lines += 1
        raise InputError(f"{self.path}: the file is empty")

    def _lines(self, number: int) -> Iterator[tuple[str, bytes]]:
        while line := self.stream.readline(LINE_LIMIT_BYTES + 1):
            number += 1
            if len(line) > LINE_LIMIT_BYTES:
                raise InputError(f"{self.path}, line {number}: longer than {LINE_LIMIT_BYTES >> 20} MiB")
            if line.strip():
                yield f"{self.path}, line {number}", line
            else:
                self.blank_lines += 1

    def _items(self, text: bytes, number: int) -> Iterator[tuple[str, bytes]]:
        opening = text.lstrip()[:1]
        if opening == b"{":
            yield f"{self.path}, line {number}", text
            return
        if opening != b"[":
            raise InputError(
                f"{self.path}: neither JSON nor JSON lines",
                hint="Give AgentDojo .jsonl, tau-bench .json or OpenAI-style messages, or a gzip of one.",
            )
        items = parsed(text, list[Raw], str(self.path))
        if items and "role" in parsed(items[0], dict[str, Raw], f"{self.path}, item 1"):
            # One conversation, written as the bare array of its messages.
            yield f"{self.path}, line {number}", b'{"messages":' + text + b"}"
            return
        for item_number, item in enumerate(items, 1):
            yield f"{self.path}, item {item_number}", bytes(item)


@contextmanager
def opened(path: Path) -> Iterator[RecordedFile]:
    """Open one recording for reading; raises NotFound, and InputError for gzip damage met later too."""
    try:
        stored = path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"no such file: {path}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    with stored:
        if not stored.seekable():  # a pipe: it could not be hashed first and read again
            raise InputError(f"{path} is not a file", hint="Write it to a file: a recording is read more than once.")
        try:
            digest = hashlib.sha256()
            while chunk := stored.read(_CHUNK_BYTES):
                digest.update(chunk)
            stored.seek(0)
            packed = stored.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            stored.seek(0)
            stream: IO[bytes] = gzip.GzipFile(fileobj=stored, mode="rb") if packed else stored  # type: ignore[assignment]
            yield RecordedFile(path, digest.hexdigest(), stream)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{path}: the gzip stream is cut off or damaged ({error})",
                hint="Fetch the file again: what was read before the damage is not the whole recording.",
            ) from None


def parsed(text: bytes | Raw, shape: type[T], place: str) -> T:
    """Decode one JSON text into `shape`; raises InputError naming `place` and what does not fit."""
    try:
        return msgspec.json.decode(text, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"{place}: {error}") from None
    except RecursionError:
        raise InputError(f"{place}: nested too deeply") from None


def _is_object(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=dict[str, Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True
