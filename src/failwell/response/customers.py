"""What people say of an incident's customers: who was told, who was made whole (R11).

A person answers for it; nothing here sends or pays anything. Of a customer whom no entry shows to have been reached
nothing is said: a token that was mistyped would stand for somebody who was never told.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, rows
from failwell.core.errors import NotFound, Refused
from failwell.core.orders import CustomerRestore, CustomerTell, SignedOrder, parse_order
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit
from failwell.response.said import MakeJob, Said


def tell(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """A customer was told; the words that they were told lie in the entry's blob. Answers the entry."""

    def body(person: str, details: CustomerTell) -> kinds.CustomerTold:
        return kinds.CustomerTold(
            incident=details.incident, customer=details.customer, shown=details.shown, person=person, how=details.how,
            words=details.words,
        )  # fmt: skip

    return _say(signed, verify, said, "customer.tell", body)


def restore(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """A customer was made whole, or needed nothing; how, lies in the entry's blob. Answers the entry."""

    def body(person: str, details: CustomerRestore) -> kinds.CustomerRestored:
        return kinds.CustomerRestored(
            incident=details.incident, customer=details.customer, shown=details.shown, person=person,
            words=details.words,
        )  # fmt: skip

    return _say(signed, verify, said, "customer.restore", body)


def _say(signed: SignedOrder, verify: VerifyOrder, said: Said, wanted: str, make: Any) -> Job[int]:
    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = turn.state.incident.get(details.incident)
        if row is None:
            raise NotFound(f"there is no incident {details.incident}", hint="failwell incident list")
        agent = row.agent or None
        order, draft = admit(turn, signed, verify, wanted=wanted, agent=agent, source="node")
        _check_shown(turn, details, row)
        body = make(order.person, details)
        told = Draft(
            body=body, actor=draft.actor, agent=agent, refs=(turn.seq, details.shown),
            secret=said.secret(details.words),
        )  # fmt: skip
        return Plan((draft, told), lambda entries: entries[1].seq)

    return job


def _check_shown(turn: Turn, details: CustomerTell | CustomerRestore, row: rows.Incident) -> None:
    """Raises Refused unless the entry that the order names shows that this customer was reached, by this agent."""
    entry = turn.entry(details.shown) if details.shown < turn.seq else None
    body = None if entry is None else entry.body
    named = isinstance(body, kinds.Decision | kinds.EffectWitnessed) and body.customer == details.customer
    mine = entry is not None and (
        row.agent in ("", entry.agent) or f"agent:{row.agent}" in getattr(entry.body, "chain", ())
    )
    if not (named and mine):
        raise Refused(
            f"entry {details.shown} does not show that incident {details.incident} reached this customer",
            hint=f"failwell incident customers {details.incident} names those it reached, each with an entry.",
        )


JOBS: dict[str, MakeJob] = {"customer.tell": tell, "customer.restore": restore}
