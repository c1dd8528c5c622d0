"""How long each stop took, measured where it happens: from the order's arrival to the fence, and to the last end (R8).

Watches the writer's entries, from its thread; writes one `containment.measured` entry an order. It stops nothing, and a
stop that a dead node had begun is measured by nobody: its report says so.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from failwell.core import kinds
from failwell.core.errors import FailwellError
from failwell.core.records import Draft, Entry
from failwell.ledger.jobs import CONTAINMENT, Job, Plan, Turn
from failwell.ledger.writer import Writer

UNCONFIRMED = "interrupted_unconfirmed"
#: Stops of which something is still unconfirmed that are remembered, to be measured again when it is confirmed.
KEPT = 1000


@dataclass(slots=True)
class Stop:
    """One order under way. `states` are the ends so far, by action; `ended_us` the latest of those that are proven."""

    order: int
    incident: int | None
    agent: str | None
    actions: tuple[int, ...]
    received_us: int
    fenced_us: int | None = None
    ended_us: int = 0
    classes: dict[int, str] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    told: bool = False

    @property
    def complete(self) -> bool:
        """Whether every action has an end, proven or not."""
        return len(self.states) == len(self.actions)

    @property
    def unconfirmed(self) -> int:
        """Of how many nobody can say that they ended."""
        return sum(state == UNCONFIRMED for state in self.states.values())

    def measured(self, bound_us: int) -> kinds.ContainmentMeasured:
        """What is to be said of it; a stop at which nothing ran took until its fence was up."""
        unconfirmed = self.unconfirmed
        counted = collections.Counter(f"{self.classes.get(each, 'none')}.{end}" for each, end in self.states.items())
        ended = max(self.ended_us, self.fenced_us or self.received_us)
        return kinds.ContainmentMeasured(
            order=self.order, incident=self.incident, received_mono_us=self.received_us, fenced_mono_us=self.fenced_us,
            ended_mono_us=None if unconfirmed else ended, bound_us=bound_us, actions=len(self.actions),
            unconfirmed=unconfirmed,
            classes=dict(sorted(counted.items())),
        )  # fmt: skip


class Measuring:
    """Observes one writer; `mono_us` is the boot clock, `bound_us` what the settings in force state."""

    def __init__(self, writer: Writer, mono_us: Callable[[], int], bound_us: Callable[[], int]) -> None:
        self._writer = writer
        self._mono_us = mono_us
        self._bound_us = bound_us
        #: Of the commit that is being made: its orders, and when which fence went up (by receipt and incident).
        self._made: dict[int, Stop] = {}
        self._fences: dict[tuple[int, int | None], int] = {}
        #: Orders on record that are not told of for good.
        self._open: dict[int, Stop] = {}
        #: The open orders that name an action. Attack: thousands are stopped at once, each end looked for in all.
        self._orders: dict[int, list[Stop]] = {}

    def before(self, entry: Entry[Any]) -> None:
        """Called once the fence has seen the entry: what it closes is closed now."""
        body, received_us = entry.body, self._writer.received_us
        if isinstance(body, kinds.InterruptOrdered):
            fenced_us = self._fences.get((received_us, body.incident))
            self._made[entry.seq] = Stop(
                entry.seq, body.incident, entry.agent, body.actions, received_us, fenced_us
            )  # fmt: skip
        elif isinstance(body, kinds.ScopeStopped):
            self._fenced(received_us, None)
        elif isinstance(body, kinds.AuthorityChanged) and body.now in ("SUSPENDED", "RETIRED"):
            self._fenced(received_us, body.incident)

    def _fenced(self, received_us: int, incident: int | None) -> None:
        """The fence stands before the order that the same commit gives, or right behind it."""
        fenced_us = self._fences[received_us, incident] = self._mono_us()
        for stop in self._made.values():
            if (stop.received_us, stop.incident) == (received_us, incident) and stop.fenced_us is None:
                stop.fenced_us = fenced_us

    def after(self, entries: Iterable[Entry[Any]]) -> None:
        """A batch is on record: its orders stand, and ends may complete one."""
        for entry in entries:
            body = entry.body
            if isinstance(body, kinds.InterruptOrdered) and (stop := self._made.pop(entry.seq, None)) is not None:
                self._open[entry.seq] = stop
                for action in stop.actions:
                    self._orders.setdefault(action, []).append(stop)
                self._told(stop)
            elif isinstance(body, kinds.InterruptAttempted):
                self._attempted(body)
            elif isinstance(body, kinds.InterruptConfirmed):
                self._ended(body.action, body.state, body.ended_mono_us)
            elif isinstance(body, kinds.InterruptUnconfirmed):
                self._ended(body.action, UNCONFIRMED, 0)
        self.dropped()

    def dropped(self) -> None:
        """The batch is over; what it could not write was never ordered."""
        self._made.clear()
        self._fences.clear()

    def _attempted(self, body: kinds.InterruptAttempted) -> None:
        executor, said, _ = body.method.partition(": ")
        for stop in self._orders.get(body.action, ()) if said else ():
            stop.classes[body.action] = executor

    def _ended(self, action: int, state: str, ended_us: int) -> None:
        for stop in tuple(self._orders.get(action, ())):
            stop.states[action] = state
            stop.ended_us = max(stop.ended_us, ended_us)
            self._told(stop)

    def _told(self, stop: Stop) -> None:
        """Write it down once it is complete, and again once what was unconfirmed then is all confirmed."""
        if not stop.complete or (stop.told and stop.unconfirmed):
            return
        stop.told = True
        with contextlib.suppress(FailwellError):  # the ends themselves are on record
            self._writer.submit(_record(stop, self._bound_us()), CONTAINMENT)
        if not stop.unconfirmed:
            self._forget(stop)
        while len(self._open) > KEPT:
            self._forget(next(iter(self._open.values())))

    def _forget(self, stop: Stop) -> None:
        self._open.pop(stop.order, None)
        for action in stop.actions:
            left = [each for each in self._orders.pop(action, ()) if each is not stop]
            if left:
                self._orders[action] = left


def _record(stop: Stop, bound_us: int) -> Job[None]:
    body = stop.measured(bound_us)

    def job(turn: Turn) -> Plan[None]:
        return Plan((Draft(body=body, actor="node", agent=stop.agent, refs=(stop.order,)),), lambda entries: None)

    return job
