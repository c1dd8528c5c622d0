"""What is told of how people are told: all that runs, and one incident's with its path and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from failwell.core.errors import InputError, NotFound
from failwell.core.escalation.due import OVER
from failwell.core.state import State
from failwell.response import escalation_told

if TYPE_CHECKING:
    from failwell.node.service import Node


class EscalationAnswers:
    """Answers about the escalations of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def listed(self, key: Any) -> list[dict[str, Any]]:
        """Every escalation that is not over, the next one due first; with its case's severity and title."""

        def see(state: State) -> list[tuple[int, escalation_told.Seen]]:
            running = [number for number, row in state.escalation.items() if row.state != OVER]
            return [(number, escalation_told.look(state, number)) for number in running]

        seen: list[tuple[int, escalation_told.Seen]] = await self._node.questions.look(see)
        due_us = {number: 0 if each.comes is None else each.comes.at_us for number, each in seen}
        return [_told(number, each) for number, each in sorted(seen, key=lambda one: (due_us[one[0]], one[0]))]

    async def told(self, key: Any) -> dict[str, Any]:
        """How people are told of incident `key`."""
        if not isinstance(key, int) or isinstance(key, bool):
            raise InputError("an incident is named by its number", hint="failwell incident list")

        def see(state: State) -> escalation_told.Seen:
            if key not in state.incident:
                raise NotFound(f"there is no incident {key}", hint="failwell incident list shows those there are.")
            return escalation_told.look(state, key)

        seen: escalation_told.Seen = await self._node.questions.look(see)
        if seen.row is None:
            raise NotFound(
                f"nobody is told of incident {key} along a path",
                hint=f"failwell incident escalate {key} --reason TEXT begins it.",
            )
        return _told(key, seen)


def _told(number: int, seen: escalation_told.Seen) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(escalation_told.told(number, seen))
    case = seen.case
    return {**fields, "severity": case.severity, "title": case.title, "case": case.state, "holder": case.holder}
