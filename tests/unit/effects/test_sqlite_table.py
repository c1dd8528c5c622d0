"""The witness that reads a tool's SQLite table: read-only, in order, and what is taken out is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from pathlib import Path

import apsw
import pytest

from failwell.core.errors import Corrupt, InputError, NotFound, Unhealthy
from failwell.effects import open_reader
from failwell.effects.settings import SqliteTable
from failwell.ports.effects import Effect, EffectReader

SETTINGS = SqliteTable(
    witness="shop-db",
    path="shop.db",
    table="notices",
    tool="notices.send",
    at="at",
    at_unit="us",
    customer="to_id",
)
SCHEMA = "CREATE TABLE notices (id INTEGER PRIMARY KEY, at INTEGER, to_id TEXT, extra)"
AT_US = 1_795_410_000_000_000


@pytest.fixture
def shop(tmp_path: Path) -> Generator[apsw.Connection]:
    connection = apsw.Connection(str(tmp_path / "shop.db"))
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(SCHEMA)
    yield connection
    connection.close()


def sell(shop: apsw.Connection, *numbers: int) -> None:
    with shop:
        for number in numbers:
            shop.execute("INSERT INTO notices VALUES (?, ?, ?, NULL)", (number, AT_US + number, f"c{number}"))


def reader(tmp_path: Path, settings: SqliteTable = SETTINGS) -> EffectReader:
    return open_reader(settings, tmp_path)


def test_a_row_becomes_an_effect_with_the_digest_of_its_columns(tmp_path: Path, shop: apsw.Connection) -> None:
    sell(shop, 1)
    raw = json.dumps({"at": AT_US + 1, "extra": None, "id": 1, "to_id": "c1"}, separators=(",", ":")).encode()
    effects, _ = reader(tmp_path).read(None)
    assert effects == [
        Effect(
            witness="shop-db",
            ref="row:1",
            tool="notices.send",
            at="2026-11-23T05:00:00.000001Z",
            customer="c1",
            action=None,
            digest=hashlib.sha256(raw).hexdigest(),
        )
    ]


def test_rows_come_once_and_in_order_while_the_tool_writes(tmp_path: Path, shop: apsw.Connection) -> None:
    seen: list[str] = []
    effects, cursor = reader(tmp_path).read(None)
    for start in range(1, 2_600, 400):
        sell(shop, *range(start, start + 400))
        effects, cursor = reader(tmp_path).read(cursor)
        seen += [effect.ref for effect in effects]
    while effects:
        effects, cursor = reader(tmp_path).read(cursor)
        assert len(effects) <= 1_000
        seen += [effect.ref for effect in effects]
    assert seen == [f"row:{number}" for number in range(1, 2_801)]


def test_an_uncommitted_row_is_no_effect(tmp_path: Path, shop: apsw.Connection) -> None:
    shop.execute("BEGIN IMMEDIATE")
    shop.execute("INSERT INTO notices VALUES (1, 1, 'c', NULL)")
    effects, cursor = reader(tmp_path).read(None)
    assert effects == []
    shop.execute("COMMIT")
    assert len(reader(tmp_path).read(cursor)[0]) == 1


@pytest.mark.parametrize(
    "attack",
    [
        "DELETE FROM notices WHERE id = 3",
        "DELETE FROM notices WHERE id = 1",
        "DELETE FROM notices",
        "UPDATE notices SET to_id = 'somebody else' WHERE id = 3",
        "UPDATE notices SET id = 9 WHERE id = 3",
        "INSERT INTO notices VALUES (-5, 1, 'c', NULL)",
        "DELETE FROM notices WHERE id = 3; INSERT INTO notices VALUES (3, 1, 'c', NULL)",
    ],
)
def test_a_row_taken_out_changed_at_the_end_or_slipped_in_below_is_reported(
    tmp_path: Path, shop: apsw.Connection, attack: str
) -> None:
    sell(shop, 1, 2, 3)
    _, cursor = reader(tmp_path).read(None)
    shop.execute(attack)
    with pytest.raises(Corrupt, match="was cut") as caught:
        reader(tmp_path).read(cursor)
    assert caught.value.code == "log-cut"


def test_a_database_taken_away_is_reported(tmp_path: Path, shop: apsw.Connection) -> None:
    sell(shop, 1)
    _, cursor = reader(tmp_path).read(None)
    shop.close()
    (tmp_path / "shop.db").unlink()
    with pytest.raises(Corrupt, match="it is gone"):
        reader(tmp_path).read(cursor)
    with pytest.raises(NotFound):
        reader(tmp_path).read(None)
    assert not (tmp_path / "shop.db").exists()


def test_reading_changes_nothing_and_blocks_nobody(tmp_path: Path, shop: apsw.Connection) -> None:
    sell(shop, 1)
    before = (tmp_path / "shop.db").read_bytes()
    reader(tmp_path).read(None)
    assert (tmp_path / "shop.db").read_bytes() == before
    shop.execute("BEGIN EXCLUSIVE")
    assert len(reader(tmp_path).read(None)[0]) == 1
    shop.execute("ROLLBACK")


def test_odd_values_are_counted_not_skipped(tmp_path: Path, shop: apsw.Connection) -> None:
    shop.execute("INSERT INTO notices VALUES (1, ?, CAST(x'ff' AS TEXT), 9223372036854775807)", (AT_US,))
    shop.execute("INSERT INTO notices VALUES (2, ?, x'00ff', 1e999)", (AT_US,))
    shop.execute("INSERT INTO notices VALUES (3, NULL, 'c3', 0.5)")
    shop.execute("INSERT INTO notices VALUES (4, ?, NULL, 'fine')", (AT_US,))
    effects, cursor = reader(tmp_path).read(None)
    assert [effect.ref for effect in effects] == ["row:1", "row:2", "row:3", "row:4"]
    faults = [effect.fault for effect in effects]
    assert [fault and fault.split(" ")[0] for fault in faults] == ["to_id", "to_id", "at", None]
    assert len({effect.digest for effect in effects}) == 4
    assert reader(tmp_path).read(cursor) == ([], cursor)


def test_a_database_in_utf_16_is_read_too(tmp_path: Path) -> None:
    with apsw.Connection(str(tmp_path / "shop.db")) as connection:
        connection.execute("PRAGMA encoding='UTF-16le'")
        connection.execute(SCHEMA)
        connection.execute("INSERT INTO notices VALUES (1, ?, 'zürich', NULL)", (AT_US,))
    connection.close()
    ((effect,), _) = reader(tmp_path).read(None)
    assert effect.customer == "zürich"


@pytest.mark.parametrize(
    ("schema", "error", "message"),
    [
        ("CREATE TABLE other (x)", InputError, "no table notices"),
        ("CREATE VIEW notices AS SELECT 1 AS at, 2 AS to_id", InputError, "no table notices"),
        ("CREATE TABLE notices (at, customer)", InputError, "no column to_id"),
        ("CREATE TABLE notices (at, to_id, rowid)", InputError, "named rowid"),
        ("CREATE TABLE notices (at PRIMARY KEY, to_id) WITHOUT ROWID", Unhealthy, "rowid"),
    ],
)
def test_a_table_that_cannot_witness_is_refused(
    tmp_path: Path, schema: str, error: type[Exception], message: str
) -> None:
    connection = apsw.Connection(str(tmp_path / "shop.db"))
    connection.execute(schema)
    connection.close()
    with pytest.raises(error, match=message):
        reader(tmp_path).read(None)


def test_a_file_that_is_no_database_is_unhealthy(tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_bytes(b"not a database, but long enough to be looked at" * 50)
    with pytest.raises(Unhealthy, match="cannot be read"):
        reader(tmp_path).read(None)


@pytest.mark.parametrize("cursor", ["", "x", "1:1:", "1:-1:" + "0" * 64, "01:1:" + "0" * 64])
def test_a_foreign_cursor_is_refused(tmp_path: Path, shop: apsw.Connection, cursor: str) -> None:
    with pytest.raises(InputError, match="not a cursor"):
        reader(tmp_path).read(cursor)
