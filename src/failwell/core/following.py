"""How the modules here say which entries they fold and which they answer: `FOLDS` and `REACTIONS`, by kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from failwell.core import rows
from failwell.core.errors import Corrupt
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

Fold = Callable[[Projections, Entry[Any], Any, int], None]
#: Takes the state, which includes the entry already.
Reaction = Callable[[Projections, Entry[Any], Any], tuple[Draft, ...]]

#: Words of a response by which people are told.
TELLS = frozenset({"notify", "ask", "suspend_group"})
#: Letters to people who are not asked to take the case: one that arrives tells nobody who answers for the agent.
BESIDE = frozenset(
    {"preserve", "work", "task", "group", "taken", "over", "again", "digest", "proof", "proven", "clock"}
)


def case_of(state: Projections, entry: Entry[Any], number: int) -> rows.Incident:
    """The incident that an entry names; Corrupt where there is none."""
    row = state.incident.get(number)
    if row is None:
        raise Corrupt(f"entry {entry.seq} speaks of incident {number}, which there is not")
    return row
