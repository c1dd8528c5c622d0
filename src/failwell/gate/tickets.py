"""Tickets: the question that an ESCALATE leaves, how a person answers it, and the one action that an answer lets pass.

An approval is bound to one call: the agent and who handed the work to it, the tool, the very arguments (by digest) and
the principal. It is good once, until its time, and only for the clauses that the person was asked about: the action is
judged anew when it comes back, and whatever else speaks by then speaks again. Silence is a denial.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from failwell.core import asking, canonical, kinds, rows
from failwell.core.contract import RESERVED, Decided
from failwell.core.errors import InputError, NotFound, Refused
from failwell.core.orders import SignedOrder, parse_order
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit
from failwell.ledger.vault import commitment

#: Authorities for which an approval would open nothing: it is not given in advance of a release either.
STOPPED = ("SUSPENDED", "RETIRED")
#: Tickets that one entry of the timer's job lets expire at once; the next look takes the rest.
EXPIRED_AT_ONCE = 500


class Redeemed(NamedTuple):
    """What a ticket answers for: ids of clauses and limits, or why it is not honoured."""

    passed: frozenset[str]
    refused: Decided | None


NO_TICKET = Redeemed(frozenset(), None)


# ---- an action that comes back with a ticket -----------------------------------------------------------------


def redeem(turn: Turn, number: int, proposal: Any, run: rows.Run) -> Redeemed:
    """What ticket `number` lets pass for `proposal`; a ticket that is not good for exactly this denies."""
    row = find_ticket(turn, number)
    # Attack: naming numbers, to learn which tickets of others there are.
    theirs = row is not None and row.agent != proposal.agent and row.agent not in run.chain
    why = f"There is no ticket {number}." if row is None or theirs else _fault(turn, number, row, proposal, run)
    if why is not None or row is None:
        return Redeemed(frozenset(), Decided(id="ticket", then="deny", severity=RESERVED["ticket"], because=why or ""))
    return Redeemed(_unchanged(turn, number, row), None)


def _unchanged(turn: Turn, number: int, row: rows.Ticket) -> frozenset[str]:
    """The rules that a person was asked about, without those that say something else by now.

    Attack: an approval of what was asked as `ask`, for what a later contract asks about the same action under that id.
    """
    asked = frozenset(rule for rule in row.clauses if not _replaced(turn, number, row, rule))
    entry = turn.entry(number)
    posture = None if entry is None or entry.body.posture is None else turn.entry(entry.body.posture)
    now = turn.state.agent[row.agent].contract
    if posture is None or now is None or posture.body.contract_digest == now:
        return asked
    before, after = _rules(turn, posture.body.contract_digest), _rules(turn, now)
    return frozenset(rule for rule in asked if before.get(rule) == after.get(rule))


def _replaced(turn: Turn, number: int, row: rows.Ticket, rule: str) -> bool:
    """Whether a floor, or the contract of who handed the work over, was adopted anew since it was asked for `rule`."""
    state = turn.state
    handed = {state.agent[agent].name: state.contract.get(state.agent[agent].contract or "") for agent in row.chain}
    held_by = [handed.get(part) or state.floor.get(part) for part in rule.split("/")[:-1]]
    return any(holder is None or holder.adopted > number for holder in held_by)


def _rules(turn: Turn, digest: str) -> dict[str, Any]:
    contract = turn.state.contract_at(digest)
    if contract is None:
        return {}
    return {clause.id: clause for clause in contract.clauses} | {limit.id: limit for limit in contract.limits}


def find_ticket(turn: Turn, number: int) -> rows.Ticket | None:
    """The ticket that was opened by the decision `number`, whether or not it can still be used."""
    live = turn.state.ticket.get(number)
    if live is not None:
        return live
    stored = turn.stored_row("ticket", number)
    row: rows.Ticket | None = None if stored is None else rows.decode_row("ticket", stored)
    return row


def state_of(row: rows.Ticket, now_us: int) -> str:
    """How a ticket stands at ledger time `now_us`, whether or not its end is written down already.

    Ledger time, not the time of limits: a clock that was set forward ends a ticket early, and never late.
    """
    over = row.state in ("open", "approved") and now_us >= row.expires_us
    return "expired" if over else row.state


def closed(number: int, row: rows.Ticket, now_us: int) -> str | None:
    """Why ticket `number` lets nothing pass, in words for the agent's side; None where it does."""
    return {
        "open": f"Ticket {number} is open; a person has to approve it first.",
        "denied": f"Ticket {number} was denied by {row.person}.",
        "expired": f"Ticket {number} has expired: nobody answered in time, or the answer was not used in time.",
        "used": f"Ticket {number} was used by entry {row.used_by}; an approval is good once.",
    }.get(state_of(row, now_us))


def _fault(turn: Turn, number: int, row: rows.Ticket, proposal: Any, run: rows.Run) -> str | None:
    # The principal's provenance and the chain too: what was approved for a verified customer, or for an agent's own
    # work, says nothing of one that the agent names itself, or of work that was handed over.
    acted = (proposal.agent, proposal.tool, run.principal, run.principal_provenance, run.chain)
    if acted != (row.agent, row.tool, row.principal, row.principal_provenance, row.chain):
        return f"Ticket {number} is for another action."
    why = closed(number, row, turn.now_us)
    if why is not None:
        return why
    person = None if row.person is None else turn.state.person.get(row.person)
    if person is None or person.left is not None:
        # Attack: the last thing a leaver does is to approve what comes back tomorrow.
        return f"Ticket {number} was approved by {row.person}, who has left."
    secret = turn.secret(number)
    try:
        text = canonical.jcs(canonical.parse(proposal.arguments))
    except InputError:
        return f"Ticket {number} is for other arguments."
    if secret is None or commitment(bytes.fromhex(secret["salt"]), text) != row.arguments:
        return f"Ticket {number} is for other arguments."
    return None


# ---- what people answer --------------------------------------------------------------------------------------


def approve_ticket(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """A person who was asked lets the one action pass, once. Answers the entry number.

    Refused for a ticket that does not wait any more, for other arguments than the ticket's, from a person who was not
    asked or would not be asked now, and while an agent that it is about is suspended.
    """

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = _waiting(turn, details.ticket)
        order, draft = admit(turn, signed, verify, wanted="ticket.approve", agent=row.agent, source="node")
        _answerable(turn, details.ticket, row, order.person)
        if details.arguments != row.arguments:
            raise Refused(f"the order is over other arguments than those of ticket {details.ticket}")
        body = kinds.TicketDecided(
            ticket=details.ticket, answer="approved", person=order.person,
            expires_us=asking.good_until_us(row.expires_us, turn.now_us), measured=False,
        )  # fmt: skip
        return _answered(turn, row, draft, body)

    return job


def deny_ticket(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """A person says no, or takes back an approval that was not used. Answers the entry number.

    Any enrolled person may, as any may suspend: it only takes away (I8).
    """

    def job(turn: Turn) -> Plan[int]:
        number = parse_order(signed.order).details.ticket
        row = _waiting(turn, number)
        order, draft = admit(turn, signed, verify, wanted="ticket.deny", agent=row.agent, source="node")
        if row.state == "used":
            raise Refused(f"ticket {number} was used by entry {row.used_by}", hint="failwell agent suspend stops it.")
        body = kinds.TicketDecided(
            ticket=number, answer="denied", person=order.person, expires_us=row.expires_us, measured=False
        )
        return _answered(turn, row, draft, body)

    return job


def _answered(turn: Turn, row: rows.Ticket, draft: Draft, body: kinds.TicketDecided) -> Plan[int]:
    decided = Draft(body=body, actor=draft.actor, agent=row.agent, run=row.run, refs=(turn.seq, row.opened))
    return Plan((draft, decided), lambda entries: entries[1].seq)


def _waiting(turn: Turn, number: int) -> rows.Ticket:
    row = find_ticket(turn, number)
    if row is None:
        raise NotFound(f"there is no ticket {number}", hint="failwell ticket list shows those that wait.")
    if row.ended or state_of(row, turn.now_us) == "expired":
        raise Refused(f"ticket {number} is {state_of(row, turn.now_us)}: nothing changes it any more")
    return row


def _answerable(turn: Turn, number: int, row: rows.Ticket, person: str) -> None:
    """Raises Refused unless ticket `number` waits for an answer that `person` may give now."""
    state = turn.state
    if row.state != "open":
        raise Refused(
            f"ticket {number} is {row.state}: it is answered once", hint="failwell ticket deny takes it back."
        )
    if not asking.may_answer(state, row, person):
        raise Refused(
            f"{person} is not asked about ticket {number}",
            hint=f"Asked were: {', '.join(row.asked)}; of them those whom the contract in force names still.",
        )
    # Attack: an agent that answers itself, with its own key enrolled as a person's.
    if any(agent.key == state.person[person].key for agent in state.agent.values()):
        raise Refused(f"{person} signs with an agent's key: a person has to answer")
    stopped = [name for name in (row.agent, *row.chain) if state.agent[name].authority in STOPPED]
    if stopped:
        raise Refused(
            f"{stopped[0]} is {state.agent[stopped[0]].authority.lower()}: nothing is approved for it",
            hint="failwell incident list",
        )


# ---- silence -------------------------------------------------------------------------------------------------


def expire_tickets(turn: Turn) -> Plan[int]:
    """The job of the node's timer: what nobody answered, or did not use in time, is denied on record."""
    over = [number for number, row in turn.state.ticket.items() if row.state != state_of(row, turn.now_us)]
    drafts = []
    for number in over[:EXPIRED_AT_ONCE]:
        row = turn.state.ticket[number]
        body = kinds.TicketExpired(ticket=number, was=row.state)
        drafts.append(Draft(body=body, actor="node", agent=row.agent, run=row.run, refs=(row.opened,)))
    return Plan(tuple(drafts), len)
