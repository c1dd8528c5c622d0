"""The layers of an incident: what fired, was bypassed, was missing, told from the record and the contract of then."""

from __future__ import annotations

import pytest

from failwell.core import kinds
from failwell.core.contract import load
from failwell.response.layers import BYPASSED, FIRED, MISSING, SILENT, Layer, layers
from tests.unit.gate.house import AGENT, FATAL, SMALL, House, contract_text, open_house
from tests.unit.response.test_account import see

TOOL = "payments.refund"


@pytest.fixture
def house() -> House:
    house = open_house()
    run = house.run()
    house.ask(run, SMALL)
    house.ask(run, customer="c-run")
    house.ask(run, FATAL)
    return house


def told(house: House) -> dict[str, Layer]:
    contract = house.state.contract_of(AGENT)
    assert contract is not None
    named = {f"{contract.contract}@{contract.version}": contract}
    own = [entry for entry in house.entries() if entry.agent == AGENT]
    return {layer.layer: layer for layer in layers(own, named, frozenset()).layers if layer.tool == TOOL}


@pytest.mark.requirement("R22.2")
def test_a_clause_that_spoke_fired_with_its_first_entry_and_one_that_did_not_is_silent(house: House) -> None:
    found = told(house)
    spoke = {
        clause.id: entry.seq
        for entry in reversed(house.entries())
        if isinstance(entry.body, kinds.Decision)
        for clause in entry.body.clauses
    }
    assert spoke
    for clause, entry in spoke.items():
        layer = found.get(f"clause {clause}") or found[f"limit {clause}"]
        assert (layer.state, layer.entry) == (FIRED, entry)
    silent = {layer.state for name, layer in found.items() if name.split()[-1] not in spoke and "clause" in name}
    assert silent <= {SILENT}


@pytest.mark.requirement("R22.2")
def test_what_the_contract_does_not_declare_is_missing(house: House) -> None:
    found = told(house)
    tool = next(tool for tool in house.state.contract_of(AGENT).tools if tool.tool == TOOL)  # type: ignore[union-attr]
    expected = {
        "witness": tool.witness is None, "deadline": tool.deadline_us is None, "custody": tool.custody == "none",
        "ensure": not tool.ensure,
    }  # fmt: skip
    assert any(expected.values())
    assert {name: name in found and found[name].state == MISSING for name in expected} == expected


@pytest.mark.requirement("R22.2")
def test_an_effect_without_a_verdict_bypassed_the_gate(house: House) -> None:
    assert "gate" not in told(house)
    see(house, "r-1")
    layer = told(house)["gate"]
    assert layer.state == BYPASSED
    assert layer.entry == next(e.seq for e in house.entries() if isinstance(e.body, kinds.EffectWitnessed))


def test_a_tool_that_no_contract_lists_was_denied_and_without_a_contract_nothing_stood_there(house: House) -> None:
    house.ask(house.run(), tool="mail.send")
    own = [entry for entry in house.entries() if entry.agent == AGENT]
    contract = load(contract_text(), name="refund-bot")
    named = {f"{contract.contract}@{contract.version}": contract}
    told_of = [layer for layer in layers(own, named, frozenset()).layers if layer.tool == "mail.send"]
    assert [(layer.layer, layer.state) for layer in told_of] == [("contract", FIRED)]
    assert {layer.state for layer in layers(own, {}, frozenset()).layers} == {MISSING}
