"""What is said to have been swept of a dead node, held against what was open when it died."""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.records import Entry
from failwell.core.state import State


class Leftovers:
    """Takes the entries in order, each before it is folded."""

    code = "leftovers.swept"

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """What is wrong with an entry; None if nothing."""
        body = entry.body
        if not isinstance(body, kinds.LeftoversSwept):
            return None
        if (entry.actor, entry.agent) != ("node", None):
            return f"what a dead node left is told by the next one, not by {entry.actor}"
        counts = body.processes, body.supervisors, body.left
        if not any(counts) or min(counts) < 0:
            return "it counts nothing that was left"
        ended = [action for action in body.actions if action not in state.action]
        return f"action {ended[0]} was not open when its node died" if ended else None
