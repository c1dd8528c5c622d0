"""A copy's file: encrypted in chunks, so that it is never whole in memory, nor in the clear on disk.

AES-256-GCM under a key of its own, one message a chunk: the nonce is the chunk's number, and what is bound beside it
says which is the last, so that a file that was cut off, or had its chunks put in another order, does not open. The
SHA-256 of the whole file names it, and stands in the ledger; the key lies in the blob of that entry.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from failwell.core.errors import Corrupt

MAGIC = b"failwell/copy/1\n"
CHUNK = 1024 * 1024
_TAG = 16
KEY_BYTES = 32


class CopyWriter:
    """Takes bytes in order (`write`) into a new file of mode 0600; `finish` makes it durable and names it."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._file: IO[bytes] = os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
        self._waiting = bytearray()
        self._chunks = 0
        self._digest = sha256()
        self._put(MAGIC)

    def write(self, data: bytes) -> int:
        """As a file takes it."""
        self._waiting += data
        while len(self._waiting) > CHUNK:  # the last one is told from the others when it ends
            self._seal(bytes(self._waiting[:CHUNK]), last=False)
            del self._waiting[:CHUNK]
        return len(data)

    def finish(self) -> str:
        """The digest (hex) of the file, which is durable then."""
        self._seal(bytes(self._waiting), last=True)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._digest.hexdigest()

    def abandon(self) -> None:
        """Close it as it is."""
        self._file.close()

    def _seal(self, data: bytes, *, last: bool) -> None:
        self._put(self._cipher.encrypt(_nonce(self._chunks), data, _bound(self._chunks, last=last)))
        self._chunks += 1

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)


def read_copy(path: Path, key: bytes) -> Iterator[bytes]:
    """What a copy holds, chunk by chunk. Raises Corrupt where it is not what was written."""
    cipher = AESGCM(key)
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise Corrupt(f"{path} is no copy of ours")
        number, sealed = 0, file.read(CHUNK + _TAG)
        while True:
            following = file.read(CHUNK + _TAG)
            try:
                yield cipher.decrypt(_nonce(number), sealed, _bound(number, last=not following))
            except InvalidTag as error:
                raise Corrupt(f"{path} was changed or cut off, or its key is another one") from error
            if not following:
                return
            number, sealed = number + 1, following


def copy_path(place: Path, digest: str) -> Path:
    """Where the copy of this digest lies."""
    return place / f"{digest}.copy"


def copy_fault(place: Path, digest: str) -> str | None:
    """What is wrong with a copy, in words; None where it is what it was."""
    try:
        return None if digest_of(copy_path(place, digest)) == digest else "was changed"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def digest_of(path: Path) -> str:
    """The SHA-256 (hex) of a file. Raises OSError."""
    digest = sha256()
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _bound(number: int, *, last: bool) -> bytes:
    return b"%d\n%d" % (number, last)
