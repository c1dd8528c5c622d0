"""What is told of feeds: each that is declared, or that told something once, how far it is and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from failwell.core.errors import NotFound
from failwell.core.escalation.feeds import BEGIN, reached
from failwell.core.instants import format_at

if TYPE_CHECKING:
    from failwell.core import rows
    from failwell.core.state import State
    from failwell.node.service import Node

ALL_TOLD, WAITS, FAILED, GONE = "all told", "telling", "failed", "not declared"


class FeedAnswers:
    """Answers about the feeds of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def listed(self, key: Any) -> list[dict[str, Any]]:
        """All of them, by name."""
        told: list[dict[str, Any]] = await self._node.questions.look(self._all)
        return told

    async def told(self, key: Any) -> dict[str, Any]:
        """One, with how it calls the incidents that it was told of."""

        def see(state: State) -> tuple[list[dict[str, Any]], rows.Feed]:
            return self._all(state), reached(state, str(key))

        listed, row = await self._node.questions.look(see)
        found = next((each for each in listed if each["feed"] == key), None)
        if found is None:
            raise NotFound(f"there is no feed {key}", hint="failwell feed list; a section [feeds.NAME] declares one.")
        return {**found, "theirs": [{"incident": number, "theirs": name} for number, name in row.theirs]}

    def _all(self, state: State) -> list[dict[str, Any]]:
        declared = self._node.settings.feeds
        return [self._one(state, name) for name in sorted({*declared, *state.feed})]

    def _one(self, state: State, name: str) -> dict[str, Any]:
        said, row = self._node.settings.feeds.get(name), reached(state, name)
        trouble = None if said is None else self._node.duties.feeds.trouble(name)
        failed = row.attempts > 0 or trouble is not None
        waits = said is not None and self._node.duties.feeds.behind(name)
        return {
            "feed": name, "kind": None if said is None else said.kind, "to": None if said is None else said.to,
            "state": GONE if said is None else FAILED if failed else WAITS if waits else ALL_TOLD,
            "last": None if row.last == BEGIN else row.last, "entries": state.size, "incidents": len(row.theirs),
            "failures": row.attempts, "detail": trouble or row.detail or None,
            "next": format_at(row.due_us) if row.attempts else None,
        }  # fmt: skip
