"""What an act owes to a look at the world, from its outcome to how the check ended and what that sets in motion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.contract import Ensure
from failwell.core.errors import Corrupt
from failwell.core.records import Draft
from failwell.gate import ensured
from failwell.gate.ensured import Owing, Seen, end_check, owed_besides
from failwell.node.ensuring import LOOKS, LOOKS_OF_ONE, Watch, due
from tests.unit.gate import house as houses
from tests.unit.gate.house import AGENT, HOUR_US, OTHER, SECOND_US, House

TOOLS = """
  - tool: payments.refund
    effect: irreversible
    executor: supervised
    custody: none
    deadline: 10s
    arguments: {customer_id: "string(1..200)", order_id: "string(1..40)", amount: "money(2, 0..10000)"}
    public: [amount]
    ensure:
      booked: {lookup: payments.booked, with: [order_id, amount], type: bool, is: true, within: 30s, severity: %s}
      told: {lookup: mails.sent, with: [customer_id], type: "enum(sent, lost)", is: sent, within: 2m, severity: minor}
"""
NOT_YET = Seen(state="missed", tries=3, saw=False, answered=True, detail="otherwise than promised")
SILENT = Seen(state="unknown", tries=3, detail="late")
HELD = Seen(state="held", tries=1, saw=True, answered=True)


def furnish(house: House, severity: str = "major", rules: str = "") -> int:
    house.people()
    house.register()
    house.adopt(houses.contract_text(rules, tools=TOOLS % severity))
    return house.run()


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.close()


def act(house: House, run: int, state: str = "completed") -> int:
    """A refund that was allowed, and ended so; its decision."""
    entry = house.ask(run, order="o-7", customer="c-9").entry
    house.settle(entry, state)
    return entry


def owed(house: House, *known: str) -> tuple[Owing, ...]:
    found: tuple[Owing, ...] = house.do(owed_besides(frozenset(known)))
    return found


def signals(house: House) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(each.signal, each.severity, each.response) for each in house.bodies(kinds.Signal)]


def test_an_act_owes_its_checks_once_it_is_done_with_the_values_that_it_was_decided_on(house: House) -> None:
    run = furnish(house)
    decision = act(house, run)
    booked, told = sorted(owed(house), key=lambda each: each.key)
    assert (booked.key, booked.agent, booked.left_us) == (f"{decision}/booked", AGENT, 30 * SECOND_US)
    assert booked.arguments == {"order_id": "o-7", "amount": 500}
    assert (told.arguments, told.ensure.lookup) == ({"customer_id": "c-9"}, "mails.sent")
    assert owed(house, booked.key, told.key) == ()


@pytest.mark.parametrize("state", ["failed", "blocked", "unknown", "interrupted_confirmed", "interrupted_unconfirmed"])
def test_what_was_not_done_owes_nothing(house: House, state: str) -> None:
    act(house, furnish(house), state)
    assert owed(house) == ()
    assert house.stored()["check"] == {}


def test_a_denied_action_owes_nothing_and_one_that_finished_in_spite_of_an_order_does(house: House) -> None:
    run = furnish(house)
    house.ask(run, "99999")
    assert owed(house) == ()
    act(house, run, "completed_after_interrupt")
    assert len(owed(house)) == 2


def test_a_check_holds_at_any_time_and_is_given_up_only_when_its_time_is_over(house: House) -> None:
    decision = act(house, furnish(house))
    key = f"{decision}/booked"
    for early in (NOT_YET, SILENT):
        assert house.do(end_check(key, early)) is None
    house.clock.skip(2 * SECOND_US)
    seq = house.do(end_check(key, HELD)) or 0
    body = house.entries(seq)[0].body
    assert isinstance(body, kinds.Ensured)
    assert (body.decision, body.check, body.state, body.source) == (decision, "booked", "held", "payments.booked")
    assert body.elapsed_us == 2 * SECOND_US
    assert house.secret(seq)["saw"] == "true"
    assert house.do(end_check(key, HELD)) is None, "it ended once"
    assert signals(house) == []


@pytest.mark.requirement("R5.4")
@pytest.mark.parametrize("seen", [NOT_YET, SILENT], ids=lambda seen: str(seen.state))
def test_a_world_otherwise_than_promised_leaves_a_signal_and_so_does_one_that_nobody_could_look_at(
    house: House, seen: Seen
) -> None:
    decision = act(house, furnish(house))
    house.clock.skip(30 * SECOND_US)
    seq = house.do(end_check(f"{decision}/booked", seen))
    assert signals(house) == [("ensure(booked)", "major", ("record",))]
    assert house.bodies(kinds.Signal)[0].about == seq
    assert (house.entries(seq)[0].body.saw is None) == (seen is SILENT)


@pytest.mark.parametrize(("severity", "misses"), [("critical", 1), ("major", 3)])
def test_the_default_ladder_contains_at_once_or_at_the_third_within_an_hour(
    house: House, severity: str, misses: int
) -> None:
    run = furnish(house, severity)
    for number in range(1, misses + 1):
        assert house.agent().authority == "ACTIVE"
        decision = act(house, run)
        house.clock.skip(HOUR_US // 6)
        house.do(end_check(f"{decision}/booked", NOT_YET))
        assert house.agent().authority == ("SUSPENDED" if number == misses else "ACTIVE")
    assert house.state.incident[1].severity == severity


def test_a_contracts_own_rule_answers_before_the_ladder(house: House) -> None:
    run = furnish(house, "critical", 'response:\n  - {signal: "ensure(booked)", do: [restrict, notify]}\n')
    decision = act(house, run)
    house.clock.skip(HOUR_US)
    house.do(end_check(f"{decision}/booked", SILENT))
    assert house.agent().authority == "RESTRICTED"


def test_what_is_owed_survives_a_restart_and_another_contract(house: House) -> None:
    run = furnish(house)
    decision = act(house, run)
    house.adopt(houses.contract_text("", version=2))
    house.reopen()
    assert {each.key for each in owed(house)} == {f"{decision}/booked", f"{decision}/told"}
    house.do(end_check(f"{decision}/told", HELD))
    house.reopen()
    assert [each.key for each in owed(house)] == [f"{decision}/booked"]
    act(house, run)
    assert len(owed(house)) == 1, "version 2 has no checks"


def test_an_action_under_way_owes_by_the_contract_that_it_was_decided_under(house: House) -> None:
    run = furnish(house)
    entry = house.ask(run).entry
    house.adopt(houses.contract_text("", version=2))
    house.reopen()
    house.settle(entry)
    assert len(owed(house)) == 2


def test_a_backtest_owes_nothing_for_there_is_nobody_to_ask() -> None:
    house = House(mode="backtest")
    house.adopt_backtest(houses.contract_text("", tools=TOOLS % "critical"))
    act(house, house.run())
    assert owed(house) == ()
    house.close()


@pytest.mark.parametrize(
    "forged",
    [
        {"state": "held", "check": "other"}, {"state": "held", "decision": 3}, {"state": "missed"},
        {"state": "unknown"}, {"state": "fine"}, {"state": "held", "severity": "minor"},
    ],
    ids=str,
)  # fmt: skip
def test_an_end_that_does_not_follow_is_never_stored(house: House, forged: dict[str, Any]) -> None:
    """Attack: whoever writes entries says that the world was as promised, or gives a check up early."""
    decision = act(house, furnish(house))
    fields: dict[str, Any] = {
        "decision": decision, "check": "booked", "severity": "major", "source": "payments.booked", "tries": 1,
        "elapsed_us": 0, "saw": None, "detail": "", **forged,
    }  # fmt: skip
    with pytest.raises(Corrupt):
        house.write(Draft(body=kinds.Ensured(**fields), actor="node", agent=AGENT))


def test_work_that_was_handed_over_owes_the_checks_of_who_handed_it_over_too(house: House) -> None:
    """Attack: the checks of a contract are shaken off by letting another agent do the act."""
    furnish(house)
    house.register(OTHER)
    house.adopt(houses.contract_text("", agent=OTHER))
    house.adopt(houses.contract_text("delegates: [other-bot]\n", tools=TOOLS % "critical", version=2))
    handed = house.run(OTHER, parent=house.run())
    decision = house.ask(handed, order="o-7", customer="c-9", agent=OTHER).entry
    house.settle(decision)
    key = f"{decision}/refund-bot/booked"
    found = next(each for each in owed(house) if each.key == key)
    assert (found.agent, found.arguments) == (OTHER, {"order_id": "o-7", "amount": 500})
    house.clock.skip(HOUR_US)
    house.do(end_check(key, NOT_YET))
    assert signals(house)[0][:2] == ("ensure(refund-bot/booked)", "critical")
    assert (house.agent(OTHER).authority, house.agent().authority) == ("SUSPENDED", "ACTIVE")


def test_checks_without_end_are_told_of_a_bounded_number_at_a_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: one turn of the writer unseals what all of them would be asked with, and a stop waits for it."""
    monkeypatch.setattr(ensured, "TOLD_AT_ONCE", 3)
    run = furnish(house)
    for _ in range(4):
        act(house, run)
    known: list[str] = []
    told = []
    while new := owed(house, *known):
        told.append(len(new))
        known += [each.key for each in new]
    assert told == [3, 3, 2]
    assert len(set(known)) == 8


def test_no_agent_keeps_what_others_owe_from_being_looked_at() -> None:
    """Attack: acts without end that owe a look at a slow source, all before another agent's."""
    ensure = Ensure(name="booked", lookup="slow", given=(), type="bool", expected=True, within_us=1, severity="major")

    def watch(key: str, agent: str, next_s: float) -> Watch:
        made = Watch(Owing(key=key, agent=agent, ensure=ensure, arguments={}, left_us=0), 0.0)
        made.next_s = next_s
        return made

    watched = {f"{number}/booked": watch(f"{number}/booked", AGENT, 1.0) for number in range(1000)}
    watched["2000/booked"] = watch("2000/booked", OTHER, 5.0)
    assert len(due(watched, (), 4.0)) == LOOKS_OF_ONE
    found = due(watched, [f"{number}/booked" for number in range(LOOKS_OF_ONE)], 5.0)
    assert found == ["2000/booked"]
    assert due(watched, [f"{number}/booked" for number in range(LOOKS)], 5.0) == []
