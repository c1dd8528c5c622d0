"""Floors: in force by two persons, under every contract of their scope, never taken back by what a contract says."""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failwell.core import contract as contracts
from failwell.core import kinds, orders
from failwell.core.contract import Situation
from failwell.core.errors import FailwellError, Refused
from failwell.gate import floors
from failwell.identity import names, persons
from tests.unit.gate.house import AGENT, FINE, OTHER, RULES, TOOLS, House, contract_text

FLOOR = """\
floor: company
version: {version}
scope: {scope}
purpose: What no agent of this company may do.
clauses:
  - {{id: ceiling, deny: "payments.*", when: context.args.amount > {ceiling}, severity: major}}
limits:
  - {{id: few, count: "payments.*", at_most: 3, per: 1d, then: deny}}
"""


def text_of(version: int = 1, scope: str = "organisation", ceiling: int = 450) -> str:
    return FLOOR.format(version=version, scope=scope, ceiling=ceiling)


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    house.people()
    house.register(groups=("payments",))
    house.adopt(contract_text(RULES))
    yield house
    house.close()


def put(house: House, text: str, signer: str = "olga", approver: str = "piet", **changed: Any) -> int:
    """Two persons put a floor in force; `changed` is what the second one's order says otherwise."""
    floor = contracts.load_floor(text, name="floor.yaml")
    named: dict[str, Any] = {
        "floor": floor.floor, "version": floor.version, "digest": contracts.floor_digest(floor),
    }  # fmt: skip
    first = house.sign(signer, "floor.sign", orders.FloorSign(**named))
    cited = orders.order_digest(orders.parse_order(first.order))
    second = house.sign(approver, "floor.adopt", orders.FloorAdopt(**{**named, "signed": cited, **changed}))
    document = contracts.floor_to_canonical(floor)
    return house.do(floors.adopt_floor(first, second, document, persons.verify_order, names.check_distinct))


def join(house: House, group: str, agent: str = AGENT, by: str = "olga") -> int:
    signed = house.sign(by, "agent.group", orders.AgentGroup(agent=agent, group=group))
    return house.do(floors.join_group(signed, persons.verify_order, names.check_distinct))


# ---- what it does to verdicts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["organisation", "group:payments"])
def test_a_floors_deny_and_limit_win_over_a_contract_that_allows(house: House, scope: str) -> None:
    run = house.run()
    assert house.ask(run, FINE).verdict == "ALLOW"
    put(house, text_of(scope=scope))
    over = house.ask(run, FINE)
    assert (over.verdict, over.clauses) == ("DENY", ("company/ceiling",))
    body = house.bodies(kinds.Decision2)[-1]
    assert body.floors == ("company@1",)
    assert [house.ask(run, "4.10").verdict for _ in range(4)] == ["ALLOW", "ALLOW", "ALLOW", "DENY"]


def test_the_first_decision_under_a_floor_cites_a_new_posture_with_its_digest(house: House) -> None:
    run = house.run()
    house.ask(run, FINE)
    before = house.bodies(kinds.Decision2)[-1].posture
    entry = put(house, text_of())
    house.ask(run, FINE)
    house.ask(run, FINE)
    first, second = house.bodies(kinds.Decision2)[-2:]
    assert first.posture == second.posture != before
    posture = house.entries(first.posture or 0)[0]
    assert posture.seq > entry
    assert posture.body.floors == sha256(house.state.floor["company"].digest.encode()).hexdigest()


def test_a_floor_of_another_group_binds_only_who_joins_it(house: House) -> None:
    put(house, text_of(scope="group:night"))
    run = house.run()
    assert house.ask(run, FINE).verdict == "ALLOW"
    join(house, "night")
    assert house.agent().groups == ("night", "payments")
    assert house.ask(run, FINE).verdict == "DENY"


def test_what_a_later_version_asks_no_more_is_allowed_again(house: House) -> None:
    put(house, text_of())
    put(house, text_of(version=2, ceiling=900))
    assert house.ask(house.run(), FINE).verdict == "ALLOW"
    assert house.bodies(kinds.Decision2)[-1].floors == ("company@2",)


# ---- who may -----------------------------------------------------------------------------------------------------


def test_a_floor_takes_two_persons_one_of_whom_answers_and_one_who_approves(house: House) -> None:
    for signer, approver, said in (
        ("olga", "olga", "second person"),
        ("quan", "piet", "neither"),
        ("olga", "olga", "second person"),
    ):
        with pytest.raises(Refused, match=said):
            put(house, text_of(), signer, approver)
    house.enrol("sara", "operator")
    with pytest.raises(Refused, match="role approver"):
        put(house, text_of(), "olga", "sara")
    put(house, text_of(), "sara", "piet")
    house.enrol("tess", "approver", key_of="sara")
    house.signers["tess"] = persons.Signer("tess", house.signers["sara"].key)
    with pytest.raises(Refused, match="one key"):
        put(house, text_of(2), "sara", "tess")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": 2}, "differ in version"),
        ({"digest": "ab" * 32}, "differ in digest"),
        ({"signed": "cd" * 32}, "cites"),
    ],
)
def test_the_second_person_signs_what_the_first_one_did(house: House, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(FailwellError, match=said):
        put(house, text_of(), **changed)


def test_another_text_than_the_signed_one_is_refused(house: House) -> None:
    floor, other = (contracts.load_floor(text_of(ceiling=ceiling), name="f") for ceiling in (450, 900_000))
    named: dict[str, Any] = {"floor": "company", "version": 1, "digest": contracts.floor_digest(floor)}
    first = house.sign("olga", "floor.sign", orders.FloorSign(**named))
    cited = orders.order_digest(orders.parse_order(first.order))
    second = house.sign("piet", "floor.adopt", orders.FloorAdopt(**named, signed=cited))
    document = contracts.floor_to_canonical(other)
    with pytest.raises(Refused, match="another floor than the one given"):
        house.do(floors.adopt_floor(first, second, document, persons.verify_order, names.check_distinct))


def test_a_version_grows_and_keeps_its_scope(house: House) -> None:
    put(house, text_of(2))
    for text, said in (
        (text_of(2), "does not follow"),
        (text_of(1), "does not follow"),
        (text_of(3, "group:x"), "is for"),
    ):
        with pytest.raises(Refused, match=said):
            put(house, text)


# ---- a contract and its floors fit each other --------------------------------------------------------------------

WITNESSED = "floor: seen\nversion: 1\nscope: {scope}\npurpose: Effects are seen.\nwitnessed: true\n"


def test_a_floor_that_contracts_in_force_cannot_stand_on_is_refused_with_their_agents(house: House) -> None:
    with pytest.raises(Refused, match=r"contracts in force for refund-bot; refund-bot: seen: payments\.refund"):
        put(house, WITNESSED.format(scope="organisation"))
    assert house.state.floor == {}
    put(house, WITNESSED.format(scope="group:later"))
    with pytest.raises(Refused, match="does not fit"):
        join(house, "later")
    assert house.agent().groups == ("payments",)


def test_a_contract_that_cannot_stand_on_its_agents_floors_is_not_adopted(house: House) -> None:
    put(house, WITNESSED.format(scope="group:later"))
    house.register(OTHER, groups=("later",))
    with pytest.raises(Refused, match="cannot stand on the floors of other-bot"):
        house.adopt(contract_text(RULES, agent=OTHER))
    seen = TOOLS.replace("    deadline: 10s\n", "    deadline: 10s\n    witness: payments-log\n")
    house.adopt(contract_text(RULES, tools=seen, agent=OTHER))
    assert house.agent(OTHER).authority == "ACTIVE"
    posture = house.bodies(kinds.Posture)[-1]
    assert posture.floors is not None


def test_groups_only_grow_by_an_operators_order(house: House) -> None:
    with pytest.raises(Refused, match="role operator"):
        join(house, "night", by="piet")
    join(house, "night")
    with pytest.raises(Refused, match="already"):
        join(house, "night")
    with pytest.raises(FailwellError):
        house.write(_grouped(house, ("night",)))


def _grouped(house: House, groups: tuple[str, ...]) -> Any:
    from failwell.core.records import Draft

    return Draft(body=kinds.AgentGrouped(group="night", groups=groups), actor="person:olga", agent=AGENT)


def test_floors_are_the_same_after_a_restart(house: House) -> None:
    put(house, text_of(scope="group:night"))
    join(house, "night")
    before = house.stored()
    house.reopen()
    assert house.stored() == before
    assert [floor.floor for floor in house.state.floors_of(AGENT)] == ["company"]
    assert house.ask(house.run(), FINE).verdict == "DENY"


# ---- property ----------------------------------------------------------------------------------------------------

STRICT = ("ALLOW", "ESCALATE", "DENY")
WORDS = ("allow", "escalate", "deny")


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A contract and up to three floors over its two tools."""

    def rules(tools: tuple[str, ...]) -> str:
        clauses, limits = [], []
        for number in range(draw(st.integers(0, 2))):
            then, tool = draw(st.sampled_from(["deny", "escalate"])), draw(st.sampled_from(tools))
            amount = draw(st.integers(0, 1000))
            sign = draw(st.sampled_from([">", "<", "=="]))
            clauses.append(f'  - {{id: c{number}, {then}: "{tool}", when: context.args.amount {sign} {amount}}}')
        for number in range(draw(st.integers(0, 2))):
            then, tool = draw(st.sampled_from(["deny", "escalate", "record"])), draw(st.sampled_from(tools))
            at_most = draw(st.integers(1, 4))
            limits.append(f'  - {{id: l{number}, count: "{tool}", at_most: {at_most}, per: 1h, then: {then}}}')
        parts = ["clauses:", *clauses] if clauses else []
        return "\n".join([*parts, *(["limits:", *limits] if limits else [])])

    restricted = draw(st.sampled_from(["", *(f"restricted: {{irreversible: {word}}}\n" for word in WORDS)]))
    contract = contract_text(rules(("payments.refund",)) + "\n" + restricted)
    under = []
    for number in range(draw(st.integers(1, 3))):
        never = draw(st.sampled_from(["", "never: [payments.refund]\n", 'never: ["orders.*"]\n']))
        word = draw(st.sampled_from(["", *(f"restricted: {{irreversible: {w}, limits: half}}\n" for w in WORDS)]))
        head = f"floor: f{number}\nversion: 1\nscope: organisation\npurpose: Bounds.\nstoppable: true\n"
        under.append(head + never + word + rules(("payments.*", "payments.refund")))
    return contract, under


@settings(max_examples=60, deadline=None)
@given(texts(), st.integers(0, 2**32))
def test_no_verdict_under_floors_is_laxer_than_without_them(made: tuple[str, list[str]], seed: int) -> None:
    rng = random.Random(seed)
    contract = contracts.load(made[0], name="c")
    under = tuple(contracts.load_floor(text, name="f") for text in made[1])
    bare, bound = contracts.compile(contract), contracts.compile(contract, under)
    used: dict[str, int] = {}

    def usage(limit: contracts.Limit, key: tuple[str, ...]) -> int:
        return used.setdefault(limit.id, rng.randrange(5))

    for _ in range(5):
        used.clear()
        situation = Situation(
            authority=rng.choice(["ACTIVE", "RESTRICTED", "PROBATION"]), now_us=1_796_126_400_000_000,
            request="verified", novel=(), baseline="absent", usage=usage,
        )  # fmt: skip
        arguments = b'{"customer_id":"c","order_id":"o","amount":"%d.00"}' % rng.randrange(12)
        proposal = contracts.Proposal(tool="payments.refund", arguments=arguments, reason=None)
        without, within = bare.judge(proposal, situation), bound.judge(proposal, situation)
        assert STRICT.index(within.verdict) >= STRICT.index(without.verdict), f"seed {seed}: {made}"
        assert {clause.id for clause in without.clauses} <= {clause.id for clause in within.clauses}
