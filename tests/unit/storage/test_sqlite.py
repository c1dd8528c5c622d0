"""The SQLite store: durable settings that are asserted, all or nothing, exact read-back, and files it refuses."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from failwell.core.errors import Corrupt, Unhealthy
from failwell.core.rows import TABLES
from failwell.ports.storage import Batch, StorageFailed, StoredBlob, StoredEntry, StoredToken
from failwell.storage import sqlite
from failwell.storage.sqlite import SqliteStorage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    sqlite.create(tmp_path / "ledger.db")
    return tmp_path / "ledger.db"


@pytest.fixture
def storage(path: Path) -> Iterator[SqliteStorage]:
    opened = SqliteStorage(path)
    yield opened
    opened.close()


def entry(seq: int) -> StoredEntry:
    return StoredEntry(seq, b"entry %d" % seq, bytes([seq % 256]) * 32, b"")


def batch(first: int, count: int, **more: Any) -> Batch:
    values: dict[str, Any] = {
        "entries": [entry(seq) for seq in range(first, first + count)], "blobs": [], "tokens": [], "rows": {},
        "size": first + count, "note": b"note %d" % (first + count),
    }  # fmt: skip
    return Batch(**(values | more))


def test_a_new_file_is_private_marked_and_holds_every_table_of_the_projections(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    connection = apsw.Connection(str(path))
    assert connection.pragma("application_id") == sqlite.APPLICATION_ID
    assert connection.pragma("user_version") == sqlite.LAYOUT_VERSION
    tables = {name for kind, name, _ in sqlite.declared_objects() if kind == "table"}
    assert tables == {"entry", "blob", "token", "checkpoint", *TABLES}


def test_an_existing_file_is_never_made_anew(path: Path) -> None:
    with pytest.raises(FileExistsError):
        sqlite.create(path)


@pytest.mark.requirement("R28.4")
def test_every_commit_is_synced_in_full_through_a_write_ahead_log(storage: SqliteStorage) -> None:
    assert storage._write.pragma("journal_mode") == "wal"
    assert storage._write.pragma("synchronous") == 2


def test_what_was_committed_is_read_back_exactly_through_another_connection(storage: SqliteStorage) -> None:
    blob, token = StoredBlob(1, b"\0\xff", b"key"), StoredToken(1024, "c-1", b"lookup", b"sealed")
    rows = {("agent", "a"): "{}", ("action", 1): '{"x":1}'}
    storage.commit(batch(0, 3, blobs=[blob], tokens=[token], rows=rows))
    assert storage.read_back(0, 3) == [(each.data, each.leaf) for each in (entry(0), entry(1), entry(2))]
    assert storage._back is not storage._write
    assert storage.entry(2) == entry(2)
    assert storage.entry(3) is None
    assert storage.entries(1, 10) == [entry(1), entry(2)]
    assert storage.size() == 3
    assert (storage.blob(1), storage.blob(2), list(storage.blobs())) == (blob, None, [blob])
    assert list(storage.tokens()) == [token]
    assert (storage.row("agent", "a"), storage.row("agent", "b")) == ("{}", None)
    assert list(storage.rows("action")) == [(1, '{"x":1}')]
    assert storage.checkpoint() == b"note 3"


def test_a_row_that_changes_is_replaced_and_the_newest_checkpoint_stands_alone(storage: SqliteStorage) -> None:
    storage.commit(batch(0, 1, rows={("agent", "a"): "old"}))
    storage.commit(batch(1, 1, rows={("agent", "a"): "new"}))
    assert list(storage.rows("agent")) == [("a", "new")]
    assert storage.checkpoint() == b"note 2"


def test_a_batch_that_fails_anywhere_leaves_nothing(storage: SqliteStorage) -> None:
    storage.commit(batch(0, 2))
    blob = StoredBlob(2, b"", b"")
    for broken in (batch(1, 3), batch(2, 2, blobs=[blob, blob]), batch(2, 1, rows={("agent", "a"): None})):
        with pytest.raises(StorageFailed):
            storage.commit(broken)
        storage.reopen()
        assert storage.size() == 2
        assert storage.checkpoint() == b"note 2"
        assert list(storage.blobs()) == []
    storage.commit(batch(2, 1))
    assert storage.size() == 3


def test_more_rows_than_a_page_come_in_order_and_each_once(storage: SqliteStorage) -> None:
    count = sqlite.PAGE * 2 + 7
    storage.commit(batch(0, 1, rows={("action", number): str(number) for number in range(count)}))
    assert list(storage.rows("action")) == [(number, str(number)) for number in range(count)]


def test_a_reader_between_pages_does_not_hold_the_log_back(storage: SqliteStorage) -> None:
    storage.commit(batch(0, 1, rows={("action", number): str(number) for number in range(sqlite.PAGE + 1)}))
    reading = storage.rows("action")
    next(reading)
    storage.commit(batch(1, 1))
    busy, _ = storage._write.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert busy == 0


def test_a_table_that_is_not_ours_is_never_asked_for(storage: SqliteStorage) -> None:
    with pytest.raises(Unhealthy):
        storage.row('agent"; DROP TABLE entry; --', 1)
    with pytest.raises(Unhealthy):
        list(storage.rows("sqlite_schema"))


def test_a_closed_ledger_is_one_file(path: Path) -> None:
    storage = SqliteStorage(path)
    storage.commit(batch(0, 5))
    storage.close()
    assert not path.with_name("ledger.db-wal").exists()
    assert apsw.Connection(str(path)).execute("SELECT count(*) FROM entry").fetchall() == [(5,)]


def test_handles_dropped_without_closing_lose_nothing_committed(path: Path, tmp_path: Path) -> None:
    storage = SqliteStorage(path)
    storage.commit(batch(0, 5))
    killed = tmp_path / "killed"
    killed.mkdir()
    sqlite.copy(path, killed / "ledger.db")
    again = SqliteStorage(killed / "ledger.db")
    assert again.size() == 5
    assert again.checkpoint() == b"note 5"
    again.close()
    storage.close()


def test_strangers_files_are_refused(tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.db"
    apsw.Connection(str(stranger)).execute("CREATE TABLE x (y)")
    with pytest.raises(Corrupt, match="not a Failwell ledger"):
        SqliteStorage(stranger)
    text = tmp_path / "text.db"
    text.write_text("no database at all, but long enough to be looked at" * 100)
    with pytest.raises(StorageFailed):
        SqliteStorage(text)
    with pytest.raises(StorageFailed):
        SqliteStorage(tmp_path / "missing.db")


def test_another_layout_is_refused(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", sqlite.LAYOUT_VERSION + 1)
    connection.close()
    with pytest.raises(Corrupt, match="layout"):
        SqliteStorage(path)


def test_a_live_ledger_is_copied_whole_while_it_is_written(path: Path, tmp_path: Path) -> None:
    storage = SqliteStorage(path)
    storage.commit(batch(0, 4, rows={("agent", "a"): "{}"}))
    sqlite.copy_live(path, tmp_path / "copy.db")
    storage.commit(batch(4, 4))
    copied = apsw.Connection(str(tmp_path / "copy.db"))
    assert copied.execute("SELECT max(seq) FROM entry").fetchall() == [(3,)]
    assert copied.execute("SELECT note FROM checkpoint").fetchall() == [(b"note 4",)]
    storage.close()


def test_the_reserve_is_real_space_and_is_given_back(storage: SqliteStorage) -> None:
    found = storage.reserve_path.stat()
    assert found.st_blocks * 512 >= sqlite.RESERVE_BYTES
    assert storage.refill_reserve()
    storage.spend_reserve()
    storage.spend_reserve()
    assert not storage.reserve_path.exists()
    assert storage.refill_reserve()
    assert storage.reserve_path.stat().st_size == sqlite.RESERVE_BYTES


def test_rebuilt_rows_replace_the_stored_ones_or_nothing_changes(path: Path) -> None:
    storage = SqliteStorage(path)
    storage.commit(batch(0, 1, rows={("agent", "a"): "old", ("agent", "b"): "old", ("action", 1): "old"}))
    storage.close()
    sqlite.replace_rows(path, {"agent": [("a", "new"), ("c", "new")]})
    storage = SqliteStorage(path)
    assert list(storage.rows("agent")) == [("a", "new"), ("c", "new")]
    assert list(storage.rows("action")) == [(1, "old")]
    storage.close()
    with pytest.raises(StorageFailed):
        sqlite.replace_rows(path, {"agent": [("a", "x"), ("d", None)]})  # type: ignore[list-item]
    storage = SqliteStorage(path)
    assert list(storage.rows("agent")) == [("a", "new"), ("c", "new")]
    storage.close()


def test_the_files_structure_is_asked_for_complaints(storage: SqliteStorage, path: Path, tmp_path: Path) -> None:
    storage.commit(batch(0, 300))
    assert storage.integrity() == []
    assert storage.objects() == sqlite.declared_objects()
    storage.close()
    damaged = tmp_path / "damaged.db"
    shutil.copy(path, damaged)
    data = bytearray(damaged.read_bytes())
    data[-2000:] = b"\xff" * 2000
    damaged.write_bytes(data)
    found = SqliteStorage(damaged)
    assert found.integrity() != []
    found.close()
