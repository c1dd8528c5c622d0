"""A run inside `async with`: what `client.gate.Run` does, awaited instead of waited for."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from failwell.client.answers import Permitted, Ticket, Verdict, read_ticket, read_verdict
from failwell.client.calls import pauses, permitted, result, taken
from failwell.client.stopped import stoppable

if TYPE_CHECKING:
    from failwell.client.gate import Run


class AsyncRun:
    """A run inside `async with`: the same methods, awaited."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.id = run.id

    async def decide(self, tool: str, arguments: dict[str, Any] | None = None, **more: Any) -> Verdict:
        """See `Run.decide`."""
        reason, call_id, ticket, given = taken(arguments, more)
        raw = await asyncio.wrap_future(self._run._propose(tool, given, reason, call_id, "decide", ticket))
        return read_verdict(raw)

    async def permit(
        self, tool: str, arguments: dict[str, Any] | None = None, *, audience: str, **more: Any
    ) -> Permitted:  # fmt: skip
        """See `Run.permit`."""
        reason, call_id, ticket, given = taken(arguments, more)
        asked = self._run._propose(tool, given, reason, call_id, "permit", ticket, audience)
        return permitted(await asyncio.wrap_future(asked))

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **more: Any) -> Any:
        """See `Run.call`. A function that cannot be imported is called (or awaited) in this loop's process.

        Its task is cancelled when the action is to stop (Interrupted); a function that is not async cannot be.
        """
        reason, call_id, ticket, given = taken(arguments, more)
        function = self._run._gate.function(tool)
        if function is not None and self._run._gate.target(tool) is None:
            asked = self._run._propose(tool, given, reason, call_id, "begin", ticket)
            with self._run._begun(await asyncio.wrap_future(asked)) as acting:
                made = function(**given)
                acting.result = await stoppable(acting, made) if asyncio.iscoroutine(made) else made
            return acting.result
        raw = await asyncio.wrap_future(self._run._propose(tool, given, reason, call_id, "execute", ticket))
        return result(self._run._outcome(raw))

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
            found = read_ticket(await asyncio.wrap_future(self._run._gate.wire.ask("ask", about="ticket", key=ticket)))
            if found.state != "open" or (pause_s := next(waits, None)) is None:
                return found
            await asyncio.sleep(pause_s)
