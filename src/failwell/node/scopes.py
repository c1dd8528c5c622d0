"""Stops of more than one agent as a living node keeps them: the fence before the record, its lifting after (I3, I8).

Called by the writer for each entry. What a stop is, and what is within it, `core.stops` says.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from failwell.core import kinds, stops
from failwell.core.errors import FailwellError, InputError, NotFound, Refused
from failwell.core.orders import SignedOrder
from failwell.core.records import Entry
from failwell.core.state import State
from failwell.identity.persons import verify_order
from failwell.ledger.jobs import CONTAINMENT
from failwell.response.stops import stop_scope

if TYPE_CHECKING:
    from failwell.node.service import Node


class Scopes:
    """The scopes of one node."""

    def __init__(self, node: Node, state: State) -> None:
        """`state`: what earlier nodes left stopped is so before anything can ask."""
        self._node = node
        #: Stops whose fence is up and that no store has taken yet, by signature.
        self._unwritten: dict[str, SignedOrder] = {}
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
        elif entry.agent is not None and (scope := stops.joined(body)) is not None:
            self._node.fence.join(entry.agent, scope, entry.seq)

    def _joined(self, scope: str) -> Iterable[str]:
        """The agents in what one joins. That everything, or its tool, is stopped every permit says itself."""
        named = scope.startswith((stops.GROUP, stops.CONTRACT))
        return stops.agents_in(self._node.writer.book.state, scope) if named else ()

    def after(self, entry: Entry[Any]) -> None:
        """What permits takes effect only now that it is durable."""
        body = entry.body
        if isinstance(body, kinds.ScopeLifted):
            self._node.fence.lift(body.scope, body.epoch)

    def dropped(self, entries: Iterable[Entry[Any]]) -> None:
        """The store failed under a stop: its fence stays up, and with each tick the order is carried out until it is on
        record. Not at once: a store that goes on failing would have it tried without end.

        Whoever gave it is told that it was not, and may be gone by then.
        """
        for entry in entries:
            body = entry.body
            if isinstance(body, kinds.Order) and body.order == stops.ORDER:
                self._unwritten[body.signature] = SignedOrder(
                    order=body.text, key=body.key, signature=body.signature
                )  # fmt: skip

    def tick(self) -> None:
        """Try once more what no store has taken."""
        unwritten, self._unwritten = self._unwritten, {}
        for signed in unwritten.values():
            self._again(signed)

    def _again(self, signed: SignedOrder) -> None:
        def done(ended: Future[int]) -> None:
            judged = (Refused, NotFound, InputError)  # an answer for good, such as that it was taken
            if ended.exception() is not None and not isinstance(ended.exception(), judged):
                self._unwritten[signed.signature] = signed

        try:
            future = self._node.writer.submit(stop_scope(signed, verify_order, source="node"), CONTAINMENT)
        except FailwellError:
            self._unwritten[signed.signature] = signed
        else:
            future.add_done_callback(done)
