"""Tickets: the question that an ESCALATE leaves, how a person answers it, and the one action that an answer lets pass.

An approval is bound to one call: the agent, the tool, the very arguments (by digest) and the principal. It is good
once, until its time, and only for the clauses that the person was asked about: the action is judged anew when it comes
back, and whatever else speaks by then speaks again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from failwell.core import canonical, rows
from failwell.core.contract import RESERVED, Decided
from failwell.core.errors import InputError
from failwell.ledger.jobs import Turn
from failwell.ledger.vault import commitment


class Redeemed(NamedTuple):
    """What a ticket answers for: ids of clauses and limits, or why it is not honoured."""

    passed: frozenset[str]
    refused: Decided | None


NO_TICKET = Redeemed(frozenset(), None)


def redeem(turn: Turn, number: int, proposal: Any, run: rows.Run) -> Redeemed:
    """What ticket `number` lets pass for `proposal`; a ticket that is not good for exactly this denies."""
    row = turn.state.ticket.get(number)
    why = "There is no such ticket that is still good." if row is None else _fault(turn, number, row, proposal, run)
    if why is not None or row is None:
        return Redeemed(frozenset(), Decided(id="ticket", then="deny", severity=RESERVED["ticket"], because=why or ""))
    return Redeemed(frozenset(row.clauses), None)


def _fault(turn: Turn, number: int, row: rows.Ticket, proposal: Any, run: rows.Run) -> str | None:
    if row.agent != proposal.agent or row.tool != proposal.tool or row.principal != run.principal:
        return f"Ticket {number} is for another action."
    if row.state != "approved":
        return f"Ticket {number} is {row.state}; a person has to approve it first."
    if turn.now_us >= row.expires_us:
        return f"Ticket {number} has expired."
    secret = turn.secret(number)
    try:
        text = canonical.jcs(canonical.parse(proposal.arguments))
    except InputError:
        return f"Ticket {number} is for other arguments."
    if secret is None or commitment(bytes.fromhex(secret["salt"]), text) != row.arguments:
        return f"Ticket {number} is for other arguments."
    return None
