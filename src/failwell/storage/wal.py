"""What SQLite replays and drops of a write-ahead log when it opens a file after a crash: told, not only done (R28).

SQLite repairs in silence: it takes whole commits up to the first frame whose checksum does not hold, and forgets the
rest. The log is read before SQLite opens the file, and held afterwards against the number of frames that SQLite took.
Format: https://www.sqlite.org/fileformat2.html#walformat. Nothing is written, and SQLite's recovery stays the judge.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from failwell.storage.files import log_of

HEADER_BYTES = 32
FRAME_BYTES = 24
#: First 32 bits of the header, without the lowest bit, which tells the byte order of the checksums.
_MAGIC = 0x377F_0682
_PAGE_SIZES = frozenset(1 << bits for bits in range(9, 17))


class Opened(NamedTuple):
    """What opening a file repaired; nothing after a clean end.

    `commits`: whole commits that were replayed from the log; `entries`: how many entries came back with them, None
    where that cannot be told. `torn_bytes`: what stood behind them in the same log and was dropped. `damaged`: it was
    more than the one commit that a crash can tear, so acknowledged entries are gone and only a guard can say which.
    """

    commits: int = 0
    entries: int | None = 0
    torn_bytes: int = 0
    damaged: bool = False

    @property
    def repaired(self) -> bool:
        """Whether there is anything to report."""
        return self.commits > 0 or self.torn_bytes > 0

    def detail(self) -> str:
        """One sentence for the record."""
        entries = "" if self.entries is None else f" with {self.entries} entries"
        told = f"{self.commits} commits{entries} were replayed from the write-ahead log"
        if self.torn_bytes:
            told += f", {self.torn_bytes} bytes behind them were torn and dropped"
        return f"{told}: among them commits that had been acknowledged" if self.damaged else told


class Frame(NamedTuple):
    """One page in the log: where it begins, whether it ends a commit, and its checksum as it is stored."""

    place: int
    ends: bool
    sums: tuple[int, ...]


class Log(NamedTuple):
    """A log before it is opened: its bytes, whether its header holds, and the frames of its present use in order."""

    data: bytes
    holds: bool
    frames: tuple[Frame, ...]


def read(path: Path) -> Log:
    """The write-ahead log beside the ledger at `path`. Raises OSError where it cannot be read."""
    log = log_of(path)
    data = log.read_bytes() if log.exists() else b""
    page = _page_size(data)
    # A header that does not hold is as a crash leaves it at the first commit after all was moved into the file: what
    # stands behind it may be moved long ago, and SQLite takes none of it.
    if page == 0 or data[24:HEADER_BYTES] != struct.pack(">2I", *_checksum(data, data[:24], (0, 0))):
        return Log(data, False, ())
    frames = []
    for place in range(HEADER_BYTES, len(data), FRAME_BYTES + page):
        head = data[place : place + FRAME_BYTES]
        # What an earlier use of the file left behind bears another salt.
        if head[8:16] == data[16:24][: max(0, len(head) - 8)]:
            head = head.ljust(FRAME_BYTES, b"\0")
            frames.append(Frame(place, head[4:8] != b"\0\0\0\0", struct.unpack(">2I", head[16:])))
    return Log(data, True, tuple(frames))


def told(log: Log, taken: int, entries: int | None) -> Opened:
    """What became of `log`: SQLite took its first `taken` frames, which brought `entries` entries."""
    if not log.data:
        return Opened()
    kept, dropped = log.frames[:taken], log.frames[taken:]
    size = FRAME_BYTES + _page_size(log.data)
    torn = sum(min(size, len(log.data) - frame.place) for frame in dropped) if log.holds else len(log.data)
    return Opened(sum(frame.ends for frame in kept), entries, torn, _damaged(log, dropped))


def _damaged(log: Log, dropped: tuple[Frame, ...]) -> bool:
    """Whether more than one commit stands behind the break, each written upon the one before.

    A crash tears the last commit and no other. What commits that failed left behind is not linked to what follows: the
    checksum of a frame begins with that of the frame before it.
    """
    page = _page_size(log.data)
    linked = 0
    for number, frame in enumerate(dropped):
        if number and not _follows(log.data, page, dropped[number - 1], frame):
            linked = 0
        linked += frame.ends
        if linked > 1:
            return True
    return False


def _follows(data: bytes, page: int, before: Frame, frame: Frame) -> bool:
    """Whether a frame was written right behind the one before it."""
    body = data[frame.place + FRAME_BYTES : frame.place + FRAME_BYTES + page]
    if len(body) < page or before.place + FRAME_BYTES + page != frame.place:
        return False
    return _checksum(data, body, _checksum(data, data[frame.place : frame.place + 8], before.sums)) == frame.sums


def _page_size(data: bytes) -> int:
    """Bytes of a page, 0 where the header is none."""
    if len(data) < HEADER_BYTES:
        return 0
    magic, version, page = struct.unpack(">3I", data[:12])
    return page if magic & ~1 == _MAGIC and version == 3_007_000 and page in _PAGE_SIZES else 0


def _checksum(log: bytes, data: bytes, sums: tuple[int, ...]) -> tuple[int, int]:
    """SQLite's running checksum over pairs of 32-bit words, in the byte order that the log's header names."""
    first, second = sums
    words = struct.unpack(f"{'>' if log[3] & 1 else '<'}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFF_FFFF
        second = (second + odd + first) & 0xFFFF_FFFF
    return first, second
