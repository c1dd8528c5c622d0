"""What every order about a case needs: the case, who may give it, and the entries that it leads to."""

from __future__ import annotations

from failwell.core import kinds, rows
from failwell.core.errors import NotFound, Refused
from failwell.core.incidents.endings import OVER
from failwell.core.orders import SignedOrder
from failwell.core.records import Draft
from failwell.ledger.jobs import Plan, Turn
from failwell.ledger.orders import Admitted, VerifyOrder, admit


def case(turn: Turn, number: int) -> rows.Incident:
    """The incident of that number, in whatever state."""
    row = turn.state.incident.get(number)
    if row is None:
        raise NotFound(f"there is no incident {number}", hint="failwell incident list shows those there are.")
    return row


def open_case(turn: Turn, number: int) -> rows.Incident:
    """An incident that is not over. What is over is reopened before anything is done about it."""
    row = case(turn, number)
    if row.state == "MERGED":
        raise Refused(
            f"incident {number} was merged into {row.merged_into}, and is told there",
            hint=f"failwell incident show {row.merged_into}",
        )
    if row.state in OVER:
        words = {"CLOSED": "closed", "FALSE_ALARM": "a false alarm, two persons said"}[row.state]
        raise Refused(f"incident {number} is {words}", hint=f"If it is not over: failwell incident reopen {number}")
    return row


def about_case(turn: Turn, signed: SignedOrder, verify: VerifyOrder, wanted: str, agent: str | None) -> Admitted:
    """Admit an order about a case of `agent`, where anybody knows which that was."""
    return admit(turn, signed, verify, wanted=wanted, agent=agent or None, source="node")


def need_person(turn: Turn, name: str) -> None:
    """Raises unless `name` is enrolled and here."""
    row = turn.state.person.get(name)
    if row is None:
        raise NotFound(f"{name} is not enrolled here", hint="failwell person list")
    if row.left is not None:
        raise Refused(f"{name} has left (entry {row.left})", hint="failwell person list shows who is here.")


def need_holder(turn: Turn, row: rows.Incident, person: str, what: str) -> None:
    """Raises Refused unless `person` has the case, or is an operator."""
    if person == row.holder or "operator" in turn.state.person[person].roles:
        return
    who = "nobody has it yet" if row.holder is None else f"{row.holder} has it"
    raise Refused(
        f"{what} is for who has the case, or an operator: {who}", hint="failwell incident acknowledge N takes it."
    )


def changed(
    turn: Turn, order: Draft, number: int, row: rows.Incident, what: str, was: str, now: str, why: str,
    proposal: str | None = None,
) -> Draft:  # fmt: skip
    """That one thing about a case is another now, by the order."""
    body = kinds.IncidentChanged(incident=number, what=what, was=was, now=now, why=why, proposal=proposal)
    return Draft(body=body, actor=order.actor, agent=row.agent or None, refs=(turn.seq,))


def carried_out(order: Draft, effect: Draft) -> Plan[int]:
    """The order and what it leads to; answers the entry of that."""
    return Plan((order, effect), lambda entries: entries[1].seq)
