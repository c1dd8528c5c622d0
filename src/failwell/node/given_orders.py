"""Orders that come over the socket: from a person's signed text to the job that carries it out (I7).

What an order may do is judged by the rooms that know (`gate.registry`, `response.orders`); here it gets its lane and
whatever of the outside it needs: the settings file, a compiled contract, the rules of names.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import msgspec

from failwell.core import contract as contracts
from failwell.core.errors import FailwellError, InputError, Unhealthy
from failwell.core.orders import Order, SignedOrder, parse_order
from failwell.gate import credentials, floors, observing, people, registry, tickets
from failwell.identity import names
from failwell.identity.answer_keys import digest_of_code
from failwell.identity.persons import check_enrolment, verify_order
from failwell.ledger.jobs import CONTAINMENT, NORMAL
from failwell.node import settings, watch
from failwell.node.assembly import EVALUATOR
from failwell.node.contacts import Contacts
from failwell.node.left_orders import KINDS, unjudged
from failwell.node.requests import Give
from failwell.node.zones import zones_of_text
from failwell.response import (
    cases,
    clocks,
    compensation,
    customers,
    digests,
    escalating,
    holds,
    proofs,
    releases,
    stops,
    teams,
    work,
)
from failwell.response import orders as response_orders
from failwell.response.said import MakeJob, Said

if TYPE_CHECKING:
    from failwell.node.service import Node

#: Orders about incidents and what belongs to them, by kind.
JOBS: dict[str, MakeJob] = {
    **cases.JOBS, **holds.JOBS, **customers.JOBS, **work.JOBS, **releases.JOBS, **escalating.JOBS,
    **teams.JOBS, **clocks.JOBS, **digests.JOBS,
}  # fmt: skip
#: Orders that are kept until they can be judged. Nothing could be asked about who gave them, so there is a bound.
MOST_KEPT = 1000


class GivenOrders:
    """Takes the orders of one node's callers, who need prove nothing: the signature says whose an order is."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._contacts = Contacts(node)
        #: What restricts and nobody judged, by signature: whoever gave it is told so, and may be gone by then.
        self._unjudged: dict[str, SignedOrder] = {}

    async def take(self, request: Give, user: str | None = None) -> Any:
        """Carry out signed orders; what restricts goes by the containment lane. `user`: whose process gave them.

        Where nothing may be written none is judged: an older record may not know who ordered, and a stop that was
        refused for that would not be left in `orders/`.
        """
        received_us = self._node.clock.mono_us()
        if (closed := self._node.writer.read_only) is not None:
            raise Unhealthy(closed.message, hint=closed.hint, code=closed.code)
        try:
            signed = tuple(msgspec.convert(item, SignedOrder) for item in request.orders)
        except msgspec.ValidationError as error:
            raise InputError(f"this is no signed order: {error}") from error
        if not 1 <= len(signed) <= 2:
            raise InputError("one order, or the two of a contract's adoption, are given at a time")
        order = parse_order(signed[-1].order)
        if order.order == "contract.adopt" and request.document is not None:
            # What two people signed without looking is still not put in force: off the loop, since a judge is compiled.
            await asyncio.to_thread(_check_contract, request.document.encode())
        if order.order == "floor.adopt" and request.document is not None:
            scope = contracts.floor_from_canonical(request.document.encode()).scope
            bound = await self._node.questions.look(lambda state: floors.affected(state, scope))
            await asyncio.to_thread(floors.warm, request.document, bound)
        if order.order == "contact.ask":
            return await self._contacts.ask(signed[-1])
        job = self._job_for(order.order, signed, request, user)
        lane = self._lane(order, signed[-1])
        try:
            answer = await self._node.writer.submit_async(job, lane, received_us=received_us)
        except FailwellError as error:
            if order.order in KINDS and unjudged(error):
                self._keep(signed[-1])
            raise
        if isinstance(answer, FailwellError):
            raise answer  # what was tried is on record, and did not come about
        return answer

    def tick(self) -> None:
        """Try once more what nobody has judged. Not at once: a store that goes on failing would have no end of it."""
        kept, self._unjudged = self._unjudged, {}
        for signed in kept.values():
            self.carry_out(signed)

    def carry_out(self, signed: SignedOrder) -> None:
        """Have an order that restricts judged, now or with the next tick (I8). Nobody waits for the answer."""

        def done(ended: Future[int]) -> None:
            if unjudged(ended.exception()):
                self._keep(signed)

        try:
            future = self._node.writer.submit(left_order(signed, source="node"), CONTAINMENT)
        except FailwellError:
            self._keep(signed)
        else:
            future.add_done_callback(done)

    def _keep(self, signed: SignedOrder) -> None:
        """Attack: a stop that only this node heard, in the moment in which its store cannot even be opened."""
        if len(self._unjudged) < MOST_KEPT:
            self._unjudged[signed.signature] = signed

    def _lane(self, order: Order[Any], signed: SignedOrder) -> int:
        """Containment overtakes all others' work, so it takes a signature to get there: forged orders wait in line."""
        if not order.power.restricts and order.order != "incident.acknowledge":
            return NORMAL
        person = self._node.writer.book.state.person.get(order.person)
        try:
            if person is not None and verify_order(signed, base64.b64decode(person.key)) == order:
                return CONTAINMENT
        except FailwellError:
            return NORMAL  # to be refused there, in words
        return NORMAL

    def _job_for(self, kind: str, signed: tuple[SignedOrder, ...], request: Give, user: str | None) -> Any:
        """The job that carries an order out, in the room that knows what it does."""
        last = signed[-1]
        if kind in JOBS:
            return JOBS[kind](last, verify_order, Said(request.text, request.salt))
        simple: dict[str, Callable[[], Any]] = {
            "agent.suspend": lambda: response_orders.suspend(last, verify_order, source="node"),
            "stop": lambda: stops.stop_scope(last, verify_order, source="node"),
            "stop.propose": lambda: stops.propose_lift(last, verify_order),
            "stop.lift": lambda: stops.approve_lift(last, verify_order),
            "incident.acknowledge": lambda: response_orders.acknowledge(last, verify_order),
            "action.compensate": lambda: compensation.order_undoing(last, verify_order),
            "release.propose": lambda: releases.propose_release(last, verify_order, user),
            "release.approve": lambda: releases.approve_release(last, verify_order, user),
            "ticket.approve": lambda: tickets.approve_ticket(last, verify_order),
            "ticket.deny": lambda: tickets.deny_ticket(last, verify_order),
            "person.leave": lambda: people.leave(last, verify_order),
            "channel.ask": lambda: proofs.ask(last, verify_order, self._node.answering.keys.digest),
            "channel.confirm": lambda: proofs.confirm(last, verify_order, digest_of_code(request.code)),
            "contact.verify": lambda: people.verify_contact(last, request.code, verify_order),
            "agent.group": lambda: floors.join_group(last, verify_order, names.check_distinct),
            "floor.adopt": lambda: self._adopt_floor(signed, request),
            "agent.assign": lambda: people.assign_agent(last, verify_order),
            "person.enrol": lambda: self._enrol(last, request),
            "agent.rekey": lambda: credentials.rekey(last, verify_order),
            "agent.revoke": lambda: credentials.revoke_key(last, verify_order, source="node"),
            "agent.register": lambda: self._register(last),
            "agent.observe": lambda: observing.observe(last, verify_order),
            "agent.govern": lambda: observing.govern(last, verify_order),
            "host.register": lambda: registry.register_host(last, verify_order),
            "config.apply": lambda: self._configure(last),
            "contract.adopt": lambda: self._adopt(signed, request),
        }
        if kind not in simple:
            raise InputError(f"an order {kind} is not carried out this way")
        return simple[kind]()

    def _enrol(self, signed: SignedOrder, request: Give) -> Any:
        contact = None
        if request.contact is not None:
            contact = registry.Contact(request.contact, bytes.fromhex(request.salt or ""))
        return registry.enrol_person(signed, contact, verify_order, check_enrolment)

    def _register(self, signed: SignedOrder) -> Any:
        agent = names.parse_agent(parse_order(signed.order).details.agent)
        return registry.register_agent(signed, agent.short, verify_order, names.check_distinct)

    def _adopt(self, signed: tuple[SignedOrder, ...], request: Give) -> Any:
        if len(signed) != 2 or request.document is None:
            raise InputError("a contract is adopted with two orders, the owner's and the approver's, and its text")
        return registry.adopt_contract(signed[0], signed[1], request.document.encode(), verify_order, EVALUATOR)

    def _adopt_floor(self, signed: tuple[SignedOrder, ...], request: Give) -> Any:
        if len(signed) != 2 or request.document is None:
            raise InputError("a floor is adopted with two orders, of two persons, and its text")
        document = request.document.encode()
        return floors.adopt_floor(signed[0], signed[1], document, verify_order, names.check_distinct)

    def _configure(self, signed: SignedOrder) -> Any:
        text = settings.settings_text(settings.read_settings(self._node.workspace.path))
        return registry.apply_config(signed, text, watch.digest(text), verify_order, zones_of_text)


def left_order(signed: SignedOrder, source: str = "orders") -> Any:
    """The job that carries out an order which was left in `orders/`: one of those that `left_orders` reads."""
    kind = parse_order(signed.order).order
    if kind == "agent.revoke":
        return credentials.revoke_key(signed, verify_order, source=source)
    if kind == "stop":
        return stops.stop_scope(signed, verify_order, source=source)
    if kind == "run.stop":
        return work.stop_run(signed, verify_order, source=source)
    if kind == "action.stop":
        return work.stop_action(signed, verify_order, source=source)
    return response_orders.suspend(signed, verify_order, source=source)


def _check_contract(document: bytes) -> None:
    """Raises ContractError for a contract that could not be judged by."""
    contracts.compile(contracts.from_canonical(document))
