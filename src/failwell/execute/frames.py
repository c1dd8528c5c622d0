"""Messages between the node and a supervisor: a length-prefixed JSON header and raw bytes behind it.

Format of one frame: 4 bytes big-endian header length, the header (a JSON object whose `blobs` lists lengths
in bytes), then the blobs. Standard library only, and few modules of it: a supervisor must start in
milliseconds. It does not judge what a frame means.
"""

from __future__ import annotations

import json

HEADER_LIMIT_BYTES = 8 * 1024 * 1024
BLOB_LIMIT_BYTES = 256 * 1024 * 1024


def encode_frame(header: dict[str, object], *blobs: bytes) -> bytes:
    """Encode a header (plain JSON) and its blobs as one frame."""
    head = json.dumps({**header, "blobs": [len(blob) for blob in blobs]}, separators=(",", ":")).encode()
    return len(head).to_bytes(4, "big") + head + b"".join(blobs)


class FrameReader:
    """Cuts a byte stream into frames, however the bytes arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._buffer += data

    def take(self) -> tuple[dict[str, object], list[bytes]] | None:
        """Give the next whole frame, None while it is incomplete; raises ValueError on a malformed one."""
        if len(self._buffer) < 4:
            return None
        size = int.from_bytes(self._buffer[:4], "big")
        if size > HEADER_LIMIT_BYTES:
            raise ValueError(f"frame header of {size} bytes")
        if len(self._buffer) < 4 + size:
            return None
        header = json.loads(bytes(self._buffer[4 : 4 + size]))
        lengths = header.pop("blobs", None) if isinstance(header, dict) else None
        if not isinstance(lengths, list) or not all(type(n) is int and n >= 0 for n in lengths):
            raise ValueError("frame without blob lengths")
        if sum(lengths) > BLOB_LIMIT_BYTES:
            raise ValueError(f"frame blobs of {sum(lengths)} bytes")
        end = 4 + size + sum(lengths)
        if len(self._buffer) < end:
            return None
        blobs, at = [], 4 + size
        for length in lengths:
            blobs.append(bytes(self._buffer[at : at + length]))
            at += length
        del self._buffer[:end]
        return header, blobs


def as_integer(value: object) -> int:
    """One value of a header, which must be an integer; raises TypeError."""
    if type(value) is not int:
        raise TypeError(f"{value!r} is not an integer")
    return value


def as_list(value: object) -> list[object]:
    """The same for a list."""
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return value


def as_object(value: object) -> dict[str, object]:
    """The same for an object."""
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not an object")
    return value
