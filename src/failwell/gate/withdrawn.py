"""A leave that was given before, asked for again: it stands only while its agent may act and nothing stops it (R8).

Attack: an agent that is stopped repeats a call that was allowed, and takes the old ALLOW for a new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from failwell.core import rows, stops
from failwell.core.state import State
from failwell.gate.advice import advice

if TYPE_CHECKING:
    from failwell.gate.verdicts import Verdict

#: What a caller may be told of whoever is stopped since: the act came to an end of its own, and nothing runs again.
_DONE = frozenset({"completed", "completed_after_interrupt", "failed"})
_STOPPED = frozenset({"SUSPENDED", "RETIRED"})


def as_it_stands(state: State, row: rows.Action, verdict: Verdict) -> Verdict:
    """An earlier verdict as it is told once more: a denial, unrecorded, where it is leave that is no leave any more."""
    if not verdict.may_start or row.state in _DONE:
        return verdict
    agents = (*row.chain, row.agent)
    barred = stops.barred(state, agents, row.tool)
    for agent in agents:
        if barred is None and state.agent[agent].authority in _STOPPED:
            authority = state.agent[agent].authority.lower()
            barred = f"authority.{authority}", f"{state.agent[agent].name} is {authority}."
    if barred is None:
        return verdict
    clause, why = barred
    because = f"This call was decided before, and is {row.state.replace('_', ' ')}. {why}"
    return msgspec.structs.replace(
        verdict, verdict="DENY", clauses=(clause,), because=because, governed=True, hint=advice([clause])
    )
