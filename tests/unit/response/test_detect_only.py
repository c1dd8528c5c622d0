"""An agent that no gate stands before: what is told of it, and what its vendor's silence means (D25)."""

from __future__ import annotations

from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.errors import Corrupt, Refused
from failwell.core.instants import format_at
from failwell.core.records import Draft
from failwell.gate import outcomes
from failwell.node.revoking import Pending, Revoked, pending, record_revocation
from failwell.response.account import Account, account
from failwell.response.letters import incident_letter
from failwell.verify.enforcement import prove
from tests.unit.gate.house import AGENT, OTHER, SECOND_US, House, contract_text

NOTE = b"log\n9999\nroot\n\n\xe2\x80\x94 log AAAAAAAA\n"


@pytest.fixture
def house() -> House:
    made = House()
    made.people()
    body = kinds.AgentRegistered2(name="refund-bot", owner="olga", groups=(), detect_only=True)
    made.write(Draft(body=body, actor="person:olga", agent=AGENT))
    return made


def see(house: House, ref: str) -> int:
    line = outcomes.Witnessed(
        witness="vendor-log", ref=ref, tool="vendor.act", at=format_at(house.clock.wall), customer=None,
        action=None, line="ab" * 32,
    )  # fmt: skip
    return house.do(outcomes.record_effects(AGENT, (line,)))[0]


def answer(house: House, *, confirmed: bool, tries: int = 1) -> None:
    (item,) = pending(house.state)
    tried = Revoked(confirmed, "confirm", "the confirm command said so", "", 5)
    house.do(record_revocation(item, tried, tries))


def told(house: House) -> Account:
    row = house.state.incident[1]
    mine = [entry for entry in house.entries() if entry.agent == AGENT and entry.seq >= row.onset_first]
    return account(1, row, house.agent(), mine, stated_ms=50, reveal=lambda token: token)


def test_its_effects_are_counted_as_not_governed_and_are_no_bypass(house: House) -> None:
    effects = [see(house, "1"), see(house, "2")]
    assert house.bodies(kinds.Signal) == []
    proof = prove(house.entries())
    assert [(one.effect, one.why) for one in proof.apart] == [(effect, "detect-only") for effect in effects]
    assert proof.sound


def test_an_order_alone_does_not_stop_it(house: House) -> None:
    house.suspend("piet")
    assert "STOPPED" not in house.state.incident[1].marks, "no gate stands before it"
    assert pending(house.state) == (Pending(AGENT, "refund-bot", 1),)
    assert told(house).access == "nobody has been asked yet to take it away"
    assert told(house).times["stopped"] is None


def test_an_unconfirmed_revocation_fails_containment_until_its_vendor_says_otherwise(house: House) -> None:
    house.suspend("piet")
    answer(house, confirmed=False)
    marks = house.state.incident[1].marks
    assert "CONTAINMENT_FAILED" in marks
    assert [signal.signal for signal in house.bodies(kinds.Signal)][-1] == "executor.unconfirmed"
    unsure = told(house)
    assert (unsure.access or "").startswith("unconfirmed")
    assert "not confirmed that its access is gone" in " ".join(unsure.asked)
    letter = incident_letter(unsure, NOTE)
    assert "IT MAY STILL ACT" in letter.text
    assert "stopped" not in letter.text.split("\n")[0]
    answer(house, confirmed=True, tries=2)
    assert pending(house.state) == ()
    sure = told(house)
    assert "STOPPED" in house.state.incident[1].marks
    assert sure.times["stopped"] is not None
    assert "IT MAY STILL ACT" not in incident_letter(sure, NOTE).text


def test_what_its_log_shows_after_the_suspension_has_escaped(house: House) -> None:
    see(house, "1")
    house.clock.skip(SECOND_US)
    house.suspend("piet")
    house.clock.skip(SECOND_US)
    see(house, "2")
    answer(house, confirmed=True)
    house.clock.skip(SECOND_US)
    see(house, "3")
    escaped = told(house).escaped_effects
    assert (escaped.while_stopping, escaped.after_fence) == (1, 1)


def test_it_is_not_released_while_nobody_knows_whether_it_is_stopped(house: House) -> None:
    house.suspend("piet")
    house.accept_page(1)
    house.acknowledge("olga")
    with pytest.raises(Refused, match="STOPPED"):
        house.propose("olga")
    answer(house, confirmed=True)
    house.propose("olga")


def test_a_gated_agent_is_not_declared_stopped_by_a_vendor(house: House) -> None:
    """Attack: a node's entry says that access was revoked, of an agent whose tools still run."""
    house.register(OTHER)
    house.suspend("piet", OTHER)
    body: Any = kinds.AccessRevoked(state="confirmed", method="x", tries=1, elapsed_us=0, detail="", incident=1)
    for agent in (OTHER, AGENT):
        with pytest.raises(Corrupt):
            house.write(Draft(body=body, actor="node", agent=agent))


def test_a_contract_does_not_put_a_gate_before_it(house: House) -> None:
    house.adopt(contract_text())
    verdict = house.ask(house.run())
    assert (verdict.clauses, verdict.governed, verdict.may_start) == (("agent.detect-only",), True, False)
