"""How fast both verifiers read a ledger of decisions and outcomes: `ledger verify`, and the one that stands alone.

`verify.pyz` is written and run as a stranger would run it (`-I -S`: no library in reach), one process, on a closed
workspace; its own figure counts everything from opening the file to the last step. Beside it stands what this machine
can do with the same entries and nothing but Python's JSON and SHA-256, measured before and after, and what the
verifier does in a second of processor time, which neighbours on the machine disturb less.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench import probe
from bench.workspace import Bench, bench
from failwell.gate import outcomes
from failwell.offline import archive

ENTRIES = 60_000
RUNS = 5


def full() -> dict[str, Any]:
    """Every step that can be taken alone: at least 40,000 entries/s."""
    return _measured([], 40_000)


def hash_only() -> dict[str, Any]:
    """Leaves, tree and signed head only: at least 300,000 entries/s."""
    return _measured(["--hash-only"], 300_000)


def whole() -> dict[str, Any]:
    """`ledger verify`: bytes, sequence, tree and head at least 100,000 entries/s; with everything else beside it."""
    with bench(agents=8) as made:
        asyncio.run(_fill(made))
        made.writer.close()
        command = [sys.executable, "-m", "failwell", "ledger", "verify", "--json"]
        told = []
        for _ in range(RUNS):
            where = ["--workspace", str(made.path / "workspace")]
            done = subprocess.run([*command, *where], capture_output=True, check=True)
            told.append(json.loads(done.stdout))
    core, full = (
        [each["timing"][part]["entries_per_second"] for each in told] for part in ("core", "full")
    )  # fmt: skip
    return {
        "core_per_s": max(core), "median_core_per_s": probe.median(core), "full_per_s": max(full),
        "entries": told[0]["entries"], "wanted_core_per_s": 100_000, "held": max(core) >= 100_000,
    }  # fmt: skip


def _measured(mode: list[str], wanted: int) -> dict[str, Any]:
    with bench(agents=8) as made:
        asyncio.run(_fill(made))
        made.writer.close()
        pyz, ledger = made.path / "verify.pyz", made.path / "workspace" / "ledger.db"
        pyz.write_bytes(archive.build())
        floors, told = [_floor(ledger)], []
        for _ in range(RUNS):
            told.append(_run(pyz, made.path / "workspace", mode))
        floors.append(_floor(ledger))
    by_clock, by_cpu = ([each["entries"] * 1000 / each[unit] for each in told] for unit in ("elapsed_ms", "cpu_ms"))
    return {
        "per_s": max(by_clock), "median_per_s": probe.median(by_clock), "per_cpu_s": max(by_cpu),
        "json_and_sha256_per_s": max(floors), "entries": told[0]["entries"], "wanted_per_s": wanted,
        "held": max(by_clock) >= wanted,
    }  # fmt: skip


async def _fill(made: Bench) -> None:
    """Decisions, each with its outcome, 500 in flight."""

    async def action(number: int) -> None:
        verdict = await made.writer.submit_async(made.gate.decide(made.proposal(number, number)))
        settlement = outcomes.Settlement(
            decision=verdict.entry, state="completed", by="supervisor", exit_code=0, result=b'{"ok":true}',
            elapsed_us=1200,
        )  # fmt: skip
        if verdict.verdict == "ALLOW":
            await made.writer.submit_async(outcomes.settle(settlement))

    for begin in range(0, ENTRIES // 2, 500):
        await asyncio.gather(*(action(begin + each) for each in range(500)))


def _run(pyz: Path, workspace: Path, mode: list[str]) -> dict[str, Any]:
    command = [str(Path(sys.executable).resolve()), "-I", "-S", str(pyz), str(workspace), "--json", *mode]
    done = subprocess.run(command, capture_output=True, check=True, env={}, cwd="/")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _floor(ledger: Path) -> float:
    """Entries a second that are only parsed, written again with sorted keys, and hashed."""
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as connection:
        texts = [data for (data,) in connection.execute("SELECT data FROM entry LIMIT 20000")]
    connection.close()
    began = time.perf_counter()
    for data in texts:
        json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        sha256(data).digest()
    return len(texts) / (time.perf_counter() - began)
