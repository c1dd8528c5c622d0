"""The work that a stopped agent leaves: which runs, who is asked to take them, what became of each (R7).

A run that a person takes is no agent's any more: it is stopped with that, or the work would be done twice once the
agent is released.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from failwell.core import kinds, rows
from failwell.core.contract import Contract
from failwell.core.errors import ContractError, Corrupt
from failwell.core.following import Fold, Reaction, case_of
from failwell.core.orders import parse_order
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry
from failwell.core.stops import MAILED_AT_ONCE, interrupts

ACTOR = "response"
ENDS = ("taken", "finished", "dropped")
#: Runs that one entry names: however many were open, what is left must not be too big to write (65,535 bytes).
NAMED_AT_ONCE = 1000
_ROLE = "role:"


def place_of(incident: int, run: int) -> str:
    """The key of a left run's row."""
    return f"{incident}/{run}"


# ---- runs ----------------------------------------------------------------------------------------------------


def open_runs(state: Projections, agent: str) -> tuple[int, ...]:
    """The open runs of an agent, and those that were opened under them for others, oldest first."""
    return tuple(seq for seq, row in sorted(state.run.items()) if row.open and agent in (row.agent, *row.chain))


def family(state: Projections, run: int) -> tuple[int, ...]:
    """A run and all that it was handed over to, open or not as far as they are remembered, oldest first.

    Attack: the run is closed, and what it handed over goes on. Or one between is closed: which run it came from nobody
    remembers then, but who handed it over for whom, and what stands under a closed run starts nothing anyway.
    """
    found, top = {run}, state.run.get(run)
    for seq, row in sorted(state.run.items()):  # a run is opened after the one that it comes from
        loose = row.parent is not None and row.parent not in state.run
        if row.parent in found or (
            loose and top is not None and top.agent in row.chain and row.principal == top.principal
        ):
            found.add(seq)
    return tuple(sorted(found))


def _going_on(state: Projections, run: int, reached: tuple[int, ...]) -> Iterator[int]:
    """What is open in these runs, and what was handed over by the agent of `run` and goes on in a run that is closed.

    Attack: whoever has the work closes its run under what runs in it, and a stop of the run above passes that by.
    """
    top, within = state.run.get(run), frozenset(reached)
    for seq, action in state.action.items():
        if action.state == "open" and (
            action.run in within or (top is not None and action.run not in state.run and top.agent in action.chain)
        ):
            yield seq


def stop_runs(
    state: Projections, run: int, *, incident: int | None, why: str, by: str
) -> tuple[tuple[int, ...], tuple[Any, ...]]:  # fmt: skip
    """(the open runs that stop, what is written for it): `run`, those it was handed over to, and what runs in them."""
    reached = family(state, run)
    runs = tuple(seq for seq in reached if seq in state.run)
    waiting = () if incident is None else state.incident[incident].waiting
    actions = tuple(seq for seq in _going_on(state, run, reached) if seq not in waiting)
    bodies: list[Any] = []
    if actions or (incident is not None and "ORDERED" not in state.incident[incident].marks):
        bodies += interrupts(actions, why, incident)
    bodies += [
        kinds.RunStopped(runs=runs[first:][:NAMED_AT_ONCE], why=why, by=by)
        for first in range(0, len(runs), NAMED_AT_ONCE)
    ]
    return runs, tuple(bodies)


# ---- who is asked to take them -------------------------------------------------------------------------------


def left_by(
    state: Projections, agent: str, incident: int, runs: tuple[int, ...], cause: int
) -> tuple[Draft, ...]:  # fmt: skip
    """That `agent` leaves these runs, and the pages to whoever is asked to take them; nothing where it leaves none."""
    fresh = tuple(seq for seq in runs if place_of(incident, seq) not in state.work)
    if not fresh:
        return ()
    to = takers(state, agent)
    left = kinds.WorkLeft(
        incident=incident, runs=fresh[:NAMED_AT_ONCE], to=to, more=len(fresh[NAMED_AT_ONCE:])
    )  # fmt: skip
    row = state.agent[agent]
    count = "1 run" if len(fresh) == 1 else f"{len(fresh)} runs"
    bodies: list[Any] = [left]
    # The owner is paged of the case itself, whose letter tells of the work too.
    asked = [person for person in to if person != state.reachable(row.owner)]
    bodies += [
        kinds.PageQueued3(
            page=state.pages + number, incident=incident, person=person, channel="email", step=1,
            due_us=state.last_at_us, why=f"{row.name} was stopped and leaves {count} unfinished", ticket=None,
            about="work",
        )
        for number, person in enumerate(asked, 1)
    ]  # fmt: skip
    return tuple(Draft(body=body, actor=ACTOR, agent=agent, refs=(cause,)) for body in bodies)


def may_end(state: Projections, row: rows.Work) -> frozenset[str]:
    """Who may say what became of a run, beside operators: whoever was asked, who took it, and the agent's owner."""
    owner = state.agent[row.agent].owner
    told = {*row.to, *map(state.reachable, row.to), state.reachable(owner), row.person}
    return frozenset(filter(None, told))


def takers(state: Projections, agent: str) -> tuple[str, ...]:
    """Who is asked to take an agent's work, by name: whom its contract names, else its owner. Somebody always is.

    A contract names a person, a role (`role:reviewer`), or a team that only the house knows: of that one the owner is
    asked, who knows whom to give it to.
    """
    contract = _contract(state, agent)
    named = None if contract is None else contract.unfinished_runs
    found: list[str] = []
    if named is not None and named.startswith(_ROLE):
        role = named.removeprefix(_ROLE)
        found = sorted(name for name, row in state.person.items() if row.left is None and role in row.roles)
    elif named in state.person:
        person = state.reachable(str(named))
        found = [person] if state.person[person].left is None else []
    return tuple(found[:MAILED_AT_ONCE]) or (state.reachable(state.agent[agent].owner),)


def _contract(state: Projections, agent: str) -> Contract | None:
    try:
        return state.contract_of(agent)
    except ContractError:  # it cannot be read any more; its agent's work is left all the same
        return None


def _after_authority(state: Projections, entry: Entry[Any], body: kinds.AuthorityChanged) -> tuple[Draft, ...]:
    """A suspended agent leaves what it was at, and what it had given to others of it."""
    if body.now != "SUSPENDED" or body.incident is None:
        return ()
    agent = str(entry.agent)
    return left_by(state, agent, body.incident, open_runs(state, agent), entry.seq)


def _after_order(state: Projections, entry: Entry[Any], body: kinds.Order) -> tuple[Draft, ...]:
    """A person's stop of a run or of one action takes the road of every stop: it follows in the order's own commit."""
    if body.order not in ("run.stop", "action.stop"):
        return ()
    details = parse_order(body.text).details
    if body.order == "run.stop":
        return _stopped_by(state, entry, details.run, details.reason)
    row = state.action.get(details.action)
    if row is None:
        return ()
    stopped = kinds.InterruptOrdered(incident=None, actions=(details.action,), why=details.reason)
    return (Draft(body=stopped, actor=ACTOR, agent=row.agent, run=row.run, refs=(entry.seq,)),)


def _after_ended(state: Projections, entry: Entry[Any], body: kinds.WorkEnded) -> tuple[Draft, ...]:
    """What a person took, finished or dropped is not the agent's to go on with, also once it is released."""
    done = "took it over" if body.state == "taken" else f"says that it is {body.state}"
    return _stopped_by(state, entry, body.run, f"{body.person} {done}")


def _stopped_by(state: Projections, entry: Entry[Any], run: int, why: str) -> tuple[Draft, ...]:
    """What is written where a person stops a run; of that run, so that it is about nothing else of its agent."""
    _, bodies = stop_runs(state, run, incident=None, why=why, by=entry.actor)
    return tuple(Draft(body=body, actor=ACTOR, agent=entry.agent, run=run, refs=(entry.seq,)) for body in bodies)


# ---- folds ---------------------------------------------------------------------------------------------------


def _left(state: Projections, entry: Entry[Any], body: kinds.WorkLeft, at_us: int) -> None:
    case_of(state, entry, body.incident)
    for run in body.runs:
        row = rows.Work(agent=str(entry.agent), to=body.to, state="left", person=None, entry=entry.seq)
        state.put("work", place_of(body.incident, run), row)


def _ended(state: Projections, entry: Entry[Any], body: kinds.WorkEnded, at_us: int) -> None:
    place = place_of(body.incident, body.run)
    row = state.work.get(place)
    if row is None or row.state in ("finished", "dropped") or body.state not in ENDS:
        raise Corrupt(f"entry {entry.seq} says what became of run {body.run}, which nobody was asked to take")
    state.put("work", place, replace(row, state=body.state, person=body.person, entry=entry.seq))


def _run_stopped(state: Projections, entry: Entry[Any], body: kinds.RunStopped, at_us: int) -> None:
    for run in body.runs:
        if run in state.run:
            state.change("run", run, open=False)
            state.forget("run", run)
            state.calls.pop(run, None)


FOLDS: dict[type, Fold] = {kinds.WorkLeft: _left, kinds.WorkEnded: _ended, kinds.RunStopped: _run_stopped}
REACTIONS: dict[type, Reaction] = {
    kinds.AuthorityChanged: _after_authority,
    kinds.Order: _after_order,
    kinds.WorkEnded: _after_ended,
}
