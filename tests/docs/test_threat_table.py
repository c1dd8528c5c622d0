"""docs/threats.md is the one list of attacks: each row names tests that exist, and each test there stands in a row.

The table is read as it stands, so that there is no second copy of it. What a row claims is shown by its tests.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "threats.md"
TESTS = ROOT / "tests" / "attacks" / "ledger"

HEAD = ("id", "attack", "the attacker holds", "what finds it", "grade", "located", "tests")
#: Rows about the doors, and about people and what follows a failure: there nothing is found afterwards, so that nothing
#: is graded or located.
DOORS = ("id", "attack", "by", "what comes of it", "tests")
HOLDS = {
    "file", "file, node's keys", "file, guard's key", "guard's directory", "everything", "public key", "network",
    "nothing",
}  # fmt: skip
#: The lowest grade at which it is found; `none`: nothing that exists today finds it; `-`: there is nothing to find.
GRADES = {"A", "B", "C", "none", "-"}
LOCATED = {"entry", "range", "row", "ledger", "-"}
SCREEN_LINES = 50


class Row(NamedTuple):
    """One attack, by the columns of the table."""

    id: str
    attack: str
    holds: str
    found_by: str
    grade: str
    located: str
    tests: tuple[str, ...]


class AtDoor(NamedTuple):
    """One attack on the way to a verdict or back."""

    id: str
    attack: str
    by: str
    comes_of_it: str
    tests: tuple[str, ...]


def lines(text: str) -> list[tuple[str, ...]]:
    """The cells of each line of all tables in the document, without their heads."""
    found = []
    for line in text.splitlines():
        if not line.startswith("|") or set(line) <= set("|- "):
            continue
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        if cells not in (HEAD, DOORS):
            found.append(cells)
    return found


def at_doors(text: str) -> list[AtDoor]:
    """The rows about the doors; ValueError for one that is not of their form."""
    found = []
    for cells in lines(text):
        if not cells[0].startswith(("D", "P")):
            continue
        if len(cells) != len(DOORS) or not re.fullmatch(r"[DP]\d\d", cells[0]):
            raise ValueError(f"not a row of the threat table: {cells}")
        number, attack, by, comes_of_it, tests = cells
        named = tuple(each.strip("` ") for each in tests.split("<br>"))
        found.append(AtDoor(number, attack, by, comes_of_it, named))
    return found


def rows(text: str) -> list[Row]:
    """The rows about the record; ValueError for one that is of no table's form."""
    found = []
    for cells in lines(text):
        if cells[0].startswith(("D", "P")):
            continue
        if len(cells) != len(HEAD) or not re.fullmatch(r"T\d\d", cells[0]):
            raise ValueError(f"not a row of the threat table: {cells}")
        number, attack, holds, found_by, grade, located, tests = cells
        named = tuple(each.strip("` ") for each in tests.split("<br>"))
        found.append(Row(number, attack, holds, found_by, grade, located, named))
    return found


def named_tests(folder: Path, *, beside: Path | None = None) -> set[str]:
    """`file.py::test` of every test in a folder, read from its source; by its path in `beside` where that is given."""
    return {
        f"{path.name if beside is None else path.relative_to(beside)}::{node.name}"
        for path in folder.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def faults(table: list[Row], tests: set[str], elsewhere: frozenset[str] = frozenset()) -> list[str]:
    """What does not hold of a table beside the tests that exist; those `elsewhere` need no row."""
    said = [test for row in table for test in row.tests]
    ids = [row.id for row in table]
    found = [f"{row.id} names {test}, which does not exist" for row in table for test in row.tests
             if test not in tests | elsewhere]  # fmt: skip
    found += [f"{test} stands in no row" for test in sorted(tests - set(said))]
    found += [f"{each} is given twice" for each in sorted({*ids}) if ids.count(each) > 1]
    for row in table:
        if row.holds not in HOLDS or row.grade not in GRADES or row.located not in LOCATED:
            found.append(f"{row.id}: {row.holds} / {row.grade} / {row.located} is not in the document's words")
        if (row.grade in ("none", "-")) != (row.located == "-"):
            found.append(f"{row.id} is located, yet not found, or the other way round")
        if not row.attack or not row.found_by:
            found.append(f"{row.id} leaves a cell empty")
    return found


@pytest.fixture(scope="module")
def document() -> str:
    return DOCUMENT.read_text("utf-8")


def test_every_row_names_tests_that_exist_and_every_test_stands_in_a_row(document: str) -> None:
    table = rows(document)
    folders = {ROOT / "tests" / test.rpartition("/")[0] for row in table for test in row.tests if "/" in test}
    elsewhere = frozenset(test for folder in folders for test in named_tests(folder, beside=ROOT / "tests"))
    assert faults(table, named_tests(TESTS), elsewhere) == []


def test_every_row_about_the_doors_names_tests_that_exist(document: str) -> None:
    table = at_doors(document)
    folders = {(ROOT / "tests" / test.partition("::")[0]).parent for row in table for test in row.tests}
    exist = {test for folder in folders for test in named_tests(folder, beside=ROOT / "tests")}
    assert [f"{row.id}: {test}" for row in table for test in row.tests if test not in exist] == []
    assert [
        row.id
        for row in table
        if row.by not in {"server", "caller", "person", "agent", "process", "stranger", "receiver"}
        or not row.attack
        or not row.comes_of_it
    ] == []
    ids = [row.id for row in table]
    assert ids == sorted({*ids})
    assert len(ids) > 10


def test_ids_are_in_order_so_that_a_row_keeps_its_own(document: str) -> None:
    ids = [row.id for row in rows(document)]
    assert ids == sorted(ids)
    assert len(ids) > 30


def test_the_introduction_is_one_screen_and_says_where_the_strength_ends(document: str) -> None:
    introduction = document.partition("\n## ")[0]
    assert introduction.count("\n") <= SCREEN_LINES
    assert "Where the strength ends" in introduction


def test_rows_that_the_text_names_exist(document: str) -> None:
    assert set(re.findall(r"\bT\d\d\b", document)) == {row.id for row in rows(document)}


def test_what_is_said_not_to_be_found_has_a_test_that_shows_it_passing(document: str) -> None:
    """A limit is claimed like anything else: by a test that calls `undetected`."""
    for row in rows(document):
        if row.grade == "none":
            sources = [(TESTS / test.partition("::")[0]).read_text("utf-8") for test in row.tests if "/" not in test]
            assert any("undetected(" in source for source in sources), row.id


SOUND = Row("T01", "edit", "file", "the leaf", "C", "entry", ("test_a.py::test_b",))


@pytest.mark.parametrize(
    ("row", "tests"),
    [
        (SOUND, {"test_a.py::test_c"}),
        (SOUND, {"test_a.py::test_b", "test_a.py::test_c"}),
        (SOUND._replace(grade="D"), {"test_a.py::test_b"}),
        (SOUND._replace(holds="nerve"), {"test_a.py::test_b"}),
        (SOUND._replace(located="somewhere"), {"test_a.py::test_b"}),
        (SOUND._replace(grade="none"), {"test_a.py::test_b"}),
        (SOUND._replace(located="-"), {"test_a.py::test_b"}),
        (SOUND._replace(found_by=""), {"test_a.py::test_b"}),
    ],
)
def test_a_table_that_claims_too_much_is_refused(row: Row, tests: set[str]) -> None:
    assert faults([SOUND], {"test_a.py::test_b"}) == []
    assert faults([row], tests) != []
    assert faults([SOUND, SOUND], {"test_a.py::test_b"}) != []


@pytest.mark.parametrize(
    "line",
    ["| T01 | edit | file |", "| 7 | a | file | b | C | entry | c |", "| D1 | a | server | b | c |", "| D01 | a |"],
)
def test_a_line_that_is_no_row_is_not_passed_over(line: str) -> None:
    with pytest.raises(ValueError, match="threat table"):
        assert rows(line) + at_doors(line) == []
