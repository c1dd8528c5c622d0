"""Who signs the ledger's heads: a part of its own, with its own key and its own memory of what it signed (D18).

A guard sees sizes, hashes and proofs, never an entry. It signs a head only if that head grows from the one it signed
last, so that whoever holds the ledger file, its key-less keys directory and the node cannot have two histories signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from failwell.core.errors import Corrupt, Unhealthy


class GuardFailed(Unhealthy):
    """No answer in time, gone, or it cannot store: nothing was signed as far as is known; asking again is right."""

    code = "guard-failed"


class GuardRefused(Corrupt):
    """What was asked contradicts what the guard signed (rollback, fork, bad proof): asking again gives the same."""

    code = "guard-refused"


class Sealed(NamedTuple):
    """A head that the guard signed: tree size, root (32 bytes), and the C2SP signed note of its checkpoint."""

    size: int
    root: bytes
    note: bytes


class KeyChange(NamedTuple):
    """A key that waits to be put in force: old and new vkey, and the note signed by both (`kinds.LogKey`)."""

    was: str
    key: str
    statement: str


class Guard(Protocol):
    """One log's guard. Calls may come from several threads and are answered one after the other."""

    @property
    def key(self) -> str:
        """The C2SP vkey it signs with now; its name is the log's origin."""
        ...

    def last(self) -> Sealed | None:
        """What it signed last, None before the first head."""
        ...

    def seal(self, size: int, root: bytes, path: Sequence[bytes], timeout_s: float) -> Sealed:
        """Sign the head (size, root), which `path` proves to grow from `last()` (RFC 9162 2.1.4).

        Asked again for what it signed last, it answers the same. Raises GuardFailed and GuardRefused.
        """
        ...

    def rotate(self, timeout_s: float) -> KeyChange:
        """Make the next key, or give the one already waiting; signing goes on with the old one until `confirm`."""
        ...

    def confirm(self, key: str, size: int, timeout_s: float) -> None:
        """Sign trees of `size` and more leaves with the waiting `key`; the old one is destroyed once one is signed."""
        ...

    def close(self) -> None:
        """End what this side started; idempotent."""
        ...
