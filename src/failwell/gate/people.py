"""People after their enrolment: reached at their address, accountable for agents, and gone (R3).

An owner is somebody who was reached: a code that was mailed to them came back, or another person vouches. When they
leave, nobody waits for a successor to act: in the commit of the leaving their agents are restricted (`core.react`).
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, rows
from failwell.core.errors import FailwellError, NotFound, Refused
from failwell.core.orders import HOUR_US, SignedOrder, parse_order
from failwell.core.people import MAX_TRIES
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit, need_role
from failwell.ledger.vault import commitment

CODE_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
CODE_LENGTH = 8
CODE_GOOD_FOR_US = HOUR_US
#: Between two codes for one person, so that nobody's mailbox is filled from here.
PAUSE_US = 60 * 1_000_000
VERIFY_HINT = "failwell person verify NAME, or: failwell person verify NAME --vouch --as OTHER"


def need_owner(turn: Turn, person: str) -> None:
    """Raises Refused unless `person` can answer for an agent: enrolled, reached at their address, not gone."""
    row = turn.state.person.get(person)
    if row is None:
        raise Refused(f"the owner {person} is not enrolled", hint="failwell person add")
    if row.left is not None:
        raise Refused(f"{person} has left (entry {row.left}) and owns nothing any more")
    if row.verified is None:
        raise Refused(
            f"nobody knows yet that {person} can be reached: the owner of an agent has a verified contact",
            hint=VERIFY_HINT.replace("NAME", person),
        )


# ---- reached at their address ------------------------------------------------------------------------------------


def ask_contact(signed: SignedOrder, code: str, salt: bytes, verify: VerifyOrder) -> Job[str]:
    """A code goes to a person's address: by their own order, or an operator's. Answers the address to send it to.

    Only the code's commitment is recorded; whoever runs this sends the code once it is, and keeps nothing of it.
    """

    def job(turn: Turn) -> Plan[str]:
        order, draft = admit(turn, signed, verify, wanted="contact.ask", source="node")
        details = order.details
        row = _person(turn, details.person)
        if order.person != details.person:
            need_role(turn, order.person, "operator", f"sending a code to {details.person}")
        address = _address(turn, row, details)
        if row.asked is not None and turn.now_us < row.due_us - CODE_GOOD_FOR_US + PAUSE_US:
            raise Refused(f"a code went to {details.person} within the last minute", hint="Look for it, or wait.")
        body = kinds.ContactAsked(
            person=details.person, contact=details.contact, code=commitment(salt, code.encode()),
            due_us=turn.now_us + CODE_GOOD_FOR_US,
        )  # fmt: skip
        asked = Draft(body=body, actor="node", refs=(turn.seq,), secret={"salt": salt.hex()})
        return Plan((draft, asked), lambda entries: address)

    return job


def verify_contact(signed: SignedOrder, code: str | None, verify: VerifyOrder) -> Job[int | FailwellError]:
    """The person gives the code that was sent to them, or another one vouches that they were reached.

    Answers the entry; the refusal itself where the code is a wrong one: that try is on record and counts.
    """

    def job(turn: Turn) -> Plan[int | FailwellError]:
        order, draft = admit(turn, signed, verify, wanted="contact.verify", source="node")
        details = order.details
        row = _person(turn, details.person)
        _address(turn, row, details)
        if row.verified is not None:
            raise Refused(f"the contact of {details.person} is verified already", code="repeated")
        if details.how == "vouched":
            _may_vouch(turn, order.person, details.person)
        else:
            wrong = _wrong_code(turn, order.person, details.person, row, code or "")
            if wrong is not None:
                return Plan((draft,), lambda entries: wrong)
        body = kinds.ContactVerified(
            person=details.person, contact=details.contact, how=details.how, by=order.person
        )  # fmt: skip
        verified = Draft(body=body, actor=draft.actor, refs=(turn.seq, row.enrolled))
        return Plan((draft, verified), lambda entries: entries[1].seq)

    return job


def _person(turn: Turn, name: str) -> rows.Person:
    row = turn.state.person.get(name)
    if row is None:
        raise NotFound(f"{name} is not enrolled here", hint="failwell person list")
    if row.left is not None:
        raise Refused(f"{name} has left (entry {row.left})")
    return row


def _address(turn: Turn, row: rows.Person, details: Any) -> str:
    """The address a person enrolled with, if it is the one that the order is about."""
    secret = turn.secret(row.enrolled)
    if row.contact is None or secret is None:
        raise Refused(f"{details.person} enrolled without an address", hint="failwell person add NAME --email ADDR")
    if details.contact != row.contact:
        raise Refused(f"the order is about another address of {details.person} than the one they enrolled with")
    return str(secret["email"])


def _may_vouch(turn: Turn, by: str, person: str) -> None:
    if by == person or turn.state.person[by].key == turn.state.person[person].key:
        # Attack: one human with two names vouches for themselves.
        raise Refused(f"{by} is {person}, or signs with their key: another person vouches")


def _wrong_code(turn: Turn, by: str, person: str, row: rows.Person, code: str) -> FailwellError | None:
    """Why a code does not verify; None when it does. Raises Refused where trying it would not even count."""
    if by != person:
        raise Refused(f"the code was sent to {person}, who gives it themselves", hint="Or vouch for them: --vouch")
    again = f"failwell person verify {person} sends a new one."
    asked = None if row.asked is None else turn.entry(row.asked)
    secret = None if row.asked is None else turn.secret(row.asked)
    if asked is None or secret is None:
        raise Refused(f"no code was sent to {person}", hint=again)
    if turn.now_us >= row.due_us or row.tries >= MAX_TRIES:
        raise Refused(f"the code that was sent to {person} is void: too late, or tried too often", hint=again)
    if commitment(bytes.fromhex(secret["salt"]), code.encode()) == asked.body.code:
        return None
    left = MAX_TRIES - row.tries - 1
    return Refused(f"this is not the code that was sent to {person}; {left} more tries")


# ---- accountable, and gone ---------------------------------------------------------------------------------------


def assign_agent(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """An operator makes another person accountable for an agent. It changes nothing of what the agent may do.

    What it may do from then on is for the new owner to sign: the contract in force still names who signed that.
    """

    def job(turn: Turn) -> Plan[int]:
        named = parse_order(signed.order).details.agent
        agent = turn.state.agent_named(named)
        if agent is None:
            raise NotFound(f"no agent {named} is registered here", hint="failwell agent list")
        order, draft = admit(turn, signed, verify, wanted="agent.assign", agent=agent, source="node")
        need_role(turn, order.person, "operator", "assigning an agent")
        was, owner = turn.state.agent[agent].owner, order.details.owner
        if was == owner:
            raise Refused(f"{owner} owns {turn.state.agent[agent].name} already")
        need_owner(turn, owner)
        body = kinds.AgentAssigned(was=was, owner=owner)
        assigned = Draft(body=body, actor=draft.actor, agent=agent, refs=(turn.seq,))
        return Plan((draft, assigned), lambda entries: entries[1].seq)

    return job


def leave(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """An operator says that a person is gone, and who follows. Answers the entry; it only takes authority away (I8)."""

    def job(turn: Turn) -> Plan[int]:
        order, draft = admit(turn, signed, verify, wanted="person.leave", source="node")
        need_role(turn, order.person, "operator", "letting a person leave")
        details = order.details
        row = _person(turn, details.person)
        if details.successor == details.person:
            raise Refused(f"{details.person} cannot follow themselves", hint="--successor names another person.")
        need_owner(turn, details.successor)
        if turn.state.person[details.successor].key == row.key:
            raise Refused(f"{details.successor} signs with the key of {details.person}: that key orders nothing then")
        left = [name for name, each in turn.state.person.items() if each.left is None and name != details.person]
        if not any("operator" in turn.state.person[name].roles for name in left):
            raise Refused(
                f"{details.person} is the last operator: nobody could enrol or assign anybody then",
                hint="failwell person add NAME --role operator, before.",
            )
        body = kinds.PersonLeft(person=details.person, successor=details.successor, why=details.reason)
        gone = Draft(body=body, actor=draft.actor, refs=(turn.seq,))
        return Plan((draft, gone), lambda entries: entries[1].seq)

    return job
