"""What orders of people may lead to: who may give them, reached by whom, owned by whom, gone, bound by what (I7).

The state that an entry met says whether it could be: an owner who was never reached, a person who vouches for
themselves, a leaver whose key still orders, or a floor that one person put in force alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from failwell.core import contract as contracts
from failwell.core import kinds, orders
from failwell.core.errors import FailwellError
from failwell.core.instants import parse_at
from failwell.core.people import MAX_TRIES, returns
from failwell.core.records import Entry
from failwell.core.state import State

#: The role that a power takes, where it takes one of everybody who uses it.
ROLES = {
    "agent.assign": "operator", "agent.group": "operator", "agent.register": "operator", "config.apply": "operator",
    "contract.adopt": "approver", "floor.adopt": "approver", "hold.lift": "approver",
    "host.register": "operator", "incident.agree": "approver", "ledger.continue": "operator",
    "ledger.rotate": "operator", "person.enrol": "operator", "person.leave": "operator", "release.approve": "approver",
    "release.review": "approver",    "stop.lift": "approver",
}  # fmt: skip


def fault(entry: Entry[Any], body: Any, given: Sequence[orders.Order[Any]], state: State) -> str | None:
    """What an entry that people ordered says that its orders or the state before it do not bear out."""
    for order in given:
        role, row = ROLES.get(order.order), state.person.get(order.person)
        if role is not None and (row is None or role not in row.roles):
            return f"{order.person}, who ordered {order.order}, is no {role}"
    if isinstance(body, kinds.ContactAsked | kinds.ContactVerified):
        return _contact(entry, body, given[0], state)
    if isinstance(body, kinds.PersonLeft):
        details = given[0].details
        same = (details.person, details.successor, details.reason) == (body.person, body.successor, body.why)
        return None if same else "the person, successor or reason is not that of the order"
    if isinstance(body, kinds.AgentRegistered):
        return _registered(body, given[0].details, state)
    if isinstance(body, kinds.AgentAssigned | kinds.AgentGrouped):
        details = given[0].details
        about = state.agent_named(details.agent), getattr(details, "group", None)
        same = about == (entry.agent, getattr(body, "group", None))
        return None if same else "it is about another agent or group than the order"
    return _between(entry, body, given, state)


def _between(entry: Entry[Any], body: Any, given: Sequence[orders.Order[Any]], state: State) -> str | None:
    """Two people's doing, or two names of one."""
    if isinstance(body, kinds.PersonEnrolled):
        # Attack: one person's key under a second name, to be the second person with it.
        other = next((name for name, row in state.person.items() if row.key == body.key), None)
        return None if other is None else f"its key is that of {other}"
    if isinstance(body, kinds.ContractAdopted):
        return _contract(entry, body, given, state)
    if isinstance(body, kinds.ReleaseApproved):
        return _released(body, given[0], state)
    return _floor(body, given, state) if isinstance(body, kinds.FloorAdopted) else None


def _contract(
    entry: Entry[Any], body: kinds.ContractAdopted, given: Sequence[orders.Order[Any]], state: State
) -> str | None:  # fmt: skip
    """Attack: two people who may sign, though neither owns the agent; a contract for another agent than it says."""
    row, (signer, approver) = state.agent.get(str(entry.agent)), (order.person for order in given)
    if row is None or row.owner != signer:
        return f"{signer}, who signed it, does not own the agent"
    if (body.owner, body.approver) != (signer, approver):
        return "it names another owner or approver than those who signed"
    try:
        contract = contracts.from_canonical(body.document.encode())
    except FailwellError:
        return None  # of an earlier release: nothing is judged by it any more
    about = state.agent_named(contract.agent), contract.owner
    return None if about == (entry.agent, signer) else "its text names another owner or agent"


def _released(body: kinds.ReleaseApproved, order: orders.Order[Any], state: State) -> str | None:
    case, approver = state.incident.get(body.incident), state.person.get(order.person)
    proposer = None if case is None or case.proposed_by is None else state.person.get(case.proposed_by)
    if case is None or approver is None or proposer is None:
        return "nobody proposed it"
    if proposer.key == approver.key:
        return "one key signs for both persons"
    if proposer.left is not None:
        return f"{case.proposed_by}, who proposed it, had left"
    return f"{order.person} suspended the agent" if f"person:{order.person}" in case.stopped_by else None


def _registered(body: kinds.AgentRegistered, details: Any, state: State) -> str | None:
    if not isinstance(body, kinds.AgentRegistered2):
        # Attack: a later registration in the words of an earlier release, which asked nobody for an address.
        reached = any(row.verified is not None for row in state.person.values())
        return "it is of an earlier version than those before it" if reached else None
    if (tuple(sorted(set(details.groups))), details.detect_only) != (body.groups, body.detect_only):
        return "its groups, or what it is, are not those of the order"
    return None if state.present(body.owner) else f"its owner {body.owner} was never reached, or left"


def answered(agent: str | None, state: State) -> bool:
    """Whether an agent was restricted by its owner's leaving alone, and has another one now."""
    row = state.agent.get(str(agent))
    return row is not None and returns(row) and state.present(row.owner)


def _contact(entry: Entry[Any], body: Any, order: orders.Order[Any], state: State) -> str | None:
    details, row = order.details, state.person.get(body.person)
    if row is None or row.left is not None or (details.person, details.contact) != (body.person, body.contact):
        return "the order is about another person or address"
    if row.contact != body.contact:
        return f"it is not the address that {body.person} enrolled with"
    if isinstance(body, kinds.ContactAsked):
        asker = state.person.get(order.person)
        if order.person != body.person and (asker is None or "operator" not in asker.roles):
            return f"{order.person}, who asked for a code to {body.person}, is no operator"
        # Attack: a code that is good for years, to be found in a mailbox later.
        return "its code is good for longer than an hour" if body.due_us > parse_at(entry.at) + orders.HOUR_US else None
    if (body.how, body.by) != (details.how, order.person):
        return "who says so, or how, is not what the order says"
    if body.how == "vouched":
        other = state.person.get(order.person)
        same = other is None or order.person == body.person or other.key == row.key
        return f"{body.person} vouches for themselves" if same else None
    if order.person != body.person or row.asked is None:
        return f"no code was sent that {order.person} could have given"
    late = parse_at(entry.at) >= row.due_us or row.tries > MAX_TRIES
    return "the code was void by then" if late else None


def _floor(body: kinds.FloorAdopted, given: Sequence[orders.Order[Any]], state: State) -> str | None:
    signer, approver = (state.person.get(order.person) for order in given)
    try:
        orders.check_pair(*given)
    except FailwellError as error:
        return error.message
    if signer is None or approver is None or signer.key == approver.key:
        return "one key signs for both persons"
    if (body.signer, body.approver) != (given[0].person, given[1].person):
        return "other persons signed it than it says"
    owns = any(agent.owner == given[0].person for agent in state.agent.values())
    if "operator" not in signer.roles and not owns:
        return f"{given[0].person}, who signed it, is neither an operator nor an owner"
    if sha256(body.document.encode()).hexdigest() != body.digest:
        return "the floor is not the one that was signed"
    floor = contracts.floor_from_canonical(body.document.encode())
    same = (floor.floor, floor.version, floor.scope) == (body.floor, body.version, body.scope)
    return None if same else "its name, version or scope are not those of its text"
