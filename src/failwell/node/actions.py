"""Running tools on behalf of allowed actions: permit, start, execute, settle (D5, D8, D27, D28).

`ToolRunner` joins the fence, the executor and the record. An action starts only with a permit that the fence still
honours; how it ended is recorded before its caller hears of it; an ordered stop is recorded in the containment lane.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import msgspec

from failwell.core import stops
from failwell.core.errors import FailwellError, Refused
from failwell.gate.outcomes import Settlement, draft_outcome, settle, started
from failwell.gate.verdicts import Verdict
from failwell.ledger.jobs import CONTAINMENT, NORMAL, Job, Plan, Turn
from failwell.ledger.writer import Writer
from failwell.node.ends import Ends
from failwell.node.fence import NO_PERMIT, Fence, Permit
from failwell.node.preparing import Prepared
from failwell.ports.executor import Ended, Executor, Launch, State
from failwell.response.containment import ended_by_order

#: How long a cooperative action may take to say that it stopped before it is declared unconfirmed.
COOPERATIVE_GRACE_S = 1.0
#: How a supervised action was interrupted whose caller's connection ended.
CALLER_GONE = "its caller is gone"
#: Why nobody can confirm that an action was stopped whose verdict alone was asked for.
TOLD = "its caller had leave to act by itself: nobody here sees or stops that"
#: The only variables of the node's own environment that a tool inherits: no secret passes by accident.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


def inherited(declared: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a process that the node starts for others: what is declared for it, and little else."""
    return {**{name: os.environ[name] for name in _INHERITED if name in os.environ}, **declared}


class Result(NamedTuple):
    """What an executed action came to: the outcome's state and entry, and the tool's output."""

    state: str
    entry: int
    output: bytes
    truncated: bool
    exit_code: int | None
    why: str | None


class ToolRunner:
    """Executes allowed actions, and records how each ended before its caller hears of it."""

    def __init__(
        self, writer: Writer, fence: Fence, executor: Executor, marker_prefix: str, output_cap_bytes: int
    ) -> None:
        self._writer = writer
        self._fence = fence
        self._executor = executor
        self._marker_prefix = marker_prefix
        self.ends = Ends(writer, fence)
        self.output_cap_bytes = output_cap_bytes

    # -- supervised --------------------------------------------------------------------------------------------

    def execute(
        self, verdict: Verdict, permit: Permit, arguments: bytes, prepared: Prepared
    ) -> Future[Result]:  # fmt: skip
        """Start an allowed action under a supervisor; the future gives its recorded result. Called off the loop."""
        future: Future[Result] = Future()
        action = verdict.entry
        try:
            running = self._fence.start(permit, prepared.executor)
        except Refused as error:
            if error.code == NO_PERMIT:
                raise
            return self._blocked(future, action, error.message)

        def ended(end: Ended) -> None:
            self._settle(prepared.redaction.ended(end), future)

        if running.ordered:
            self._fence.take(action)
            return self._blocked(future, action, "ordered to stop before it started")
        launch = Launch(
            action=action, agent=verdict.agent, tool=verdict.tool, command=prepared.command, cwd=prepared.cwd,
            env=inherited({**prepared.env, **prepared.secrets}), stdin=arguments, deadline_us=prepared.deadline_us,
            output_cap_bytes=self.output_cap_bytes, marker=f"{self._marker_prefix}{action}", scopes=_named(permit),
        )  # fmt: skip
        try:
            process = self._executor.launch(launch, ended)
        except FailwellError as error:
            self._fence.take(action)
            return self._blocked(future, action, error.message)
        self._fence.attach(running, lambda: self._executor.interrupt(action))
        self._note_start(started(action, prepared.executor, process.pid, process.start_ticks, prepared.command))
        return future

    def _note_start(self, job: Job[None]) -> None:
        """Written behind, never awaited: left out where an outcome overtakes it or the queue is full."""
        with contextlib.suppress(FailwellError):
            self._writer.submit(job)

    def block(self, action: int, why: str) -> Future[Result]:
        """Record that an allowed action was not started."""
        return self._blocked(Future(), action, why)

    def _blocked(self, future: Future[Result], action: int, why: str) -> Future[Result]:
        """The action was proved not to have started: the only outcome that gives its reservation back."""
        end = _ended(action, "blocked", why, "it was never started")
        recorded = self._record(end, Settlement(decision=action, state="blocked", by="gate", why=why), "fence")
        _then(recorded, future, lambda entry: Result("blocked", entry, b"", False, None, why))
        return future

    def _settle(self, end: Ended, future: Future[Result]) -> None:
        """Record how a supervised action ended; called once, from the executor's thread."""
        running = self._fence.take(end.action)
        ordered = running is not None and running.ordered
        method = running.method if running is not None and ordered else end.why or "order"
        settlement = Settlement(
            decision=end.action, state=end.state, by="supervisor", exit_code=end.exit_code,
            result=end.output if end.output or end.state == "completed" else None, truncated=end.truncated,
            elapsed_us=max(0, end.ended_us - end.started_us), why=None if end.why is None else end.why[:500],
            words=_last_words(end),
        )  # fmt: skip
        stopped = ordered or end.state.startswith("interrupted")
        recorded = self._record(end, settlement, method, stopped=stopped)
        told = ": ".join(said for said in (settlement.why, settlement.words) if said) or None
        _then(
            recorded, future,
            lambda entry: Result(end.state, entry, end.output, end.truncated, end.exit_code, told),
        )  # fmt: skip

    def _record(self, end: Ended, settlement: Settlement, method: str, *, stopped: bool = False) -> Future[Any]:
        """Record an end, as a stop where one was ordered: also one whose order overtook it on its way here."""
        lane = CONTAINMENT if stopped or end.state == "blocked" else NORMAL
        return self.ends.record(end.action, _ending(end, settlement, method, stopped), lane)

    # -- cooperative: executed by the caller itself ------------------------------------------------------------

    def begin(self, verdict: Verdict, permit: Permit, prepared: Prepared, tell: Callable[[int], None]) -> None:
        """Register an action that the caller executes; `tell(action)` asks it to stop. Refused when fenced."""
        try:
            running = self._fence.start(permit, prepared.executor, by_caller=True)
        except Refused as error:
            if error.code != NO_PERMIT:
                self._blocked(Future(), verdict.entry, error.message)
            raise
        self._fence.attach(running, lambda: self._ask_to_stop(verdict.entry, tell))
        self._note_start(started(verdict.entry, prepared.executor, 0, 0))

    def _ask_to_stop(self, action: int, tell: Callable[[int], None]) -> None:
        """Ask, and do not believe: without an answer in time the stop is unconfirmed (D28)."""
        tell(action)
        timer = threading.Timer(
            COOPERATIVE_GRACE_S, self._unconfirmed, [action, "its process did not say that it stopped"]
        )
        timer.daemon = True
        timer.start()

    def settle_cooperative(self, settlement: Settlement) -> Future[Any]:
        """The caller's word on how its action ended; after an interrupt it proves nothing about what still runs."""
        running = self._fence.take(settlement.decision)
        if running is None or not running.by_caller:
            raise Refused(f"action {settlement.decision} is not executed by this caller", code="not-open")
        why = f"only its own process says that it {'completed' if settlement.state == 'completed' else 'stopped'}"
        end = _ended(settlement.decision, "interrupted_unconfirmed", why, "nothing")
        state = settlement.state
        if running.ordered:
            state = "completed_after_interrupt" if state == "completed" else end.state
        elif state == "interrupted":  # nobody ordered that: how far it came is not known
            state = "unknown"
        return self._record(end, _with_state(settlement, state), "asked", stopped=running.ordered)

    def lost(self, action: int, why: str) -> None:
        """The caller that executed an action is gone: what came of it is unknown, or unconfirmed if it was to stop."""
        running = self._fence.take(action)
        if running is not None:
            self._unproven(action, why, "interrupted_unconfirmed" if running.ordered else "unknown", running.ordered)

    def _unconfirmed(self, action: int, why: str) -> None:
        if self._fence.take(action) is not None:
            self._unproven(action, why, "interrupted_unconfirmed", True)

    def _unproven(self, action: int, why: str, state: str, stopped: bool, method: str = "asked") -> None:
        end = _ended(action, "interrupted_unconfirmed", why, "nothing")
        self._record(end, Settlement(decision=action, state=state, by="gate", why=why), method, stopped=stopped)

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
            self.block(action, "suspended before it started")
        for action in missed.told:
            # Attack: ask for leave, act by oneself, be stopped, and have the limit and the approval back (D6).
            self._unproven(action, TOLD, "interrupted_unconfirmed", True, method="none: it is not run here")

    def abandon(self, actions: tuple[int, ...], why: str = CALLER_GONE) -> None:
        """Stop what a caller that is gone had started: nobody waits for it, and nobody could stop it by itself."""
        for action in self._fence.interrupt(actions, why).unstarted:
            self.block(action, f"{why} before it started")


def _named(permit: Permit) -> tuple[str, ...]:
    """What a stop without the node finds an action by: its scopes, and the agents that handed it over (D2)."""
    return (*(scope for scope, _ in permit.scopes), *(f"agent:{agent}" for agent, _ in permit.chain))


def _ended(action: int, state: State, why: str, proven_by: str) -> Ended:
    """The end of an action that no supervisor ran."""
    return Ended(
        action=action, state=state, exit_code=None, signal=None, output=b"", truncated=False, errors=b"",
        started_us=0, ended_us=0, swept=0, proven_by=proven_by, why=why, sweep_us=0,
    )  # fmt: skip


def _ending(end: Ended, settlement: Settlement, method: str, stopped: bool) -> Job[Any]:
    """The job that records an end; nothing if it was recorded meanwhile.

    Attack: an action ends while its agent is being suspended. Its outcome waits in the queue, the order overtakes it
    and counts it as running; so whether an incident waits for it is looked up when it is written.
    """

    def job(turn: Turn) -> Plan[Any]:
        action = turn.state.action.get(end.action)
        if action is None:
            return Plan((), lambda entries: end.action)
        bound = [turn.state.agent.get(name) for name in (action.agent, *action.chain)]
        cases = [turn.state.incident[row.incident] for row in bound if row is not None and row.incident is not None]
        if stopped or any(end.action in case.waiting for case in cases) or stops.awaits(turn.state, end.action):
            return ended_by_order(end, method, lambda now: draft_outcome(now, settlement))(turn)
        return settle(settlement)(turn)

    return job


def _with_state(settlement: Settlement, state: str) -> Settlement:
    return msgspec.structs.replace(settlement, state=state)


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
