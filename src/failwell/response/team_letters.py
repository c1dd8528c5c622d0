"""The letters to who comes on call: that they are, until when, and what is open; and to whom a cover is about."""

from __future__ import annotations

from failwell.core import rows
from failwell.core.escalation.calendars import declared_team, local_us
from failwell.core.escalation.teams import COVER, ON_CALL
from failwell.core.incidents.endings import OVER
from failwell.core.instants import format_at
from failwell.core.machines import SEVERITIES
from failwell.core.state import State
from failwell.response.letters import Letter, sealed, size_of
from failwell.response.team_told import here, shifts

#: Open incidents that a letter names; of more it says how many.
NAMED = 10


def team_letter(state: State, page: rows.Page, now_us: int, checkpoint: bytes) -> Letter:
    """The letter of a page about a team or a cover of it."""
    if page.about.startswith(ON_CALL):
        return _on_call(state, page.about.removeprefix(ON_CALL), page.person, now_us, checkpoint)
    return _cover(state, int(page.about.removeprefix(COVER)), page.person, checkpoint)


def _on_call(state: State, team: str, person: str, now_us: int, checkpoint: bytes) -> Letter:
    others = [each for each in here(state, team, now_us) if each != person]
    off = next(((at, who) for at, who in shifts(state, team, now_us) if person not in who), None)
    until = (
        ""
        if off is None
        else f" until {_time(state, team, off[0])}" + (f", then {', '.join(off[1])}" if off[1] else "")
    )
    cases = _open(state)
    untaken = [each for each in cases if each[1].state in ("OPEN", "REOPENED")]
    first = f"failwell incident show {untaken[0][0]}" if untaken else "failwell incident list"
    asked = f"take what nobody has. Run: {first}" if untaken else f"know of it. Run: {first}"
    story = [
        f"{person}, you are on call for {team} from now on{until}.",
        f"You are asked to: {asked}",
        "",
        f"Beside you: {', '.join(others)}." if others else "Nobody else is on call for it.",
        *([f"{len(cases)} open, {len(untaken)} of them taken by nobody:"] if cases else ["No incident is open."]),
        *(_line(number, row) for number, row in cases[:NAMED]),
        *([f"... and {len(cases) - NAMED} more: failwell incident list"] if len(cases) > NAMED else []),
        f"Who is next, and who covers: failwell team show {team}",
        f"You cannot? Somebody else covers: failwell team cover {team} --instead-of {person} --until TIME --as THEM",
    ]
    return Letter(f"[Failwell] you are on call for {team}", sealed(story, checkpoint), size_of(checkpoint))


def _cover(state: State, entry: int, person: str, checkpoint: bytes) -> Letter:
    row = state.cover[entry]
    whom = "beside whoever is in turn" if row.instead_of is None else f"instead of {row.instead_of}"
    when = f"from {_time(state, row.team, row.since_us)} until {_time(state, row.team, row.until_us)}"
    stands = "does not cover any more" if row.ended else "covers"
    story = [
        f"{row.person} {stands} for {row.team}, {whom}, {when}.",
        f"You are asked to: say so if you did not agree to that. Run: failwell team show {row.team}",
        "",
        f"{person}, this was ordered by somebody else: entry {entry} says by whom (failwell ledger tail).",
        *([] if row.ended else [f"It ends by: failwell team uncover {entry} --as {person}"]),
    ]
    what = f"[Failwell] {row.person} {stands} for {row.team}"
    return Letter(what, sealed(story, checkpoint), size_of(checkpoint))


def _open(state: State) -> list[tuple[int, rows.Incident]]:
    """What is open, what nobody has taken first, then the gravest."""
    found = [(number, row) for number, row in state.incident.items() if row.state not in OVER]
    found.sort(
        key=lambda each: (each[1].state not in ("OPEN", "REOPENED"), -SEVERITIES.index(each[1].severity), each[0])
    )
    return found


def _line(number: int, row: rows.Incident) -> str:
    who = "nobody has it" if row.holder is None else f"{row.holder} has it"
    return f"- {number} ({row.severity}, {who}): {row.title}"


def _time(state: State, team: str, at_us: int) -> str:
    """A moment as the team's clocks show it, by the offsets that the record has."""
    declared = declared_team(state, team)
    known = {zone for zone, _ in state.workspace[1].zones}
    zone = "UTC" if declared is None or declared.zone not in known else declared.zone
    at = format_at(local_us(state, zone, at_us))
    return f"{at[:10]} {at[11:16]} ({zone})"
