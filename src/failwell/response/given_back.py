"""What was done about giving authority back: proposed, given by two or by one alone, reviewed, owed a review (R23)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from failwell.core import kinds, rows
from failwell.core.incidents import binding, probation
from failwell.core.instants import format_at
from failwell.core.records import Entry
from failwell.core.state import State
from failwell.response.parts import Material, Part


class Proposed(msgspec.Struct, frozen=True, kw_only=True):
    """The release that waits for its second person. `stands` false: the case has changed since, it is proposed again.

    `notified`: how people know of the case, `mail` or who took it.
    """

    entry: int
    person: str
    authority: str
    probation_ms: int | None
    conditions: str
    evidence: tuple[int, ...]
    notified: str
    stands: bool


class Review(msgspec.Struct, frozen=True, kw_only=True):
    entry: int
    person: str
    upheld: bool
    words: str | None


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """Authority that was given back. `by`: who proposed and who approved it; one person where it was one alone.

    `separated` says whether they gave their orders as two users of the operating system; `review` answers to one alone.
    """

    entry: int
    at: str
    by: tuple[str, ...]
    authority: str
    until: str | None
    separated: str
    review: Review | None


class GivenBack(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `lacking`: marks that its containment lacks for a release. `probation_until`: the agent acts in
    PROBATION from this case, until then at least; where `alone`, until then and no longer.
    """

    proposed: Proposed | None
    lacking: tuple[str, ...]
    given: tuple[Given, ...]
    probation_until: str | None
    alone: bool
    review_owed: int | None
    asked: tuple[str, ...]


class _Seen(NamedTuple):
    lacking: tuple[str, ...]
    stands: bool
    now_us: int


def _look(state: State, number: int) -> _Seen:
    row = state.incident[number]
    stands = row.release is not None and row.release.bound == binding.bound(state, number)
    return _Seen(binding.lacking(state, row), stands, state.last_at_us)


def _tell(material: Material, seen: _Seen) -> GivenBack:
    row, agent = material.row, material.agent
    probation_of = None if agent is None else agent.probation
    given = None if probation_of is None or probation_of.incident != material.number else probation_of
    return GivenBack(
        proposed=_proposed(row, stands=seen.stands), lacking=_lacks(material, seen),
        given=_given(material.number, material.entries, material), review_owed=row.broken,
        probation_until=None if given is None else format_at(given.until_us),
        alone=given is not None and given.broken is not None, asked=_asked(material, given, seen),
    )  # fmt: skip


def _lacks(material: Material, seen: _Seen) -> tuple[str, ...]:
    agent = material.agent
    held = agent is not None and agent.authority == "SUSPENDED" and agent.incident == material.number
    return seen.lacking if held else ()


def _proposed(row: rows.Incident, *, stands: bool) -> Proposed | None:
    release = row.release
    if release is None or row.proposed_by is None:
        return None
    return Proposed(
        entry=release.entry, person=row.proposed_by, authority=release.authority, conditions=release.conditions,
        probation_ms=None if release.probation_us is None else release.probation_us // 1000,
        evidence=tuple(seq for seq, _ in release.evidence), notified=release.notified, stands=stands,
    )  # fmt: skip


def _given(number: int, entries: Sequence[Entry[Any]], material: Material) -> tuple[Given, ...]:
    own = [entry for entry in entries if getattr(entry.body, "incident", None) == number]
    proposers = {each.body.digest: each.body.person for each in own if isinstance(each.body, kinds.ReleaseProposed)}
    reviews = {each.body.broken: each for each in own if isinstance(each.body, kinds.ReleaseReviewed)}
    found = []
    for entry in own:
        body = entry.body
        if isinstance(body, kinds.ReleaseApproved):
            until_us = getattr(body, "until_us", None)
            by: tuple[str, ...] = (proposers.get(body.digest, "?"), body.person)
            authority, separated, review = body.authority, getattr(body, "separated", "unknown"), None
        elif isinstance(body, kinds.ReleaseBroken):
            until_us, by, authority, separated = body.until_us, (body.person,), "PROBATION", "no"
            review = _review(reviews.get(entry.seq), material)
        else:
            continue
        until = None if until_us is None else format_at(until_us)
        found.append(
            Given(
                entry=entry.seq, at=entry.at, by=by, authority=authority, until=until, separated=separated,
                review=review,
            )
        )  # fmt: skip
    return tuple(found)


def _review(entry: Entry[Any] | None, material: Material) -> Review | None:
    if entry is None:
        return None
    body = entry.body
    return Review(entry=entry.seq, person=body.person, upheld=body.upheld, words=material.text(entry.seq))


def _asked(material: Material, given: rows.Probation | None, seen: _Seen) -> tuple[str, ...]:
    """What is asked of people about it, beside the release itself."""
    row, agent = material.row, material.agent
    if agent is None:
        return ()
    asked = []
    if row.broken is not None:
        who = row.broken_by[-1]
        asked.append(
            f"{who} alone gave {agent.name} back: another approver reviews that: failwell agent release review"
            f" {agent.name} --incident {material.number} --uphold|--reject --why TEXT"
        )
    if row.release is not None and not seen.stands:
        asked.append(
            "The release that was proposed is void, the case stands otherwise now. Propose it again: failwell agent"
            f" release propose {agent.name} --incident {material.number}"
        )
    if given is not None and given.broken is None and agent.incident is None and seen.now_us >= given.until_us:
        asked.append(
            f"{agent.name} has served its probation: failwell agent release propose {agent.name} --authority ACTIVE"
            f" --incident {material.number}"
        )
    if probation.over(agent, seen.now_us):
        asked.append(f"What one person alone gave back is over: {agent.name} is being suspended again.")
    return tuple(asked)


PART = Part("release", _look, _tell)
