"""Stops of more than one agent as a living node keeps them: the fence before the record, its lifting after (I3, I8).

Called by the writer for each entry. What a stop is, and what is within it, `core.stops` says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from failwell.core import kinds, stops
from failwell.core.records import Entry
from failwell.core.state import State

if TYPE_CHECKING:
    from failwell.node.service import Node


class Scopes:
    """The scopes of one node."""

    def __init__(self, node: Node, state: State) -> None:
        """`state`: what earlier nodes left stopped is so before anything can ask."""
        self._node = node
        for scope, row in state.stop.items():
            self._node.fence.shut(scope, row.epoch)
            if not row.closed:
                self._node.fence.lift(scope, row.epoch)

    def before(self, entry: Entry[Any]) -> None:
        """A stop takes effect before it is durable; so does coming within one."""
        body = entry.body
        if isinstance(body, kinds.ScopeStopped):
            self._node.fence.shut(body.scope, body.epoch, self._joined(body.scope), entry.seq)
            self._node.duties.compensator.stop(body.scope)
        elif isinstance(body, kinds.InterruptOrdered):
            self._interrupted(entry, body)
        elif entry.agent is not None and (scope := stops.joined(body)) is not None:
            self._node.fence.join(entry.agent, scope, entry.seq)

    def _interrupted(self, entry: Entry[Any], body: kinds.InterruptOrdered) -> None:
        """What is named starts no more. An order about all of an agent names all that is open of it, or was handed over
        by it; one about a run leaves the agent's other runs alone.
        """
        if entry.run is not None:
            self._node.fence.bar(body.actions)
        elif entry.agent is not None:
            self._node.fence.void(entry.agent, entry.seq, f"{entry.agent} was ordered to stop what runs")

    def _joined(self, scope: str) -> Iterable[str]:
        """The agents in what one joins. That everything, or its tool, is stopped every permit says itself."""
        named = scope.startswith((stops.GROUP, stops.CONTRACT))
        return stops.agents_in(self._node.writer.book.state, scope) if named else ()

    def after(self, entry: Entry[Any]) -> None:
        """What permits takes effect only now that it is durable."""
        body = entry.body
        if isinstance(body, kinds.ScopeLifted):
            self._node.fence.lift(body.scope, body.epoch)
