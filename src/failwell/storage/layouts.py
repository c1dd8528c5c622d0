"""Layouts of the ledger file and the way from an older one to the newest: every step on every file, new or old.

A new file runs the same steps as one that comes from an earlier release, so that both declare the same. Evidence
(entries, blobs, tokens, the checkpoint) is never changed by a step; the projections are made anew from the entries, by
a function that is passed in, because a store interprets nothing.

A migration is one transaction: killed at any moment it leaves the old layout or the new one. Beside it lies a whole
copy of the old file until the new one was read back and its evidence found the same, row by row.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from importlib import resources
from itertools import zip_longest
from pathlib import Path
from typing import Any

import apsw
import msgspec

from failwell.core.errors import Corrupt, Unhealthy
from failwell.core.rows import TABLES
from failwell.ports.storage import StorageFailed
from failwell.storage import files, index

#: What a release writes. A change of the tables or of the shape of a projection's row is a new one.
LAYOUT_VERSION = 6
_STEPS = resources.files(__package__) / "layouts"
#: What is evidence, in the order of its key.
EVIDENCE = {
    "entry": "SELECT seq, data, leaf, nodes FROM entry ORDER BY seq",
    "blob": "SELECT seq, ciphertext, wrapped FROM blob ORDER BY seq",
    "token": "SELECT id, token, lookup, sealed FROM token ORDER BY id",
    "checkpoint": "SELECT id, size, note FROM checkpoint ORDER BY id",
}
PUT = {
    table: f'INSERT INTO "{table}" VALUES (?, ?) ON CONFLICT DO UPDATE SET row = excluded.row'  # noqa: S608
    for table in TABLES
}

#: Entries as stored (canonical bytes, leaf), in order -> (table, key, canonical JSON) of each row that they change.
Rebuild = Callable[[Iterable[tuple[bytes, bytes]]], Iterable[tuple[str, Any, str]]]


def declare(connection: apsw.Connection, since: int, layout: int = LAYOUT_VERSION) -> None:
    """Run the steps from layout `since` (0: an empty file) up to `layout`."""
    for step in range(since + 1, layout + 1):
        connection.execute((_STEPS / f"{step:04}.sql").read_text("utf-8"))


def declared_objects(layout: int = LAYOUT_VERSION) -> list[tuple[str, str, str | None]]:
    """(type, name, sql) of everything that a file of this layout declares: more or less is tampering."""
    connection = apsw.Connection(":memory:")
    declare(connection, 0, layout)
    found: list[Any] = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    return found


def spelled(layout: int, table: str, rows: Iterable[tuple[Any, str, int]]) -> Iterator[tuple[Any, str, int]]:
    """Rebuilt rows (key, canonical JSON, entry) as a release of `layout` wrote them, to be held against its file."""
    spellings = [spell for (newest, about), spell in _SPELLED.items() if about == table and layout <= newest]
    for key, text, entry in rows:
        if not spellings:
            yield key, text, entry
            continue
        row: dict[str, Any] = msgspec.json.decode(text)
        for spell in spellings:
            row = spell(row)
        yield key, msgspec.json.encode(row, order="sorted").decode(), entry


def _first_workspace(row: dict[str, Any]) -> dict[str, Any]:
    """Layout 1 knew one name of the log, and neither its key, nor which entry set it up, nor what failed."""
    newer = ("configured", "failed", "log_key", "origins")
    kept = {name: value for name, value in row.items() if name not in newer}
    return kept | {"origin": row["origins"][-1][1]}


def _without(*newer: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda row: {name: value for name, value in row.items() if name not in newer}


def _first_action(row: dict[str, Any]) -> dict[str, Any]:
    """Layout 2 held what an action took of its own agent's limits, one of each."""
    held = [[item[1], item[2]] for item in row["held"]]
    return _without("chain", "governed", "owes", "ticket")(row) | {"held": held}


#: (newest layout that spelled it so, table) -> how.
_SPELLED: dict[tuple[int, str], Callable[[dict[str, Any]], dict[str, Any]]] = {
    (1, "workspace"): _first_workspace,
    (2, "workspace"): _without("issuer", "mail"),
    (2, "person"): _without("asked", "contact", "due_us", "left", "successor", "tries", "verified", "vouched_by"),
    (2, "page"): _without("agent", "ticket"),
    (2, "agent"): _without(
        "asked_us", "certificates", "detect_only", "groups", "keyed", "observed_until_us", "orphaned"
    ),
    (2, "run"): _without("principal_provenance", "principal_kind", "parent", "chain", "posture", "done"),
    (2, "action"): _first_action,
    (3, "action"): _without("cut"),
    (3, "workspace"): _without("permit_key"),
    (3, "incident"): _without("failed"),
    (4, "action"): _without("ordered"),
    (4, "workspace"): _without("keepers", "objectives", "preserve", "rules"),
    (4, "agent"): _without("acted", "probation"),
    (4, "person"): _without("by"),
    (4, "page"): _without("about"),
    (4, "hold"): _without("directories", "lifted", "placed_us", "preserved", "proposal", "proposed_by"),
    (4, "incident"): _without(
        "authors",
        "aware_us",
        "broken",
        "broken_by",
        "claimed",
        "factors",
        "findings",
        "holder",
        "informed",
        "merged_into",
        "missed",
        "notes",
        "offered",
        "opened_us",
        "proposed",
        "release",
        "reopened_us",
        "serious",
        "state_us",
        "tasked",
        "tasks",
    ),
    (5, "workspace"): _without("escalation", "zoned", "zones"),
    (5, "agent"): _without("early", "early_us"),
    (5, "page"): _without("bundled", "cycle", "digest", "into", "permanent", "persons", "round"),
}


def layout_at(path: Path) -> int:
    """The layout of the ledger at `path`, found without changing it. Raises as `layout_of`, and apsw.Error."""
    connection = files.connect(path, writable=False)
    try:
        return layout_of(connection, path)
    finally:
        connection.close(True)


def layout_of(connection: apsw.Connection, path: Path) -> int:
    """The layout of an open ledger. Raises Corrupt for a file that is not ours or whose layout is not known here."""
    if connection.pragma("application_id") != files.APPLICATION_ID:
        raise Corrupt(f"{path} is not a Failwell ledger")
    layout = int(connection.pragma("user_version"))
    if layout > LAYOUT_VERSION:
        raise Corrupt(
            f"{path} has layout {layout}; this release knows layouts up to {LAYOUT_VERSION}",
            hint="A newer release wrote it: install that one, nothing was changed.",
        )
    if layout < 1:
        raise Corrupt(f"{path} has layout {layout}, which no release wrote")
    return layout


def kept_copy(path: Path, layout: int) -> Path:
    """Where the whole copy of a file lies while it is migrated from `layout`."""
    return path.with_name(f"{path.name}.layout-{layout}")


def migrate(path: Path, rebuild: Rebuild) -> int | None:
    """Bring the ledger at `path` to this release's layout; the layout that it had, None where nothing was to be done.

    Call it under the node's lock, before the file is opened for work. Raises Corrupt where the file is not ours, is of
    a newer layout, or holds entries that give no rows (then it is left as it was); StorageFailed, StorageFull.
    """
    try:
        layout = layout_at(path)
        if layout < LAYOUT_VERSION:
            connection = files.connect(path)
            try:
                _keep(connection, path, layout)
                _move(connection, path, layout, rebuild)
                index.remove(path.with_name(index.NAME))
            finally:
                connection.close(True)
        _compare(path)
    except apsw.Error as error:
        raise files.failure(error, f"bringing {path} to layout {LAYOUT_VERSION} failed") from error
    except OSError as error:
        raise StorageFailed(f"bringing {path} to layout {LAYOUT_VERSION} failed: {error}") from error
    return layout if layout < LAYOUT_VERSION else None


def _keep(connection: apsw.Connection, path: Path, layout: int) -> None:
    """Lay a durable copy of the whole file beside it, under its name only once it is whole."""
    copy = kept_copy(path, layout)  # one that is there is of a migration that was killed: made again
    part = copy.with_name(f"{copy.name}.part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    target = apsw.Connection(str(part))
    with target.backup("main", connection, "main") as backup:
        backup.step(-1)
    target.close(True)
    with part.open("rb+") as written:
        os.fsync(written.fileno())
    part.rename(copy)
    files.sync_directory(path.parent)


def _move(connection: apsw.Connection, path: Path, layout: int, rebuild: Rebuild) -> None:
    """All steps, the projections made anew, and the number of the layout, in one transaction."""
    with connection:
        declare(connection, layout)
        for table in TABLES:
            connection.execute(f'DELETE FROM "{table}"')  # noqa: S608
        writing: dict[str, list[tuple[Any, str]]] = {table: [] for table in TABLES}
        for table, key, row in rebuild(_entries(connection)):
            writing[table].append((key, row))
            if len(writing[table]) >= 1000:
                connection.executemany(PUT[table], writing[table])
                writing[table].clear()
        for table, left in writing.items():
            connection.executemany(PUT[table], left)
        objects: Any = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
        if objects != declared_objects():
            raise Corrupt(f"{path} declares other tables than layout {layout} does", hint="failwell ledger verify")
        connection.pragma("user_version", LAYOUT_VERSION)


def _entries(connection: apsw.Connection) -> Iterator[tuple[bytes, bytes]]:
    """The entries in order, each held against its hash: nothing is made from damaged evidence."""
    for expected, (seq, data, leaf) in enumerate(connection.execute("SELECT seq, data, leaf FROM entry ORDER BY seq")):
        if seq != expected or sha256(b"\0" + data).digest() != leaf:
            raise Corrupt(f"entry {expected} is missing or changed", hint="failwell ledger verify says what holds.")
        yield data, leaf


def _compare(path: Path) -> None:
    """Read the migrated file back, hold its evidence against the copies that lie beside it, and remove those."""
    for layout in range(1, LAYOUT_VERSION):
        copy = kept_copy(path, layout)
        copy.with_name(f"{copy.name}.part").unlink(missing_ok=True)
        if not copy.exists():
            continue
        made, old = files.connect(path, writable=False), files.connect(copy, writable=False)
        try:
            wrong = [str(row[0]) for row in made.execute("PRAGMA integrity_check") if row[0] != "ok"]
            wrong += [table for table, sql in EVIDENCE.items() if not _same(old.execute(sql), made.execute(sql))]
        finally:
            made.close(True)
            old.close(True)
        if wrong:
            raise Corrupt(
                f"{path} is not what {copy.name} was: {wrong[0]}",
                hint=f"Both files are kept. {copy.name} is the record as the earlier release left it.",
            )
        copy.unlink()
        for beside in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                copy.with_name(copy.name + beside).unlink()


def _same(old: Iterable[Any], made: Iterable[Any]) -> bool:
    return all(one == other for one, other in zip_longest(old, made))


def create(path: Path) -> None:
    """Make an empty ledger file (0600); refuses to touch an existing one."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = files.connect(path)
    files.set_pragma(connection, "application_id", files.APPLICATION_ID)
    files.set_pragma(connection, "user_version", LAYOUT_VERSION)
    with connection:
        declare(connection, 0)
    connection.close()


def replace_rows(path: Path, rows: Mapping[str, Iterable[tuple[Any, str]]]) -> None:
    """Put rebuilt projections in the place of the stored ones, in one durable transaction.

    `rows`: table -> (key, canonical JSON). Call it under the node's lock. Raises StorageFailed; then nothing changed.
    """
    try:
        connection = files.connect(path)
        with connection:
            for table, made in rows.items():
                connection.execute(f'DELETE FROM "{known(table)}"')  # noqa: S608
                connection.executemany(PUT[table], made)
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        connection.close()
        index.remove(path.with_name(index.NAME))  # it was made from the rows that were replaced
    except apsw.Error as error:
        raise files.failure(error, f"replacing the rows of {path} failed") from error


def known(table: str) -> str:
    """`table`, where it is one of the projections. Raises Unhealthy."""
    if table not in TABLES:
        raise Unhealthy(f"no table {table!r}")
    return table
