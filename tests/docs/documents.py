"""Runs a Markdown document as a reader would: its commands in order, its Python, its files written as shown.

- a `console` block: each `$ command` runs in the document's own empty directory; the lines below it are what
  it must print, `...` standing for anything; `$ command   # exit 1` says which status is right. `make`, `git`
  and `cd` lines are not run: what `make` names must be a target. `$ export NAME=value` lasts, as in a shell.
- `<!-- figures differ -->` before a block: numbers in what it prints are compared as numbers, whatever they are.
- a `python` block runs in one namespace for the whole document.
- `<!-- file: contracts/a.yaml -->` before a block: the block is that file from there on.
- `<!--- skip: next "reason" -->` leaves one block out, with its reason.

Everything that a document leaves running is ended, found by a mark in its environment.
"""

from __future__ import annotations

import contextlib
import doctest
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).resolve().parents[2]
COMMAND_LIMIT_S = 50.0
NOT_RUN = ("make", "git", "cd")
_FILE = re.compile(r"<!-- file: (?P<name>[\w./-]+) -->\n+```\w*\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)
_TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)
_EXIT = re.compile(r"\s+# exit (\d+)$")
_EXPORT = re.compile(r"export ([A-Z_]+)=(.*)")
_FIGURES = "<!-- figures differ -->"
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass(frozen=True)
class Command:
    """One `$` line, the status it should end with, the lines it should print (none given: not compared)."""

    line: str
    status: int
    output: str


def commands(block: str) -> list[Command]:
    """The commands of a console block; a line that continues with a backslash is one command."""
    found: list[tuple[str, list[str]]] = []
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
        elif line.strip():
            raise AssertionError(f"a console block starts with a command, not with {line!r}")
    parsed = []
    for line, output in found:
        exit_mark = _EXIT.search(line)
        status = int(exit_mark.group(1)) if exit_mark else 0
        parsed.append(Command(_EXIT.sub("", line), status, "\n".join(output).strip("\n")))
    return parsed


class Reader:
    """A person with an empty directory, a home of their own and this checkout's `failwell` on the path."""

    def __init__(self, directory: Path) -> None:
        self.mark = f"FAILWELL_DOCUMENT={uuid.uuid4().hex}"
        self.directory = directory / "here"
        self.directory.mkdir()
        home = directory / "home"
        home.mkdir()
        self.runtime = Path(tempfile.mkdtemp(prefix="fw-"))  # short: a socket's path has at most 108 bytes
        name, _, value = self.mark.partition("=")
        kept = {key: os.environ[key] for key in ("PYTHONPATH", "LC_ALL", "LANG") if key in os.environ}
        self.environment = {
            **kept,
            name: value,
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(self.runtime),  # as in every session at a desktop
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "COLUMNS": "110",
            "NO_COLOR": "1",
            "TERM": "dumb",
        }

    def console(self, example: Example) -> None:
        """Run one console block and compare what it prints."""
        for command in commands(str(example.parsed)):
            if shlex.split(command.line)[0] in NOT_RUN:
                check_not_run(command.line)
            elif export := _EXPORT.fullmatch(command.line):
                self._export(*export.groups())
            else:
                self._run(command, masked=str(example.document.text)[: example.start].rstrip().endswith(_FIGURES))

    def _export(self, name: str, value: str) -> None:
        asked = subprocess.run(
            ["bash", "-c", f'printf %s "{value}"'],
            cwd=self.directory, env=self.environment, capture_output=True, text=True, check=True, timeout=5,
        )  # fmt: skip
        self.environment[name] = asked.stdout

    def _run(self, command: Command, *, masked: bool) -> None:
        with subprocess.Popen(
            ["bash", "-c", command.line],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=(captured := (self.directory.parent / "printed").open("w+b")),
            stderr=subprocess.STDOUT,
        ) as process:
            status = process.wait(COMMAND_LIMIT_S)
        with captured:
            captured.seek(0)
            printed = captured.read().decode("utf-8", "replace").rstrip("\n")
        assert status == command.status, f"$ {command.line}\nended with {status}:\n{printed}"
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        said, got = (_NUMBER.sub("0", text) if masked else text for text in (command.output, printed))
        if command.output and not doctest.OutputChecker().check_output(said, got, flags):
            raise AssertionError(f"$ {command.line}\nis said to print\n{command.output}\nbut prints\n{printed}")

    def files(self, document: Document) -> Iterator[Region]:
        """A region for each file mark, so that the file is there for the commands after it."""
        for found in _FILE.finditer(document.text):
            end = found.start() + len("<!-- file: ")
            yield Region(found.start(), end, (found["name"], found["text"]), self._write)

    def _write(self, example: Example) -> None:
        name, text = example.parsed
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def end(self) -> None:
        """End every process that the document's commands left behind, found by its mark."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + 5
            while (left := marked(self.mark)) and time.monotonic() < deadline:
                for pid in left:
                    try:
                        os.kill(pid, number)
                    except ProcessLookupError:
                        continue
                time.sleep(0.1)
        shutil.rmtree(self.runtime, ignore_errors=True)


def check_not_run(line: str) -> None:
    """A `make` line names targets that the Makefile has."""
    words = [word for word in shlex.split(line, comments=True) if "=" not in word]
    targets = set(_TARGET.findall((ROOT / "Makefile").read_text("utf-8")))
    if words[0] == "make":
        assert set(words[1:]) <= targets, f"{line}: no such target"


def marked(mark: str) -> list[int]:
    """The processes whose environment carries `mark`."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
        except OSError:
            continue  # ended in between, or not ours to read
    return found


def run(path: Path, directory: Path) -> int:
    """Run every example of the document at `path` in `directory`; returns how many ran."""
    reader = Reader(directory)
    sybil = Sybil(
        parsers=[
            SkipParser(),
            PythonCodeBlockParser(),
            CodeBlockParser("console", reader.console),
            reader.files,
        ]
    )
    count = 0
    before = Path.cwd()
    os.chdir(reader.directory)
    try:
        for example in sybil.parse(path).examples():
            with contextlib.suppress(unittest.SkipTest):  # left out by the document itself, with its reason
                example.evaluate()
                count += 1
    finally:
        os.chdir(before)
        reader.end()
    return count
