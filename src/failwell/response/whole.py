"""Everything that is told of an incident: its account, and under its own key what each part adds (`parts`)."""

from __future__ import annotations

from failwell.response import case_told, escalation_told, given_back, held, impact_summary, layers, unfinished_work
from failwell.response.account import Account
from failwell.response.parts import Part

#: The parts, in the order in which they ask: who waits for people comes first.
PARTS: tuple[Part, ...] = (
    unfinished_work.PART, given_back.PART, impact_summary.PART, held.PART, case_told.PART, layers.PART,
    escalation_told.PART,
)  # fmt: skip


class Whole(Account, frozen=True, kw_only=True):
    """An account with its parts. One that could not be told is null, and `untold` says why, by its key."""

    work: unfinished_work.LeftWork | None
    release: given_back.GivenBack | None
    impact: impact_summary.Summary | None
    lock: held.Lock | None
    case: case_told.CaseTold | None
    layers: layers.Layers | None
    escalation: escalation_told.EscalationTold | None
    untold: dict[str, str]
