"""The sealer's fault table: every step of a commit and of a seal, not done, or done and reported failed.

After each fault the same is looked for: every caller that was answered finds its entry, nobody who was refused was
also answered, the next append works, guard and ledger agree, and everything verifies, now and after a crash on the
spot (the files as they lie, without a close).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import apsw

from failwell.core.errors import FailwellError
from failwell.guard.sealing import LocalGuard
from failwell.guard.state import StateFile
from failwell.ledger import seals, writer
from failwell.node import assembly, audit, guarding
from failwell.node.workspace import Workspace
from failwell.ports.guard import GuardFailed
from tests.faults.judge import GUARD, WORKSPACE, copy_machine
from tests.faults.work import Told, health, watch_answers
from tests.simulate.faults import LOST, REPORTED, FaultyConnection
from tests.unit.verify import ledgers

#: Each statement of a commit by how it begins; `read back` is asked on the other connection.
COMMIT: dict[str, str] = {
    "begin": "BEGIN",
    "entry": "INSERT INTO entry",
    "blob": "INSERT INTO blob",
    "token": "INSERT INTO token",
    **{f"row of {table}": f'INSERT INTO "{table}"' for table in ("head", "action", "signal")},
    "commit": "COMMIT",
}
READ_BACK = "read back"
#: The note of a seal is stored with the next commit, or by one of its own.
NOTE = "INSERT INTO checkpoint"
#: Each step of a seal: the question, the guard's memory (its write and its sync), and the answer.
SEAL = ("question", "guard write", "guard sync", "answer")
ERRORS: dict[str, type[apsw.Error]] = {"I/O error": apsw.IOError, "full": apsw.FullError}
HOW = (LOST, REPORTED)


class Bench:
    """A begun ledger whose answers are kept, with a second look at it after a fault."""

    def __init__(self, made: ledgers.Made) -> None:
        self.made = made
        self.told: Told = {}
        self.refused: list[str] = []
        watch_answers(made, self.told.update)

    def attempt(self, ask: Callable[[], Any]) -> bool:
        """Whether it was answered; a refusal is kept, and must be one of ours."""
        try:
            ask()
        except FailwellError as error:
            self.refused.append(f"{error.code}: {error.message}")
            return False
        return True

    def work(self, name: str) -> bool:
        """A job whose commit passes every step: a decision with blob and tokens, and the signal that it sets off."""
        run = max(self.made.book.state.run)
        return self.attempt(lambda: self.made.refund(run, name, f"O-{name}", "900.00"))

    def until_it_works(self, name: str) -> None:
        """The next append, which the store may refuse for as long as its mending takes."""
        pause = threading.Event()
        for number in range(200):
            if self.attempt(lambda number=number: self.made.write(health(f"{name} {number}"))):  # type: ignore[misc]
                return
            pause.wait(0.01)
        raise AssertionError(f"nothing can be appended after it: {self.refused[-1]}")


@contextmanager
def bench(path: Path) -> Iterator[Bench]:
    """A ledger at work, whose store is asked often whether it works again."""
    with mock.patch.object(writer, "MEND_US", 5_000), ledgers.fresh(path) as made:
        ledgers.begin(made)
        made.run()
        made.sealed()
        yield Bench(made)


def strike_commit(bench: Bench, step: str, how: str, error: type[apsw.Error]) -> FaultyConnection:
    """The next commit's `step` fails."""
    storage: Any = bench.made.book.storage
    name, statement = ("_back", "SELECT") if step == READ_BACK else ("_write", COMMIT.get(step, step))
    struck = FaultyConnection(getattr(storage, name), statement, how, error)
    setattr(storage, name, struck)
    return struck


@contextmanager
def strike_seal(step: str, how: str) -> Iterator[list[str]]:
    """The next seal's `step` fails once; what was struck is noted."""
    struck: list[str] = []

    def once(name: str, original: Callable[..., Any], error: Callable[[], Exception]) -> Callable[..., Any]:
        def failing(*asked: Any, **named: Any) -> Any:
            if struck:
                return original(*asked, **named)
            struck.append(name)
            if how == REPORTED:
                original(*asked, **named)
            raise error()

        return failing

    place: dict[str, tuple[Any, str, Callable[[], Exception]]] = {
        "question": (LocalGuard, "seal", lambda: GuardFailed("planned: no answer in time")),
        "answer": (LocalGuard, "seal", lambda: GuardFailed("planned: the answer was lost")),
        "guard write": (StateFile, "_put", lambda: OSError(5, "planned")),
        "guard sync": (StateFile, "_sync", lambda: OSError(5, "planned")),
    }
    owner, name, error = place[step]
    with (
        mock.patch.object(owner, name, once(step, getattr(owner, name), error)),
        mock.patch.object(seals, "RETRY_S", 0.01),
    ):
        yield struck


def copy_as_it_lies(source: Path, target: Path) -> None:
    """What a crash of everything leaves of a workspace and its guard (the kernel's cache included)."""
    files = {
        f"{WORKSPACE}/{name}": (source / name).read_bytes()
        for name in ("ledger.db", "ledger.db-wal")
        if (source / name).exists()
    }
    files[f"{GUARD}/state"] = (source.with_name(GUARD) / "state").read_bytes()
    copy_machine(source.parent, target, files)


def assert_kept(machine: Path, told: Told) -> None:
    """Opened by the product, everything told is there, guard and ledger agree, and it verifies."""
    path = machine / WORKSPACE if (machine / WORKSPACE).exists() else machine
    workspace = Workspace(path)
    book = assembly.open_book(workspace, workspace.open_keys(), ledgers.StepClock())
    guard = LocalGuard.open(Path(workspace.guard_place()))
    try:
        guarding.check_history(guard, book)
        stored = {row.seq: row.data for row in book.storage.entries(0, 1 << 30)}
    finally:
        guard.close()
        book.storage.close()
    assert {seq: stored.get(seq) for seq in told} == told
    report = audit.verify_workspace(path)
    assert report.ok, report.findings
