"""What is told about stops of more than one agent: which scopes are closed, what is within them, who may lift them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from failwell.core import kinds, rows, stops
from failwell.core.errors import InputError, NotFound
from failwell.core.state import State

if TYPE_CHECKING:
    from failwell.node.service import Node


class StopAnswers:
    """Answers about the stops of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def listed(self, key: Any) -> list[dict[str, Any]]:
        """Every scope that was ever stopped, those in force first; with a key only those."""

        def see(state: State) -> list[dict[str, Any]]:
            told = [_told(state, scope, row) for scope, row in state.stop.items() if row.closed or not key]
            return sorted(told, key=lambda each: (not each["closed"], each["scope"]))

        found: list[dict[str, Any]] = await self._node.questions.look(see)
        return found

    async def told(self, key: Any) -> dict[str, Any]:
        """One scope, with the lift that stands proposed."""
        if not isinstance(key, str):
            raise InputError("a scope is all, group:NAME, tool:NAME or contract:NAME")

        def see(state: State) -> dict[str, Any]:
            row = state.stop.get(key)
            if row is None:
                raise NotFound(
                    f"{stops.words(key)} was never stopped",
                    hint="A scope is all, group:NAME, tool:NAME or contract:NAME: failwell stop list --all",
                )
            return _told(state, key, row)

        found: dict[str, Any] = await self._node.questions.look(see)
        if found["proposal"] is not None:
            found["conditions"], found["evidence"] = await asyncio.to_thread(self._proposed, found)
        return found

    def _proposed(self, told: dict[str, Any]) -> tuple[str | None, list[int]]:
        """Conditions and evidence of the lift that stands proposed."""
        for entry in reversed(self._node.questions.read(told["ordered"])):
            if isinstance(entry.body, kinds.ScopeProposed) and entry.body.digest == told["proposal"]:
                return entry.body.conditions, [ref.seq for ref in entry.refs[1:]]
        return None, []


def _told(state: State, scope: str, row: rows.Stop) -> dict[str, Any]:
    agents = [
        {"agent": agent, "name": state.agent[agent].name, "owner": state.agent[agent].owner}
        for agent in stops.agents_in(state, scope)
    ]
    told: dict[str, Any] = msgspec.to_builtins(row)
    return {"scope": scope, **told, "agents": agents, "conditions": None, "evidence": []}
