"""Functions that stay in this process (`cooperative`): run, awaited or streamed here, asked to stop between results.

What they give is kept for the record as it is given, up to a bound. A function that is not async, and gives nothing on
its way, cannot be stopped here; `client.stopped` has what is said of that.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any

from failwell.client.answers import Outcome
from failwell.client.stopped import Acting, stoppable
from failwell.core.errors import InputError

#: What of a stream's results is kept for its record; no settings keep more of a caller's.
KEPT_BYTES = 1024 * 1024
BETWEEN = "asked to stop, and it gave no more"
_END = object()

Function = Callable[..., Any]


class Kept:
    """The results of a generator as its record has them: a JSON array, one a line, cut once it is long enough."""

    def __init__(self) -> None:
        self.count = 0
        self._lines: list[str] = []
        self._size = 0

    def add(self, item: Any) -> None:
        """One more. What has no JSON is kept as its text."""
        self.count += 1
        if self._size <= KEPT_BYTES:
            self._lines.append(json.dumps(item, default=str))
            self._size += len(self._lines[-1].encode()) + 2

    def text(self) -> str:
        """All of it, or so much that whoever records it sees that it is cut."""
        lines = "\n,".join(self._lines)
        return f"\t[\n{lines}\n]" if self._size <= KEPT_BYTES else f"\t[\n{lines}\n"


def run_here(acting: Acting, function: Function, arguments: dict[str, Any]) -> Any:
    """Call it; what it has to be awaited for is, in a loop of its own; what it gives one by one is listed."""
    made = function(**arguments)
    if inspect.isgenerator(made):
        acting.result = kept = Kept()
        return list(_given(acting, kept, made))
    if inspect.iscoroutine(made) or inspect.isasyncgen(made):
        return _in_own_loop(acting, made)
    return made


def _in_own_loop(acting: Acting, made: Any) -> Any:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(await_here(acting, made))
    if inspect.iscoroutine(made):
        made.close()
    raise InputError(
        "an async function cannot be awaited by a call that is not",
        hint="async with gate.run(...) as run: await run.call(...)",
    )


async def await_here(acting: Acting, made: Any) -> Any:
    """What an async function, an async generator or one of the others gives."""
    if inspect.isasyncgen(made):
        acting.result = kept = Kept()
        return [item async for item in _given_async(acting, kept, made)]
    if inspect.isgenerator(made):
        acting.result = kept = Kept()
        return list(_given(acting, kept, made))
    return await stoppable(acting, made) if inspect.iscoroutine(made) else made


def _given(acting: Acting, kept: Kept, made: Any) -> Generator[Any, None, None]:
    """What a generator gives, until it is to stop."""
    try:
        for item in made:
            if acting.interrupted:
                raise acting.stopped(kept.count, BETWEEN)
            kept.add(item)
            yield item
        if acting.interrupted:
            raise acting.stopped(kept.count, BETWEEN)
    finally:
        made.close()


async def _given_async(acting: Acting, kept: Kept, made: Any) -> AsyncGenerator[Any, None]:
    async def step() -> Any:
        return await anext(made, _END)

    try:
        while (item := await stoppable(acting, step(), kept.count)) is not _END:
            kept.add(item)
            yield item
    finally:
        await made.aclose()


def given_here(acting: Acting, function: Function, arguments: dict[str, Any]) -> Iterator[Any]:
    """The results of a function, each as it gives it; one that gives one result gives that."""
    made = function(**arguments)
    acting.result = kept = Kept()
    if inspect.isgenerator(made):
        yield from _given(acting, kept, made)
    else:
        acting.result = _in_own_loop(acting, made) if inspect.iscoroutine(made) else made
        yield acting.result


async def given_here_async(
    acting: Acting, function: Function, arguments: dict[str, Any]
) -> AsyncGenerator[Any, None]:  # fmt: skip
    """The same, awaited."""
    made = function(**arguments)
    acting.result = kept = Kept()
    if inspect.isasyncgen(made):
        async with contextlib.aclosing(_given_async(acting, kept, made)) as items:
            async for item in items:
                yield item
    elif inspect.isgenerator(made):
        with contextlib.closing(_given(acting, kept, made)) as results:
            for item in results:
                yield item
    else:
        acting.result = await await_here(acting, made)
        yield acting.result


def ended_here(acting: Acting, given: int) -> Outcome:
    """How a stream of this process ended well."""
    return Outcome(
        state="completed", result=None, entry=acting.settled, verdict=acting.verdict, given=given
    )  # fmt: skip
