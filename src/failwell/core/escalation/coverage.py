"""Where nobody would be on call, whom no channel was shown to reach, and what is wrong with a team itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from failwell.core import rows
from failwell.core.escalation.calendars import declared_team, gaps, hours_change, members, spans, zone_of
from failwell.core.escalation.faults import Fault, times
from failwell.core.escalation.path import EMAIL
from failwell.core.escalation.targets import applies
from failwell.core.instants import format_at
from failwell.core.kinds import PathStep
from failwell.core.projections import Projections

_Gaps = list[tuple[int, int]]


def uncovered(
    state: Projections, source: str, path: tuple[PathStep, ...], now_us: int, until_us: int
) -> Iterator[Fault]:  # fmt: skip
    """Steps of a path that ask a team of which nobody is on call then; and times at which only the last resort is asked
    about what is critical.
    """
    for number, step in enumerate(path, 1):
        word, _, team = step.notify.partition(":")
        if word == "team" and declared_team(state, team) is not None:
            found = list(gaps(state, team, now_us, until_us, "" if step.last_resort else step.hours))
            if found:
                yield _gap(f"{source}, step {number}", team, found, now_us, until_us)
    steps = [step for step in path if not step.last_resort]
    if steps and all(step.hours for step in steps):
        zone = zone_of(state)
        points = {at for step in steps for at in hours_change(state, zone, step.hours, now_us, until_us)}

        def nobody(at_us: int) -> bool:
            return not any(applies(state, step, "critical", at_us) for step in steps)

        found = list(spans(sorted(points), until_us, nobody))
        if found:
            yield Fault(
                code="only-last-resort", place=source,
                problem=f"Only the last resort is asked {_often(found)} of the days ahead, {_first(found)}.",
                reason="Every step before it keeps to hours.", mend="Add a step without hours.",
            )  # fmt: skip


def _gap(place: str, team: str, found: _Gaps, now_us: int, until_us: int) -> Fault:
    now = found[0][0] <= now_us
    problem = f"Nobody of {team} is on call now, until {_time(found[0][1])}." if now else (
        f"Nobody of {team} is on call {_often(found)} of the days ahead, {_first(found)}."
    )  # fmt: skip
    if now and found[0][1] >= until_us:
        problem = f"Nobody of {team} is on call, now or in the days ahead."
    since, until = (format_at(at)[:16] + "Z" for at in found[0])
    return Fault(
        code="nobody-on-call" if now else "rotation-gap", place=place, problem=problem,
        reason="All of its members are asked then.",
        mend=f"Another layer of [[teams.{team}.turns]], or: failwell team cover {team} --from {since} --until {until}",
    )  # fmt: skip


def teams(state: Projections) -> Iterator[Fault]:
    """What is wrong with the teams themselves: members who are not there, zones that nobody wrote down."""
    space = state.workspace[1]
    escalating = space.escalation or rows.Escalating()
    known = {"UTC", *dict(space.zones)}
    for name, team in escalating.teams:
        place = f"[teams.{name}]"
        for person in members(state, name):
            row = state.person.get(person)
            if row is None:
                yield Fault(code="unknown-person", place=place, problem=f"{person} is not enrolled.",
                            reason="In their turn nobody is on call.",
                            mend=f"failwell person add {person}, or take them out.")  # fmt: skip
            elif row.left is not None:
                yield Fault(code="left", place=place, problem=f"{person} has left.",
                            reason=f"{state.reachable(person)} has their turns too.",
                            mend="Take them out of the turns, then: failwell config apply")  # fmt: skip
        if team.zone not in known:
            yield _zone(place, team.zone)
    if escalating.zone not in known:
        yield _zone("[escalation]", escalating.zone)


def _zone(place: str, zone: str) -> Fault:
    return Fault(
        code="unknown-zone", place=place, problem=f"The record has no offsets for {zone}.",
        reason="Its times are told as UTC.", mend="A node writes them within seconds: failwell serve",
    )  # fmt: skip


def unproven(state: Projections, reached: Iterable[tuple[str, str]], now_us: int) -> Iterator[Fault]:
    """Persons who would be asked by a channel that was never shown to reach them, or not for long."""
    space = state.workspace[1]
    prove_us = (space.escalation or rows.Escalating()).prove_us
    found = sorted(reached)
    if not space.mail and any(channel == EMAIL for channel, _ in found):
        yield Fault(code="no-mail", place="[mail]", problem="Nothing can be mailed.", reason="[mail] is not declared.",
                    mend="Declare [mail] in failwell.toml, then: failwell config apply")  # fmt: skip
    for channel, person in found:
        place = "[mail]" if channel == EMAIL else f"[channels.{channel}]"
        row = state.channel.get(f"{channel} {person}")
        mend = f"failwell escalation prove {channel} --person {person}"
        if row is not None and row.proven is not None:
            if now_us - row.proven_us > prove_us:
                yield Fault(
                    code="stale-proof", place=place,
                    problem=f"That {channel} reaches {person} was last shown {times(now_us - row.proven_us)} ago.",
                    reason=f"It is to be shown every {times(prove_us)}.", mend=mend,
                )  # fmt: skip
        elif not _verified(state, channel, person, row):
            yield Fault(code="unproven-channel", place=place, problem=f"{channel} was never shown to reach {person}.",
                        reason="What is accepted by a server is not seen by anybody.", mend=mend)  # fmt: skip


def _verified(state: Projections, channel: str, person: str, row: rows.Channel | None) -> bool:
    """Whether a code came back from their address when they were enrolled, and nothing was asked in vain since."""
    known = state.person[person]
    return channel == EMAIL and row is None and known.verified is not None and known.vouched_by is None


def _often(found: _Gaps) -> str:
    total = times(sum(until - since for since, until in found))
    return f"for {total}" if len(found) == 1 else f"for {total} ({len(found)} times)"


def _first(found: _Gaps) -> str:
    first = "" if len(found) == 1 else "first "
    return f"{first}from {_time(found[0][0])} until {_time(found[0][1])}"


def _time(at_us: int) -> str:
    at = format_at(at_us)
    return f"{at[:10]} {at[11:16]} UTC"
