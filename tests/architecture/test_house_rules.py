"""Rules of the house that no linter knows: what the proof code imports, names, sizes, broad excepts."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "failwell"
MODULES = sorted(SOURCE.rglob("*.py"))
IDS = [str(path.relative_to(SOURCE)) for path in MODULES]

# These travel in every evidence pack and run on a bare Python.
BARE = (
    *(f"core/{name}" for name in ("canonical", "extract", "heads", "instants", "merkle", "note", "proof", "tokens")),
    *(f"core/{name}" for name in ("cosignature", "tiles", "tlog_proof", "tlog_witness")),
    *(
        f"verify/{name}"
        for name in ("agents", "anchors", "beside", "chain", "envelope", "finding", "log_keys", "record")
    ),
    *(f"verify/{name}" for name in ("extract", "extract_head", "extract_report")),
)
BARE_MAY_USE = {"failwell.core.errors", *(f"failwell.{name.replace('/', '.')}" for name in BARE)}

NOT_OUR_WORDS = {
    "engine",
    "manager",
    "kernel",
    "guardian",
    "mesh",
    "utils",
    "util",
    "helpers",
    "common",
    "misc",
}

FILE_LINES = 400
FUNCTION_LINES = 60
# What is longer, and why; an entry that is no longer needed fails too.
LONGER: dict[str, str] = {
    "core/kinds.py": "the closed registry of entry kinds reads top to bottom as one list",
    "core/rows.py": "one row type for each table of the projections, and nothing else",
    "core/orders.py": "the closed table of human powers reads top to bottom, each with what it must say",
}

DOORS_AND_GATE = {"cli", "client", "gate", "gateway", "node", "web"}
# Broad excepts elsewhere, each with the reason why nothing narrower is right.
BROAD: dict[str, str] = {
    "ledger/writer.py": "a job that fails denies its own caller and must not end the one writer",
    "ledger/seals.py": "a fault of ours closes the gate by its lateness; it must not end all sealing unseen",
    "ledger/pending.py": "an answer that cannot be made is its own caller's failure, not the batch's",
    "response/parts.py": "a fault in one part of an account is named there; whoever is called reads the others",
    "execute/start.py": "a forked child must never return into the supervisor's code",
    "notify/apprise.py": "a hundred plugins that others wrote: whatever one does is one page that did not go out",
    "execute/nursery.py": "a forked child must never return into the nursery's loop",
}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module in ("failwell.core", "failwell.verify"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("name", BARE)
def test_what_a_pack_carries_needs_only_the_standard_library(name: str) -> None:
    foreign = {
        module
        for module in imported(SOURCE / f"{name}.py")
        if module not in BARE_MAY_USE and module.split(".")[0] not in sys.stdlib_module_names
    }
    assert not foreign


def test_the_errors_that_a_pack_carries_need_nothing() -> None:
    assert set(imported(SOURCE / "core" / "errors.py")) == {"__future__"}


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_modules_and_classes_bear_the_designs_words(path: Path) -> None:
    names = [path.stem, *(node.name for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef))]
    for name in names:
        assert not {word for word in NOT_OUR_WORDS if word in name.lower().split("_") or name.lower().endswith(word)}


def test_what_is_long_is_known_and_why() -> None:
    long = set()
    for path, name in zip(MODULES, IDS, strict=True):
        if path.read_text("utf-8").count("\n") > FILE_LINES:
            long.add(name)
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno + 1 > FUNCTION_LINES:
                    long.add(f"{name}:{node.name}")
    assert long == set(LONGER)


def broad(path: Path) -> bool:
    """Whether a handler catches everything and does not raise it on."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            caught = "" if node.type is None else ast.unparse(node.type)
            passes_on = isinstance(node.body[-1], ast.Raise)
            if caught in ("", "Exception", "BaseException") and not passes_on:
                return True
    return False


def test_only_doors_and_gate_catch_everything() -> None:
    caught = {
        name
        for path, name in zip(MODULES, IDS, strict=True)
        if broad(path) and Path(name).parts[0] not in DOORS_AND_GATE
    }
    assert caught == set(BROAD)


def test_no_test_stands_in_for_our_own_code_by_a_mock() -> None:
    tests = SOURCE.parents[1] / "tests"
    users = [str(path) for path in tests.rglob("*.py") if "unittest.mock" in set(imported(path))]
    assert not users


def test_the_floor_plan_that_contributors_read_names_every_room() -> None:
    plan = (SOURCE.parents[1] / "CONTRIBUTING.md").read_text("utf-8").partition("```text")[2].partition("```")[0]
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"[a-z]+", plan))
