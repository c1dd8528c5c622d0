"""What other systems are told of incidents, and how far each of them is (`feed.delivered`, `feed.failed`).

A feed goes forward only, and past nothing that it was to tell. What comes back is how the other side calls an incident
and no more: nothing that is closed there is closed here.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import replace

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.following import Fold
from failwell.core.projections import Projections
from failwell.core.records import Entry

NODE = "node"
#: What is told. INVARIANT: a later release that tells more does so from a later version of the rules on: how much was
#: told up to an entry stands on record, and is counted again.
TOLD = (
    kinds.IncidentOpened, kinds.IncidentUpdated, kinds.IncidentChanged, kinds.IncidentMerged, kinds.IncidentNoted,
    kinds.IncidentTask, kinds.IncidentTaskEnded, kinds.IncidentOffered, kinds.ObjectiveMissed, kinds.ChangeClaimed,
    kinds.Acknowledged, kinds.AuthorityChanged, kinds.AuthorityInformed, kinds.AccessRevoked, kinds.InterruptOrdered,
    kinds.ContainmentMeasured, kinds.CustomerTold, kinds.CustomerRestored, kinds.WorkLeft, kinds.WorkEnded,
    kinds.ReleaseProposed, kinds.ReleaseApproved, kinds.ReleaseBroken, kinds.ReleaseOver, kinds.ReleaseReviewed,
    kinds.EscalationStarted, kinds.EscalationStepped, kinds.EscalationEnded, kinds.ClockStarted, kinds.ClockReminded,
    kinds.ClockMissed, kinds.ClockMet, kinds.ClockEnded,
)  # fmt: skip
#: How other systems call an incident: what stands here becomes part of an address that is asked.
THEIRS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
#: Before the first entry.
BEGIN = -1


def incident_of(body: Any) -> int | None:
    """The incident that other systems are told of by this entry; None for all that they are not told."""
    number = getattr(body, "incident", None)
    return number if isinstance(number, int) and isinstance(body, TOLD) else None


def reached(state: Projections, feed: str) -> rows.Feed:
    """How far a feed is; one that told nothing yet is before the first entry."""
    return state.feed.get(feed) or rows.Feed(last=BEGIN)


def _delivered(state: Projections, entry: Entry[Any], body: kinds.FeedDelivered, at_us: int) -> None:
    row = reached(state, body.feed)
    if not row.last < body.last < entry.seq or body.count < 0:
        raise Corrupt(f"entry {entry.seq} takes feed {body.feed} from {row.last} to {body.last}, which cannot be")
    for number, name in body.theirs:
        if number not in state.incident or not THEIRS.fullmatch(name):
            raise Corrupt(f"entry {entry.seq} calls incident {number} {name[:80]!r}, which is no name of one")
    theirs = tuple(sorted({**dict(row.theirs), **dict(body.theirs)}.items()))
    state.put("feed", body.feed, rows.Feed(last=body.last, theirs=theirs))


def _failed(state: Projections, entry: Entry[Any], body: kinds.FeedFailed, at_us: int) -> None:
    row = reached(state, body.feed)
    if body.attempt != row.attempts + 1 or not row.last < body.at < entry.seq or body.due_us < at_us:
        raise Corrupt(f"entry {entry.seq} says of feed {body.feed} what cannot be: attempt {body.attempt} at {body.at}")
    state.put("feed", body.feed, replace(row, attempts=body.attempt, due_us=body.due_us, detail=body.detail))


FOLDS: dict[type, Fold] = {kinds.FeedDelivered: _delivered, kinds.FeedFailed: _failed}
