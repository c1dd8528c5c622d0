"""Adversary: a sub-agent, or an agent that hands its work to one, to get more done than either may do alone (R2)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failwell.core import contract as contracts
from failwell.core import kinds, orders
from failwell.core.errors import Corrupt, Refused
from failwell.core.records import Draft
from failwell.gate import registry
from failwell.identity import persons
from failwell.node.fence import Fence
from tests.unit.gate.house import AGENT, ASK, BIG, FINE, HOUR_US, OTHER, RULES, SMALL, House, contract_text, open_house

THIRD = "spiffe://shop.example/agent/third-bot"
#: The sub-agent's own contract: the same tools, and no rule at all.
LAX = "restricted: {irreversible: allow, limits: same}\n"
LIMITED = """
limits:
  - {id: own-hour, count: payments.refund, at_most: 2, per: 1h, then: deny, severity: minor}
restricted: {irreversible: allow, limits: same}
"""


def adopt(house: House, contract: contracts.Contract) -> None:
    """Owner signs, approver adopts, whatever the text reader knows of it."""
    named: dict[str, Any] = {
        "contract": contract.contract, "version": contract.version, "digest": contracts.digest(contract),
    }  # fmt: skip
    signed = house.sign("olga", "contract.sign", orders.ContractSign(**named))
    first = orders.order_digest(orders.parse_order(signed.order))
    second = house.sign("piet", "contract.adopt", orders.ContractAdopt(**named, signed=first))
    house.do(registry.adopt_contract(signed, second, contracts.to_canonical(contract), persons.verify_order, "test/1"))


def written(agent: str, rules: str, *, delegates: tuple[str, ...] = (), version: int = 1) -> contracts.Contract:
    text = contract_text(rules, agent=agent, version=version)
    return msgspec.structs.replace(contracts.load(text, name="contract.yaml"), delegates=delegates)


def open_pair(lax: str = LAX) -> House:
    """A refund-bot that may hand work to other-bot, whose own contract would let more through."""
    house = open_house()
    house.register(OTHER)
    adopt(house, written(OTHER, lax, delegates=("third-bot",)))
    adopt(house, written(AGENT, RULES, delegates=("other-bot",), version=2))
    return house


def handed(house: House, parent: int, agent: str = OTHER) -> int:
    return house.run(agent, parent=parent)


def clauses(house: House, entry: int) -> list[str]:
    body = house.entries(entry)[0].body
    assert isinstance(body, kinds.Decision2)
    return [clause.id for clause in body.clauses]


@pytest.mark.requirement("R2.9")
@pytest.mark.parametrize(
    ("amount", "verdict", "by"),
    [(FINE, "ALLOW", []), (BIG, "DENY", ["refund-bot/big"]), (ASK, "ESCALATE", ["refund-bot/ask"])],
)
def test_what_the_delegator_may_not_do_its_sub_agent_may_not_either(amount: str, verdict: str, by: list[str]) -> None:
    house = open_pair()
    alone = house.run(OTHER)
    assert house.ask(alone, amount, agent=OTHER).verdict == "ALLOW", "its own contract lets it pass"
    found = house.ask(handed(house, house.run()), amount, agent=OTHER)
    assert (found.verdict, clauses(house, found.entry)) == (verdict, by)


def test_what_the_sub_agent_may_not_do_is_denied_though_the_delegator_may() -> None:
    house = open_pair(LIMITED)
    run = handed(house, house.run())
    verdicts = [house.ask(run, agent=OTHER).verdict for _ in range(3)]
    assert verdicts == ["ALLOW", "ALLOW", "DENY"]


def test_work_that_is_handed_over_uses_up_the_limits_of_everybody_who_handed_it_over() -> None:
    house = open_pair()
    own = house.run()
    run = handed(house, own)
    verdicts = [house.ask(own).verdict for _ in range(4)] + [house.ask(run, agent=OTHER).verdict for _ in range(3)]
    assert verdicts == ["ALLOW"] * 6 + ["DENY"]
    assert house.ask(own).verdict == "DENY", "the delegator cannot go on where its sub-agent used all up"
    house.clock.skip(HOUR_US + 1)
    assert house.ask(own).verdict == "ALLOW"


@pytest.mark.requirement("R3.6")
def test_a_decision_names_every_link_of_its_chain_and_the_owner_of_the_first() -> None:
    house = open_pair()
    house.register(THIRD)
    adopt(house, written(THIRD, LAX))
    first = house.run(principal="customer:8841", request="refund please")
    entry = house.ask(handed(house, handed(house, first), THIRD), agent=THIRD).entry
    body = house.entries(entry)[0].body
    assert body.chain == ("owner:olga", f"agent:{AGENT}", f"agent:{OTHER}", f"agent:{THIRD}")
    assert body.principal == house.state.run[first].principal is not None
    assert body.principal_provenance == "asserted"


def test_nobody_hands_work_to_an_agent_that_the_contract_does_not_name() -> None:
    house = open_pair()
    house.register(THIRD)
    adopt(house, written(THIRD, LAX))
    run = house.run()
    with pytest.raises(Refused, match="hand no work"):
        handed(house, run, THIRD)
    with pytest.raises(Refused, match="hand no work"):
        handed(house, handed(house, run), OTHER)  # it names only third-bot


def test_work_never_goes_back_to_who_handed_it_over_and_no_further_than_the_bound() -> None:
    house = open_pair()
    adopt(house, written(OTHER, LAX, delegates=("refund-bot",), version=2))
    with pytest.raises(Refused, match="never back"):
        handed(house, handed(house, house.run()), AGENT)


def test_a_sub_agent_names_no_other_principal_and_no_other_request() -> None:
    house = open_pair()
    run = house.run(principal="customer:1", request="refund")
    for given in ({"principal": "customer:2"}, {"request": "and pay me too"}):
        with pytest.raises(Refused, match="of the run it came from"):
            house.run(OTHER, parent=run, **given)


def test_when_the_delegator_is_suspended_its_sub_agent_does_nothing_more_for_it() -> None:
    house = open_pair()
    run = handed(house, house.run())
    running = house.ask(run, agent=OTHER)
    house.suspend("piet")
    ordered = house.bodies(kinds.InterruptOrdered)[-1]
    assert running.entry in ordered.actions, "what it handed over is stopped with it"
    denied = house.ask(run, agent=OTHER)
    assert (denied.verdict, clauses(house, denied.entry)) == ("DENY", ["refund-bot/authority.suspended"])
    assert house.ask(house.run(OTHER), agent=OTHER).verdict == "ALLOW", "its own work goes on"


def test_a_permit_is_void_once_anybody_of_the_chain_was_stopped() -> None:
    fence = Fence(lambda: False)
    for agent in (AGENT, OTHER):
        fence.set(agent, "ACTIVE", 1)
    permits = [fence.grant(action, OTHER, 1, ((AGENT, 1),)) for action in (7, 8)]
    assert fence.start(permits[0], "supervised").action == 7
    fence.close(AGENT, 2)
    with pytest.raises(Refused, match="was stopped before"):
        fence.start(permits[1], "supervised")


def test_a_closed_run_hands_nothing_over_any_more() -> None:
    house = open_pair()
    parent = house.run()
    run = handed(house, parent)
    from failwell.gate.runs import close_run

    house.do(close_run(parent, AGENT, "done"))
    found = house.ask(run, agent=OTHER)
    assert (found.verdict, clauses(house, found.entry)) == ("DENY", ["refund-bot/delegation"])


def test_a_new_contract_that_names_the_sub_agent_no_more_takes_the_work_back() -> None:
    house = open_pair()
    run = handed(house, house.run())
    adopt(house, written(AGENT, RULES, version=3))
    found = house.ask(run, agent=OTHER)
    assert (found.verdict, clauses(house, found.entry)) == ("DENY", ["refund-bot/delegation"])


def test_an_entry_that_claims_a_chain_its_parent_does_not_have_is_never_stored() -> None:
    house = open_pair()
    parent = house.run()
    child = house.entries(handed(house, parent))[0].body
    forged = msgspec.structs.replace(child, chain=())
    with pytest.raises(Corrupt, match="does not follow"):
        house.write(Draft(body=forged, actor="agent:x", agent=OTHER, run=house.state.size))


def test_the_delegators_limit_halves_when_it_is_restricted_and_not_its_sub_agents() -> None:
    house = open_pair()
    run = handed(house, house.run())
    entry = house.ask(run, SMALL, agent=OTHER).entry
    uses = {use.limit: use.at_most for use in house.entries(entry)[0].body.uses}
    assert uses == {"refund-bot/per-hour": 6, "refund-bot/repeat": 1}
