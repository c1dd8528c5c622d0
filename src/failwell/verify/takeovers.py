"""That a node took another's place, held against what the record says of the one before."""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.records import Entry
from failwell.core.state import State

WHY = ("died", "silent", "gave-way")


class Takeovers:
    """See `verify.conduct.Rule`: takes the entries in order, each before it is folded."""

    code = "node.takeover"

    def __init__(self) -> None:
        #: The newest start, and how the life before it had ended: False where nothing says that it did.
        self._started: Entry[Any] | None = None
        self._pid: int | None = None
        self._ended = False
        self._before: tuple[int | None, bool] = (None, True)

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """What is wrong with an entry; None if nothing."""
        match entry.body:
            case kinds.NodeStarted() as started:
                self._before = self._pid, self._ended
                self._started, self._pid, self._ended = entry, started.pid, False
            case kinds.NodeStopped():
                self._ended = True
            case kinds.NodeTakeover() as took:
                return self._fault(entry, took)
        return None

    def _fault(self, entry: Entry[Any], body: kinds.NodeTakeover) -> str | None:
        started = self._started
        if (entry.actor, entry.agent) != ("node", None) or body.why not in WHY or body.late_us < 0:
            return "that a node took another's place is told by that node, and says why"
        if started is None or (started.seq, started.at) != (entry.seq - 1, entry.at):
            return "a node tells whose place it took with its start, and not later"
        pid, ended = self._before
        if ended and body.why != "gave-way":
            return f"the node before had ended in good order: {body.why} is not what it did"
        # A node that died while it started has left no entry of its own; it is later than the last one that did.
        if pid is None:
            return "no node had run before, whose place could be taken"
        return None
