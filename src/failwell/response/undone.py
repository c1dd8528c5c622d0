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
    elapsed_us: int | None = None


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
            ended = body if isinstance(body, kinds.Compensated) else None
            found[body.decision] = msgspec.structs.replace(
                found[body.decision], entry=entry.seq, state="begun" if ended is None else ended.state,
                detail=None if ended is None else ended.detail, elapsed_us=None if ended is None else ended.elapsed_us,
            )  # fmt: skip
    return tuple(found[action] for action in sorted(found))


def summary(found: Iterable[Undoing]) -> str | None:
    """How many of them were reversed, for one line; None where nothing was to be undone."""
    states = [each.state for each in found]
    if not states:
        return None
    reversed_ = states.count(undoing.REVERSED)
    others = sorted({state for state in states if state != undoing.REVERSED})
    rest = ", ".join(f"{states.count(state)} {state}" for state in others)
    return f"{reversed_} of {len(states)} reversed" + (f"; {rest}" if rest else "")
