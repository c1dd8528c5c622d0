"""Two writers on one file: an honest second node is refused, a stranger's commit is seen, and neither does harm."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from failwell.core import kinds
from failwell.core.errors import Unhealthy
from failwell.core.records import Draft
from failwell.node import audit
from failwell.node.workspace import Lock, Workspace
from failwell.ports.storage import Batch, StorageFailed, StorageForeign, StoredEntry
from failwell.storage import files, sqlite
from failwell.storage.sqlite import SqliteStorage
from tests.unit.verify import ledgers

ROOT = Path(__file__).resolve().parents[2]


def batch(seq: int) -> Batch:
    return Batch([StoredEntry(seq, b"entry %d" % seq, bytes([seq]) * 32, b"")], [], [], {}, seq + 1, b"note %d" % seq)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    sqlite.create(tmp_path / "ledger.db")
    return tmp_path / "ledger.db"


@pytest.fixture
def storage(path: Path) -> Iterator[SqliteStorage]:
    opened = SqliteStorage(path)
    opened.commit(batch(0))
    yield opened
    opened.close()


#: Somebody with Python's own SQLite. In a process of its own: two SQLites in one process do not see each other's locks.
STRANGER = """
    import sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    for statement in sys.argv[2:]:
        connection.execute(statement).fetchall()
    print("done", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holding(path: Path, *statements: str) -> Iterator[None]:
    """A stranger who has carried out `statements` and stays."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(STRANGER), str(path), *statements], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        yield
        process.stdin.close()
    assert process.returncode == 0


def stranger(path: Path, *statements: str) -> None:
    with holding(path, *statements):
        pass


def test_a_second_node_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    """The honest case: a process that follows the rules finds the lock taken and touches nothing."""
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
        lock = Lock(Workspace(tmp_path / "w"))
        run = made.run()
        second = """
            import sys
            from pathlib import Path
            from failwell.core.errors import Unhealthy
            from failwell.node.service import Node
            from failwell.node.workspace import Workspace
            try:
                Node(Workspace(Path(sys.argv[1])))
            except Unhealthy as error:
                print(error.code, error.message)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(second), str(tmp_path / "w")], cwd=ROOT, capture_output=True,
            text=True, check=True, timeout=50,
        )  # fmt: skip
        assert done.stdout.startswith("locked another node (process ")
        for number in range(5):
            made.refund(run, f"c{number}", f"A-{number}")
        lock.release()
    report = audit.verify_workspace(tmp_path / "w")
    assert report.ok, report.findings


@pytest.mark.requirement("R28.10")
def test_a_writer_that_ignores_the_lock_is_noticed_before_anything_is_written_upon_its_commit(
    storage: SqliteStorage, path: Path
) -> None:
    child = """
        import sys
        from pathlib import Path
        from failwell.storage.sqlite import SqliteStorage
        from tests.storage.test_two_writers import batch
        storage = SqliteStorage(Path(sys.argv[1]))
        storage.commit(batch(1))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(child), str(path)], cwd=ROOT, check=True, timeout=50)
    with pytest.raises(StorageForeign, match="another program has written"):
        storage.commit(batch(1))
    assert storage.size() == 2
    assert storage.checkpoint() == b"note 1"
    storage.reopen()
    for _ in range(2):
        with pytest.raises(StorageForeign):
            storage.commit(batch(2))
    assert storage.size() == 2, "what is there is still read"


@pytest.mark.requirement("R28.10")
@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE mine (x)",),
        ("UPDATE entry SET data = x'00' WHERE seq = 0",),
        ("DELETE FROM entry",),
        ("PRAGMA user_version = 9",),
        ("BEGIN IMMEDIATE", "INSERT INTO token VALUES (1, 't', x'00', x'00')", "COMMIT"),
        ("VACUUM",),
        ("PRAGMA wal_checkpoint(TRUNCATE)", "CREATE TABLE mine (x)"),
    ],
    ids=lambda statements: statements[-1][:24],
)
def test_a_strangers_commit_ends_the_writing(storage: SqliteStorage, path: Path, statements: tuple[str, ...]) -> None:
    stranger(path, *statements)
    with pytest.raises(StorageForeign):
        storage.commit(batch(1))
    with pytest.raises(StorageForeign):
        storage.commit(batch(1))


def test_a_stranger_who_opens_the_file_and_commits_nothing_changes_nothing(
    storage: SqliteStorage, path: Path, tmp_path: Path
) -> None:
    """Our own readers, copies and index are such strangers all day long."""
    for number, statement in enumerate(
        ["SELECT count(*) FROM entry", "PRAGMA integrity_check", "PRAGMA wal_checkpoint(PASSIVE)", "BEGIN IMMEDIATE"], 1
    ):
        stranger(path, statement)
        storage.commit(batch(number))
    sqlite.copy_live(path, tmp_path / "copy.db")
    assert storage.past() is None
    storage.commit(batch(5))
    assert storage.size() == 6


def test_a_stranger_who_holds_the_lock_is_named_and_does_no_harm(
    storage: SqliteStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BUSY_MS", 50)
    storage.reopen()
    with holding(path, "BEGIN IMMEDIATE", "DELETE FROM entry"):
        with pytest.raises(StorageFailed, match="held by another program"):
            storage.commit(batch(1))
        assert storage.size() == 1
    with pytest.raises(StorageFailed):  # not on this handle
        storage.commit(batch(1))
    storage.reopen()
    storage.commit(batch(1))
    assert storage.size() == 2


def test_a_strangers_commit_closes_the_gate_for_good_and_the_verifier_says_what_it_did(tmp_path: Path) -> None:
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
        run = made.run()
        made.refund(run, "c1", "A-1")
        stranger(tmp_path / "w" / "ledger.db", "CREATE TABLE mine (x)", "INSERT INTO mine VALUES (1)")
        for _ in range(3):
            with pytest.raises(Unhealthy, match="another program has written"):
                made.refund(run, "c2", "A-2")
        with pytest.raises(Unhealthy):
            made.write(Draft(body=kinds.Health(part="test", state="ok", detail=""), actor="node"))
        assert made.book.state.action, "who asks is answered from what is there"
    report = audit.verify_workspace(tmp_path / "w")
    assert {finding.code for finding in report.findings} == {"file.object"}
    connection = apsw.Connection(str(tmp_path / "w" / "ledger.db"))
    connection.execute("DROP TABLE mine")
    connection.close()
    assert audit.verify_workspace(tmp_path / "w").ok
