"""Functions that give their results one by one, importable by the process that a supervised tool is."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any


def count(customer: str, millis: int = 0, amount: str = "3") -> Iterator[Any]:
    """As many results as `amount` says, `millis` apart; what it prints is none of them."""
    for number in range(int(float(amount))):
        print("not a result")
        yield {"customer": customer, "number": number}
        time.sleep(millis / 1000)


async def count_async(customer: str, millis: int = 0, amount: str = "3") -> AsyncIterator[Any]:
    """The same, async."""
    for number in range(int(float(amount))):
        yield {"customer": customer, "number": number}
        await asyncio.sleep(millis / 1000)


def fail_midway(customer: str, millis: int = 0) -> Iterator[Any]:
    """Two results, and an error."""
    yield 1
    yield 2
    raise RuntimeError("the printer is on fire")


def vanish_midway(customer: str, millis: int = 0) -> Iterator[Any]:
    """Two results, and an end that says that all is well."""
    yield 1
    yield 2
    time.sleep(0.1)
    os._exit(0)


def flood(customer: str, millis: int = 0) -> Iterator[str]:
    """More than any node keeps."""
    for _ in range(200):
        yield "x" * 10_000


def dribble(customer: str, millis: int = 0) -> Iterator[int]:
    """As many small ones as fit into the time."""
    yield from range(20_000)
