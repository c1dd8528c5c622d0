"""Which logs are read and how their fields are named: the `witness` tables of the settings, strictly typed.

An unknown, missing or misspelled setting is an error: a witness that reads the wrong field would clear an
agent that went round the gate. It opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from failwell.core.errors import InputError

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?\Z", max_length=63)]
Column = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", max_length=63)]
Field = Annotated[str, Meta(min_length=1, max_length=200)]
FilePath = Annotated[str, Meta(pattern=r"^[^\x00]+\Z")]
TimeUnit = Literal["rfc3339", "s", "ms", "us"]


class _Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class JsonLines(_Log, frozen=True, tag="jsonl"):
    """A file of JSON objects, one a line. Fields name keys; without `ref` a line's place is its ref."""

    witness: Name
    path: FilePath
    tool: Name
    at: Field
    at_unit: TimeUnit = "rfc3339"
    ref: Field | None = None
    customer: Field | None = None
    action: Field | None = None


class SqliteTable(_Log, frozen=True, tag="sqlite"):
    """A table that only grows. Fields name columns; without `ref` the rowid is a row's ref."""

    witness: Name
    path: FilePath
    table: Column
    tool: Name
    at: Column
    at_unit: TimeUnit = "rfc3339"
    ref: Column | None = None
    customer: Column | None = None
    action: Column | None = None


Settings = JsonLines | SqliteTable


def parse_settings(raw: Mapping[str, Any]) -> Settings:
    """The settings of one witness from a plain table; raises InputError naming the field that is wrong."""
    try:
        return msgspec.convert(dict(raw), JsonLines | SqliteTable)
    except msgspec.ValidationError as error:
        name = raw.get("witness")
        raise InputError(f"witness {str(name)[:80]!r}: {error}", hint="kind is jsonl or sqlite.") from error
