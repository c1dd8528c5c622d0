"""What is said to have been preserved of an action, held against how it ended (R9). Its texts lie in blobs."""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.records import Entry
from failwell.core.state import State

_STOPPED = frozenset({"interrupted_confirmed", "interrupted_unconfirmed", "completed_after_interrupt"})


class StatesPreserved:
    """Takes the entries in order, each before it is folded."""

    code = "state.preserved"

    def __init__(self) -> None:
        #: Stopped actions of which nothing has been preserved yet, each with its agent.
        self._stopped: dict[int, str | None] = {}

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """What is wrong with an entry; None if nothing."""
        body = entry.body
        if isinstance(body, kinds.Outcome) and body.state in _STOPPED:
            self._stopped[body.decision] = entry.agent
        if not isinstance(body, kinds.StatePreserved):
            return None
        if body.decision not in self._stopped:
            return f"action {body.decision} was not stopped, or its state was preserved before"
        agent = self._stopped.pop(body.decision)
        if (entry.actor, entry.agent) != ("node", agent):
            return "it is another's word, or about another agent's action"
        if body.complete != (body.missing is None):
            return (
                "it says that all was taken, and what was not" if body.complete else "it does not say what is missing"
            )
        if (entry.blob is None) != (body.snapshot is None and body.directory is None):
            return (
                "it commits to texts, and there are none"
                if entry.blob is None
                else "its blob is committed to by nothing"
            )
        if min(body.processes, body.took_us, body.files, body.bytes) < 0:
            return "it counts less than nothing"
        none = (body.snapshot is None and body.processes) or (body.directory is None and (body.files or body.bytes))
        return "it counts what it does not hold" if none else None
