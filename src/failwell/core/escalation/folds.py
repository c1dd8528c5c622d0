"""The folds and reactions of everything about telling people, for `core.folds` and `core.react`.

A module of this room that folds or answers entries has `FOLDS` or `REACTIONS` by kind and is named here.
"""

from __future__ import annotations

from failwell.core.escalation import answered, clocks, digests, feeds, followup, paging, proofs, stepping, taking, teams
from failwell.core.following import Fold, Reaction

FOLDS: dict[type, Fold] = {}
for _room in (paging, answered, stepping, taking, teams, digests, clocks, proofs, feeds):
    FOLDS.update(_room.FOLDS)
#: Asked for only by rules of version 3 on (`core.react`).
REACTIONS: dict[type, tuple[Reaction, ...]] = {}
for _answering in (stepping, answered, taking, followup, teams, digests, clocks, proofs):
    for _kind, _reaction in _answering.REACTIONS.items():
        REACTIONS[_kind] = (*REACTIONS.get(_kind, ()), _reaction)
