"""Reactions over random histories: contained once, never half, never of a stopped agent, and the same when replayed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings

from failwell.core import kinds, rows
from failwell.core.machines import AUTHORITY, INCIDENT, SEVERITIES
from failwell.core.records import Entry, decode_entry, encode_entry
from failwell.identity import keys
from failwell.ledger.book import MAX_REACTIONS
from failwell.verify.conduct import Conduct
from failwell.verify.finding import Findings
from tests.unit.gate.history import STEPS, Step, play
from tests.unit.gate.house import AGENT, House, open_house

#: Contained by a rule, released, contained by a person, and asked for more all the while.
TWICE: list[Step] = [
    ("ask", 5), ("ask", 5), ("ask", 0), ("release", 0), ("ask", 0), ("suspend", 1), ("suspend", 0), ("ask", 5),
    ("release", 0), ("witness", 1),
]  # fmt: skip


def history(steps: list[Step]) -> House:
    house = open_house()
    play(house, steps)
    return house


def authorities(house: House) -> Iterator[tuple[Entry[Any], str]]:
    """Each entry of the agent with the authority that it was written under."""
    now = "REGISTERED"
    for entry in house.entries():
        if entry.agent == AGENT:
            yield entry, now
            if isinstance(entry.body, kinds.AuthorityChanged):
                now = entry.body.now


@settings(max_examples=20)
@given(STEPS)
@example(TWICE)
def test_a_stopped_agent_gets_nothing_and_sets_nothing_in_motion(steps: list[Step]) -> None:
    house = history(steps)
    for entry, authority in authorities(house):
        body = entry.body
        if isinstance(body, kinds.Decision):
            assert body.authority == authority
            assert authority != "SUSPENDED" or body.verdict == "DENY"
        if isinstance(body, kinds.Signal) and authority == "SUSPENDED" and body.applied:
            # Raised before the stop by the same commit, or a person's second order: neither does anything twice.
            assert entry.at == house.entries(body.about)[0].at
    house.close()


@settings(max_examples=20)
@given(STEPS)
@example(TWICE)
def test_every_suspension_is_a_whole_containment_and_every_containment_is_one(steps: list[Step]) -> None:
    house = history(steps)
    changes = [entry for entry in house.entries() if isinstance(entry.body, kinds.AuthorityChanged)]
    by_agent: dict[str, list[kinds.AuthorityChanged]] = {}
    for entry in changes:
        by_agent.setdefault(str(entry.agent), []).append(entry.body)
        if entry.body.now == "SUSPENDED":
            row = house.state.incident[entry.body.incident or 0]
            assert {"DETECTED", "ORDERED", "SUSPENDED", "HELD"} <= set(row.marks)
            same = [each for each in house.entries() if getattr(each.body, "incident", None) == entry.body.incident]
            # One commit has one ledger time and one look at the boot clock.
            whole = [each for each in same if (each.at, each.mono_us) == (entry.at, entry.mono_us)]
            opened = {type(each.body) for each in whole}
            assert opened >= {kinds.IncidentOpened, kinds.InterruptOrdered, kinds.HoldPlaced, kinds.PageQueued}
            for once in (kinds.IncidentOpened, kinds.HoldPlaced, kinds.PageQueued):
                assert sum(isinstance(each.body, once) for each in same) == 1
    for steps_taken in by_agent.values():
        assert all(change.now in AUTHORITY[change.was] for change in steps_taken)
        epochs = [change.epoch for change in steps_taken]
        assert epochs == sorted(set(epochs))
    house.close()


@settings(max_examples=20)
@given(STEPS)
@example(TWICE)
def test_cases_are_numbered_bounded_and_only_grow_more_severe(steps: list[Step]) -> None:
    house = history(steps)
    state: dict[int, tuple[str, str]] = {}
    for entry in house.entries():
        body = entry.body
        if isinstance(body, kinds.IncidentOpened):
            assert body.incident == len(state) + 1
            assert body.onset_first <= body.onset_last < entry.seq
            assert [ref.seq for ref in entry.refs] == [body.signal]
            state[body.incident] = "OPEN", body.severity
        elif isinstance(body, kinds.IncidentUpdated):
            was, severity = state[body.incident]
            assert body.state == was or body.state in INCIDENT[was]
            assert SEVERITIES.index(body.severity) >= SEVERITIES.index(severity)
            state[body.incident] = body.state, body.severity
    open_cases = [row for row in house.state.agent.values() if row.incident is not None]
    assert all(house.state.incident[row.incident or 0].state in ("OPEN", "TRIAGED") for row in open_cases)
    house.close()


@settings(max_examples=20)
@given(STEPS)
@example(TWICE)
def test_an_order_to_stop_names_all_that_was_open_and_nothing_twice_in_one_case(steps: list[Step]) -> None:
    house = history(steps)
    open_now: dict[int, str] = {}
    ordered: dict[int, set[int]] = {}
    for entry in house.entries():
        body = entry.body
        if isinstance(body, kinds.Decision) and body.verdict == "ALLOW":
            open_now[entry.seq] = str(entry.agent)
        elif isinstance(body, kinds.Outcome):
            del open_now[body.decision]
        elif isinstance(body, kinds.InterruptOrdered) and body.incident is not None:
            before = ordered.setdefault(body.incident, set())
            running = {action for action, agent in open_now.items() if agent == entry.agent}
            assert set(body.actions) == running - before
            before |= set(body.actions)
    house.close()


# ---- replayed by another program ---------------------------------------------------------------------------------


def judged(house: House, entries: list[Entry[Any]]) -> list[str]:
    """What the offline verifier finds in verdicts and reactions; people here are enrolled without orders."""
    findings = Findings()
    conduct = Conduct(findings, keys.verify)
    for entry in entries:
        conduct.take(entry, house.book.leaf(entry.seq))
    conduct.end()
    return [code for code in findings.counts if code.startswith(("entry.", "decision.", "action.", "reaction."))]


@settings(max_examples=20)
@given(STEPS)
@example(TWICE)
def test_another_program_finds_every_reaction_where_and_as_it_must_be(steps: list[Step]) -> None:
    house = history(steps)
    assert judged(house, house.entries()) == []
    house.close()


@settings(max_examples=10)
@given(STEPS)
@example(TWICE)
def test_entries_read_back_are_entries_written(steps: list[Step]) -> None:
    house = history(steps)
    for row in house.storage.entries(0, 100_000):
        assert encode_entry(decode_entry(row.data)) == row.data
    for table, kept in house.stored().items():
        for text in kept.values():
            assert rows.encode_row(rows.decode_row(table, text)) == text
    house.close()


@pytest.mark.parametrize("applied", [True, False])
def test_a_signal_whose_response_was_struck_out_is_found(applied: bool) -> None:
    """Attack: keep the denial, record its signal as not applied, and leave out the suspension."""
    house = open_house()
    run = house.run()
    house.ask(run, "3.00")
    entries = house.entries()
    place = next(place for place, entry in enumerate(entries) if isinstance(entry.body, kinds.Signal))
    if not applied:
        body = msgspec.structs.replace(entries[place].body, applied=False)
        entries[place] = msgspec.structs.replace(entries[place], body=body)
        entries = entries[: place + 1]
    assert bool(judged(house, entries)) == (not applied)


def test_the_longest_honest_chain_is_far_from_the_bound() -> None:
    house = open_house()
    play(house, TWICE)
    runs: dict[tuple[str, int], int] = {}
    for entry in house.entries():
        if entry.actor == "response":
            runs[entry.at, entry.mono_us] = runs.get((entry.at, entry.mono_us), 0) + 1
    assert max(runs.values()) < MAX_REACTIONS / 4
