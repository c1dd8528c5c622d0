"""Verdicts and limits over random histories, held against a reference that counts by hand and knows no windows."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from failwell.core import kinds
from failwell.core.instants import parse_at
from failwell.core.records import Entry
from failwell.gate import outcomes
from tests.unit.gate.history import STEPS, Step, play, take
from tests.unit.gate.house import AGENT, FINE, HOUR_US, MINUTE_US, open_house

#: Used up, half of it given back, the clock pushed on, restarted, and used again.
PUSHED: list[Step] = [
    *[("ask", number) for number in (0, 1, 2, 8, 9, 7, 0)], ("settle", 0), ("settle", 1), ("settle", 0),
    ("reboot", 5), ("ask", 0), ("skip", 5), ("ask", 1), ("reboot", 0), ("restart", 0), ("ask", 2), ("ask", 0),
]  # fmt: skip
WINDOWS_US = {"per-hour": HOUR_US, "repeat": 0}


class Reference:
    """Usage of limits by hand: every reservation ever made, in the time that clocks alone cannot push on."""

    def __init__(self) -> None:
        self.withheld_us = 0
        self.reserved: dict[int, tuple[str, int, list[tuple[str, str | None]]]] = {}

    def take(self, entry: Entry[Any]) -> None:
        body = entry.body
        if isinstance(body, kinds.Clock) and body.stepped_us > MINUTE_US:
            self.withheld_us += body.stepped_us
        elif isinstance(body, kinds.Outcome) and body.state == "blocked":
            del self.reserved[body.decision]
        elif isinstance(body, kinds.Decision) and body.verdict == "ALLOW":
            held = [(use.limit, use.key) for use in body.uses]
            self.reserved[entry.seq] = str(entry.agent), parse_at(entry.at) - self.withheld_us, held

    def used(self, agent: str, use: kinds.Use, at: str) -> int:
        now_us, per_us = parse_at(at) - self.withheld_us, WINDOWS_US[use.limit]
        return sum(
            (who, limit) == (agent, (use.limit, use.key)) and (per_us == 0 or now_us - when < per_us)
            for who, when, held in self.reserved.values()
            for limit in held
        )


@settings(max_examples=30)
@given(STEPS)
@example(PUSHED)
def test_every_verdict_says_how_far_each_limit_was_used_and_follows_from_it(steps: list[Step]) -> None:
    house = open_house()
    play(house, steps)
    reference = Reference()
    for entry in house.entries():
        if isinstance(entry.body, kinds.Decision):
            body = entry.body
            fired = {clause.id: clause.then for clause in body.clauses}
            for use in body.uses:
                assert use.used == reference.used(str(entry.agent), use, entry.at)
                assert (use.limit in fired) == (use.used >= use.at_most)
                assert use.reserved == (body.verdict == "ALLOW")
            words = set(fired.values())
            assert body.verdict == ("DENY" if "deny" in words else "ESCALATE" if "escalate" in words else "ALLOW")
        reference.take(entry)
    house.close()


@settings(max_examples=30)
@given(STEPS)
@example(PUSHED)
def test_no_hour_ever_holds_more_than_the_bound_whatever_the_clocks_did(steps: list[Step]) -> None:
    house = open_house()
    play(house, steps)
    reference = Reference()
    for entry in house.entries():
        reference.take(entry)
        times = [when for who, when, _ in reference.reserved.values() if who == AGENT]
        if times:
            now_us = parse_at(entry.at) - reference.withheld_us
            assert sum(now_us - when < HOUR_US for when in times) <= 6
    house.close()


@settings(max_examples=20)
@given(STEPS)
@example(PUSHED)
def test_every_action_is_decided_once_and_ends_once_and_only_what_was_allowed_ends(steps: list[Step]) -> None:
    house = open_house()
    play(house, steps)
    allowed: set[int] = set()
    calls: Counter[tuple[int | None, str]] = Counter()
    for entry in house.entries():
        body = entry.body
        if isinstance(body, kinds.Decision):
            if body.verdict == "ALLOW":
                allowed.add(entry.seq)
                calls[entry.run, body.call] += 1
                assert body.authority in ("ACTIVE", "PROBATION")
                assert not body.errors
        elif isinstance(body, kinds.Outcome):
            allowed.remove(body.decision)  # KeyError: it ended twice, or was never allowed
    assert all(times == 1 for times in calls.values())
    assert allowed == set(house.state.running(AGENT))
    house.close()


@settings(max_examples=20)
@given(STEPS, st.integers(1, 6))
@example(PUSHED, 3)
def test_ledger_time_never_goes_back_and_chains_never_break(steps: list[Step], every: int) -> None:
    house = open_house()
    play(house, [])
    for place, step in enumerate(steps):
        play_on = [("reboot", place), step] if place % every == 0 else [step]
        for each in play_on:
            take(house, each)
    last_us, heads = 0, dict[str, tuple[int, int]]()
    for number, entry in enumerate(house.entries()):
        assert entry.seq == number
        assert parse_at(entry.at) >= last_us
        last_us = parse_at(entry.at)
        if entry.agent is not None:
            count, last = heads.get(entry.agent, (0, -1))
            assert (entry.aseq, entry.aprev) == (count, None if last < 0 else last)
            heads[entry.agent] = count + 1, entry.seq
        assert all(ref.seq < entry.seq for ref in entry.refs)
        assert all(ref.leaf == house.book.leaf(ref.seq) for ref in entry.refs)
    house.close()


@settings(max_examples=8)
@given(
    st.lists(st.lists(st.sampled_from(["ask", "ask", "block", "complete"]), max_size=8), min_size=2, max_size=8),
    st.integers(1, 7),
)
def test_callers_at_once_never_exceed_the_bound_and_blocked_alone_gives_back(
    plans: list[list[str]], at_most: int
) -> None:
    """Real threads on a real writer: each asks, and ends what it was allowed in its own way."""
    rules = f"""
limits:
  - {{id: per-hour, count: payments.refund, at_most: {at_most}, per: 1h, then: deny, severity: minor}}
"""
    house = open_house(rules)
    run = house.run()
    writer = house.writer()
    start = threading.Barrier(len(plans))

    def caller(number: int, plan: list[str]) -> None:
        mine: list[int] = []
        proposals = [house.proposal(run, FINE, call=f"{number}-{place}") for place in range(len(plan))]
        start.wait(10)
        for proposal, what in zip(proposals, plan, strict=True):
            if what == "ask":
                verdict: Any = writer.submit(house.gate.decide(proposal)).result(20)
                mine += [verdict.entry] if verdict.verdict == "ALLOW" else []
            elif mine:
                state = "blocked" if what == "block" else "completed"
                ended = outcomes.Settlement(decision=mine.pop(), state=state, by="gate")
                writer.submit(outcomes.settle(ended)).result(20)

    threads = [threading.Thread(target=caller, args=each) for each in enumerate(plans)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    reserved = most = 0
    for entry in house.entries():
        if isinstance(entry.body, kinds.Decision):
            assert (entry.body.verdict == "ALLOW") == (reserved < at_most)
            reserved += entry.body.verdict == "ALLOW"
        elif isinstance(entry.body, kinds.Outcome):
            reserved -= entry.body.state == "blocked"
        most = max(most, reserved)
    assert most <= at_most
    assert reserved == house.state.used(AGENT, "per-hour", None, house.state.last_at_us, HOUR_US)
    writer.close()


def test_the_reference_would_notice_a_limit_that_forgets() -> None:
    """The reference is held against a mistake: usage that a restart loses."""
    house = open_house()
    play(house, PUSHED[:4])
    house.state.windows.clear()
    house.ask(next(iter(house.state.run)), FINE)
    reference, wrong = Reference(), 0
    for entry in house.entries():
        if isinstance(entry.body, kinds.Decision):
            wrong += sum(use.used != reference.used(AGENT, use, entry.at) for use in entry.body.uses)
        reference.take(entry)
    assert wrong
