"""PROBATION: how long it lasts, what suspends again in it, and when it has been served (R23).

An agent that was given back acts under tightened bounds and on a short leash: what would be noted of another one takes
its authority away again. The time counts from the last thing that was noticed, so that it is served without any.
"""

from __future__ import annotations

from msgspec.structs import replace

from failwell.core import contract as contracts
from failwell.core import rows
from failwell.core.projections import Projections

_HOUR_US = 3600 * 1_000_000
_MINUTE_US = 60 * 1_000_000
#: How long it lasts at least where the proposal says nothing, by the severity of the incident.
LASTS_US = {"minor": 4 * _HOUR_US, "major": 24 * _HOUR_US, "critical": 72 * _HOUR_US}
#: So many minor signals within this time suspend again.
MINORS, WITHIN_US = 3, 10 * _MINUTE_US
#: Signals that are no doing of the agent's, or the word of somebody about it, which suspends nobody by itself: what
#: people are asked about, what was recorded as the contract has it, what our own parts or people did or did not do.
_NOT_ITS_DOING = (
    "escalated(", "recorded(", "compensate(", "health(", "objective(", "noticed(", "reported", "order(", "delegate(",
)  # fmt: skip
#: Denials for what Failwell or people did; the last is by the tightened bounds themselves.
_NOT_ITS_FAULT = frozenset(f"denied({clause})" for clause in (*contracts.NOT_THE_AGENTS, "authority.restricted"))

SUSPENDS_AGAIN = ("interrupt", "suspend", "hold", "notify")


def relapse(
    state: Projections, agent: str, signal: str, severity: str, now_us: int
) -> tuple[str, int, tuple[str, ...]] | None:  # fmt: skip
    """(rule, count, response) where a signal suspends an agent in PROBATION again; None where it does not by itself."""
    row = state.agent.get(agent)
    if row is None or row.authority != "PROBATION" or state.workspace[1].rules < 2 or not counts(signal):
        return None
    if severity != "minor":
        return "probation: a major signal", 1, SUSPENDS_AGAIN
    before = () if row.probation is None else row.probation.minor
    seen = 1 + sum(at_us > now_us - WITHIN_US for at_us in before)
    return None if seen < MINORS else (f"probation: {MINORS} minor signals in 10m", seen, SUSPENDS_AGAIN)


def counts(signal: str) -> bool:
    """Whether a signal tells of something that the agent did."""
    return signal not in _NOT_ITS_FAULT and not signal.startswith(_NOT_ITS_DOING)


def noticed(probation: rows.Probation, signal: str, severity: str, at_us: int, *, applied: bool) -> rows.Probation:
    """PROBATION after a signal at `at_us`: what was to be answered begins its time anew, a minor one is counted."""
    if applied and probation.broken is None:
        lasts_us = probation.until_us - probation.since_us
        probation = replace(probation, since_us=at_us, until_us=at_us + lasts_us)
    if severity == "minor" and counts(signal):
        probation = replace(probation, minor=(*probation.minor, at_us)[-(MINORS - 1) :])
    return probation


def over(row: rows.Agent, now_us: int) -> bool:
    """Whether authority that one person alone gave back has run out at `now_us`, written down or not."""
    given = row.probation
    acts = row.authority in ("PROBATION", "RESTRICTED")
    return acts and given is not None and given.broken is not None and now_us >= given.until_us
