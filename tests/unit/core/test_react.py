"""Reactions: what follows from an entry, in that entry's own commit, once, and by the rules that were declared."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from failwell.core import kinds
from failwell.core.errors import Corrupt, Refused
from failwell.core.incidents.ladder import CONTAIN
from failwell.core.react import react
from failwell.core.records import Draft, decode_entry
from failwell.core.stops import INTERRUPTED_AT_ONCE
from failwell.gate import outcomes, runs
from failwell.ledger.book import MAX_REACTIONS
from failwell.ports.storage import StorageFailed
from tests.unit.gate.house import (
    AGENT,
    ASK,
    BIG,
    FATAL,
    FINE,
    MINUTE_US,
    RULES,
    SECOND_US,
    SMALL,
    House,
    contract_text,
    open_house,
)

RESPONSE = (kinds.IncidentOpened, kinds.InterruptOrdered, kinds.AuthorityChanged, kinds.HoldPlaced, kinds.PageQueued)


def with_rules(*rules: str) -> str:
    """RULES and response rules, each given as `signal => word`."""
    lines = [rule.split(" => ") for rule in rules]
    return RULES + "response:\n" + "".join(f"  - {{signal: '{signal}', do: [{do}]}}\n" for signal, do in lines)


def moved(house: House, first: int) -> list[str]:
    """The kinds of response that entries from `first` on set in motion."""
    return [entry.kind for entry in house.entries(first) if isinstance(entry.body, RESPONSE)]


def signals(house: House) -> list[tuple[str, str, int, bool]]:
    return [(body.signal, body.rule, body.count, body.applied) for body in house.bodies(kinds.Signal)]


WHOLE = ["incident.opened", "interrupt.ordered", "authority.changed", "hold.placed", "page.queued"]

# ---- the default ladder ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("amount", "needed"), [(FATAL, 1), (BIG, 3), (SMALL, 20)])
def test_the_default_ladder_stands_still_until_its_rung_and_then_contains_at_once(amount: str, needed: int) -> None:
    house = open_house()
    run = house.run()
    start = house.state.size
    for number in range(1, needed + 1):
        assert house.agent().authority == "ACTIVE"
        assert moved(house, start) == []
        house.ask(run, amount)
        assert signals(house)[-1][2] == number
    assert moved(house, start) == WHOLE
    assert house.agent().authority == "SUSPENDED"


@pytest.mark.parametrize(("amount", "needed"), [(BIG, 3), (SMALL, 20)])
def test_denials_that_are_ten_minutes_old_are_no_part_of_a_burst(amount: str, needed: int) -> None:
    house = open_house()
    run = house.run()
    house.ask(run, amount)
    house.clock.skip(10 * MINUTE_US)
    for _ in range(needed - 1):
        house.ask(run, amount)
    assert house.agent().authority == "ACTIVE"
    house.clock.skip(10 * MINUTE_US - 1)
    house.ask(run, amount)
    assert house.agent().authority == "SUSPENDED"


def test_each_clause_has_a_burst_of_its_own() -> None:
    other = "  - {id: other, deny: payments.refund, when: context.args.amount == 600, severity: major}\nlimits:"
    house = open_house(RULES.replace("limits:", other))
    run = house.run()
    for _ in range(2):
        house.ask(run, BIG)
        house.ask(run, "6.00")
    assert [count for _, _, count, _ in signals(house)] == [1, 1, 2, 2]
    assert house.agent().authority == "ACTIVE"


def test_what_is_escalated_or_recorded_moves_nothing_without_a_rule() -> None:
    house = open_house()
    run = house.run()
    start = house.state.size
    for _ in range(25):
        house.ask(run, ASK)
    house.ask(run, order="same")
    house.ask(run, order="same")
    assert moved(house, start) == []
    assert signals(house)[-1] == ("recorded(repeat)", "default ladder", 1, False)


# ---- the contract's own rules ------------------------------------------------------------------------------------


@pytest.mark.requirement("R7.5")
def test_the_first_rule_that_matches_decides_and_the_ladder_below_is_not_asked() -> None:
    house = open_house(with_rules("denied(fatal) => record", "denied(fatal) => suspend"))
    run = house.run()
    for _ in range(5):
        house.ask(run, FATAL)
    assert house.agent().authority == "ACTIVE"
    assert {(rule, applied) for _, rule, _, applied in signals(house)} == {("response[1]", False)}


@pytest.mark.requirement("R7.5")
def test_a_rule_that_has_not_counted_enough_lets_the_next_one_speak() -> None:
    house = open_house(with_rules("denied(small) >= 3 in 10m => suspend", "denied(small) => hold"))
    run = house.run()
    house.ask(run, SMALL)
    assert house.bodies(kinds.Signal)[-1].rule == "response[2]"
    assert (house.agent().authority, len(house.state.hold)) == ("ACTIVE", 1)
    house.ask(run, SMALL)
    house.ask(run, SMALL)
    assert house.bodies(kinds.Signal)[-1].rule == "response[1]"
    assert house.agent().authority == "SUSPENDED"


def test_a_rule_below_its_count_is_still_the_contract_s_word_and_not_the_ladder_s() -> None:
    house = open_house(with_rules("denied(fatal) >= 3 in 10m => suspend"))
    run = house.run()
    for number in range(1, 4):
        assert house.agent().authority == "ACTIVE"
        house.ask(run, FATAL)
        assert house.bodies(kinds.Signal)[-1].count == number
    assert house.agent().authority == "SUSPENDED"


@pytest.mark.parametrize(("apart_us", "contained"), [(MINUTE_US - 1, True), (MINUTE_US, False)])
def test_a_counting_window_ends_exactly_where_it_says(apart_us: int, contained: bool) -> None:
    house = open_house(with_rules("denied(small) >= 2 in 1m => suspend"))
    run = house.run()
    house.ask(run, SMALL)
    house.clock.skip(apart_us)
    house.ask(run, SMALL)
    assert (house.agent().authority == "SUSPENDED") == contained


def test_a_rule_about_one_clause_is_not_moved_by_another() -> None:
    house = open_house(with_rules("denied(small) => suspend"))
    run = house.run()
    house.ask(run, BIG)
    house.ask(run, ASK)
    assert house.agent().authority == "ACTIVE"


@pytest.mark.parametrize(
    ("do", "kinds_moved", "authority"),
    [
        ("record", [], "ACTIVE"),
        ("ask", ["incident.opened", "page.queued"], "ACTIVE"),
        ("notify", ["incident.opened", "page.queued"], "ACTIVE"),
        ("hold", ["incident.opened", "hold.placed"], "ACTIVE"),
        ("interrupt", ["incident.opened", "interrupt.ordered"], "ACTIVE"),
        ("restrict", ["incident.opened", "authority.changed"], "RESTRICTED"),
        ("suspend", WHOLE, "SUSPENDED"),
    ],
)
def test_each_rung_of_the_ladder_does_what_it_says_and_no_more(
    do: str, kinds_moved: list[str], authority: str
) -> None:  # fmt: skip
    house = open_house(with_rules(f"denied(small) => {do}"))
    run = house.run()
    start = house.state.size
    house.ask(run, SMALL)
    assert moved(house, start) == kinds_moved
    assert house.agent().authority == authority


def test_restricting_voids_every_permit_and_suspending_after_it_does_so_again() -> None:
    house = open_house(with_rules("denied(small) => restrict"))
    run = house.run()
    house.ask(run, SMALL)
    assert (house.agent().authority, house.agent().epoch) == ("RESTRICTED", 2)
    assert house.ask(run).verdict == "ESCALATE"  # irreversible, for an agent that is restricted
    house.ask(run, SMALL)
    assert house.agent().epoch == 2  # once restricted is restricted
    house.ask(run, FATAL)
    assert (house.agent().authority, house.agent().epoch) == ("SUSPENDED", 3)


def test_an_escalation_and_a_record_can_be_answered_by_rule() -> None:
    house = open_house(with_rules("escalated(ask) => restrict", "recorded(repeat) => suspend"))
    run = house.run()
    house.ask(run, ASK)
    assert house.agent().authority == "RESTRICTED"
    other = open_house(with_rules("recorded(repeat) => suspend"))
    run = other.run()
    other.ask(run, order="same")
    assert other.ask(run, order="same").verdict == "ALLOW"
    assert other.agent().authority == "SUSPENDED"


def test_one_denial_by_two_clauses_is_one_incident_contained_once() -> None:
    rules = RULES.replace("amount == 300", "amount >= 200")
    house = open_house(rules + "response:\n  - {signal: denied(big), do: [suspend]}\n")
    run = house.run()
    start = house.state.size
    house.ask(run, BIG)
    assert sorted(moved(house, start)) == sorted(WHOLE)
    assert [name for name, _, _, applied in signals(house) if applied] == ["denied(big)", "denied(fatal)"]
    row = house.state.incident[1]
    assert (row.signals, row.severity) == (2, "critical")


# ---- what a stopped agent still does -----------------------------------------------------------------------------


def test_a_suspended_agent_sets_nothing_more_in_motion() -> None:
    house = open_house()
    run = house.run()
    house.ask(run, FATAL)
    start = house.state.size
    for amount in (FATAL, BIG, FINE, ASK) * 6:
        assert house.ask(run, amount).verdict == "DENY"
    assert moved(house, start) == []
    assert {(rule, applied) for _, rule, _, applied in signals(house)[1:]} == {("already contained", False)}
    assert house.state.incidents == 1


def test_a_second_incident_only_after_release() -> None:
    house = open_house()
    run = house.run()
    house.ask(run, FATAL)
    house.suspend("quan")
    assert house.state.incidents == 1
    house.release()
    assert house.state.incidents == 1
    start = house.state.size
    house.ask(run, FATAL)
    assert moved(house, start) == WHOLE
    assert house.state.incidents == 2
    assert (house.agent().authority, house.agent().incident, house.agent().epoch) == ("SUSPENDED", 2, 4)


def test_a_case_without_suspension_takes_further_signals_and_only_grows_more_severe() -> None:
    house = open_house(with_rules("denied(small) => hold", "denied(big) => notify"))
    run = house.run()
    house.ask(run, SMALL)
    assert house.state.incident[1].severity == "minor"
    house.ask(run, BIG)
    house.ask(run, SMALL)
    row = house.state.incident[1]
    assert (house.state.incidents, row.severity, row.signals) == (1, "major", 3)
    assert (len(house.state.hold), len(house.state.page)) == (1, 1)


def test_what_runs_is_named_in_the_order_and_what_starts_later_in_a_further_one() -> None:
    house = open_house(with_rules("denied(small) => interrupt"))
    run = house.run()
    first = [house.ask(run).entry, house.ask(run).entry]
    house.ask(run, SMALL)
    later = house.ask(run).entry
    house.ask(run, SMALL)
    house.ask(run, SMALL)
    assert [body.actions for body in house.bodies(kinds.InterruptOrdered)] == [tuple(first), (later,)]
    assert house.state.incident[1].waiting == (*first, later)


def test_with_nothing_running_the_order_says_so_and_stopped_is_true_at_once() -> None:
    house = open_house()
    house.ask(house.run(), FATAL)
    assert house.bodies(kinds.InterruptOrdered)[0].actions == ()
    assert "STOPPED" in house.state.incident[1].marks


# ---- persons -----------------------------------------------------------------------------------------------------


def test_a_person_s_suspension_opens_a_case_in_their_name_and_contains() -> None:
    house = open_house()
    run = house.run()
    running = house.ask(run).entry
    start = house.state.size
    order = house.suspend("piet")
    assert moved(house, start) == WHOLE
    opened = house.bodies(kinds.IncidentOpened)[0]
    assert (opened.by, opened.title) == ("person:piet", "refund-bot: suspended by piet: it looks wrong")
    assert (opened.onset_first, opened.onset_last) == (order, order)
    assert house.agent().suspended_by == "person:piet"
    assert house.bodies(kinds.InterruptOrdered)[0].actions == (running,)
    assert house.bodies(kinds.HoldPlaced)[0].first == order


def test_a_person_can_suspend_an_agent_that_has_no_contract_yet() -> None:
    house = House()
    house.people()
    house.register()
    house.suspend("olga")
    assert house.agent().authority == "SUSPENDED"
    house.adopt(contract_text())
    assert house.agent().authority == "SUSPENDED"


def test_an_order_to_suspend_again_changes_nothing_but_is_on_record() -> None:
    house = open_house()
    house.suspend("piet")
    start = house.state.size
    house.suspend("quan")
    assert moved(house, start) == []
    assert (house.agent().suspended_by, house.agent().epoch, house.state.incidents) == ("person:piet", 2, 1)
    assert house.state.incident[1].signals == 2


# ---- effects and failed stops ------------------------------------------------------------------------------------


def witnessed(action: int | None, ref: str = "1", **more: Any) -> outcomes.Witnessed:
    return outcomes.Witnessed(
        witness="log", ref=ref, tool="payments.refund", at=None, customer=more.get("customer"), action=action,
        line="ab" * 32,
    )  # fmt: skip


PRETENDED = ("none", "denied", "another tool's", "another tool's, ended", "not yet", "never", "beyond any number")


@pytest.mark.parametrize("pretended", PRETENDED)
@pytest.mark.requirement("R5.1", "R5.2")
def test_an_effect_without_an_allowed_verdict_of_its_own_is_a_bypass(pretended: str) -> None:
    house = open_house()
    run = house.run()
    denied = house.ask(run, SMALL).entry
    read, ended = (house.ask(run, tool="orders.read", arguments=b'{"order_id":"o"}').entry for _ in range(2))
    house.settle(ended)
    actions = {
        "none": None, "denied": denied, "another tool's": read, "another tool's, ended": ended,
        "not yet": house.state.size, "never": -1,
    }  # fmt: skip
    house.do(outcomes.record_effects(AGENT, (witnessed(actions.get(pretended, 10**40)),)))
    assert signals(house)[-1][0] == "bypass"
    assert house.agent().authority == "SUSPENDED"


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.requirement("R5.1")
def test_an_effect_of_an_allowed_action_is_paired_with_it_also_in_its_own_commit(settled: bool) -> None:
    house = open_house()
    action = house.ask(house.run()).entry
    done = outcomes.Settlement(decision=action, state="completed", by="supervisor")
    before = [outcomes.settle(done)] if settled else []
    house.batch(*before, outcomes.record_effects(AGENT, (witnessed(action),)))
    assert house.bodies(kinds.EffectWitnessed)[0].decision == action
    assert house.agent().authority == "ACTIVE"


@pytest.mark.parametrize("ended", [False, True])
def test_an_effect_of_another_agent_s_action_is_a_bypass(ended: bool) -> None:
    house = open_house()
    house.register("spiffe://shop.example/agent/other-bot")
    house.adopt(contract_text(agent="spiffe://shop.example/agent/other-bot"))
    other = "spiffe://shop.example/agent/other-bot"
    theirs = house.ask(house.run(other), agent=other).entry
    if ended:
        house.settle(theirs)
    house.do(outcomes.record_effects(AGENT, (witnessed(theirs),)))
    assert house.agent().authority == "SUSPENDED"
    assert house.agent(other).authority == "ACTIVE"


def test_a_stop_that_could_not_be_shown_suspends_who_was_only_interrupted() -> None:
    house = open_house(with_rules("denied(small) => interrupt"))
    run = house.run()
    action = house.ask(run).entry
    house.ask(run, SMALL)
    assert house.agent().authority == "ACTIVE"
    house.stop(action, "interrupted_unconfirmed")
    assert signals(house)[-1][0] == "executor.unconfirmed"
    assert house.agent().authority == "SUSPENDED"


@pytest.mark.parametrize("state", ["interrupted_unconfirmed", "interrupted_confirmed"])
def test_the_end_of_an_action_that_was_settled_before_is_noted_under_its_own_agent(state: str) -> None:
    house = open_house()
    action = house.ask(house.run()).entry
    house.settle(action, "unknown")
    house.stop(action, state)
    assert {entry.agent for entry in house.entries() if entry.agent is not None} == {AGENT}
    assert (house.agent().authority == "SUSPENDED") == (state == "interrupted_unconfirmed")
    assert len(house.bodies(kinds.Outcome)) == 1


def test_a_tool_that_ended_while_the_order_was_on_its_way_counts_as_stopped() -> None:
    house = open_house()
    run = house.run()
    action = house.ask(run).entry
    house.ask(run, FATAL)
    house.stop(action, "completed")
    assert house.bodies(kinds.InterruptConfirmed)[0].state == "completed_after_interrupt"
    assert "CONTAINMENT_FAILED" not in house.state.incident[1].marks


# ---- one commit --------------------------------------------------------------------------------------------------


def found(path: Path) -> tuple[bool, bool]:
    """(the denial is there, the suspension is there) in the file as it lies on the disk."""
    connection = apsw.Connection(str(path))
    entries = [decode_entry(row[0]) for row in connection.execute("SELECT data FROM entry ORDER BY seq")]
    agents = [row[0] for row in connection.execute("SELECT row FROM agent")]
    denied = any(isinstance(entry.body, kinds.Decision) and entry.body.verdict == "DENY" for entry in entries)
    changes = [entry.body for entry in entries if isinstance(entry.body, kinds.AuthorityChanged)]
    suspended = any(change.now == "SUSPENDED" for change in changes)
    assert suspended == ('"authority":"SUSPENDED"' in agents[0])
    connection.close()
    return denied, suspended


def test_a_write_ahead_log_cut_anywhere_has_the_denial_with_its_suspension_or_neither(tmp_path: Path) -> None:
    """What a killed machine leaves is a prefix of the log: in none of them does a denial stand alone."""
    house = open_house()
    run = house.run()
    wal = Path(f"{house.path}-wal")
    before = wal.stat().st_size
    house.ask(run, FATAL)
    whole = wal.read_bytes()
    seen = set()
    for size in [*range(before, len(whole), 700), len(whole) - 1, len(whole)]:
        copy = tmp_path / f"cut-{size}.db"
        shutil.copy(house.path, copy)
        Path(f"{copy}-wal").write_bytes(whole[:size])
        seen.add(found(copy))
    assert seen == {(False, False), (True, True)}


def test_a_commit_that_finds_no_room_leaves_neither_denial_nor_suspension() -> None:
    house = open_house()
    run = house.run()
    write = house.storage._write
    write.pragma("max_page_count", write.pragma("page_count"))
    long = house.proposal(run, FATAL, customer="c" * 200, reason="r" * 16_000)
    house.stage(house.gate.decide(long))
    assert house.agent().authority == "SUSPENDED"
    with pytest.raises(StorageFailed):
        house.book.commit()
    house.book.recover()
    assert house.agent().authority == "ACTIVE"
    assert found(house.path) == (False, False)
    house.ask(run, FATAL)
    assert found(house.path) == (True, True)


# ---- bounds ------------------------------------------------------------------------------------------------------


def test_a_reaction_that_feeds_itself_is_cut_off_and_nothing_of_it_stored() -> None:
    def storm(state: Any, entry: Any) -> tuple[Draft, ...]:
        more = Draft(body=kinds.Health(part="storm", state="ok", detail=""), actor="response")
        return (more,) if isinstance(entry.body, kinds.Health) else react(state, entry)

    house = House(reactions=storm)
    size = house.state.size
    with pytest.raises(Corrupt, match="reactions"):
        house.write(Draft(body=kinds.Health(part="spark", state="ok", detail=""), actor="node"))
    assert (house.storage.size(), house.state.size) == (size, size)
    house.write(Draft(body=kinds.NodeStopped(reason="after the storm"), actor="node"))


@pytest.mark.parametrize("chain", [MAX_REACTIONS, MAX_REACTIONS + 1])
def test_the_bound_of_reactions_is_exact(chain: int) -> None:
    def steps(state: Any, entry: Any) -> tuple[Draft, ...]:
        left = int(entry.body.detail) if isinstance(entry.body, kinds.Health) else 0
        body = kinds.Health(part="chain", state="ok", detail=str(left - 1))
        return (Draft(body=body, actor="response"),) if left else ()

    house = House(reactions=steps)
    first = Draft(body=kinds.Health(part="chain", state="ok", detail=str(chain)), actor="node")
    if chain > MAX_REACTIONS:
        with pytest.raises(Corrupt, match="reactions"):
            house.write(first)
    else:
        house.write(first)
        assert len(house.bodies(kinds.Health)) == chain + 1


def test_a_page_of_a_thousand_effects_of_a_thousand_customers_is_read_and_is_one_incident() -> None:
    house = open_house()
    effects = tuple(witnessed(None, str(number), customer=f"c-{number}") for number in range(1000))
    house.do(outcomes.record_effects(AGENT, effects))
    assert len({body.customer for body in house.bodies(kinds.EffectWitnessed)}) == 1000
    assert (house.state.incidents, house.state.incident[1].signals) == (1, 1000)
    assert sorted(moved(house, 0)) == sorted(["authority.changed", *WHOLE])  # the first is its activation
    house.reopen()
    assert house.book.vault.find("customer", "c-999")[0] is not None


def test_an_agent_with_ten_thousand_open_actions_is_not_too_big_to_suspend() -> None:
    """Attack: ask for more than one entry can name, start none of it, and be out of reach of every order."""
    house = open_house(RULES.replace("at_most: 6", "at_most: 900000"), tools=READ_ONLY)
    run = house.run()
    number = 10_500
    house.batch(*(house.gate.decide(read(house, run)) for _ in range(number)))
    house.suspend("piet")
    assert house.agent().authority == "SUSPENDED"
    orders = house.bodies(kinds.InterruptOrdered)
    assert [len(body.actions) for body in orders] == [INTERRUPTED_AT_ONCE, INTERRUPTED_AT_ONCE, 2500]
    assert len(house.state.incident[1].waiting) == number
    house.do(runs.close_run(run, AGENT, "done"))
    assert not house.state.action
    assert len(house.bodies(kinds.Outcome)) == number


READ_ONLY = """
  - {tool: orders.read, effect: read, custody: none, arguments: {order_id: "string(1..40)"}}
  - tool: payments.refund
    effect: irreversible
    custody: none
    executor: cooperative
    arguments: {customer_id: "string(1..200)", order_id: "string(1..40)", amount: "money(2, 0..10000)"}
"""


def read(house: House, run: int) -> Any:
    return house.proposal(run, tool="orders.read", arguments=b'{"order_id":"o"}')


# ---- backtests ---------------------------------------------------------------------------------------------------


def test_a_backtest_records_the_response_and_applies_nothing() -> None:
    house = House(mode="backtest")
    house.adopt_backtest(contract_text(with_rules("denied(small) => suspend")))
    run = house.run()
    start = house.state.size
    for amount in (SMALL, FATAL, BIG, BIG, BIG):
        house.ask(run, amount)
    house.do(outcomes.record_effects(AGENT, (witnessed(None),)))
    assert moved(house, start) == []
    assert house.agent().authority == "ACTIVE"
    assert {body.applied for body in house.bodies(kinds.Signal)} == {False}
    asked = [body.signal for body in house.bodies(kinds.Signal) if set(body.response) == set(CONTAIN)]
    assert asked == ["denied(small)", "denied(fatal)", "denied(big)", "bypass"]


def test_a_live_ledger_adopts_nothing_without_signatures() -> None:
    house = open_house()
    with pytest.raises(Refused, match="only in a backtest"):
        house.adopt_backtest(contract_text(version=2))


# ---- purity ------------------------------------------------------------------------------------------------------


def test_asking_what_follows_changes_nothing_and_answers_the_same_each_time() -> None:
    asked: list[bool] = []

    def twice(state: Any, entry: Any) -> tuple[Draft, ...]:
        before = msgspec.json.encode(state.agent), msgspec.json.encode(state.incident), len(state.dirty)
        drafts = react(state, entry)
        asked.append(react(state, entry) == drafts)
        assert before == (msgspec.json.encode(state.agent), msgspec.json.encode(state.incident), len(state.dirty))
        return drafts

    house = open_house()
    house.book._react = twice
    run = house.run()
    for amount in (FINE, SMALL, ASK, BIG, FATAL, FATAL):
        house.ask(run, amount)
    assert len(asked) > 10
    assert all(asked)


def test_the_times_of_a_response_are_those_of_what_caused_it() -> None:
    house = open_house()
    run = house.run()
    house.clock.skip(7 * SECOND_US)
    denied = house.ask(run, FATAL).entry
    assert len({entry.at for entry in house.entries(denied)}) == 1
    assert len({entry.mono_us for entry in house.entries(denied)}) == 1


def test_what_was_wrong_with_another_tool_dates_no_incident_too_early() -> None:
    house = open_house(with_rules("denied(fatal) => suspend"))
    run = house.run()
    house.ask(run, tool="nobody.lists", call="elsewhere")
    first = house.ask(run, FATAL).entry
    assert house.bodies(kinds.IncidentOpened)[0].onset_first == first


def test_a_person_s_order_dates_its_own_case() -> None:
    house = open_house()
    run = house.run()
    house.ask(run, SMALL)
    order = house.suspend("piet")
    opened = house.bodies(kinds.IncidentOpened)[0]
    assert (opened.onset_first, opened.onset_last) == (order, order)
