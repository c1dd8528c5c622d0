"""Human powers from outside: look at what an order is about, sign it, give it (I7, D31).

Used by the command line and by rehearsals. When the node does not answer, a suspension is left in the workspace and
the recorded supervisors get their stop order without it (D2).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from failwell.client.wire import Line, Wire
from failwell.core import contract as contracts
from failwell.core import orders as o
from failwell.core.errors import FailwellError, InputError, NotFound, Refused, Unhealthy, Unreachable
from failwell.core.instants import format_at
from failwell.execute.records import StopSent, stop_recorded
from failwell.identity.persons import Signer, sign_order
from failwell.ledger.vault import commitment
from failwell.node import left_orders
from failwell.node.workspace import Workspace
from failwell.notify.message import check_address

#: A node that is silent this long does not delay a stop (D2).
SUSPEND_WAIT_S = 1.0

#: What an order that restricts does to whom it is about, in a word.
_DONE = {
    "agent.suspend": "suspended",
    "agent.revoke": "revoked",
    "stop": "stopped",
    "run.stop": "stopped",
    "action.stop": "stopped",
}

#: Orders that are carried out without a node too.
RESTRICTING = frozenset(_DONE)

Confirm = Callable[[dict[str, Any]], bool]
Restricting = o.AgentSuspend | o.AgentRevoke | o.StopScope | o.RunStop | o.ActionStop


def agree(shown: dict[str, Any]) -> bool:
    """Sign without showing."""
    return True


class Named(Protocol):
    """Whoever is to be enrolled: only the name is asked; the key stays with its holder."""

    @property
    def person(self) -> str: ...


class Hand:
    """A person's hand on a workspace: `signer` is the unlocked key, `confirm` shows the sight and says yes or no."""

    def __init__(self, wire: Line, signer: Signer, confirm: Confirm = agree) -> None:
        self._wire = wire
        self._signer = signer
        self._confirm = confirm
        self._origin = str(wire.greeting["origin"])
        self.person = signer.person

    def sign(self, kind: str, details: o.Details) -> o.SignedOrder:
        """Look, confirm, sign. Raises Refused when the person says no."""
        seen = self._wire.call("ask", about="sight", key={"order": kind, "details": msgspec.to_builtins(details)})
        if not self._confirm(seen["shown"]):
            raise Refused("not signed: you said no")
        return sign_order(self._signer, make_order(kind, self._origin, self._signer.person, seen["digest"], details))

    def give(self, kind: str, details: o.Details, **about: Any) -> Any:
        """Sign an order and have it carried out; returns the entry it left."""
        return self._wire.call("order", orders=[as_fields(self.sign(kind, details))], **about)

    def write(self, kind: str, text: str | None, make: Callable[[str | None], o.Details]) -> Any:
        """Give an order that is bound to `text` by a digest; the text goes beside it, for it may be personal.

        `make` gets the digest (None without a text) and gives the order's details.
        """
        salt = secrets.token_bytes(16)
        words = None if text is None else commitment(salt, text.encode())
        return self.give(kind, make(words), text=text, salt=None if text is None else salt.hex())

    def enrol(self, person: Named, public: str, proof: str, roles: tuple[str, ...], email: str | None) -> Any:
        """Enrol a further person, who brought key and proof."""
        if email is not None:
            check_address(email, "email")
        salt = secrets.token_bytes(16)
        contact = None if email is None else commitment(salt, email.encode())
        details = o.PersonEnrol(person=person.person, key=public, proof=proof, roles=roles, contact=contact)
        return self.give("person.enrol", details, contact=email, salt=salt.hex())

    def ask_contact(self, person: str) -> Any:
        """Have a code mailed to a person, that they may send back."""
        return self.give("contact.ask", o.ContactAsk(person=person, contact=self._contact(person)))

    def verify_contact(self, person: str, code: str | None) -> Any:
        """Give the code that was mailed to this person; without one, vouch that another person was reached."""
        how = "vouched" if code is None else "code"
        details = o.ContactVerify(person=person, contact=self._contact(person), how=how)
        return self.give("contact.verify", details, code=code)

    def _contact(self, person: str) -> str:
        row = self._wire.call("ask", about="persons").get(person)
        if row is None:
            raise NotFound(f"{person} is not enrolled here", hint="failwell person list")
        if row["contact"] is None:
            raise Refused(f"{person} enrolled without an address", hint="failwell person add NAME --email ADDR")
        return str(row["contact"])

    def sign_contract(self, contract: contracts.Contract) -> o.SignedOrder:
        """The owner stands for a contract; the signature is kept beside the file until the approver adopts it."""
        return self.sign(
            "contract.sign",
            o.ContractSign(contract=contract.contract, version=contract.version, digest=contracts.digest(contract)),
        )

    def sign_floor(self, floor: contracts.Floor) -> o.SignedOrder:
        """One person stands for a floor."""
        digest = contracts.floor_digest(floor)
        return self.sign("floor.sign", o.FloorSign(floor=floor.floor, version=floor.version, digest=digest))

    def adopt_floor(self, floor: contracts.Floor, signed: o.SignedOrder) -> Any:
        """Another person puts it in force, over the first one's signature."""
        details = o.FloorAdopt(
            floor=floor.floor, version=floor.version, digest=contracts.floor_digest(floor),
            signed=o.order_digest(o.parse_order(signed.order)),
        )  # fmt: skip
        adopted = self.sign("floor.adopt", details)
        document = contracts.floor_to_canonical(floor).decode()
        return self._wire.call("order", orders=[as_fields(signed), as_fields(adopted)], document=document)

    def adopt_contract(self, contract: contracts.Contract, signed: o.SignedOrder) -> Any:
        """The approver puts a contract in force, over the owner's signature."""
        details = o.ContractAdopt(
            contract=contract.contract, version=contract.version, digest=contracts.digest(contract),
            signed=o.order_digest(o.parse_order(signed.order)),
        )  # fmt: skip
        adopted = self.sign("contract.adopt", details)
        document = contracts.to_canonical(contract).decode()
        return self._wire.call("order", orders=[as_fields(signed), as_fields(adopted)], document=document)

    def approve_ticket(self, ticket: int, reason: str) -> Any:
        """Let the one action that a ticket asks about pass, once; its arguments are those that stand in the record."""
        seen = self._wire.call("ask", about="ticket", key=ticket)
        return self.give("ticket.approve", o.TicketApprove(ticket=ticket, arguments=seen["arguments"], reason=reason))

    def deny_ticket(self, ticket: int, reason: str) -> Any:
        """Say no, or take back an approval that was not used yet."""
        return self.give("ticket.deny", o.TicketDeny(ticket=ticket, reason=reason))

    def acknowledge(self, incident: int) -> Any:
        return self.give("incident.acknowledge", o.IncidentAcknowledge(incident=incident))

    def propose_release(
        self, incident: int, agent: str, conditions: str, evidence: tuple[int, ...], *, authority: str = "PROBATION",
        minutes: int = 0,
    ) -> Any:  # fmt: skip
        """Propose to give authority back; `minutes` of PROBATION at least (0: by the severity of the incident)."""
        details = o.ReleasePropose(
            incident=incident, agent=agent, authority=authority, conditions=conditions, evidence=evidence,
            probation_minutes=minutes,
        )  # fmt: skip
        return self.give("release.propose", details)

    def break_release(self, incident: int, agent: str, reason: str, minutes: int) -> Any:
        """Give authority back alone, for so many minutes."""
        details = o.ReleaseBreak(incident=incident, agent=agent, reason=reason, minutes=minutes)
        return self.give("release.break", details)

    def review_release(self, incident: int, why: str, *, upheld: bool) -> Any:
        """Answer to what another person alone gave back in a case."""
        broken = self._wire.call("ask", about="incident", key=incident)["release"]["review_owed"]
        if broken is None:
            raise Refused(f"nobody gave back alone in incident {incident} what is still owed a review")
        return self.write(
            "release.review", why,
            lambda words: o.ReleaseReview(incident=incident, broken=broken, upheld=upheld, words=str(words)),
        )  # fmt: skip

    def agent_id(self, name: str) -> str:
        """The full id of an agent that is named by it or in short; as it was given where there is none."""
        rows = self._wire.call("ask", about="agents")
        return next((full for full, row in rows.items() if name in (full, row["name"])), name)

    def proposed_of(self, incident: int) -> dict[str, Any] | None:
        """What stands proposed of a case and waits for a second person; None for nothing."""
        look = o.IncidentAgree(incident=incident, proposal="0" * 64)
        key = {"order": "incident.agree", "details": msgspec.to_builtins(look)}
        proposed: dict[str, Any] | None = self._wire.call("ask", about="sight", key=key)["shown"]["case"]["proposed"]
        return proposed

    def propose_lift(self, scope: str, conditions: str, evidence: tuple[int, ...]) -> Any:
        """Propose to lift the stop of a scope that is in force."""
        epoch = self._wire.call("ask", about="stop", key=scope)["epoch"]
        details = o.LiftPropose(scope=scope, epoch=epoch, conditions=conditions, evidence=evidence)
        return self.give("stop.propose", details)

    def approve_lift(self, scope: str) -> Any:
        """Lift a stop as it stands proposed."""
        row = self._wire.call("ask", about="stop", key=scope)
        if row["proposal"] is None:
            raise Refused(
                f"lifting the stop of {scope} is not proposed",
                hint=f'failwell stop propose {scope} --conditions "..." --evidence ENTRY',
            )
        details = o.LiftApprove(scope=scope, epoch=row["epoch"], proposal=row["proposal"])
        return self.give("stop.lift", details)

    def approve_release(self, incident: int, agent: str) -> Any:
        """Approve the release that stands proposed for an incident."""
        look = o.ReleaseApprove(incident=incident, agent=agent, proposal="0" * 64)
        seen = self._wire.call(
            "ask", about="sight", key={"order": "release.approve", "details": msgspec.to_builtins(look)}
        )
        if seen["proposal"] is None:
            raise Refused(f"no release is proposed for incident {incident}", hint="failwell agent release propose")
        details = o.ReleaseApprove(incident=incident, agent=agent, proposal=seen["proposal"])
        return self.give("release.approve", details)


def make_order(kind: str, origin: str, person: str, shown: str, details: o.Details) -> o.Order[Any]:
    """An order of now, with a fresh nonce."""
    return o.Order(
        order=kind, origin=origin, person=person, nonce=secrets.token_hex(16), at=format_at(time.time_ns() // 1000),
        shown=shown, details=details,
    )  # fmt: skip


def as_fields(signed: o.SignedOrder) -> dict[str, str]:
    """A signed order as the wire takes it."""
    fields: dict[str, str] = json.loads(o.encode_signed(signed))
    return fields


class Suspended(NamedTuple):
    """What became of a suspension, a revocation, or a stop of more than one agent.

    `confirmed`: the node recorded it (`entry`); else it was left with `sent` stops.
    """

    confirmed: bool
    entry: int | None
    sent: tuple[StopSent, ...]
    why: str | None


def suspend(
    workspace: Workspace, signer: Signer, agent: str, reason: str, *, wait_s: float = SUSPEND_WAIT_S
) -> Suspended:
    """Stop an agent, with or without the node's answer (D2).

    The order is signed first. If the node does not answer within `wait_s` seconds, or answers that it cannot write,
    the signed order is written durably into `orders/`, and the supervisors of the agent's running tools are told to
    stop by signal. Raises Unhealthy when even the order could not be left.
    """
    return _restrict(workspace, signer, "agent.suspend", o.AgentSuspend(agent=agent, reason=reason), wait_s)


def revoke(
    workspace: Workspace, signer: Signer, agent: str, reason: str, *, wait_s: float = SUSPEND_WAIT_S
) -> Suspended:
    """Take an agent's key and certificates out of force, with or without the node's answer; as `suspend`."""
    return _restrict(workspace, signer, "agent.revoke", o.AgentRevoke(agent=agent, reason=reason), wait_s)


def stop(
    workspace: Workspace, signer: Signer, scope: str, reason: str, *, wait_s: float = SUSPEND_WAIT_S
) -> Suspended:  # fmt: skip
    """Stop everything within a scope, with or without the node's answer; as `suspend`."""
    return _restrict(workspace, signer, "stop", o.StopScope(scope=scope, reason=reason), wait_s)


def stop_one(
    workspace: Workspace, signer: Signer, details: o.RunStop | o.ActionStop, *, wait_s: float = SUSPEND_WAIT_S
) -> Suspended:  # fmt: skip
    """Stop one run or one action, with or without the node's answer; as `suspend`.

    Which of the running tools are of a run the node alone knows: where it does not answer, the order waits for it.
    """
    kind = "run.stop" if isinstance(details, o.RunStop) else "action.stop"
    return _restrict(workspace, signer, kind, details, wait_s)


def _restrict(
    workspace: Workspace, signer: Signer, kind: str, details: Restricting, wait_s: float
) -> Suspended:  # fmt: skip
    shown = o.shown_digest(details.reason.encode())
    signed = sign_order(signer, make_order(kind, workspace.origin(), signer.person, shown, details))
    try:
        wire = Wire(workspace.socket, timeout_s=wait_s)
    except Unreachable as error:
        return leave_stop(workspace, signed, details, error.message)
    try:
        entry = wire.call("order", orders=[as_fields(signed)], timeout_s=wait_s)
    except (Refused, NotFound, InputError):
        raise  # it judged the order: given once more it would say the same
    except FailwellError as error:
        # A node that answers that it cannot is no better than one that does not answer (I8).
        return leave_stop(workspace, signed, details, error.message)
    finally:
        wire.close()
    return Suspended(True, int(entry), (), None)


def _tell_supervisors(workspace: Workspace, details: Restricting) -> tuple[str, tuple[StopSent, ...]]:
    """What an order is about, in a word, and which supervisors were told to stop without the node."""
    match details:
        case o.StopScope():
            return details.scope, tuple(stop_recorded(workspace.runtime, None, scope=details.scope))
        case o.ActionStop():
            named = f"action {details.action}"
            return named, tuple(stop_recorded(workspace.runtime, None, scope=f"action:{details.action}"))
        case o.RunStop():
            return f"run {details.run}", ()
    return details.agent, tuple(stop_recorded(workspace.runtime, details.agent))


def leave_stop(
    workspace: Workspace, signed: o.SignedOrder, details: Restricting, why: str
) -> Suspended:  # fmt: skip
    """Leave an order of `RESTRICTING` that the node did not take, for it, and tell the supervisors.

    `why`: what kept the node from it. A workspace that takes no file must not keep the supervisors from being told.
    """
    unwritten: OSError | None = None
    try:
        left_orders.leave(workspace.orders, signed)
    except OSError as error:
        unwritten = error
    named, sent = _tell_supervisors(workspace, details)
    if unwritten is not None:
        told = sum(item.sent for item in sent)
        raise Unhealthy(
            f"{named} is NOT {_DONE[o.parse_order(signed.order).order]}: {why}, and the order could not be left in the "
            f"workspace: {unwritten.strerror}; {told} of {len(sent)} running tools were told to stop",
            hint="Make room or make the workspace writable, and give the order again.",
        )
    return Suspended(False, None, sent, why)
