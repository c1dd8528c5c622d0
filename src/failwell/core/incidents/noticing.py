"""What is noticed besides verdicts: errors, states of tools and of our own parts, by hosts and by people (R5, R28)."""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.incidents import releasing
from failwell.core.incidents.tables import Fold, Reaction
from failwell.core.projections import Projections
from failwell.core.records import Entry


def _rules(state: Projections, entry: Entry[Any], body: kinds.ResponseRules, at_us: int) -> None:
    state.change("workspace", 1, rules=body.version)
    releasing.take_over(state, at_us)


FOLDS: dict[type, Fold] = {kinds.ResponseRules: _rules}
REACTIONS: dict[type, Reaction] = {}
