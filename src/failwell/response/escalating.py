"""Escalations go on by the clock, and by a person's word: the next step is taken, and what nobody has any more is
asked anew (R10).

What is due is the core's to say (`core.escalation.due`); here it is written down, once, in the turn in which it is due.
"""

from __future__ import annotations

from failwell.core.errors import Refused
from failwell.core.escalation import due, stepping
from failwell.core.incidents.endings import BELIEVED_OVER
from failwell.core.orders import SignedOrder, parse_order
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder
from failwell.response.case_orders import about_case, carried_out, open_case
from failwell.response.said import MakeJob

ACTOR = "node"
#: Steps that one turn takes; each is followed by pages. The next turn takes the rest, the longest due first.
AT_ONCE = 20


def step_due(turn: Turn) -> Plan[int]:
    """Take every step whose time has come. Answers how many that were."""
    state = turn.state
    if state.mode != "live":
        return Plan((), lambda entries: 0)
    return Plan(tuple(_draft(turn, each) for each in due.late(state, turn.now_us)[:AT_ONCE]), len)


def _draft(turn: Turn, each: due.Due) -> Draft:
    cause = turn.state.incident[each.incident].opened
    if each.again:
        return stepping.start(turn.state, each.incident, each.why, cause, actor=ACTOR)
    return stepping.step(turn.state, each.incident, each.why, turn.now_us, cause, actor=ACTOR)


def escalate(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """A person has somebody else asked, now: the next step of the path, or its first where nobody was asked yet."""

    def job(turn: Turn) -> Plan[int]:
        number = parse_order(signed.order).details.incident
        case = open_case(turn, number)
        if case.state in BELIEVED_OVER:
            raise Refused(
                f"incident {number} is {case.state}: nobody is asked about it any more",
                hint=f"If it is not over: failwell incident reopen {number}",
            )
        order, draft = about_case(turn, signed, verify, "incident.escalate", case.agent)
        row = turn.state.escalation.get(number)
        if row is None:
            return carried_out(draft, stepping.start(turn.state, number, due.OPENED, turn.seq, actor=draft.actor))
        return carried_out(
            draft,
            stepping.step(
                turn.state, number, due.ASKED, turn.now_us, turn.seq, actor=draft.actor, but=order.person
            ),
        )  # fmt: skip

    return job


#: What carries out the orders of this module.
JOBS: dict[str, MakeJob] = {"incident.escalate": lambda signed, verify, said: escalate(signed, verify)}
