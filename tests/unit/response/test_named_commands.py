"""What people are told to run exists, with the options that are named: letters and screens send nobody astray."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from failwell.cli.main import app

SOURCE = Path(__file__).resolve().parents[3] / "src" / "failwell"
_NAMED = re.compile(r"failwell ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*| --[a-z-]+| [A-Z{\"'][^ ]*| \d+)*)")
#: Where people are told what to do about a failure.
PLACES = sorted(
    {
        *(SOURCE / "response").glob("*.py"),
        *(SOURCE / "core" / "incidents").glob("*.py"),
        *(SOURCE / "cli").glob("incident*.py"),
        *(SOURCE / "cli").glob("hold*.py"),
        SOURCE / "node" / "incident_answers.py",
        SOURCE / "cli" / "response.py",
    }
)


def texts(path: Path) -> Iterator[str]:
    """Every string of a module; what is filled into one stands as X. One that is made of several counts once."""
    tree = ast.parse(path.read_text("utf-8"))
    within = {
        id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(value.value) if isinstance(value, ast.Constant) else "{X}" for value in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within:
            yield node.value


def named(text: str) -> Iterator[list[str]]:
    for found in _NAMED.finditer(text):
        yield found[1].split()


@functools.cache
def commands() -> Any:
    return typer.main.get_command(app)


def wrong(words: list[str]) -> str | None:
    """What of a command there is not. Of one whose name is filled in nothing can be said."""
    command = commands()
    for word in words:
        inner = getattr(command, "commands", {})
        if inner and word.startswith("{"):
            return None
        if word.startswith("--"):
            known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
            if word not in known | {"--help"}:
                return f"no option {word}"
        elif word in inner:
            command = inner[word]
        elif inner and word[0] not in "\"'":
            return f"no command {word}"
    return None


@pytest.mark.parametrize("path", PLACES, ids=[f"{path.parent.name}/{path.name}" for path in PLACES])
def test_the_commands_that_people_are_told_to_run_exist(path: Path) -> None:
    found = {
        f"failwell {' '.join(words)}: {fault}"
        for text in texts(path)
        for words in named(text)
        if (fault := wrong(words)) is not None
    }
    assert not found


def test_a_command_or_an_option_that_there_is_not_is_found() -> None:
    assert [*named("Take it: failwell incident acknowledge 1 --as rita.")] == [
        ["incident", "acknowledge", "1", "--as", "rita"]
    ]  # fmt: skip
    assert wrong(["incident", "acknowledge", "1", "--as", "X"]) is None
    assert wrong(["incident", "take", "1"]) == "no command take"
    assert wrong(["incident", "acknowledge", "1", "--by", "X"]) == "no option --by"
