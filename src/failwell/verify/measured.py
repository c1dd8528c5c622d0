"""What is said of how long a stop took, held against the order and the ends that stand in the record (R8.5, METRICS).

A figure that was made better after the fact does not follow from the ends any more. When an order reached the node, and
when its fence was up, only the node saw: of that no more is checked than that it was before the order's last end.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.records import Entry

UNCONFIRMED = "interrupted_unconfirmed"


class Measured:
    """Takes the entries in order; answers what is wrong with a measurement, None where nothing is."""

    def __init__(self) -> None:
        self._orders: dict[int, kinds.InterruptOrdered] = {}
        #: By action that was ordered to stop: every end it was said to have, with its boot clock.
        self._ends: dict[int, list[tuple[str, int]]] = {}

    def take(self, entry: Entry[Any]) -> str | None:
        """Note an order or an end, or hold a measurement against them."""
        body = entry.body
        if isinstance(body, kinds.InterruptOrdered):
            self._orders[entry.seq] = body
            for action in body.actions:
                self._ends.setdefault(action, [])
        elif isinstance(body, kinds.InterruptConfirmed) and body.action in self._ends:
            self._ends[body.action].append((body.state, body.ended_mono_us))
        elif isinstance(body, kinds.InterruptUnconfirmed) and body.action in self._ends:
            self._ends[body.action].append((UNCONFIRMED, 0))
        elif isinstance(body, kinds.ContainmentMeasured):
            return self._fault(entry, body)
        return None

    def _fault(self, entry: Entry[Any], body: kinds.ContainmentMeasured) -> str | None:
        order = self._orders.get(body.order)
        if order is None or order.incident != body.incident or len(order.actions) != body.actions:
            return f"no order {body.order} stands before it that named so many actions of its incident"
        ends = [self._ends[action] for action in order.actions]
        if not all(ends):
            return "an action that it counts has no end on record"
        fewest = sum({state for state, _ in told} == {UNCONFIRMED} for told in ends)
        most = sum(any(state == UNCONFIRMED for state, _ in told) for told in ends)
        if not fewest <= body.unconfirmed <= most or sum(body.classes.values()) != body.actions:
            return "its actions did not end as it says"
        if (body.ended_mono_us is None) != (body.unconfirmed > 0):
            return "it times an end that is not proven, or does not time one that is"
        return self._times_fault(entry, body, ends)

    def _times_fault(
        self, entry: Entry[Any], body: kinds.ContainmentMeasured, ends: list[list[tuple[str, int]]]
    ) -> str | None:  # fmt: skip
        fenced_us = body.received_mono_us if body.fenced_mono_us is None else body.fenced_mono_us
        if not body.received_mono_us <= fenced_us <= entry.mono_us:
            return "its order reached the node after what it brought about"
        if body.ended_mono_us is None:
            return None
        last_us = max([fenced_us, *(at_us for told in ends for _, at_us in told)])
        return None if body.ended_mono_us == last_us else "the last end on record is another one"
