"""The three state machines as literal tables (D30): authority, containment, incident.

The documentation's diagrams are drawn from these tables. An illegal step raises and changes nothing.
Style after h11's `_state.py`: first the rules, then the table, then one function.
"""

from __future__ import annotations

from failwell.core.errors import Refused

# Authority: what an agent may do now. What restricts is always one step away; what permits needs people.
AUTHORITY: dict[str, frozenset[str]] = {
    "REGISTERED": frozenset({"OBSERVED", "ACTIVE", "SUSPENDED", "RETIRED"}),
    "OBSERVED": frozenset({"REGISTERED", "ACTIVE", "RESTRICTED", "SUSPENDED", "RETIRED"}),
    "ACTIVE": frozenset({"RESTRICTED", "SUSPENDED", "RETIRED"}),
    "RESTRICTED": frozenset({"ACTIVE", "SUSPENDED", "RETIRED"}),
    "SUSPENDED": frozenset({"PROBATION", "RETIRED"}),
    "PROBATION": frozenset({"ACTIVE", "RESTRICTED", "SUSPENDED", "RETIRED"}),
    "RETIRED": frozenset(),
}

#: Steps that only take authority away: they never wait for anything (I8).
RESTRICTING: frozenset[str] = frozenset({"RESTRICTED", "SUSPENDED", "RETIRED"})

# Containment: after DETECTED the marks come in any order, each with its entry; release needs those in NEEDED.
MARKS: tuple[str, ...] = (
    "DETECTED",
    "ORDERED",
    "SUSPENDED",
    "HELD",
    "NOTIFIED",
    "STOPPED",
    "CONTAINMENT_FAILED",
    "ACKNOWLEDGED",
    "RELEASE_PROPOSED",
    "RELEASED",
)
NEEDED_FOR_RELEASE: tuple[str, ...] = ("DETECTED", "ORDERED", "SUSPENDED", "HELD", "NOTIFIED", "ACKNOWLEDGED")

# Incident: the case. A closed one never swallows a new signal: it is reopened or a new one is opened.
INCIDENT: dict[str, frozenset[str]] = {
    "OPEN": frozenset({"TRIAGED", "MERGED", "FALSE_ALARM"}),
    "TRIAGED": frozenset({"INVESTIGATING", "MERGED", "FALSE_ALARM"}),
    "INVESTIGATING": frozenset({"RESOLVED", "MERGED", "FALSE_ALARM"}),
    "RESOLVED": frozenset({"LEARNED", "REOPENED"}),
    "LEARNED": frozenset({"CLOSED", "REOPENED"}),
    "CLOSED": frozenset({"REOPENED"}),
    "REOPENED": frozenset({"TRIAGED", "INVESTIGATING", "MERGED"}),
    "MERGED": frozenset(),
    "FALSE_ALARM": frozenset({"REOPENED"}),
}

#: States in which nothing more is told in a case, and those in which people think that nothing more went wrong.
CASE_OVER: frozenset[str] = frozenset({"CLOSED", "MERGED", "FALSE_ALARM"})
BELIEVED_OVER: frozenset[str] = frozenset({"RESOLVED", "LEARNED"})

#: How an action can end; `bypassed` is said of an effect that no verdict was asked for.
OUTCOMES: frozenset[str] = frozenset(
    {
        "completed", "failed", "blocked", "interrupted_confirmed", "interrupted_unconfirmed",
        "completed_after_interrupt", "unknown", "bypassed",
    }
)  # fmt: skip

# A ticket: the question that an ESCALATE leaves. Silence is a denial.
TICKET: dict[str, frozenset[str]] = {
    "open": frozenset({"approved", "denied", "expired"}),
    "approved": frozenset({"used", "denied", "expired"}),
    "used": frozenset({"approved"}),  # the action that used it was proved not to have started
    "denied": frozenset(),
    "expired": frozenset(),
}

SEVERITIES: tuple[str, ...] = ("minor", "major", "critical")


def step(machine: dict[str, frozenset[str]], was: str, now: str) -> str:
    """`now`, if the machine allows the step from `was`; raises Refused otherwise."""
    if now not in machine.get(was, frozenset()):
        raise Refused(f"{was} -> {now} is not a step of this machine", code="illegal-step")
    return now


def worse(a: str, b: str) -> str:
    """The more severe of two severities."""
    return a if SEVERITIES.index(a) >= SEVERITIES.index(b) else b


def missing_for_release(marks: dict[str, int]) -> tuple[str, ...]:
    """The containment marks that a release still lacks; STOPPED may be replaced by a failed containment on record."""
    missing = [mark for mark in NEEDED_FOR_RELEASE if mark not in marks]
    if "STOPPED" not in marks and "CONTAINMENT_FAILED" not in marks:
        missing.append("STOPPED")
    return tuple(missing)
