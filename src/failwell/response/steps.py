"""The steps of a response in words, one line an entry: what the timeline of an incident is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from failwell.core import kinds, stops
from failwell.response import case_steps, held
from failwell.response.case_steps import named, tell_authority, tell_page


def tell(body: Any) -> tuple[str, str] | None:
    """One entry in words, None for what is no step of the response."""
    for kind in type(body).__mro__:  # a later version of a kind is told like the one that it extends
        if (words := _WORDS.get(kind)) is not None:
            return words(body)
    return None


def _tell_decision(body: kinds.Decision) -> tuple[str, str] | None:
    decided = ", ".join(f"{clause.id} ({clause.then})" for clause in body.clauses)
    verdict = body.verdict if getattr(body, "governed", True) else f"{body.verdict}, NOT GOVERNED: it ran"
    return (verdict, f"{body.tool}: {decided}") if decided else None


def _tell_order(body: kinds.InterruptOrdered) -> tuple[str, str]:
    return "interrupt ordered", f"{len(body.actions)} running" if body.actions else "nothing was running"


def _tell_stop(body: kinds.InterruptConfirmed) -> tuple[str, str]:
    state = body.state.replace("_", " ")
    return "stopped", f"action {body.action}: {state}, {_processes(body.processes)}, {body.proven_by}"


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _tell_measured(body: kinds.ContainmentMeasured) -> tuple[str, str]:
    spans = [
        f"{what} {(at - body.received_mono_us) / 1000:.1f} ms"
        for what, at in (("fenced after", body.fenced_mono_us), ("last effect ended after", body.ended_mono_us))
        if at is not None
    ]
    unproven = [f"{body.unconfirmed} of {body.actions} NOT CONFIRMED"] if body.unconfirmed else []
    return "stop measured", ", ".join([*spans, *unproven, f"bound {body.bound_us / 1000:.0f} ms"])


_UNDONE = {
    "reversed": "undone", "partly": "UNDONE IN PART", "not": "NOT UNDONE", "unknown": "PERHAPS NOT UNDONE",
}  # fmt: skip


def _tell_preserved(body: kinds.StatePreserved) -> tuple[str, str]:
    """What was kept is for `action show`: it may be personal."""
    said = f"action {body.decision}: {_processes(body.processes)} as they stood still"
    files = f", {body.files} files by their digests" if body.directory is not None else ""
    return "state preserved", f"{said}{files}{'' if body.complete else '; not all of it'}"


_WORDS: dict[type, Callable[[Any], tuple[str, str] | None]] = {
    kinds.Decision: _tell_decision,
    kinds.IncidentOpened: lambda body: ("incident opened", f"{body.severity}: {body.title}"),
    kinds.InterruptOrdered: _tell_order,
    kinds.InterruptConfirmed: _tell_stop,
    kinds.StatePreserved: _tell_preserved,
    kinds.ContainmentMeasured: _tell_measured,
    kinds.AccessRevoked: lambda body: (
        "access revoked" if body.state == "confirmed" else "ACCESS NOT CONFIRMED AS GONE",
        body.detail,
    ),
    kinds.Ensured: lambda body: (f"ensure {body.state}", f"{body.check}: {body.detail} ({body.source})"),
    kinds.CompensationOrdered: lambda body: ("undoing ordered", f"action {body.decision} by {body.step}: {body.by}"),
    kinds.CompensationBegun: lambda body: ("undoing begun", f"action {body.decision} by {body.step}, try {body.tries}"),
    kinds.Compensated: lambda body: (_UNDONE[body.state], f"action {body.decision}: {body.detail}"),
    kinds.InterruptUnconfirmed: lambda body: ("NOT CONFIRMED", f"action {body.action}: {body.why}"),
    kinds.AuthorityChanged: tell_authority,
    kinds.ScopeStopped: lambda body: (f"{stops.words(body.scope)} stopped", f"by {named(body.by)}: {body.why}"),
    kinds.ScopeProposed: lambda body: ("lift proposed", f"{body.scope}, by {body.person}: {body.conditions}"),
    kinds.ScopeLifted: lambda body: (f"stop of {stops.words(body.scope)} lifted", f"by {body.person}"),
    kinds.PageQueued: tell_page,
    kinds.PageAttempted: lambda body: ("page accepted" if body.accepted else "page failed", body.detail),
    kinds.TicketOpened: lambda body: ("person asked", f"ticket {body.ticket}: {', '.join(body.asked)}"),
    kinds.TicketDecided: lambda body: (f"ticket {body.answer}", f"ticket {body.ticket}, by {body.person}"),
    kinds.TicketExpired: lambda body: ("ticket expired", f"ticket {body.ticket}, was {body.was}"),
    kinds.Acknowledged: lambda body: ("acknowledged", f"taken by {body.person}"),
    kinds.ReleaseProposed: lambda body: ("release proposed", f"by {body.person}: {body.conditions}"),
    **case_steps.WORDS,
    **held.WORDS,
}
