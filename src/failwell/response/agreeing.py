"""What is taken from a case by two persons only: one proposes, another one, an approver, agrees (I7, R24).

A proposal stands on what was known. A further signal, another state or severity takes it down, and whoever agrees signs
over how the case stands.
"""

from __future__ import annotations

from failwell.core import kinds, rows
from failwell.core.errors import Refused
from failwell.core.incidents import apart
from failwell.core.incidents.cases import FALSE_ALARM, LOWER, NONE, NOT_SERIOUS, agreed_step
from failwell.core.incidents.endings import unstopped
from failwell.core.machines import INCIDENT, worse
from failwell.core.orders import SignedOrder, order_digest, parse_order
from failwell.core.projections import Projections
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, need_role
from failwell.response.case_orders import about_case, carried_out, changed, open_case
from failwell.response.said import MakeJob, Said


def propose(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """One person proposes. It changes nothing yet."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = open_case(turn, details.incident)
        _check(turn.state, details.incident, details.what, details.value)
        order, draft = about_case(turn, signed, verify, "incident.propose", row.agent)
        body = kinds.IncidentProposed(
            incident=details.incident, what=details.what, value=details.value, person=order.person,
            digest=order_digest(order), why=details.reason,
        )  # fmt: skip
        return carried_out(draft, Draft(body=body, actor=draft.actor, agent=row.agent or None, refs=(turn.seq,)))

    return job


def agree(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """Another person agrees: an approver, with another key."""

    def job(turn: Turn) -> Plan[int]:
        people, details = turn.state.person, parse_order(signed.order).details
        row = open_case(turn, details.incident)
        order, draft = about_case(turn, signed, verify, "incident.agree", row.agent)
        need_role(turn, order.person, "approver", "agreeing to what is taken from a case")
        waits = row.proposed
        if waits is None or waits.digest != details.proposal:
            raise Refused(
                f"this does not stand proposed of incident {details.incident}: something was noticed or changed since",
                hint=f"failwell incident show {details.incident} tells what is proposed.",
            )
        if people[waits.person].left is not None:
            raise Refused(f"{waits.person}, who proposed this, has left", hint="Another person proposes it.")
        if order.person == waits.person or people[order.person].key == people[waits.person].key:
            raise Refused(f"{order.person} proposed this: another person agrees to it")
        if apart.one(turn.state, order.person, waits.person, row.opened):
            # Attack: who proposes it enrols a second name meanwhile, and keeps the key of that too.
            raise Refused(
                f"{order.person} is not shown to be another than {waits.person}, who proposed this",
                hint="Another person agrees, who was enrolled before the incident or by somebody else.",
            )
        _check(turn.state, details.incident, waits.what, waits.value)
        what, was, now = agreed_step(row, waits)
        change = changed(turn, draft, details.incident, row, what, was, now, waits.why, waits.digest)
        return carried_out(draft, change)

    return job


def _check(state: Projections, number: int, what: str, value: str) -> None:
    """Raises Refused for what cannot be proposed of the case as it stands."""
    row = state.incident[number]
    if (value == "-") == (what == LOWER):
        raise Refused("a severity is named where one is proposed, and nowhere else")
    if what == LOWER and (value == row.severity or worse(value, row.severity) == value):
        raise Refused(
            f"incident {number} is {row.severity}, and {value} is not lower", hint=f"failwell incident raise {number}"
        )
    if what == NOT_SERIOUS and row.serious is None:
        raise Refused(f"incident {number} is not marked as serious")
    if what == FALSE_ALARM:
        _check_false_alarm(state, number, row)
    if what == NONE:
        _check_none(number, row)


def _check_false_alarm(state: Projections, number: int, row: rows.Incident) -> None:
    if "FALSE_ALARM" not in INCIDENT[row.state]:
        raise Refused(f"incident {number} is {row.state}: only what is being looked into turns out to be a false alarm")
    waiting, failed = unstopped(state, number)
    if waiting:
        raise Refused(f"{len(waiting)} actions of incident {number} have not ended yet")
    if failed:
        raise Refused(f"of {len(failed)} actions of incident {number} nobody can say that they stopped: no false alarm")


def _check_none(number: int, row: rows.Incident) -> None:
    if row.state != "RESOLVED":
        raise Refused(
            f"incident {number} is {row.state}: what is to be learned is decided once it is resolved",
            hint=f"failwell incident resolve {number} WHY",
        )
    if row.claimed is not None:
        raise Refused(
            f"a change is claimed for incident {number} (entry {row.claimed}) and not proven: it stays open",
            hint="Nothing proves a change yet in this release; the incident stays RESOLVED until something does.",
        )


JOBS: dict[str, MakeJob] = {"incident.propose": propose, "incident.agree": agree}
