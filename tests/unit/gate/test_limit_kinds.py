"""Every kind of limit at its exact edge: what it counts, what takes of it, what gives it back, and over a restart."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.projections import KEPT_DONE, MOST_USED
from failwell.core.windows import Window
from failwell.gate import runs
from tests.unit.gate.house import AGENT, DAY_US, HOUR_US, MINUTE_US, SECOND_US, House, open_house

SUM = "{id: budget, sum: payments.refund.amount, at_most: 1000, per: 1h, then: deny}"
RATE = "{id: asked, rate: payments.refund, at_most: 3, per: 1m, then: deny}"
CONCURRENT = "{id: running, concurrent: payments.refund, at_most: 2, then: deny}"
COOLDOWN = "{id: pause, cooldown: payments.refund, per: 10m, keys: [order_id], then: deny}"
SEQUENCE = "{id: seen, sequence: payments.refund, after: orders.read, keys: [order_id], then: deny}"
CEILING = "clauses:\n  - {id: ceiling, deny: payments.refund, when: context.args.amount == 100}\n"

#: How an action may end without being proved not to have started.
RAN = ("completed", "failed", "interrupted_confirmed", "interrupted_unconfirmed", "unknown")


def limited(*limits: str, more: str = "") -> House:
    return open_house(f"\n{more}limits:\n" + "".join(f"  - {limit}\n" for limit in limits))


def refund(house: House, run: int, amount: str = "1.01", order: str | None = None) -> str:
    """What a refund that is never ended gets."""
    return house.ask(run, amount, order=order).verdict


def read(house: House, run: int, order: str, state: str = "completed") -> int:
    """Read an order, and how that ended."""
    verdict = house.ask(run, tool="orders.read", arguments=f'{{"order_id": "{order}"}}'.encode())
    assert verdict.verdict == "ALLOW"
    house.settle(verdict.entry, state)
    return verdict.entry


def newest_use(house: House, limit: str) -> tuple[int, int, int]:
    """(used, adds, at most) of a limit in the newest decision."""
    use = next(use for use in house.bodies(kinds.Decision2)[-1].uses if use.limit == limit)
    return use.used, use.adds, use.at_most


# ---- sum -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R2.5")
def test_a_sum_is_full_to_the_cent_and_empties_with_its_window() -> None:
    house = limited(SUM)
    run = house.run()
    assert [refund(house, run, amount) for amount in ("6.00", "4.01", "4.00", "0.01")] == [
        "ALLOW", "DENY", "ALLOW", "DENY",
    ]  # fmt: skip
    assert newest_use(house, "budget") == (1000, 1, 1000)
    house.clock.skip(HOUR_US - 1)
    assert refund(house, run, "0.01") == "DENY"
    house.clock.skip(1)
    assert [refund(house, run, amount) for amount in ("10.00", "0.01")] == ["ALLOW", "DENY"]


@pytest.mark.requirement("R2.5")
def test_a_sum_outlives_a_restart_and_a_blocked_amount_comes_back_whole() -> None:
    house = limited(SUM)
    run = house.run()
    house.ask(run, "2.00")
    blocked = house.ask(run, "7.50").entry
    house.ask(run, "0.50")
    house.reopen()
    assert refund(house, run, "0.01") == "DENY"
    house.settle(blocked, "blocked")
    assert refund(house, run, "7.51") == "DENY"
    house.reopen()
    assert refund(house, run, "7.51") == "DENY"
    assert refund(house, run, "7.50") == "ALLOW"


def test_nothing_can_be_added_to_a_full_sum_and_nothing_of_nothing_can() -> None:
    house = limited(SUM)
    run = house.run()
    assert [refund(house, run, amount) for amount in ("10.00", "0.00", "0.01")] == ["ALLOW", "ALLOW", "DENY"]


def test_a_sum_of_what_is_only_recorded_never_outgrows_an_entry() -> None:
    """Attack: amounts that add up to more than a number in an entry can be would leave the denial unrecorded."""
    tools = """
  - {tool: act, effect: read, custody: none, arguments: {n: "int(0..9007199254740990)"}}
"""
    limit = "{id: all, sum: act.n, at_most: 5, per: 1h, then: record}"
    house = open_house(f"\nlimits:\n  - {limit}\n", tools=tools)
    run = house.run()
    for number in range(2100):
        proposal = house.proposal(run, tool="act", arguments=b'{"n": 9007199254740990}', call=f"c{number}")
        house.stage(house.gate.decide(proposal))
    house.book.commit()
    assert newest_use(house, "all") == (MOST_USED, 2**53 - 2, 5)
    assert house.state.limit_window(AGENT, "all", None, 0).total(house.state.last_at_us, HOUR_US) > 2**64


def test_a_sum_over_ten_thousand_is_as_fast_as_over_ten() -> None:
    took = []
    for held in (10, 10_000):
        window = Window()
        for seq in range(held):
            window.reserve(seq, seq, seq % 7)
        took.append(min(timed(lambda window=window, held=held: window.total(held, held // 2)) for _ in range(20)))
    assert took[1] < 20 * took[0], took


def timed(what: Any) -> float:
    began = time.perf_counter()
    for _ in range(100):
        what()
    return time.perf_counter() - began


# ---- rate ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R2.11")
def test_a_rate_counts_what_was_asked_for_whatever_was_said_and_whatever_came_of_it() -> None:
    house = limited(RATE, more=CEILING)
    run = house.run()
    assert [refund(house, run, amount) for amount in ("1.00", "1.00")] == ["DENY", "DENY"]
    blocked = house.ask(run, "2.00")
    assert blocked.verdict == "ALLOW"
    house.settle(blocked.entry, "blocked")
    house.clock.skip(MINUTE_US - 1)
    assert house.ask(run, "2.00").clauses == ("asked",)
    house.reopen()
    house.clock.skip(1)
    # The three are out of the window; the denied fourth was asked for too, and still is in it.
    assert [refund(house, run, "2.00") for _ in range(3)] == ["ALLOW", "ALLOW", "DENY"]


# ---- concurrent ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R2.12")
@pytest.mark.parametrize("state", [*RAN, "blocked"])
def test_what_runs_at_a_time_makes_room_however_it_ends(state: str) -> None:
    house = limited(CONCURRENT)
    run = house.run()
    first = house.ask(run).entry
    assert [refund(house, run), refund(house, run)] == ["ALLOW", "DENY"]
    house.clock.skip(400 * DAY_US)
    house.reopen()
    assert refund(house, run) == "DENY"
    house.settle(first, state)
    assert [refund(house, run), refund(house, run)] == ["ALLOW", "DENY"]
    assert list(house.state.going.values()) == [2]
    for action in house.state.running(AGENT):
        house.settle(action)
    assert house.state.going == {}


def test_what_runs_at_a_time_may_be_bounded_for_each_run() -> None:
    house = limited(CONCURRENT.replace("then", "each: [run], then"))
    first, second = house.run(), house.run()
    assert [refund(house, run) for run in (first, first, first, second)] == ["ALLOW", "ALLOW", "DENY", "ALLOW"]
    house.do(runs.close_run(first, AGENT, "done"))
    assert list(house.state.going.values()) == [1]


# ---- cooldown and counts of all time -------------------------------------------------------------------------------


def test_a_cooldown_is_over_exactly_when_it_says_for_the_same_values() -> None:
    house = limited(COOLDOWN)
    run = house.run()
    assert [refund(house, run, order="a"), refund(house, run, order="b")] == ["ALLOW", "ALLOW"]
    house.clock.skip(10 * MINUTE_US - 1)
    assert refund(house, run, order="a") == "DENY"
    house.clock.skip(1)
    house.reopen()
    assert refund(house, run, order="a") == "ALLOW"


def test_a_count_without_a_window_counts_for_ever_or_for_the_run() -> None:
    ever = "{id: ever, count: payments.refund, at_most: 3, then: deny}"
    here = "{id: here, count: payments.refund, at_most: 2, each: [run], then: deny}"
    house = limited(ever, here)
    first, second = house.run(), house.run()
    assert [refund(house, first) for _ in range(3)] == ["ALLOW", "ALLOW", "DENY"]
    house.clock.skip(400 * DAY_US)
    house.reopen()
    assert house.ask(first).clauses == ("here",)
    assert refund(house, second) == "ALLOW"
    assert house.ask(second).clauses == ("ever",)


@pytest.mark.parametrize(("each", "second"), [("principal", "DENY"), ("run", "ALLOW"), ("subject", "ALLOW")])
def test_a_limit_is_kept_apart_for_what_it_names(each: str, second: str) -> None:
    house = limited(f"{{id: one, count: payments.refund, at_most: 1, each: [{each}], then: deny}}")
    first, again = house.run(principal="customer:1"), house.run(principal="customer:1")
    other = house.run(principal="customer:2")
    assert house.ask(first, customer="c").verdict == "ALLOW"
    assert house.ask(again, customer="d").verdict == second
    assert house.ask(other, customer="e").verdict == "ALLOW"
    assert house.ask(other, customer="c").verdict == "DENY"


# ---- sequence ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R2.13")
def test_an_action_stands_on_one_that_was_completed_before_it_in_its_run() -> None:
    house = limited(SEQUENCE)
    run, other = house.run(), house.run()
    assert house.ask(run, order="a").clauses == ("seen",)
    read(house, run, "a")
    assert newest_use(house, "seen") == (0, 1, 1)
    assert refund(house, run, order="b") == "DENY"
    assert refund(house, other, order="a") == "DENY"
    house.reopen()
    assert [refund(house, run, order="a") for _ in range(2)] == ["ALLOW", "ALLOW"]
    assert newest_use(house, "seen") == (1, 1, 1)


@pytest.mark.requirement("R2.13")
@pytest.mark.parametrize("state", [*RAN[1:], "blocked"])
def test_what_was_not_completed_is_nothing_to_stand_on(state: str) -> None:
    house = limited(SEQUENCE)
    run = house.run()
    read(house, run, "a", state)
    assert refund(house, run, order="a") == "DENY"


def test_what_still_runs_is_nothing_to_stand_on() -> None:
    house = limited(SEQUENCE)
    run = house.run()
    asked = house.ask(run, tool="orders.read", arguments=b'{"order_id": "a"}')
    assert refund(house, run, order="a") == "DENY"
    house.reopen()  # what it gives is remembered by the open action
    house.settle(asked.entry)
    assert refund(house, run, order="a") == "ALLOW"


def test_of_too_much_that_was_completed_the_oldest_is_forgotten_and_denies() -> None:
    """Attack: a loop that makes a run remember ever more."""
    house = limited(SEQUENCE)
    run = house.run()
    for number in range(KEPT_DONE + 1):
        read(house, run, f"o-{number}")
    assert len(house.state.run[run].done) == KEPT_DONE
    assert refund(house, run, order="o-0") == "DENY"
    assert refund(house, run, order="o-1") == "ALLOW"


# ---- blast ---------------------------------------------------------------------------------------------------------


def test_a_budget_of_what_cannot_be_undone_counts_over_all_such_tools() -> None:
    tools = """
  - {tool: look, effect: read, custody: none, arguments: {n: "money(2, 0..100)"}}
  - {tool: pay, effect: irreversible, custody: none, arguments: {n: "money(2, 0..100)"}, affects: {amount: n}}
  - {tool: send, effect: irreversible, custody: none, arguments: {m: "money(2, 0..100)"}, affects: {amount: m}}
"""
    limits = (
        "  - {id: acts, blast: actions, at_most: 3, per: 1d, then: deny}\n"
        "  - {id: worth, blast: amount, at_most: 500, per: 1d, then: escalate}\n"
    )
    house = open_house(f"\nlimits:\n{limits}", tools=tools)
    run = house.run()

    def act(tool: str, arguments: str) -> tuple[str, ...]:
        return house.ask(run, tool=tool, arguments=arguments.encode()).clauses

    assert [act("look", '{"n": 90}') for _ in range(5)] == [()] * 5
    assert act("pay", '{"n": 3}') == ()
    assert act("send", '{"m": 2.01}') == ("worth",)
    assert act("send", '{"m": 1}') == ()
    assert act("pay", '{"n": 1}') == ()
    assert act("send", '{"m": 0}') == ("acts",)
    house.reopen()
    assert act("pay", '{"n": 0.01}') == ("acts", "worth")


# ---- clocks, restriction, more than one agent ------------------------------------------------------------------------


@pytest.mark.requirement("R2.10")
@pytest.mark.parametrize("limit", [SUM, RATE, COOLDOWN])
def test_a_wall_clock_set_forward_beside_a_running_node_frees_no_kind_of_window(limit: str) -> None:
    """Attack: less than a minute each time, which a boot would be believed."""
    house = limited(re.sub("per: [0-9]+[mh]", "per: 1m", limit))
    run = house.run()
    while refund(house, run, "5.00", order="a") == "ALLOW":
        pass
    for _ in range(3):
        house.clock.wall += 50 * SECOND_US
        draft = house.book.drift_draft()
        assert draft is not None
        house.write(draft)
        assert refund(house, run, "5.00", order="a") == "DENY"
    house.clock.skip(MINUTE_US)
    assert refund(house, run, "5.00", order="a") == "ALLOW"


@pytest.mark.parametrize("limit", [SUM, RATE, COOLDOWN])
def test_a_wall_clock_set_forward_frees_no_kind_of_window(limit: str) -> None:
    house = limited(limit)
    run = house.run()
    while refund(house, run, "5.00", order="a") == "ALLOW":
        pass
    house.clock.reboot(30 * DAY_US)
    house.reopen()
    assert refund(house, run, "5.00", order="a") == "DENY"
    house.clock.skip(HOUR_US)
    assert refund(house, run, "5.00", order="a") == "ALLOW"


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [
        (SUM, 5),
        ("{id: b, count: payments.refund, at_most: 3, then: deny}", 1),
        (RATE, 1),
        (CONCURRENT, 1),
        ("{id: b, blast: amount, at_most: 299, then: deny}", 1),
        ("{id: b, blast: actions, at_most: 5, then: deny}", 2),
        ("{id: b, once_per: payments.refund, keys: [amount], then: deny}", 1),
        ("{id: b, cooldown: payments.refund, per: 1d, then: deny}", 1),
    ],
)
def test_restriction_halves_what_is_an_amount_and_nothing_that_is_an_order(limit: str, allowed: int) -> None:
    house = open_house(f"\nlimits:\n  - {limit}\nrestricted: {{irreversible: allow, limits: half}}\n")
    house.suspend("quan")
    house.release()
    run = house.run()
    assert [refund(house, run, "1.00") for _ in range(allowed + 1)] == ["ALLOW"] * allowed + ["DENY"]
