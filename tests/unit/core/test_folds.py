"""The folds: entries alone give the rows that were stored, and a restart changes no answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from failwell.core import kinds
from failwell.core.records import Draft, Entry
from failwell.core.state import State
from failwell.core.windows import EVER, Window
from tests.unit.gate.history import STEPS, Step, play, take
from tests.unit.gate.house import (
    AGENT,
    BIG,
    DAY_US,
    FATAL,
    HOUR_US,
    MINUTE_US,
    OTHER,
    SMALL,
    folded,
    open_house,
)

TABLES = ("workspace", "head", "person", "agent", "contract", "run", "action", "incident", "hold", "page", "witness")

#: A call id taken by one allowed action and then asked for with others, restarted, and asked again.
REUSED: list[Step] = [("ask again", 0), ("ask", 0), ("ask again", 1), ("restart", 0), ("ask again", 0)]


def memory(state: State, counted: State) -> dict[str, Any]:
    """Everything of a state that an answer can depend on; what is counted is asked for wherever `counted` has some."""
    held: dict[str, Any] = {table: dict(getattr(state, table)) for table in TABLES}
    held |= {name: getattr(state, name) for name in ("size", "last_at_us", "nonces", "incidents", "holds", "pages")}
    held["names"], held["going"] = dict(state.names), dict(state.going)
    held["calls"] = {run: dict(calls) for run, calls in state.calls.items()}
    held["windows"] = {place: state.limit_window(*place, EVER).held for place in counted.windows}
    held["signals_of"] = {place: state.signal_window(*place, EVER).held for place in counted.signals_of}
    return held


def told(entry: Entry[Any]) -> Any:
    """What an entry says, without what is random (salts, tokens) or tells when the file was opened."""
    body = entry.body
    if isinstance(body, kinds.Decision):
        uses = tuple((use.limit, use.used, use.at_most, use.reserved, getattr(use, "adds", 1)) for use in body.uses)
        return body.call, body.verdict, body.clauses, uses, body.authority, body.epoch
    if isinstance(body, kinds.TicketOpened):
        return body.ticket, body.tool, body.clauses, body.asked, body.expires_us
    if isinstance(body, kinds.Outcome):
        return body.decision, body.state
    if isinstance(body, kinds.EffectWitnessed):
        return body.decision, body.ref
    if isinstance(body, kinds.Order | kinds.RunOpened | kinds.ReleaseProposed | kinds.ReleaseApproved):
        return entry.kind
    return body


@settings(max_examples=25)
@given(STEPS)
@example(REUSED)
def test_any_history_folds_to_the_rows_that_were_stored_and_reopens_as_it_was(steps: list[Step]) -> None:
    house = open_house()
    play(house, steps)
    state, made = folded((entry, house.book.leaf(entry.seq)) for entry in house.entries())
    assert made == house.stored()
    before = memory(house.state, state)
    assert memory(state, state) == before
    house.reopen()
    assert memory(house.state, state) == before
    house.close()


@settings(max_examples=20)
@given(STEPS, st.integers(1, 4))
@example(REUSED, 1)
def test_a_ledger_that_is_restarted_all_the_time_decides_as_one_that_never_is(steps: list[Step], every: int) -> None:
    """Settled actions, closed runs and signals leave memory; the first restart loads only what can still matter."""
    steady, restless = open_house(), open_house()
    for house in (steady, restless):
        play(house, [])
    for number, step in enumerate(steps):
        if number % every == 0:
            restless.reopen()
        assert take(steady, step) == take(restless, step)
    assert [told(entry) for entry in steady.entries()] == [told(entry) for entry in restless.entries()]
    steady.close()
    restless.close()


# ---- windows -----------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=30), st.integers(0, 80), st.integers(0, 60))
def test_a_window_counts_as_a_list_would(steps: list[tuple[int, bool]], now_us: int, per_us: int) -> None:
    window, kept, at_us = Window(), [], 0
    for seq, (later_us, given_back) in enumerate(steps):
        at_us += later_us
        window.reserve(at_us, seq)
        kept.append((at_us, seq))
        if given_back:
            victim = kept.pop(later_us % len(kept))[1]
            window.release(victim)
            window.release(victim)  # twice gives back once
    expected = sum(1 for time, _ in kept if per_us == 0 or time > now_us - per_us)
    assert window.used(now_us, per_us) == expected


def test_a_window_never_goes_back_in_time() -> None:
    window = Window()
    window.reserve(100, 1)
    window.reserve(40, 2)
    assert window.used(150, 50) == 0
    assert window.used(149, 50) == 2


# ---- onset -------------------------------------------------------------------------------------------------------


def test_the_onset_is_what_the_first_signal_was_about() -> None:
    house = open_house()
    run = house.run()
    first = house.ask(run, SMALL).entry
    house.ask(run)
    house.ask(run, BIG)
    last = house.ask(run, FATAL).entry
    opened = house.bodies(kinds.IncidentOpened)[0]
    assert (opened.onset_first, opened.onset_last) == (first, last)


@pytest.mark.parametrize(("quiet_us", "begins_anew"), [(DAY_US, False), (DAY_US + 1, True)])
def test_after_a_quiet_day_what_is_noticed_is_a_new_beginning(quiet_us: int, begins_anew: bool) -> None:
    house = open_house()
    run = house.run()
    first = house.ask(run, SMALL).entry
    house.clock.skip(quiet_us)
    last = house.ask(run, FATAL).entry
    assert house.bodies(kinds.IncidentOpened)[0].onset_first == (last if begins_anew else first)


def test_noise_that_never_pauses_for_a_day_is_one_beginning() -> None:
    house = open_house()
    run = house.run()
    first = house.ask(run, SMALL).entry
    for _ in range(3):
        house.clock.skip(DAY_US - HOUR_US)
        house.ask(run, SMALL)
    house.ask(run, FATAL)
    assert house.bodies(kinds.IncidentOpened)[0].onset_first == first


def test_the_next_incident_begins_after_the_release() -> None:
    house = open_house()
    run = house.run()
    house.ask(run, SMALL)
    house.ask(run, FATAL)
    house.ask(run, FATAL)  # what a suspended agent asks for is no beginning of the next one
    house.release()
    again = house.ask(run, FATAL).entry
    assert [body.onset_first for body in house.bodies(kinds.IncidentOpened)][1] == again


# ---- single rows -------------------------------------------------------------------------------------------------


def test_a_key_that_is_not_active_opens_no_door() -> None:
    house = open_house()
    assert house.agent().key is not None
    house.write(Draft(body=kinds.AgentKey(key="AAAA", status="revoked"), actor="person:olga", agent=AGENT))
    assert house.agent().key is None


def test_an_agent_is_found_by_id_and_by_short_name_and_by_nothing_else() -> None:
    house = open_house()
    house.register(OTHER)
    assert house.state.agent_named(AGENT) == house.state.agent_named("refund-bot") == AGENT
    assert house.state.agent_named("other-bot") == OTHER
    for name in ("", "Refund-bot", "refund-bo", "shop.example", "refund-bot\n"):
        assert house.state.agent_named(name) is None


def test_a_page_is_tried_again_failed_for_good_or_accepted() -> None:
    house = open_house()
    house.ask(house.run(), FATAL)
    due = house.state.last_at_us + MINUTE_US

    def attempt(number: int, accepted: bool, next_due_us: int | None) -> None:
        body = kinds.PageAttempted(
            page=1, attempt=number, accepted=accepted, detail="", checkpoint=0, next_due_us=next_due_us
        )
        house.write(Draft(body=body, actor="node", agent=AGENT))

    attempt(1, False, due)
    assert (house.state.page[1].attempts, house.state.page[1].due_us) == (1, due)
    assert "NOTIFIED" not in house.state.incident[1].marks
    attempt(2, True, None)
    assert house.state.page == {}
    assert "NOTIFIED" in house.state.incident[1].marks
    assert '"state":"accepted"' in house.stored()["page"][1]


def test_marks_keep_the_first_entry_that_made_them() -> None:
    house = open_house()
    house.ask(house.run(), FATAL)
    first = house.acknowledge("quan")
    house.acknowledge("rita")
    assert house.state.incident[1].marks["ACKNOWLEDGED"] == first


def test_one_action_that_could_not_be_stopped_marks_the_whole_containment_as_failed() -> None:
    house = open_house()
    run = house.run()
    actions = [house.ask(run).entry for _ in range(3)]
    house.ask(run, FATAL)
    for action, state in zip(actions, ("interrupted_unconfirmed", "interrupted_confirmed", "blocked"), strict=True):
        house.stop(action, state)
    row = house.state.incident[1]
    assert row.waiting == ()
    assert "CONTAINMENT_FAILED" in row.marks
    assert "STOPPED" not in row.marks
