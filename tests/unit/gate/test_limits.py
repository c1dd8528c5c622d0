"""Limits at their exact edges: windows, clocks that jump, restriction, and callers who come all at once."""

from __future__ import annotations

import threading

import pytest

from failwell.core import kinds
from failwell.core.instants import parse_at
from failwell.gate import outcomes
from failwell.gate.outcomes import Settlement
from failwell.gate.verdicts import Verdict
from tests.unit.gate.house import AGENT, DAY_US, FINE, HOUR_US, MINUTE_US, SMALL, House, decided, open_house

THREE = """
limits:
  - {id: per-hour, count: payments.refund, at_most: 3, per: 1h, then: deny, severity: minor}
"""
ONCE = """
limits:
  - {id: once, once_per: payments.refund, keys: [order_id], then: deny, severity: minor}
  - {id: daily, once_per: payments.refund, keys: [customer_id], per: 1d, then: escalate, severity: minor}
"""


def allowed(house: House, run: int, number: int = 1) -> list[str]:
    return [house.ask(run).verdict for _ in range(number)]


def test_a_count_is_full_exactly_at_its_bound_and_empties_exactly_after_its_window() -> None:
    house = open_house(THREE)
    run = house.run()
    assert allowed(house, run, 4) == ["ALLOW"] * 3 + ["DENY"]
    house.clock.skip(HOUR_US - 1)
    assert allowed(house, run) == ["DENY"]
    house.clock.skip(1)
    assert allowed(house, run, 4) == ["ALLOW"] * 3 + ["DENY"]


def test_a_denied_or_escalated_action_reserves_nothing() -> None:
    house = open_house(THREE.replace("limits:", "clauses:\n  - {id: c, deny: payments.refund, "
                                     "when: context.args.amount == 100, severity: minor}\nlimits:"))  # fmt: skip
    run = house.run()
    for _ in range(5):
        assert house.ask(run, SMALL).verdict == "DENY"
    assert allowed(house, run, 4) == ["ALLOW"] * 3 + ["DENY"]


def test_once_is_once_for_ever_and_once_a_day_is_once_a_day() -> None:
    house = open_house(ONCE)
    run = house.run()
    assert house.ask(run, order="a", customer="c").verdict == "ALLOW"
    assert house.ask(run, order="a", customer="d").clauses == ("once",)
    assert house.ask(run, order="b", customer="c").clauses == ("daily",)
    house.clock.skip(DAY_US)
    assert house.ask(run, order="b", customer="c").verdict == "ALLOW"
    house.clock.skip(400 * DAY_US)
    house.reopen()
    assert house.ask(run, order="a", customer="c").clauses == ("once",)


def test_the_key_of_two_values_is_not_the_key_of_their_text_run_together() -> None:
    house = open_house(ONCE.replace("keys: [order_id]", "keys: [order_id, customer_id]"))
    run = house.run()
    assert house.ask(run, order="a", customer="bc").verdict == "ALLOW"
    assert "once" not in house.ask(run, order="ab", customer="c").clauses
    assert "once" not in house.ask(run, order='a","', customer="bc").clauses
    assert "once" in house.ask(run, order="a", customer="bc").clauses


def test_two_limits_over_one_key_value_have_a_window_each() -> None:
    house = open_house(ONCE.replace("keys: [customer_id]", "keys: [order_id]"))
    run = house.run()
    house.ask(run, order="a")
    assert house.ask(run, order="a").clauses == ("once", "daily")
    assert len({use.key for use in house.bodies(kinds.Decision)[0].uses}) == 2


# ---- clocks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step_us", "freed"), [(MINUTE_US, True), (MINUTE_US + 1, False), (30 * DAY_US, False)])
def test_a_forward_step_of_the_wall_clock_over_a_minute_frees_no_window(step_us: int, freed: bool) -> None:
    house = open_house(THREE)
    run = house.run()
    allowed(house, run, 3)
    house.clock.skip(HOUR_US - MINUTE_US)
    house.ask(run)
    house.clock.reboot(step_us)
    house.reopen()
    assert allowed(house, run) == ["ALLOW" if freed else "DENY"]
    house.clock.skip(MINUTE_US - 1 if not freed else 0)
    if not freed:
        assert allowed(house, run) == ["DENY"]
        house.clock.skip(1)
        assert allowed(house, run) == ["ALLOW"]


def test_steps_that_were_withheld_add_up_and_stay_withheld_over_restarts() -> None:
    house = open_house(THREE)
    run = house.run()
    allowed(house, run, 3)
    for _ in range(4):
        house.clock.reboot(2 * HOUR_US)
        house.reopen()
        assert allowed(house, run) == ["DENY"]
    assert house.state.workspace[1].withheld_us == 8 * HOUR_US
    house.reopen()
    house.clock.skip(HOUR_US)
    assert allowed(house, run) == ["ALLOW"]


@pytest.mark.parametrize("step_us", [-1, -MINUTE_US, -400 * DAY_US])
def test_a_wall_clock_set_back_does_not_turn_the_ledger_s_time_back(step_us: int) -> None:
    house = open_house(THREE)
    run = house.run()
    allowed(house, run, 3)
    before = house.state.last_at_us
    house.clock.reboot(step_us)
    house.reopen()
    assert house.state.last_at_us >= before
    assert house.bodies(kinds.Clock)[-1].stepped_us == 0
    assert allowed(house, run) == ["DENY"]
    house.clock.skip(HOUR_US)
    assert allowed(house, run) == ["ALLOW"]


def test_within_one_boot_the_wall_clock_means_nothing() -> None:
    house = open_house(THREE)
    run = house.run()
    allowed(house, run, 3)
    house.clock.wall += 30 * DAY_US
    house.reopen()
    assert allowed(house, run) == ["DENY"]


def test_a_boot_clock_that_goes_back_gives_no_time() -> None:
    """A virtual machine set back to a snapshot keeps its boot id."""
    house = open_house(THREE)
    run = house.run()
    house.clock.skip(HOUR_US)
    allowed(house, run, 3)
    before = house.state.last_at_us
    house.clock.mono -= HOUR_US
    assert allowed(house, run) == ["DENY"]
    assert house.state.last_at_us == before


def test_the_time_that_judging_takes_is_not_lost_to_the_ledger() -> None:
    """Each look at this clock costs a millisecond: what passes between two looks of one job still passed."""
    house = open_house(THREE)
    run = house.run()
    first = house.entries(house.ask(run).entry)[0]
    stand = house.clock.mono_us

    def look() -> int:
        house.clock.skip(1000)
        return stand()

    house.clock.mono_us = look  # type: ignore[method-assign]
    for _ in range(20):
        house.ask(run)
    last = house.entries()[-1]
    assert parse_at(last.at) - parse_at(first.at) == last.mono_us - first.mono_us
    assert last.mono_us > first.mono_us


# ---- restriction -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at_most", "half"), [(3, 1), (4, 2), (1, 0)])
def test_an_agent_on_probation_has_half_of_its_counts_rounded_down(at_most: int, half: int) -> None:
    rules = THREE.replace("at_most: 3", f"at_most: {at_most}") + "restricted: {irreversible: allow, limits: half}\n"
    house = open_house(rules)
    run = house.run()
    house.suspend("quan")
    house.release()
    assert allowed(house, run, half + 1) == ["ALLOW"] * half + ["DENY"]
    assert house.bodies(kinds.Decision)[-1].uses[0].at_most == half


def test_what_was_used_before_the_restriction_counts_against_the_half() -> None:
    rules = THREE + "restricted: {irreversible: allow, limits: half}\n"
    response = "response:\n  - {signal: denied(per-hour), do: [restrict]}\n"
    house = open_house(rules + response)
    run = house.run()
    assert allowed(house, run, 4) == ["ALLOW"] * 3 + ["DENY"]
    assert house.agent().authority == "RESTRICTED"
    house.clock.skip(HOUR_US)
    assert allowed(house, run, 2) == ["ALLOW", "DENY"]


def test_a_contract_may_say_that_limits_stay_the_same() -> None:
    house = open_house(THREE + "restricted: {irreversible: allow, limits: same}\n")
    run = house.run()
    house.suspend("quan")
    house.release()
    assert allowed(house, run, 4) == ["ALLOW"] * 3 + ["DENY"]


# ---- all at once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("callers", [2, 16])
def test_callers_who_come_at_once_never_get_more_than_the_bound(callers: int) -> None:
    house = open_house(THREE.replace("at_most: 3", "at_most: 10"))
    run = house.run()
    writer = house.writer()
    verdicts: list[Verdict] = []
    start = threading.Barrier(callers)

    def call(number: int) -> None:
        proposals = [house.proposal(run, FINE, call=f"{number}-{turn}", order="o", customer="c") for turn in range(8)]
        start.wait(10)
        for proposal in proposals:
            verdict = decided(writer.submit(house.gate.decide(proposal)).result(20))
            verdicts.append(verdict)
            if verdict.verdict == "ALLOW" and number % 2:
                done = Settlement(decision=verdict.entry, state="completed", by="supervisor")
                writer.submit(outcomes.settle(done)).result(20)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    try:
        assert len(verdicts) == callers * 8
        assert sum(verdict.verdict == "ALLOW" for verdict in verdicts) == 10
        assert house.state.used(AGENT, "per-hour", None, house.state.last_at_us, HOUR_US) == 10
    finally:
        writer.close()


def test_two_who_share_a_commit_share_the_last_place_not_take_it_twice() -> None:
    house = open_house(THREE)
    run = house.run()
    allowed(house, run, 2)
    staged = house.batch(*(house.gate.decide(house.proposal(run)) for _ in range(3)))
    assert [verdict.verdict for verdict in staged] == ["ALLOW", "DENY", "DENY"]


def test_a_blocked_action_gives_its_place_to_the_next_in_the_same_commit() -> None:
    house = open_house(THREE)
    run = house.run()
    first = house.ask(run).entry
    allowed(house, run, 2)
    give_back = outcomes.settle(Settlement(decision=first, state="blocked", by="gate"))
    staged = house.batch(give_back, *(house.gate.decide(house.proposal(run)) for _ in range(2)))
    assert [verdict.verdict for verdict in staged[1:]] == ["ALLOW", "DENY"]


def test_a_batch_that_was_lost_reserved_nothing_and_minted_nothing() -> None:
    house = open_house(ONCE)
    run = house.run()
    house.stage(house.gate.decide(house.proposal(run, order="a", customer="c")))
    house.book.recover()
    assert house.book.vault.find("customer", "c")[0] is None
    assert house.ask(run, order="a", customer="c").verdict == "ALLOW"
