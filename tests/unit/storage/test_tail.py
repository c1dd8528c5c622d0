"""The newest entries, read back at start: every byte of them is held against its hash and its place in the tree."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest

from failwell.core import merkle
from failwell.core.errors import Corrupt
from failwell.ports.storage import Batch, StoredEntry
from failwell.storage import sqlite
from failwell.storage.sqlite import SqliteStorage
from failwell.storage.tail import TAIL_ENTRIES, check_tail

SIZE = 40


def write(path: Path, size: int) -> bytes:
    """A ledger of that many entries; its tree head."""
    sqlite.create(path)
    storage = SqliteStorage(path)
    frontier = merkle.Frontier()
    entries = []
    for seq in range(size):
        data = b"entry %d" % seq
        leaf = merkle.leaf_hash(data)
        entries.append(StoredEntry(seq, data, leaf, b"".join(frontier.append(leaf))))
    storage.commit(Batch(entries, [], [], {}, None, None))
    storage.close()
    return frontier.root()


def spoil(path: Path, sql: str, *bindings: object) -> SqliteStorage:
    connection = apsw.Connection(str(path))
    connection.execute(sql, bindings)
    connection.close()
    return SqliteStorage(path)


@pytest.mark.parametrize("size", [0, 1, 2, 7, SIZE])
@pytest.mark.parametrize("sealed", [0, 1, SIZE])
def test_an_honest_tail_gives_the_tree_head_whatever_is_sealed(tmp_path: Path, size: int, sealed: int) -> None:
    root = write(tmp_path / "ledger.db", size)
    storage = SqliteStorage(tmp_path / "ledger.db")
    found = check_tail(storage, min(sealed, size), at_least=3)
    assert (found.size, found.root) == (size, root)
    assert found.first == max(0, min(sealed, size - 3))
    storage.close()


def test_at_least_the_last_thousand_are_read_where_all_is_sealed(tmp_path: Path) -> None:
    root = write(tmp_path / "ledger.db", 2500)
    storage = SqliteStorage(tmp_path / "ledger.db")
    assert check_tail(storage, 2500) == (2500 - TAIL_ENTRIES, 2500, root)
    assert check_tail(storage, 100).first == 100
    storage.close()


@pytest.mark.requirement("R28.12")
def test_each_changed_byte_of_the_tail_is_found_where_it_stands(tmp_path: Path, rng: random.Random) -> None:
    for number in range(25):
        path = tmp_path / f"{number}.db"
        write(path, SIZE)
        seq = rng.randrange(10, SIZE)
        column = rng.choice(["data", "leaf", "nodes"] if seq % 2 else ["data", "leaf"])
        storage = spoil(path, f"UPDATE entry SET {column} = CAST({column} || x'00' AS BLOB) WHERE seq = ?", seq)
        with pytest.raises(Corrupt, match=f"entry {seq} "):
            check_tail(storage, 10, at_least=0)
        storage.close()


@pytest.mark.requirement("R28.12")
def test_an_entry_changed_with_its_own_hash_does_not_stand_in_the_tree(tmp_path: Path) -> None:
    """Attack: change an entry and hash it again; the first subtree over it was written with the old one."""
    path = tmp_path / "ledger.db"
    write(path, SIZE)
    data = b"entry 20, as it should have been"
    storage = spoil(path, "UPDATE entry SET data = ?, leaf = ? WHERE seq = 20", data, merkle.leaf_hash(data))
    with pytest.raises(Corrupt, match="entry 21 does not stand in the tree"):
        check_tail(storage, 10, at_least=0)
    storage.close()


def test_a_missing_entry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    write(path, SIZE)
    storage = spoil(path, "DELETE FROM entry WHERE seq = 33")
    with pytest.raises(Corrupt, match="entry 33 is missing"):
        check_tail(storage, 10, at_least=0)
    storage.close()


def test_a_missing_entry_that_the_tail_hangs_on_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    write(path, SIZE)
    storage = spoil(path, "DELETE FROM entry WHERE seq = 31")
    with pytest.raises(Corrupt, match="entry 31 is missing"):
        check_tail(storage, 36, at_least=0)
    storage.close()
