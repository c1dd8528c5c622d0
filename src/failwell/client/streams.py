"""The results of one call as they come, in order and each once: from a node, or from a generator of this process.

What is given on the way is the beginning of what the record will hold, and the end says how all of it came out: one
that was cut short never ends as if it were whole. Leaving it early stops the tool. What it does NOT do: hold a tool
back. One that writes faster than it is read goes on; what waits here is bounded by what is kept of its output.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from failwell.client.answers import Outcome, ToolFailed
from failwell.client.calls import read_outcome, read_output, result, whole
from failwell.client.wire import THREAD as WIRE_THREAD

#: How long whoever leaves a stream early waits until its tool is stopped.
STOPPED_S = 10.0
LEFT = "its consumer left before its end"
#: The first line of what our function process writes for a generator: JSON all the same, and no tool's by chance.
OPENED = b"\t["


class Lines:
    """Cuts output into results: each line is one, a JSON value or else its text.

    What a generator gave comes as one JSON array, an element a line: each of them is one result, and a line that begins
    with a tab is none (`execute.function`).
    """

    def __init__(self) -> None:
        self._part = bytearray()
        self._array: bool | None = None
        self._closed = False

    def feed(self, data: bytes) -> list[Any]:
        """The results that are whole now."""
        self._part += data
        *lines, rest = self._part.split(b"\n")
        self._part = bytearray(rest)
        return [found for line in lines for found in self._result(bytes(line))]

    def rest(self) -> list[Any]:
        """What stands behind the last line's end."""
        rest, self._part = bytes(self._part), bytearray()
        return self._result(rest) if rest else []

    @property
    def unfinished(self) -> bool:
        """Whether a generator's results are told whose last line is missing."""
        return self._array is True and not self._closed

    def _result(self, line: bytes) -> list[Any]:
        if self._array is None:
            self._array = line == OPENED
            if self._array:
                return []
        if not self._array:
            return [read_output(line)]
        self._closed = self._closed or line == b"]"
        return [] if line.startswith((b"\t", b"]")) else [read_output(line.removeprefix(b","))]


class Feed:
    """What a node tells of one call: written to by the connection's thread, read by whoever streams."""

    def __init__(self, stop: Callable[[str], None]) -> None:
        """`stop` asks the node to stop the call, and does not wait."""
        self._stop = stop
        self._changed = threading.Condition()
        self._parts: deque[bytes] = deque()
        self._told, self._seen = 0, hashlib.sha256()
        self._lines = Lines()
        self.answer: Future[Any] = Future()
        self.wake: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Feed:
        """One whose answer is here already."""
        made = cls(lambda _: None)
        made.answer.set_result(raw)
        return made

    def ask(self, answer: Future[Any]) -> None:
        """What the node answers in the end."""
        self.answer = answer
        answer.add_done_callback(lambda _: self._tell())

    def add(self, message: dict[str, Any]) -> None:
        """The next part of the output."""
        part = base64.b64decode(message["data"])
        self._told += len(part)
        self._seen.update(part)
        self._parts.append(part)
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
        self.wake()

    def wait(self) -> None:
        """Until there is more, or the answer is here."""
        with self._changed:
            self._changed.wait_for(lambda: self._parts or self.answer.done())

    def take(self) -> list[Any]:
        """The results that have come whole since."""
        found: list[Any] = []
        while self._parts:
            found += self._lines.feed(self._parts.popleft())
        return found

    @property
    def more(self) -> bool:
        """Whether something waits to be taken, or the answer is not here yet."""
        return bool(self._parts) or not self.answer.done()

    def last(self, outcome: Outcome, output: bytes) -> list[Any]:
        """What the answer has beyond what was told. `output` is all of it.

        A line that the tool did not come to the end of is no result, unless it came to its own end there.
        """
        if hashlib.sha256(output[: self._told]).digest() != self._seen.digest():
            return []  # the record lacks what was lost on its way to it
        found = self._lines.feed(output[self._told :])
        return found + self._lines.rest() if outcome.state == "completed" and not outcome.truncated else found

    @property
    def unfinished(self) -> bool:
        """Whether the tool ended in the midst of its results, however well it says that it did."""
        return self._lines.unfinished

    def stop(self) -> None:
        """Have the node stop the tool, where it has not ended yet."""
        if not self.answer.done():
            self._stop(LEFT)

    def leave(self) -> None:
        """The same, and wait for that, bounded."""
        self.stop()
        if threading.current_thread().name != WIRE_THREAD:  # which brings the answer
            with contextlib.suppress(Exception):
                self.answer.result(STOPPED_S)


class Story:
    """How far a stream is, and how it ended. Whoever gives the results keeps this, and never the stream itself.

    A stream that its loop has dropped must be gone at once, and its tool with it, not when somebody collects circles.
    """

    def __init__(self) -> None:
        self.given = 0
        self.outcome: Outcome | None = None


class Stream(Iterator[Any]):
    """The results of one call, for a `for` loop.

    Denied, Escalated, Interrupted and whatever else `call` raises comes out of the loop, when it is known. A tool whose
    loop is left early is stopped; `close`, or a `with` block, leaves it.
    """

    def __init__(self, source: Callable[[Story], Generator[Any, None, None]]) -> None:
        self._story = Story()
        self._source = source(self._story)

    @property
    def outcome(self) -> Outcome | None:
        """What came of it, once it has ended."""
        return self._story.outcome

    @property
    def given(self) -> int:
        """How many results were given so far."""
        return self._story.given

    def __next__(self) -> Any:
        found = next(self._source)
        self._story.given += 1
        return found

    def close(self) -> None:
        """Leave it: what runs of it is stopped. Nothing where it has ended."""
        self._source.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncStream(AsyncIterator[Any]):
    """The same for `async for` and `async with`."""

    def __init__(self, source: Callable[[Story], AsyncGenerator[Any, None]]) -> None:
        self._story = Story()
        self._source = source(self._story)

    @property
    def outcome(self) -> Outcome | None:
        """See `Stream.outcome`."""
        return self._story.outcome

    @property
    def given(self) -> int:
        """See `Stream.given`."""
        return self._story.given

    async def __anext__(self) -> Any:
        found = await anext(self._source)
        self._story.given += 1
        return found

    async def aclose(self) -> None:
        """See `Stream.close`."""
        await self._source.aclose()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def ended(story: Story, outcome: Outcome, *, unfinished: bool) -> None:
    """All was given: tell how it ended, and raise what a stream that is not whole must not end without."""
    story.outcome = outcome = replace(outcome, given=story.given)
    result(outcome)
    whole(outcome)
    if unfinished:
        raise ToolFailed(replace(outcome, why="its process ended in the midst of its results"))


def told(story: Story, feed: Feed, heard: Callable[[], dict[str, Any]]) -> Generator[Any, None, None]:
    """What a node tells of one call. `heard` gives its answer."""
    try:
        while feed.more:
            feed.wait()
            yield from feed.take()
        outcome, output = _answered(heard())
        yield from feed.last(outcome, output)
    except BaseException:
        feed.leave()
        raise
    ended(story, outcome, unfinished=feed.unfinished)


async def told_async(
    story: Story, feed: Feed, heard: Callable[[], dict[str, Any]]
) -> AsyncGenerator[Any, None]:  # fmt: skip
    """The same for a loop that has other work to do meanwhile."""
    loop, woken = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(woken.set)

    feed.wake = wake
    try:
        while feed.more:
            for found in feed.take():
                yield found
            if feed.more:
                await woken.wait()
                woken.clear()
        outcome, output = _answered(heard())
        for found in feed.last(outcome, output):
            yield found
    except BaseException:
        feed.stop()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(feed.answer)), STOPPED_S)
        raise
    ended(story, outcome, unfinished=feed.unfinished)


def _answered(raw: dict[str, Any]) -> tuple[Outcome, bytes]:
    outcome = read_outcome(raw)
    return outcome, base64.b64decode(raw["result"]["output"])
