"""Containing a whole group by rule: what is in it is stopped, each record in it is locked, and its people are told.

An agent's groups are stopped as a person's order stops them (`core.stops`): nothing in them starts, what runs is
interrupted, whoever joins is stopped too, and two persons lift it. That no person ordered it is all that differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from failwell.core import kinds, stops
from failwell.core.incidents.work import left_by, open_runs
from failwell.core.projections import Projections
from failwell.core.records import Draft

ACTOR = "response"
#: Members whose record is locked for itself and whose work is listed. Of a larger group everything is locked at once.
EACH = 24


def contain_group(state: Projections, agent: str, incident: int, *, why: str, cause: int) -> tuple[Draft, ...]:
    """Stop each group of `agent` that is not stopped yet. An agent without a group is suspended alone.

    Attack: one member is suspended, and the others go on with what they were made to do like it.
    """
    drafts: list[Draft] = []
    reached: dict[str, None] = {agent: None}
    for group in state.agent[agent].groups:
        scope = stops.GROUP + group
        row = state.stop.get(scope)
        if row is not None and row.closed:
            continue
        epoch = 1 if row is None else row.epoch + 1
        stopped = kinds.ScopeStopped(scope=scope, epoch=epoch, why=why, by=ACTOR)
        drafts.append(Draft(body=stopped, actor=ACTOR, agent=agent, refs=(cause,)))
        running = stops.actions_in(state, scope)
        for body in stops.interrupts(running, f"{stops.words(scope)} stopped: {why}", incident):
            drafts.append(Draft(body=body, actor=ACTOR, refs=(cause,)))
        reached |= dict.fromkeys(stops.agents_in(state, scope))
    if drafts:
        drafts += _members(state, [*reached][1:], incident, why, cause)
        pages = _pages(state, incident, reached)
        drafts += [Draft(body=body, actor=ACTOR, agent=agent, refs=(cause,)) for body in pages]
    return tuple(drafts)


def _members(state: Projections, others: list[str], incident: int, why: str, cause: int) -> list[Draft]:
    """What follows for the other agents of the group: their record is locked as well, and their work goes to people.

    Attack: a group of so many that what follows is more than one commit takes, and all of it is dropped.
    """
    case = state.incident[incident]
    first = min(case.onset_first, case.opened)
    hold = kinds.HoldPlaced(hold=state.holds + 1, incident=incident, first=first, last=case.opened, why=why)
    locked = others if len(others) <= EACH else [None]
    found = [Draft(body=hold, actor=ACTOR, agent=member, refs=(cause,)) for member in locked]
    left = [
        draft for member in others[:EACH] for draft in left_by(state, member, incident, open_runs(state, member), cause)
    ]
    pages = [draft for draft in left if isinstance(draft.body, kinds.PageQueued)]
    found += [draft for draft in left if not isinstance(draft.body, kinds.PageQueued)]
    return found + pages[: stops.MAILED_AT_ONCE]


def _pages(state: Projections, incident: int, reached: dict[str, None]) -> Iterator[Any]:
    """Operators and the owners of those stopped with it hear of it; the owner of the first is paged of the case."""
    first, *others = (state.reachable(state.agent[agent].owner) for agent in reached)
    operators = sorted(name for name, row in state.person.items() if row.left is None and "operator" in row.roles)
    told = [person for person in dict.fromkeys((*operators, *others)) if person != first][: stops.MAILED_AT_ONCE]
    named = ", ".join(state.agent[agent].name for agent in list(reached)[:8])
    more = "" if len(reached) <= 8 else f" and {len(reached) - 8} more"
    why = f"its whole group is stopped with {state.agent[next(iter(reached))].name}: {named}{more}"
    for number, person in enumerate(told, 1):
        yield kinds.PageQueued3(
            page=state.pages + number, incident=incident, person=person, channel="email", step=1,
            due_us=state.last_at_us, why=why, ticket=None, about="group",
        )  # fmt: skip
