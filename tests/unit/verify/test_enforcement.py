"""The enforcement proof: which effect stands behind which verdict, and what is not shown (R19)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.instants import format_at
from failwell.core.records import Draft, Entry, decode_entry
from failwell.gate import outcomes
from failwell.verify.enforcement import Proof, prove
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace
from tests.unit.verify.ledgers import AGENT, Made

SECOND_US = 1_000_000
LOG = "payments-log"
TOOL = "payments.refund"
CONTRACT = ledgers.CONTRACT.replace(
    "    effect: irreversible\n", f"    effect: irreversible\n    witness: {LOG}\n"
).replace("version: 1", "version: 2")  # fmt: skip


class Shop:
    """A ledger whose refunds are witnessed by the shop's own log."""

    def __init__(self, made: Made) -> None:
        self.made = made
        self.lines = 0
        ledgers.begin(made)
        ledgers.adopt(made, CONTRACT)
        made.write(
            Draft(body=kinds.Config(digest="0" * 64, text=json.dumps({"witness": [[LOG, {}]]})), actor="node"),
            Draft(
                body=kinds.NodeStarted(software="test", pid=1, separation="", self_test={}, recovered=0), actor="node"
            ),
        )
        self.run = made.run()

    @property
    def now_us(self) -> int:
        return self.made.book.state.last_at_us

    def allow(self, call: str, *, settled: bool = True) -> int:
        verdict = self.made.refund(self.run, call, f"A-{call}")
        assert verdict.verdict == "ALLOW", verdict
        if settled:
            self.made.settle(verdict)
        return verdict.entry

    def effect(
        self, decision: int | None, *, at_us: int | None = None, tool: str = TOOL, customer: str | None = None
    ) -> int:  # fmt: skip
        self.lines += 1
        seen = outcomes.Witnessed(
            witness=LOG, ref=str(self.lines), tool=tool, at=format_at(self.now_us if at_us is None else at_us),
            customer=customer, action=decision, line="ab" * 32,
        )  # fmt: skip
        return int(self.made.do(outcomes.record_effects(AGENT, (seen,)))[0])

    def entries(self) -> list[Entry[Any]]:
        return [decode_entry(row.data) for row in self.made.book.storage.entries(0, 100_000)]

    def prove(self, **period: Any) -> Proof:
        return prove(self.entries(), **period)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with ledgers.fresh(tmp_path / "w") as made:
        yield Shop(made)


def reasons(proof: Proof) -> list[str]:
    return [one.why for one in proof.unpaired]


@pytest.mark.requirement("R19.1")
def test_each_effect_is_paired_with_the_earlier_allow_under_the_contract_then_in_force(shop: Shop) -> None:
    first = shop.allow("a")
    effect = shop.effect(first)
    proof = shop.prove()
    assert proof.sound
    assert [(pair.effect, pair.decision, pair.contract) for pair in proof.pairs] == [(effect, first, "refund-bot@2")]
    adopted = next(e for e in shop.entries() if e.seq == proof.pairs[0].adopted)
    assert isinstance(adopted.body, kinds.ContractAdopted)
    assert adopted.body.version == 2
    assert proof.decided == {"ALLOW": 1}
    assert proof.without_effect == ()
    assert proof.unwitnessed == ()


@pytest.mark.requirement("R19.1")
def test_an_effect_before_its_verdict_is_unpaired(shop: Shop) -> None:
    """Attack: act first, round the gate, then have the same thing allowed and name that verdict in the log."""
    done_us = shop.now_us
    shop.made.clock.skip(60 * SECOND_US)
    late = shop.allow("a")
    shop.effect(late, at_us=done_us)
    proof = shop.prove()
    assert not proof.sound
    assert reasons(proof) == ["verdict later"]
    assert proof.pairs == ()


@pytest.mark.requirement("R19.1")
def test_an_effect_that_no_verdict_let_happen_is_listed_with_what_it_lacks(shop: Shop) -> None:
    allowed = shop.allow("a")
    denied = shop.made.refund(shop.run, "b", "B", "900.00").entry
    named = [shop.effect(None), shop.effect(denied), shop.effect(allowed, tool="orders.read"), shop.effect(10_000)]
    proof = shop.prove()
    assert [one.effect for one in proof.unpaired] == named
    assert reasons(proof) == ["bypassed"] * 4, "a witness's word that did not hold was not recorded as a decision"
    entries = shop.entries()
    for number, claimed in zip(named[1:], (denied, allowed, 10_000), strict=True):  # a rewritten record says so
        entry = entries[number]
        entries[number] = replace(entry, body=replace(entry.body, decision=claimed))
    assert reasons(prove(entries)) == ["bypassed", "denied", "other tool", "verdict later"]


def test_what_was_blocked_before_it_started_let_nothing_happen(shop: Shop) -> None:
    """Attack: the marker of an action that was allowed and then stopped, in the log of one that was done anyway."""
    verdict = shop.made.refund(shop.run, "a", "A-a")
    early = shop.effect(verdict.entry)
    shop.made.settle(verdict, "blocked")
    late = shop.effect(verdict.entry)
    recorded = next(entry.body for entry in shop.entries() if entry.seq == late)
    assert recorded.decision is None, "the live record calls it a bypass, which stops the agent"
    proof = shop.prove()
    assert proof.pairs == ()
    assert proof.shared == 0
    assert [(one.effect, one.why) for one in proof.unpaired] == [(early, "blocked"), (late, "bypassed")]


def test_an_effect_on_another_customer_than_the_verdict_was_about_is_unpaired(shop: Shop) -> None:
    """Attack: the right amount to the wrong customer."""
    allowed = shop.allow("a")
    shop.effect(allowed, customer="c-mallory")
    shop.effect(allowed, customer="c-A-a")
    proof = shop.prove()
    assert reasons(proof) == ["other customer"]
    assert len(proof.pairs) == 1


def test_a_clock_that_runs_ahead_makes_no_effect_later_than_its_verdict(shop: Shop) -> None:
    """Attack: a log whose clock is an hour fast; what was done before its verdict looks like done after it."""
    allowed = shop.allow("a")
    shop.effect(allowed, at_us=shop.now_us + 3600 * SECOND_US)
    assert reasons(shop.prove()) == ["no time"]


def test_a_verdict_under_another_contract_than_the_one_in_force_pairs_nothing(shop: Shop) -> None:
    allowed = shop.allow("a")
    shop.effect(allowed)
    entries = shop.entries()
    entry = entries[allowed]
    entries[allowed] = replace(entry, body=replace(entry.body, contract="refund-bot@1"))
    assert reasons(prove(entries)) == ["other contract"]


def test_a_period_holds_what_happened_in_it_and_an_agent_what_is_its_own(shop: Shop) -> None:
    shop.effect(shop.allow("a"))
    shop.made.clock.skip(3600 * SECOND_US)
    middle_us = shop.now_us + SECOND_US
    shop.made.clock.skip(3600 * SECOND_US)
    shop.effect(shop.allow("b"))
    shop.effect(None)
    assert len(shop.prove(until_us=middle_us).pairs) == 1
    assert shop.prove(until_us=middle_us).sound
    after = shop.prove(since_us=middle_us)
    assert (len(after.pairs), len(after.unpaired)) == (1, 1)
    assert shop.prove(agent="spiffe://shop.example/agent/other").pairs == ()


def test_what_is_not_shown_is_said(shop: Shop) -> None:
    seen, unseen = shop.allow("a"), shop.allow("b")
    shop.effect(seen)
    shop.effect(seen)
    read = shop.made.ask(shop.run, "c", "orders.read", {"order_id": "A-1"})
    shop.made.settle(read)
    shop.made.write(Draft(body=kinds.Health(part=f"witness:{LOG}", state="degraded", detail="gone"), actor="node"))
    shop.made.clock.skip(60 * SECOND_US)
    shop.made.write(Draft(body=kinds.Health(part=f"witness:{LOG}", state="ok", detail=""), actor="node"))
    shop.made.write(Draft(body=kinds.NodeStopped(reason="asked to"), actor="node"))
    proof = shop.prove()
    assert proof.without_effect == (unseen,)
    assert proof.shared == 1
    assert [(one.tool, one.ran, one.why) for one in proof.unwitnessed] == [
        ("orders.read", 1, "its contract names no witness")
    ]
    assert [gap.what for gap in proof.gaps][-2:] == [f"log {LOG} was not read", "no node ran"]
    assert proof.gaps[-1].until is None


def test_the_proof_of_a_whole_story_finds_what_the_story_holds(tmp_path: Path) -> None:
    proof = prove(Forger(Image(ledgers.small(tmp_path / "w"))).entries())
    assert (proof.pairs, reasons(proof)) == ((), ["no time", "bypassed"]), "its log tells no time as readers give it"
    assert sum(one.ran for one in proof.unwitnessed) > 0, "no setting declares a log there"
