"""Whether a tool can be reached round the gate from where its agent runs: what was tried, and what of it worked (R5).

A way that worked stays until it is tried again and fails: what was left out of a later attempt is not mended by it.
That something is held is the word of the agent's side alone; that it is bypassable counts from whoever says it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.projections import Projections
from failwell.core.records import Entry
from failwell.core.ways import WAYS, place_of, state_of


def _probed(state: Projections, entry: Entry[Any], body: kinds.CustodyProbed, at_us: int) -> None:
    agent = str(entry.agent)
    # Attack: another agent's word, which has a way forgotten that works.
    if agent not in state.agent or entry.actor != f"agent:{agent}":
        raise Corrupt(f"entry {entry.seq} says what {agent} can reach, which only its own side says")
    if (
        not body.tried
        or len(set(body.tried)) != len(body.tried)
        or not set(body.ways) <= set(body.tried) <= set(WAYS)
        or body.state != state_of(body.ways)
    ):
        raise Corrupt(f"entry {entry.seq} says of {body.tool} what its own ways do not")
    place = place_of(agent, body.tool)
    was = state.custody.get(place)
    kept = () if was is None else tuple(way for way in was.ways if way not in body.tried)
    ways = (*body.ways, *kept)
    state.put("custody", place, rows.Custody(agent=agent, state=state_of(ways), ways=ways, probed=entry.seq))


FOLDS: dict[type, Callable[[Projections, Entry[Any], Any, int], None]] = {kinds.CustodyProbed: _probed}
