"""A run inside `async with`: what `client.run.Run` does, awaited instead of waited for.

A call whose task is cancelled has what the node runs for it stopped.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from failwell.client.answers import Permitted, Ticket, Verdict, read_ticket, read_verdict
from failwell.client.calls import Call, call_of, earlier, pauses, permitted, read_outcome, result
from failwell.client.here import await_here, ended_here, given_here_async
from failwell.client.stopped import Acting
from failwell.client.streams import AsyncStream, Feed, Story, told_async
from failwell.core.errors import Unreachable

if TYPE_CHECKING:
    from failwell.client.run import Run


class AsyncRun:
    """A run inside `async with`: the same methods, awaited."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.id = run.id

    async def decide(
        self, tool: str, arguments: dict[str, Any] | None = None, *, reason: str | None = None,
        call_id: str | None = None, ticket: int | str | None = None, **more: Any,
    ) -> Verdict:  # fmt: skip
        """See `Run.decide`."""
        call = call_of(tool, arguments, more, reason=reason, call_id=call_id, ticket=ticket)
        return read_verdict(await heard(self._run, call, self._run.ask(call, "decide")))

    async def permit(
        self, tool: str, arguments: dict[str, Any] | None = None, *, audience: str, reason: str | None = None,
        call_id: str | None = None, ticket: int | str | None = None, **more: Any,
    ) -> Permitted:  # fmt: skip
        """See `Run.permit`."""
        call = call_of(tool, arguments, more, reason=reason, call_id=call_id, ticket=ticket)
        return permitted(await heard(self._run, call, self._run.ask(call, "permit", audience=audience)))

    async def call(
        self, tool: str, arguments: dict[str, Any] | None = None, *, reason: str | None = None,
        call_id: str | None = None, ticket: int | str | None = None, **more: Any,
    ) -> Any:  # fmt: skip
        """See `Run.call`. A function that cannot be imported is called (or awaited) in this loop's process.

        Its task is cancelled when the action is to stop (Interrupted); a function that is not async cannot be.
        """
        call = call_of(tool, arguments, more, reason=reason, call_id=call_id, ticket=ticket)
        return await called_async(self._run, call)

    def stream(
        self, tool: str, arguments: dict[str, Any] | None = None, *, reason: str | None = None,
        call_id: str | None = None, ticket: int | str | None = None, **more: Any,
    ) -> AsyncStream:  # fmt: skip
        """See `Run.stream`: for `async for`."""
        call = call_of(tool, arguments, more, reason=reason, call_id=call_id, ticket=ticket)
        return self._run._streamed_async(call)

    @asynccontextmanager
    async def acting(
        self, tool: str, arguments: dict[str, Any] | None = None, *, reason: str | None = None,
        call_id: str | None = None, ticket: int | str | None = None, **more: Any,
    ) -> AsyncIterator[Acting]:  # fmt: skip
        """See `Run.acting`. Poll `interrupted`: the block's task is not cancelled."""
        call = call_of(tool, arguments, more, reason=reason, call_id=call_id, ticket=ticket)
        with self._run.begun(await heard(self._run, call, self._run.ask(call, "begin"))) as acting:
            yield acting

    async def hand_over(self, agent: str, **works_with: str | None) -> int:
        """See `Run.hand_over`."""
        return await asyncio.to_thread(functools.partial(self._run.hand_over, agent, **works_with))

    async def explain(self, entry: int, reason: str) -> int:
        """See `Run.explain`."""
        return await asyncio.to_thread(self._run.explain, entry, reason)

    async def wait(self, ticket: int | str, timeout_s: float | None = None) -> Ticket:
        """See `Run.wait`."""
        waits = pauses(timeout_s)
        while True:
            found = read_ticket(await asyncio.wrap_future(self._run.gate.wire.ask("ask", about="ticket", key=ticket)))
            if found.state != "open" or (pause_s := next(waits, None)) is None:
                return found
            await asyncio.sleep(pause_s)


async def heard(run: Run, call: Call, asked: Future[Any]) -> dict[str, Any]:
    """See `Run.hear`."""
    answered = asyncio.wrap_future(asked)
    try:
        answer: dict[str, Any] = await asyncio.shield(answered)
    except Unreachable as error:
        raise run.unsettled(call, error) from error
    except asyncio.CancelledError:
        answered.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody waits for it any more
        run.leave(call, asked, "the task that waited for it was cancelled")
        raise
    return answer


async def called_async(run: Run, call: Call, function: Callable[..., Any] | None = None) -> Any:
    """See `Run.call`."""
    if not run.gate.stays(call.tool):
        return result(read_outcome(await heard(run, call, run.ask(call, "execute"))))
    runs = function or run.gate.unbound(call.tool)
    raw = await heard(run, call, run.ask(call, "begin"))
    if (before := earlier(raw)) is not None:
        return result(before)
    with run.begun(raw) as acting:
        made = runs(**call.arguments)
        acting.result = given = await await_here(acting, made)
    return given


async def streamed_async(
    story: Story, run: Run, call: Call, function: Callable[..., Any] | None
) -> AsyncGenerator[Any, None]:  # fmt: skip
    """See `Run.stream`."""
    if not run.gate.stays(call.tool):
        with run.feed(call) as feed:
            async with aclosing(told_async(story, feed, lambda: run.hear(call, feed.answer, story.given))) as items:
                async for item in items:
                    yield item
        return
    runs = function or run.gate.unbound(call.tool)
    raw = await heard(run, call, run.ask(call, "begin"))
    if earlier(raw) is not None:
        async with aclosing(told_async(story, Feed.of(raw), lambda: raw)) as items:
            async for item in items:
                yield item
        return
    run.own_streams += 1
    try:
        with run.begun(raw) as acting:
            async with aclosing(given_here_async(acting, runs, call.arguments)) as items:
                async for item in items:
                    yield item
    finally:
        run.own_streams -= 1
    story.outcome = ended_here(acting, story.given)
