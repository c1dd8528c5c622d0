"""The containment report: of each order to stop, what ran, by which class it could be stopped, how it ended (R6, R8).

Two times stand beside the stated bound: T1, from the order's arrival until nothing new could start, and T2, until the
last effect of what ran had ended. Both are measured by the node; an order whose node died in between has none. Told
from entries alone; it judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from failwell.core import kinds
from failwell.core.records import Entry

UNCONFIRMED = "interrupted_unconfirmed"


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """One action that was ordered to stop. `after_ms`: from the order's arrival to its last process gone, None while
    that is not proven. `executor` is its class, `method` how it was stopped, `entry` the one that says how it ended.
    """

    action: int
    agent: str
    tool: str
    executor: str
    method: str
    state: str
    processes: int
    after_ms: float | None
    proven_by: str
    entry: int | None


class Containment(msgspec.Struct, frozen=True, kw_only=True):
    """One order. `held`: both times are measured and within the bound; None while they are not known."""

    order: int
    at: str
    incident: int | None
    agent: str | None
    why: str
    bound_ms: float | None
    t1_ms: float | None
    t2_ms: float | None
    held: bool | None
    unconfirmed: int
    waiting: int
    stopped: tuple[Stopped, ...]


class Report:
    """Takes the entries from the orders on, in any number; `containments` gives what they tell."""

    def __init__(self, tools: dict[int, tuple[str, str]] | None = None) -> None:
        """`tools`: (agent, tool) of decisions that stand before the entries taken."""
        self._tools = dict(tools or {})
        self._orders: dict[int, Entry[Any]] = {}
        self._classes: dict[int, str] = {}
        self._methods: dict[int, str] = {}
        self._ends: dict[int, Entry[Any]] = {}
        self._measured: dict[int, kinds.ContainmentMeasured] = {}

    def take(self, entries: Iterable[Entry[Any]]) -> None:
        """Note what the entries tell of orders, ends and measurements."""
        for entry in entries:
            body = entry.body
            if isinstance(body, kinds.Decision):
                self._tools[entry.seq] = (str(entry.agent), body.tool)
            elif isinstance(body, kinds.Started):
                self._classes[body.decision] = body.executor
            elif isinstance(body, kinds.InterruptOrdered):
                self._orders[entry.seq] = entry
            elif isinstance(body, kinds.InterruptAttempted):
                self._attempted(body)
            elif isinstance(body, kinds.InterruptConfirmed | kinds.InterruptUnconfirmed):
                self._ends[body.action] = entry
            elif isinstance(body, kinds.ContainmentMeasured):
                self._measured[body.order] = body

    def _attempted(self, body: kinds.InterruptAttempted) -> None:
        executor, told, method = body.method.partition(": ")
        if told:
            self._classes[body.action] = executor
        self._methods[body.action] = method if told else body.method

    def executor(self, action: int) -> str:
        """The class of an action; `none` for one that never ran here."""
        return self._classes.get(action, "none")

    def measured(self, incident: int) -> kinds.ContainmentMeasured | None:
        """The measurement of an incident's first order, as far as there is one."""
        return next((body for _, body in sorted(self._measured.items()) if body.incident == incident), None)

    def ended(self, order: int) -> bool:
        """Whether all that an order named has its end, so that no later entry is needed to tell it."""
        entry = self._orders.get(order)
        return entry is not None and order in self._measured and not self._measured[order].unconfirmed

    def containments(self) -> tuple[Containment, ...]:
        """The orders, oldest first."""
        return tuple(self._tell(entry) for _, entry in sorted(self._orders.items()))

    def _tell(self, entry: Entry[Any]) -> Containment:
        body: kinds.InterruptOrdered = entry.body
        measured = self._measured.get(entry.seq)
        since_us = entry.mono_us if measured is None else measured.received_mono_us
        stopped = tuple(self._stopped(action, since_us) for action in body.actions)
        t1 = None if measured is None else _span_ms(since_us, measured.fenced_mono_us)
        t2 = None if measured is None else _span_ms(since_us, measured.ended_mono_us)
        bound_ms = None if measured is None else measured.bound_us / 1000
        return Containment(
            order=entry.seq, at=entry.at, incident=body.incident, agent=entry.agent, why=body.why, bound_ms=bound_ms,
            t1_ms=t1, t2_ms=t2, held=None if bound_ms is None or t2 is None else max(t1 or 0.0, t2) <= bound_ms,
            unconfirmed=sum(each.state == UNCONFIRMED for each in stopped),
            waiting=sum(each.entry is None for each in stopped), stopped=stopped,
        )  # fmt: skip

    def _stopped(self, action: int, since_us: int) -> Stopped:
        agent, tool = self._tools.get(action, ("?", "?"))
        end = self._ends.get(action)
        state, processes, after_ms, proven_by = "waiting", 0, None, "no end on record yet"
        if end is not None and isinstance(end.body, kinds.InterruptConfirmed):
            state, processes, proven_by = end.body.state, end.body.processes, end.body.proven_by
            # What had ended before its order came, or in another boot, is no measurement of how long a stop takes.
            after_ms = _span_ms(since_us, end.body.ended_mono_us or None)
        elif end is not None:
            state, proven_by = UNCONFIRMED, f"not proven: {end.body.why}"
        return Stopped(
            action=action, agent=agent, tool=tool, executor=self.executor(action),
            method=self._methods.get(action, "order"), state=state, processes=processes, after_ms=after_ms,
            proven_by=proven_by, entry=None if end is None else end.seq,
        )  # fmt: skip


def _span_ms(since_us: int, until_us: int | None) -> float | None:
    return None if until_us is None or until_us < since_us else (until_us - since_us) / 1000
