"""On whose behalf: a contract bounds the principals that its agent acts for, and their provenance is on record (R2)."""

from __future__ import annotations

import msgspec
import pytest

from failwell.core import contract as contracts
from failwell.core import kinds
from tests.attacks.test_delegation_widened import adopt
from tests.unit.gate.house import AGENT, RULES, House, contract_text, open_house


def open_for(*principals: str) -> House:
    house = open_house()
    text = contract_text(RULES, version=2)
    adopt(house, msgspec.structs.replace(contracts.load(text, name="contract.yaml"), principals=principals))
    return house


@pytest.mark.requirement("R2.6")
@pytest.mark.parametrize(
    ("principal", "verdict"),
    [
        ("customer:kunde-8841x", "ALLOW"), ("user:anna", "ALLOW"), ("user:berta", "DENY"), ("admin:8841", "DENY"),
        ("customer", "DENY"), ("customer:", "DENY"), ("Customer:8841", "DENY"), ("cu\u0455tomer:8841", "DENY"),
        (" customer:kunde-8841x", "DENY"), ("user:anna ", "DENY"), (None, "DENY"),
    ],
)  # fmt: skip
def test_a_call_on_behalf_of_another_principal_than_the_contract_names_is_denied(
    principal: str | None, verdict: str
) -> None:
    house = open_for("customer", "user:anna")
    run = house.run(principal=principal)
    found = house.ask(run)
    body = house.entries(found.entry)[0].body
    assert isinstance(body, kinds.Decision2)
    assert found.verdict == verdict
    assert [clause.id for clause in body.clauses] == ([] if verdict == "ALLOW" else ["principal"])
    assert body.principal_provenance == ("absent" if principal is None else "asserted")


def test_without_a_word_on_principals_it_acts_for_anybody_and_for_nobody() -> None:
    house = open_house()
    assert house.ask(house.run(principal="whoever")).verdict == "ALLOW"
    assert house.ask(house.run()).verdict == "ALLOW"


def test_the_principal_stands_nowhere_in_clear_but_for_its_kind() -> None:
    house = open_for("customer")
    house.ask(house.run(principal="customer:kunde-8841x", agent=AGENT))
    data = b"".join(row.data for row in house.storage.entries(0, 1000))
    assert b"kunde-8841x" not in data
    assert house.bodies(kinds.RunOpened2)[-1].principal_kind == "customer"
