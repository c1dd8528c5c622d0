"""How an action that was to stop ended, in the rows of the incidents that wait for it: proven, not, or only later.

An order to stop is no stop: what nobody could confirm stays on the incident until somebody shows it. That containment
had failed remains a mark of its history; STOPPED stands beside it once nothing is left that is not confirmed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from failwell.core import kinds, rows, stops, undoing
from failwell.core.projections import Projections
from failwell.core.records import Entry


def mark(state: Projections, incident: int | None, name: str, seq: int, **fields: Any) -> None:
    """Set a containment mark once; later ones of the same kind change nothing but `fields`."""
    if incident is None or incident not in state.incident:
        return
    marks = state.incident[incident].marks
    state.change("incident", incident, marks=marks if name in marks else {**marks, name: seq}, **fields)


def ordered(state: Projections, entry: Entry[Any], body: kinds.InterruptOrdered, at_us: int) -> None:
    """The incident, or the stop, waits for the ends of the actions that are to stop."""
    stops.interrupted(state, entry, body)
    if body.incident is None:
        # Attack: an action is stopped alone and has not started, or its node dies. No case and no stop of more waits
        # for its end, which would be written as any other, and whether it was stopped would be nowhere.
        for action in body.actions:
            if action in state.action:
                state.change("action", action, ordered=True)
        return
    row = state.incident[body.incident]
    waiting = tuple(sorted({*row.waiting, *body.actions}))
    mark(state, body.incident, "ORDERED", entry.seq, waiting=waiting)
    # No order of ours stops an agent that no gate stands before: only its vendor can say that its access is gone.
    detect_only = entry.agent in state.agent and state.agent[entry.agent].detect_only
    if not (waiting or row.failed or detect_only):
        mark(state, body.incident, "STOPPED", entry.seq)


def confirmed(state: Projections, entry: Entry[Any], body: kinds.InterruptConfirmed, at_us: int) -> None:
    """Proven, at its stop or later."""
    ended(state, body.action, entry.seq, confirmed=True)
    undoing.confirmed(state, body.action)


def unconfirmed(state: Projections, entry: Entry[Any], body: kinds.InterruptUnconfirmed, at_us: int) -> None:
    """Nobody can say that it stopped."""
    ended(state, body.action, entry.seq, confirmed=False)
    note_unproven(state, entry.seq, body.action)


def ended(state: Projections, action: int, seq: int, *, confirmed: bool) -> None:
    """An action has its end (entry `seq`), proven or not; or one that nobody could confirm was confirmed later."""
    stops.ended(state, action, confirmed=confirmed)
    for number, row in list(state.incident.items()):
        if action not in row.waiting and not (confirmed and action in row.failed):
            continue
        waiting = tuple(other for other in row.waiting if other != action)
        failed = tuple(other for other in row.failed if other != action)
        marks = dict(row.marks)
        if not confirmed:
            failed = (*failed, action)
            marks.setdefault("CONTAINMENT_FAILED", seq)
        elif not waiting and not failed:
            marks.setdefault("STOPPED", seq)
        state.change("incident", number, waiting=waiting, failed=failed, marks=marks)


def attempted(state: Projections, entry: Entry[Any], body: kinds.InterruptAttempted, at_us: int) -> None:
    """Remember how an action was to be stopped, for the entry that follows."""
    state.attempted = (body.action, body.method)
    undoing.ordered_to_stop(state, body)


def note_unproven(state: Projections, seq: int, action: int) -> None:
    """Entry `seq` could not confirm the stop of an action, and may open an incident about that alone.

    Records of before layout 4 name no class in the method; what they say of an incident stays as it was said.
    """
    if state.attempted[0] == action and ": " in state.attempted[1]:
        state.unproven = (seq, action)


def opened_by_unproven(state: Projections, about: int, row: rows.Incident) -> rows.Incident:
    """An incident that is about a stop which nobody could confirm (entry `about`) has failed to contain it already.

    Attack: a tool outlives its deadline. Nothing else of its agent runs, so the order to stop finds nothing to wait
    for, and the incident would be called stopped.
    """
    seq, action = state.unproven
    if seq != about:
        return row
    return replace(row, failed=(action,), marks={**row.marks, "CONTAINMENT_FAILED": seq})


FOLDS: dict[type, Callable[[Projections, Entry[Any], Any, int], None]] = {
    kinds.InterruptOrdered: ordered,
    kinds.InterruptAttempted: attempted,
    kinds.InterruptConfirmed: confirmed,
    kinds.InterruptUnconfirmed: unconfirmed,
}
