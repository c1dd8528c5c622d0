"""A disk that loses power: what SQLite and the guard ask of it is journalled, and every disk a cut could leave is made.

The model. A sync of a file makes everything durable that was asked of that file before it, and nothing of any other
file. Whatever was asked since is each for itself there, absent, or torn at 512-byte sectors, in any order; a file
that grew may hold zeros or what lay on the disk before where a write is missing. Making and deleting a name are
journalled by the file system: they survive in their order. SQLite's shared memory (`-shm`) is always lost.

After a sync that failed the kernel takes its pages for clean: what was asked before it may be there or not, and no
later sync makes it durable; only writing it again does.

What the model assumes of hardware is what SQLite assumes (power-safe overwrite: a write leaves bytes beside it alone).
A disk that lies about a sync, or alters what it took, is not a power cut: see `faults`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import apsw

SECTOR = 512
CREATE, DELETE, WRITE, TRUNCATE, SYNC, ACK = "create", "delete", "write", "truncate", "sync", "ack"
#: A synced file took the name of another: the old one or the new one is there. And a sync that failed: see `_File`.
REPLACE, FAILED = "replace", "failed sync"
#: A write of which every sector arrived.
WHOLE = -1


class Op(NamedTuple):
    """One thing asked of the disk. `at` is an offset, a size (truncate) or an acknowledgment's number."""

    what: str
    name: str
    at: int = 0
    data: bytes = b""


class Journal:
    """Everything asked of one machine's disk, in the order in which it was asked, and what callers were told meanwhile.

    `base` is what lies durably on the disk before; `root` the directory whose files are meant.
    """

    def __init__(self, root: Path, base: Mapping[str, bytes] | None = None) -> None:
        self.root = root
        self.base = dict(base or {})
        self.ops: list[Op] = []
        self.acks: list[object] = []
        self._lock = threading.Lock()

    def name(self, path: str | Path) -> str | None:
        """How a file is called here; None for one that does not lie under `root`, or needs no disk."""
        path = Path(path)
        if not path.is_relative_to(self.root) or path.name.endswith("-shm"):
            return None
        return str(path.relative_to(self.root))

    def note(self, what: str, path: str | Path, at: int = 0, data: bytes = b"") -> None:
        """Put down one operation, before it is done."""
        name = self.name(path)
        if name is not None:
            with self._lock:
                self.ops.append(Op(what, name, at, data))

    def acknowledge(self, told: object) -> None:
        """From here on somebody relies on `told`: every cut after this must leave it."""
        with self._lock:
            self.ops.append(Op(ACK, "", len(self.acks)))
            self.acks.append(told)


class RecordingDisk(apsw.VFS):
    """SQLite's own VFS, with every write, truncation, sync, creation and deletion put down in a journal first."""

    def __init__(self, journal: Journal, name: str = "failwell-recording-disk") -> None:
        self.below = apsw.vfs_names()[0]
        self.journal = journal
        self.syncs_until_failure = 0  # 1: the next sync fails
        super().__init__(name, self.below, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is not None and flags[0] & apsw.SQLITE_OPEN_CREATE and not Path(path).exists():
            self.journal.note(CREATE, path)
        return _RecordedFile(self, name, path, flags)

    def fails(self) -> bool:
        """Whether this sync is the one to fail."""
        if self.syncs_until_failure == 0:
            return False
        self.syncs_until_failure -= 1
        return self.syncs_until_failure == 0

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.journal.note(DELETE, filename)
        super().xDelete(filename, syncdir)
        if syncdir:
            self.journal.note(SYNC, filename)


class _RecordedFile(apsw.VFSFile):
    def __init__(
        self, disk: RecordingDisk, name: str | apsw.URIFilename | None, path: str | None, flags: list[int]
    ) -> None:  # fmt: skip
        super().__init__(disk.below, name, flags)
        self._path = path or "/no-name"
        self._disk = disk
        self._journal = disk.journal

    def xWrite(self, data: bytes, offset: int) -> None:
        self._journal.note(WRITE, self._path, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._journal.note(TRUNCATE, self._path, newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        if self._disk.fails():
            self._journal.note(FAILED, self._path)
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)
        self._journal.note(SYNC, self._path)  # behind it: a cut during a sync has synced nothing for sure

    def xLock(self, level: int) -> None:
        try:
            super().xLock(level)
        except apsw.IOError as error:
            # The last reader of a log asks for a writer's lock when it closes, is refused by the kernel and lets be.
            # Through Python only "busy" is such a refusal; anything else would be raised out of its close.
            raise apsw.BusyError(str(error)) from error


@contextmanager
def recording(journal: Journal) -> Iterator[RecordingDisk]:
    """Within the block, whatever this process asks of SQLite is journalled; close its connections before the end."""
    disk = RecordingDisk(journal)
    try:
        yield disk
    finally:
        disk.unregister()


class State(NamedTuple):
    """What a disk may hold after a cut: `files` by name, after the first `cut` operations, `acks` of them told."""

    cut: int
    acks: int
    files: dict[str, bytes]
    persisted: tuple[int, ...]


class _File:
    """One name: what of it is durable, and what was asked since and may be there or not (`pending`).

    `settled` are the places in `pending` that a later sync made durable behind something that a failed sync left open.
    """

    def __init__(self, durable: bytes | None) -> None:
        self.durable = durable
        self.pending: list[Op] = []
        self._open: set[int] = set()
        self._settled: set[int] = set()

    def sync(self) -> None:
        self._settled |= set(range(len(self.pending))) - self._open
        self._open = {place for place in self._open if not self._written_again(place)}
        if not self._open:
            self.durable = self.after([WHOLE] * len(self.pending), None)
            self.pending.clear()
            self._settled.clear()

    def fail(self) -> None:
        """A sync failed: what was to be synced may stay lost."""
        self._open |= set(range(len(self.pending))) - self._settled

    def _written_again(self, place: int) -> bool:
        """Whether everything of this write was written once more and synced since."""
        left = _bytes_of(self.pending[place])
        for later in range(place + 1, len(self.pending)):
            if later in self._settled and self.pending[later].what == WRITE:
                left -= _bytes_of(self.pending[later])
        return self.pending[place].what == WRITE and not left

    @property
    def made(self) -> bool:
        return any(op.what == CREATE for op in self.pending)

    def sync_name(self) -> None:
        """The newest making or deleting of this name is durable, and what was written to it since is not yet."""
        for place in reversed(range(len(self.pending))):
            if self.pending[place].what in (CREATE, DELETE):
                self.durable = b"" if self.pending[place].what == CREATE else None
                del self.pending[: place + 1]
                self._open = {each - place - 1 for each in self._open if each > place}
                self._settled = {each - place - 1 for each in self._settled if each > place}
                return

    def after(self, persisted: Sequence[int], junk: random.Random | None) -> bytes | None:
        """The content if of each pending operation these sectors arrived (0: none, -1: all); None: no such file."""
        content = None if self.durable is None else bytearray(self.durable)
        linked = True
        for place, (op, arrived) in enumerate(zip(self.pending, persisted, strict=True)):
            sectors = WHOLE if place in self._settled else arrived
            if op.what == REPLACE:
                content = bytearray(op.data) if sectors else content
            elif op.what in (CREATE, DELETE):
                # Names are journalled in order: behind one that was lost, everything goes to a file without a name.
                linked = linked and bool(sectors)
                if linked:
                    content = bytearray() if op.what == CREATE else None
            elif linked and content is not None and sectors:
                _apply(content, op, sectors, junk)
        return None if content is None else bytes(content)


def _bytes_of(op: Op) -> set[int]:
    """The sectors that a write touches; of one that is torn into pieces of them each counts."""
    return set(range(op.at // SECTOR, -(-(op.at + len(op.data)) // SECTOR)))


def _apply(content: bytearray, op: Op, sectors: int, junk: random.Random | None) -> None:
    end = op.at + len(op.data)
    if op.what == TRUNCATE:
        del content[op.at :]
        end = op.at
    if end > len(content):
        missing = end - len(content)
        content.extend(junk.randbytes(missing) if junk is not None else bytes(missing))
    if sectors == WHOLE:
        content[op.at : end] = op.data
        return
    first = op.at // SECTOR
    for sector in range(first, -(-end // SECTOR)):
        if sectors >> (sector - first) & 1:
            begins, ends = max(op.at, sector * SECTOR), min(end, (sector + 1) * SECTOR)
            content[begins:ends] = op.data[begins - op.at : ends - op.at]


class _Machine:
    """All files of a journal, as far as it was replayed."""

    def __init__(self, base: Mapping[str, bytes]) -> None:
        self._files = {name: _File(content) for name, content in base.items()}
        self.acks = 0

    @property
    def pending(self) -> list[Op]:
        return [asked for file in self._files.values() for asked in file.pending]

    def take(self, op: Op) -> None:
        if op.what == ACK:
            self.acks += 1
            return
        file = self._files.setdefault(op.name, _File(None))
        if op.what == FAILED:
            file.fail()
        elif op.what == SYNC:
            if file.made:  # with a new file SQLite syncs its directory: every name in it is durable from now on
                for other in self._files.values():
                    other.sync_name()
            file.sync()
        else:
            file.pending.append(op)

    def left(self, persisted: Sequence[int], junk: random.Random | None) -> dict[str, bytes]:
        """The files if of each pending operation these sectors arrived."""
        each = iter(persisted)
        made = {name: file.after([next(each) for _ in file.pending], junk) for name, file in self._files.items()}
        return {name: content for name, content in made.items() if content is not None}


def states(journal: Journal, rng: random.Random, per_cut: int) -> Iterator[State]:
    """For every prefix of the journal, up to `per_cut` of the disks that a cut there may leave, no two the same.

    Always among them: nothing of what was not synced, all of it, and a plain prefix whose last write is torn.
    """
    machine = _Machine(journal.base)
    for cut in range(len(journal.ops) + 1):
        what = ACK
        if cut:
            machine.take(journal.ops[cut - 1])
            what = journal.ops[cut - 1].what
        for persisted in _choices(machine.pending, rng, per_cut, settled=what in (SYNC, ACK, FAILED)):
            junk = rng if rng.random() < 0.3 else None
            yield State(cut, machine.acks, machine.left(persisted, junk), persisted)


def state_at(journal: Journal, cut: int, rng: random.Random | None) -> State:
    """One disk that a cut after the first `cut` operations may leave; without `rng` what the kernel has at that moment,
    which is what is there after the death of a process."""
    machine = _Machine(journal.base)
    for op in journal.ops[:cut]:
        machine.take(op)
    pending = machine.pending
    persisted = (WHOLE,) * len(pending) if rng is None else rng.choice(_choices(pending, rng, 8, settled=True))
    return State(cut, machine.acks, machine.left(persisted, rng), persisted)


def _choices(pending: Sequence[Op], rng: random.Random, count: int, *, settled: bool) -> list[tuple[int, ...]]:
    """Different ways in which the pending operations may have arrived.

    Where the last operation made nothing durable, "nothing of it" is the state of the cut before and left out.
    """
    size = len(pending)
    found: dict[tuple[int, ...], None] = {}
    if settled:
        found[(0,) * size] = None
    if size:
        found[(WHOLE,) * size] = None
        found[(*(WHOLE for _ in range(size - 1)), _torn(pending[-1], rng))] = None
    for _ in range(3 * count):
        if len(found) >= count or not size:
            break
        found[_some(pending, rng)] = None
    if not settled:
        found.pop((0,) * size, None)
    return list(found)[:count]


def _some(pending: Sequence[Op], rng: random.Random) -> tuple[int, ...]:
    size = len(pending)
    style = rng.randrange(4)
    place = rng.randrange(size)
    if style == 0:  # as asked, up to one that is torn
        return (*([WHOLE] * place), _torn(pending[place], rng), *([0] * (size - place - 1)))
    if style == 1:  # all but one
        return tuple(0 if number == place else WHOLE for number in range(size))
    if style == 2:  # one alone, as when the newest is written back first
        return tuple(WHOLE if number == place else 0 for number in range(size))
    there, torn = rng.choice((0.2, 0.5, 0.8)), rng.choice((0.0, 0.3))
    return tuple((_torn(op, rng) if rng.random() < torn else WHOLE) if rng.random() < there else 0 for op in pending)


def _torn(op: Op, rng: random.Random) -> int:
    """Some of the sectors that a write touches, at times all or none; anything else is there or is not."""
    sectors = -(-(op.at + len(op.data)) // SECTOR) - op.at // SECTOR
    if op.what != WRITE or sectors < 2:
        return rng.choice((0, WHOLE))
    if rng.random() < 0.5:  # a plain tear: the beginning arrived
        return (1 << rng.randrange(1, sectors)) - 1
    return rng.getrandbits(sectors)
