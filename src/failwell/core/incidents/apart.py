"""Whether two who order are two: one person is not the second one under another name, key or office (R23).

What one user of the operating system does with the keys of two persons nobody here can see: that is told where the
orders come in (`release.approved`: not separated).
"""

from __future__ import annotations

from failwell.core import rows
from failwell.core.projections import Projections


def hands(state: Projections, person: str, since: int) -> frozenset[str]:
    """`person`, and whoever enrolled them since entry `since`, and whoever enrolled those.

    Attack: who may not approve enrols somebody who may, with a key that they keep themselves.
    """
    found: list[str] = [person]
    while (row := state.person.get(found[-1])) is not None and row.enrolled > since:
        if row.by is None or row.by in found:
            break
        found.append(row.by)
    return frozenset(found)


def one(state: Projections, a: str, b: str, since: int) -> bool:
    """Whether nothing shows that `a` and `b` are two: one name, one key, or one who enrolled the other since then."""
    first, second = state.person.get(a), state.person.get(b)
    if first is not None and second is not None and first.key == second.key:
        return True
    return bool(hands(state, a, since) & hands(state, b, since))


def since_hold(state: Projections, row: rows.Hold) -> int:
    """The entry from which on two who lift a hold must not have enrolled one another: its incident, or itself."""
    return row.last if row.incident is None else state.incident[row.incident].opened


def kept_from(state: Projections, number: int, person: str, by: str | None, *, what: str) -> str | None:
    """Why `person` may not be the second one for a release of incident `number` that `by` asked for; None if they may.

    `what` is what they would do to it. Without `by` only who suspended is asked about: one who acts alone is no second.
    """
    case = state.incident[number]
    if by is not None and one(state, person, by, case.opened):
        return f"{person} {_as(person, by)}: another person {what}"
    for other in _stoppers(state, number):
        if one(state, person, other, case.opened):
            named = "" if other == person else f" is not shown to be another than {other}, who"
            return f"{person}{named} suspended this agent: another person {what}"
    for other in case.authors if by is not None else ():
        if one(state, person, other, case.opened):
            named = "" if other == person else f" is not shown to be another than {other}, who"
            return f"{person}{named} changed what binds this agent since the incident: another person {what}"
    return None


def kept_from_lifting(state: Projections, row: rows.Stop, person: str, by: str | None) -> str | None:
    """The same for a stop of a scope, and for whoever proposes to lift it (without `by`)."""
    if by is not None and one(state, person, by, row.ordered):
        return f"{person} is not shown to be another than {by}, who proposed it"
    stoppers = (each.removeprefix("person:") for each in row.stopped_by if each.startswith("person:"))
    other = next((each for each in stoppers if one(state, person, each, row.ordered)), None)
    return None if other is None else f"{person} is not shown to be another than {other}, who ordered this stop"


def _as(person: str, by: str) -> str:
    return "proposed this release" if person == by else f"is not shown to be another than {by}, who asked for it"


def _stoppers(state: Projections, number: int) -> tuple[str, ...]:
    """The persons who suspended the agent in this case."""
    case = state.incident[number]
    agent = state.agent.get(case.agent)
    by = () if agent is None or agent.suspended_by is None else (agent.suspended_by,)
    return tuple(
        sorted({each.removeprefix("person:") for each in (*case.stopped_by, *by) if each.startswith("person:")})
    )
