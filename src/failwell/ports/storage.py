"""What the ledger needs from a store: one durable commit, exact read-back, and rows by key. Not what tables look like.

A store holds bytes and never interprets them. Every failure is typed: `StorageFull` (room must be made, nothing was
written) and `StorageFailed` (the handle is not trusted any more; a failed sync is never retried on it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from failwell.core.errors import Unhealthy
from failwell.core.windows import Past


class StorageFailed(Unhealthy):
    code = "storage-failed"


class StorageFull(StorageFailed):
    code = "storage-full"


class StorageForeign(StorageFailed):
    """Somebody else has written to the ledger: this writer never writes again, whatever is opened anew."""

    code = "storage-foreign"


class StoredEntry(NamedTuple):
    """Row of an entry: canonical bytes, RFC 6962 leaf hash, and the hashes of the perfect subtrees it completes."""

    seq: int
    data: bytes
    leaf: bytes
    nodes: bytes


class StoredBlob(NamedTuple):
    seq: int
    ciphertext: bytes
    wrapped: bytes


class StoredToken(NamedTuple):
    """`id` = entry seq * 1024 + position in its `tokens`; `lookup` finds it, `sealed` holds what it stands for."""

    id: int
    token: str
    lookup: bytes
    sealed: bytes


class Batch(NamedTuple):
    """Everything of one commit. `rows` maps (table, key) to canonical JSON text.

    `note` is a signed checkpoint over the first `size` entries, which may be fewer than there are; both None where the
    guard has signed nothing new. A batch may hold a note alone.
    """

    entries: Sequence[StoredEntry]
    blobs: Sequence[StoredBlob]
    tokens: Sequence[StoredToken]
    rows: Mapping[tuple[str, Any], str]
    size: int | None
    note: bytes | None


class Opened(Protocol):
    """What opening a store repaired."""

    @property
    def repaired(self) -> bool:
        """Whether there is anything to report."""
        ...

    def detail(self) -> str:
        """One sentence for the record."""
        ...


class StoredPast(Past, Protocol):
    """What lies before memory, found by key: `size` tells up to which entry. Every method raises StorageFailed."""

    def token(self, lookup: bytes) -> str | None:
        """The token that stands under a lookup key."""
        ...

    def calls(self, run: int) -> Sequence[tuple[str, int, bool]]:
        """(call id, entry, whether it was denied) of a run's actions, oldest first."""
        ...


class Storage(Protocol):
    """One workspace's ledger file. `commit` is called by one thread; the readers may be called by any."""

    @property
    def opened(self) -> Opened:
        """What opening it repaired."""
        ...

    def commit(self, batch: Batch) -> None:
        """Write all of `batch` durably or nothing. Raises StorageFull or StorageFailed."""
        ...

    def read_back(self, first: int, count: int) -> list[tuple[bytes, bytes]]:
        """(data, leaf) of entries first .. first+count-1 through a second connection: what the file really holds."""
        ...

    def size(self) -> int:
        """Number of entries."""
        ...

    def entry(self, seq: int) -> StoredEntry | None: ...

    def entries(self, first: int, limit: int) -> list[StoredEntry]:
        """Up to `limit` entries from `first` on, in one short transaction."""
        ...

    def blob(self, seq: int) -> StoredBlob | None: ...

    def tokens(self, first: int = 0) -> Iterator[StoredToken]:
        """Token rows from id `first` on, in order."""
        ...

    def row(self, table: str, key: Any) -> str | None: ...

    def rows(self, table: str, first: Any = None) -> Iterator[tuple[Any, str]]:
        """Rows by ascending key, from key `first` on."""
        ...

    def live_rows(self, table: str) -> Iterator[tuple[Any, str]]:
        """Rows that can still change a verdict: open actions and runs, queued pages; of other tables all."""
        ...

    def newest_key(self, table: str) -> int | None:
        """The greatest key of a table whose keys are numbers; None where it is empty."""
        ...

    def checkpoint(self) -> bytes | None:
        """The newest signed checkpoint (C2SP signed note)."""
        ...

    def past(self, *, catch_up: bool = True) -> StoredPast | None:
        """What need not be read into memory, as far as it reaches; None where nothing can tell of the past.

        `catch_up`: bring it up to the last commit first, which may take its time.
        """
        ...

    def follow(self) -> None:
        """Keep what `past` tells up to date from a thread of its own until `close`; a failure costs memory alone."""
        ...

    def spend_reserve(self) -> None:
        """Give the reserved disk space back to the file system, so that containment can still be written."""
        ...

    def refill_reserve(self) -> bool:
        """Reserve the space again; False while there is no room for it."""
        ...

    def reopen(self) -> None:
        """Drop both handles and open the file afresh: the only way on after a failure."""
        ...

    def close(self) -> None:
        """Truncate the write-ahead log and close."""
        ...
