"""Running tools on behalf of allowed actions: permit, start, execute, settle (D5, D8, D27, D28).

`ToolRunner` joins the fence, the executor and the record. An action starts only with a permit that the fence still
honours; how it ended is recorded before its caller hears of it; an ordered stop is recorded in the containment lane.
What an end is worth differs by executor class: `node.endings`.
"""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from failwell.core.errors import FailwellError, Refused
from failwell.execute.callers import Caller
from failwell.gate.outcomes import Settlement, started
from failwell.gate.verdicts import Verdict
from failwell.ledger.jobs import Job
from failwell.ledger.writer import Writer
from failwell.node.clock import SystemClock
from failwell.node.endings.choosing import Endings, Tools
from failwell.node.endings.cooperating import Begun, Cooperating
from failwell.node.endings.recording import Recorder
from failwell.node.endings.statement import BY_ITSELF, Ending, Statement, ended, unconfirmed
from failwell.node.ends import Ends
from failwell.node.fence import NO_PERMIT, Fence, Permit, Running
from failwell.node.preparing import Prepared
from failwell.node.redacting import Redaction
from failwell.node.surroundings import inherited
from failwell.ports.clock import Clock
from failwell.ports.executor import Ended, Executor, Launch

#: How a supervised action was interrupted whose caller's connection ended.
CALLER_GONE = "its caller is gone"
#: Why nobody can confirm that an action was stopped whose verdict alone was asked for.
TOLD = "its caller had leave to act by itself: nobody here sees or stops that"
#: What may be said of a caller's process where nobody looked at it.
UNSEEN = "nobody watches its process"
#: How long a node that stops waits for the resources of what it stops.
CLOSE_S = 15.0


class Result(NamedTuple):
    """What an executed action came to: the outcome's state and entry, and the tool's output."""

    state: str
    entry: int
    output: bytes
    truncated: bool
    exit_code: int | None
    why: str | None

    def told(self) -> dict[str, Any]:
        """As its caller is answered."""
        return {**self._asdict(), "output": base64.b64encode(self.output).decode()}


class ToolRunner:
    """Executes allowed actions, and records how each ended before its caller hears of it."""

    def __init__(
        self, writer: Writer, fence: Fence, executor: Executor, marker_prefix: str, output_cap_bytes: int,
        place: Path | None = None, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        """`place`: the workspace, where relative paths of settings start."""
        self._writer = writer
        self._fence = fence
        self._executor = executor
        self._marker_prefix = marker_prefix
        self.ends = Ends(writer, fence)
        self._recorder = Recorder(self.ends)
        self.endings = Endings(writer, fence, executor, marker_prefix, place or Path(), clock or SystemClock())
        self._cooperating = Cooperating(
            fence, self._recorder, self.endings.timers, self.endings.later, self.endings.clock.mono_us
        )
        self.output_cap_bytes = output_cap_bytes
        #: Keeps the working state of what was stopped: its end, what it is worth, where it worked, and its record.
        self.preserve: Callable[[Ended, str, str | None, Future[Any]], None] = lambda *_: None
        #: What is said of an action whose caller acts by itself, once it is to stop.
        self.told_words: Callable[[int], str] = lambda action: TOLD
        #: What the settings in force declare of tools.
        self.tools: Callable[[], Tools] = dict

    # -- supervised --------------------------------------------------------------------------------------------

    def start(
        self, verdict: Verdict, permit: Permit, arguments: bytes, prepared: Prepared
    ) -> Future[Future[Result]]:  # fmt: skip
        """Have `execute` done where it may wait, or at once where it does not.

        Attack: callers of a tool whose database is locked wait for it in all the threads that others start in.
        """
        if not prepared.waits_to_start:
            return _done(lambda: self.execute(verdict, permit, arguments, prepared))
        name = f"start {verdict.tool}" if prepared.executor == "transactional" else "start"
        return self.endings.run(name, lambda: self.execute(verdict, permit, arguments, prepared))

    def execute(
        self, verdict: Verdict, permit: Permit, arguments: bytes, prepared: Prepared
    ) -> Future[Result]:  # fmt: skip
        """Start an allowed action; the future gives its recorded result. Called off the loop where it may wait."""
        future: Future[Result] = Future()
        action = verdict.entry
        try:
            running = self._fence.start(permit, prepared.executor)
        except Refused as error:
            if error.code == NO_PERMIT:
                raise
            return self._blocked(future, action, error.message)
        running.directory = None if prepared.settings is None else prepared.settings.cwd
        if running.ordered:
            self._fence.take(action)
            return self._blocked(future, action, "ordered to stop before it started")
        try:
            ending, told = self.endings.of(permit, verdict.tool, prepared)
            launch = self._launch(verdict, permit, arguments, prepared, told)
            process = self._executor.launch(
                launch, lambda end: self._ended(end, prepared.redaction, verdict.tool, running, ending, future)
            )
        except FailwellError as error:
            self._fence.take(action)
            return self._blocked(future, action, error.message)
        self._fence.attach(running, lambda: self._stop(action, ending))
        self._note_start(started(action, prepared.executor, process.pid, process.start_ticks, _command(prepared)))
        return future

    def _launch(
        self, verdict: Verdict, permit: Permit, arguments: bytes, prepared: Prepared, told: dict[str, str]
    ) -> Launch:  # fmt: skip
        """`told` is what its class has its process find in its environment; nothing declared takes its place."""
        return Launch(
            action=verdict.entry, agent=verdict.agent, tool=verdict.tool, command=prepared.command, cwd=prepared.cwd,
            env={} if prepared.session is not None else inherited({**prepared.env, **prepared.secrets, **told}),
            stdin=arguments,
            deadline_us=prepared.deadline_us, output_cap_bytes=prepared.output_cap_bytes(self.output_cap_bytes),
            limits=prepared.limits, marker=f"{self._marker_prefix}{verdict.entry}", scopes=_named(permit),
            heard=prepared.heard, session=prepared.session, progress=prepared.progress,
        )  # fmt: skip

    def _note_start(self, job: Job[None]) -> None:
        """Written behind, never awaited: left out where an outcome overtakes it or the queue is full."""
        with contextlib.suppress(FailwellError):
            self._writer.submit(job, behind=True)

    def _stop(self, action: int, ending: Ending | None) -> None:
        """Kill it; what else its class asks for is done beside that. Where orders are delivered nobody waits."""
        self._executor.interrupt(action)
        if ending is not None:
            ending.ordered()

    def block(self, action: int, why: str) -> Future[Result]:
        """Record that an allowed action was not started."""
        return self._blocked(Future(), action, why)

    def _blocked(self, future: Future[Result], action: int, why: str) -> Future[Result]:
        """The action was proved not to have started: the only outcome that gives its reservation back."""
        end = ended(action, "blocked", why, "it was never started")
        settlement = Settlement(decision=action, state="blocked", by="gate", why=why)
        recorded = self._recorder.end(end, settlement, "none: fence")
        _then(recorded, future, lambda entry: Result("blocked", entry, b"", False, None, why))
        return future

    def _ended(
        self, end: Ended, redaction: Redaction, tool: str, running: Running, ending: Ending | None,
        future: Future[Result],
    ) -> None:  # fmt: skip
        """Its processes are gone, or not; called once, by the executor's thread, which must not wait.

        Attack: a tool that writes what a long secret nearly is, megabytes of it: looking through takes seconds.
        """
        if ending is None and redaction.holds_none:
            self._settle(end, Statement(end), None, future)
            return

        def failed(said: Future[None]) -> None:
            # INVARIANT: a fault of ours confirms nothing, leaves no action without its end, and tells no secret.
            if said.cancelled() or said.exception() is not None:
                error = "cancelled" if said.cancelled() else type(said.exception()).__name__
                bare = replace(end, output=b"", errors=b"", snapshot=None, truncated=True, proven_by="nothing")
                why = f"what its end is worth could not be told: {error}"
                self._settle(bare, Statement(replace(bare, state="interrupted_unconfirmed", why=why)), None, future)

        def say() -> None:
            self._say(redaction.ended(end), running, ending, future)

        self.endings.run(tool, say).add_done_callback(failed)

    def _say(self, end: Ended, running: Running, ending: Ending | None, future: Future[Result]) -> None:
        """Find out what the end is worth; once more where the order to stop came meanwhile."""
        if ending is None:
            self._settle(end, Statement(end), None, future)
            return
        ordered = running.ordered
        said = ending.say(end, ordered=ordered)
        if running.ordered and not ordered:
            said = ending.say(end, ordered=True)
        self._settle(end, said, ending, future)

    def _settle(self, end: Ended, said: Statement, ending: Ending | None, future: Future[Result]) -> None:
        """Record how a supervised action ended: `end` are its processes, `said` what that is worth."""
        running = self._fence.take(end.action)
        ordered = running is not None and running.ordered
        how = running.method if running is not None and ordered else (end.why or "order")[:200]
        told = [said]

        def overtaken() -> tuple[Ended, Settlement]:
            if ending is not None and end.state in BY_ITSELF:
                told.append(ending.overtaken(said.end))
            return told[-1].end, _settlement(told[-1].end)

        executor = "supervised" if running is None else running.executor
        stopped = ordered or said.end.state.startswith("interrupted")
        recorded = self._recorder.end(
            said.end, _settlement(said.end), f"{executor}: {how}", stopped=stopped, overtaken=overtaken
        )
        recorded.add_done_callback(lambda _: self.endings.later.add(end.action, told[-1].later))
        self.preserve(end, said.end.state, None if running is None else running.directory, recorded)
        _then(recorded, future, lambda entry: _result(told[-1].end, entry))

    # -- cooperative: executed by the caller itself ------------------------------------------------------------

    def begin(
        self, verdict: Verdict, permit: Permit, prepared: Prepared, tell: Callable[[int], None],
        caller: Caller | str = UNSEEN,
    ) -> None:  # fmt: skip
        """Register an action that the caller executes; `tell(action)` asks it to stop. Refused when fenced."""
        try:
            running = self._fence.start(permit, prepared.executor, by_caller=True)
        except Refused as error:
            if error.code != NO_PERMIT:
                self._blocked(Future(), verdict.entry, error.message)
            raise
        elsewhere = None
        if prepared.executor == "unstoppable":
            ending = self.endings.elsewhere(permit, verdict.tool, prepared)
            elsewhere = ending.stopped_here
        begun = Begun(
            executor=prepared.executor, caller=caller, deadline_us=prepared.deadline_us, elsewhere=elsewhere,
            output_cap_bytes=prepared.output_cap_bytes(self.output_cap_bytes),
        )  # fmt: skip
        self._cooperating.begin(running, begun, tell)
        self._note_start(started(verdict.entry, prepared.executor, 0, 0))

    def settle_cooperative(self, settlement: Settlement) -> Future[Any]:
        """The caller's word on how its action ended; after an interrupt it proves nothing about what still runs."""
        return self._cooperating.settle(settlement)

    def lost(self, action: int, why: str) -> None:
        """The caller that executed an action is gone: what came of it is unknown, or unconfirmed if it was to stop."""
        self._cooperating.lost(action, why)

    # -- orders ------------------------------------------------------------------------------------------------

    def freeze(self, actions: tuple[int, ...]) -> None:
        """Send the order to stand still; sent before the commit, not awaited (D5)."""
        self._executor.freeze(actions)

    def interrupt(self, actions: tuple[int, ...]) -> None:
        """Stop these actions. None is left open: what never started is blocked, and of what its caller does by itself
        nobody can say that it stopped.
        """
        missed = self._fence.interrupt(actions)
        for action in missed.unstarted:
            self.block(action, "ordered to stop before it started")
        for action in missed.told:
            self._leave(action)

    def _leave(self, action: int) -> None:
        """The caller acts by itself, or has a server act; where that one's resource has a fence, it is told first.

        Attack: ask for leave, act by oneself, be stopped, and have the limit and the approval back (D6).
        """
        end = unconfirmed(action, self.told_words(action))
        tools = self.tools()
        if not any(tool.fence is not None for tool in tools.values()):
            self._record_leave(end)
            return
        said = self.endings.run("leave", lambda: self.endings.fence_leave(end, tools))
        said.add_done_callback(lambda done: self._record_leave(end if done.exception() else done.result()))

    def _record_leave(self, end: Ended) -> None:
        settlement = Settlement(decision=end.action, state=end.state, by="gate", why=(end.why or "")[:500])
        self._recorder.end(end, settlement, "none: it is not run here", stopped=True)

    def abandon(self, actions: tuple[int, ...], why: str = CALLER_GONE) -> None:
        """Stop what a caller that is gone had started: nobody waits for it, and nobody could stop it by itself."""
        for action in self._fence.interrupt(actions, why).unstarted:
            self.block(action, f"{why} before it started")

    def close(self) -> None:
        """Stop what runs of classes that need more than a kill, and wait (bounded) for what that is worth.

        Before the executor is closed: the commands that tell a resource run under it.
        """
        more = [item.action for item in self._fence.running() if not item.by_caller and item.executor != "supervised"]
        self._fence.interrupt(more, "the node stops")
        until_s = time.monotonic() + CLOSE_S
        while set(more) & {item.action for item in self._fence.running()} and time.monotonic() < until_s:
            time.sleep(0.005)
        self.endings.timers.close()


def _done(work: Callable[[], Future[Result]]) -> Future[Future[Result]]:
    done: Future[Future[Result]] = Future()
    try:
        done.set_result(work())
    except Exception as error:  # noqa: BLE001  as from a thread: whoever waits for it is told
        done.set_exception(error)
    return done


def _named(permit: Permit) -> tuple[str, ...]:
    """What a stop without the node finds an action by: its scopes, and the agents that handed it over (D2)."""
    return (*(scope for scope, _ in permit.scopes), *(f"agent:{agent}" for agent, _ in permit.chain))


def _command(prepared: Prepared) -> tuple[str, ...] | None:
    """What was run for it: of what a tool server was asked for, nothing."""
    return None if prepared.session is not None else prepared.command


def _settlement(end: Ended) -> Settlement:
    return Settlement(
        decision=end.action, state=end.state, by="supervisor", exit_code=end.exit_code,
        result=end.output if end.output or end.state == "completed" else None, truncated=end.truncated,
        elapsed_us=max(0, end.ended_us - end.started_us), why=None if end.why is None else end.why[:500],
        words=_last_words(end),
    )  # fmt: skip


def _result(end: Ended, entry: int) -> Result:
    told = ": ".join(said for said in (end.why and end.why[:500], _last_words(end)) if said) or None
    return Result(end.state, entry, end.output, end.truncated, end.exit_code, told)


def _last_words(end: Ended) -> str | None:
    """A failed tool's last line of errors: it helps its caller, and can name whom it was about, so it is no entry's."""
    lines = end.errors.decode("utf-8", "replace").strip().splitlines() if end.state == "failed" else []
    return lines[-1][:500] if lines else None


def _then(recorded: Future[Any], future: Future[Result], make: Callable[[int], Result]) -> None:
    """Resolve `future` once the record is durable; a failed record is the caller's failure too."""

    def done(finished: Future[Any]) -> None:
        error = finished.exception()
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(make(finished.result()))

    recorded.add_done_callback(done)
