"""Tickets under random histories: against a small model of their own, and folded again from the entries (I2, I6).

A step asks, approves, denies, comes back with a ticket, ends an action, lets time pass, restarts, lets the timer look.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from failwell.core import orders
from failwell.core.errors import FailwellError
from failwell.core.records import decode_entry
from failwell.gate import tickets
from failwell.gate.verdicts import Verdict
from failwell.identity import persons
from tests.unit.gate.house import ASK, HOUR_US, RULES, House, contract_text, folded

STEPS = ("ask", "approve", "deny", "back", "back", "twice", "block", "end", "hour", "day", "restart", "look")
GENEROUS = RULES.replace("at_most: 6", "at_most: 900")


@dataclass
class Known:
    """A ticket as it must stand, written without a look at the product."""

    order: str
    state: str = "open"
    until_us: int = 0
    action: int | None = None
    passed: int = 0
    blocked: int = 0


@dataclass
class Model:
    """All tickets by number; `now_us` is ledger time."""

    house: House
    run: int
    found: dict[int, Known] = field(default_factory=dict)

    @property
    def now_us(self) -> int:
        return self.house.clock.mono

    def lapse(self) -> None:
        for known in self.found.values():
            if known.state in ("open", "approved") and self.now_us >= known.until_us:
                known.state = "expired"

    def pick(self, number: int) -> tuple[int, Known] | None:
        keys = sorted(self.found)
        return None if not keys else (keys[number % len(keys)], self.found[keys[number % len(keys)]])


def ask(model: Model) -> None:
    order = f"o-{len(model.found)}"
    verdict = model.house.ask(model.run, ASK, order=order, customer="c")
    assert (verdict.verdict, verdict.ticket) == ("ESCALATE", str(verdict.entry))
    model.found[verdict.entry] = Known(order, until_us=model.now_us + 24 * HOUR_US)


def come_back(model: Model, number: int, known: Known) -> None:
    proposal = model.house.proposal(model.run, ASK, order=known.order, customer="c", ticket=number)
    verdict = model.house.do(model.house.gate.decide(proposal))
    assert isinstance(verdict, Verdict)
    assert verdict.verdict == ("ALLOW" if known.state == "approved" else "DENY")
    if known.state == "approved":
        known.state, known.action, known.passed = "used", verdict.entry, known.passed + 1


def answer(model: Model, number: int, known: Known, kind: str) -> None:
    house = model.house
    row = house.state.ticket.get(number)
    details: orders.Details = orders.TicketDeny(ticket=number, reason="no")
    if kind == "approve":
        digest = "0" * 64 if row is None else row.arguments
        details = orders.TicketApprove(ticket=number, arguments=digest, reason="yes")
    shown = "0" * 64 if row is None else None
    signed = house.sign("olga", f"ticket.{kind}", details, shown)
    job = tickets.approve_ticket if kind == "approve" else tickets.deny_ticket
    may = known.state == "open" if kind == "approve" else known.state in ("open", "approved")
    try:
        house.do(job(signed, persons.verify_order))
    except FailwellError:
        assert not may
        return
    assert may
    known.state = "approved" if kind == "approve" else "denied"
    if kind == "approve":
        known.until_us = max(model.now_us + HOUR_US, min(known.until_us, model.now_us + 24 * HOUR_US))


def end(model: Model, known: Known, state: str) -> None:
    if known.action is not None:
        model.house.settle(known.action, state)
        known.action = None
        if state == "blocked":
            known.state, known.blocked = "approved", known.blocked + 1


def step(model: Model, name: str, number: int) -> None:
    house = model.house
    picked = model.pick(number)
    if name == "ask":
        ask(model)
    elif name in ("hour", "day"):
        house.clock.skip((1 if name == "hour" else 24) * HOUR_US - 1)
        # Orders are signed by the ledger's newest entry in these tests: one is written, so that none is stale.
        house.ask(model.run)
    elif name == "restart":
        house.reopen()
    elif name == "look":
        over = sum(known.state == "expired" for known in model.found.values())
        assert house.do(tickets.expire_tickets) <= over
    elif picked is not None:
        ticket, known = picked
        if name in ("approve", "deny"):
            answer(model, ticket, known, name)
        elif name in ("block", "end"):
            end(model, known, "blocked" if name == "block" else "completed")
        else:
            for _ in range(2 if name == "twice" else 1):
                come_back(model, ticket, known)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2)), max_size=30))
@example([(name, 0) for name in ("approve", "twice", "restart", "block", "back", "end", "back", "deny")])
@example([(name, 0) for name in ("hour", "approve", "day", "back", "look", "back", "approve")])
@example([(name, 0) for name in ("approve", "back", "day", "day", "block", "back", "look", "restart", "back")])
def test_a_ticket_lets_one_action_pass_that_a_person_approved_in_time(steps: list[tuple[str, int]]) -> None:
    house = House()
    try:
        house.people()
        house.register()
        house.adopt(contract_text(GENEROUS))
        model = Model(house, house.run())
        for name, number in [("ask", 0), *steps]:
            model.lapse()
            step(model, name, number)
        for known in model.found.values():
            assert known.passed - known.blocked <= 1
        stored = [(decode_entry(row.data), row.leaf.hex()) for row in house.storage.entries(0, 1_000_000)]
        state, made = folded(stored)
        assert made == house.stored()
        assert state.ticket == house.state.ticket
    finally:
        house.close()
