"""Durable decisions in one process: one caller, 64 callers, and how flat appending stays."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bench import probe
from bench.slow_disk import slow_disk
from bench.workspace import Bench, bench

QUIET_MS = 0.4
SECONDS = 3.0


def one_caller(rounds: int = 2000) -> dict[str, Any]:
    """One caller waits for each decision: p50 at most 2x fdatasync p50 + 0.6 ms."""
    with bench() as made:
        sync = probe.fdatasync_ms(made.path)
        took = []
        for number in range(rounds):
            began = time.perf_counter()
            made.writer.submit(made.gate.decide(made.proposal(0, number))).result()
            took.append((time.perf_counter() - began) * 1000)
        sync = sorted(sync + probe.fdatasync_ms(made.path))
    took.sort()
    p50, sync_p50 = probe.quantile(took, 0.5), probe.quantile(sync, 0.5)
    allowed = 2 * sync_p50 + 0.6
    return {
        "p50_ms": p50, "p99_ms": probe.quantile(took, 0.99), "fdatasync_p50_ms": sync_p50,
        "allowed_ms": allowed, "held": p50 <= allowed,
    }  # fmt: skip


async def _callers(made: Bench, callers: int, seconds: float, first: int) -> int:
    done = 0
    end = time.perf_counter() + seconds

    async def call(caller: int) -> None:
        nonlocal done
        number = first + caller * 1_000_000
        while time.perf_counter() < end:
            await made.writer.submit_async(made.gate.decide(made.proposal(caller, number)))
            number += 1
            done += 1

    await asyncio.gather(*(call(caller) for caller in range(callers)))
    return done


def many_callers(callers: int = 64) -> dict[str, Any]:
    """64 callers: at least 6,000 decisions a second on a quiet disk (fdatasync p50 at most 0.4 ms)."""
    with bench(agents=8) as made:
        before = probe.quantile(probe.fdatasync_ms(made.path), 0.5)
        began = time.perf_counter()
        done = asyncio.run(_callers(made, callers, SECONDS, 0))
        rate = done / (time.perf_counter() - began)
        after = probe.quantile(probe.fdatasync_ms(made.path), 0.5)
    quiet = max(before, after) <= QUIET_MS
    return {
        "per_s": rate, "fdatasync_p50_ms": max(before, after), "quiet": quiet, "wanted_per_s": 6000,
        "held": rate >= 6000 if quiet else None,
    }  # fmt: skip


def slow() -> dict[str, Any]:
    """On a disk of 5 ms a sync, 64 callers reach at least 20 times the rate of one."""
    with slow_disk() as disk, bench(agents=8) as made:
        began = time.perf_counter()
        alone = asyncio.run(_callers(made, 1, SECONDS, 900_000_000)) / (time.perf_counter() - began)
        began = time.perf_counter()
        together = asyncio.run(_callers(made, 64, SECONDS, 0)) / (time.perf_counter() - began)
        syncs = disk.syncs
    ratio = together / alone
    return {"one_per_s": alone, "per_s": together, "ratio": ratio, "wanted": 20, "syncs": syncs, "held": ratio >= 20}


def flat(entries: int = 300_000, agents: int = 1000) -> dict[str, Any]:
    """Appending stays within 10 % up to 300,000 entries over 1,000 agents (first against last tenth, CPU included)."""
    with bench(agents=agents) as made:
        step, rates, number = entries // 10, [], 0
        for _ in range(10):
            began = time.perf_counter()
            number = asyncio.run(_flood(made, number, step))
            rates.append(step / (time.perf_counter() - began))
    early, late = probe.median(rates[:3]), probe.median(rates[-3:])
    return {
        "first_per_s": early,
        "last_per_s": late,
        "ratio": late / early,
        "rates": rates,
        "held": late >= 0.9 * early,
    }


async def _flood(made: Bench, first: int, count: int) -> int:
    """`count` decisions, 2,000 in flight."""
    window = 2000
    for begin in range(first, first + count, window):
        jobs = [
            made.writer.submit_async(made.gate.decide(made.proposal(number, number)))
            for number in range(begin, min(begin + window, first + count))
        ]
        await asyncio.gather(*jobs)
    return first + count
