"""How actions were stopped, held against itself: no proof without a try, no try without an open action, no outcome
that says more than its proof, and no later proof of what nobody had failed to prove.

An action's end is one commit: the try, its proof or that there is none, and the outcome. What could not be confirmed
may be confirmed later, once, by an entry of its own. Whether a proof is true only its node could see.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.records import Entry
from failwell.core.state import State

#: Classes whose work no kill at the node ends: at the stop itself nothing can be confirmed of what had begun.
NOT_AT_ONCE = frozenset({"cooperative", "unstoppable"})
_CONFIRMED = frozenset({"interrupted_confirmed", "completed_after_interrupt", "blocked"})


class Ends:
    """See `verify.conduct.Rule`: takes the entries in order, each before it is folded."""

    code = "action.end"

    def __init__(self) -> None:
        self._classes: dict[int, str] = {}
        #: The newest try: which action, by which class, at which ledger time; and the proof that followed it.
        self._tried: tuple[int, str, str] = (-1, "", "")
        self._proof: tuple[int, str] = (-1, "")
        self._unproven: set[int] = set()

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """Note what an entry says of a stop, and hold it against those before it; what is wrong."""
        body = entry.body
        if isinstance(body, kinds.Started):
            self._classes[body.decision] = body.executor
        elif isinstance(body, kinds.InterruptAttempted):
            return self._attempted(entry, body, state)
        elif isinstance(body, kinds.InterruptConfirmed):
            return self._confirmed(entry, body)
        elif isinstance(body, kinds.InterruptUnconfirmed):
            return self._unconfirmed(entry, body)
        elif isinstance(body, kinds.Outcome):
            self._classes.pop(body.decision, None)
            return self._outcome(body)
        return None

    def _attempted(self, entry: Entry[Any], body: kinds.InterruptAttempted, state: State) -> str | None:
        executor, told, _ = body.method.partition(": ")
        started = self._classes.get(body.action, executor if told else "")
        # Attack: a stop by `none`, which is every class's, of what was started as one that nobody here can stop.
        self._tried = (body.action, started, entry.at)
        if body.action not in state.action:
            return f"it stops action {body.action}, which was not open"
        if told and executor not in (started, "none"):
            return f"it stops action {body.action} as {executor}, and that was started as {started}"
        return None

    def _confirmed(self, entry: Entry[Any], body: kinds.InterruptConfirmed) -> str | None:
        if body.state not in _CONFIRMED:
            return f"{body.state!r} is nothing that can be confirmed"
        action, executor, at = self._tried
        if (action, at) == (body.action, entry.at) and self._proof[0] != action:
            self._proof = (action, body.state)
            if executor in NOT_AT_ONCE and body.state != "blocked":
                return f"action {action} is {executor}: no order of ours shows at once that it stopped"
            return None
        if body.action not in self._unproven:
            return f"it confirms the end of action {body.action}, which nothing had stopped or failed to stop"
        self._unproven.discard(body.action)
        if entry.actor != "node" or body.state == "blocked":
            return f"action {body.action} was not confirmed when it was stopped; later only its node confirms that"
        return None

    def _unconfirmed(self, entry: Entry[Any], body: kinds.InterruptUnconfirmed) -> str | None:
        self._unproven.add(body.action)
        action, _, at = self._tried
        if (action, at) != (body.action, entry.at) or self._proof[0] == action:
            return f"it could not confirm the end of action {body.action}, which nothing before it tries to stop"
        self._proof = (action, "interrupted_unconfirmed")
        return None

    def _outcome(self, body: kinds.Outcome) -> str | None:
        proven = self._proof[1] if self._proof[0] == body.decision else ""
        if body.state == "interrupted_confirmed" and proven != "interrupted_confirmed":
            return f"it says that the stop of action {body.decision} was confirmed, and no entry before it does that"
        if body.state == "interrupted_unconfirmed" and proven != "interrupted_unconfirmed":
            return f"it says that action {body.decision} was to stop, and no entry before it says how that went"
        return None
