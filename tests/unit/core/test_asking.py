"""Who is asked about an escalated action, until when, and who of them is written to; what a rule that asks sets off."""

from __future__ import annotations

import pytest

from failwell.core import asking, kinds
from failwell.core.machines import TICKET
from failwell.core.records import Draft
from tests.unit.core.test_react import moved, signals, with_rules
from tests.unit.gate.house import ASK, HOUR_US, MINUTE_US, OTHER, RULES, SMALL, House, contract_text, open_house

MAIL = '{"mail":{"host":"127.0.0.1"}}'


def opened(house: House) -> kinds.TicketOpened:
    return house.bodies(kinds.TicketOpened)[-1]


def overseen(reviewers: str, within: str = "2h", rules: str = RULES) -> str:
    return f"{rules}oversight: {{reviewers: [{reviewers}], decide_within: {within}}}\n"


def pages(house: House, first: int = 0) -> list[kinds.PageQueued]:
    return house.bodies(kinds.PageQueued, first)


def test_a_ticket_follows_its_decision_in_the_same_commit_and_says_what_it_asks() -> None:
    house = open_house()
    verdict = house.ask(house.run(), ASK)
    entry = house.entries()[-1]
    assert entry.body == kinds.TicketOpened(
        ticket=verdict.entry, tool="payments.refund", arguments=house.bodies(kinds.Decision2)[-1].arguments,
        clauses=("ask",), asked=("olga",), expires_us=house.state.last_at_us + 24 * HOUR_US,
    )  # fmt: skip
    assert (entry.actor, entry.refs[0].seq) == ("response", verdict.entry)
    house.reopen()
    assert house.state.ticket[verdict.entry].state == "open"


def test_whom_the_contract_names_is_asked_and_a_role_is_everybody_who_holds_it() -> None:
    house = House()
    house.people()
    house.register()
    house.adopt(contract_text(overseen("quan, 'role:approver', nobody")))
    run = house.run()
    house.ask(run, ASK)
    assert opened(house).asked == ("piet", "quan", "rita")
    assert opened(house).expires_us == house.state.last_at_us + 2 * HOUR_US
    house.write(Draft(body=kinds.PersonLeft(person="quan", successor="olga", why="gone"), actor="person:olga"))
    house.ask(run, ASK)
    assert opened(house).asked == ("piet", "rita")


def test_somebody_is_asked_always() -> None:
    house = open_house(overseen("nobody"))
    run = house.run()
    house.ask(run, ASK)
    assert opened(house).asked == ("olga",)
    house.reached("piet")
    house.write(Draft(body=kinds.PersonLeft(person="olga", successor="piet", why="gone"), actor="person:piet"))
    house.ask(run, ASK)
    assert opened(house).asked == ("piet",)


def test_a_delegators_question_is_answered_by_whom_both_name_or_by_the_delegators() -> None:
    house = House()
    house.people()
    for agent in (OTHER, house.proposal(None).agent):
        house.register(agent)
    house.adopt(contract_text(overseen("quan, rita", "3h")))
    house.adopt(contract_text("delegates: [refund-bot]\n" + overseen("rita, piet", "1h"), agent=OTHER))
    handed = house.run(parent=house.run(OTHER))
    house.ask(handed, ASK)
    assert (opened(house).clauses, opened(house).asked) == (("ask", "other-bot/ask"), ("rita",))
    assert opened(house).expires_us == house.state.last_at_us + HOUR_US
    house.adopt(contract_text("delegates: [refund-bot]\n" + overseen("piet"), agent=OTHER, version=2))
    house.ask(handed, ASK)
    assert opened(house).asked == ("piet",)


@pytest.mark.requirement("R7.2")
def test_a_rule_that_asks_addresses_the_ticket_of_an_escalated_action_and_opens_no_case() -> None:
    house = open_house(with_rules("escalated(ask) => ask"))
    house.enrol("sara", "reviewer")
    start = house.state.size
    house.ask(house.run(), ASK)
    assert moved(house, start) == []
    assert signals(house)[-1] == ("escalated(ask)", "response[1]", 1, True)
    assert opened(house).asked == ("sara",)


@pytest.mark.requirement("R7.2")
def test_a_rule_that_asks_about_a_denied_action_pages_the_owner_and_who_answers_tickets() -> None:
    house = open_house(with_rules("denied(small) => ask"))
    house.enrol("sara", "reviewer")
    start = house.state.size
    house.ask(house.run(), SMALL)
    assert moved(house, start) == ["incident.opened", "page.queued", "page.queued"]
    assert [(page.person, page.incident) for page in pages(house)] == [("olga", 1), ("sara", 1)]
    assert house.agent().authority == "ACTIVE"


def test_a_rule_that_suspends_on_an_escalation_leaves_its_ticket_too() -> None:
    house = open_house(with_rules("escalated(ask) => suspend"))
    house.ask(house.run(), ASK)
    assert house.agent().authority == "SUSPENDED"
    assert len(house.state.ticket) == 1


def test_people_are_mailed_once_a_minute_per_agent_and_only_where_mail_goes_out() -> None:
    house = open_house()
    house.enrol("sara", "reviewer")
    house.register(OTHER)
    house.adopt(contract_text(agent=OTHER))
    run, theirs = house.run(), house.run(OTHER)
    house.ask(run, ASK)
    assert pages(house) == []
    house.write(Draft(body=kinds.Config(digest="ab" * 32, text=MAIL), actor="person:olga"))
    start = house.state.size
    house.ask(run, ASK)
    house.ask(run, ASK)
    house.ask(theirs, ASK, agent=OTHER)
    mailed = pages(house, start)
    assert [(page.person, page.incident) for page in mailed] == [("sara", None)] * 2
    assert house.state.page[1].ticket == house.bodies(kinds.TicketOpened, start)[0].ticket
    house.reopen()
    house.clock.skip(MINUTE_US - 1)
    house.ask(run, ASK)
    house.clock.skip(2)
    house.ask(run, ASK)
    assert len(pages(house, start)) == 3


def test_a_backtest_asks_nobody() -> None:
    house = House(mode="backtest")
    house.adopt_backtest(contract_text())
    verdict = house.ask(house.run(), ASK)
    assert (verdict.verdict, verdict.ticket) == ("ESCALATE", None)
    assert house.bodies(kinds.TicketOpened) == []


def test_a_ticket_that_has_ended_is_not_read_at_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    house = open_house()
    monkeypatch.setattr(asking, "DECIDE_WITHIN_US", MINUTE_US)
    run = house.run()
    first = house.ask(run, ASK).entry
    house.clock.skip(MINUTE_US)
    house.write(
        Draft(body=kinds.TicketExpired(ticket=first, was="open"), actor="node", agent=house.entries()[-1].agent)
    )
    second = house.ask(run, ASK).entry
    house.reopen()
    assert list(house.state.ticket) == [second]
    assert [key for key, _ in house.storage.live_rows("ticket")] == [second]
    assert set(TICKET) == {"open", "approved", "used", "denied", "expired"}
