"""Names and keys that pass for another's: a floor for an agent, a group for a group, one key for two who prove."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from failwell.core import orders
from failwell.core.errors import Refused
from failwell.gate import registry
from failwell.identity import keys, names, persons
from tests.unit.gate.house import AGENT, OTHER, RULES, House, contract_text
from tests.unit.gate.test_floors import join, put, text_of

NEW = "spiffe://shop.example/agent/company"


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    house.people()
    house.register(groups=("payments",))
    house.adopt(contract_text(RULES))
    yield house
    house.close()


def register(house: House, agent: str = OTHER, groups: tuple[str, ...] = (), seed: bytes = b"n" * 32) -> int:
    key = base64.b64encode(keys.from_seed(seed).public).decode()
    details = orders.AgentRegister(agent=agent, key=key, owner="olga", groups=groups)
    signed = house.sign("olga", "agent.register", details)
    name = agent.rpartition("/")[2]
    return house.do(registry.register_agent(signed, name, persons.verify_order, names.check_distinct))


def test_no_floor_is_named_as_an_agent_whose_clauses_its_own_would_pass_for(house: House) -> None:
    """Attack: what `planner/big` asks is answered by the planner's reviewers, though a floor of another agent asks."""
    with pytest.raises(Refused, match="an agent is named refund-bot"):
        put(house, text_of().replace("floor: company", "floor: refund-bot"))
    put(house, text_of())
    with pytest.raises(Refused, match="a floor is named company"):
        register(house, NEW)


def test_no_group_is_made_that_looks_like_another(house: House) -> None:
    """Attack: an agent in `payrnents` is in no floor's scope, and reads as if it were; so does a floor for it."""
    with pytest.raises(Refused, match="looks like payments"):
        register(house, groups=("payrnents",))
    with pytest.raises(Refused, match="looks like payments"):
        join(house, "payrnents")
    with pytest.raises(Refused, match="looks like payments"):
        put(house, text_of(scope="group:payrnents"))
    register(house, groups=("payments", "night"))
    join(house, "night")
    put(house, text_of(scope="group:day-shift"))
    with pytest.raises(Refused, match="looks like day-shift"):
        join(house, "day.shift", AGENT)


def test_no_key_proves_two(house: House) -> None:
    """Attack: an agent's own key as a host's, to say on whose behalf it works, or as a person's, to approve."""
    with pytest.raises(Refused, match="in use"):
        register(house, seed=b"a" * 32)  # the other agent's
    with pytest.raises(Refused, match="in use"):
        register(house, seed=bytes([2]) * 32)  # piet's
    public = base64.b64encode(keys.from_seed(b"a" * 32).public).decode()
    host = orders.HostRegister(host="shop", key=public, agents=(AGENT,))
    with pytest.raises(Refused, match="in use"):
        house.do(registry.register_host(house.sign("olga", "host.register", host), persons.verify_order))
    zoe = persons.Signer("zoe", keys.from_seed(b"a" * 32))
    proof = persons.prove_enrolment(zoe, house.state.origin)
    person = orders.PersonEnrol(person="zoe", key=public, proof=proof, roles=("approver",), contact=None)
    signed = house.sign("olga", "person.enrol", person)
    with pytest.raises(Refused, match="in use"):
        house.do(registry.enrol_person(signed, None, persons.verify_order, persons.check_enrolment))
