"""The jobs that one recorded run becomes: open, decide and settle each call, close; each finds its place in
the state.

Runs follow each other: at most one is open, so a job finds run and action in the state it runs on and need
not be told their entry numbers. That lets any number of jobs be queued at once and share commits. Each job
holds only if the one before it held (a lost step makes all later ones refuse), and finds its own work done
by an earlier attempt, so that an interrupted backtest goes on with the very next entry.

What is judged is judged by `gate.verdicts` and settled by `gate.outcomes`; nothing here decides.
"""

from __future__ import annotations

from typing import Any

from failwell.core.errors import Refused
from failwell.core.records import Entry
from failwell.gate import outcomes, runs
from failwell.gate.verdicts import Asked, Gate, Proposal
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.replay.declaration import call_of, source_of
from failwell.replay.pace import PacedClock
from failwell.replay.traces import RecordedCall, RecordedRun

#: Who says what came of a recorded call: the recording.
BY = "recorded"
#: Nobody can be asked how the world stood when a call was recorded: what a contract looks up is denied for want of it.
NO_SOURCES = Asked(answers={}, contract="", missing="not available in a backtest")


def wait_until(clock: PacedClock, passed_us: int) -> Job[None]:
    """The job between two others in which ledger time passes; it writes nothing."""

    def job(turn: Turn) -> Plan[None]:
        clock.move(passed_us)
        return Plan((), _nothing)

    return job


def open_recorded(agent: str, run: RecordedRun) -> Job[Any]:
    """The job that opens `run` with its first user message as the request; who asked is not recorded."""
    # Not verified by anybody, so it is opened without a host: the request counts as asserted.
    opens = runs.open_run(agent, principal=None, request=run.request, host=None, source=source_of(run))

    def job(turn: Turn) -> Plan[Any]:
        if turn.state.run:
            raise Refused(f"{run.file_name}, run {run.ordinal}: the run before it is not closed")
        return opens(turn)

    return job


def decide_recorded(gate: Gate, agent: str, run: RecordedRun, call: RecordedCall) -> Job[Any]:
    """The job that puts one recorded call before the gate, with the model's words as its reason."""

    def job(turn: Turn) -> Plan[Any]:
        number = _open_run(turn, run)
        if len(turn.state.calls[number]) < call.ordinal - 1:
            raise Refused(f"{_place(run, call)}: the call before it was not decided")
        proposal = Proposal(
            agent=agent, run=number, call=call_of(run, call), tool=call.tool, arguments=call.arguments,
            reason=call.words,
        )  # fmt: skip
        return gate.decide(proposal, NO_SOURCES)(turn)

    return job


def settle_recorded(run: RecordedRun, call: RecordedCall) -> Job[Any]:
    """The job that records what came of an allowed call.

    A denied or escalated call has no outcome: what it did when recorded is not claimed for this replay.
    """

    def job(turn: Turn) -> Plan[Any]:
        decision = turn.state.calls[_open_run(turn, run)].get(call_of(run, call))
        if decision is None:
            raise Refused(f"{_place(run, call)}: it was not decided")
        if decision not in turn.state.action:
            return Plan((), _nothing)
        return outcomes.settle(_settlement(decision, call))(turn)

    return job


def close_recorded(agent: str, run: RecordedRun) -> Job[Any]:
    """The job that closes a run all of whose calls are decided and settled."""

    def job(turn: Turn) -> Plan[Any]:
        number = _open_run(turn, run)
        if len(turn.state.calls[number]) != len(run.calls) or turn.state.action:
            raise Refused(f"{run.file_name}, run {run.ordinal}: not all calls were decided and settled")
        return runs.close_run(number, agent, BY)(turn)

    return job


def _settlement(decision: int, call: RecordedCall) -> outcomes.Settlement:
    if call.result is None:
        return outcomes.Settlement(decision=decision, state="unknown", by=BY, why="no result was recorded")
    return outcomes.Settlement(
        decision=decision, state="failed" if call.error else "completed", by=BY,
        result=call.result.encode("utf-8", "replace"),
    )  # fmt: skip


def _open_run(turn: Turn, run: RecordedRun) -> int:
    """The number of the one open run."""
    if len(turn.state.run) != 1:
        raise Refused(f"{run.file_name}, run {run.ordinal}: it is not open")
    return next(iter(turn.state.run))


def _place(run: RecordedRun, call: RecordedCall) -> str:
    return f"{run.file_name}, run {run.ordinal}, call {call.ordinal}"


def _nothing(entries: tuple[Entry[Any], ...]) -> None:
    return None
