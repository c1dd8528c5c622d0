"""Calls of tool servers as launches: started, stopped, timed and ended like any tool (`ports.executor.Executor`).

A launch with a `session` becomes one request to the server of that session, and its end is an `Ended` like any other,
so that whoever runs, fences, records and recovers actions need not know which they are. A call is stopped by killing
the whole of its server: every other call that it was asked for ends with it, and is told so. INVARIANT: no end claims
more of a call than is proven of its server; what a server answers after it was told to stop confirms nothing.
It starts no server by itself and decides nothing about permission.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from failwell.core.errors import Refused
from failwell.execute.processes import boottime_us
from failwell.node.awaiting import running_loop
from failwell.node.timers import Timers
from failwell.node.upstreams.server import CALL, METHODS, Call, Server
from failwell.ports.executor import Ended, Executor, Launch, Process, SelfTest

if TYPE_CHECKING:
    import asyncio

    from failwell.node.upstreams.speaking import Answer, Progress

ORDERED, DEADLINE = "ordered", "deadline"
#: How long a server whose word has ended may take to end by itself, so that how it ended is known.
LAST_WORDS_S = 0.3


class SessionsExecutor:
    """Wraps the executor that runs processes; thread-safe."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self._servers: dict[tuple[str, str], Server] = {}
        self._calls: dict[int, Call] = {}
        self._timers = Timers()
        self._due_us: float = math.inf

    # -- servers -----------------------------------------------------------------------------------------------

    def serve(self, server: Server, launch: Launch, over: Callable[[Server, Ended], None]) -> None:
        """Start the process of a server; raises FailwellError where nothing was started. `over` is told its end.

        INVARIANT: an order to end it that comes before it runs is carried out as soon as it does.
        """
        with self._lock:
            if server.doomed is not None:
                raise Refused(f"{server.name} was not started: {server.doomed}", code="fenced")
        process = self._inner.launch(launch, lambda end: self._over(server, end, over))
        with self._lock:
            server.process = process
            doomed = server.doomed is not None
            if server.over is None:
                self._servers[server.session, server.name] = server
        if doomed:
            self.kill(server)

    def doom(self, server: Server, why: str) -> None:
        """Ask nothing of it from now on; the first reason counts. Its own words in that may hold its secrets."""
        why = server.redaction.text(why)
        with self._lock:
            server.doomed = server.doomed or why

    def still(self, server: Server) -> None:
        """Have it stand where it stands; not awaited."""
        self._inner.freeze((server.number,))

    def kill(self, server: Server) -> None:
        """Kill it; its end, and that of all that it was asked for, comes through their `ended`."""
        with self._lock:
            server.doomed = server.doomed or ORDERED
            server.ending = True
        self._inner.interrupt(server.number)

    def kill_after(self, seconds: float, server: Server) -> None:
        """Kill it then, if it has not ended by itself."""
        self._timers.after(seconds, lambda: None if server.over is not None else self.kill(server))

    def cancel(self, action: int, why: str) -> bool:
        """Tell the server that nobody wants the answer any more; False where it is no call of a server."""
        with self._lock:
            call = self._calls.get(action)
            if call is None:
                return False
            call.unwanted = why
        with contextlib.suppress(RuntimeError):
            call.server.loop.call_soon_threadsafe(self._cancel, call, why)
        return True

    def _cancel(self, call: Call, why: str) -> None:
        if call.asked and call.server.speaker is not None:
            call.server.speaker.cancel(call.launch.action, why)

    # -- ports.executor.Executor -------------------------------------------------------------------------------

    def launch(self, launch: Launch, ended: Callable[[Ended], None]) -> Process:
        """Ask the server of its session; anything else is the inner executor's."""
        if launch.session is None:
            return self._inner.launch(launch, ended)
        name = launch.tool.partition(".")[0]
        with self._lock:
            server = self._servers.get((launch.session, name))
            if server is None or server.process is None:
                raise Refused(f"the session has no tool server {name} any more", code="upstream-ended")
            # Attack: the definition changes, or the server is told to end, between the verdict and the call.
            server.check(launch.tool)
            if launch.action in self._calls:
                raise Refused(f"action {launch.action} is running already")
            call = Call(launch, ended, server, boottime_us())
            self._calls[launch.action] = call
            server.calls.add(launch.action)
            process = server.process
        loop = server.loop  # which need not be woken for what is launched on it
        try:
            (loop.call_soon if running_loop() is loop else loop.call_soon_threadsafe)(self._ask, call)
        except RuntimeError:  # the node is closing
            with self._lock:
                self._forget(call)
            raise Refused("the node is stopping", code="stopping") from None
        self._watch(call)
        return process

    def freeze(self, actions: Iterable[int]) -> None:
        """Where a call runs its whole server stands still."""
        with self._lock:
            numbers = {self._calls[each].server.number if each in self._calls else each for each in actions}
        self._inner.freeze(numbers)

    def interrupt(self, action: int) -> None:
        """Kill the server of a call; one that it was not asked for yet never is."""
        with self._lock:
            known = action in self._calls
        if known:
            self._stop(action, ORDERED)
        else:
            self._inner.interrupt(action)

    def running(self) -> dict[int, Process]:
        """Processes by action: a call's is its server's."""
        with self._lock:
            calls = {action: call.server.process for action, call in self._calls.items()}
        return {**self._inner.running(), **{action: found for action, found in calls.items() if found is not None}}

    def self_test(self) -> SelfTest:
        return self._inner.self_test()

    def close(self) -> None:
        """Kill what runs, the servers too."""
        self._inner.close()
        self._timers.close()

    # -- one call ----------------------------------------------------------------------------------------------

    def _ask(self, call: Call) -> None:
        """On the loop: hand it to the server, unless it was stopped on its way here."""
        server, launch = call.server, call.launch
        with self._lock:
            if self._calls.get(launch.action) is not call or server.speaker is None:
                return
            # Attack: what was checked when it was launched is withdrawn before its turn on the loop.
            refused = _refusal(server, launch.tool)
            call.asked = refused is None
            if refused is not None:
                self._forget(call)
        if refused is not None:
            call.ended(_end(call, "blocked", refused, "it was never asked"))
            return
        method, params = as_request(launch)
        try:
            answered = server.speaker.ask(launch.action, method, params, _progress(launch))
        except Exception as error:  # noqa: BLE001 - what it was asked for then is known when it has ended
            self.doom(server, f"it could not be asked: {type(error).__name__}")
            self.kill(server)
            return
        answered.add_done_callback(lambda done: self._answered(call, done))

    def _answered(self, call: Call, done: asyncio.Future[Answer]) -> None:
        """On the loop. Without an answer the call ends with its server, which is not believed any more."""
        if done.cancelled() or done.exception() is not None:
            self.doom(call.server, "it does not answer what it is asked")
            self.kill_after(LAST_WORDS_S, call.server)
            return
        answer = done.result()
        with self._lock:
            if self._calls.get(call.launch.action) is not call:
                return
            if call.why is not None:
                # Attack: a server that answers once it is told to stop, and goes on. Its end says what that is worth.
                call.answer = None if answer.lost else answer
                return
            self._forget(call)
        call.server.used_s = call.server.loop.time()
        call.ended(_answer_end(call, answer))

    def _stop(self, action: int, why: str) -> None:
        with self._lock:
            call = self._calls.get(action)
            if call is None:
                return
            server = call.server
            call.why = call.why or (why if why != ORDERED else call.unwanted or server.doomed or ORDERED)
            unasked = not call.asked
            if unasked:
                self._forget(call)
            else:
                server.doomed = server.doomed or f"it was stopped with action {action} ({call.why})"
                server.ending = True
        if unasked:
            end = _end(call, "blocked", f"{call.why} before its tool server was asked", "it was never asked")
            self._timers.after(0, lambda: call.ended(end))
        else:
            self._inner.interrupt(server.number)

    def _forget(self, call: Call) -> None:
        """With the lock held."""
        self._calls.pop(call.launch.action, None)
        call.server.calls.discard(call.launch.action)

    # -- deadlines ---------------------------------------------------------------------------------------------

    def _watch(self, call: Call) -> None:
        """See to it that it ends in its time, also while the loop stands still."""
        if call.launch.deadline_us is None:
            return
        due_us = call.started_us + call.launch.deadline_us
        with self._lock:
            sooner = due_us < self._due_us
            if sooner:
                self._due_us = due_us
        if sooner:
            self._timers.after(call.launch.deadline_us / 1_000_000, self._look)

    def _look(self) -> None:
        now_us = boottime_us()
        with self._lock:
            due = {
                action: call.started_us + call.launch.deadline_us
                for action, call in self._calls.items()
                if call.launch.deadline_us is not None and call.why is None
            }
            self._due_us = min((at for at in due.values() if at > now_us), default=math.inf)
            left_s = (self._due_us - now_us) / 1_000_000
        for action, at in due.items():
            if at <= now_us:
                self._stop(action, DEADLINE)
        if left_s < math.inf:
            self._timers.after(left_s, self._look)

    # -- the end of a server -----------------------------------------------------------------------------------

    def _over(self, server: Server, end: Ended, over: Callable[[Server, Ended], None]) -> None:
        """In the executor's thread: nothing of the server is left, or that could not be shown."""
        with self._lock:
            server.over = end
            if self._servers.get((server.session, server.name)) is server:
                del self._servers[server.session, server.name]
            calls = [self._calls[action] for action in sorted(server.calls)]
            for call in calls:
                self._forget(call)
        for call in calls:
            call.ended(_cut_end(call, end))
        over(server, end)


def _refusal(server: Server, tool: str) -> str | None:
    """Why it cannot be asked for `tool` now; None where it can."""
    try:
        server.check(tool)
    except Refused as error:
        return error.message
    return None


def _progress(launch: Launch) -> Callable[[Progress], None] | None:
    told = launch.progress
    return None if told is None else lambda each: told(each.progress, each.total, each.message)


def as_request(launch: Launch) -> tuple[str, bytes]:
    """The method and the params of a call; its arguments go as they came, byte for byte."""
    name = launch.tool.partition(".")[2]
    if name in METHODS:
        return name, launch.stdin
    return CALL, b'{"name":' + msgspec.json.encode(name) + b',"arguments":' + launch.stdin + b"}"


def _answer_end(call: Call, answer: Answer) -> Ended:
    if answer.lost:
        words = "its tool server gave no answer that can be read; whether it did what it was asked is not known"
        return _end(call, "unknown", words, "an answer was due and came to nobody")
    code = 2 if answer.error else 1 if answer.failed else 0
    return Ended(
        action=call.launch.action, state="failed" if code else "completed", exit_code=code, signal=None,
        output=answer.raw, truncated=answer.truncated, errors=b"", started_us=call.started_us, ended_us=boottime_us(),
        swept=0, proven_by="its tool server's answer", why=call.unwanted if code else None, sweep_us=0,
    )  # fmt: skip


def _cut_end(call: Call, end: Ended) -> Ended:
    """What is said of a call whose server ended, by what is shown of that."""
    server = call.server
    if not call.asked:
        return _end(call, "blocked", "its tool server ended before it was asked", "it was never asked")
    shown = replace(
        end, action=call.launch.action, exit_code=None, signal=None, output=b"", truncated=False, errors=b"",
        started_us=call.started_us, why=call.why or _why(server, end),
    )  # fmt: skip
    if end.state in ("interrupted_unconfirmed", "interrupted_confirmed"):
        left = end.state == "interrupted_unconfirmed"
        if left:
            return replace(shown, why=f"{shown.why}; {end.why}")
        if call.answer is None:
            return shown
    elif call.why is None or end.state == "unknown":
        return replace(shown, state="unknown", snapshot=None)
    if call.answer is None:
        return replace(shown, state="interrupted_confirmed")
    answered = _answer_end(call, call.answer)
    return replace(
        answered, state="completed_after_interrupt", why=shown.why, proven_by=end.proven_by, ended_us=end.ended_us,
        swept=end.swept, sweep_us=end.sweep_us, snapshot=end.snapshot,
    )  # fmt: skip


def _why(server: Server, end: Ended) -> str:
    if end.state.startswith("interrupted"):
        return f"its tool server was stopped: {server.doomed or end.why}"
    code = f" with {end.exit_code}" if end.exit_code is not None else ""
    return f"its tool server ended{code} before it answered; whether it did what it was asked is not known"


def _end(call: Call, state: str, why: str, proven_by: str) -> Ended:
    at = boottime_us()
    return Ended(
        action=call.launch.action, state=state, exit_code=None, signal=None, output=b"", truncated=False,  # type: ignore[arg-type]
        errors=b"", started_us=call.started_us, ended_us=at, swept=0, proven_by=proven_by, why=why, sweep_us=0,
    )  # fmt: skip
