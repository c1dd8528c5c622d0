"""Tickets forged by whoever writes the record: each change is one that only signatures or the rules can tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.core.records import Draft, Entry
from failwell.gate import tickets
from failwell.gate.verdicts import Proposal
from failwell.identity import persons
from failwell.verify.finding import Report
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace

ARGUMENTS = b'{"customer_id":"c-1","order_id":"A-1","amount":"150.00"}'


def propose(made: ledgers.Made, run: int, call: str, ticket: int | None = None) -> Any:
    proposal = Proposal(
        agent=ledgers.AGENT, run=run, call=call, tool="payments.refund", arguments=ARGUMENTS, reason=None,
        ticket=ticket,
    )  # fmt: skip
    return made.do(made.gate.decide(proposal))


def signed(made: ledgers.Made, ticket: int, person: str, kind: str = "ticket.approve") -> orders.SignedOrder:
    arguments = made.book.state.ticket[ticket].arguments
    details: orders.Details = orders.TicketDeny(ticket=ticket, reason="no")
    if kind == "ticket.approve":
        details = orders.TicketApprove(ticket=ticket, arguments=arguments, reason="I looked at it")
    return made.sign(person, kind, details)


def approve(made: ledgers.Made, ticket: int) -> int:
    entry: int = made.do(tickets.approve_ticket(signed(made, ticket, "quan"), persons.verify_order))
    return entry


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """An approved and used ticket, one that was denied, and one that still waits."""
    path = tmp_path_factory.mktemp("tickets") / "w"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        run = made.run()
        first = propose(made, run, "c1").entry
        approve(made, first)
        made.settle(propose(made, run, "c2", first))
        second = propose(made, run, "c3").entry
        made.do(tickets.deny_ticket(signed(made, second, "piet", "ticket.deny"), persons.verify_order))
        propose(made, run, "c4", second)
        propose(made, run, "c5")
    return Image(path)


def find(image: Image, kind: type[Any], having: Callable[[Any], bool] = lambda body: True) -> Entry[Any]:
    return next(e for e in Forger(image).entries() if isinstance(e.body, kind) and having(e.body))


def changed(image: Image, entry: Entry[Any], **fields: Any) -> Report:
    forger = Forger(image)
    forger.change(entry.seq, lambda e: replace(e, body=replace(e.body, **fields)), resign=True)
    return forger.verify()


def says(report: Report, part: str) -> bool:
    return any(part in finding.message for finding in report.findings)


def test_what_was_answered_and_used_honestly_verifies(image: Image) -> None:
    report = Forger(image).verify()
    assert report.ok, report.findings


def test_an_approval_that_nobody_ordered(image: Image) -> None:
    last = [e for e in Forger(image).entries() if isinstance(e.body, kinds.TicketOpened)][-1]
    body = kinds.TicketDecided(
        ticket=last.body.ticket, answer="approved", person="quan", expires_us=last.body.expires_us, measured=False
    )
    forger = Forger(image)
    seq = forger.append(body, "person:quan", ledgers.AGENT)
    report = forger.verify()
    assert says(report, "no order ticket.approve or ticket.deny stands before it")
    assert report.first_bad == seq


def test_an_answer_that_says_something_else_than_its_order(image: Image) -> None:
    approved = find(image, kinds.TicketDecided, lambda body: body.answer == "approved")
    denied = find(image, kinds.TicketDecided, lambda body: body.answer == "denied")
    assert says(changed(image, approved, person="piet"), "another person's")
    assert says(changed(image, approved, answer="denied"), "the answer is denied, the order ticket.approve")
    assert says(changed(image, denied, answer="approved"), "the answer is approved, the order ticket.deny")
    assert says(
        changed(image, approved, expires_us=approved.body.expires_us + 1), "for another time than the rules give"
    )
    assert says(changed(image, approved, measured=True), "measured")
    assert says(changed(image, denied, ticket=approved.body.ticket), "another ticket")


def test_a_ticket_that_asks_others_for_something_else_or_for_longer(image: Image) -> None:
    opened = find(image, kinds.TicketOpened)
    for fields in ({"asked": ("piet",)}, {"expires_us": opened.body.expires_us * 2}, {"clauses": ()}):
        assert "reaction.changed" in changed(image, opened, **fields).counts


def test_an_approval_by_a_person_who_was_not_asked_is_found_although_they_signed_it(tmp_path: Path) -> None:
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
        ticket = propose(made, made.run(), "c1").entry
        row = made.book.state.ticket[ticket]
        order = signed(made, ticket, "piet")
        body = kinds.Order(
            order="ticket.approve", person="piet", key=order.key, text=order.order, signature=order.signature,
            source="node",
        )  # fmt: skip
        answer = kinds.TicketDecided(
            ticket=ticket, answer="approved", person="piet", expires_us=row.expires_us, measured=False
        )
        made.write(
            Draft(body=body, actor="person:piet", agent=ledgers.AGENT),
            Draft(body=answer, actor="person:piet", agent=ledgers.AGENT),
        )
    report = Forger(Image(tmp_path / "w")).verify()
    assert says(report, "piet was not asked")


def test_an_action_that_passed_by_no_ticket_another_one_or_for_other_arguments(image: Image) -> None:
    passed = find(image, kinds.Decision2, lambda body: body.ticket is not None)
    report = changed(image, passed, ticket=None)
    assert says(report, "large says escalate and is told as record")
    denied = find(image, kinds.TicketDecided, lambda body: body.answer == "denied").body.ticket
    for fields in (
        {"ticket": denied}, {"ticket": 3}, {"arguments": "ab" * 32}, {"tool": "orders.read"},
        {"principal_provenance": "asserted" if passed.body.principal_provenance != "asserted" else "verified"},
    ):  # fmt: skip
        assert "entry.fold" in changed(image, passed, **fields).counts, fields


def test_a_ticket_that_is_used_a_second_time(image: Image) -> None:
    passed = find(image, kinds.Decision2, lambda body: body.ticket is not None)
    forger = Forger(image)
    seq = forger.append(replace(passed.body, call="again"), "gate", ledgers.AGENT)
    report = forger.verify()
    assert "entry.fold" in report.counts
    assert any(finding.entry == seq for finding in report.findings)


def test_a_rule_that_is_told_as_less_than_it_says(image: Image) -> None:
    escalated = find(image, kinds.Decision2, lambda body: body.verdict == "ESCALATE")
    softer = tuple(replace(clause, then="record") for clause in escalated.body.clauses)
    report = changed(image, escalated, clauses=softer, verdict="ALLOW")
    assert says(report, "large says escalate and is told as record")


def test_a_ticket_that_expires_before_its_time_or_is_told_to_have_been_open(image: Image) -> None:
    last = [e for e in Forger(image).entries() if isinstance(e.body, kinds.TicketOpened)][-1]
    for was in ("open", "approved"):
        forger = Forger(image)
        forger.append(kinds.TicketExpired(ticket=last.body.ticket, was=was), "node", ledgers.AGENT)
        assert "entry.fold" in forger.verify().counts
