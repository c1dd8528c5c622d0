"""Jobs: the pure functions that the writer runs, and what they see and give back.

A job gets a `Turn` (the state, ledger time, tokens, entropy), changes nothing, and returns a `Plan`: the drafts to
write and how to make its answer from the entries they became. Because jobs are pure, the writer may run one again
after a failed commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from failwell.core.records import Draft, Entry, decode_entry
from failwell.core.rows import encode_row
from failwell.core.state import State
from failwell.ledger.vault import Minted, Vault
from failwell.ports.storage import Storage, StoredBlob

T = TypeVar("T")

#: Lanes of the writer. Containment overtakes everything that is queued and may use the reserved disk space.
CONTAINMENT, NORMAL = 0, 1


class Plan(NamedTuple, Generic[T]):
    """What a job asks for. `answer` gets the entries its drafts became (not the reactions), in order."""

    drafts: tuple[Draft, ...]
    answer: Callable[[tuple[Entry[Any], ...]], T]


class Turn:
    """One job's view of the workspace while the writer runs it. `seq` is the number its first draft will get.

    What jobs before it in the same batch wrote (`open_blobs`, the state's changed rows) is seen like what is stored:
    whether two requests share a commit must never change an answer.
    """

    __slots__ = ("_found", "_open_blobs", "_storage", "_vault", "entropy", "minted", "now_us", "seq", "state")

    def __init__(
        self,
        state: State,
        now_us: int,
        vault: Vault,
        storage: Storage,
        entropy: Callable[[int], bytes],
        open_blobs: Mapping[int, StoredBlob],
    ) -> None:
        self.state = state
        self.now_us = now_us
        self.seq = state.size
        self.entropy = entropy
        self.minted: dict[bytes, Minted] = {}
        self._found: dict[tuple[str, str], tuple[str | None, bytes]] = {}
        self._vault = vault
        self._storage = storage
        self._open_blobs = open_blobs

    def token(self, kind: str, value: str) -> str:
        """The random token that stands for `value` among `kind`; minted and bound by this job's entry if new."""
        known, lookup = self._find(kind, value)
        if known is not None:
            return known
        if lookup not in self.minted:
            self.minted[lookup] = self._vault.mint(kind, value, lookup)
        return self.minted[lookup].token

    def known_token(self, kind: str, value: str) -> str | None:
        """The token of `value`, or None if it was never seen: a question that must not mint."""
        return self._find(kind, value)[0]

    def _find(self, kind: str, value: str) -> tuple[str | None, bytes]:
        """(token, lookup) of a value; looked for once a turn, for nothing is minted for good while it lasts."""
        found = self._found.get((kind, value))
        if found is None:
            found = self._found[kind, value] = self._vault.find(kind, value)
        return found

    def secret(self, seq: int) -> dict[str, Any] | None:
        """The opened blob of an earlier entry, None where there is none."""
        blob = self._open_blobs.get(seq) or self._storage.blob(seq)
        return None if blob is None else self._vault.open(blob)

    def entry(self, seq: int) -> Entry[Any] | None:
        """An earlier entry as stored, None beyond the last commit."""
        row = self._storage.entry(seq)
        return None if row is None else decode_entry(row.data)

    def stored_row(self, table: str, key: Any) -> str | None:
        """A projection row that has left memory (a settled action, a closed run)."""
        changed = self.state.dirty.get((table, key))
        return self._storage.row(table, key) if changed is None else encode_row(changed)


Job = Callable[[Turn], Plan[T]]
