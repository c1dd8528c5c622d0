"""Disks that fail under the store: told by type, never asked again on the same handle, nothing acknowledged is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from failwell.ports.storage import Batch, StorageFailed, StorageFull, StoredEntry
from failwell.storage import files, sqlite
from failwell.storage.sqlite import SqliteStorage
from tests.simulate.faults import LOST, REPORTED, SYNC, WRITE, Fault, FaultyDisk, faulty_disk

LOG = "ledger.db-wal"


def batch(seq: int, count: int = 1, size: int = 40) -> Batch:
    entries = [StoredEntry(each, bytes([each % 256]) * size, bytes(32), b"") for each in range(seq, seq + count)]
    return Batch(entries, [], [], {}, None, None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    sqlite.create(tmp_path / "ledger.db")
    return tmp_path / "ledger.db"


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    with faulty_disk() as disk:
        yield disk


@pytest.fixture
def storage(disk: FaultyDisk, path: Path) -> Iterator[SqliteStorage]:
    opened = SqliteStorage(path)
    opened.commit(batch(0, 3))
    yield opened
    disk.heal()
    opened.close()


@pytest.mark.requirement("R28.8")
@pytest.mark.parametrize("how", [LOST, REPORTED])
@pytest.mark.parametrize("what", [SYNC, WRITE])
def test_after_a_failed_write_or_sync_the_handle_is_not_asked_again(
    storage: SqliteStorage, disk: FaultyDisk, what: str, how: str
) -> None:
    disk.plan(Fault(what, LOG, how))
    with pytest.raises(StorageFailed, match="writing the ledger") as told:
        storage.commit(batch(3))
    assert not isinstance(told.value, StorageFull)
    asked = len(disk.done)
    for _ in range(3):
        with pytest.raises(StorageFailed):
            storage.commit(batch(3))
    assert len(disk.done) == asked, "nothing was asked of the disk"
    assert storage.size() == 3
    storage.reopen()
    seq = storage.size()
    storage.commit(batch(seq))
    assert storage.size() == seq + 1


@pytest.mark.requirement("R28.9")
def test_the_log_is_written_again_before_anything_is_written_behind_a_failed_sync(
    storage: SqliteStorage, disk: FaultyDisk
) -> None:
    disk.plan(Fault(SYNC, LOG, LOST))
    with pytest.raises(StorageFailed):
        storage.commit(batch(3))
    asked = len(disk.done)
    storage.reopen()
    since = [done for done in disk.done[asked:] if done.name == LOG]
    assert [done.what for done in since[:2]] == [WRITE, SYNC]
    assert since[0].handle == since[1].handle not in {done.handle for done in disk.done[:asked]}


def test_while_the_log_cannot_be_written_again_the_ledger_is_read_and_not_written(
    storage: SqliteStorage, disk: FaultyDisk
) -> None:
    disk.plan(Fault(SYNC, LOG, LOST, times=1 << 30))
    with pytest.raises(StorageFailed):
        storage.commit(batch(3))
    for _ in range(3):
        storage.reopen()
        assert len(storage.entries(0, 3)) == 3
        with pytest.raises(StorageFailed, match=r"writing .*again"):
            storage.commit(batch(3))
    disk.heal()
    storage.reopen()
    seq = storage.size()
    storage.commit(batch(seq))
    assert storage.size() == seq + 1


class ForgetfulDisk(apsw.VFS):
    """A disk behind a page cache as Linux keeps one: after a failed sync the pages are clean and never written.

    Only files whose names end with `ending` forget.
    """

    def __init__(self, ending: str, name: str = "failwell-forgetful-disk") -> None:
        self.below = apsw.vfs_names()[0]
        self.ending = ending
        self.fail = False
        self.durable: dict[str, bytearray] = {}
        self.dirty: dict[str, list[tuple[int, bytes]]] = {}
        super().__init__(name, self.below, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        return _ForgetfulFile(self, name, path, flags)

    def cut(self, path: Path, where: Path) -> None:
        """Leave at `where` what a power cut would leave of the file at `path`."""
        where.write_bytes(self.durable[str(path)])


class _ForgetfulFile(apsw.VFSFile):
    def __init__(
        self, disk: ForgetfulDisk, name: str | apsw.URIFilename | None, path: str, flags: list[int]
    ) -> None:  # fmt: skip
        super().__init__(disk.below, name, flags)
        self._disk, self._path = disk, path
        self._forgets = path.endswith(disk.ending)
        if self._forgets:
            disk.durable.setdefault(path, bytearray(Path(path).read_bytes()))
            disk.dirty.setdefault(path, [])

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        if self._forgets:
            self._disk.dirty[self._path].append((offset, bytes(data)))

    def xSync(self, flags: int) -> None:
        if self._forgets:
            dirty = self._disk.dirty[self._path]
            if self._disk.fail:
                dirty.clear()
                raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
            durable = self._disk.durable[self._path]
            for offset, data in dirty:
                durable.extend(bytes(max(0, offset + len(data) - len(durable))))
                durable[offset : offset + len(data)] = data
            dirty.clear()
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        if self._forgets:
            del self._disk.durable[self._path][newsize:]


def lost_after_power_cut(path: Path, where: Path) -> int:
    """Entries acknowledged after a failed sync and not there after a power cut."""
    disk = ForgetfulDisk(LOG)
    try:
        storage = SqliteStorage(path)
        storage.commit(batch(0, 3))
        disk.fail = True
        with pytest.raises(StorageFailed):
            storage.commit(batch(3, 2))
        disk.fail = False
        storage.reopen()
        first = storage.size()
        storage.commit(batch(first, 4))
        assert len(storage.read_back(first, 4)) == 4
        where.mkdir()
        (where / "ledger.db").write_bytes(path.read_bytes())
        disk.cut(path.with_name(LOG), where / LOG)
        storage.close()
    finally:
        disk.unregister()
    after = SqliteStorage(where / "ledger.db")
    lost = first + 4 - after.size()
    after.close()
    return lost


@pytest.mark.requirement("R28.9")
def test_what_is_acknowledged_after_a_failed_sync_survives_a_power_cut(path: Path, tmp_path: Path) -> None:
    """Attack (fsyncgate): the second sync says yes for pages that it no longer writes, and the log breaks there."""
    assert lost_after_power_cut(path, tmp_path / "cut") == 0


def test_the_power_cut_would_show_a_log_that_is_not_written_again(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "write_again", lambda path: None)
    assert lost_after_power_cut(path, tmp_path / "cut") > 0


def test_a_full_disk_is_told_as_full_and_goes_on_when_there_is_room(storage: SqliteStorage, disk: FaultyDisk) -> None:
    disk.plan(Fault(WRITE, LOG, LOST, code=apsw.SQLITE_FULL))
    with pytest.raises(StorageFull, match="no room") as told:
        storage.commit(batch(3, 30, 4000))
    assert "Make room" in str(told.value.hint)
    with pytest.raises(StorageFull):
        storage.commit(batch(3))
    storage.reopen()
    assert storage.size() == 3
    storage.commit(batch(3))
    assert storage.size() == 4


@pytest.mark.parametrize("ending", ["ledger.db", LOG])
def test_a_failure_to_move_the_log_is_told_with_the_next_commit(
    storage: SqliteStorage, disk: FaultyDisk, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would be silent about it, and its log would grow until the disk is full."""
    monkeypatch.setattr(sqlite, "MOVE_PAGES", 3)
    # The log's first sync is the commit's, its second the move's.
    disk.plan(Fault(SYNC, ending, LOST, nth=1 if ending == "ledger.db" else 2))
    storage.commit(batch(3, 10, 4000))
    assert disk.struck
    assert storage.size() == 13, "it was durable"
    with pytest.raises(StorageFailed, match="moving the log"):
        storage.commit(batch(13))
    storage.reopen()
    storage.commit(batch(13))
    assert storage.size() == 14


def test_a_write_protected_ledger_is_refused_at_once(path: Path, tmp_path: Path) -> None:
    """Not at the first verdict: SQLite opens what it may not write for reading, and says nothing."""
    place = tmp_path / "mount"
    place.mkdir()
    if os.geteuid() != 0:
        path.chmod(0o400)
        with pytest.raises(StorageFailed, match="write-protected"):
            SqliteStorage(path)
        return
    mounted = subprocess.run(["mount", "--bind", str(tmp_path), str(place)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("a read-only mount takes the right to mount (run as root, or as a user whose file modes count)")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        with pytest.raises(StorageFailed) as told:
            SqliteStorage(place / "ledger.db")
        assert "write-protected" in told.value.message or "unable to open" in told.value.message
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
