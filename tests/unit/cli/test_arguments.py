"""`--arg`: typed by what the contract declares, exact where the caller says so, never guessed."""

from __future__ import annotations

from typing import Any

import pytest

from failwell.cli.action import _arguments
from failwell.core.errors import InputError

TYPES = {
    "count": "int(0..9)",
    "order": "string(1..40)",
    "amount": "money(2)",
    "flag": "bool",
    "names": "list(id, max 3)",
}


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("count=3", 3), ("count=three", "three"), ("order=123", "123"), ("order=true", "true"),
        ("amount=49.90", "49.90"),
        ("flag=true", True), ("names=[\"a\"]", ["a"]), ("unknown=1", "1"), ("order:=1", 1), ("order:=null", None),
        ("order=", ""), ("order=a=b", "a=b"),
    ],
)  # fmt: skip
def test_an_argument_is_read_by_its_declared_type(given: str, value: Any) -> None:
    (read,) = _arguments([given], TYPES).values()
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "given", [["order"], ["=x"], [":=1"], ["order:={"], ["order=1", "order=2"], ["order=1", "order:=2"]]
)
def test_an_argument_that_could_mean_two_things_is_refused(given: list[str]) -> None:
    with pytest.raises(InputError):
        _arguments(given, TYPES)
