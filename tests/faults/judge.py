"""The judge of a disk after a cut: opened by the product itself, every told entry there byte for byte, nothing by half.

Each state is opened with the real store and book, held against what was told, closed (which moves the log into the
file) and read by Python's own SQLite, another build than the product's. What such a file holds is verified whole, by
`ledger verify` with the rows rebuilt, and gone on with, once for every different content: most states hold one of few.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from failwell.core.errors import FailwellError
from failwell.core.rows import TABLES
from failwell.guard.remote import RemoteGuard
from failwell.guard.sealing import LocalGuard
from failwell.ledger.book import Book
from failwell.node import assembly, audit, guarding
from failwell.node.workspace import Workspace
from failwell.ports.guard import Sealed
from failwell.storage import files
from failwell.storage.sqlite import SqliteStorage
from tests.faults.work import Told, health
from tests.simulate.powercut import State
from tests.unit.verify import ledgers

#: The workspace of a machine, beside which lies its guard's directory, as `ledgers.fresh` puts it.
WORKSPACE, GUARD = "w", "w.guard"
#: The entries of a ledger's first commit; `init` answers once its first checkpoint is stored.
GENESIS = 2
BOOT_AFTER = "c" * 32
#: A state whose content was seen already is gone on with this often all the same: the entries owed are more by now.
GO_ON_ONE_IN = 100
_TABLES = ("entry", "blob", "token", "checkpoint", *TABLES)


class Violation(NamedTuple):
    """A state that should not be: where the cut was, what had arrived, and what is wrong with it."""

    cut: int
    persisted: tuple[int, ...]
    why: str


def copy_machine(model: Path, place: Path, files: dict[str, bytes] | None = None) -> None:
    """A second machine: workspace, keys and guard of `model`, its ledger left out, `files` laid into it."""
    shutil.copytree(model / WORKSPACE, place / WORKSPACE, ignore=shutil.ignore_patterns("ledger.db*", "reserve"))
    shutil.copytree(model / GUARD, place / GUARD)
    (place / WORKSPACE / "reserve").touch()  # so that opening a state does not write four megabytes
    (place / WORKSPACE / "keys" / "guard").write_text(f"{place / GUARD}\n")
    for name, content in (files or {}).items():
        (place / name).write_bytes(content)


def lay_out(place: Path, files: dict[str, bytes]) -> None:
    """Make `files` all that a machine has of what is journalled: its ledger, the keys it published, its guard."""
    workspace = place / WORKSPACE
    for path in (*workspace.glob("ledger.db*"), *(workspace / "keys").glob("*.pub")):
        path.unlink()
    for name, content in files.items():
        (place / name).write_bytes(content)
        (place / name).chmod(0o600)


def local_guards() -> Any:
    """A context in which a ceremony's guard runs in this process, where its disk can be seen, and not in its own."""
    return mock.patch.object(RemoteGuard, "at", staticmethod(lambda place: LocalGuard.open(Path(place), wait_s=2.0)))


class Judge:
    """Judges the states of one journal, in its order. `model` is the directory with the workspace and its guard."""

    def __init__(self, model: Path, place: Path, told: Sequence[object], rng: random.Random) -> None:
        copy_machine(model, place)
        self.root = place
        self.place = place / WORKSPACE
        self.states = 0
        self.contents = 0
        self.gone_on = 0
        self._told = told
        self._rng = rng
        self._files: dict[bytes, str | None] = {}
        self._known: dict[bytes, str | None] = {}
        self._owed: Told = {}
        self._taken = 0
        self._sealed = 0
        self._workspace = Workspace(self.place)
        self._keys = self._workspace.open_keys()

    def violations(self, found: Iterable[State], most: int = 20) -> list[Violation]:
        """Judge them all; what is wrong, at most `most` of it."""
        wrong: list[Violation] = []
        with local_guards(), mock.patch.object(files, "BUSY_MS", 20):  # nobody else is there to be waited for
            for state in found:
                why = self.judge(state)
                if why is not None:
                    wrong.append(Violation(state.cut, state.persisted, why))
                    if len(wrong) >= most:
                        break
        return wrong

    def judge(self, state: State) -> str | None:
        """Why this state must not be, None where all is well."""
        self.states += 1
        if clash := self._owe(state.acks):
            return clash
        self._lay_out(state.files)
        try:
            return self._opened() or self._content()
        except FailwellError as error:
            # Before anything was told there may be no ledger yet: it must say so in words of ours, and does here.
            return f"does not open: {error.code}: {error.message}" if self._owed else None
        except Exception as error:  # noqa: BLE001  whatever a state brings about is a finding about that state
            return f"{type(error).__name__}: {error}"

    def _owe(self, acks: int) -> str | None:
        for told in self._told[self._taken : acks]:
            if isinstance(told, Sealed):
                self._sealed = max(self._sealed, told.size)
                continue
            assert isinstance(told, dict)
            for seq, data in told.items():
                if self._owed.setdefault(seq, data) != data:
                    return f"entry {seq} was told twice, with different bytes"
        self._taken = acks
        return None

    def _lay_out(self, left: dict[str, bytes]) -> None:
        lay_out(self.root, left)

    def _opened(self) -> str | None:
        book = assembly.open_book(self._workspace, self._keys, ledgers.StepClock())
        try:
            stored = {row.seq: row.data for row in book.storage.entries(0, 1 << 30)}
            return self._missing(stored) or self._repaired(book) or self._guarded(book)
        finally:
            book.storage.close()

    def _repaired(self, book: Book) -> str | None:
        """A cut tears at most the one commit that nobody was told of: the store must not report that it lost more."""
        assert isinstance(book.storage, SqliteStorage)
        opened = book.storage.opened
        return f"it reports a loss: {opened.detail()}" if opened.damaged else None

    def _guarded(self, book: Book) -> str | None:
        """The guard remembers what it handed out, and never more than is stored."""
        guard, behind = guarding.open_guard(self._workspace, book)
        try:
            if behind is not None and self._owed:
                return f"{behind.code}: {behind.message}"
            size, _ = guard.grown()
        finally:
            guard.close()
        return (
            None if size >= self._sealed else f"a seal over {self._sealed} entries was handed out, it knows of {size}"
        )

    def _missing(self, stored: Told) -> str | None:
        for seq, data in self._owed.items():
            if seq not in stored:
                return f"entry {seq} was acknowledged and is not there ({len(stored)} entries are)"
            if stored[seq] != data:
                return f"entry {seq} is not there as it was acknowledged"
        return None

    def _content(self) -> str | None:
        """What the closed file holds. The same bytes were judged once; the same rows were verified once."""
        file = hashlib.blake2b((self.place / "ledger.db").read_bytes()).digest()
        if file not in self._files:
            self._files[file] = self._rows()
        elif self._files[file] is None and self._rng.randrange(GO_ON_ONE_IN) == 0:
            return self._goes_on()
        return self._files[file]

    def _rows(self) -> str | None:
        with closing(sqlite3.connect(self.place / "ledger.db")) as strange:
            complaints = strange.execute("PRAGMA integrity_check").fetchall()
            if complaints != [("ok",)]:
                return f"SQLite: {complaints[:3]}"
            digest = hashlib.blake2b()
            for table in _TABLES:
                digest.update(repr(strange.execute(f'SELECT * FROM "{table}" ORDER BY 1').fetchall()).encode())
        seen = digest.digest()
        if seen not in self._known:
            self.contents += 1
            self._known[seen] = self._verified() or self._goes_on()
        return self._known[seen]

    def _verified(self) -> str | None:
        report = audit.verify_workspace(self.place)
        if report.ok or self._unbegun(report):
            return None
        first = report.findings[0]
        return f"ledger verify finds {first.code}: {first.message} ({sum(report.counts.values())} in all)"

    def _unbegun(self, report: audit.Report) -> bool:
        """A file that `init` had not finished with: nobody was told that there is a ledger, and none was sealed."""
        return report.entries <= GENESIS and set(report.counts) == {"head.missing"}

    def _goes_on(self) -> str | None:
        """The tree continues: an entry is written by the whole product, and everything verifies with it."""
        if len(self._owed) <= GENESIS:
            return None
        self.gone_on += 1
        with ledgers.reopened(self.place, ledgers.StepClock(BOOT_AFTER)) as made:
            made.write(health("after the cut"))
        book = assembly.open_book(self._workspace, self._keys, ledgers.StepClock())
        stored = {row.seq: row.data for row in book.storage.entries(0, 1 << 30)}
        book.storage.close()
        return self._missing(stored) or self._verified()
