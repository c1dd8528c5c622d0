"""Undoing what was stopped on its way: what is ordered when, begun once, ended in a word, and told to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from failwell.core import kinds, orders, rows, undoing
from failwell.core.errors import Corrupt, FailwellError, NotFound, Refused
from failwell.core.instants import format_at
from failwell.core.records import Draft, Entry, decode_entry
from failwell.gate.outcomes import Witnessed, record_effects
from failwell.identity import keys
from failwell.identity.persons import verify_order
from failwell.ports.executor import Ended
from failwell.response import compensation
from failwell.response.compensation import Due, Seen, begin, due_besides, end, order_undoing, seen_of
from failwell.response.undone import summary, undoings
from failwell.verify.conduct import Conduct
from failwell.verify.enforcement import prove
from failwell.verify.finding import Findings
from tests.unit.gate.house import AGENT, MINUTE_US, OTHER, SECOND_US, TOOLS, House, contract_text, folded

UNDONE = TOOLS.replace(
    "    custody: none\n    deadline: 10s\n", "    custody: none\n    deadline: 10s\n    compensate: payments.cancel\n"
)
IDEMPOTENT = UNDONE + "  - {tool: payments.cancel, effect: reversible, custody: none, idempotent: true}\n"
STOPPED = ("interrupted_confirmed", "completed_after_interrupt", "completed", "failed", "unknown")
REVERSED = Seen(state="reversed", detail="payments.cancel says so", exit_code=0, elapsed_us=5)
CONFIG = '{"tools":[["payments.cancel",{"command":["/bin/cancel"]}]]}'


def furnish(house: House, tools: str = UNDONE, rules: str = "") -> int:
    house.people()
    house.register()
    house.write(Draft(body=kinds.Config(digest="0" * 64, text=CONFIG), actor="person:olga"))
    house.adopt(contract_text(rules, tools=tools))
    return house.run()


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.close()


def stop(house: House, state: str = "interrupted_confirmed", run: int | None = None) -> int:
    """A refund that was ordered to stop while it ran, and ended so; its decision."""
    decision = house.ask(furnish(house) if run is None else run).entry
    house.suspend("piet")
    house.stop(decision, state)
    return decision


def due(house: House, *known: int) -> tuple[Due, ...]:
    return house.do(due_besides(frozenset(known)))


def ordered(house: House) -> list[kinds.CompensationOrdered]:
    return house.bodies(kinds.CompensationOrdered)


def undo(house: House, seen: Seen = REVERSED) -> Due:
    """Take up the one undoing that is due, to its end."""
    (found,) = due(house)
    number = house.do(begin(found))
    assert number is not None
    assert house.do(end(found.decision, number, seen)) is not None
    return found


def order(house: House, person: str, decision: int, **changed: Any) -> int:
    digest = house.agent().contract
    named: dict[str, Any] = {
        "action": decision, "tool": "payments.refund", "step": "payments.cancel", "contract": digest,
        "reason": "it was the wrong customer", **changed,
    }  # fmt: skip
    return house.do(
        order_undoing(house.sign(person, "action.compensate", orders.ActionCompensate(**named)), verify_order)
    )


class Noted(Findings):
    """What verification says, one line a finding."""

    def add(self, step: int, code: str, message: str, **where: Any) -> None:
        super().add(step, code, message, **where)
        self.said = (*getattr(self, "said", ()), f"{code}: {message}")


def faults(
    house: House, *, people: bool = False, tampered: Callable[[Entry[Any]], Entry[Any]] = lambda e: e
) -> list[str]:
    """What is found in the conduct of the entries; without what this house writes down of people by itself."""
    findings = Noted()
    conduct = Conduct(findings, keys.verify)
    for row in house.storage.entries(0, 1_000_000):
        conduct.take(tampered(decode_entry(row.data)), row.leaf.hex())
    conduct.end()
    return [said for said in getattr(findings, "said", ()) if people or "stands before it" not in said]


# ---- when ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STOPPED)
def test_what_was_ordered_to_stop_is_undone_however_it_ended(house: House, state: str) -> None:
    decision = stop(house, state)
    (body,) = ordered(house)
    assert (body.decision, body.tool, body.step, body.by, body.after) == (
        decision, "payments.refund", "payments.cancel", "interrupt", state,
    )  # fmt: skip
    assert (body.within_us, body.contract) == (30 * SECOND_US, house.agent().contract)
    (found,) = due(house)
    assert (found.decision, found.tries, found.begun, found.over) == (decision, 0, None, None)


@pytest.mark.requirement("R7.8")
def test_it_is_owed_in_the_commit_of_the_outcome_that_asks_for_it(house: House) -> None:
    """Attack: the node dies between the outcome and the order to undo it. No crash point lies between them."""
    decision = house.ask(furnish(house)).entry
    house.suspend("piet")
    house.stop(decision)
    outcome, asked = (
        next(entry for entry in house.entries() if isinstance(entry.body, kind))
        for kind in (kinds.Outcome, kinds.CompensationOrdered)
    )
    assert outcome.at == asked.at
    assert [ref.seq for ref in asked.refs] == [outcome.seq]
    house.reopen()
    assert [each.decision for each in due(house)] == [decision]


@pytest.mark.parametrize("state", ["completed", "failed", "unknown", "blocked"])
def test_what_ended_without_being_stopped_is_not_undone_by_itself(house: House, state: str) -> None:
    house.settle(house.ask(furnish(house)).entry, state)
    assert ordered(house) == []


def test_what_was_proved_not_to_have_started_is_never_undone(house: House) -> None:
    decision = stop(house, "blocked")
    assert ordered(house) == []
    with pytest.raises(Refused, match="never ran"):
        order(house, "olga", decision)


def test_a_deadline_and_a_caller_that_went_away_stop_too(house: House) -> None:
    """No incident waits for it: its end alone says that it was cut short."""
    house.stop(house.ask(furnish(house)).entry)
    assert len(ordered(house)) == 1


def test_what_only_its_dead_node_cut_off_may_be_run_again_and_is_not_undone(house: House) -> None:
    run = furnish(house)
    first, second = house.ask(run).entry, house.ask(run).entry
    house.settle(first, "interrupted_confirmed", by="recovery")
    assert ordered(house) == []
    house.suspend("piet")  # what was ordered to stop before its node died, though, is undone
    attempt = kinds.InterruptAttempted(action=second, method="supervised: recovery")
    house.write(Draft(body=attempt, actor="node", agent=AGENT, refs=(second,)))
    house.settle(second, "unknown", by="recovery")
    assert [body.decision for body in ordered(house)] == [second]


def test_without_a_step_in_the_contract_nothing_is_undone(house: House) -> None:
    decision = stop(house, run=furnish(house, TOOLS))
    assert ordered(house) == []
    with pytest.raises(Refused, match="no contract in force"):
        order(house, "olga", decision)


def test_what_it_is_undone_by_is_what_was_in_force_when_it_was_decided(house: House) -> None:
    decision = house.ask(furnish(house)).entry
    before = house.agent().contract
    house.adopt(contract_text("", tools=UNDONE.replace("payments.cancel", "payments.other"), version=2))
    house.stop(decision)
    (body,) = ordered(house)
    assert (body.step, body.contract) == ("payments.cancel", before)


def test_a_backtest_undoes_nothing() -> None:
    house = House(mode="backtest")
    house.adopt_backtest(contract_text("", tools=UNDONE))
    house.stop(house.ask(house.run()).entry)
    assert ordered(house) == []
    house.close()


def test_work_that_was_handed_over_is_undone_as_its_delegator_says(
    house: House,
) -> None:
    """Attack: an agent hands its work to one whose contract undoes nothing."""
    furnish(house, rules="delegates: [other-bot]\n")
    house.register(OTHER)
    house.adopt(contract_text("", tools=TOOLS, agent=OTHER))
    parent = house.run()
    run = house.run(OTHER, parent=parent)
    decision = house.ask(run, agent=OTHER).entry
    house.stop(decision)
    (body,) = ordered(house)
    assert (body.decision, body.contract) == (decision, house.agent(AGENT).contract)
    assert next(e for e in house.entries() if isinstance(e.body, kinds.CompensationOrdered)).agent == OTHER


# ---- what may go on still ------------------------------------------------------------------------------------


@pytest.mark.requirement("R7.9")
def test_what_nobody_can_say_has_ended_waits_for_the_proof(house: House) -> None:
    """Attack: the refund lands after it was cancelled."""
    decision = stop(house, "interrupted_unconfirmed")
    assert len(ordered(house)) == 1
    assert due(house) == ()
    shown = kinds.InterruptConfirmed(
        action=decision, processes=0, ended_mono_us=1, proven_by="its server says so", state="interrupted_confirmed"
    )
    house.write(Draft(body=shown, actor="node", agent=AGENT, refs=(decision,)))
    assert [each.decision for each in due(house)] == [decision]


def test_it_is_given_up_after_ten_minutes_and_a_person_can_have_it_run_all_the_same(house: House) -> None:
    decision = stop(house, "interrupted_unconfirmed")
    early = Seen(state="not", detail="too early")
    with pytest.raises(Corrupt, match="before its time"):
        house.do(end(decision, None, early))
    house.clock.skip(10 * MINUTE_US + SECOND_US)
    (found,) = due(house)
    assert "nobody could confirm" in str(found.over)
    house.do(end(decision, None, Seen(state="not", detail=str(found.over))))
    order(house, "olga", decision)
    assert due(house)[0].over is None
    assert ordered(house)[-1].after == "interrupted_unconfirmed"


def test_a_person_need_not_wait_for_the_ten_minutes(house: House) -> None:
    decision = stop(house, "interrupted_unconfirmed")
    order(house, "olga", decision)
    assert [each.decision for each in due(house)] == [decision]


# ---- once ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7.10")
def test_a_step_is_begun_once_and_not_again_after_its_node_died(house: House) -> None:
    stop(house)
    (found,) = due(house)
    assert house.do(begin(found)) is not None
    assert house.do(begin(found)) is None
    house.reopen()
    (left,) = due(house)
    assert "its node ended" in str(left.over)
    assert house.do(begin(left)) is None


def test_a_step_that_does_no_harm_twice_is_run_again_but_not_for_ever(house: House) -> None:
    stop(house, run=furnish(house, IDEMPOTENT))
    for tries in range(undoing.MOST_TRIES):
        (found,) = due(house)
        assert (found.over, found.tries, found.harmless) == (None, tries, True)
        assert house.do(begin(found)) is not None
        house.reopen()
    (left,) = due(house)
    assert left.over is not None
    assert house.do(begin(left)) is None


def test_an_end_is_recorded_once(house: House) -> None:
    stop(house)
    found = undo(house)
    assert house.do(end(found.decision, None, REVERSED)) is None
    assert len(house.bodies(kinds.Compensated)) == 1
    assert due(house) == ()


def test_nothing_is_reversed_that_was_not_begun(house: House) -> None:
    decision = stop(house)
    with pytest.raises(Corrupt, match="no step was begun"):
        house.do(end(decision, None, REVERSED))


@pytest.mark.parametrize("state", ["reversed", "partly", "unknown"])
@pytest.mark.requirement("R7.13")
def test_what_was_undone_or_may_have_been_is_not_undone_again(house: House, state: str) -> None:
    found_by = stop(house)
    undo(house, Seen(state=state, detail="so it was", exit_code=0))
    with pytest.raises(Refused, match=f"is {state}"):
        order(house, "olga", found_by)


def test_what_was_not_undone_a_person_may_order_again(house: House) -> None:
    decision = stop(house)
    undo(house, Seen(state="not", detail="payments.cancel ended with 3", exit_code=3))
    order(house, "olga", decision)
    undo(house)
    with pytest.raises(Refused, match="is reversed"):
        order(house, "olga", decision)
    assert faults(house) == []


def test_an_undoing_that_is_under_way_is_not_ordered_a_second_time(house: House) -> None:
    decision = stop(house)
    with pytest.raises(Refused, match="being undone already"):
        order(house, "olga", decision)


def test_an_agent_whose_steps_hang_holds_up_nobody_elses(house: House) -> None:
    """Attack: more of them are owed than are told of at once."""
    run = furnish(house)
    house.register(OTHER)
    house.adopt(contract_text("", tools=UNDONE, agent=OTHER))
    first = [house.ask(run).entry for _ in range(compensation.TOLD_AT_ONCE + 1)]
    for action in first:
        house.stop(action)
    other = house.ask(house.run(OTHER), agent=OTHER).entry
    house.stop(other)
    told = [each.decision for each in due(house)]
    assert told == [*first[: compensation.STEPS_OF_ONE], other]
    assert [each.decision for each in due(house, *told)] == []


# ---- people --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("person", ["olga", "piet"])
def test_who_answers_for_the_agent_or_approves_has_a_completed_action_undone(house: House, person: str) -> None:
    decision = house.ask(furnish(house)).entry
    outcome = house.settle(decision)
    entry = order(house, person, decision)
    body = ordered(house)[0]
    assert (body.by, body.after) == (f"person:{person}", "completed")
    assert house.entries(entry)[0].refs[-1].seq == outcome
    undo(house)
    assert faults(house) == []


@pytest.mark.requirement("R7.12")
def test_nobody_else_has(house: House) -> None:
    decision = house.ask(furnish(house)).entry
    house.settle(decision)
    house.enrol("sara", "reviewer")
    with pytest.raises(Refused, match="neither owns"):
        order(house, "sara", decision)
    assert ordered(house) == []


@pytest.mark.parametrize(
    "changed",
    [{"step": "payments.other"}, {"tool": "orders.read"}, {"contract": "0" * 64}],
)
def test_an_order_that_was_shown_another_step_orders_nothing(house: House, changed: dict[str, str]) -> None:
    decision = house.ask(furnish(house)).entry
    house.settle(decision)
    with pytest.raises(Refused, match="the order says otherwise"):
        order(house, "olga", decision, **changed)


def test_what_runs_was_denied_or_never_was_cannot_be_undone(house: House) -> None:
    run = furnish(house, rules="clauses: [{id: no, deny: payments.refund, when: context.args.amount == 100}]\n")
    with pytest.raises(Refused, match="has not ended"):
        order(house, "olga", house.ask(run).entry)
    with pytest.raises(Refused, match="never ran"):
        order(house, "olga", house.ask(run, "1.00").entry)
    with pytest.raises(NotFound):
        order(house, "olga", 3)


def test_an_order_is_good_for_an_hour(house: House) -> None:
    decision = house.ask(furnish(house)).entry
    house.settle(decision)
    details = orders.ActionCompensate(
        action=decision,
        tool="payments.refund",
        step="payments.cancel",
        contract=str(house.agent().contract),
        reason="x",
    )
    signed = house.sign("olga", "action.compensate", details)
    house.clock.skip(61 * MINUTE_US)
    house.write()
    with pytest.raises(FailwellError):
        house.do(order_undoing(signed, verify_order))


# ---- stops of more than one agent ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "waits"),
    [("all", True), ("tool:payments.cancel", True), ("tool:payments.refund", False), ("contract:refund-bot", False)],
)
def test_a_stop_of_everything_or_of_the_step_holds_it_up_and_a_stop_of_its_agent_does_not(
    house: House, scope: str, waits: bool
) -> None:
    from failwell.response.stops import stop_scope

    stop(house)
    signed = house.sign("piet", "stop", orders.StopScope(scope=scope, reason="now"), shown="0" * 64)
    (before,) = due(house)
    house.do(stop_scope(signed, verify_order, source="node"))
    assert (due(house) == ()) is waits
    assert (house.do(begin(before)) is None) is waits


# ---- what is noticed -----------------------------------------------------------------------------------------


def signals(house: House) -> list[tuple[str, str, tuple[str, ...]]]:
    found = house.bodies(kinds.Signal)
    return [(each.signal, each.severity, each.response) for each in found if "compensate" in each.signal]


@pytest.mark.parametrize(("state", "severity"), [("partly", "major"), ("not", "critical"), ("unknown", "critical")])
@pytest.mark.requirement("R7.14")
def test_what_was_not_reversed_is_noticed_and_told_though_its_agent_is_contained_already(
    house: House, state: str, severity: str
) -> None:
    stop(house)
    undo(house, Seen(state=state, detail="the bank is closed", exit_code=0))
    assert signals(house) == [("compensate(payments.refund)", severity, ("record",))]
    page = house.bodies(kinds.PageQueued)[-1]
    assert (page.person, page.incident) == ("olga", None)
    assert "the bank is closed" in page.why


def test_of_an_agent_that_acts_on_a_case_is_opened_and_it_is_not_suspended(
    house: House,
) -> None:
    house.stop(house.ask(furnish(house)).entry)
    undo(house, Seen(state="unknown", detail="it was late"))
    assert signals(house) == [("compensate(payments.refund)", "critical", ("hold", "notify"))]
    assert house.agent().authority == "ACTIVE"
    assert house.state.incident[1].marks.keys() >= {"DETECTED", "HELD"}
    assert [page.incident for page in house.bodies(kinds.PageQueued)] == [1]


def test_a_rule_of_the_contract_says_what_follows(house: House) -> None:
    rules = 'response:\n  - {signal: "compensate(payments.refund)", do: [suspend]}\n'
    house.stop(house.ask(furnish(house, rules=rules)).entry)
    undo(house, Seen(state="partly", detail="half of it"))
    assert house.agent().authority == "SUSPENDED"


def test_what_was_reversed_is_no_signal(house: House) -> None:
    stop(house)
    undo(house)
    assert signals(house) == []
    assert summary(undoings(house.entries())) == "1 of 1 reversed"


def test_the_words_of_a_step_lie_in_the_blob_and_never_in_the_entry(house: House) -> None:
    stop(house)
    undo(house, msgspec.structs.replace(REVERSED, words="refund of Mr Jones, GB82 WEST"))
    entry = next(each for each in house.entries() if isinstance(each.body, kinds.Compensated))
    assert "Jones" not in str(entry.body)
    assert house.secret(entry.seq)["words"] == "refund of Mr Jones, GB82 WEST"


def test_rows_rebuilt_from_the_entries_are_those_that_were_stored(house: House) -> None:
    run = furnish(house)
    for state in (*STOPPED[:4], "interrupted_unconfirmed"):
        house.stop(house.ask(run).entry, state)
    for _ in range(2):
        found = due(house)[0]
        house.do(end(found.decision, house.do(begin(found)), REVERSED))
    stored = house.stored()
    leaves = [row.leaf.hex() for row in house.storage.entries(0, 9999)]
    assert folded(zip(house.entries(), leaves, strict=True))[1] == stored
    assert faults(house) == []
    decoded = [rows.decode_row("compensation", row).state for row in stored["compensation"].values()]
    assert sorted(decoded) == ["owed"] * 3 + ["reversed"] * 2


@pytest.mark.parametrize(
    ("about", "tool", "agent", "noticed"),
    [("begun", "payments.cancel", AGENT, False), ("begun", "payments.refund", AGENT, True),
     ("decision", "payments.cancel", AGENT, True), ("begun", "payments.cancel", OTHER, True)],
)  # fmt: skip
def test_what_a_step_does_at_the_tool_side_went_round_no_gate(
    house: House, about: str, tool: str, agent: str, noticed: bool
) -> None:
    """Its processes carry the number of the entry that it was begun by, and the tool side's log names that."""
    decision = stop(house)
    house.register(OTHER)
    (found,) = due(house)
    number = house.do(begin(found))
    seen = Witnessed(
        witness="log", ref="1", tool=tool, at=format_at(house.state.last_at_us), customer=None,
        action=number if about == "begun" else decision, line="0" * 64,
    )  # fmt: skip
    house.do(record_effects(agent, (seen,)))
    (effect,) = house.bodies(kinds.EffectWitnessed)
    assert (effect.decision == decision) is not noticed
    assert any(each.signal == "bypass" for each in house.bodies(kinds.Signal)) is noticed
    proof = prove(house.entries())
    assert len(proof.unpaired) == int(noticed)
    assert faults(house) == []


# ---- what a step says ----------------------------------------------------------------------------------------

SAYS = b'{"state": "reversed", "detail": "refund 7 cancelled"}\n'


def ended(state: Any = "completed", output: bytes = SAYS, **more: Any) -> Ended:
    fields: dict[str, Any] = {
        "action": 1, "state": state, "exit_code": 0, "signal": None, "output": output, "truncated": False,
        "errors": b"", "started_us": 10, "ended_us": 25, "swept": 0, "proven_by": "swept", "why": None,
        "sweep_us": 0, **more,
    }  # fmt: skip
    return Ended(**fields)


@pytest.mark.parametrize(
    ("what", "state", "why"),
    [
        (ended(), "reversed", "says so"),
        (ended("completed_after_interrupt"), "reversed", "says so"),
        (ended(output=b"working\n\n" + SAYS + b"\n"), "reversed", "says so"),
        (ended(output=b'{"state": "partly"}'), "partly", "says so"),
        (ended(output=b'{"state": "not"}'), "not", "says so"),
        (ended(output=b""), "unknown", "did not say"),
        (ended(output=b"reversed\n"), "unknown", "did not say"),
        (ended(output=b'"reversed"'), "unknown", "did not say"),
        (ended(output=b'{"state": "Reversed"}'), "unknown", "did not say"),
        (ended(output=b'{"state": ["reversed"]}'), "unknown", "did not say"),
        (ended(output=b'{"state": "not", "state": "reversed"}'), "unknown", "did not say"),
        (ended(output=SAYS + b"but then it failed\n"), "unknown", "did not say"),
        (ended(output=b"[" * 60_000), "unknown", "did not say"),
        (ended(output=b"\xff\xfe\n"), "unknown", "did not say"),
        (ended(truncated=True), "unknown", "more than is read"),
        (ended("failed", exit_code=3), "unknown", "ended with 3"),
        (ended("failed", exit_code=3, output=b""), "not", "ended with 3"),
        (ended("failed", exit_code=3, output=b'{"state": "partly"}'), "partly", "ended with 3"),
        (ended("failed", exit_code=None, signal=11, output=SAYS), "unknown", "signal"),
        (
            ended("interrupted_confirmed", exit_code=None, signal=9, why="deadline"),
            "unknown",
            "stopped on its way (deadline)",
        ),
        (
            ended("interrupted_unconfirmed", exit_code=None, why="deadline"),
            "unknown",
            "nobody can say that it has ended",
        ),
        (ended("unknown", exit_code=None), "unknown", "stopped on its way"),
        (ended("blocked", exit_code=None, why="no such file"), "not", "was not started: no such file"),
    ],
)
@pytest.mark.requirement("R7.11")
def test_a_step_is_believed_only_as_far_as_it_speaks(what: Ended, state: str, why: str) -> None:
    seen = seen_of(what, "payments.cancel")
    assert (seen.state, why in seen.detail) == (state, True), seen
    assert "refund 7" not in seen.detail


def test_its_own_words_are_kept_apart() -> None:
    assert seen_of(ended(), "x").words == "refund 7 cancelled"
    assert seen_of(ended("failed", output=b"", exit_code=1, errors=b"a\nno route\n"), "x").words == "no route"
    assert seen_of(ended(output=b'{"state": "not", "detail": 7}'), "x").words is None
