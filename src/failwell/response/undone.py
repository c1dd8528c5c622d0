"""What became of each undoing, read off the entries of an incident or an action: what an account is told from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from failwell.core import kinds, undoing
from failwell.core.records import Entry


class Undoing(msgspec.Struct, frozen=True, kw_only=True):
    """The newest undoing of one action. `state` is owed, begun, reversed, partly, not or unknown; `entry` says so."""

    action: int
    tool: str
    step: str
    by: str
    state: str
    entry: int
    detail: str | None = None
    elapsed_ms: float | None = None


def undoings(entries: Iterable[Entry[Any]]) -> tuple[Undoing, ...]:
    """The undoings that the entries tell of, by action."""
    found: dict[int, Undoing] = {}
    for entry in entries:
        body = entry.body
        if isinstance(body, kinds.CompensationOrdered):
            found[body.decision] = Undoing(
                action=body.decision, tool=body.tool, step=body.step, by=body.by, state="owed", entry=entry.seq
            )
        elif isinstance(body, kinds.CompensationBegun | kinds.Compensated) and body.decision in found:
            found[body.decision] = _further(found[body.decision], entry, body)
    return tuple(found[action] for action in sorted(found))


def _further(known: Undoing, entry: Entry[Any], body: Any) -> Undoing:
    if isinstance(body, kinds.CompensationBegun):
        return msgspec.structs.replace(known, entry=entry.seq, state="begun")
    took_ms = None if body.elapsed_us is None else body.elapsed_us / 1000
    return msgspec.structs.replace(
        known, entry=entry.seq, state=body.state, detail=body.detail, elapsed_ms=took_ms
    )  # fmt: skip


def steps_begun(entries: Iterable[Entry[Any]]) -> frozenset[tuple[int, str]]:
    """(decision, step) of each undoing that was begun: an effect of that tool undoes, and escaped nobody."""
    begun = (entry.body for entry in entries if isinstance(entry.body, kinds.CompensationBegun))
    return frozenset((body.decision, body.step) for body in begun)


def summary(found: Iterable[Undoing]) -> str | None:
    """How many of them were reversed, for one line; None where nothing was to be undone."""
    states = [each.state for each in found]
    if not states:
        return None
    reversed_ = states.count(undoing.REVERSED)
    others = sorted({state for state in states if state != undoing.REVERSED})
    rest = ", ".join(f"{states.count(state)} {state}" for state in others)
    return f"{reversed_} of {len(states)} reversed" + (f"; {rest}" if rest else "")
