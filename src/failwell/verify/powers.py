"""Human powers in the record: each order under its person's enrolled key, each use of a power behind its order (I7).

The log key signs checkpoints, not orders: whoever keeps the log can rewrite what the node wrote, but can enrol no
person, adopt no contract, acknowledge nothing and release nobody without the keys of the people who would have had to
sign. An effect must stand in the same commit as its order and say what the order says. In a backtest ledger contracts
are adopted by nobody, which the genesis says.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from failwell.core import kinds, orders
from failwell.core.errors import FailwellError
from failwell.core.machines import RESTRICTING
from failwell.core.records import Body, Entry
from failwell.core.state import State
from failwell.verify import (
    cases,
    clocks,
    compensated,
    credentials,
    customers,
    digests,
    escalations,
    holds,
    observed,
    proofs,
    releases,
    standing,
    stops,
    teams,
    tickets,
    work,
)
from failwell.verify.finding import ORDERS, Findings

VerifySignature = Callable[[bytes, bytes, bytes], bool]

#: Which orders must stand before an entry of a kind, each of them one of the named powers.
NEEDED: dict[type[Body], tuple[frozenset[str], ...]] = {
    kinds.Config: (frozenset({"init", "config.apply"}),),
    kinds.PersonEnrolled: (frozenset({"init", "person.enrol"}),),
    kinds.HostRegistered: (frozenset({"host.register"}),),
    kinds.AgentRegistered: (frozenset({"agent.register"}),),
    kinds.AgentRegistered2: (frozenset({"agent.register"}),),
    kinds.AgentKey: (frozenset({"agent.register", "agent.rekey", "agent.revoke"}),),
    kinds.AgentAssigned: (frozenset({"agent.assign"}),),
    kinds.AgentGrouped: (frozenset({"agent.group"}),),
    kinds.ContactAsked: (frozenset({"contact.ask"}),),
    kinds.ContactVerified: (frozenset({"contact.verify"}),),
    kinds.PersonLeft: (frozenset({"person.leave"}),),
    kinds.Observation: (frozenset({"agent.observe"}),),
    kinds.FloorAdopted: (frozenset({"floor.sign"}), frozenset({"floor.adopt"})),
    kinds.TicketDecided: (frozenset({"ticket.approve", "ticket.deny"}),),
    kinds.ContractAdopted: (frozenset({"contract.sign"}), frozenset({"contract.adopt"})),
    kinds.Acknowledged: (frozenset({"incident.acknowledge"}),),
    kinds.ReleaseProposed: (frozenset({"release.propose"}),),
    kinds.ReleaseApproved: (frozenset({"release.approve"}),),
    kinds.CompensationOrdered: (frozenset({"action.compensate"}),),
    kinds.CustomerTold: (frozenset({"customer.tell"}),),
    kinds.CustomerRestored: (frozenset({"customer.restore"}),),
    **releases.NEEDED,
    kinds.ScopeStopped: (frozenset({"stop"}),),
    kinds.ScopeProposed: (frozenset({"stop.propose"}),),
    kinds.ScopeLifted: (frozenset({"stop.lift"}),),
    kinds.LogKey: (frozenset({"ledger.rotate"}),),
    kinds.Continued: (frozenset({"ledger.continue"}),),
    **work.NEEDED,
    **cases.NEEDED,
    **holds.NEEDED,
    **escalations.NEEDED,
    **teams.NEEDED,
    **clocks.NEEDED,
    **proofs.NEEDED,
    **digests.NEEDED,
}
#: What a backtest does without people.
BY_BACKTEST = (
    kinds.Config, kinds.AgentRegistered, kinds.AgentRegistered2, kinds.AgentKey, kinds.ContractAdopted,
)  # fmt: skip
#: Fields that an order's details and the entry it leads to both have, and that must say the same.
SHARED = (
    "agents", "conditions", "contract", "digest", "epoch", "host", "incident", "key", "lost_root", "lost_size", "owner",
    "roles", "root", "scope", "size", "version",
)  # fmt: skip


#: Modules that know which uses of a power no person ordered.
_BY_RULE = (cases, compensated, work, escalations, digests, proofs)


class Powers:
    """Takes the entries in order, each before it is folded; `state` is the one the entry met."""

    def __init__(self, findings: Findings, verify: VerifySignature) -> None:
        self._findings = findings
        self._verify = verify
        self._commit: list[orders.Order[Any]] = []
        self._at = ""
        #: The key that certificates are signed with by now.
        self._issuer: bytes | None = None
        self.count = 0

    def take(self, entry: Entry[Any], state: State) -> None:
        """Hold an order against its person's key, and the use of a power against the orders of its commit."""
        if entry.at != self._at:  # one commit has one ledger time
            self._at, self._commit = entry.at, []
        body = entry.body
        if isinstance(body, kinds.Order):
            self.count += 1
            self._order(entry, body, state)
        elif type(body) in NEEDED and not any(each.by_rule(entry) for each in _BY_RULE):
            self._used(entry, body, state)
        elif isinstance(body, kinds.AuthorityChanged):
            self._authority(entry, body, state)
        elif isinstance(body, kinds.IdentityIssuer | kinds.AgentCertificate):
            self._credential(entry, body, state)

    # -- orders ------------------------------------------------------------------------------------------------

    def _order(self, entry: Entry[Any], body: kinds.Order, state: State) -> None:
        try:
            wrong = self._fault(entry, body, state)
        except FailwellError as error:
            wrong = error.message
        except ValueError:
            wrong = "a key or signature is not base64"
        if wrong is not None:
            self._findings.add(ORDERS, "order.signature", f"entry {entry.seq}: {wrong}", entry=entry.seq)

    def _fault(self, entry: Entry[Any], body: kinds.Order, state: State) -> str | None:
        """What is wrong with an order, None if nothing is."""
        order = orders.parse_order(body.text)
        self._commit.append(order)  # its use is not a second finding
        if (order.order, order.person, f"person:{order.person}") != (body.order, body.person, entry.actor):
            return "the order's text is of another power or person than the entry says"
        names = {name for _, name in state.origins} if order.power.restricts else set()
        if order.origin != entry.origin and order.origin not in names:  # a stop outlives the name it was ordered under
            return f"the order is for log {order.origin}"
        person = state.person.get(order.person)
        if person is not None:
            key = base64.b64decode(person.key)
        elif isinstance(order.details, orders.Init) and not state.person:
            key = base64.b64decode(order.details.key)
        else:
            return f"{order.person} was not enrolled"
        if person is not None and person.left is not None:
            return f"{order.person} had left (entry {person.left}): their key orders nothing any more"
        if body.key != sha256(key).hexdigest()[:16]:
            return "the order was signed with another key than the one enrolled"
        if not self._verify(key, orders.SIGNED_PREFIX + body.text.encode(), base64.b64decode(body.signature)):
            return f"the signature of {order.person} does not verify"
        return credentials.order_fault(entry, order, state)

    # -- what orders led to ------------------------------------------------------------------------------------

    def _used(self, entry: Entry[Any], body: Any, state: State) -> None:
        if state.mode == "backtest" and type(body) in BY_BACKTEST:
            return
        given: list[orders.Order[Any]] = []
        for powers in NEEDED[type(body)]:
            order = next((each for each in reversed(self._commit) if each.order in powers), None)
            if order is None:
                self._say(entry, f"no order {' or '.join(sorted(powers))} stands before it")
                return
            given.append(order)
        for order in given:
            wrong = _disagrees(order, entry, body)
            if wrong is not None:
                self._say(entry, f"its {wrong} is not that of the order {order.order}")
        self._two_persons(entry, body, given, state)
        wrong = standing.fault(entry, body, given, state)
        if wrong is None and isinstance(body, kinds.AgentKey):
            wrong = credentials.key_fault(entry, body, given[0], state)
        wrong = wrong or stops.stop_fault(entry, body, given[0], state)
        wrong = wrong or compensated.order_fault(entry, body, given[0], state)
        wrong = wrong or cases.order_fault(entry, body, given[0], state)
        wrong = wrong or work.order_fault(entry, body, given[0], state)
        wrong = wrong or customers.order_fault(entry, body, given[0], state)
        wrong = wrong or clocks.order_fault(entry, body, given[0], state)
        wrong = wrong or proofs.order_fault(entry, body, given[0], state)
        wrong = wrong or holds.order_fault(entry, body, given[0], state)
        wrong = wrong or escalations.order_fault(entry, body, given[0], state)
        wrong = wrong or teams.order_fault(entry, body, given[0], state)
        if wrong is not None:
            self._say(entry, wrong)
        if isinstance(body, kinds.TicketDecided) and (amiss := tickets.answer_fault(entry, body, given[0], state)):
            self._say(entry, amiss)
        if (unlike := observed.observation_fault(entry, body, given, state)) is not None:
            self._say(entry, unlike)

    def _two_persons(self, entry: Entry[Any], body: Any, given: list[orders.Order[Any]], state: State) -> None:
        if isinstance(body, kinds.ContractAdopted):
            owner, approver = (state.person.get(order.person) for order in given)
            try:
                orders.check_pair(*given)
            except FailwellError as error:
                self._say(entry, error.message)
            if owner is not None and approver is not None and owner.key == approver.key:
                self._say(entry, "owner and approver sign with one key")
            if body.mode != "live" or sha256(body.document.encode()).hexdigest() != body.digest:
                self._say(entry, "the contract is not the one that was signed")
        elif isinstance(body, kinds.ReleaseApproved):
            agent = state.agent.get(str(entry.agent))
            if agent is not None and (owner := state.person.get(agent.owner)) is not None and owner.left is not None:
                self._say(entry, f"its owner {agent.owner} had left, and nobody was assigned to it")
            case = state.incident.get(body.incident)
            if case is None or case.proposed_by == given[0].person or case.proposal != body.digest:
                self._say(entry, "it is not another person's approval of the release that was proposed")

    def _authority(self, entry: Entry[Any], body: kinds.AuthorityChanged, state: State) -> None:
        """Authority is given by adopting the first contract, and given back by releasing, never otherwise.

        Except to an agent that only its owner's leaving restricted: another one answers for it by the next contract.
        """
        if body.now == "OBSERVED" or (body.was == "OBSERVED" and body.now not in RESTRICTING):
            wrong = observed.change_fault(entry, body, self._commit, state)
            if wrong is not None:
                self._say(entry, wrong)
            return
        if body.now in RESTRICTING:
            return
        powers = {order.order for order in self._commit}
        first = body.was == "REGISTERED" or standing.answered(entry.agent, state)
        if body.now == "ACTIVE" and not first and "release.approve" not in powers:
            self._say(entry, "a contract's adoption does not undo what people have to release")
        # What each of these gives back, `verify.releases` holds against its conditions.
        needed = {"contract.adopt"} if body.now == "ACTIVE" and first else {"release.approve", "release.break"}
        if not needed & powers and not (body.now == "ACTIVE" and state.mode == "backtest"):
            self._say(entry, f"no order {' or '.join(sorted(needed))} stands before it")

    def _credential(self, entry: Entry[Any], body: Any, state: State) -> None:
        if isinstance(body, kinds.AgentCertificate):
            wrong = credentials.certificate_fault(entry, body, state, self._issuer, self._verify)
        else:
            wrong = credentials.issuer_fault(entry, body, self._verify)
            self._issuer = None if wrong else credentials.public_key(base64.b64decode(body.certificate))
        if wrong is not None:
            self._say(entry, wrong)

    def _say(self, entry: Entry[Any], wrong: str) -> None:
        message = f"entry {entry.seq} ({entry.kind}): {wrong}"
        self._findings.add(ORDERS, "order.effect", message, entry=entry.seq)


def _disagrees(order: orders.Order[Any], entry: Entry[Any], body: Any) -> str | None:
    """The first field in which an entry says something else than the order that led to it."""
    details = order.details
    if isinstance(body, kinds.LogKey):
        return None if body.was == details.key else "old key"
    for field in SHARED:
        if hasattr(details, field) and hasattr(body, field) and getattr(details, field) != getattr(body, field):
            return field
    if isinstance(body, kinds.Continued) and body.why != details.reason:
        return "reason"
    if isinstance(body, kinds.Config) and body.digest != details.settings:
        return "digest"
    if isinstance(body, kinds.PersonEnrolled) and body.person != getattr(details, "person", order.person):
        return "person"
    if isinstance(body, kinds.Acknowledged | kinds.ReleaseProposed | kinds.ReleaseApproved):
        return None if body.person == order.person and _bound(order, body) else "person or digest"
    if isinstance(details, orders.AgentRegister) and entry.agent != details.agent:
        return "agent"
    return None


def _bound(order: orders.Order[Any], body: Any) -> bool:
    if isinstance(body, kinds.ReleaseProposed):
        return bool(body.digest == orders.order_digest(order))
    return not isinstance(body, kinds.ReleaseApproved) or bool(body.digest == order.details.proposal)
