"""The end of an action, on record: its outcome, and where it was to stop the try, the proof, or that there is none."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from failwell.core import stops
from failwell.gate.outcomes import Settlement, draft_outcome, settle
from failwell.ledger.jobs import CONTAINMENT, NORMAL, Job, Plan, Turn
from failwell.node.ends import Ends
from failwell.ports.executor import Ended
from failwell.response.containment import ended_by_order

#: What is said instead of an end whose order came while it was on its way here.
Overtaken = Callable[[], tuple[Ended, Settlement]]


class Recorder:
    """Makes the job that writes an end down; `ends` sees to it that it is written."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends

    def end(
        self, end: Ended, settlement: Settlement, method: str, *, stopped: bool = False,
        overtaken: Overtaken | None = None,
    ) -> Future[Any]:  # fmt: skip
        """Record an end, as a stop where one was ordered: also one whose order overtook it on its way here.

        `method`: its class and how it was stopped, as `supervised: order`. `overtaken` gives what is said in that case.
        """
        lane = CONTAINMENT if stopped or end.state == "blocked" else NORMAL
        return self._ends.record(end.action, _ending(end, settlement, method, stopped, overtaken), lane)


def _ending(end: Ended, settlement: Settlement, method: str, stopped: bool, overtaken: Overtaken | None) -> Job[Any]:
    """The job that records an end; nothing if it was recorded meanwhile.

    Attack: an action ends while its agent is being suspended. Its outcome waits in the queue, the order overtakes it
    and counts it as running; so whether an incident waits for it is looked up when it is written.
    """

    def job(turn: Turn) -> Plan[Any]:
        action = turn.state.action.get(end.action)
        if action is None:
            return Plan((), lambda entries: end.action)
        if stopped:
            return ended_by_order(end, method, lambda now: draft_outcome(now, settlement))(turn)
        bound = [turn.state.agent.get(name) for name in (action.agent, *action.chain)]
        cases = [turn.state.incident[row.incident] for row in bound if row is not None and row.incident is not None]
        if any(end.action in case.waiting for case in cases) or stops.awaits(turn.state, end.action):
            said, settles = (end, settlement) if overtaken is None else overtaken()
            return ended_by_order(said, method, lambda now: draft_outcome(now, settles))(turn)
        return settle(settlement)(turn)

    return job
