"""A released kind never changes: each has a golden entry and its fields' types in `released_kinds.json`.

A kind that is new (or a new version) is added by `python -m tests.unit.core.test_kinds`, which never touches what is
there. Where this fails for an old one, the change needs a new version in `core.kinds`, not a new golden entry.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from failwell.core import kinds
from failwell.core.records import decode_entry, encode_entry
from failwell.core.records import kinds as registered
from tests.unit.core.entries import TYPES, entry_of, specimen

FILE = Path(__file__).with_name("released_kinds.json")
RELEASED: dict[str, dict[str, Any]] = json.loads(FILE.read_text()) if FILE.exists() else {}
NAME = re.compile(r"[a-z]+(\.[a-z]+)*")


def name_of(kind: tuple[str, int]) -> str:
    return f"{kind[0]}/{kind[1]}"


def golden(kind: tuple[str, int]) -> dict[str, Any]:
    """The fields of a kind with their types, nested ones spelled out, and one entry."""
    return {"fields": shape(TYPES[kind]), "entry": encode_entry(entry_of(specimen(TYPES[kind]))).decode()}


def shape(kind: type[Any]) -> dict[str, Any]:
    nested = {
        "Fact": kinds.Fact,
        "Decided": kinds.Decided,
        "Use": kinds.Use,
        "Use2": kinds.Use2,
        "Lookup": kinds.Lookup,
        "PathStep": kinds.PathStep,
        "Deadline": kinds.Deadline,
    }
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        text = str(field.type).replace("failwell.core.kinds.", "")
        fields[field.name] = re.sub(r"<class '([a-zA-Z]+)'>", r"\1", text)
        for name, inner in nested.items():
            if inner is not kind and re.search(rf"\b{name}\b", text):
                fields[f"{field.name} {name}"] = shape(inner)
    return fields


def test_every_registered_kind_is_in_the_golden_file_and_no_released_one_is_gone() -> None:
    assert set(RELEASED) == {name_of(kind) for kind in registered()}


@pytest.mark.parametrize("kind", sorted(TYPES), ids=name_of)
def test_a_released_kind_still_has_the_fields_and_types_it_was_released_with(kind: tuple[str, int]) -> None:
    assert shape(TYPES[kind]) == RELEASED[name_of(kind)]["fields"], "a change needs a new version of the kind"


@pytest.mark.parametrize("kind", sorted(TYPES), ids=name_of)
def test_an_entry_written_by_the_first_release_reads_and_writes_the_same(kind: tuple[str, int]) -> None:
    line = RELEASED[name_of(kind)]["entry"].encode()
    entry = decode_entry(line)
    assert entry.body == specimen(TYPES[kind])
    assert encode_entry(entry) == line


@pytest.mark.parametrize("kind", sorted(TYPES), ids=name_of)
def test_no_field_has_a_default_and_no_field_is_a_float(kind: tuple[str, int]) -> None:
    """A default would let an old entry and a new one say different things in the same bytes."""
    for field in msgspec.structs.fields(TYPES[kind]):
        assert field.required
        assert "float" not in str(field.type)
        assert re.fullmatch(r"[a-z0-9_]+", field.encode_name)


def test_kinds_are_named_in_lower_case_words() -> None:
    for kind, v in registered():
        assert NAME.fullmatch(kind)
        assert v >= 1


if __name__ == "__main__":
    made = {name_of(kind): golden(kind) for kind in registered()}
    FILE.write_text(json.dumps(made | RELEASED, indent=1, sort_keys=True) + "\n")
