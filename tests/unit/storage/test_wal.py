"""Torn logs: what SQLite replays and drops when it opens a file is told exactly, and only real damage is called so."""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from failwell.ports.storage import Batch, StoredEntry
from failwell.storage import sqlite, wal
from failwell.storage.files import log_of
from failwell.storage.sqlite import SqliteStorage

PAGE = 4096
FRAME = wal.FRAME_BYTES + PAGE


def batch(first: int, count: int, size: int = 40) -> Batch:
    entries = [
        StoredEntry(seq, bytes([seq % 256]) * size, bytes([seq % 256]) * 32, b"") for seq in range(first, first + count)
    ]
    return Batch(entries, [], [], {}, first + count, b"note %d" % (first + count))


class Killed:
    """The files of a ledger as a killed process leaves them; each test tears a copy of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "killed" / "ledger.db"
        self.path.parent.mkdir()
        self._spare = folder / "spare"
        self._copies = 0

    def take(self, storage: SqliteStorage) -> None:
        sqlite.copy(storage.path, self.path)
        self.log = log_of(self.path).read_bytes()

    def torn(self, change: Callable[[bytes], bytes]) -> SqliteStorage:
        """The ledger, opened after its log was changed."""
        self._copies += 1
        folder = self._spare / str(self._copies)
        folder.mkdir(parents=True)
        shutil.copy(self.path, folder / "ledger.db")
        (folder / "ledger.db-wal").write_bytes(change(self.log))
        return SqliteStorage(folder / "ledger.db")

    def opened(self, change: Callable[[bytes], bytes]) -> tuple[wal.Opened, int]:
        """What opening it told, and how many entries there are."""
        storage = self.torn(change)
        found = storage.opened, storage.size()
        storage.close()
        return found


@pytest.fixture
def killed(tmp_path: Path) -> Killed:
    """Five commits of three entries in the file, then four commits of two entries in the log."""
    path = tmp_path / "ledger.db"
    sqlite.create(path)
    storage = SqliteStorage(path)
    for number in range(5):
        storage.commit(batch(number * 3, 3))
    storage.close()
    storage = SqliteStorage(path)
    for number in range(4):
        storage.commit(batch(15 + number * 2, 2))
    made = Killed(tmp_path)
    made.take(storage)
    storage.close()
    return made


def ends(log: bytes) -> list[int]:
    """Where each commit ends in a log."""
    places = range(wal.HEADER_BYTES, len(log), FRAME)
    return [place + FRAME for place in places if log[place + 4 : place + 8] != b"\0\0\0\0"]


def test_a_clean_end_leaves_nothing_to_tell(tmp_path: Path) -> None:
    sqlite.create(tmp_path / "ledger.db")
    storage = SqliteStorage(tmp_path / "ledger.db")
    storage.commit(batch(0, 3))
    storage.close()
    storage = SqliteStorage(tmp_path / "ledger.db")
    assert storage.opened == wal.Opened()
    assert not storage.opened.repaired
    storage.close()


def test_a_killed_process_loses_nothing_and_the_replay_is_told(killed: Killed) -> None:
    opened, size = killed.opened(lambda log: log)
    assert (opened, size) == (wal.Opened(commits=4, entries=8), 23)
    assert opened.repaired
    assert opened.detail() == "4 commits with 8 entries were replayed from the write-ahead log"


@pytest.mark.requirement("R28.7")
def test_a_log_cut_at_every_sector_keeps_whole_commits_and_tells_the_rest(killed: Killed) -> None:
    commits = ends(killed.log)
    for cut in range(0, len(killed.log) + 1, 512):
        opened, size = killed.opened(lambda log, cut=cut: log[:cut])  # type: ignore[misc]
        whole = sum(end <= cut for end in commits)
        last = ([wal.HEADER_BYTES, *commits])[whole]
        assert (opened.commits, size) == (whole, 15 + 2 * whole), cut
        assert opened.entries == 2 * whole
        assert opened.torn_bytes == max(0, cut - last), cut
        assert not opened.damaged, "a crash leaves such a log"


@pytest.mark.requirement("R28.7")
def test_a_torn_last_commit_is_told_as_torn_and_not_as_damage(killed: Killed, rng: random.Random) -> None:
    """A power cut may leave any sectors of the last commit unwritten, also where later ones were written."""
    begin, end = ends(killed.log)[-2:]
    sectors = range(begin, end, 512)
    for _ in range(60):
        lost = rng.sample(sectors, rng.randint(1, len(sectors)))

        def tear(log: bytes, lost: list[int] = lost) -> bytes:
            torn = bytearray(log)
            for place in lost:
                torn[place : min(place + 512, end)] = rng.randbytes(min(512, end - place))
            return bytes(torn)

        opened, size = killed.opened(tear)
        assert (opened.commits, size, opened.damaged) == (3, 21, False)


def test_a_flipped_bit_in_an_acknowledged_commit_is_damage(killed: Killed, rng: random.Random) -> None:
    """Attack, or a rotten disk: SQLite forgets every commit from there on, and says nothing."""
    commits = [wal.HEADER_BYTES, *ends(killed.log)]
    for broken in range(3):
        for _ in range(10):
            # Past the stored checksum of a frame: a frame's own checksum is the link that tells its neighbours apart.
            frame = rng.randrange(commits[broken], commits[broken + 1], FRAME)
            place = frame + wal.FRAME_BYTES + rng.randrange(PAGE)

            def flip(log: bytes, place: int = place) -> bytes:
                return log[:place] + bytes([log[place] ^ 1 << rng.randrange(8)]) + log[place + 1 :]

            opened, size = killed.opened(flip)
            assert (opened.commits, size) == (broken, 15 + 2 * broken)
            assert opened.damaged
            assert "had been acknowledged" in opened.detail()
            assert opened.torn_bytes == commits[-1] - commits[broken]


def test_any_flipped_bit_of_the_log_is_told(killed: Killed, rng: random.Random) -> None:
    """Wherever it is, less is replayed and the rest is told as dropped."""
    for place in [*range(32), *(rng.randrange(32, len(killed.log)) for _ in range(150))]:
        opened, size = killed.opened(lambda log, at=place: log[:at] + bytes([log[at] ^ 1]) + log[at + 1 :])  # type: ignore[misc]
        assert size == 15 + 2 * opened.commits, place
        assert opened.commits < 4, place
        assert opened.torn_bytes > 0, place


def test_frames_that_an_earlier_use_of_the_log_left_behind_are_nobodys(tmp_path: Path) -> None:
    sqlite.create(tmp_path / "ledger.db")
    storage = SqliteStorage(tmp_path / "ledger.db")
    for number in range(6):
        storage.commit(batch(number * 3, 3, size=3000))
    storage._write.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
    storage.commit(batch(18, 1))
    made = Killed(tmp_path)
    made.take(storage)
    storage.close()
    assert len(made.log) > 10 * FRAME
    opened, size = made.opened(lambda log: log)
    assert (opened.commits, opened.entries, opened.torn_bytes, size) == (1, 1, 0, 19)
    new = ends(made.log)[0]
    opened, size = made.opened(lambda log: log[: new - 512] + bytes(512) + log[new:])
    assert (opened.commits, size, opened.torn_bytes, opened.damaged) == (0, 18, new - wal.HEADER_BYTES, False)


def test_what_failed_commits_left_behind_is_not_called_damage(tmp_path: Path) -> None:
    """Two commits failed and were written over by shorter ones; no one of them was ever acknowledged."""
    sqlite.create(tmp_path / "ledger.db")
    storage = SqliteStorage(tmp_path / "ledger.db")
    storage.commit(batch(0, 1))
    made = Killed(tmp_path)
    made.take(storage)
    whole = made.log
    storage.commit(batch(1, 8, size=4000))
    sqlite.copy(storage.path, made.path)
    long = log_of(made.path).read_bytes()
    storage.close()

    def other(salted: bytes, count: int) -> bytes:
        """Another commit behind the first, as a second process of the same beginning would have written it."""
        folder = tmp_path / f"other-{count}"
        folder.mkdir()
        shutil.copy(tmp_path / "killed" / "ledger.db", folder / "ledger.db")
        (folder / "ledger.db-wal").write_bytes(whole)
        again = SqliteStorage(folder / "ledger.db")
        again.commit(batch(1, count, size=3000))
        sqlite.copy(again.path, folder / "taken.db")
        again.close()
        return (folder / "taken.db-wal").read_bytes()

    middle, short = other(whole, 4), other(whole, 1)
    assert len(whole) < len(short) < len(middle) < len(long)
    left = short + middle[len(short) :] + long[len(middle) :]
    assert left[16:24] == whole[16:24] == middle[16:24], "one use of the log"
    opened, size = made.opened(lambda log: left)
    assert (opened.commits, size, opened.damaged) == (2, 2, False)
    assert opened.torn_bytes == len(long) - len(short)


def test_a_log_without_a_header_is_no_log(killed: Killed) -> None:
    for size in (0, 1, 31, 32):
        opened, entries = killed.opened(lambda log, size=size: log[:size])  # type: ignore[misc]
        assert (opened.commits, entries, opened.damaged) == (0, 15, False)
    opened, entries = killed.opened(lambda log: struct.pack(">I", 7) + log[4:])
    assert (opened.commits, entries, opened.damaged) == (0, 15, False)
