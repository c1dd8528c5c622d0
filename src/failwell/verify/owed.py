"""Looks at the world, and undoings, that were owed and never ended: a check that nobody carried out is no check that
held (R5).

Which end follows from a check, and that none comes before its time, the fold says. What it cannot say is that an end is
missing: that is told at the end of the record, of what fell due while a node ran that should have looked.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.instants import parse_at
from failwell.core.records import Entry
from failwell.core.state import State
from failwell.verify.compensated import overdue
from failwell.verify.finding import REACTIONS, Findings

#: How long a node that runs may need for its last look, waiting for others and for a slow source included.
SLACK_US = 10 * 60 * 1_000_000


class Owed:
    """Takes the entries in order; `end` after the last."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._since_us: int | None = None

    def take(self, entry: Entry[Any]) -> None:
        """Note since when a node runs."""
        if isinstance(entry.body, kinds.NodeStarted):
            self._since_us = parse_at(entry.at)

    def end(self, state: State) -> None:
        """A finding for each check that a node had the time to end."""
        if self._since_us is None:
            return
        for key, row in sorted(state.check.items()):
            if max(row.due_us, self._since_us) + SLACK_US < state.last_at_us:
                self._findings.add(
                    REACTIONS, "check.missing", entry=row.decision, first=row.decision, last=state.size - 1,
                    message=f"check {key} fell due while a node ran, and no entry says how it ended",
                )  # fmt: skip
        for decision, _ in overdue(state, self._since_us, SLACK_US):
            self._findings.add(
                REACTIONS, "compensation.missing", entry=decision, first=decision, last=state.size - 1,
                message=f"action {decision} was to be undone while a node ran, and no entry says how that ended",
            )  # fmt: skip
