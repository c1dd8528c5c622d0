"""The lock on the record: what is described and asked for with it in one commit, and how two persons lift it (I5).

A hold tells how its agent stood and which directories are to be copied, and whoever keeps a tool's own records is asked
to keep theirs. Nobody who marks an incident as serious has to think of a hold: it gets one.
"""

from __future__ import annotations

import re
from typing import Any

from failwell.core import kinds, rows
from failwell.core.ends import mark
from failwell.core.errors import ContractError, Corrupt
from failwell.core.following import Fold, Reaction, case_of
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

ACTOR = "response"
#: Of what ran, was open or waited so many are named in a description; of a keeper's tools so many in what is asked.
NAMED, TOOLS = 1000, 100


# ---- folds ---------------------------------------------------------------------------------------------------


def _hold_of(state: Projections, entry: Entry[Any], number: int) -> rows.Hold:
    row = state.hold.get(number)
    if row is None or row.lifted is not None:
        raise Corrupt(f"entry {entry.seq} speaks of hold {number}, which does not stand")
    return row


def _placed(state: Projections, entry: Entry[Any], body: kinds.HoldPlaced, at_us: int) -> None:
    if body.hold != state.holds + 1:
        raise Corrupt(f"entry {entry.seq} places hold {body.hold} after {state.holds}")
    state.holds = body.hold
    row = rows.Hold(
        agent=entry.agent or "", incident=body.incident, first=body.first, last=body.last, why=body.why,
        placed_us=at_us,
    )  # fmt: skip
    state.put("hold", body.hold, row)
    mark(state, body.incident, "HELD", entry.seq)


def _described(state: Projections, entry: Entry[Any], body: kinds.HoldDescribed, at_us: int) -> None:
    _hold_of(state, entry, body.hold)
    state.change("hold", body.hold, directories=body.directories)


def _preserved(state: Projections, entry: Entry[Any], body: kinds.DirectoryPreserved, at_us: int) -> None:
    row = state.hold.get(body.hold)
    if row is None or body.name not in owed(row):
        raise Corrupt(f"entry {entry.seq} preserves {body.name} for hold {body.hold}, which no copy of it is owed to")
    kept = rows.Preserved(body.name, entry.seq, body.digest)
    state.change("hold", body.hold, preserved=(*row.preserved, kept))


def owed(row: rows.Hold) -> tuple[str, ...]:
    """The directories of which a copy is owed still."""
    dealt = {kept.name for kept in row.preserved}
    return tuple(name for name in row.directories if name not in dealt)


def _asked(state: Projections, entry: Entry[Any], body: kinds.PreservationAsked, at_us: int) -> None:
    _hold_of(state, entry, body.hold)


def _proposed(state: Projections, entry: Entry[Any], body: kinds.HoldProposed, at_us: int) -> None:
    _hold_of(state, entry, body.hold)
    state.change("hold", body.hold, proposed_by=body.person, proposal=body.digest)


def _lifted(state: Projections, entry: Entry[Any], body: kinds.HoldLifted, at_us: int) -> None:
    row = _hold_of(state, entry, body.hold)
    if row.proposal is None or row.proposal != body.digest or row.proposed_by == body.person:
        raise Corrupt(f"entry {entry.seq} lifts hold {body.hold}, which another person did not propose")
    state.change("hold", body.hold, lifted=entry.seq)


def _informed(state: Projections, entry: Entry[Any], body: kinds.AuthorityInformed, at_us: int) -> None:
    row = case_of(state, entry, body.incident)
    state.change("incident", body.incident, informed=(*row.informed, entry.seq))


# ---- what follows --------------------------------------------------------------------------------------------


def _after_placed(state: Projections, entry: Entry[Any], body: kinds.HoldPlaced) -> tuple[Draft, ...]:
    """In the commit of the hold: how its agent stands, and who is asked to keep what."""
    asked = _asked_of(state, entry, body)
    pages = tuple(_page(state, entry, body, each) for each in asked)
    return tuple(
        Draft(body=each, actor=ACTOR, agent=entry.agent, refs=(entry.seq,))
        for each in (_description(state, entry.agent, body.hold), *asked, *pages)
    )


def _description(state: Projections, agent: str | None, hold: int) -> kinds.HoldDescribed:
    row = None if agent is None else state.agent.get(agent)
    found = {
        "running": [seq for seq, each in state.action.items() if each.state == "open"]
        if agent is None
        else list(state.running(agent)),
        "runs": [seq for seq, each in state.run.items() if agent in (None, each.agent)],
        "tickets": [seq for seq, each in state.ticket.items() if agent in (None, each.agent)],
    }
    return kinds.HoldDescribed(
        hold=hold, authority="" if row is None else row.authority, epoch=0 if row is None else row.epoch,
        contract=None if row is None else row.contract, posture=None if row is None else row.posture,
        configuration=state.configuration, directories=declared(state, agent),
        more=sum(max(0, len(each) - NAMED) for each in found.values()),
        **{name: tuple(each[:NAMED]) for name, each in found.items()},
    )  # fmt: skip


def declared(state: Projections, agent: str | None) -> tuple[str, ...]:
    """The directories that the settings in force declare for an agent (None: for any), each once."""
    preserve = state.workspace[1].preserve if state.workspace else ()
    return tuple(
        dict.fromkeys(
            directory for named, directory in preserve if agent is None or state.agent_named(named) == agent
        )
    )  # fmt: skip


def _asked_of(
    state: Projections, entry: Entry[Any], body: kinds.HoldPlaced
) -> tuple[kinds.PreservationAsked, ...]:  # fmt: skip
    """What each keeper is asked to keep: records of the tools that the agent's contract lists and the settings say they
    keep. Only whom the workspace knows is asked.
    """
    keepers = state.workspace[1].keepers if state.workspace else ()
    tools = _tools(state, entry.agent) if keepers else ()
    by: dict[str, set[str]] = {}
    for pattern, person in keepers:
        by.setdefault(state.reachable(person), set()).update(tool for tool in tools if matches(pattern, tool))
    return tuple(
        kinds.PreservationAsked(hold=body.hold, tools=tuple(sorted(kept)[:TOOLS]), person=person, first=body.first)
        for person, kept in sorted(by.items())
        if kept and person in state.person
    )


def _tools(state: Projections, agent: str | None) -> tuple[str, ...]:
    """The tools that the contracts in force list for an agent (None: for any), by name."""
    found: set[str] = set()
    for name in state.agent if agent is None else (agent,):
        try:
            contract = state.contract_of(name)
        except ContractError:  # of an earlier release: nothing is judged by it any more
            continue
        found.update(tool.tool for tool in (() if contract is None else contract.tools))
    return tuple(sorted(found))


def matches(pattern: str, tool: str) -> bool:
    """Whether a tool is named by a pattern: itself, or with `*` for anything."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), tool) is not None


def _page(
    state: Projections, entry: Entry[Any], body: kinds.HoldPlaced, asked: kinds.PreservationAsked
) -> kinds.PageQueued3:  # fmt: skip
    name = "every agent" if entry.agent is None else state.agent[entry.agent].name
    tools = ", ".join(asked.tools[:5]) + (f" and {len(asked.tools) - 5} more" if len(asked.tools) > 5 else "")
    return kinds.PageQueued3(
        page=state.pages + 1, incident=body.incident, person=asked.person, channel="email", step=1,
        due_us=state.last_at_us, ticket=None, about="preserve",
        why=f"Hold {body.hold} locks the record of {name}: keep your own records of {tools} from entry {body.first} on",
    )  # fmt: skip


def _after_changed(state: Projections, entry: Entry[Any], body: kinds.IncidentChanged) -> tuple[Draft, ...]:
    """A serious incident is under hold, whatever rule opened it."""
    row = state.incident[body.incident]
    if (body.what, body.now) != ("serious", "yes") or "HELD" in row.marks:
        return ()
    hold = kinds.HoldPlaced(
        hold=state.holds + 1, incident=body.incident, first=min(row.onset_first, row.opened), last=entry.seq,
        why=f"incident {body.incident} is serious",
    )  # fmt: skip
    return (Draft(body=hold, actor=ACTOR, agent=row.agent or None, refs=(entry.seq,)),)


FOLDS: dict[type, Fold] = {
    kinds.HoldPlaced: _placed,
    kinds.HoldDescribed: _described,
    kinds.DirectoryPreserved: _preserved,
    kinds.PreservationAsked: _asked,
    kinds.HoldProposed: _proposed,
    kinds.HoldLifted: _lifted,
    kinds.AuthorityInformed: _informed,
}
REACTIONS: dict[type, Reaction] = {kinds.HoldPlaced: _after_placed, kinds.IncidentChanged: _after_changed}
