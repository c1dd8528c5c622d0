"""A person said yes to one action. Attacks: make it count for another one, again, later, or without a person."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from failwell.core import kinds, orders
from failwell.core.errors import Corrupt, FailwellError, NotFound, Refused
from failwell.core.records import Draft
from failwell.gate import tickets
from failwell.gate.verdicts import Proposal, Verdict
from failwell.identity import keys, persons
from failwell.ledger.vault import commitment
from tests.attacks.test_delegation_widened import adopt, open_pair, written
from tests.unit.gate.house import (
    AGENT,
    ASK,
    FATAL,
    FINE,
    HOUR_US,
    MINUTE_US,
    OTHER,
    RULES,
    SECOND_US,
    House,
    contract_text,
    open_house,
)
from tests.unit.gate.test_floors import put

ORDER = "o-77"


@pytest.fixture
def house() -> Iterator[House]:
    made = open_house()
    made.enrol("sara", "reviewer")
    yield made
    made.close()


def refund(house: House, run: int, amount: str = ASK, **more: Any) -> Proposal:
    return house.proposal(run, amount, **{"order": ORDER, "customer": "c-9", **more})


def ask(house: House, run: int, amount: str = ASK, **more: Any) -> Verdict:
    verdict = house.do(house.gate.decide(refund(house, run, amount, **more)))
    assert isinstance(verdict, Verdict)
    return verdict


def escalated(house: House, run: int, **more: Any) -> int:
    verdict = ask(house, run, **more)
    assert verdict.verdict == "ESCALATE"
    assert verdict.ticket == str(verdict.entry)
    return verdict.entry


def approval(house: House, ticket: int, person: str = "sara", **other: Any) -> orders.SignedOrder:
    digest = house.state.ticket[ticket].arguments
    details = orders.TicketApprove(ticket=ticket, arguments=other.get("arguments", digest), reason="I looked at it")
    return house.sign(person, "ticket.approve", details, other.get("shown"))


def approve(house: House, ticket: int, person: str = "sara", **other: Any) -> int:
    return house.do(tickets.approve_ticket(approval(house, ticket, person, **other), persons.verify_order))


def deny(house: House, ticket: int, person: str = "sara") -> int:
    details = orders.TicketDeny(ticket=ticket, reason="not this one")
    signed = house.sign(person, "ticket.deny", details, shown="0" * 64)
    return house.do(tickets.deny_ticket(signed, persons.verify_order))


def refused_by_ticket(verdict: Verdict) -> bool:
    return verdict.verdict == "DENY" and "ticket" in verdict.clauses


# ---- what is meant to work -----------------------------------------------------------------------------------


def test_an_approved_action_passes_once_and_only_once(house: House) -> None:
    run = house.run()
    ticket = escalated(house, run)
    approve(house, ticket)
    first = ask(house, run, ticket=ticket)
    assert (first.verdict, first.clauses) == ("ALLOW", ("ask",))
    assert house.bodies(kinds.Decision2)[-1].ticket == ticket
    second = ask(house, run, ticket=ticket)
    assert refused_by_ticket(second)
    assert f"used by entry {first.entry}" in second.because
    house.settle(first.entry)
    assert refused_by_ticket(ask(house, run, ticket=ticket))


def test_the_same_arguments_in_another_spelling_are_the_same_and_look_alikes_are_not(house: House) -> None:
    run = house.run()
    given = {"customer_id": "c-9", "order_id": ORDER, "amount": 4.0}
    first = ask_raw(house, run, json.dumps(given))
    assert first.verdict == "ESCALATE"
    approve(house, first.entry)
    for other in (
        json.dumps(given | {"amount": "4.0"}),  # the same amount, another value
        json.dumps(given | {"order_id": "o-77 "}),
        json.dumps(given | {"order_id": "\u043e-77"}),  # a Cyrillic o
        json.dumps(given | {"note": None}),
        '{"customer_id":"c-9","order_id":"o-77","amount":4.0,"amount":4.0}',
    ):
        assert ask_raw(house, run, other, first.entry).verdict == "DENY", other
    spelled = ' {"amount": 4e0, "order_id": "\\u006f-77",\n "customer_id": "c-9"}'
    assert ask_raw(house, run, spelled, first.entry).verdict == "ALLOW"


def ask_raw(house: House, run: int, text: str, ticket: int | None = None) -> Verdict:
    verdict = house.do(house.gate.decide(refund(house, run, arguments=text.encode(), ticket=ticket)))
    assert isinstance(verdict, Verdict)
    return verdict


# ---- another action ------------------------------------------------------------------------------------------


def test_an_approval_is_not_good_for_other_arguments_tools_principals_or_agents(house: House) -> None:
    run = house.run(principal="customer:1")
    ticket = escalated(house, run)
    approve(house, ticket)
    assert refused_by_ticket(ask(house, run, order="o-78", ticket=ticket))
    assert refused_by_ticket(ask(house, run, amount="5.00", ticket=ticket))
    read = refund(house, run, tool="orders.read", arguments=b'{"order_id": "o-77"}', ticket=ticket)
    denied = house.do(house.gate.decide(read))
    assert isinstance(denied, Verdict)
    assert denied.verdict == "DENY"
    other_run = house.run(principal="customer:2")
    assert refused_by_ticket(ask(house, other_run, ticket=ticket))
    nobody = house.run()
    assert refused_by_ticket(ask(house, nobody, ticket=ticket))
    house.register(OTHER)
    house.adopt(contract_text(agent=OTHER))
    theirs = house.run(OTHER, principal="customer:1")
    assert refused_by_ticket(ask(house, theirs, agent=OTHER, ticket=ticket))
    again = house.run(principal="customer:1")
    assert ask(house, again, ticket=ticket).verdict == "ALLOW"  # the same customer, in a later run


def test_an_approval_for_a_verified_customer_is_none_for_one_that_the_agent_names_itself(house: House) -> None:
    key = base64.b64encode(keys.from_seed(b"h" * 32).public).decode()
    house.write(Draft(body=kinds.HostRegistered(host="shop", key=key, agents=(refund(house, 0).agent,)), actor="node"))
    verified = house.run(principal="customer:1", host="shop")
    ticket = escalated(house, verified)
    approve(house, ticket)
    assert refused_by_ticket(ask(house, house.run(principal="customer:1"), ticket=ticket))
    assert ask(house, verified, ticket=ticket).verdict == "ALLOW"


def test_an_approval_of_an_agents_own_work_is_none_of_work_that_was_handed_over(house: House) -> None:
    house.register(OTHER)
    hands = f"delegates: [refund-bot]\n{RULES}"
    house.adopt(contract_text(hands, agent=OTHER))
    own = house.run(principal="customer:1")
    ticket = escalated(house, own)
    approve(house, ticket)
    parent = house.run(OTHER, principal="customer:1")
    handed = house.run(parent=parent)
    assert refused_by_ticket(ask(house, handed, ticket=ticket))
    theirs = escalated(house, handed)
    assert house.state.ticket[theirs].clauses == ("ask", "other-bot/ask")
    approve(house, theirs)
    assert refused_by_ticket(ask(house, own, ticket=theirs))
    assert ask(house, handed, ticket=theirs).verdict == "ALLOW"


def test_a_ticket_that_never_was_or_is_no_number_of_ours_denies(house: House) -> None:
    run = house.run()
    for number in (0, run, house.state.size + 5, -1, 2**80):
        assert ask(house, run, ticket=number).verdict == "DENY", number


# ---- twice, later, after something else ----------------------------------------------------------------------


def test_two_that_come_at_once_do_not_both_pass(house: House) -> None:
    run = house.run()
    ticket = escalated(house, run)
    approve(house, ticket)
    writer = house.writer()
    jobs = [house.gate.decide(refund(house, run, ticket=ticket)) for _ in range(8)]
    try:
        with ThreadPoolExecutor(4) as pool:
            verdicts = [future.result(20) for future in pool.map(writer.submit, jobs)]
    finally:
        writer.close()
    assert sorted(verdict.verdict for verdict in verdicts) == ["ALLOW", *["DENY"] * 7]


def test_two_of_one_commit_do_not_both_pass(house: House) -> None:
    run = house.run()
    ticket = escalated(house, run)
    approve(house, ticket)
    both = house.batch(*(house.gate.decide(refund(house, run, ticket=ticket)) for _ in range(2)))
    assert [verdict.verdict for verdict in both] == ["ALLOW", "DENY"]


def test_an_entry_that_uses_a_ticket_a_second_time_is_never_stored(house: House) -> None:
    run = house.run()
    ticket = escalated(house, run)
    approve(house, ticket)
    ask(house, run, ticket=ticket)
    used = next(entry for entry in house.entries() if isinstance(entry.body, kinds.Decision2) and entry.body.ticket)
    with pytest.raises(Corrupt):
        house.write(Draft(body=used.body, actor="gate", agent=used.agent, run=None))
    house.settle(used.seq, "blocked")
    late = msgspec.structs.replace(used.body, call="late")
    house.clock.skip(24 * HOUR_US)
    with pytest.raises(Corrupt):
        house.write(Draft(body=late, actor="gate", agent=used.agent, run=None))


@pytest.mark.parametrize("state", ["blocked", "completed", "failed", "unknown", "interrupted_confirmed"])
def test_only_an_action_that_was_proved_not_to_have_started_gives_its_ticket_back(house: House, state: str) -> None:
    run = house.run()
    ticket = escalated(house, run)
    approve(house, ticket)
    first = ask(house, run, ticket=ticket)
    house.reopen()
    house.settle(first.entry, state)
    house.reopen()
    again = ask(house, run, ticket=ticket)
    assert again.verdict == ("ALLOW" if state == "blocked" else "DENY")


@pytest.mark.requirement("R1.7")
def test_silence_is_a_denial_whether_or_not_its_end_was_written_down(house: House) -> None:
    run = house.run()
    ticket = escalated(house, run, call="first")
    house.clock.skip(24 * HOUR_US - SECOND_US)
    waits = ask(house, run, call="first")
    assert (waits.verdict, waits.ticket, waits.repeated) == ("ESCALATE", str(ticket), True)
    house.clock.skip(2 * SECOND_US)
    assert refused_by_ticket(ask(house, run, ticket=ticket))
    with pytest.raises(Refused, match="expired"):
        approve(house, ticket)
    late = ask(house, run, call="first")
    assert (late.verdict, late.clauses, late.repeated) == ("DENY", ("ticket",), True)
    assert house.do(tickets.expire_tickets) == 1
    assert house.bodies(kinds.TicketExpired) == [kinds.TicketExpired(ticket=ticket, was="open")]
    assert refused_by_ticket(ask(house, run, ticket=ticket))
    assert ask(house, run, call="first").verdict == "DENY"
    assert house.do(tickets.expire_tickets) == 0


def test_an_approval_is_good_for_an_hour_at_least_and_a_day_at_most(house: House) -> None:
    run = house.run()
    late, early = escalated(house, run), escalated(house, run, order="o-1")
    approve(house, early)
    house.clock.skip(24 * HOUR_US - MINUTE_US)
    house.write(Draft(body=kinds.Health(part="storage", state="ok", detail="as ever"), actor="node"))
    approve(house, late)
    house.clock.skip(59 * MINUTE_US)
    assert refused_by_ticket(ask(house, run, order="o-1", ticket=early))
    assert ask(house, run, ticket=late).verdict == "ALLOW"


def test_a_clock_that_is_set_forward_ends_an_approval_and_one_set_back_does_not_prolong_it(house: House) -> None:
    """Forward jumps free no limit; they must not lend a ticket time either, so it counts by ledger time itself."""
    run = house.run()
    first, second = escalated(house, run), escalated(house, run, order="o-1")
    for ticket in (first, second):
        approve(house, ticket)
    house.clock.wall -= 10 * HOUR_US
    house.clock.skip(23 * HOUR_US)
    draft = house.book.drift_draft()
    assert draft is None
    house.clock.skip(HOUR_US + SECOND_US)
    assert refused_by_ticket(ask(house, run, ticket=first))
    third = escalated(house, run, order="o-2")
    approve(house, third)
    house.clock.wall += 60 * HOUR_US
    jumped = house.book.drift_draft()
    assert jumped is not None
    house.write(jumped)
    assert house.state.workspace[1].withheld_us > 24 * HOUR_US
    assert refused_by_ticket(ask(house, run, order="o-2", ticket=third))


def test_an_approval_that_was_taken_back_is_none(house: House) -> None:
    run = house.run()
    ticket = escalated(house, run)
    approve(house, ticket)
    again = approval(house, ticket)
    deny(house, ticket, "piet")
    told = ask(house, run, ticket=ticket)
    assert refused_by_ticket(told)
    assert "denied by piet" in told.because
    with pytest.raises(Refused, match="denied"):
        house.do(tickets.approve_ticket(again, persons.verify_order))
    house.reopen()
    assert refused_by_ticket(ask(house, run, ticket=ticket))


def test_a_suspension_voids_an_approval_and_none_is_given_while_it_lasts(house: House) -> None:
    run = house.run()
    first, second = escalated(house, run), escalated(house, run, order="o-1")
    approve(house, first)
    house.suspend("rita")
    assert ask(house, run, ticket=first).verdict == "DENY"
    with pytest.raises(Refused, match="suspended"):
        approve(house, second)
    house.release()
    released = ask(house, run, ticket=first)
    assert released.verdict == "ESCALATE"  # in PROBATION all that cannot be undone waits: nobody was asked about that
    assert house.state.ticket[released.entry].clauses == ("authority.restricted", "ask")


def test_a_contract_that_denies_by_then_denies_whatever_was_approved(house: House) -> None:
    run = house.run()
    ticket = escalated(house, run)
    approve(house, ticket)
    stricter = RULES.replace("{id: ask, escalate: payments.refund", "{id: ask, deny: payments.refund")
    house.adopt(contract_text(stricter, version=2))
    assert ask(house, run, ticket=ticket).verdict == "DENY"
    assert house.state.ticket[ticket].state == "approved"


def test_what_escalates_besides_by_then_is_asked_about_together_and_the_approval_is_kept(house: House) -> None:
    run = house.run()
    ticket = escalated(house, run)
    approve(house, ticket)
    more = RULES.replace("limits:", "  - {id: any, escalate: payments.refund, severity: minor}\nlimits:")
    house.adopt(contract_text(more, version=2))
    again = ask(house, run, ticket=ticket)
    assert again.verdict == "ESCALATE"
    assert house.state.ticket[again.entry].clauses == ("ask", "any")
    approve(house, again.entry)
    assert ask(house, run, ticket=again.entry).verdict == "ALLOW"


# ---- without the person --------------------------------------------------------------------------------------


def test_an_approval_answers_no_other_question_that_a_later_contract_asks_under_the_same_id(house: House) -> None:
    """Attack: `ask` was about the amount when a person said yes; by now it is about a customer under investigation."""
    run = house.run()
    ticket = house.ask(run, ASK, order="o-1", customer="c-1").entry
    approve(house, ticket)
    other = RULES.replace("context.args.amount == 400", 'context.args.customer_id == "c-1"')
    assert other != RULES
    house.adopt(contract_text(other, version=2))
    verdict = house.ask(run, ASK, order="o-1", customer="c-1", ticket=ticket)
    assert (verdict.verdict, verdict.clauses) == ("ESCALATE", ("ask",))


FLOOR = """\
floor: company
version: {version}
scope: organisation
purpose: What a person has to look at.
clauses:
  - {{id: look, escalate: "payments.*", when: {when}, severity: minor}}
"""


def test_an_approval_answers_no_other_question_that_a_later_floor_asks_under_the_same_id(house: House) -> None:
    put(house, FLOOR.format(version=1, when="context.args.amount == 500"))
    run = house.run()
    asked = [house.ask(run, FINE, order=order, customer="c-1").entry for order in ("o-1", "o-2")]
    for ticket in asked:
        approve(house, ticket)
    assert house.ask(run, FINE, order="o-1", customer="c-1", ticket=asked[0]).verdict == "ALLOW"
    put(house, FLOOR.format(version=2, when='context.args.customer_id == "c-1"'))
    verdict = house.ask(run, FINE, order="o-2", customer="c-1", ticket=asked[1])
    assert (verdict.verdict, verdict.clauses) == ("ESCALATE", ("company/look",))


def test_an_approval_answers_no_other_question_that_a_later_contract_of_the_delegator_asks() -> None:
    house = open_pair()
    house.enrol("sara", "reviewer")
    run = house.run(OTHER, parent=house.run())
    asked = [house.ask(run, ASK, order=order, customer="c-1", agent=OTHER).entry for order in ("o-1", "o-2")]
    for ticket in asked:
        approve(house, ticket)
    assert house.ask(run, ASK, order="o-1", customer="c-1", agent=OTHER, ticket=asked[0]).verdict == "ALLOW"
    other = RULES.replace("context.args.amount == 400", 'context.args.customer_id == "c-1"')
    adopt(house, written(AGENT, other, delegates=("other-bot",), version=3))
    verdict = house.ask(run, ASK, order="o-2", customer="c-1", agent=OTHER, ticket=asked[1])
    assert (verdict.verdict, verdict.clauses) == ("ESCALATE", ("refund-bot/ask",))
    house.close()


def test_nobody_else_approves_and_no_agent_approves_itself(house: House) -> None:
    run = house.run()
    ticket = escalated(house, run)
    for person in ("piet", "olga"):  # an approver, and the owner: but a reviewer is there, and is asked
        with pytest.raises(Refused, match="not asked"):
            approve(house, ticket, person)
    agents_key = keys.from_seed(b"a" * 32)
    house.signers["refund-bot"] = persons.Signer("refund-bot", agents_key)
    with pytest.raises(Refused, match="not enrolled"):
        approve(house, ticket, "refund-bot")
    house.enrol("refund-bot", "reviewer")
    theirs = escalated(house, run, order="o-1")
    with pytest.raises(Refused, match="agent's key"):
        approve(house, theirs, "refund-bot")
    house.signers["rita"] = house.signers["sara"]  # sara's key under rita's name
    with pytest.raises(FailwellError):
        approve(house, ticket, "rita")
    assert ask(house, run, ticket=ticket).verdict == "DENY"


def test_a_person_who_has_left_or_is_asked_no_more_approves_nothing(house: House) -> None:
    run = house.run()
    ticket = escalated(house, run)
    signed = approval(house, ticket)
    house.write(Draft(body=kinds.PersonLeft(person="sara", successor="olga", why="gone"), actor="person:olga"))
    with pytest.raises(Refused, match="left"):
        house.do(tickets.approve_ticket(signed, persons.verify_order))
    overseen = f"{RULES}oversight: {{reviewers: [rita], decide_within: 1h}}\n"
    house.adopt(contract_text(overseen, version=2))
    asked = escalated(house, run, order="o-1")
    house.adopt(contract_text(overseen.replace("rita", "quan"), version=3))
    for person in ("rita", "quan"):  # asked then, and asked now
        with pytest.raises(Refused, match="not asked"):
            approve(house, asked, person)


def test_an_approval_is_over_what_was_seen_and_is_not_played_again(house: House) -> None:
    run = house.run()
    ticket, other = escalated(house, run), escalated(house, run, order="o-1")
    seen = house.state.ticket[ticket]
    with pytest.raises(Refused, match="other arguments"):
        approve(house, ticket, arguments="ab" * 32)
    with pytest.raises(Refused, match="something else"):
        approve(house, ticket, shown="0" * 64)
    stale = approval(house, ticket)
    house.adopt(contract_text(version=2))
    with pytest.raises(Refused, match="something else"):
        house.do(tickets.approve_ticket(stale, persons.verify_order))
    with pytest.raises(Refused):
        approve(house, other, arguments=seen.arguments)
    signed = approval(house, ticket)
    house.do(tickets.approve_ticket(signed, persons.verify_order))
    with pytest.raises(Refused):
        house.do(tickets.approve_ticket(signed, persons.verify_order))
    first = ask(house, run, ticket=ticket)
    house.settle(first.entry, "blocked")
    with pytest.raises(Refused):
        house.do(tickets.approve_ticket(signed, persons.verify_order))
    with pytest.raises(NotFound):
        deny(house, house.state.size + 9)


def test_what_is_signed_binds_the_arguments_that_were_shown_in_clear(house: House) -> None:
    run = house.run()
    ticket = escalated(house, run)
    secret = house.secret(ticket)
    digest = commitment(bytes.fromhex(secret["salt"]), secret["arguments"].encode())
    assert digest == house.state.ticket[ticket].arguments
    assert json.loads(secret["arguments"])["order_id"] == ORDER


def test_a_call_id_that_was_escalated_is_not_a_second_chance(house: House) -> None:
    run = house.run()
    ticket = escalated(house, run, call="one")
    approve(house, ticket)
    same = ask(house, run, call="one", ticket=ticket)
    assert (same.verdict, same.repeated, same.entry) == ("ESCALATE", True, ticket)
    assert ask(house, run, call="one", order="o-5", ticket=ticket).clauses == ("call.reused",)
    assert ask(house, run, ticket=ticket).verdict == "ALLOW"


def test_an_agent_that_asks_without_end_fills_neither_memory_nor_mailboxes(house: House) -> None:
    from failwell.core import asking

    run = house.run()
    small = RULES.replace("count: payments.refund, at_most: 6", "count: payments.refund, at_most: 900")
    house.adopt(contract_text(small, version=2))
    verdicts = house.batch(
        *(house.gate.decide(refund(house, run, order=f"o-{n}")) for n in range(asking.OPEN_AT_ONCE + 3))
    )
    assert [verdict.verdict for verdict in verdicts] == ["ESCALATE"] * len(verdicts)
    assert [verdict.ticket for verdict in verdicts[-3:]] == [None] * 3
    assert len(house.state.ticket) == asking.OPEN_AT_ONCE


def test_a_denial_that_no_person_gave_cannot_be_approved_away(house: House) -> None:
    run = house.run()
    fatal = ask(house, run, FATAL)
    assert fatal.verdict == "DENY"
    assert fatal.entry not in house.state.ticket
    assert refused_by_ticket(ask(house, run, FATAL, ticket=fatal.entry))
