"""Sight: the canonical bytes of what a person is shown before an order, so that a signature covers what was seen (I7).

The node computes it again when the order is used: an order that was signed over something else than stands now is
refused. It holds only what the decision is about; figures that move by the second would void every signature.
"""

from __future__ import annotations

from typing import Any

import msgspec

from failwell.core import canonical
from failwell.core.errors import NotFound
from failwell.core.incidents.binding import GIVES_BACK, release_shown
from failwell.core.incidents.shown import case_shown
from failwell.core.orders import (
    ContractAdopt,
    ContractSign,
    CustomerRestore,
    CustomerTell,
    Details,
    FloorAdopt,
    FloorSign,
    HoldLift,
    HoldPropose,
    IncidentAcknowledge,
    LiftApprove,
    LiftPropose,
    ReleaseReview,
    TicketApprove,
    TicketDeny,
    shown_digest,
)
from failwell.core.state import State
from failwell.core.stops import sight_of


def sight(state: State, kind: str, details: Details) -> dict[str, Any]:
    """What a person who is about to give an order of `kind` with `details` must be shown; NotFound for no such case."""
    shown: dict[str, Any] = {"order": kind, "details": msgspec.to_builtins(details)}
    if isinstance(details, IncidentAcknowledge | CustomerTell | CustomerRestore | GIVES_BACK):
        shown["incident"] = _incident(state, details.incident)
    shown |= case_shown(state, details) | release_shown(state, details)
    if isinstance(details, TicketApprove | TicketDeny):
        shown["ticket"] = _ticket(state, details.ticket)
    if isinstance(details, HoldPropose | HoldLift):
        shown["hold"] = _hold(state, details.hold)
    if isinstance(details, LiftPropose | LiftApprove):
        shown["stop"] = sight_of(state, details.scope)
    if isinstance(details, GIVES_BACK) and not isinstance(details, ReleaseReview):
        named = state.agent_named(details.agent)
        agent = None if named is None else state.agent[named]
        if agent is None:
            raise NotFound(f"no agent {details.agent} is registered here")
        shown["agent"] = {"authority": agent.authority, "contract": agent.contract, "epoch": agent.epoch}
    return shown


def sight_digest(state: State, kind: str, details: Details) -> str:
    """Hex SHA-256 that an order of `kind` must carry as `shown`. For a contract it is the contract's own digest."""
    if isinstance(details, ContractSign | ContractAdopt | FloorSign | FloorAdopt):
        return details.digest
    return digest_of(sight(state, kind, details))


def digest_of(shown: dict[str, Any]) -> str:
    """Hex SHA-256 of the canonical bytes of a sight."""
    return shown_digest(canonical.encode(shown))


def _ticket(state: State, number: int) -> dict[str, Any]:
    """What a ticket asks about. `arguments` is the digest of what is shown in clear beside it, with its salt.

    The contract in force is part of it: a person who saw the action under another one looks again.
    """
    row = state.ticket.get(number)
    if row is None:
        raise NotFound(f"no ticket {number} waits", hint="failwell ticket list shows those that do.")
    digest = state.agent[row.agent].contract
    contract = None if digest is None else state.contract[digest]
    return {
        "ticket": number,
        "agent": row.agent,
        "chain": list(row.chain),
        "tool": row.tool,
        "arguments": row.arguments,
        "clauses": list(row.clauses),
        "principal": row.principal,
        "principal_provenance": row.principal_provenance,
        "contract": None if contract is None else f"{contract.id}@{contract.version}",
    }


def _hold(state: State, number: int) -> dict[str, Any]:
    row = state.hold.get(number)
    if row is None:
        raise NotFound(f"there is no hold {number}", hint="failwell hold list shows those there are.")
    case = None if row.incident is None else state.incident[row.incident]
    return {
        "hold": number,
        "agent": row.agent,
        "first": row.first,
        "why": row.why,
        "incident": row.incident,
        "state": None if case is None else case.state,
    }


def _incident(state: State, number: int) -> dict[str, Any]:
    row = state.incident.get(number)
    if row is None:
        raise NotFound(f"there is no incident {number}", hint="failwell incident list shows those there are.")
    return {
        "incident": number,
        "agent": row.agent,
        "kind": row.kind,
        "onset": [row.onset_first, row.onset_last],
        "opened": row.opened,
        "title": row.title,
    }
