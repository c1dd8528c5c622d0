"""The verdict on one action: what is listed, what was declared, what the clauses and limits say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cedarpy import Schema, pst

from failwell.core import contract as contracts
from failwell.core.contract.expression import Reads, Truth, parse_when
from failwell.core.contract.judge import day_us
from failwell.core.contract.policy import EvaluationError, Policy
from failwell.core.errors import ContractError
from tests.unit.core.contract.contracts import (
    REFUND,
    REFUND_BOT,
    clause,
    compiled,
    decided,
    judge,
    one_tool,
    proposal,
    situation,
)

HOUR_US = 3_600_000_000


def refund(**changed: Any) -> contracts.Proposal:
    return proposal("payments.refund", **(REFUND | changed))


def taken(judgment: contracts.Judgment) -> list[tuple[str, tuple[str, ...]]]:
    """(limit, key) of what the action takes."""
    return [(use.limit.id, use.key) for use in judgment.uses if use.taken(judgment.verdict)]


def test_what_stays_within_every_bound_is_allowed_with_its_facts() -> None:
    judgment = judge(REFUND_BOT, refund())
    assert judgment.verdict == "ALLOW"
    assert judgment.clauses == ()
    assert judgment.errors == ()
    assert judgment.hint is None
    assert judgment.facts["amount"] == contracts.Fact(
        type="money(2, 0..10000)", value=4990, public=True, provenance="asserted"
    )
    assert judgment.facts["iban"].value == "GB82WEST12345698765432"
    assert not judgment.facts["iban"].public
    assert judgment.facts["note"].provenance == "absent"
    assert judgment.affects == {"customer": "8841", "resource": "A-1009", "amount": 4990}
    assert judgment.arguments == (
        b'{"amount":"49.90","customer_id":"8841","iban":"GB82 WEST 1234 5698 7654 32","order_id":"A-1009"}'
    )
    assert taken(judgment) == [("refunds-per-hour", ()), ("one-per-order", ('"A-1009"',))]


@pytest.mark.requirement("R2.2")
def test_a_clause_that_holds_denies_and_says_why() -> None:
    judgment = judge(REFUND_BOT, refund(amount=200.01))
    assert judgment.verdict == "DENY"
    assert decided(judgment) == [("refund-ceiling", "deny")]
    assert judgment.clauses[0].severity == "major"
    assert judgment.clauses[0].because == "Above 200 EUR a human refunds."
    assert judgment.hint == "It would pass refund-ceiling if amount is at most 200.00."
    assert taken(judgment) == []


@pytest.mark.requirement("R2.2")
def test_the_boundary_value_of_a_clause_is_allowed() -> None:
    assert judge(REFUND_BOT, refund(amount=200)).verdict == "ALLOW"


def test_an_escalating_clause_leaves_a_question() -> None:
    judgment = judge(REFUND_BOT, refund(), novel=("iban",))
    assert judgment.verdict == "ESCALATE"
    assert decided(judgment) == [("unknown-account", "escalate")]
    assert taken(judgment) == []


def test_deny_is_stricter_than_escalate_and_both_are_listed() -> None:
    judgment = judge(REFUND_BOT, refund(amount=300), novel=("iban",))
    assert judgment.verdict == "DENY"
    assert decided(judgment) == [("refund-ceiling", "deny"), ("unknown-account", "escalate")]


@pytest.mark.parametrize(("request_", "verdict"), [("absent", "DENY"), ("asserted", "ALLOW"), ("verified", "ALLOW")])
def test_clauses_can_decide_on_a_missing_request(request_: str, verdict: str) -> None:
    text = one_tool(clauses=clause('context.request == "absent"'))
    assert judge(text, proposal(), request=request_).verdict == verdict


def test_a_clause_without_an_expression_always_holds() -> None:
    text = one_tool(clauses="  - {id: ask, escalate: act}\n")
    assert judge(text, proposal()).verdict == "ESCALATE"


@pytest.mark.requirement("R2.1")
def test_what_is_not_listed_is_denied() -> None:
    judgment = judge(REFUND_BOT, proposal("payments.transfer", amount=1))
    assert (judgment.verdict, decided(judgment)) == ("DENY", [("tool.unlisted", "deny")])
    assert judgment.arguments == b'{"amount":1}'
    assert "payments.refund" in str(judgment.hint)


@pytest.mark.parametrize(
    "authority", ["SUSPENDED", "RETIRED", "UNREGISTERED", "REGISTERED", "", "active", "RESTRICTED "]
)
def test_only_the_authorities_that_may_act_do(authority: str) -> None:
    judgment = judge(REFUND_BOT, refund(), authority=authority)
    assert judgment.verdict == "DENY"
    assert judgment.clauses[0].id.startswith("authority.")
    assert taken(judgment) == []


def test_an_observed_agent_is_judged_like_an_active_one() -> None:
    assert judge(REFUND_BOT, refund(), authority="OBSERVED").verdict == "ALLOW"
    assert judge(REFUND_BOT, refund(amount=500), authority="OBSERVED").verdict == "DENY"


# ---- validity ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "offset_us", "verdict"),
    [
        ("2026-11-01", -1, "DENY"),
        ("2026-11-01", 0, "ALLOW"),
        ("2027-05-01", -1, "ALLOW"),
        ("2027-05-01", 0, "DENY"),
    ],
)
@pytest.mark.requirement("R2.7")
def test_validity_begins_and_ends_with_the_microsecond(day: str, offset_us: int, verdict: str) -> None:
    judgment = judge(REFUND_BOT, refund(), now_us=day_us(day) + offset_us)
    assert judgment.verdict == verdict
    assert decided(judgment) == ([("contract.valid", "deny")] if verdict == "DENY" else [])


# ---- arguments -----------------------------------------------------------------------------------------


@pytest.mark.requirement("R2.3")
def test_an_unknown_argument_is_denied_and_not_repeated() -> None:
    judgment = judge(REFUND_BOT, refund(mother_maiden_name="x"))
    assert (judgment.verdict, decided(judgment)) == ("DENY", [("arguments", "deny")])
    assert "maiden" not in str(judgment.errors) + str(judgment.hint)
    assert "order_id" in judgment.errors[0]


def test_a_missing_argument_is_denied() -> None:
    text = one_tool('{a: int, b: "string(1..9)"}')
    judgment = judge(text, proposal(a=1))
    assert judgment.errors == ("b is missing",)
    assert judgment.verdict == "DENY"


@pytest.mark.parametrize("given", [{}, {"b": None}])
def test_null_and_absent_are_the_same_for_an_optional_argument(given: dict[str, Any]) -> None:
    text = one_tool("{b?: int}", clauses=clause("context.args has b"))
    judgment = judge(text, proposal(**given))
    assert judgment.verdict == "ALLOW"
    assert judgment.facts["b"] == contracts.Fact(type="int", value=None, public=False, provenance="absent")


def test_null_for_a_required_argument_is_the_wrong_type() -> None:
    assert judge(one_tool("{b: int}"), proposal(b=None)).errors == ("b is not a whole number",)


@pytest.mark.parametrize("text", ["[]", '"x"', "1", "null", "true"])
def test_arguments_that_are_no_object_are_denied(text: str) -> None:
    judgment = judge(one_tool(), proposal(text=text))
    assert judgment.errors == ("the arguments are not an object",)
    assert judgment.verdict == "DENY"


def test_opaque_arguments_are_passed_on_and_are_no_facts() -> None:
    text = one_tool('{flights: "list(object, max 2)", extra?: any}')
    judgment = judge(text, proposal(flights=[{"n": "HAT1"}], extra=[1, {"x": None}]))
    assert (judgment.verdict, judgment.facts) == ("ALLOW", {})
    assert judge(text, proposal(flights=["HAT1"])).verdict == "DENY"
    assert judge(text, proposal(flights=[{}, {}, {}])).verdict == "DENY"


# ---- limits --------------------------------------------------------------------------------------------


def asked(uses: dict[str, int]) -> Any:
    return lambda limit, _key: uses.get(limit.id, 0)


@pytest.mark.requirement("R2.4")
def test_the_action_after_the_last_allowed_one_is_denied() -> None:
    assert judge(REFUND_BOT, refund(), usage=asked({"refunds-per-hour": 19})).verdict == "ALLOW"
    judgment = judge(REFUND_BOT, refund(), usage=asked({"refunds-per-hour": 20}))
    assert (judgment.verdict, decided(judgment)) == ("DENY", [("refunds-per-hour", "deny")])
    use = judgment.uses[0]
    assert (use.limit.id, use.at_most, use.used, use.key, use.adds) == ("refunds-per-hour", 20, 20, (), 1)


def test_a_limit_is_asked_with_its_keys_and_its_window() -> None:
    questions: list[tuple[str, tuple[str, ...], int]] = []

    def usage(limit: contracts.Limit, key: tuple[str, ...]) -> int:
        questions.append((limit.id, key, limit.per_us))
        return 0

    judge(REFUND_BOT, refund(), usage=usage)
    assert questions == [("refunds-per-hour", (), HOUR_US), ("one-per-order", ('"A-1009"',), 0)]


def test_a_recording_limit_decides_nothing_and_is_listed() -> None:
    text = one_tool("{c: id}", more="limits:\n  - {id: repeat, once_per: act, keys: [c], then: record}\n")
    judgment = judge(text, proposal(c="8841"), usage=asked({"repeat": 1}))
    assert (judgment.verdict, decided(judgment)) == ("ALLOW", [("repeat", "record")])
    assert taken(judgment) == [("repeat", ('"8841"',))]
    assert judgment.hint is None


def test_an_escalating_limit_escalates_and_reserves_nothing() -> None:
    text = one_tool(more="limits:\n  - {id: rate, count: act, at_most: 1, per: 1m, then: escalate}\n")
    judgment = judge(text, proposal(), usage=asked({"rate": 1}))
    assert (judgment.verdict, taken(judgment)) == ("ESCALATE", [])


def test_the_key_of_a_list_does_not_depend_on_its_order() -> None:
    text = one_tool(
        '{to: "list(email, max 9)"}', more="limits:\n  - {id: once, once_per: act, keys: [to], then: deny}\n"
    )
    first = judge(text, proposal(to=["b@x.example", "A@x.example"]))
    second = judge(text, proposal(to=["a@x.example", "b@x.example", "B@x.example"]))
    assert taken(first) == taken(second)


def test_an_absent_key_is_not_the_text_null() -> None:
    text = one_tool("{c?: string}", more="limits:\n  - {id: once, once_per: act, keys: [c], then: deny}\n")
    assert judge(text, proposal()).uses[0].key == ("null",)
    assert judge(text, proposal(c="null")).uses[0].key == ('"null"',)


@pytest.mark.parametrize("authority", ["RESTRICTED", "PROBATION"])
def test_restricted_halves_counts_and_asks_for_what_cannot_be_undone(authority: str) -> None:
    judgment = judge(REFUND_BOT, refund(), authority=authority, usage=asked({"refunds-per-hour": 10}))
    assert decided(judgment) == [("authority.restricted", "escalate"), ("refunds-per-hour", "deny")]
    assert judgment.uses[0].at_most == 10
    assert judgment.uses[1].at_most == 1
    read = judge(REFUND_BOT, proposal("orders.read", order_id="A"), authority=authority)
    assert read.verdict == "ALLOW"


def test_half_of_one_is_none() -> None:
    text = one_tool(more="limits:\n  - {id: rate, count: act, at_most: 1, per: 1m, then: deny}\n")
    assert judge(text, proposal(), authority="RESTRICTED").verdict == "DENY"


def test_a_contract_may_say_what_restricted_means() -> None:
    text = REFUND_BOT.replace("{irreversible: escalate, limits: half}", "{irreversible: deny, limits: same}")
    judgment = judge(text, refund(), authority="RESTRICTED", usage=asked({"refunds-per-hour": 10}))
    assert (judgment.verdict, decided(judgment)) == ("DENY", [("authority.restricted", "deny")])


# ---- nothing fails open --------------------------------------------------------------------------------


def overflowing(**beside: str) -> Policy:
    """A policy that no adoption would let through: its product leaves 64 bits. `beside`: further clauses, before it."""
    schema = Schema.from_str(
        'entity Agent; entity Tool; action "call" appliesTo { principal: Agent, resource: Tool, '
        "context: { args: { n: Long } } };"
    )
    return Policy(
        agent="bot",
        tool="act",
        expressions={
            **{key: parse_when(when) for key, when in beside.items()},
            "rule": parse_when("context.args.n * context.args.n > 5"),
        },
        schema=schema,
        reads=Reads(frozenset({"n"}), frozenset(), frozenset(), Truth(True, True)),
    )


@pytest.mark.requirement("R1.4")
def test_a_rule_that_errors_is_an_error_and_not_an_allow() -> None:
    assert overflowing().evaluate({"n": 3}, {}) == {"rule"}
    assert overflowing().evaluate({"n": 1}, {}) == set()
    with pytest.raises(EvaluationError, match="overflow"):
        overflowing().evaluate({"n": 2**52}, {})


def test_facts_that_do_not_fit_the_schema_are_an_error() -> None:
    with pytest.raises(EvaluationError):
        overflowing().evaluate({"n": "3"}, {})
    with pytest.raises(EvaluationError):
        overflowing().evaluate({}, {})


@pytest.mark.requirement("R1.4")
def test_an_action_whose_rule_errors_is_denied() -> None:
    bounded = compiled(one_tool('{n: "int(0..5000000000000000)"}', clauses=clause("context.args.n > 5")))
    bounded._plans["act"].policy = overflowing()
    judgment = bounded.judge(proposal(n=2**52), situation())
    assert (judgment.verdict, decided(judgment)) == ("DENY", [("evaluation.error", "deny")])
    assert judgment.errors
    assert taken(judgment) == []


def test_an_unsound_contract_cannot_be_compiled_round_the_checks() -> None:
    sound = contracts.load(one_tool("{n: int}", clauses=clause("context.args.n > 5")), name="x")
    unsound = msgspec.structs.replace(
        sound, clauses=(msgspec.structs.replace(sound.clauses[0], when="context.args.n * 2 > 5"),)
    )
    with pytest.raises(contracts.BrokenContract, match="not provable"):
        contracts.compile(unsound)
    with pytest.raises(ContractError):
        contracts.Compiled(unsound)


def test_judging_changes_nothing() -> None:
    bounded = compiled(REFUND_BOT)
    before = contracts.to_canonical(bounded.contract)
    verdicts = [bounded.judge(refund(), situation()) for _ in range(3)]
    assert verdicts[0] == verdicts[1] == verdicts[2]
    assert contracts.to_canonical(bounded.contract) == before


def test_of_many_clauses_those_that_hold_are_named_and_no_others() -> None:
    """Several are asked together first: what they say together and one by one must be the same."""
    text = one_tool("{n: int}", clauses="".join(clause(f"context.args.n == {n % 10}", name=f"r{n}") for n in range(12)))
    ready = compiled(text)
    for n in range(11):
        expected = [(f"r{m}", "deny") for m in range(12) if m % 10 == n]
        assert decided(ready.judge(proposal(n=n), situation())) == expected


@pytest.mark.requirement("R1.4")
@pytest.mark.parametrize("before", ["true", "false", "context.args.n > 0", "context.args.n < 0"])
def test_a_rule_that_errors_is_not_passed_over_for_those_that_stand_before_it(before: str) -> None:
    """Attack: of clauses that are asked together the first decides, and the one that could not be evaluated is lost."""
    policy = overflowing(first=before, second="context.args.n == 7")
    with pytest.raises(EvaluationError):
        policy.evaluate({"n": 2**62}, {})
    assert policy.evaluate({"n": 1}, {}) == ({"first"} if before in ("true", "context.args.n > 0") else set())


def test_clauses_too_deep_to_be_asked_together_are_asked_one_by_one() -> None:
    """The bounds of an expression leave room; should Cedar ever build less, nothing is left out."""
    deep: pst.Expr = pst.BoolLit(False)
    for _ in range(99):
        deep = pst.UnaryOp("not", deep)
    reads = Reads(frozenset(), frozenset(), frozenset(), Truth(True, True))
    schema = Schema.from_str('entity Agent; entity Tool; action "call" appliesTo {principal: Agent, resource: Tool};')
    expressions = {"a": deep, "b": pst.BoolLit(False), "c": pst.BoolLit(True)}
    policy = Policy(agent="bot", tool="act", expressions=expressions, schema=schema, reads=reads)
    assert policy._together is None
    assert policy.evaluate({}, {}) == {"a", "c"}
