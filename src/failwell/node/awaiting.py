"""What threads do, as the loop awaits it without being woken for each: what ends on the loop is told there at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that this thread runs just now; None where it runs none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def told_here(future: Future[T]) -> asyncio.Future[T]:
    """The same end, awaited on the loop. Whoever gives up waiting ends nothing by that."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[T] = loop.create_future()

    def tell() -> None:
        if told.done():
            return
        error = future.exception()
        if error is None:
            told.set_result(future.result())
        else:
            told.set_exception(error)

    def ended(_: Future[T]) -> None:
        if running_loop() is loop:
            tell()
        elif not loop.is_closed():
            loop.call_soon_threadsafe(tell)

    future.add_done_callback(ended)
    return told
