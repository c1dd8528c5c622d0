"""When a case is over, what keeps it from being closed, and which case hears of a new signal (R25).

INVARIANT: what is over, merged or called a false alarm never swallows a signal. It is heard in the case that another
one was merged into, reopens the one that was resolved, or opens a new one.
"""

from __future__ import annotations

from failwell.core import kinds, rows
from failwell.core.machines import BELIEVED_OVER
from failwell.core.machines import CASE_OVER as OVER
from failwell.core.projections import Projections

#: The next signal about what was believed to be over says that it is not.
__all__ = ["BELIEVED_OVER", "OVER"]
#: Rehearsed and planted: nothing real may be told there.
REHEARSED = frozenset({"drill", "canary"})


def told_in(state: Projections, number: int) -> int:
    """Where an incident is told: itself, or the one that it was merged into at last."""
    row = state.incident[number]
    while row.merged_into is not None:
        number = row.merged_into
        row = state.incident[number]
    return number


def is_over(state: Projections, number: int) -> bool:
    """Whether nothing more is told in an incident, nor in the one that it was merged into."""
    return state.incident[told_in(state, number)].state in OVER


def hears(state: Projections, agent: str) -> int | None:
    """The case that hears of a new signal about `agent`; None where a new one is opened.

    What an agent is held for may be over while it is held. Then it is the newest other case about it.
    """
    bound = state.agent[agent].incident
    if bound is None:
        return None
    if not is_over(state, bound):
        return told_in(state, bound)
    later = (
        number
        for number, row in sorted(state.incident.items(), reverse=True)
        if row.agent == agent and row.kind not in REHEARSED and number > bound and not is_over(state, number)
    )
    found = next(later, None)
    return None if found is None else told_in(state, found)


def held_without_case(state: Projections, agent: str) -> bool:
    """Whether what an agent is held for is over while it is held: what it still does is heard like anybody's."""
    bound = state.agent[agent].incident
    return bound is not None and is_over(state, bound)


def reopened(number: int, row: rows.Incident, why: str) -> kinds.IncidentChanged | None:
    """That a case which people thought was over is not; None where nobody thought so."""
    if row.state not in BELIEVED_OVER:
        return None
    return kinds.IncidentChanged(
        incident=number, what="state", was=row.state, now="REOPENED", why=why, proposal=None
    )  # fmt: skip


def held_for(state: Projections, agent: str, number: int) -> int:
    """The incident that the containment of `agent` is marked on, where `number` hears of its signals: what was merged
    holds its own.
    """
    bound = state.agent[agent].incident
    return number if bound is None or told_in(state, bound) != number else bound


def binds(state: Projections, agent: str, kind: str) -> bool:
    """Whether a new case becomes the one that `agent` is held for, and that hears of it.

    Attack: a drill is reported on an agent, and what it does wrong from then on is told as rehearsed.
    """
    row = state.agent.get(agent)
    if row is None or kind in REHEARSED:
        return False
    if row.incident is None:
        return True
    return is_over(state, row.incident) and row.authority not in ("SUSPENDED", "RESTRICTED")


def parts(state: Projections, number: int) -> tuple[int, ...]:
    """An incident and those that were merged into it, by number."""
    merged = [other for other, row in state.incident.items() if row.merged_into is not None]
    return tuple(sorted([number, *(other for other in merged if told_in(state, other) == number)]))


def unstopped(state: Projections, number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The actions of an incident that have not ended, and those of which nobody can say that they stopped.

    Attack: it is merged into a case that had none, and that one is called over while they run.
    """
    told = [state.incident[part] for part in parts(state, number)]
    return (
        tuple(action for row in told for action in row.waiting),
        tuple(action for row in told for action in row.failed),
    )


def left_open(state: Projections, number: int) -> tuple[str, ...]:
    """What keeps an incident from being closed, in words; of those that were merged into it too."""
    found: list[str] = []
    for part in parts(state, number):
        row = state.incident[part]
        found += [f"task {task.number} of incident {part}, for {task.person}" for task in row.tasks]
        found += _of_containment(part, row)
        left = sum(
            place.startswith(f"{part}/") and work.state in ("left", "taken") for place, work in state.work.items()
        )
        if left:
            runs = "1 run" if left == 1 else f"{left} runs"
            found.append(f"{runs} left unfinished by incident {part}, which nobody finished or dropped")
    return tuple(found)


def _of_containment(number: int, row: rows.Incident) -> list[str]:
    found: list[str] = []
    if row.waiting:
        found.append(f"{len(row.waiting)} actions of incident {number}, which have not ended yet")
    if row.broken is not None:
        found.append(f"the release by one person alone (entry {row.broken}), which is owed a review")
    if row.serious is not None and not row.informed:
        found.append(f"incident {number} is serious, and no authority was informed")
    if row.claimed is not None:
        found.append(f"a change of incident {number} (entry {row.claimed}), which is claimed and not proven")
    return found
