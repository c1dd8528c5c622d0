"""Who a step of a path names: persons who are there, at that time, by the record alone (I6)."""

from __future__ import annotations

from failwell.core import rows
from failwell.core.asking import MAILED_AT_ONCE
from failwell.core.escalation.calendars import members, on_call, within_hours, zone_of
from failwell.core.escalation.path import ALL, ANY, HOUSE
from failwell.core.kinds import PathStep
from failwell.core.machines import SEVERITIES
from failwell.core.projections import Projections

_HOUSE_ROLES = frozenset({"operator", "approver"})


def named(state: Projections, agent: str, notify: str, at_us: int) -> tuple[str, ...]:
    """The persons that `notify` stands for at `at_us` (ledger time), at most as many as are told at once.

    A team of which nobody is on call is asked whole: coverage that is broken must not be silence.
    """
    word, _, name = notify.partition(":")
    if word == "owner":
        found = _owner(state, agent)
    elif word == "person":
        found = (state.reachable(name),) if name in state.person else ()
    elif word == "role":
        found = tuple(sorted(each for each, row in state.person.items() if row.left is None and name in row.roles))
    elif word == "team":
        found = _team(state, name, at_us)
    else:
        found = _house(state) if notify == HOUSE else ()
    return tuple(dict.fromkeys(person for person in found if state.enrolled(person)))[:MAILED_AT_ONCE]


def applies(state: Projections, step: PathStep, severity: str, at_us: int) -> bool:
    """Whether a step is for an incident this severe at this time. A last resort is for every incident, always."""
    if step.last_resort:
        return True
    if SEVERITIES.index(severity) < SEVERITIES.index(step.severity):
        return False
    if not step.hours:
        return True
    return within_hours(state, zone_of(state), step.hours, at_us)


def satisfied(state: Projections, row: rows.Escalation) -> tuple[str, ...]:
    """The persons by whom an incident is taken, as many as one of the steps asks for; () while it is not."""
    for step, asked in zip(row.path, row.asked, strict=False):
        if not asked:
            continue
        if step.require == ANY:
            if row.acknowledged:
                return row.acknowledged
            continue
        there = [person for person in asked if state.enrolled(person)]
        took = tuple(person for person in there if person in row.acknowledged)
        needed = len(there) if step.require == ALL else min(int(step.require), len(there))
        if took and len(took) >= needed:
            return took
    return ()


def _owner(state: Projections, agent: str) -> tuple[str, ...]:
    row = state.agent.get(agent)
    return () if row is None else (state.reachable(row.owner),)


def _team(state: Projections, name: str, at_us: int) -> tuple[str, ...]:
    on = tuple(person for person in on_call(state, name, at_us) if state.enrolled(person))
    return on or tuple(map(state.reachable, members(state, name)))


def _house(state: Projections) -> tuple[str, ...]:
    here = {name: row for name, row in sorted(state.person.items()) if row.left is None}
    return tuple(name for name, row in here.items() if _HOUSE_ROLES & set(row.roles)) or tuple(here)
