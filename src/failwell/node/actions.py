"""Running tools on behalf of allowed actions: permit, start, execute, settle (D5, D8, D27, D28).

`ToolRunner` joins the fence, the executor and the record. An action starts only with a permit that the fence still
honours; how it ended is recorded before its caller hears of it; an ordered stop is recorded in the containment lane.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

import msgspec

from failwell.core.errors import FailwellError, Refused
from failwell.core.records import Draft
from failwell.gate.outcomes import Settlement, draft_outcome, settle, started
from failwell.gate.verdicts import Verdict
from failwell.ledger.jobs import CONTAINMENT, Job, Plan, Turn
from failwell.ledger.writer import Writer
from failwell.node.fence import Fence, Permit
from failwell.node.requests import Target
from failwell.ports.executor import Ended, Executor, Launch
from failwell.response.containment import ended_by_order

#: How long a cooperative action may take to say that it stopped before it is declared unconfirmed.
COOPERATIVE_GRACE_S = 1.0
#: The only variables of the node's own environment that a tool inherits: no secret passes by accident.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


class Result(NamedTuple):
    """What an executed action came to: the outcome's state and entry, and the tool's output."""

    state: str
    entry: int
    output: bytes
    truncated: bool
    exit_code: int | None
    why: str | None


class ToolRunner:
    """Executes allowed actions. `limits(tool)` gives (deadline in microseconds or None) from the contract in force."""

    def __init__(
        self, writer: Writer, fence: Fence, executor: Executor, marker_prefix: str, output_cap_bytes: int
    ) -> None:
        self._writer = writer
        self._fence = fence
        self._executor = executor
        self._marker_prefix = marker_prefix
        self.output_cap_bytes = output_cap_bytes

    # -- supervised --------------------------------------------------------------------------------------------

    def execute(
        self, verdict: Verdict, permit: Permit, arguments: bytes, target: Target, deadline_us: int | None
    ) -> Future[Result]:  # fmt: skip
        """Start an allowed action under a supervisor; the future gives its recorded result. Called off the loop."""
        future: Future[Result] = Future()
        action = verdict.entry
        try:
            running = self._fence.start(permit, "supervised")
        except Refused as error:
            return self._blocked(future, action, error.message)

        def ended(end: Ended) -> None:
            self._settle(end, future)

        launch = Launch(
            action=action, agent=verdict.agent, tool=verdict.tool, command=target.command, cwd=target.cwd,
            env=self._environment(target), stdin=arguments, deadline_us=deadline_us,
            output_cap_bytes=self.output_cap_bytes, marker=f"{self._marker_prefix}{action}",
        )  # fmt: skip
        try:
            process = self._executor.launch(launch, ended)
        except FailwellError as error:
            self._fence.ended(action)
            return self._blocked(future, action, error.message)
        # Written behind, never awaited: an outcome may overtake it, and then it is left out.
        self._writer.submit(started(action, "supervised", process.pid, process.start_ticks, target.command))
        self._fence.attach(running, lambda: self._executor.interrupt(action))
        return future

    def _environment(self, target: Target) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {**inherited, **target.env}

    def block(self, action: int, why: str) -> Future[Result]:
        """Record that an allowed action was not started."""
        return self._blocked(Future(), action, why)

    def _blocked(self, future: Future[Result], action: int, why: str) -> Future[Result]:
        """The action was proved not to have started: the only outcome that gives its reservation back."""
        self._fence.ended(action)
        recorded = self._writer.submit(
            _if_open(action, settle(Settlement(decision=action, state="blocked", by="gate", why=why))), CONTAINMENT
        )
        _then(recorded, future, lambda entry: Result("blocked", entry, b"", False, None, why))
        return future

    def _settle(self, end: Ended, future: Future[Result]) -> None:
        """Record how a supervised action ended; called once, from the executor's thread."""
        ordered = self._fence.ended(end.action)
        settlement = Settlement(
            decision=end.action, state=end.state, by="supervisor", exit_code=end.exit_code,
            result=end.output if end.output or end.state == "completed" else None, truncated=end.truncated,
            elapsed_us=max(0, end.ended_us - end.started_us), why=_explain(end),
        )  # fmt: skip
        recorded: Future[Any]
        if ordered or end.state.startswith("interrupted"):
            method = "order" if ordered else "deadline"
            job = ended_by_order(end, method, lambda turn: draft_outcome(turn, settlement))
            recorded = self._writer.submit(job, CONTAINMENT)
        else:
            recorded = self._writer.submit(settle(settlement))
        _then(
            recorded, future,
            lambda entry: Result(end.state, entry, end.output, end.truncated, end.exit_code, settlement.why),
        )  # fmt: skip

    # -- cooperative: executed by the caller itself ------------------------------------------------------------

    def begin(self, verdict: Verdict, permit: Permit, tell: Callable[[int], None]) -> None:
        """Register an action that the caller executes; `tell(action)` asks it to stop. Refused when fenced."""
        try:
            running = self._fence.start(permit, "cooperative")
        except Refused as error:
            self._blocked(Future(), verdict.entry, error.message)
            raise
        self._writer.submit(started(verdict.entry, "cooperative", 0, 0))
        self._fence.attach(running, lambda: self._ask_to_stop(verdict.entry, tell))

    def _ask_to_stop(self, action: int, tell: Callable[[int], None]) -> None:
        """Ask, and do not believe: without an answer in time the stop is unconfirmed (D28)."""
        tell(action)
        timer = threading.Timer(
            COOPERATIVE_GRACE_S, self._unconfirmed, [action, "its process did not say that it stopped"]
        )
        timer.daemon = True
        timer.start()

    def settle_cooperative(self, settlement: Settlement) -> Future[int]:
        """The caller's word on how its action ended; after an interrupt it proves nothing about what still runs."""
        running = {item.action: item for item in self._fence.running()}.get(settlement.decision)
        if running is None or running.executor != "cooperative":
            raise Refused(f"action {settlement.decision} is not executed by this caller", code="not-open")
        if running.ordered and settlement.state == "interrupted":
            self._unconfirmed(settlement.decision, "only its own process says that it stopped")
            done: Future[int] = Future()
            done.set_result(settlement.decision)
            return done
        self._fence.ended(settlement.decision)
        state = "completed_after_interrupt" if running.ordered else settlement.state
        return self._writer.submit(settle(_with_state(settlement, state)))

    def lost(self, action: int, why: str) -> None:
        """The caller that executed an action is gone: what came of it is unknown, or unconfirmed if it was to stop."""
        running = {item.action: item for item in self._fence.running()}.get(action)
        if running is None:
            return
        if running.ordered:
            self._unconfirmed(action, why)
        else:
            self._fence.ended(action)
            self._writer.submit(settle(Settlement(decision=action, state="unknown", by="gate", why=why)))

    def _unconfirmed(self, action: int, why: str) -> None:
        if action not in {item.action for item in self._fence.running()}:
            return
        self._fence.ended(action)
        end = Ended(
            action=action, state="interrupted_unconfirmed", exit_code=None, signal=None, output=b"", truncated=False,
            errors=b"", started_us=0, ended_us=0, swept=0, proven_by="nothing", why=why, sweep_us=0,
        )  # fmt: skip
        settlement = Settlement(decision=action, state=end.state, by="gate", why=why)
        self._writer.submit(ended_by_order(end, "asked", lambda turn: draft_outcome(turn, settlement)), CONTAINMENT)

    # -- orders ------------------------------------------------------------------------------------------------

    def freeze(self, actions: tuple[int, ...]) -> None:
        """Send the order to stand still; sent before the commit, not awaited (D5)."""
        self._executor.freeze(actions)

    def interrupt(self, actions: tuple[int, ...]) -> None:
        """Stop these actions; those that never started are recorded as blocked, so that none is left open."""
        for action in self._fence.interrupt(actions):
            end = Ended(
                action=action, state="blocked", exit_code=None, signal=None, output=b"", truncated=False, errors=b"",
                started_us=0, ended_us=0, swept=0, proven_by="its permit was never used", why="suspended first",
                sweep_us=0,
            )  # fmt: skip
            settlement = Settlement(decision=action, state="blocked", by="gate", why="suspended before it started")
            self._writer.submit(_if_open(action, ended_by_order(end, "fence", _drafting(settlement))), CONTAINMENT)


def _drafting(settlement: Settlement) -> Callable[[Turn], Draft]:
    return lambda turn: draft_outcome(turn, settlement)


def _if_open(action: int, job: Job[Any]) -> Job[Any]:
    """`job`, unless the action has its outcome by then: an end that came in between was recorded by itself."""

    def guarded(turn: Turn) -> Plan[Any]:
        return job(turn) if action in turn.state.action else Plan((), lambda entries: action)

    return guarded


def _with_state(settlement: Settlement, state: str) -> Settlement:
    return msgspec.structs.replace(settlement, state=state)


def _explain(end: Ended) -> str | None:
    """Why an action ended as it did; a failed tool's last line of errors helps whoever reads the record."""
    if end.why is not None:
        return end.why[:500]
    if end.state == "failed":
        lines = end.errors.decode("utf-8", "replace").strip().splitlines()
        return (lines[-1] if lines else f"exit code {end.exit_code}")[:500]
    return None


def _then(recorded: Future[Any], future: Future[Result], make: Callable[[int], Result]) -> None:
    """Resolve `future` once the record is durable; a failed record is the caller's failure too."""

    def done(finished: Future[Any]) -> None:
        error = finished.exception()
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(make(finished.result()))

    recorded.add_done_callback(done)
