"""The lock on the record: what is preserved with it, who is asked to keep what, and how two persons lift it (I5)."""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, rows
from failwell.core.ends import mark
from failwell.core.errors import Corrupt
from failwell.core.incidents.tables import Fold, Reaction, case_of
from failwell.core.projections import Projections
from failwell.core.records import Entry


def _hold_of(state: Projections, entry: Entry[Any], number: int) -> rows.Hold:
    row = state.hold.get(number)
    if row is None or row.lifted is not None:
        raise Corrupt(f"entry {entry.seq} speaks of hold {number}, which does not stand")
    return row


def _placed(state: Projections, entry: Entry[Any], body: kinds.HoldPlaced, at_us: int) -> None:
    if body.hold != state.holds + 1:
        raise Corrupt(f"entry {entry.seq} places hold {body.hold} after {state.holds}")
    state.holds = body.hold
    row = rows.Hold(
        agent=entry.agent or "", incident=body.incident, first=body.first, last=body.last, why=body.why,
        placed_us=at_us,
    )  # fmt: skip
    state.put("hold", body.hold, row)
    mark(state, body.incident, "HELD", entry.seq)


def _described(state: Projections, entry: Entry[Any], body: kinds.HoldDescribed, at_us: int) -> None:
    _hold_of(state, entry, body.hold)


def _preserved(state: Projections, entry: Entry[Any], body: kinds.DirectoryPreserved, at_us: int) -> None:
    row = state.hold.get(body.hold)
    if row is None or body.name in row.preserved:
        raise Corrupt(f"entry {entry.seq} preserves {body.name} a second time for hold {body.hold}, or for none")
    state.change("hold", body.hold, preserved=(*row.preserved, body.name))


def _asked(state: Projections, entry: Entry[Any], body: kinds.PreservationAsked, at_us: int) -> None:
    _hold_of(state, entry, body.hold)


def _proposed(state: Projections, entry: Entry[Any], body: kinds.HoldProposed, at_us: int) -> None:
    _hold_of(state, entry, body.hold)
    state.change("hold", body.hold, proposed_by=body.person, proposal=body.digest)


def _lifted(state: Projections, entry: Entry[Any], body: kinds.HoldLifted, at_us: int) -> None:
    row = _hold_of(state, entry, body.hold)
    if row.proposal is None or row.proposal != body.digest or row.proposed_by == body.person:
        raise Corrupt(f"entry {entry.seq} lifts hold {body.hold}, which another person did not propose")
    state.change("hold", body.hold, lifted=entry.seq)


def _informed(state: Projections, entry: Entry[Any], body: kinds.AuthorityInformed, at_us: int) -> None:
    row = case_of(state, entry, body.incident)
    state.change("incident", body.incident, informed=(*row.informed, entry.seq))


FOLDS: dict[type, Fold] = {
    kinds.HoldPlaced: _placed,
    kinds.HoldDescribed: _described,
    kinds.DirectoryPreserved: _preserved,
    kinds.PreservationAsked: _asked,
    kinds.HoldProposed: _proposed,
    kinds.HoldLifted: _lifted,
    kinds.AuthorityInformed: _informed,
}
REACTIONS: dict[type, Reaction] = {}
