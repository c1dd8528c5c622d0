"""Layouts: a migrated file is as a new one, a killed migration leaves the old or the new, strangers are refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from failwell.core.errors import Corrupt
from failwell.core.rows import TABLES
from failwell.core.state import rows_of
from failwell.ports.storage import StorageFailed
from failwell.storage import files, layouts, sqlite
from failwell.storage.sqlite import SqliteStorage

ROOT = Path(__file__).resolve().parents[3]
RELEASED = ROOT / "tests" / "vectors" / "ledgers"
COPY = "ledger.db.layout-1"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The ledger of layout 1."""
    (tmp_path / "old").mkdir()
    return Path(shutil.copy(RELEASED / "layout-1" / "ledger.db", tmp_path / "old" / "ledger.db"))


def content(path: Path, *, evidence_only: bool = False) -> dict[str, Any]:
    """Everything that a file declares and holds, read by SQLite alone; an older layout has fewer tables."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    tables = dict(layouts.EVIDENCE)
    if not evidence_only:
        there = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        tables |= {table: f'SELECT key, row FROM "{table}" ORDER BY key' for table in TABLES if table in there}
    found: dict[str, Any] = {name: connection.execute(sql).fetchall() for name, sql in tables.items()}
    if not evidence_only:
        found["schema"] = set(connection.execute("SELECT type, name, sql FROM sqlite_schema"))
        found["marks"] = connection.pragma("application_id"), connection.pragma("user_version")
    connection.close()
    return found


@pytest.mark.requirement("R33.6")
def test_a_migrated_file_is_what_a_new_one_would_be(old: Path, tmp_path: Path) -> None:
    """Fresh = migrated: the same declarations, and the same rows as a new file that was given the same entries."""
    before = content(old, evidence_only=True)
    fresh = tmp_path / "fresh.db"
    layouts.create(fresh)
    connection = apsw.Connection(str(fresh))
    with connection:
        for table, sql in layouts.EVIDENCE.items():
            places = ", ".join("?" * (sql.count(",") + 1))
            connection.executemany(f"INSERT INTO {table} VALUES ({places})", before[table])
        for table, key, row in rows_of((data, leaf) for _, data, leaf, _ in before["entry"]):
            connection.execute(layouts.PUT[table], (key, row))
    connection.close()
    assert layouts.migrate(old, rows_of) == 1
    assert content(old) == content(fresh)
    assert content(old, evidence_only=True) == before
    assert layouts.migrate(old, rows_of) is None


def test_every_layout_is_declared_by_its_steps(tmp_path: Path) -> None:
    for layout in range(1, layouts.LAYOUT_VERSION + 1):
        connection = apsw.Connection(":memory:")
        layouts.declare(connection, 0, layout)
        found: Any = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
        assert found == layouts.declared_objects(layout)
        connection.close()
    for layout in range(1, layouts.LAYOUT_VERSION):
        assert layouts.declared_objects(layout) != layouts.declared_objects(layout + 1)


#: Kills itself at the Nth statement or write of a migration: `statement` through SQLite's own trace, `file` in the VFS.
CHILD = """
    import os, signal, sys
    from pathlib import Path
    import apsw
    from failwell.core.state import rows_of
    from failwell.storage import layouts

    path, at = Path(sys.argv[1]), int(sys.argv[2])
    count = 0

    def step():
        global count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    class File(apsw.VFSFile):
        def xWrite(self, data, offset):
            step()
            super().xWrite(data, offset)
        def xSync(self, flags):
            step()
            super().xSync(flags)
        def xTruncate(self, size):
            step()
            super().xTruncate(size)

    class Steps(apsw.VFS):
        def __init__(self):
            self.below = apsw.vfs_names()[0]
            super().__init__("steps", self.below, makedefault=True)
        def xOpen(self, name, flags):
            return File(self.below, name, flags)
        def xDelete(self, name, sync):
            step()
            super().xDelete(name, sync)

    steps = Steps()
    layouts.migrate(path, rows_of)
    print(count)
"""


def migrate_killed(path: Path, at: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(path), str(at)], cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=50,
    )  # fmt: skip


def test_a_migration_killed_at_any_write_leaves_the_old_layout_or_the_new(old: Path, tmp_path: Path) -> None:
    """SIGKILL before each write, sync, truncation and deletion that SQLite asks for; then the next start goes on."""
    evidence, before = content(old, evidence_only=True), old.read_bytes()
    whole = shutil.copytree(old.parent, tmp_path / "whole")
    counted = migrate_killed(whole / "ledger.db", 0)
    assert counted.returncode == 0, counted.stderr
    steps, migrated = int(counted.stdout), content(whole / "ledger.db")
    assert steps > 50
    left: set[int] = set()
    for at in [*range(1, steps, max(1, steps // 12)), steps]:
        folder = tmp_path / str(at)
        folder.mkdir()
        path = folder / "ledger.db"
        path.write_bytes(before)
        assert migrate_killed(path, at).returncode == -9
        connection = files.connect(path, writable=False)
        left.add(connection.pragma("user_version"))
        connection.close()
        assert content(path, evidence_only=True) == evidence, at
        storage = SqliteStorage(path, rows_of)
        storage.close()
        assert sorted(each.name for each in folder.iterdir()) == ["ledger.db", "reserve"], at
        assert content(path) == migrated, at
    assert left == {1, layouts.LAYOUT_VERSION}


def test_a_migration_that_fails_leaves_the_file_as_it_was_and_says_why(old: Path) -> None:
    def broken(entries: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, Any, str]]:
        for number, made in enumerate(rows_of(entries)):
            if number == 50:
                raise Corrupt("entry 50 does not follow")
            yield made

    before = content(old)
    with pytest.raises(Corrupt, match="does not follow"):
        layouts.migrate(old, broken)
    assert content(old) == before
    assert layouts.migrate(old, rows_of) == 1


def test_nothing_is_made_from_damaged_evidence(old: Path) -> None:
    connection = apsw.Connection(str(old))
    connection.execute("UPDATE entry SET data = CAST(replace(data, 'refund', 'refunt') AS BLOB) WHERE seq = 20")
    connection.close()
    before = content(old)
    with pytest.raises(Corrupt, match="entry 20 is missing or changed"):
        layouts.migrate(old, rows_of)
    assert content(old) == before


def test_the_copy_is_kept_where_the_new_file_lost_something(old: Path) -> None:
    """The way back: what the migrated file lacks is not deleted with the copy, and no later start goes on."""
    shutil.copy(old, old.with_name(COPY))
    layouts.migrate(old, rows_of)
    shutil.copy(RELEASED / "layout-1" / "ledger.db", old.with_name(COPY))
    connection = apsw.Connection(str(old))
    connection.execute("DELETE FROM blob WHERE seq = (SELECT max(seq) FROM blob)")
    connection.close()
    for _ in range(2):
        with pytest.raises(Corrupt, match=r"is not what ledger\.db\.layout-1 was: blob"):
            SqliteStorage(old, rows_of)
    assert old.with_name(COPY).exists()


def test_an_older_file_is_refused_where_nobody_says_how_to_rebuild_it(old: Path) -> None:
    before = old.read_bytes()
    with pytest.raises(Corrupt, match="has layout 1, this release writes 6"):
        SqliteStorage(old)
    assert old.read_bytes() == before


@pytest.mark.parametrize("rebuild", [None, rows_of])
def test_a_newer_layout_is_refused_with_what_to_do(tmp_path: Path, rebuild: Any) -> None:
    path = tmp_path / "ledger.db"
    sqlite.create(path)
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", layouts.LAYOUT_VERSION + 1)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(Corrupt, match="layouts up to") as refusal:
        SqliteStorage(path, rebuild)
    assert "newer release" in str(refusal.value.hint)
    assert path.read_bytes() == before


@pytest.mark.parametrize("rebuild", [None, rows_of])
def test_a_strangers_file_is_refused_and_not_touched(tmp_path: Path, rebuild: Any) -> None:
    path = tmp_path / "stranger.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE entry (seq, data, leaf, nodes)")
    connection.pragma("user_version", 1)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(Corrupt, match="not a Failwell ledger"):
        SqliteStorage(path, rebuild)
    assert path.read_bytes() == before, "not even its journal mode"
    with pytest.raises(StorageFailed):
        layouts.migrate(tmp_path / "missing.db", rows_of)
