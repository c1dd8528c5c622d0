"""The settings of a witness: a misspelled field is an error, for it would clear what it should accuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from failwell.core.errors import InputError
from failwell.effects import open_reader
from failwell.effects.settings import JsonLines, SqliteTable, parse_settings

LINES = {
    "witness": "shop-log",
    "kind": "jsonl",
    "path": "/var/log/shop.jsonl",
    "tool": "notices.send",
    "at": "at",
}
TABLE = {**LINES, "kind": "sqlite", "path": "shop.db", "table": "notices"}


def test_a_witness_is_read_by_its_kind() -> None:
    lines, table = parse_settings(LINES), parse_settings(TABLE)
    assert isinstance(lines, JsonLines)
    assert isinstance(table, SqliteTable)
    assert open_reader(lines, Path("/")).witness == open_reader(table, Path("/")).witness == "shop-log"


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {**LINES, "kind": "csv"},
        {**LINES, "custommer": "to"},
        {**LINES, "table": "notices"},
        {key: value for key, value in LINES.items() if key != "at"},
        {key: value for key, value in LINES.items() if key != "tool"},
        {key: value for key, value in TABLE.items() if key != "table"},
        {**LINES, "witness": "Shop Log"},
        {**LINES, "path": ""},
        {**LINES, "path": "a\x00b"},
        {**LINES, "at_unit": "minutes"},
        {**TABLE, "table": 'notices"; DROP TABLE notices; --'},
        {**TABLE, "at": "at FROM x"},
        {**TABLE, "at": "at\n"},
        {**LINES, "customer": 5},
    ],
)
def test_a_setting_that_is_not_exact_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="witness"):
        parse_settings(raw)
