"""Too much for one person at once: what may wait a minute is told in one letter, and what must not is never held up.

Never held: the first page of an incident, a stop that failed, authority that one person alone gave back. Of the rest a
person gets ten letters in ten minutes; beyond that one letter a minute tells all that came since.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from failwell.core import kinds
from failwell.core.escalation.paging import may_wait
from failwell.core.records import Draft
from failwell.ledger.jobs import Plan, Turn
from failwell.ledger.writer import Writer
from failwell.node.posting import Due

AT_MOST, WITHIN_S = 10, 600.0
#: How often more than that is told.
GATHER_S = 60.0
#: Pages that one letter tells.
BUNDLED_AT_ONCE = 100


class Flood:
    """Knows what went out to whom lately; a node that starts anew has seen nothing."""

    def __init__(self, writer: Writer, now_s: Callable[[], float] = time.monotonic) -> None:
        self._writer = writer
        self._now_s = now_s
        self._sent: dict[str, collections.deque[float]] = {}

    def held_back(self, due: list[Due], under_way: Collection[int] = ()) -> list[Due]:
        """What may go out now. Of what may wait and is too much for a person, the first tells the others."""
        waiting: dict[str, list[Due]] = {}
        for each in due:
            if _may_wait(each) and each.number not in under_way:
                waiting.setdefault(each.page.person, []).append(each)
        held: set[int] = set()
        for person, found in waiting.items():
            free = self._free(person)
            if len(found) <= free:
                continue
            rest = found[max(0, free - 1) :]
            held.update(each.number for each in rest)
            if free > 0 or self._gathered(person):
                self._bundle(rest[:BUNDLED_AT_ONCE])
                held.discard(rest[0].number)
        return [each for each in due if each.number not in held]

    def note(self, due: Due) -> None:
        """It went out."""
        if _may_wait(due):
            self._sent.setdefault(due.page.person, collections.deque(maxlen=AT_MOST)).append(self._now_s())

    def _free(self, person: str) -> int:
        """How many letters a person may still get now."""
        return AT_MOST - sum(self._now_s() - at_s < WITHIN_S for at_s in self._sent.get(person, ()))

    def _gathered(self, person: str) -> bool:
        return self._now_s() - self._sent[person][-1] >= GATHER_S

    def _bundle(self, found: list[Due]) -> None:
        first, others = found[0].number, frozenset(each.number for each in found[1:])
        if not others:
            return

        def job(turn: Turn) -> Plan[None]:
            pages = tuple(sorted(number for number in others if _queued(turn, number)))
            if not pages or not _queued(turn, first):
                return Plan((), _nothing)
            return Plan((Draft(body=kinds.PageBundled(pages=pages, into=first), actor="node"),), _nothing)

        self._writer.submit(job).result()


def _may_wait(due: Due) -> bool:
    return may_wait(due.page) and not due.over


def _queued(turn: Turn, number: int) -> bool:
    return number in turn.state.page and turn.state.page[number].state == "queued"


def _nothing(_: Iterable[Any]) -> None:
    return None
