"""`python -m tests.fuzz --seconds N`: what reads contracts and arguments, fuzzed by coverage, the targets one by one.

Nothing may crash, take over a second in one call, or be accepted that does not come back through its canonical form.
Progress on standard error, then a line for each target. Exit codes: 0 nothing wrong, 1 something is (the input that
shows it is kept, and named), 2 it could not be tried here.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.targets import ROOT, TARGETS, words

NEEDS = "fuzz: atheris is missing; its wheel is for Linux on x86-64 and Python 3.11: make setup, with python3.11"
#: Of the time, beside one for each other target: a whole text takes a thousand times as long as a type.
SHARES = {"text": 6}
#: Of one input, all calls together; a single call is given a second of processor time (`targets.timed`).
HANG_S = 20
MAX_BYTES = 65_536


class Result(NamedTuple):
    """How one target did: executions, and the inputs that it did not stand."""

    tried: int
    wrong: tuple[str, ...]
    said: str


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fuzz(name: str, seconds: int, seed: int, kept: Path) -> Result:
    """Fuzz one target for so many seconds in a process of its own; inputs that show a fault stay in `kept`."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, data in enumerate(TARGETS[name][1]()):
            (corpus / str(number)).write_bytes(data)
        spelled = [word.encode().decode("latin-1") for word in words()]
        dictionary = Path(folder) / "words"
        dictionary.write_text("".join(f'"{_quoted(word)}"\n' for word in spelled), "latin-1")
        options = [
            f"-max_total_time={seconds}", f"-seed={seed}", f"-timeout={HANG_S}", f"-max_len={MAX_BYTES}",
            f"-dict={dictionary}", f"-artifact_prefix={kept}/{name}-", "-rss_limit_mb=1024", "-print_final_stats=1",
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.one", name, str(corpus), *options],
            cwd=ROOT, capture_output=True, text=True, errors="replace", check=False, timeout=seconds + 120,
        )  # fmt: skip
    tried = re.search(r"stat::number_of_executed_units:\s*([0-9]+)", done.stderr)
    wrong = tuple(str(path) for path in sorted(kept.glob(f"{name}-*")))
    if done.returncode and not wrong:
        wrong = (f"the process ended with {done.returncode}",)
    return Result(int(tried[1]) if tried else 0, wrong, done.stdout[-3000:] + done.stderr[-3000:])


def _quoted(word: str) -> str:
    return "".join(letter if letter.isalnum() or letter == " " else f"\\x{ord(letter):02x}" for letter in word)


def main(arguments: list[str]) -> int:
    """Read what is wanted, fuzz, print a line for each target; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="for all targets together")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one (once for each)")
    parser.add_argument("--keep", type=Path, help="where inputs that show a fault are left; a new folder unless said")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    if importlib.util.find_spec("atheris") is None:
        say(NEEDS)
        return 2
    names = given.target or list(TARGETS)
    kept = given.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    kept.mkdir(parents=True, exist_ok=True)
    results: dict[str, Result] = {}
    whole = sum(SHARES.get(name, 1) for name in names)
    for name in names:
        seconds = max(1, given.seconds * SHARES.get(name, 1) // whole)
        say(f"fuzz: {name}, {seconds} s")
        results[name] = fuzz(name, seconds, given.seed, kept)
        if results[name].wrong:
            say(results[name].said)
    if given.json:
        parts = {name: {"tried": result.tried, "wrong": result.wrong} for name, result in results.items()}
        print(json.dumps({"schema": "failwell/fuzz/1", "seed": given.seed, "targets": parts}))
    else:
        for name, result in results.items():
            print(f"{name}: {result.tried} inputs, {len(result.wrong)} wrong {' '.join(result.wrong)}".rstrip())
        print(f"fuzz: seed {given.seed}, {given.seconds} s")
    return 1 if any(result.wrong or not result.tried for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
