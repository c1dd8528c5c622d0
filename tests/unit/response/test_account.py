"""The account: every figure from an entry, effects counted once, what is not known said to be not known."""

from __future__ import annotations

import msgspec
import pytest

from failwell.core import kinds
from failwell.core.instants import format_at
from failwell.core.records import Draft
from failwell.gate import outcomes
from failwell.response.account import Account, account
from failwell.response.moments import MOMENTS
from tests.unit.gate.house import AGENT, FATAL, HOUR_US, RULES, SECOND_US, SMALL, House, open_house

WARNED = RULES + "response:\n  - {signal: denied(small), do: [interrupt]}\n"


def told(house: House, incident: int = 1, *, stated_ms: int = 2000) -> Account:
    row = house.state.incident[incident]
    first = min(row.onset_first, row.opened)
    own = [entry for entry in house.entries() if entry.agent == row.agent and entry.seq >= first]
    earlier = {
        action for entry in own if isinstance(entry.body, kinds.InterruptOrdered) for action in entry.body.actions
    }
    before = [entry for entry in house.entries() if entry.seq in earlier and entry.seq < first]
    names = {stored.token: house.book.vault.reveal(stored)[1] for stored in house.storage.tokens()}
    return account(
        incident, row, house.agent(row.agent), before + own, stated_ms=stated_ms, reveal=lambda token: names[token]
    )  # fmt: skip


def see(
    house: House, ref: str, *, action: int | None = None, ago_us: int | None = 0, customer: str | None = "c",
    witness: str = "shop", at: str | None = None,
) -> None:  # fmt: skip
    """The tool side's log says that a refund happened `ago_us` before now (None: it does not say when)."""
    at = format_at(house.book._at_us(house.clock.mono) - ago_us) if at is None and ago_us is not None else at
    effect = outcomes.Witnessed(
        witness=witness, ref=ref, tool="payments.refund", at=at, customer=customer, action=action, line="ab" * 32
    )
    house.do(outcomes.record_effects(AGENT, (effect,)))


@pytest.fixture
def house() -> House:
    """Onset at 0 s, detected and ordered at 10 s while one action ran, its last process gone at 10.3 s."""
    house = open_house()
    run = house.run()
    house.ask(run, SMALL)
    house.clock.skip(5 * SECOND_US)
    house.ask(run, customer="c-run")
    house.clock.skip(5 * SECOND_US)
    house.ask(run, FATAL)
    house.stop(house.state.incident[1].waiting[0], after_us=300_000)
    house.clock.skip(SECOND_US)
    return house


def running(house: House) -> int:
    """The action that ran when the order came."""
    return house.bodies(kinds.InterruptOrdered)[0].actions[0]


# ---- times -------------------------------------------------------------------------------------------------------


def test_each_moment_names_the_entry_it_comes_from_and_its_distance_from_the_onset(house: House) -> None:
    house.accept_page()
    house.clock.skip(SECOND_US)
    house.acknowledge("rita")
    times = told(house).times
    assert tuple(times) == MOMENTS
    after = {name: moment.after_onset_ms for name, moment in times.items() if moment is not None}
    assert after == {
        "onset": 0, "detected": 10_000, "ordered": 10_000, "suspended": 10_000, "held": 10_000, "stopped": 10_000,
        "paged": 11_000, "acknowledged": 12_000,
    }  # fmt: skip
    kinds_of = {entry.seq: entry.kind for entry in house.entries()}
    assert {name: kinds_of[moment.entry] for name, moment in times.items() if moment is not None} == {
        "onset": "decision", "detected": "incident.opened", "ordered": "interrupt.ordered", "held": "hold.placed",
        "stopped": "interrupt.confirmed", "suspended": "authority.changed", "paged": "page.attempted",
        "acknowledged": "acknowledged",
    }  # fmt: skip


def test_what_no_entry_says_is_none_and_never_a_guess() -> None:
    house = open_house(WARNED)
    run = house.run()
    house.ask(run)
    house.ask(run, SMALL)
    account_ = told(house)
    assert [name for name, moment in account_.times.items() if moment is None] == [
        "stopped", "suspended", "held", "paged", "acknowledged", "released",
    ]  # fmt: skip
    assert account_.bound["measured_ms"] is None
    assert account_.stops[0].measured_ms is None
    assert "no end on record" in account_.stops[0].proven_by


def test_a_page_of_another_incident_and_a_failed_one_are_not_this_one_s(house: House) -> None:
    failed = kinds.PageAttempted(page=1, attempt=1, accepted=False, detail="", checkpoint=0, next_due_us=1)
    house.write(Draft(body=failed, actor="node", agent=AGENT))
    assert told(house).times["paged"] is None


# ---- stops and the bound -----------------------------------------------------------------------------------------


@pytest.mark.requirement("R8.5")
def test_the_bound_is_measured_from_the_order_to_the_last_process(house: House) -> None:
    account_ = told(house)
    assert account_.bound == {
        "stated_ms": 2000, "measured_ms": 300.0, "proven_by": "swept", "t1_ms": None, "t2_ms": None,
    }  # fmt: skip
    stop = account_.stops[0]
    assert (stop.tool, stop.state, stop.processes, stop.measured_ms) == (
        "payments.refund", "interrupted_confirmed", 3, 300.0,
    )  # fmt: skip


@pytest.mark.requirement("R8.5")
def test_one_unproven_stop_leaves_the_whole_bound_unmeasured() -> None:
    house = open_house()
    run = house.run()
    first, second = house.ask(run).entry, house.ask(run).entry
    house.ask(run, FATAL)
    house.stop(first)
    house.stop(second, "interrupted_unconfirmed")
    account_ = told(house)
    assert account_.bound["measured_ms"] is None
    assert "not proven" in account_.bound["proven_by"]
    assert "could not be shown to be stopped" in " ".join(account_.asked)
    assert account_.times["stopped"] is None, "there is no moment at which all of it had stopped"


def test_what_could_not_be_confirmed_and_opened_the_incident_is_told_with_what_was_running() -> None:
    house = open_house()
    action = house.ask(house.run()).entry
    house.stop(action, "interrupted_unconfirmed")
    account_ = told(house)
    assert [(stop.action, stop.state) for stop in account_.stops] == [(action, "interrupted_unconfirmed")]
    assert account_.bound["measured_ms"] is None
    assert account_.times["stopped"] is None


def test_nothing_ran_is_said_and_measures_nothing() -> None:
    house = open_house()
    house.ask(house.run(), FATAL)
    bound = told(house).bound
    assert (bound["measured_ms"], bound["t2_ms"], bound["proven_by"]) == (None, None, "nothing was running")
    assert told(house).times["stopped"] is not None


def test_an_action_ordered_later_is_measured_from_its_own_order() -> None:
    house = open_house(WARNED)
    run = house.run()
    first = house.ask(run).entry
    house.ask(run, SMALL)
    house.stop(first, after_us=100_000)
    house.clock.skip(600 * SECOND_US)
    second = house.ask(run).entry
    house.ask(run, SMALL)
    house.stop(second, after_us=200_000)
    assert [stop.measured_ms for stop in told(house).stops] == [100.0, 200.0]


def test_an_action_that_never_started_took_no_time_to_stop() -> None:
    house = open_house()
    run = house.run()
    action = house.ask(run).entry
    house.ask(run, FATAL)
    house.clock.mono = 0
    house.stop(action, "blocked", after_us=0)
    assert told(house).stops[0].measured_ms == 0.0


# ---- what escaped ------------------------------------------------------------------------------------------------


def counts(house: House) -> tuple[int, int, int]:
    escaped = told(house).escaped_effects
    return escaped.before_detection, escaped.while_stopping, escaped.after_fence


@pytest.mark.parametrize(
    ("ago_us", "expected"),
    [
        (12 * SECOND_US, (0, 0, 0)),  # before the onset: no part of the failure
        (11 * SECOND_US, (1, 0, 0)),  # at the onset
        (SECOND_US + 1, (1, 0, 0)),  # just before detection
        (SECOND_US, (0, 1, 0)),  # at detection
        (SECOND_US - 300_000, (0, 1, 0)),  # as the last process went
        (SECOND_US - 300_001, (0, 0, 1)),  # when nothing may be left
        (0, (0, 0, 1)),
    ],
)
@pytest.mark.requirement("R11.1")
def test_an_effect_is_placed_by_the_tool_side_s_clock(
    house: House, ago_us: int, expected: tuple[int, int, int]
) -> None:
    see(house, "r-1", action=running(house), ago_us=ago_us)
    assert counts(house) == expected


def test_while_a_stop_is_unproven_nothing_is_said_to_be_after_it() -> None:
    house = open_house()
    run = house.run()
    action = house.ask(run).entry
    house.ask(run, FATAL)
    house.clock.skip(HOUR_US)
    see(house, "r-1", action=action)
    assert counts(house) == (0, 1, 0)


@pytest.mark.requirement("R11.1")
def test_two_witnesses_of_one_effect_are_one_effect_at_its_earliest(house: House) -> None:
    see(house, "r-1", action=running(house), ago_us=2 * SECOND_US)
    see(house, "r-1", ago_us=0, witness="bank")
    see(house, "r-2", action=running(house), ago_us=2 * SECOND_US)
    account_ = told(house)
    assert counts(house) == (2, 0, 0)
    assert account_.escaped_effects.counted_from == ("bank", "shop")
    assert account_.escaped_effects.without_verdict == 0
    assert account_.customers[0].effects == 2


@pytest.mark.parametrize("at", [None, "yesterday", "2026-11-18T11:06:40Z"])
def test_an_effect_whose_time_cannot_be_read_is_counted_and_breaks_nothing(house: House, at: str | None) -> None:
    see(house, "r-1", ago_us=None, at=at, action=running(house))
    assert sum(counts(house)) == 1
    assert told(house).customers[0].effects == 1


def test_an_unreadable_twin_does_not_move_an_effect_that_another_witness_saw(house: House) -> None:
    see(house, "r-1", ago_us=2 * SECOND_US, action=running(house))
    see(house, "r-1", ago_us=None, witness="bank", customer=None)
    assert counts(house) == (1, 0, 0)


def test_effects_without_a_verdict_are_told_apart(house: House) -> None:
    see(house, "r-1", ago_us=2 * SECOND_US)
    see(house, "r-2", ago_us=2 * SECOND_US, action=running(house))
    assert told(house).escaped_effects.without_verdict == 1


def test_what_the_agent_s_side_says_of_its_effects_is_not_counted() -> None:
    house = open_house()
    run = house.run()
    house.ask(run, SMALL)
    house.settle(house.ask(run).entry, by="agent", result=b"refunded, I promise")
    house.ask(run, FATAL)
    assert counts(house) == (0, 0, 0)
    assert told(house).escaped_effects.counted_from == ()


def test_what_the_agent_does_after_its_release_is_no_part_of_the_incident(house: House) -> None:
    see(house, "r-1", ago_us=2 * SECOND_US, action=running(house))
    house.release()
    house.clock.skip(HOUR_US)
    rows_before = told(house).timeline
    escalated = house.ask(house.run()).entry
    see(house, "r-2", action=escalated)
    see(house, "r-3")
    account_ = told(house)
    assert counts(house) == (1, 0, 0)
    assert account_.customers[0].effects == 1
    assert account_.timeline == rows_before


@pytest.mark.requirement("R11.2")
def test_customers_are_named_most_harmed_first_with_the_entries_that_show_it(house: House) -> None:
    for ref, customer in (("1", "anna"), ("2", "bert"), ("3", "bert"), ("4", None), ("5", "cleo")):
        see(house, ref, customer=customer, ago_us=2 * SECOND_US, action=running(house))
    account_ = told(house)
    assert [(each.id, each.effects) for each in account_.customers] == [("bert", 2), ("anna", 1), ("cleo", 1)]
    shown = {seq for each in account_.customers for seq in each.entries}
    assert shown <= {entry.seq for entry in house.entries() if isinstance(entry.body, kinds.EffectWitnessed)}
    assert sum(counts(house)) == 5


# ---- the story ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R22.1")
def test_the_timeline_tells_from_the_onset_on_and_every_line_has_its_entry(house: House) -> None:
    house.release()
    lines = told(house).timeline
    assert [line.what for line in lines] == [
        "DENY", "DENY", "incident opened", "interrupt ordered", "suspended", "record held", "page queued", "stopped",
        "page accepted", "acknowledged", "release proposed", "release approved", "probation",
    ]  # fmt: skip
    assert [line.entry for line in lines] == sorted(line.entry for line in lines)
    stored = {entry.seq: entry.at for entry in house.entries()}
    assert all(stored[line.entry] == line.at for line in lines)


def test_what_is_asked_of_people_changes_with_what_was_done(house: House) -> None:
    def asked() -> str:
        return " ".join(told(house).asked)

    assert "incident acknowledge 1" in asked()
    assert "release" not in asked()
    house.accept_page()
    house.acknowledge("rita")
    assert "agent release propose refund-bot --incident 1" in asked()
    proposal = house.propose("olga")
    assert "agent release approve refund-bot --incident 1" in asked()
    house.approve("piet", proposal)
    assert told(house).asked == ()
    house.ask(house.run(), FATAL)
    assert told(house, 1).asked == ()  # the next suspension is not this case's to release
    assert "incident acknowledge 2" in " ".join(told(house, 2).asked)


def test_actions_that_have_not_ended_yet_are_said() -> None:
    house = open_house()
    run = house.run()
    house.ask(run)
    house.ask(run, FATAL)
    assert "1 action has not been confirmed as ended yet" in " ".join(told(house).asked)


def test_two_incidents_are_two_stories(house: House) -> None:
    house.release()
    house.clock.skip(HOUR_US)
    house.ask(house.run(), FATAL)
    first, second = told(house, 1), told(house, 2)
    assert first.times["detected"] != second.times["detected"]
    assert (first.state, second.state) == ("TRIAGED", "OPEN")
    assert second.times["acknowledged"] is None
    assert second.stops == ()


def test_an_account_is_plain_data(house: House) -> None:
    see(house, "r-1", ago_us=2 * SECOND_US)
    plain = msgspec.json.decode(msgspec.json.encode(told(house)))
    assert plain["onset"] == [house.state.incident[1].onset_first, house.state.incident[1].onset_last]


def test_an_action_that_ended_before_its_order_came_on_record_is_confirmed_and_not_measured() -> None:
    house = open_house()
    run = house.run()
    house.ask(run, customer="c-run")
    house.clock.skip(5 * SECOND_US)
    house.ask(run, FATAL)
    house.stop(house.state.incident[1].waiting[0], after_us=-3 * SECOND_US)
    (stop,) = told(house).stops
    assert (stop.state, stop.measured_ms) == ("interrupted_confirmed", None)
    assert "not measured" in stop.proven_by
    assert told(house).bound["measured_ms"] is None
