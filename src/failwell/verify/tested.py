"""What the record says was shown of each executor class, held against itself and against what was started (R6, I8).

That a test was made, and came to what its entry says, is the node's word. What can be told: that the figures of a start
and its entry agree, that a class which failed shut what it had to shut, and that nothing of it started afterwards.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.records import Entry
from failwell.core.state import State

_CLASSES = frozenset({"supervised", "transactional", "fenced", "unstoppable", "cooperative"})
_STATES = frozenset({"ok", "degraded", "failed", "untested"})
_PART = "stopping"


class ClassesShown:
    """Takes the entries in order, each before it is folded."""

    code = "executor.tested"

    def __init__(self) -> None:
        #: By class, since the newest start: the entry of the newest test, and whether it failed.
        self._newest: dict[str, tuple[int, bool]] = {}
        #: Ledger time of a start, and whether it says that its test passed, until its own entry has been held against.
        self._started: tuple[str, bool] | None = None

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """What is wrong with an entry; None if nothing."""
        body = entry.body
        if isinstance(body, kinds.NodeStarted):
            self._newest.clear()
            self._started = entry.at, body.self_test.get("passed") is True
        elif isinstance(body, kinds.ExecutorTested):
            return self._tested(entry, body)
        elif isinstance(body, kinds.Health) and body.part == _PART:
            return self._health(body)
        elif isinstance(body, kinds.Started):
            return self._begun(body)
        return None

    def _tested(self, entry: Entry[Any], body: kinds.ExecutorTested) -> str | None:
        failed = body.state == "failed"
        self._newest[body.executor] = entry.seq, failed
        if entry.actor != "node" or entry.agent is not None:
            return f"the test of a class is the node's, not that of {entry.actor}"
        if body.executor not in _CLASSES or body.state not in _STATES:
            return f"{body.executor} {body.state} is no state of an executor class"
        if bool(body.mechanisms) == (body.state in ("failed", "untested")) and body.state != "degraded":
            return f"{body.executor} is {body.state} by {', '.join(body.mechanisms) or 'nothing'}"
        started, self._started = self._started, None if body.executor == "supervised" else self._started
        if body.executor == "supervised" and started is not None and started[0] == entry.at and started[1] == failed:
            return "it contradicts the self-test of the start that it was made at"
        return None

    def _health(self, body: kinds.Health) -> str | None:
        """The gate is shut by a failed test, and opened by a later one that passed."""
        newest = self._newest.get("supervised")
        if newest is None:  # of an earlier release, which said no more of its tests than at a start
            return None
        entry, failed = newest
        if failed == (body.state == "failed"):
            return None
        return f"it says that stopping is {body.state}, and the newest test (entry {entry}) says otherwise"

    def _begun(self, body: kinds.Started) -> str | None:
        """Nothing that was decided after its class had failed is started while it stands so."""
        newest = self._newest.get(body.executor)
        if newest is None or not newest[1] or body.executor == "fenced" or body.decision <= newest[0]:
            return None
        return f"action {body.decision} is {body.executor}, which had failed its test (entry {newest[0]})"
