"""One run: `call` executes, `stream` gives results as they come, `decide` only asks.

Whatever goes out has a call id, and comes back as what the record has of it: made again under the same id, a call runs
nothing that may have run. What this does NOT do: judge, or run anything that the node did not let begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from failwell.client.answers import Permitted, Ticket, Unsettled, Verdict, read_verdict
from failwell.client.awaited import AsyncRun, called_async, streamed_async
from failwell.client.calls import Call, call_of, earlier, pauses, permitted, read_outcome, result, runnable
from failwell.client.declared import declared
from failwell.client.here import Kept, ended_here, given_here, run_here
from failwell.client.stopped import Acting
from failwell.client.streams import LEFT, STOPPED_S, AsyncStream, Feed, Story, Stream, told
from failwell.core.errors import FailwellError as Error
from failwell.core.errors import InputError, Refused, Unreachable

if TYPE_CHECKING:
    from failwell.client.gate import Gate

#: The run that a decorated function is called in: that of this thread's, or this task's, innermost block.
CURRENT: contextvars.ContextVar[Run | None] = contextvars.ContextVar("failwell_run", default=None)


def current(tool: str) -> Run:
    """The run that a call of `tool` belongs to; Refused outside of one."""
    run = CURRENT.get()
    if run is None:
        raise Refused(
            f"{tool} was called outside a run",
            hint="with gate.run(agent=...) as run: ... A new thread is outside: give it the run, and run.call(...).",
        )
    return run


class Run:
    """One task. `call` executes, `decide` only asks; both say who decided and why."""

    def __init__(
        self, gate: Gate, agent: str, opening: dict[str, Any], host: str | None, resume: int | None
    ) -> None:  # fmt: skip
        self.gate = gate
        self._agent = agent
        self._opening = opening
        self._host = host
        self.id: int | None = resume
        self._stands = "not open"
        self._token: contextvars.Token[Run | None] | None = None
        #: Streams that have not ended.
        self._feeds: set[Feed] = set()
        self.own_streams = 0
        #: Calls that nobody waits for any more, and that have not ended.
        self._left: set[Future[Any]] = set()

    # -- opening and closing -----------------------------------------------------------------------------------

    def __enter__(self) -> Run:
        self._open()
        self._token = CURRENT.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        self._let_go()
        self._close(kind)

    async def __aenter__(self) -> AsyncRun:
        await asyncio.to_thread(self._open)
        self._token = CURRENT.set(self)
        return AsyncRun(self)

    async def __aexit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        self._let_go()
        for _pause in range(100):  # streams that were left early close themselves, in tasks of this loop
            if not self.own_streams:
                break
            await asyncio.sleep(0.01)
        await asyncio.to_thread(self._close, kind)

    def _open(self) -> None:
        if self._stands != "not open":
            raise Refused(f"this run is {self._stands}", hint="Each block has a run of its own: gate.run(agent=...)")
        self._agent = self.gate.prove("agent", self._agent)
        if self._host is not None:
            self.gate.prove("host", self._host)
        if self.id is None:
            self.id = self.gate.wire.call("run.open", agent=self._agent, **self._opening)
        self._stands = "open"

    def _let_go(self) -> None:
        if self._token is not None:
            with contextlib.suppress(ValueError):  # left in another task than it was entered in
                CURRENT.reset(self._token)
        self._token = None

    def _close(self, kind: type[BaseException] | None) -> None:
        self._stands = "closed"
        for feed in list(self._feeds):
            feed.leave()
        wait(list(self._left), STOPPED_S)
        # What went wrong inside is what the caller must hear of, not that its actions are still under way.
        with contextlib.nullcontext() if kind is None else contextlib.suppress(Error):
            if self.id is not None:
                self.gate.wire.call("run.close", agent=self._agent, run=self.id)

    def hand_over(self, agent: str, **works_with: str | None) -> int:
        """Open a run of another agent under this one, for its own process to go on with (`resume`); its number.

        `works_with`: model, prompt and tool_schemas, as in `Gate.run`.
        """
        agents = self.gate.wire.call("ask", about="agents", key=None)
        # Who may not see the other one's row names it within its own place.
        beside = agent if "/" in agent else f"{self._agent.rpartition('/')[0]}/{agent}"
        full = next((known for known, row in agents.items() if row["name"] == agent), beside)
        opening: dict[str, Any] = {"agent": full, "parent": self.id, **declared(**works_with)}
        return int(self.gate.wire.call("run.open", **opening))

    def explain(self, entry: int, reason: str) -> int:
        """Say afterwards why the agent did what was decided at `entry`; recorded as given in hindsight."""
        return int(self.gate.wire.call("explain", agent=self._agent, action=entry, reason=reason))

    # -- acting ------------------------------------------------------------------------------------------------

    def decide(
        self, tool: str, arguments: dict[str, Any] | None = None, *, reason: str | None = None,
        call_id: str | None = None, ticket: int | str | None = None, **more: Any,
    ) -> Verdict:  # fmt: skip
        """The verdict on an action, on record, without executing it. `ticket`: the approved one that it rests on.

        An ALLOW is leave to act that nobody here can stop or see used: what it takes of limits, and its ticket, are not
        given back, and a stop of the agent is on record as unconfirmed for it. `call` and `acting` do better.
        """
        call = call_of(tool, arguments, more, reason=reason, call_id=call_id, ticket=ticket)
        return read_verdict(self.hear(call, self.ask(call, "decide")))

    def call(
        self, tool: str, arguments: dict[str, Any] | None = None, *, reason: str | None = None,
        call_id: str | None = None, ticket: int | str | None = None, **more: Any,
    ) -> Any:  # fmt: skip
        """Execute an action and return the tool's result.

        Raises Denied or Escalated when it does not run, Interrupted when it was stopped, ToolFailed when the tool
        fails. An escalated action is called again, with `ticket`, once a person has approved it (`wait`). A call that
        was made before under `call_id` runs nothing: it gives, or raises, what came of it then.
        """
        return self._called(call_of(tool, arguments, more, reason=reason, call_id=call_id, ticket=ticket))

    def _called(self, call: Call, function: Callable[..., Any] | None = None) -> Any:
        """`function`: what is to run, where that is not the one registered for the tool."""
        if not self.gate.stays(call.tool):
            return result(read_outcome(self.hear(call, self.ask(call, "execute"))))
        runs = function or self.gate.unbound(call.tool)
        raw = self.hear(call, self.ask(call, "begin"))
        if (before := earlier(raw)) is not None:
            return result(before)
        with self.begun(raw) as acting:
            acting.result = given = run_here(acting, runs, call.arguments)
        return given

    async def _called_async(self, call: Call, function: Callable[..., Any] | None = None) -> Any:
        return await called_async(self, call, function)

    def stream(
        self, tool: str, arguments: dict[str, Any] | None = None, *, reason: str | None = None,
        call_id: str | None = None, ticket: int | str | None = None, **more: Any,
    ) -> Stream:  # fmt: skip
        """Execute an action and give its results while it runs: what a generator yields, or the lines of a command.

        Raises, from the loop over it, what `call` raises. A loop that is left early has the tool stopped. What a tool
        that holds a secret says comes when it has ended.
        """
        return self._streamed(call_of(tool, arguments, more, reason=reason, call_id=call_id, ticket=ticket))

    def _streamed(self, call: Call, function: Callable[..., Any] | None = None) -> Stream:
        return Stream(lambda story: self._results(story, call, function))

    def _streamed_async(self, call: Call, function: Callable[..., Any] | None = None) -> AsyncStream:
        return AsyncStream(lambda story: streamed_async(story, self, call, function))

    def _results(
        self, story: Story, call: Call, function: Callable[..., Any] | None
    ) -> Generator[Any, None, None]:  # fmt: skip
        if not self.gate.stays(call.tool):
            with self.feed(call) as feed:
                yield from told(story, feed, lambda: self.hear(call, feed.answer, story.given))
            return
        runs = function or self.gate.unbound(call.tool)
        raw = self.hear(call, self.ask(call, "begin"))
        if earlier(raw) is not None:
            yield from told(story, Feed.of(raw), lambda: raw)
            return
        with self.begun(raw) as acting:
            yield from given_here(acting, runs, call.arguments)
        story.outcome = ended_here(acting, story.given)

    def permit(
        self, tool: str, arguments: dict[str, Any] | None = None, *, audience: str, reason: str | None = None,
        call_id: str | None = None, ticket: int | str | None = None, **more: Any,
    ) -> Permitted:  # fmt: skip
        """A permit for one call of the server `audience`, which runs the tool: its `token` goes along with the call.

        Raises Denied or Escalated where there is none. It is good once, for these arguments, for seconds. As with
        `decide` nobody here sees or stops what is done with it.
        """
        call = call_of(tool, arguments, more, reason=reason, call_id=call_id, ticket=ticket)
        return permitted(self.hear(call, self.ask(call, "permit", audience=audience)))

    def wait(self, ticket: int | str, timeout_s: float | None = None) -> Ticket:
        """How a ticket stands once somebody has answered it or its time is over; after `timeout_s`, as it stands then.

        It asks the node now and then. An action that waits for hours is better told to come back later.
        """
        waits = pauses(timeout_s)
        found: Ticket
        while (found := self.gate.ticket(ticket)).state == "open" and (pause_s := next(waits, None)) is not None:
            time.sleep(pause_s)
        return found

    @contextmanager
    def acting(
        self, tool: str, arguments: dict[str, Any] | None = None, *, reason: str | None = None,
        call_id: str | None = None, ticket: int | str | None = None, **more: Any,
    ) -> Iterator[Acting]:  # fmt: skip
        """Execute an allowed action in this `with` block (cooperative). Set `result` on what it gives.

        Repeated where this call was made before: its `outcome` says what came of it, and the block does not run.
        """
        call = call_of(tool, arguments, more, reason=reason, call_id=call_id, ticket=ticket)
        with self.begun(self.hear(call, self.ask(call, "begin"))) as acting:
            yield acting

    @contextmanager
    def begun(self, raw: dict[str, Any]) -> Iterator[Acting]:
        """The action that the node let this process begin; its end is told, whatever it is."""
        acting = Acting(runnable(raw))
        action = acting.verdict.entry
        self.gate.acting[action] = acting
        state, why = "failed", None
        try:
            yield acting
            state = "completed"
        except GeneratorExit:
            state, why = "interrupted", LEFT
            raise
        except BaseException as error:
            why = f"{type(error).__name__}: {error}"[:300]
            raise
        finally:
            self.gate.acting.pop(action, None)
            self._settle(acting, acting.end(state), why)

    def _settle(self, acting: Acting, state: str, why: str | None) -> None:
        given = acting.result
        text = None if given is None else given.text() if isinstance(given, Kept) else json.dumps(given, default=str)
        action = acting.verdict.entry
        try:
            acting.settled = self.gate.wire.call(
                "settle", agent=self._agent, action=action, state=state, result=text, why=why
            )
        except Refused as error:
            if not acting.interrupted or error.code != "not-open":
                raise
            raise acting.stopped() from None  # it took longer than its grace: its stop is on record as unconfirmed

    # -- what goes out -----------------------------------------------------------------------------------------

    def ask(self, call: Call, how: str, *, audience: str | None = None, progress: bool = False) -> Future[Any]:
        """Propose an action. What is raised here was not asked; what the future raises may have been carried out."""
        if self._stands != "open":
            raise Refused(
                f"this run is {self._stands}: nothing was asked",
                hint="with gate.run(agent=...) as run: ...",
                code="not-open",
            )
        text = call.text()
        self.gate.keep(self._agent)
        target = self.gate.target(call.tool) if how == "execute" else None
        return self.gate.wire.ask(
            "act", agent=self._agent, run=self.id, call=call.id, tool=call.tool, arguments=text, reason=call.reason,
            how=how, target=target, ticket=None if call.ticket is None else int(call.ticket), audience=audience,
            progress=progress,
        )  # fmt: skip

    def hear(self, call: Call, asked: Future[Any], given: int = 0) -> dict[str, Any]:
        """The node's answer; Unsettled where it went away before it gave one. `given`: results that came before it."""
        try:
            answer: dict[str, Any] = asked.result()
        except Unreachable as error:
            raise self.unsettled(call, error, given) from error
        except KeyboardInterrupt:
            self.leave(call, asked, "its caller was interrupted")
            raise
        return answer

    def unsettled(self, call: Call, error: Unreachable, given: int = 0) -> Unsettled:
        return Unsettled(call.tool, call.id, self.id, error.message, given)

    def leave(self, call: Call, asked: Future[Any], why: str) -> None:
        """Nobody waits for a call any more: it is stopped, and the run is not left before that is over."""
        self._left.add(asked)
        asked.add_done_callback(self._left.discard)
        self.cancel(call, why)

    def cancel(self, call: Call, why: str) -> None:
        """Have the node stop what runs of a call; not awaited, and nothing where the node is gone."""
        with contextlib.suppress(Error):
            self.gate.wire.ask("cancel", agent=self._agent, run=self.id, call=call.id, why=why)

    @contextmanager
    def feed(self, call: Call) -> Iterator[Feed]:
        """What the node tells of a call that it runs, from the moment that it is asked."""
        named = self.id, call.id
        if named in self.gate.feeds:
            raise InputError(f"call {call.id} is being streamed already", hint="Leave call_id out for a new action.")
        made = Feed(lambda why: self.cancel(call, why))
        self.gate.feeds[named] = made
        self._feeds.add(made)
        try:
            made.ask(self.ask(call, "execute", progress=True))
            yield made
        finally:
            self.gate.feeds.pop(named, None)
            self._feeds.discard(made)
