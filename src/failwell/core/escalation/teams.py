"""Who is on call beside their turn, by what offsets local times are told, and who is on call by now.

Whoever comes on is written to, and whoever is put on or relieved by another person's word: nobody's turn is taken
from them in silence.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.escalation.path import EMAIL
from failwell.core.following import Fold, Reaction
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

ACTOR = "response"
#: What letters about a team are about: its name, or the entry of a cover, follows.
ON_CALL, COVER = "on-call:", "cover:"
#: No place on earth is further from UTC than this.
_FURTHEST_S = 18 * 3600


# ---- from entries to rows ------------------------------------------------------------------------------------


def _zones(state: Projections, entry: Entry[Any], body: kinds.TimeZones, at_us: int) -> None:
    for zone, offsets in body.zones:
        ascending = all(one[0] < other[0] for one, other in pairwise(offsets))
        if not offsets or not ascending or any(abs(seconds) > _FURTHEST_S for _, seconds in offsets):
            raise Corrupt(f"entry {entry.seq} tells times of {zone} by offsets that no clock has")
    state.change("workspace", 1, zones=body.zones, zoned=at_us)


def _covered(state: Projections, entry: Entry[Any], body: kinds.TeamCovered, at_us: int) -> None:
    if body.since_us >= body.until_us or not state.enrolled(body.person):
        raise Corrupt(f"entry {entry.seq} has {body.person} cover for {body.team}, which cannot be")
    row = rows.Cover(
        team=body.team, person=body.person, instead_of=body.instead_of, since_us=body.since_us, until_us=body.until_us
    )
    state.put("cover", entry.seq, row)


def _uncovered(state: Projections, entry: Entry[Any], body: kinds.TeamUncovered, at_us: int) -> None:
    row = state.cover.get(body.cover)
    if row is None or row.ended:
        raise Corrupt(f"entry {entry.seq} ends cover {body.cover}, which there is not")
    state.change("cover", body.cover, ended=True)


def _turned(state: Projections, entry: Entry[Any], body: kinds.TeamTurned, at_us: int) -> None:
    known = state.on_call.get(body.team)
    if body.was != (() if known is None else known.persons) or body.was == body.now:
        raise Corrupt(f"entry {entry.seq} says that others were on call for {body.team} than were")
    state.put("on_call", body.team, rows.OnCall(persons=body.now, entry=entry.seq))


# ---- what follows in the same commit -------------------------------------------------------------------------


def _after_turned(state: Projections, entry: Entry[Any], body: kinds.TeamTurned) -> tuple[Draft, ...]:
    """Whoever comes on is told of what is open."""
    comes_on = (person for person in body.now if person not in body.was and state.enrolled(person))
    return tuple(
        _letter(state, entry, person, f"{ON_CALL}{body.team}", f"on call for {body.team} from now on")
        for person in comes_on
    )


def _after_covered(state: Projections, entry: Entry[Any], body: kinds.TeamCovered) -> tuple[Draft, ...]:
    """Attack: somebody takes the night's turn from whoever would have answered, and nobody knows until morning."""
    about = f"{COVER}{entry.seq}"
    return tuple(
        _letter(state, entry, person, about, f"{body.person} covers for {body.team}")
        for person in dict.fromkeys((body.person, body.instead_of))
        if person is not None and entry.actor != f"person:{person}" and state.enrolled(person)
    )


def _after_uncovered(state: Projections, entry: Entry[Any], body: kinds.TeamUncovered) -> tuple[Draft, ...]:
    row = state.cover[body.cover]
    return tuple(
        _letter(state, entry, person, f"{COVER}{body.cover}", f"{row.person} covers for {row.team} no longer")
        for person in dict.fromkeys((row.person, row.instead_of))
        if person is not None and entry.actor != f"person:{person}" and state.enrolled(person)
    )


def _letter(state: Projections, entry: Entry[Any], person: str, about: str, why: str) -> Draft:
    body = kinds.PageQueued4(
        page=state.pages + 1, incident=None, person=person, channel=EMAIL, step=1, due_us=state.last_at_us, why=why,
        ticket=None, about=about, cycle=0, round=1, persons=(person,), digest=None,
    )  # fmt: skip
    return Draft(body=body, actor=ACTOR, refs=(entry.seq,))


FOLDS: dict[type, Fold] = {
    kinds.TimeZones: _zones,
    kinds.TeamCovered: _covered,
    kinds.TeamUncovered: _uncovered,
    kinds.TeamTurned: _turned,
}
REACTIONS: dict[type, Reaction] = {
    kinds.TeamTurned: _after_turned,
    kinds.TeamCovered: _after_covered,
    kinds.TeamUncovered: _after_uncovered,
}
