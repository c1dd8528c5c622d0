"""What would go wrong tonight, before tonight: paths that ask nobody, too late, or always the same; teams with gaps;
persons who were never shown to be reached (R10, R12).

Pure, over a state that may be a proposed one: settings before they are put in force, a contract before it is adopted.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from failwell.core import rows
from failwell.core.contract import Contract
from failwell.core.escalation import coverage
from failwell.core.escalation.calendars import members
from failwell.core.escalation.faults import Fault, times
from failwell.core.escalation.path import EMAIL, HOUSE, path_of, steps_of, total_us
from failwell.core.escalation.targets import named
from failwell.core.hours import DAY_US, parse_hours
from failwell.core.kinds import PathStep
from failwell.core.machines import SEVERITIES
from failwell.core.projections import Projections

ACKNOWLEDGE = "acknowledge"
_ENDED = frozenset({"RETIRED"})


class Path(NamedTuple):
    """Whose path it is, the agents whose incidents take it ("": nobody's yet), its steps as they are written, and as
    they are taken: up to the last resort, which is added where none is declared.
    """

    source: str
    agents: tuple[str, ...]
    declared: tuple[PathStep, ...]
    taken: tuple[PathStep, ...]


def still(state: Projections) -> Projections:
    """A copy of what is looked at here, which nobody changes any more: a month of turns is not told in the writer's
    turn.
    """
    found = copy.copy(state)
    for table in ("workspace", "person", "agent", "contract", "cover", "channel", "on_call"):
        setattr(found, table, dict(getattr(state, table)))
    return found


def proposed(
    state: Projections, escalating: rows.Escalating | None, agreed: tuple[tuple[str, str, int], ...], mail: bool,
    zones: tuple[tuple[str, tuple[tuple[int, int], ...]], ...],
) -> Projections:  # fmt: skip
    """A still state as it would be with other settings in force."""
    found = still(state)
    found.workspace[1] = msgspec.structs.replace(
        found.workspace[1], escalation=escalating, objectives=agreed, mail=mail, zones=zones
    )
    return found


def lint(
    state: Projections, now_us: int, days: int = 31, instead: Mapping[str, Contract] | None = None
) -> tuple[Fault, ...]:  # fmt: skip
    """Everything that is wrong with how people would be told, now and in the days ahead. `instead`: contracts of agents
    that are not in force yet.
    """
    until_us = now_us + days * DAY_US
    found: list[Fault] = []
    for path in paths(state, instead or {}):
        found += _path(state, path, now_us)
        found += coverage.uncovered(state, path.source, path.taken, now_us, until_us)
    found += coverage.teams(state)
    found += coverage.unproven(state, reached(state, instead or {}), now_us)
    return tuple(dict.fromkeys(found))


def paths(state: Projections, instead: Mapping[str, Contract]) -> tuple[Path, ...]:
    """Every path that an incident could take, each once."""
    found: dict[tuple[str, tuple[PathStep, ...]], list[str]] = {}
    for agent in dict.fromkeys((*state.agent, *instead)):
        row = state.agent.get(agent)
        if row is None or row.authority not in _ENDED:
            found.setdefault(path_of(state, agent, instead.get(agent)), []).append(agent)
    found.setdefault(path_of(state, ""), []).append("")
    return tuple(
        Path(source, tuple(agents), _declared(state, agents[0], instead), taken)
        for (source, taken), agents in found.items()
    )


def _declared(state: Projections, agent: str, instead: Mapping[str, Contract]) -> tuple[PathStep, ...]:
    return steps_of(state, agent, instead.get(agent))[1]


# ---- one path ------------------------------------------------------------------------------------------------


def _path(state: Projections, path: Path, now_us: int) -> Iterator[Fault]:
    for number, step in enumerate(path.declared, 1):
        place = f"{path.source}, step {number}"
        yield from _known(state, place, step)
        yield from _idle(path, place, number, step)
        if number <= len(path.taken):
            yield from _somebody(state, path, place, step, now_us)
    yield from _late(state, path)
    for agent in path.agents:
        yield from _same(state, path, agent, now_us)
    if path.declared and all(step.notify == "owner" for step in path.declared):
        yield Fault(
            code="owner-only", place=path.source, problem="The owner is the only one whom it asks.",
            reason="Whoever is asleep or away is asked until the last resort.",
            mend="Add a step: role:operator, or a team.",
        )  # fmt: skip


def _known(state: Projections, place: str, step: PathStep) -> Iterator[Fault]:
    """Whether team, person, role and channels are there."""
    word, _, name = step.notify.partition(":")
    escalating = state.workspace[1].escalation or rows.Escalating()
    if word == "team" and name not in dict(escalating.teams):
        yield Fault(code="unknown-team", place=place, problem=f"There is no team {name}.",
                    reason="The step names nobody and is passed over.",
                    mend=f"Declare [teams.{name}] in failwell.toml, then: failwell config apply")  # fmt: skip
    if word == "person" and not state.enrolled(name):
        row = state.person.get(name)
        gone = row is not None and row.left is not None
        reason = f"{state.reachable(name)} is asked instead." if gone else "The step names nobody and is passed over."
        yield Fault(code="unknown-person", place=place, problem=f"{name} {'has left' if gone else 'is not enrolled'}.",
                    reason=reason, mend="Name somebody who is here: failwell person list")  # fmt: skip
    for channel in step.by:
        if channel != EMAIL and channel not in dict(escalating.channels):
            yield Fault(code="unknown-channel", place=place, problem=f"There is no channel {channel}.",
                        reason="Nothing can be sent by it.",
                        mend=f"Declare [channels.{channel}] in failwell.toml, then: failwell config apply")  # fmt: skip


def _idle(path: Path, place: str, number: int, step: PathStep) -> Iterator[Fault]:
    """Steps that are never reached, or reach nobody new."""
    if number > len(path.taken):
        yield Fault(code="unreachable-step", place=place, problem="This step is never reached.",
                    reason="The last resort before it is asked until somebody takes it.",
                    mend="Put it before the last resort, or leave it out.")  # fmt: skip
    elif any(_covers(one, step) for one in path.declared[: number - 1]):
        yield Fault(code="unreachable-step", place=place, problem="This step asks nobody new.",
                    reason="An earlier step asks the same by the same channels.",
                    mend="Ask others, or let the earlier one repeat.")  # fmt: skip


def _covers(earlier: PathStep, later: PathStep) -> bool:
    always = earlier.severity == "minor" and not earlier.hours
    alike = (earlier.severity, earlier.hours) == (later.severity, later.hours)
    return earlier.notify == later.notify and set(later.by) <= set(earlier.by) and (always or alike)


def _somebody(state: Projections, path: Path, place: str, step: PathStep, now_us: int) -> Iterator[Fault]:
    """Whether a step names anybody, and enough of them, whichever agent it is about."""
    word = step.notify.partition(":")[0]
    for agent in path.agents:
        if agent not in state.agent and word == "owner":
            continue  # of an agent that nobody knows there is no owner: the house is asked
        persons = named(state, agent, step.notify, now_us)
        about = f" of {state.agent[agent].name}" if word == "owner" else ""
        if not persons and word in ("owner", "role"):
            yield Fault(code="nobody", place=place, problem=f"{step.notify}{about} is nobody who is here.",
                        reason="The step is passed over.",
                        mend="failwell person add NAME --role ROLE, or name others.")  # fmt: skip
        if persons and step.require.isdigit() and int(step.require) > len(persons):
            yield Fault(code="too-few", place=place, problem=f"{step.require} have to take it, and {len(persons)} can.",
                        reason=f"It counts as taken once {len(persons)} of them did.",
                        mend="Ask more of them, or require less.")  # fmt: skip


def _late(state: Projections, path: Path) -> Iterator[Fault]:
    """Whether the last resort is asked within what the house has agreed on."""
    agreed = {severity: us for severity, objective, us in state.workspace[1].objectives if objective == ACKNOWLEDGE}
    for severity, within_us in sorted(agreed.items()):
        applies = tuple(
            step for step in path.taken if SEVERITIES.index(severity) >= SEVERITIES.index(step.severity)
        )  # fmt: skip
        total = total_us(applies) + (_longest_quiet_us(state) if severity == "minor" else 0)
        if total > within_us:
            quiet = ", quiet hours included" if severity == "minor" and _longest_quiet_us(state) else ""
            yield Fault(
                code="over-objective", place=path.source,
                problem=f"What is {severity} is to be taken within {times(within_us)}, "
                f"and the last resort is asked after {times(total)}{quiet}.",
                reason="The objective is missed before everybody was asked.",
                mend="Shorten ack_within or repeat, or change [objectives].",
            )  # fmt: skip


def _longest_quiet_us(state: Projections) -> int:
    escalating = state.workspace[1].escalation
    if escalating is None or not escalating.quiet:
        return 0
    spans = parse_hours(escalating.quiet)
    return max((span.until_us - span.since_us) % DAY_US or DAY_US for span in spans)


def _same(state: Projections, path: Path, agent: str, now_us: int) -> Iterator[Fault]:
    everybody = {person for step in path.taken for person in _potential(state, agent, step, now_us)}
    if len(everybody) == 1:
        about = f" about {state.agent[agent].name}" if agent in state.agent else ""
        yield Fault(
            code="same-person", place=path.source,
            problem=f"{next(iter(everybody))} is the only person who is ever asked{about}, last resort included.",
            reason="If they do not answer, nobody does.",
            mend="Enrol another operator or approver: failwell person add NAME --role operator",
        )  # fmt: skip


def _potential(state: Projections, agent: str, step: PathStep, now_us: int) -> frozenset[str]:
    """Everybody whom a step may ask, whoever is on call."""
    word, _, name = step.notify.partition(":")
    if word == "team":
        return frozenset(filter(state.enrolled, map(state.reachable, members(state, name))))
    return frozenset(named(state, agent, step.notify, now_us))


def reached(state: Projections, instead: Mapping[str, Contract] = MappingProxyType({})) -> frozenset[tuple[str, str]]:
    """(channel, person) of everybody whom a step before the implied last resort may ask, by each of its channels."""
    found: set[tuple[str, str]] = set()
    for path in paths(state, instead):
        for agent in path.agents:
            for step in path.taken:
                if step.notify != HOUSE:
                    persons = _potential(state, agent, step, 0)
                    found.update((channel, person) for channel in step.by for person in persons)
    return frozenset(found)
