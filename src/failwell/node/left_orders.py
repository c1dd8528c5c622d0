"""Orders left in the workspace while the node did not answer (D2): `orders/<nonce>.order`, one signed order a file.

Whoever suspends an agent writes the signed order here, durably, when the socket stays silent. The writer reads the
directory before every batch and before its first decision; what a file says is believed only through its signature.
"""

from __future__ import annotations

import os
from pathlib import Path

from failwell.core.errors import InputError
from failwell.core.orders import SignedOrder, encode_signed, parse_order, parse_signed

SUFFIX = ".order"
TAKEN = ".taken"
REFUSED = ".refused"
#: Longer than the coarsest step in which a file system keeps time.
SETTLE_US = 20_000


def leave(directory: Path, signed: SignedOrder) -> Path:
    """Write a signed order durably into `orders/`; returns its path. The same order lands in the same file."""
    path = directory / f"{parse_order(signed.order).nonce}{SUFFIX}"
    part = path.with_suffix(".part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, encode_signed(signed))
        os.fsync(handle)
    finally:
        os.close(handle)
    part.rename(path)
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
    return path


def generation(directory: Path) -> int:
    """A number that changes whenever a file comes into or leaves the directory (one stat)."""
    return os.stat(directory).st_mtime_ns


def is_settled(generation: int, wall_us: int) -> bool:
    """Whether a further change would show as another generation.

    Kernels keep a directory's time in steps of a few milliseconds: an order that comes in the same step as the one
    before it changes nothing that `stat` tells, so a directory that changed just now is read again.
    """
    return abs(wall_us - generation // 1000) > SETTLE_US


def read(directory: Path) -> list[tuple[Path, SignedOrder | None]]:
    """The orders that lie there, oldest first; None for a file that holds no order."""
    found: list[tuple[Path, SignedOrder | None]] = []
    for path in sorted(directory.glob(f"*{SUFFIX}"), key=lambda item: item.stat().st_mtime_ns):
        try:
            found.append((path, parse_signed(path.read_bytes())))
        except (InputError, OSError):
            found.append((path, None))
    return found


def put_away(path: Path, *, taken: bool) -> None:
    """Mark a file as carried out, or as refused; it is kept either way."""
    path.rename(path.with_suffix(TAKEN if taken else REFUSED))
