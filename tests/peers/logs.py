"""Sealed logs of any bytes for tests: a real ledger file, its key and its checkpoints, without a node.

What is in the entries does not matter to trees, proofs and tiles; that they are rows of a real ledger file does.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from failwell.core import merkle
from failwell.core.note import Checkpoint, VerifierKey, sign
from failwell.identity import keys
from failwell.node.workspace import Workspace
from failwell.ports.storage import Batch, StoredEntry
from failwell.storage import sqlite

ORIGIN = "failwell.example/log-of-tests"


class Log:
    """A workspace that holds nothing but a ledger file and the published key, as a context; `grow` and `seal` it."""

    def __init__(self, path: Path, *, origin: str = ORIGIN, seed: int = 1) -> None:
        self.workspace = Workspace(path)
        self.origin = origin
        self.key = keys.from_seed(bytes([seed]) * 32)
        self.vkey = VerifierKey(origin, self.key.public)
        self.verifiers = [(self.vkey, keys.verify)]
        self.entries: list[bytes] = []
        self.leaves: list[bytes] = []
        self._frontier = merkle.Frontier()
        self.workspace.keys.mkdir(parents=True)
        self.workspace.log_pub.write_text(self.vkey.text() + "\n")
        sqlite.create(self.workspace.ledger)
        self.storage = sqlite.SqliteStorage(self.workspace.ledger)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.storage.close()

    @property
    def path(self) -> Path:
        return self.workspace.path

    @property
    def size(self) -> int:
        return len(self.entries)

    def root(self, size: int) -> bytes:
        return merkle.root_of(self.leaves[:size])

    def note(self, size: int) -> bytes:
        """A checkpoint over the first `size` entries."""
        return sign(Checkpoint(self.origin, size, self.root(size)).text(), self.origin, self.key.public, self.key.sign)

    def grow(self, entries: Iterable[bytes], *, sealed: bool = True) -> None:
        """Append entries in one commit, with a checkpoint over all or without one."""
        rows = []
        for data in entries:
            leaf = merkle.leaf_hash(data)
            rows.append(StoredEntry(self.size, data, leaf, b"".join(self._frontier.append(leaf))))
            self.entries.append(data)
            self.leaves.append(leaf)
        self.storage.commit(
            Batch(rows, [], [], {}, self.size if sealed else None, self.note(self.size) if sealed else None)
        )


def some_entries(rng: random.Random, count: int, longest: int = 200) -> list[bytes]:
    return [rng.randbytes(rng.randrange(1, longest)) for _ in range(count)]
