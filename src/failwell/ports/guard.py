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


class GuardLost(Corrupt):
    """Its memory of what it signed is gone or unreadable: it signs nothing; only a person's order goes on from here."""

    code = "guard-lost"


class Sealed(NamedTuple):
    """A head that the guard signed: tree size, root (32 bytes), and the C2SP signed note of its checkpoint."""

    size: int
    root: bytes
    note: bytes


class GuardMoved(GuardFailed):
    """It has signed more than the caller knows (an answer was lost): go on from `sealed`, which is verified."""

    code = "guard-moved"

    def __init__(self, sealed: Sealed) -> None:
        super().__init__(f"the guard has already signed a tree of {sealed.size} leaves", hint="Go on from there.")
        self.sealed = sealed


class KeyChange(NamedTuple):
    """A key that waits to be put in force: old and new vkey, and the note signed by both (`kinds.LogKey`).

    `since`: the tree size from which it signs, None until the guard was told that the record names it.
    """

    was: str
    key: str
    statement: str
    since: int | None = None


class Guard(Protocol):
    """One log's guard. Calls may come from several threads and are answered one after the other."""

    @property
    def key(self) -> str:
        """The C2SP vkey it signs with now; its name is the log's origin."""
        ...

    @property
    def waiting(self) -> KeyChange | None:
        """The change of key that waits to be put in force."""
        ...

    @property
    def retired(self) -> str | None:
        """Why it signs nothing any more, None while it does."""
        ...

    def last(self) -> Sealed | None:
        """What it signed last, None before the first head."""
        ...

    def grown(self) -> tuple[int, bytes]:
        """Size and root of the tree the next head must grow from: `last()`'s, or a continued log's start, or 0."""
        ...

    def seal(
        self, size: int, root: bytes, path: Sequence[bytes], timeout_s: float, *, since: int | None = None
    ) -> Sealed:
        """Sign the head (size, root), which `path` proves to grow from `grown()` (RFC 9162 2.1.4).

        Asked again for what it signed last, it answers the same. `since` is the size that the path starts from: with
        it a lost answer shows as GuardMoved instead of a bad proof. Raises GuardFailed, GuardRefused and GuardLost.
        """
        ...

    def rotate(self, timeout_s: float) -> KeyChange:
        """Make the next key, or give the one already waiting; signing goes on with the old one until `confirm`."""
        ...

    def confirm(self, key: str, size: int, timeout_s: float) -> None:
        """Sign trees of `size` and more leaves with the waiting `key`; the old one is destroyed once one is signed."""
        ...

    def retire(self, why: str, timeout_s: float) -> None:
        """Destroy its keys: it signs nothing any more and keeps its last note as evidence. `why` is for people."""
        ...

    def close(self) -> None:
        """End what this side started; idempotent."""
        ...
