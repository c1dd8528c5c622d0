"""From an entry to the rows of people: who may order, how they were reached, who left, and who answers for which agent.

The folds about people and about what binds agents together (`core.folds` takes them up); what follows from a person's
leaving (`core.react`) is told here too, so that one place says what a workspace without its owner does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from failwell.core import kinds, orders, rows
from failwell.core.errors import Corrupt
from failwell.core.escalation import proofs
from failwell.core.projections import Projections
from failwell.core.records import Entry

_Fold = Callable[[Projections, Entry[Any], Any, int], None]
FOLDS: dict[type, _Fold] = {}

#: An agent that may act does so restricted from the moment its owner is gone.
ORPHANED = frozenset({"ACTIVE", "PROBATION", "OBSERVED"})
#: How often a code may be given before it is void.
MAX_TRIES = 5


def _folds(kind: type) -> Callable[[_Fold], _Fold]:
    def enter(fold: _Fold) -> _Fold:
        FOLDS[kind] = fold
        return fold

    return enter


def returns(row: rows.Agent) -> bool:
    """Whether an agent acts in full again once another owner stands for it: only its owner's leaving restricted it.

    Attack: an agent in PROBATION whose owner leaves. Two persons end a PROBATION, not the next contract.
    """
    return row.authority == "RESTRICTED" and row.orphaned and row.incident is None and row.probation is None


def note_order(state: Projections, order: orders.Order[Any]) -> None:
    """What an order itself says of people: the address of who is enrolled by it, and one more try at a code."""
    details = order.details
    if isinstance(details, orders.Init):
        state.contacts[order.person] = details.contact
    elif isinstance(details, orders.PersonEnrol):
        state.contacts[details.person] = details.contact
    elif isinstance(details, orders.ContactVerify) and details.how == "code" and order.person == details.person:
        # Only their own tries count: nobody else can make a person's code void by guessing at it.
        row = state.person.get(order.person)
        if row is not None and row.asked is not None:
            state.change("person", order.person, tries=row.tries + 1)


@_folds(kinds.PersonEnrolled)
def _person(state: Projections, entry: Entry[Any], body: kinds.PersonEnrolled, at_us: int) -> None:
    row = rows.Person(
        key=body.key, roles=body.roles, enrolled=entry.seq, contact=state.contacts.pop(body.person, None), asked=None,
        due_us=0, tries=0, verified=None, vouched_by=None, left=None, successor=None,
        by=entry.actor.removeprefix("person:"),
    )  # fmt: skip
    state.put("person", body.person, row)


@_folds(kinds.ContactAsked)
def _asked(state: Projections, entry: Entry[Any], body: kinds.ContactAsked, at_us: int) -> None:
    state.change("person", body.person, asked=entry.seq, due_us=body.due_us, tries=0)


@_folds(kinds.ContactVerified)
def _verified(state: Projections, entry: Entry[Any], body: kinds.ContactVerified, at_us: int) -> None:
    vouched = body.by if body.how == "vouched" else None
    state.change("person", body.person, verified=body.contact, vouched_by=vouched, asked=None, tries=0)
    if body.how == "code" and state.workspace and state.workspace[1].rules >= 3:  # older records have no such rows
        proofs.verified(state, body.person, entry.seq, at_us)


@_folds(kinds.PersonLeft)
def _left(state: Projections, entry: Entry[Any], body: kinds.PersonLeft, at_us: int) -> None:
    row = state.person.get(body.person)
    if row is None or row.left is not None or not state.present(body.successor) or body.successor == body.person:
        raise Corrupt(f"entry {entry.seq} lets {body.person} leave to {body.successor}, which cannot be")
    state.change("person", body.person, left=entry.seq, successor=body.successor, asked=None)
    for name, agent in list(state.agent.items()):
        if agent.owner == body.person and agent.authority in ORPHANED:
            state.change("agent", name, orphaned=True)


@_folds(kinds.HostRegistered)
def _host(state: Projections, entry: Entry[Any], body: kinds.HostRegistered, at_us: int) -> None:
    state.put("host", body.host, rows.Host(key=body.key, agents=body.agents, registered=entry.seq))


@_folds(kinds.AgentRegistered)
@_folds(kinds.AgentRegistered2)
def _agent(state: Projections, entry: Entry[Any], body: kinds.AgentRegistered, at_us: int) -> None:
    row = rows.Agent(
        name=body.name, owner=body.owner, key=None, authority="REGISTERED", epoch=0, contract=None, posture=None,
        incident=None, registered=entry.seq, suspended_by=None, onsets={},
        groups=getattr(body, "groups", ()), detect_only=getattr(body, "detect_only", False),
        observed_until_us=None, orphaned=False, keyed=None, asked_us=None,
    )  # fmt: skip
    state.names[body.name] = str(entry.agent)
    state.put("agent", entry.agent, row)


@_folds(kinds.AgentAssigned)
def _assigned(state: Projections, entry: Entry[Any], body: kinds.AgentAssigned, at_us: int) -> None:
    row = state.agent.get(str(entry.agent))
    if row is None or row.owner != body.was or not state.present(body.owner):
        raise Corrupt(f"entry {entry.seq} assigns {entry.agent} to {body.owner}, which cannot be")
    state.change("agent", entry.agent, owner=body.owner)


@_folds(kinds.AgentGrouped)
def _grouped(state: Projections, entry: Entry[Any], body: kinds.AgentGrouped, at_us: int) -> None:
    row = state.agent.get(str(entry.agent))
    # INVARIANT: groups only grow, because leaving one would free the agent of its floors.
    if row is None or body.groups != tuple(sorted({*row.groups, body.group})):
        raise Corrupt(f"entry {entry.seq} puts {entry.agent} into other groups than it was in and joins")
    state.change("agent", entry.agent, groups=body.groups)


@_folds(kinds.FloorAdopted)
def _floor(state: Projections, entry: Entry[Any], body: kinds.FloorAdopted, at_us: int) -> None:
    known = state.floor.get(body.floor)
    if known is not None and (body.version <= known.version or body.scope != known.scope):
        raise Corrupt(f"entry {entry.seq} adopts floor {body.floor} version {body.version} after {known.version}")
    row = rows.FloorRow(
        version=body.version, digest=body.digest, scope=body.scope, document=body.document, adopted=entry.seq
    )
    state.put("floor", body.floor, row)
