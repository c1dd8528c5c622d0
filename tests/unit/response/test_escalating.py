"""Who is asked when: along the path, until somebody takes it; never into nothing, never twice, never for ever taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.core.errors import Corrupt, Refused
from failwell.core.records import Draft
from tests.property.lives import verified
from tests.unit.gate.house import AGENT, HOUR_US, House, contract_text, folded
from tests.unit.response import asking, casework
from tests.unit.response.asking import (
    ASKED,
    BIG,
    FATAL,
    HALF_US,
    MINUTE_US,
    QUARTER_US,
    SMALL,
    after,
    asked,
    at,
    house_of,
    opened,
    pages,
    path,
    row,
    step,
)  # fmt: skip
from tests.unit.response.given import findings, later

SOON = {"ack_within_s": 60}


def leave(house: House, person: str) -> None:
    """Somebody is gone, and piet follows them."""
    house.reached("piet")
    house.write(Draft(body=kinds.PersonLeft(person=person, successor="piet", why="retired"), actor="person:olga"))


@pytest.fixture(autouse=True)
def houses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[House]]:
    """Every house of a test is folded from nothing and verified when it is over."""
    made: list[House] = []
    honest = House.__init__

    def init(self: House, **more: Any) -> None:
        honest(self, **more)
        made.append(self)

    monkeypatch.setattr(House, "__init__", init)
    yield made
    for house in made:
        rebuilt = folded((entry, house.book.leaf(entry.seq)) for entry in house.entries())[1]
        assert rebuilt == house.stored()
        assert verified(house) == []
        assert findings(house, code="escalation.step") == []
        house.close()


# ---- along the path ------------------------------------------------------------------------------------------


@pytest.mark.requirement("R10.15")
def test_the_first_step_and_its_page_stand_in_the_commit_of_the_containment() -> None:
    house = opened()
    suspended = house.entries(house.newest(kinds.AuthorityChanged))
    told = [entry for entry in suspended if isinstance(entry.body, (*ASKED, kinds.PageQueued))]
    assert [entry.kind for entry in told] == ["escalation.started", "escalation.stepped", "page.queued"]
    assert {entry.at for entry in suspended} == {suspended[0].at}
    assert pages(house) == [("olga", "email", 1, 1, 1)]


@pytest.mark.requirement("R10.16", "R10.17")
def test_without_any_settings_the_owner_is_asked_then_the_operators_then_everybody_who_runs_the_house_for_ever() -> (
    None
):
    house = opened()
    assert [after(house, us) for us in (QUARTER_US - MINUTE_US, MINUTE_US, QUARTER_US)] == [0, 1, 1]
    assert asked(house) == [("olga",), ("olga", "sara"), ("olga", "piet", "quan", "rita", "sara")]
    assert row(house).last_resort
    for _ in range(3):
        assert after(house, HALF_US) == 1
    assert at(house) == ("asking", 1, 3, 4)
    assert len(pages(house)) == len(set(pages(house))) == 1 + 2 + 4 * 5


def test_a_step_is_repeated_before_the_next_one_is_taken() -> None:
    house = opened(path(step("owner", repeat=2, **SOON), step("person:rita", **SOON)))
    for _ in range(3):
        assert after(house, MINUTE_US) == 1
    assert [(body.step, body.round) for body in house.bodies(kinds.EscalationStepped)] == [
        (1, 1), (1, 2), (1, 3), (2, 1),
    ]  # fmt: skip


@pytest.mark.requirement("R10.33")
def test_what_each_step_comes_late_by_does_not_add_up() -> None:
    """Attack: a node that looks once in a while, and a last resort that is asked later than its path says."""
    house = opened(path(step("owner", repeat=20, **SOON)))
    began_us = row(house).since_us
    for _ in range(21):
        assert after(house, row(house).due_us - house.state.last_at_us + 900_000) == 1
    assert row(house).last_resort
    late_us = row(house).stepped_us - began_us - 21 * MINUTE_US
    assert late_us < 1_000_000


def test_people_who_are_asked_late_have_their_time_all_the_same() -> None:
    """No node ran for an hour: whoever is asked then is not passed over at once."""
    house = opened(path(step("owner", repeat=9, **SOON)))
    after(house, HOUR_US)
    assert row(house).due_us - row(house).stepped_us == MINUTE_US


def test_a_clock_that_jumps_takes_one_step_and_skips_none() -> None:
    """Attack: the wall clock is set a week ahead, so that the whole path is run through before anybody can answer."""
    house = opened()
    assert after(house, 7 * 24 * HOUR_US) == 1
    assert after(house, 0) == 0
    assert at(house) == ("asking", 1, 2, 1)


def test_a_restart_of_the_node_finds_the_same_step_due_at_the_same_time() -> None:
    house = opened()
    due_us = row(house).due_us
    house.reopen()
    assert row(house).due_us == due_us
    house.clock.reboot(QUARTER_US)  # it lay still for that long, and more
    house.reopen()
    assert after(house, MINUTE_US) == 1
    assert at(house) == ("asking", 1, 2, 1)


def test_a_contracts_path_goes_before_the_houses_and_a_change_of_settings_waits_for_the_next_cycle() -> None:
    house = house_of(path(step("person:rita", **SOON)))
    rules = asking.RULES + "escalation:\n  - {notify: owner, by: [email]}\n"
    house.adopt(contract_text(rules, version=2))
    house.ask(house.run(), FATAL)
    assert row(house).source == "refund-bot v2"
    asking.configure(house, path(step("person:quan", **SOON)))
    assert (after(house, MINUTE_US), after(house, QUARTER_US)) == (0, 1)
    assert row(house).last_resort


# ---- whom a step names ---------------------------------------------------------------------------------------


@pytest.mark.requirement("R10.18")
def test_a_step_that_names_nobody_or_is_not_for_now_is_passed_over_on_record() -> None:
    house = opened(
        path(
            step("team:nights", **SOON), step("person:ghost", **SOON), step("role:auditor", **SOON),
            step("person:rita", severity="critical", **SOON), step("person:quan", **SOON),
        ),
        BIG,
    )  # fmt: skip
    found = house.bodies(kinds.EscalationStepped)
    assert [(body.step, body.passed, body.persons) for body in found] == [(5, (1, 2, 3, 4), ("quan",))]
    # The owner answers for the agent, and hears of it whoever is asked.
    assert [page[0] for page in pages(house)] == ["quan", "olga"]


def test_hours_and_severity_never_pass_over_the_last_resort() -> None:
    last = step("person:rita", severity="critical", hours="Mon 00:00-00:01", last_resort=True, **SOON)
    house = opened(path(last, step("person:quan", **SOON)), SMALL)
    assert row(house).last_resort
    assert asked(house) == [("rita",)]
    after(house, MINUTE_US)
    assert at(house) == ("asking", 1, 1, 2)  # what stands behind a last resort is never reached


def test_a_team_of_which_nobody_is_on_call_is_asked_whole() -> None:
    turns = {"members": ["rita", "quan"], "every": "1w", "since": "2030-01-01T09:00"}
    settings = path(step("team:nights", **SOON)) | {"teams": [["nights", {"turns": [turns]}]]}
    assert asked(opened(settings)) == [("rita", "quan")]


def test_whoever_left_is_asked_no_more_and_who_follows_them_is() -> None:
    house = house_of(path(step("person:rita", repeat=9, **SOON), step("person:quan", **SOON)))
    leave(house, "rita")
    house.ask(house.run(), FATAL)
    assert asked(house) == [("piet",)]


def test_a_channel_that_several_share_is_told_once_for_all_of_them() -> None:
    settings = path(step("role:approver", by=["email", "room"], **SOON)) | {"channels": [["room", {"kind": "slack"}]]}
    house = opened(settings)
    assert [page[:2] for page in pages(house)] == [
        ("piet", "email"), ("quan", "email"), ("rita", "email"), ("piet", "room"), ("olga", "email"),
    ]  # fmt: skip
    shared = next(body for body in house.bodies(kinds.PageQueued4) if body.channel == "room")
    assert shared.persons == ("piet", "quan", "rita")


@pytest.mark.requirement("R10.50")
def test_a_channel_that_was_told_hears_that_it_is_taken_and_once() -> None:
    """Attack: what tells the on-call service so is taken for a second page of the step, and nobody can take it."""
    house = opened(path(step("owner", by=["pager"])))
    house.acknowledge("olga")
    told = [(body.channel, body.about) for body in house.bodies(kinds.PageQueued4)]
    assert told == [("pager", ""), ("pager", "taken")]
    assert at(house)[0] == "taken"


@pytest.mark.requirement("R10.32")
def test_nobody_is_paged_twice_by_one_step_over_one_channel() -> None:
    house = opened()
    page = house.bodies(kinds.PageQueued4)[0]
    doubled = kinds.PageQueued4(**{name: getattr(page, name) for name in page.__struct_fields__} | {"page": 2})
    with pytest.raises(Corrupt, match="a second time"):
        house.write(Draft(body=doubled, actor="response", agent=AGENT))


# ---- what comes of pages -------------------------------------------------------------------------------------


@pytest.mark.requirement("R10.19")
def test_where_no_page_of_a_step_can_arrive_the_next_step_follows_at_once() -> None:
    house = opened()
    asking.attempt(house, 1, accepted=False)
    assert after(house, 0) == 0  # it is tried again
    asking.attempt(house, 1, accepted=False, permanent=True)
    assert after(house, 0) == 1
    assert house.bodies(kinds.EscalationStepped)[-1].why == "could not be reached"
    asking.attempt(house, 2, accepted=True)
    for page, permanent in ((2, False), (2, True)):
        assert after(house, 0) == 0
        body = kinds.PageBounced(page=page, permanent=permanent, detail="5.1.1", message="ab" * 32)
        house.write(Draft(body=body, actor="node"))
    assert after(house, 0) == 0  # the other one may still be reached
    asking.attempt(house, 3, accepted=False, permanent=True)
    assert after(house, 0) == 1


@pytest.mark.requirement("R10.20")
def test_a_last_resort_that_cannot_be_reached_waits_its_time_before_it_is_asked_again() -> None:
    """Attack: every address is wrong, and the node writes one letter after the other as fast as it can."""
    house = opened(path(step("person:rita", last_resort=True, **SOON)))
    for page in list(house.state.page):
        asking.attempt(house, page, accepted=False, permanent=True)
    assert (after(house, 0), after(house, MINUTE_US)) == (0, 1)


def test_what_a_cycle_knows_of_its_pages_stays_bounded() -> None:
    house = opened(path(step("role:approver", last_resort=True, **SOON)))
    for _ in range(90):
        after(house, MINUTE_US)
    assert len(row(house).told) == 256
    assert row(house).told[-1].round == 91


# ---- taken ---------------------------------------------------------------------------------------------------


def test_it_ends_with_who_took_it() -> None:
    house = opened()
    house.acknowledge("rita")
    ended = house.bodies(kinds.EscalationEnded)
    assert [(body.outcome, body.persons) for body in ended] == [("taken", ("rita",))]
    assert after(house, HOUR_US) == 0


@pytest.mark.parametrize(("require", "who", "taken"), [
    ("all", ("piet", "quan"), False), ("all", ("piet", "quan", "rita"), True), ("2", ("piet",), False),
    ("2", ("piet", "piet"), False), ("2", ("piet", "olga"), False), ("2", ("piet", "rita"), True),
    ("any", ("olga",), True), ("9", ("piet", "quan", "rita"), True),
])  # fmt: skip
@pytest.mark.requirement("R10.21")
def test_as_many_have_to_take_it_as_the_step_asks_for(require: str, who: tuple[str, ...], taken: bool) -> None:
    house = opened(path(step("role:approver", require=require, **SOON)))
    for person in who:
        house.acknowledge(person)
    assert (row(house).state == "taken") is taken


def test_who_took_it_already_is_not_asked_a_second_time() -> None:
    house = opened(path(step("role:approver", require="all", repeat=1, **SOON)))
    house.acknowledge("quan")
    after(house, MINUTE_US)
    assert [page[0] for page in pages(house) if page[4] == 2] == ["piet", "rita"]


def test_who_left_is_not_waited_for() -> None:
    house = opened(path(step("role:approver", require="all", **SOON)))
    leave(house, "rita")
    house.acknowledge("piet")
    house.acknowledge("quan")
    assert row(house).state == "taken"


TERMS = {"acknowledgment_lasts_s": 8 * 3600, "progress_within_s": 4 * 3600}


@pytest.mark.requirement("R10.22")
def test_whoever_took_it_and_is_silent_is_asked_again_with_everybody_else() -> None:
    house = opened(path(step("person:quan", **SOON), **TERMS))
    house.acknowledge("rita")
    assert after(house, 4 * HOUR_US - MINUTE_US) == 0
    assert after(house, MINUTE_US) == 1
    assert house.bodies(kinds.EscalationStarted)[-1].why == "silent"
    assert at(house) == ("asking", 2, 1, 1)
    assert asked(house)[-1] == ("quan", "rita")
    assert row(house).acknowledged == ()


@pytest.mark.requirement("R10.23")
def test_work_on_it_puts_silence_off_but_an_acknowledgment_still_expires() -> None:
    house = opened(path(step("person:quan", **SOON), **TERMS))
    house.acknowledge("rita")
    for _ in range(2):
        later(house, 3 * HOUR_US)
        assert after(house, 0) == 0
        casework.write(house, "rita", "note")
    assert after(house, 2 * HOUR_US - MINUTE_US) == 0
    assert after(house, MINUTE_US) == 1
    assert house.bodies(kinds.EscalationStarted)[-1].why == "expired"


@pytest.mark.requirement("R10.24")
def test_having_seen_it_is_not_working_on_it() -> None:
    """Attack: a mail program opens every letter, and nobody is ever silent."""
    house = opened(path(step("person:quan", **SOON), **TERMS))
    house.acknowledge("rita")
    after(house, 3 * HOUR_US)
    house.write(Draft(body=kinds.Seen(incident=1, person="rita", what="opened"), actor="person:rita", agent=AGENT))
    assert after(house, HOUR_US) == 1


@pytest.mark.requirement("R10.25")
def test_an_acknowledgment_goes_with_who_gave_it() -> None:
    house = opened(path(step("person:quan", **SOON)))
    house.acknowledge("rita")
    leave(house, "rita")
    assert after(house, 0) == 1
    assert (house.bodies(kinds.EscalationStarted)[-1].why, asked(house)[-1]) == ("left", ("quan",))


@pytest.mark.requirement("R10.26")
def test_what_is_over_is_asked_of_nobody_and_what_turned_out_not_to_be_is_asked_anew() -> None:
    house = opened()
    house.acknowledge("rita")
    casework.write(house, "rita", "factor", 3)
    casework.give(house, "rita", orders.IncidentResolve(incident=1, reason="it ended"))
    assert row(house).state == "over"
    assert after(house, 24 * HOUR_US) == 0
    casework.give(house, "rita", orders.IncidentReopen(incident=1, reason="it did not"))
    assert at(house) == ("asking", 2, 1, 1)


@pytest.mark.requirement("R10.27")
def test_what_is_merged_into_what_nobody_was_asked_about_is_asked_there() -> None:
    """Attack: a case that nobody has taken is merged into one that tells nobody."""
    house = opened(amount=asking.TINY)
    told = casework.report(house, "quan", severity="major")
    assert list(house.state.escalation) == [told]
    casework.give(house, "rita", orders.IncidentMerge(incident=told, into=1, reason="the same"))
    assert row(house, told).state == "over"
    assert at(house)[:2] == ("asking", 1)


def test_what_was_taken_before_it_was_merged_asks_nobody_anew() -> None:
    house = opened(amount=asking.TINY)
    told = casework.report(house, "quan", severity="major")
    house.acknowledge("rita", told)
    casework.give(house, "rita", orders.IncidentMerge(incident=told, into=1, reason="the same"))
    assert 1 not in house.state.escalation


# ---- somebody else, now --------------------------------------------------------------------------------------


@pytest.mark.requirement("R10.30")
def test_a_person_has_somebody_else_asked_at_once_and_is_not_asked_themselves() -> None:
    house = opened(path(step("person:sara", repeat=5, **SOON), step("role:operator", **SOON)))
    asking.escalate(house, "sara")
    assert at(house) == ("asking", 1, 2, 1)
    assert asked(house)[-1] == ("olga",)


def test_whoever_has_it_gives_it_up_by_asking_for_somebody_else() -> None:
    house = opened(path(step("person:sara", **SOON), step("person:rita", **SOON)))
    house.acknowledge("sara")
    asking.escalate(house, "sara")
    assert (at(house), asked(house)[-1], row(house).acknowledged) == (("asking", 1, 2, 1), ("rita",), ())
    after(house, MINUTE_US)
    assert row(house).last_resort


def test_where_nobody_was_asked_yet_a_person_begins_it() -> None:
    house = opened(amount=asking.TINY)
    assert 1 in house.state.incident
    assert not house.state.escalation
    asking.escalate(house, "rita")
    assert at(house) == ("asking", 1, 1, 1)


def test_nobody_is_asked_about_what_is_over() -> None:
    house = opened()
    house.acknowledge("rita")
    casework.write(house, "rita", "factor", 3)
    casework.give(house, "rita", orders.IncidentResolve(incident=1, reason="it ended"))
    with pytest.raises(Refused, match="RESOLVED"):
        asking.escalate(house, "sara")


# ---- quiet hours, upgrades, other modes ----------------------------------------------------------------------

#: The houses' clock stands at 11:06 UTC.
QUIET = {"quiet": "11:00-13:00"}


@pytest.mark.requirement("R10.29")
def test_minor_incidents_wait_for_the_morning_and_no_others_do() -> None:
    house = opened(path(step("person:rita", **SOON), **QUIET), SMALL)
    waits = [page.due_us - house.state.last_at_us for page in house.state.page.values()]
    assert min(waits) > HOUR_US
    assert after(house, HOUR_US) == 0
    assert after(house, HOUR_US) == 1
    loud = opened(path(step("person:rita", **SOON), **QUIET), BIG)
    assert {page.due_us for page in loud.state.page.values()} == {loud.state.last_at_us}


@pytest.mark.requirement("R10.28")
def test_what_got_worse_in_the_night_does_not_wait_for_the_morning() -> None:
    """Attack: it begins as something minor at ten in the evening."""
    house = opened(path(step("person:rita", **SOON), step("person:quan", **SOON), **QUIET), SMALL)
    held = {number for number, page in house.state.page.items() if page.due_us > house.state.last_at_us}
    house.ask(house.run(), FATAL)
    assert after(house, 0) == 1
    assert asked(house)[-1] == ("quan",)
    assert held
    assert all(house.state.page[number].due_us <= house.state.last_at_us for number in held)


@pytest.mark.requirement("R10.31")
def test_the_case_that_an_agent_has_when_a_newer_release_takes_over_is_asked_of_people_from_here_on() -> None:
    house = house_of(rules=2)
    house.ask(house.run(), FATAL)
    assert not house.state.escalation
    house.write(Draft(body=kinds.ResponseRules(version=3), actor="node"))
    assert at(house) == ("asking", 1, 1, 1)


def test_nobody_is_woken_by_an_upgrade_for_what_was_taken_or_tells_nobody() -> None:
    for amount, taken in ((FATAL, True), (asking.TINY, False)):
        house = house_of(rules=2)
        house.ask(house.run(), amount)
        if taken:
            house.acknowledge("rita")
        house.write(Draft(body=kinds.ResponseRules(version=3), actor="node"))
        assert not house.state.escalation


def test_a_backtest_asks_nobody() -> None:
    house = House(mode="backtest")
    house.adopt_backtest(contract_text(asking.RULES))
    house.write(Draft(body=kinds.ResponseRules(version=3), actor="node"))
    house.ask(house.run(), FATAL)
    assert not house.state.escalation
    assert after(house, HOUR_US) == 0
