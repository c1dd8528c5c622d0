"""What a release is bound to: how the case and its agent stood when it was proposed, and how people had been told.

A person who approves a release approves it of what was proposed. Whatever else has come to light since, or binds the
agent by now, makes it another release, which somebody proposes again (R23).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from failwell.core import canonical, rows
from failwell.core.machines import missing_for_release
from failwell.core.orders import MINUTE_US, Details, ReleaseApprove, ReleaseBreak, ReleasePropose, ReleaseReview
from failwell.core.projections import Projections

#: Orders about a release.
GIVES_BACK = ReleasePropose | ReleaseApprove | ReleaseBreak | ReleaseReview
BY_MAIL = "mail"
#: What giving back in full needs of a case that restricted its agent only: somebody took it.
NEEDED_TO_ACT_IN_FULL = ("DETECTED", "ACKNOWLEDGED")


def binding(state: Projections, number: int) -> dict[str, Any]:
    """How incident `number` and its agent stand, without what moves by the second or means nothing for a release."""
    case = state.incident[number]
    agent = state.agent.get(case.agent)
    return {
        "incident": number,
        "kind": case.kind,
        "state": case.state,
        "severity": case.severity,
        "onset": [case.onset_first, case.onset_last],
        "signals": case.signals,
        "waiting": list(case.waiting),
        "failed": list(case.failed),
        "findings": [case.findings, case.factors],
        "serious": case.serious,
        "informed": list(case.informed),
        "merged_into": case.merged_into,
        "agent": case.agent,
        "bounds": None if agent is None else _bounds(state, case.agent, agent),
    }


def _bounds(state: Projections, name: str, row: rows.Agent) -> dict[str, Any]:
    """What the agent may do now, and what it would be bound by."""
    return {
        "authority": row.authority,
        "epoch": row.epoch,
        "owner": row.owner,
        "contract": row.contract,
        "floors": [[floor, each.version, each.digest] for floor, each in state.floor_rows_of(name)],
    }


def bound(state: Projections, number: int) -> str:
    """Hex SHA-256 of the binding."""
    return sha256(canonical.encode(binding(state, number))).hexdigest()


def lacking(state: Projections, case: rows.Incident) -> tuple[str, ...]:
    """The marks of containment that a release from suspension still lacks.

    Where no mail is set up nobody can be notified by it: that the owner, or an operator, took the case stands for it,
    and the release says so.
    """
    missing = missing_for_release(case.marks)
    # Attack: the first order of a case found nothing to stop, and its mark stands. What a later one found still runs.
    if case.waiting and "STOPPED" not in missing:
        missing = (*missing, "STOPPED")
    if notified(state, case) is not None:
        return tuple(mark for mark in missing if mark != "NOTIFIED")
    return missing


def notified(state: Projections, case: rows.Incident) -> str | None:
    """How people know of a case: `mail`; or who took it, where no mail is set up; None where they may not know."""
    if "NOTIFIED" in case.marks:
        return BY_MAIL
    if state.workspace[1].mail or case.holder is None or "ACKNOWLEDGED" not in case.marks:
        return None
    agent, person = state.agent.get(case.agent), state.person.get(case.holder)
    answers = agent is not None and agent.owner == case.holder
    return case.holder if answers or (person is not None and "operator" in person.roles) else None


def release_shown(state: Projections, details: Details) -> dict[str, Any]:
    """What a person sees before an order about a release: what has come to light since makes it another order."""
    if not isinstance(details, GIVES_BACK):
        return {}
    shown: dict[str, Any] = {"standing": binding(state, details.incident)}
    if isinstance(details, ReleaseApprove):
        shown["release"] = _proposed(state.incident[details.incident])
    if isinstance(details, ReleaseReview):
        shown["given_by"] = list(state.incident[details.incident].broken_by[-1:])
    return shown


def _proposed(case: rows.Incident) -> dict[str, Any] | None:
    """What stands proposed: whoever approves it approves its conditions, on its evidence."""
    release = case.release
    if release is None:
        return None
    return {
        "proposed_by": case.proposed_by,
        "authority": release.authority,
        "probation_minutes": None if release.probation_us is None else release.probation_us // MINUTE_US,
        "conditions": release.conditions,
        "evidence": [[seq, leaf] for seq, leaf in release.evidence],
        "notified": release.notified,
    }
