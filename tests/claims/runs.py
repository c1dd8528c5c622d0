"""Runs pytest in a process of its own and reads back how each test ended.

Does not know what a mutant is: the caller says which tree and which Python.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.claims import orphans
from tests.claims.table import TableError

PLUGIN = Path(__file__).parent / "plugin"
LIMIT_S = 600.0
_FINE = (0, 1)  # all passed, some failed; everything else means that pytest could not do its work


@dataclass(frozen=True)
class Run:
    """How each test ended: passed, failed (the test itself), broke (before or after it), skipped."""

    ended: dict[str, str]
    seconds: float
    complete: bool
    output: str
    took: dict[str, float] = field(default_factory=dict)


def marked(root: Path, python: Path) -> dict[str, list[str]]:
    """The tests under `root` by the sub-claim on their mark; raises TableError where they do not import."""
    files = [
        str(path.relative_to(root))
        for path in sorted((root / "tests").rglob("test_*.py"))
        if "requirement(" in path.read_text("utf-8")
    ]
    tests: dict[str, list[str]] = defaultdict(list)
    if not files:
        return tests
    status, lines, output, _ = _pytest(root, python, ["--collect-only", *files])
    if status != 0:
        raise TableError(f"the marked tests do not import:\n{output}")
    for line in lines:
        for claim in line["claims"]:
            tests[claim].append(line["test"])
    return tests


def run(root: Path, python: Path, tests: list[str], *, first_failure: bool = False) -> Run:
    """Run the named tests of the tree under `root`, to the end or to the first failure."""
    if not tests:
        return Run({}, 0.0, True, "")
    arguments = ["--exitfirst"] if first_failure else []
    status, lines, output, seconds = _pytest(root, python, [*arguments, *tests])
    ended: dict[str, str] = {}
    took: dict[str, float] = defaultdict(float)
    for line in lines:
        if "phase" in line:
            ended[line["test"]] = _worst(ended.get(line["test"]), line["phase"], line["outcome"])
            took[line["test"]] += line["seconds"]
    return Run(ended, seconds, status in _FINE, output, took)


def _worst(so_far: str | None, phase: str, outcome: str) -> str:
    if outcome == "failed":
        return "failed" if phase == "call" or so_far == "failed" else "broke"
    if outcome in ("skipped", "xfail"):
        return "skipped"
    return so_far or "passed"


def _pytest(root: Path, python: Path, arguments: list[str]) -> tuple[int, list[dict[str, Any]], str, float]:
    """Pytest's status (-1: out of time), its report lines, its words, and the seconds it took."""
    with tempfile.TemporaryDirectory(prefix="failwell-claims-") as temporary:
        report = Path(temporary) / "report"
        command = [
            str(python), "-m", "pytest", "-q", "--no-header", "--tb=short", "-p", "claims_report",
            f"--claims-report={report}", *arguments,
        ]  # fmt: skip
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(root / "src"), str(PLUGIN)]),
            "PYTHONDONTWRITEBYTECODE": "1",  # a mutant and its sound file may share size and second
        }
        started = time.monotonic()
        # Words go to a file: a process that a test leaves behind would hold a pipe open.
        words = Path(temporary) / "words"
        with words.open("wb") as sink:
            process = subprocess.Popen(
                command,
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = process.wait(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                status = -1
            finally:
                orphans.end(process)
        seconds = time.monotonic() - started
        lines = report.read_text("utf-8").splitlines() if report.exists() else []
        return status, [json.loads(line) for line in lines], words.read_text("utf-8", "replace"), seconds
