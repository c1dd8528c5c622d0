"""Runs: on whose behalf and because of what, each with where it comes from; what the agent declares; reasons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from failwell.core import contract as contracts
from failwell.core import kinds, orders
from failwell.core.errors import InputError, Refused
from failwell.core.records import Draft
from failwell.gate import registry, runs
from failwell.gate.explaining import explain
from failwell.identity import persons
from tests.unit.gate.house import AGENT, OTHER, RULES, House, contract_text, open_house

DECLARED = runs.Declared(model="a" * 64, prompt="b" * 64, tool_schemas="c" * 64)


@pytest.fixture
def house() -> Iterator[House]:
    made = open_house()
    key = made.state.agent[AGENT].key or ""
    body = kinds.HostRegistered(host="shop", key=key, agents=(AGENT,))
    made.write(Draft(body=body, actor="person:olga"))
    yield made
    made.close()


def opened(house: House, run: int) -> kinds.RunOpened2:
    body = house.entries(run)[0].body
    assert isinstance(body, kinds.RunOpened2)
    return body


def adopt(house: House, agent: str, *, delegates: tuple[str, ...] = (), version: int = 1) -> None:
    text = contract_text(RULES, agent=agent, version=version)
    made = msgspec.structs.replace(contracts.load(text, name="contract.yaml"), delegates=delegates)
    named: dict[str, Any] = {"contract": made.contract, "version": made.version, "digest": contracts.digest(made)}
    signed = house.sign("olga", "contract.sign", orders.ContractSign(**named))
    first = orders.order_digest(orders.parse_order(signed.order))
    second = house.sign("piet", "contract.adopt", orders.ContractAdopt(**named, signed=first))
    house.do(registry.adopt_contract(signed, second, contracts.to_canonical(made), persons.verify_order, "test/1"))


# ---- where principal and request come from -----------------------------------------------------------------------


@pytest.mark.requirement("R3.5")
@pytest.mark.parametrize(
    ("given", "provenance"),
    [
        ({"principal": "customer:1", "request": "refund", "host": "shop"}, ("verified", "verified")),
        ({"principal": "customer:1", "request": "refund"}, ("asserted", "asserted")),
        ({"principal": "customer:1", "host": "shop"}, ("verified", "absent")),
        ({"request": "refund"}, ("absent", "asserted")),
        ({"host": "shop"}, ("absent", "absent")),
        ({}, ("absent", "absent")),
    ],
)
def test_principal_and_request_are_verified_by_a_host_asserted_by_an_agent_or_absent(
    house: House, given: dict[str, Any], provenance: tuple[str, str]
) -> None:
    run = house.run(**given)
    body = opened(house, run)
    assert (body.principal_provenance, body.request_provenance) == provenance
    assert (body.principal is None, body.request is None) == tuple(each == "absent" for each in provenance)
    decided = house.entries(house.ask(run).entry)[0].body
    assert isinstance(decided, kinds.Decision2)
    assert (decided.principal, decided.principal_provenance) == (body.principal, provenance[0])


@pytest.mark.requirement("R14.6")
def test_a_run_that_was_handed_over_derives_what_a_host_proved_and_nothing_becomes_truer_by_it(house: House) -> None:
    house.register(OTHER)
    adopt(house, OTHER)
    adopt(house, AGENT, delegates=("other-bot",), version=2)
    for given, first, second in (
        ({"principal": "customer:1", "request": "refund", "host": "shop"}, "verified", "derived"),
        ({"principal": "customer:1", "request": "refund"}, "asserted", "asserted"),
        ({}, "absent", "absent"),
    ):
        parent = house.run(**given)
        child = house.run(OTHER, parent=parent)
        body = opened(house, child)
        assert opened(house, parent).principal_provenance == first
        assert (body.principal_provenance, body.request_provenance) == (second, second)
        assert body.principal == opened(house, parent).principal
        assert (body.parent, body.chain, body.host) == (parent, (AGENT,), None)
        assert house.entries(child)[0].refs[0].seq == parent
        decided = house.entries(house.ask(child, agent=OTHER).entry)[0].body
        assert decided.principal_provenance == second


def test_a_clause_tells_what_was_handed_over_from_what_a_host_proved() -> None:
    contracts.load(
        contract_text(
            'clauses:\n  - {id: only-proven, deny: payments.refund, when: context.principal != "verified"}\n'
            '  - {id: only-first, escalate: payments.refund, when: context.request == "derived"}\n'
        ),
        name="contract.yaml",
    )


# ---- what the agent declares -------------------------------------------------------------------------------------


@pytest.mark.requirement("R14.1")
def test_declared_digests_are_sealed_in_the_posture_of_their_run_and_survive_whatever_else_changes(
    house: House,
) -> None:
    plain, run = house.run(), house.run(declared=DECLARED, evaluator="test/1")

    def posture(of: int) -> kinds.Posture:
        seq = house.entries(house.ask(of).entry)[0].body.posture
        body = house.entries(seq)[0].body
        assert isinstance(body, kinds.Posture)
        return body

    def works_with(of: kinds.Posture) -> tuple[str | None, ...]:
        return (of.model, of.prompt, of.tool_schemas)

    first = posture(run)
    assert works_with(first) == tuple(DECLARED)
    assert works_with(posture(plain)) == (None, None, None)
    adopt(house, AGENT, version=2)
    second = posture(run)
    assert (second.contract, works_with(second)) == ("refund-bot@2", tuple(DECLARED))
    house.write(Draft(body=kinds.Config(digest="d" * 64, text="{}"), actor="person:olga"))
    third = posture(run)
    assert (third.configuration, works_with(third)) == ("d" * 64, tuple(DECLARED))
    assert posture(run) == third
    assert sum(isinstance(entry.body, kinds.Posture) and entry.run == run for entry in house.entries()) == 3


@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "g" * 64, "a" * 65])
def test_what_is_declared_is_a_digest(digest: str) -> None:
    with pytest.raises(InputError):
        runs.open_run(AGENT, principal=None, request=None, host=None, declared=runs.Declared(model=digest))


# ---- reasons -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R14.4")
def test_a_reason_is_stated_absent_or_given_afterwards_and_says_which(house: House) -> None:
    run = house.run()
    stated, silent = house.ask(run, reason="parcel lost").entry, house.ask(run).entry
    assert house.entries(stated)[0].body.reason_provenance == "asserted"
    assert house.entries(silent)[0].body.reason is None
    seq = house.do(explain(AGENT, silent, "the customer asked twice"))
    entry = house.entries(seq)[0]
    assert isinstance(entry.body, kinds.ReasonGiven)
    assert (entry.body.decision, entry.actor, entry.refs[0].seq) == (silent, f"agent:{AGENT}", silent)
    assert house.secret(seq)["reason"] == "the customer asked twice"
    assert house.entries(silent)[0].body.reason is None, "what was decided stays as it was"


def test_nobody_explains_anothers_decision_or_what_is_none(house: House) -> None:
    house.register(OTHER)
    entry = house.ask(house.run()).entry
    for agent, about in ((OTHER, entry), (AGENT, 0), (AGENT, 10_000)):
        with pytest.raises(Refused):
            house.do(explain(agent, about, "because"))
