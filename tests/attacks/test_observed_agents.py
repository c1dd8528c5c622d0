"""The adversary wants to stay ungoverned: an observation without end, or one that passes for enforcement (D25)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.core.errors import Corrupt, FailwellError, Refused
from failwell.core.instants import format_at
from failwell.core.records import Draft, Entry
from failwell.gate import observing, outcomes, registry, runs
from failwell.identity import keys, names, persons
from failwell.verify.enforcement import prove
from tests.unit.gate.house import AGENT, DAY_US, HOUR_US, SECOND_US, House, contract_text
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace

OLD = "spiffe://shop.example/agent/old-bot"


@pytest.fixture
def house() -> House:
    made = House()
    made.people()
    made.register()
    return made


def observe(house: House, person: str = "olga", days: float = 7, until: str | None = None) -> int:
    date = until or format_at(house.state.last_at_us + round(days * DAY_US))
    signed = house.sign(person, "agent.observe", orders.AgentObserve(agent=AGENT, until=date, reason="it runs"))
    return house.do(observing.observe(signed, persons.verify_order))


# ---- an observation without end --------------------------------------------------------------------------------


def test_a_clock_set_back_does_not_extend_an_observation(house: House) -> None:
    observe(house, days=1)
    run = house.run()
    house.clock.skip(DAY_US - HOUR_US)
    house.clock.wall -= 300 * DAY_US  # while it runs
    assert house.ask(run).may_start
    house.clock.skip(HOUR_US)
    assert house.ask(run).clauses == ("authority.observed",)
    house.clock.reboot(-300 * DAY_US)  # and over a start
    house.reopen()
    assert house.ask(run).clauses == ("authority.observed",)
    assert house.do(observing.end_observations) == (AGENT,)


def test_an_observation_ends_while_nothing_runs(house: House) -> None:
    observe(house, days=1)
    house.clock.reboot(2 * DAY_US)
    house.reopen()
    assert not house.ask(house.run()).may_start, "nobody has written down that it is over"
    house.do(observing.end_observations)
    assert house.agent().authority == "REGISTERED"


def test_a_second_order_extends_nothing(house: House) -> None:
    observe(house, days=1)
    with pytest.raises(Refused, match="never governed"):
        observe(house, days=80)
    house.clock.skip(DAY_US)
    house.do(observing.end_observations)
    with pytest.raises(Refused, match="observed once"):
        observe(house, days=80)
    with pytest.raises(Corrupt):  # nor an entry that somebody writes without one
        house.write(
            Draft(body=kinds.Observation(until_us=house.state.last_at_us + DAY_US, person="olga", why="more"),
                  actor="person:olga", agent=AGENT)
        )  # fmt: skip


def test_ninety_days_are_the_most_and_no_date_lies_in_the_past(house: House) -> None:
    for days in (90.01, 4000, 0, -1):
        with pytest.raises(Refused, match="within the 90 days"):
            observe(house, days=days)
    observe(house, days=89.9)


def test_nobody_but_the_owner_has_an_agent_observed(house: House) -> None:
    house.enrol("sara", "operator")
    for person in ("sara", "piet"):
        with pytest.raises(Refused, match="only its owner"):
            observe(house, person)


def test_an_agent_that_asks_for_itself_holds_no_persons_key(house: House) -> None:
    """Attack: the agent signs with its own key, under its owner's name."""
    details = orders.AgentObserve(agent=AGENT, until=format_at(house.state.last_at_us + DAY_US), reason="leave me be")
    house.signers["olga"] = persons.Signer("olga", keys.from_seed(b"a" * 32))
    signed = house.sign("olga", "agent.observe", details)
    with pytest.raises(Refused):
        house.do(observing.observe(signed, persons.verify_order))


def test_a_governed_agent_is_never_observed(house: House) -> None:
    house.adopt(contract_text())
    with pytest.raises(Refused, match="ACTIVE: only an agent that was never governed"):
        observe(house)
    house.suspend("piet")
    with pytest.raises(Refused, match="SUSPENDED: only an agent that was never governed"):
        observe(house)


def test_a_suspended_agent_is_not_freed_by_the_end_of_its_observation(house: House) -> None:
    observe(house)
    house.adopt(contract_text())
    house.suspend("piet")
    signed = house.sign("olga", "agent.govern", orders.AgentGovern(agent=AGENT), shown="0" * 64)
    with pytest.raises(Refused, match="no observation to end"):
        house.do(observing.govern(signed, persons.verify_order))
    house.clock.skip(10 * DAY_US)
    assert house.do(observing.end_observations) == ()
    assert house.agent().authority == "SUSPENDED"


# ---- observed passes for enforced ------------------------------------------------------------------------------


@pytest.mark.requirement("R32.2")
def test_what_an_observed_agent_does_is_not_governed_counts_as_no_enforcement_and_ends_on_the_date(
    house: House,
) -> None:
    observe(house, days=1)
    house.adopt(contract_text())
    run = house.run()
    allowed = house.ask(run)
    denied = house.ask(run, "3.00")
    assert (allowed.verdict, denied.verdict) == ("ALLOW", "DENY")
    assert not allowed.governed
    assert not denied.governed
    assert denied.may_start
    effects = [seen(house, decision) for decision in (allowed.entry, denied.entry, None)]
    proof = prove(house.entries())
    assert [(one.effect, one.why) for one in proof.apart] == [(effect, "not governed") for effect in effects]
    assert proof.pairs == ()
    assert proof.unpaired == ()
    assert proof.decided == {}
    assert not [signal for signal in house.bodies(kinds.Signal) if signal.applied], "it is recorded, and not acted on"
    house.clock.skip(DAY_US + SECOND_US)
    refused = house.ask(run)
    assert (refused.verdict, refused.governed, refused.may_start) == ("DENY", True, False)
    house.do(observing.end_observations)
    later = house.ask(run)
    assert later.governed
    assert later.verdict == "ALLOW"
    seen(house, later.entry)
    assert len(prove(house.entries()).pairs) == 1


def seen(house: House, decision: int | None) -> int:
    line = outcomes.Witnessed(
        witness="shop", ref=str(house.calls), tool="payments.refund", at=format_at(house.state.last_at_us),
        customer=None, action=decision, line="ab" * 32,
    )  # fmt: skip
    return house.do(outcomes.record_effects(AGENT, (line,)))[0]


# ---- a record that was rewritten -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """A closed record in which one agent was observed, worked, and was governed by its owner's order."""
    path = tmp_path_factory.mktemp("observed") / "w"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        public = base64.b64encode(keys.from_seed(b"o" * 32).public).decode()
        register = made.sign("olga", "agent.register", orders.AgentRegister(agent=OLD, key=public, owner="olga"))
        made.do(registry.register_agent(register, "old-bot", persons.verify_order, names.check_distinct))
        until = format_at(made.book.state.last_at_us + DAY_US)
        details = orders.AgentObserve(agent="old-bot", until=until, reason="it runs already")
        made.do(observing.observe(made.sign("olga", "agent.observe", details), persons.verify_order))
        run = made.do(_open(OLD))
        made.settle(made.ask(run, "c1", "payments.refund", {"order_id": "A"}, agent=OLD))
        govern = made.sign("piet", "agent.govern", orders.AgentGovern(agent=OLD), shown="0" * 64)
        made.do(observing.govern(govern, persons.verify_order))
        made.ask(run, "c2", "payments.refund", {"order_id": "A"}, agent=OLD)
    return Image(path)


def _open(agent: str) -> Any:
    return runs.open_run(agent, principal=None, request=None, host=None)


def found(image: Image, kind: type, change: Callable[[Any], Any], place: int = 0) -> str:
    """What verification says once the forger has changed one entry of a kind and made all else fit."""
    forger = Forger(image)
    entry = [each for each in forger.entries() if isinstance(each.body, kind) and each.agent == OLD][place]

    def made(entry: Entry[Any]) -> Entry[Any]:
        return replace(entry, body=change(entry.body))

    forger.change(entry.seq, made, resign=True)
    return " | ".join(finding.message for finding in forger.verify().findings)


def test_the_true_record_verifies(image: Image) -> None:
    assert Forger(image).verify().ok


def test_an_observation_that_the_owner_did_not_order_is_found(image: Image) -> None:
    longer = found(image, kinds.Observation, lambda body: replace(body, until_us=body.until_us + DAY_US))
    assert "it is not the observation that was ordered" in longer
    other = found(image, kinds.Observation, lambda body: replace(body, why="as agreed"))
    assert "it is not the observation that was ordered" in other


def test_a_denial_that_was_kept_is_not_made_an_observed_one_nor_the_other_way_round(image: Image) -> None:
    freed = found(image, kinds.Decision2, lambda body: replace(body, governed=False), 1)
    assert "it counts as not governed, and nobody was observed" in freed
    bound = found(image, kinds.Decision2, lambda body: replace(body, governed=True))
    assert "it counts as governed, and the agent was observed" in bound


def test_an_observation_that_the_node_ended_before_its_date_is_found(image: Image) -> None:
    early = found(image, kinds.AuthorityChanged, lambda body: replace(body, now="ACTIVE"), 1)
    assert "an agent without a contract is not ACTIVE then" in early
    forger = Forger(image)
    change = [e for e in forger.entries() if isinstance(e.body, kinds.AuthorityChanged) and e.agent == OLD][1]
    forger.change(change.seq, lambda e: replace(e, actor="node", body=replace(e.body, by="node")), resign=True)
    told = " | ".join(finding.message for finding in forger.verify().findings)
    assert "the node ended an observation before its date" in told


def test_an_agent_is_not_made_observed_without_an_order(image: Image) -> None:
    forger = Forger(image)
    row = kinds.AuthorityChanged(was="REGISTERED", now="OBSERVED", epoch=9, why="", incident=None, by="person:olga")
    forger.append(row, "person:olga", agent=OLD)
    told = " | ".join(finding.message for finding in forger.verify().findings)
    assert "no order agent.observe stands before it" in told


def test_a_date_that_no_calendar_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FailwellError):
        orders.parse_order(b'{"at":"2026-02-30T00:00:00.000000Z"}')
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
        details = orders.AgentObserve(agent=ledgers.AGENT, until="2026-02-30T00:00:00.000000Z", reason="x")
        with pytest.raises(FailwellError):
            made.do(observing.observe(made.sign("olga", "agent.observe", details), persons.verify_order))
