"""Folds of what belongs to agents that already ran: an observation with its end, and access that a vendor took away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from failwell.core import kinds
from failwell.core.contract import STOPPED, UNHEALTHY
from failwell.core.errors import Corrupt
from failwell.core.projections import Projections
from failwell.core.records import Entry

#: How long an agent may be observed at most before it is governed (D25).
MAX_OBSERVED_US = 90 * 24 * 3600 * 1_000_000
#: Clauses that hold of an OBSERVED agent too: it is not its contract that speaks by them, but Failwell, which cannot
#: record what would happen, or knows that it happened already, or people who stopped it together with others.
ALWAYS_REFUSED: frozenset[str] = frozenset({UNHEALTHY, "run.unknown", "call.reused", "authority.observed", STOPPED})


def _observation(state: Projections, entry: Entry[Any], body: kinds.Observation, at_us: int) -> None:
    row = state.agent.get(str(entry.agent))
    # Attack: an agent that is governed is observed instead, or an end date that is moved whenever it comes near.
    if row is None or row.authority != "REGISTERED" or row.detect_only or row.observed_until_us is not None:
        raise Corrupt(f"entry {entry.seq} observes {entry.agent}, which cannot be observed")
    if not at_us < body.until_us <= at_us + MAX_OBSERVED_US:
        raise Corrupt(f"entry {entry.seq} observes {entry.agent} for longer than is allowed")
    state.change("agent", entry.agent, observed_until_us=body.until_us)


def _revoked(state: Projections, entry: Entry[Any], body: kinds.AccessRevoked, at_us: int) -> None:
    """Confirmed by its vendor the agent is stopped; anything else is a containment that failed so far."""
    row = state.incident.get(-1 if body.incident is None else body.incident)
    agent = state.agent.get(str(entry.agent))
    # Attack: what a gate stands before is declared stopped by a vendor that it does not have.
    if agent is None or not agent.detect_only or (row is not None and row.agent != entry.agent):
        raise Corrupt(f"entry {entry.seq} takes away an access that {entry.agent} does not have")
    mark = "STOPPED" if body.state == "confirmed" else "CONTAINMENT_FAILED"
    if row is not None and mark not in row.marks:
        state.change("incident", body.incident, marks={**row.marks, mark: entry.seq})


FOLDS: dict[type, Callable[[Projections, Entry[Any], Any, int], None]] = {
    kinds.Observation: _observation,
    kinds.AccessRevoked: _revoked,
}
