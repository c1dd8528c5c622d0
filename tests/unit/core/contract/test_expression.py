"""The expressions of clauses: proved before adoption, or refused with what to write instead."""

from __future__ import annotations

import pytest

from failwell.core import contract as contracts
from tests.unit.core.contract.contracts import clause, errors, one_tool, warnings

ARGUMENTS = (
    '{n: "int(0..100)", m: "int(-5..5)", wide: "int(0..4000000000000000)", open: int, '
    'amount: "money(2, 0..10000)", b: bool, s: "string(0..50)", p: "enum(low, high)", d: date, '
    'l: "list(id, max 5)", o: object, s2?: string}'
)


def linted(when: str) -> list[str]:
    return errors(one_tool(ARGUMENTS, clauses=clause(when)))


@pytest.mark.parametrize(
    "when",
    [
        "context.args.n > 5",
        "context.args.n * context.args.m + 3 - context.args.n < -(context.args.m)",
        "context.args.wide * 2000 > 1",
        "context.args.amount >= 20000 && !context.args.b || context.args.n != 3",
        'context.args.s like "*@shop.example" && context.args["p"] == "low"',
        'context.args.d >= datetime("2026-11-01")',
        'context.args.l.contains("a") || context.args.l.containsAny(["a", "b"]) || context.args.l.isEmpty()',
        '["a", "b"].contains(context.args.s)',
        "context.args has s2 && context.args.s2 == context.args.s",
        "(if context.args.b then context.args.n else context.args.m) * 7 > 20",
        'context.request == "absent" || context.baseline != "locked" || context.novel.contains("s")',
        "context.args.open > 5",
        "true",
        'context.args.s == "}; permit(principal, action, resource); //"',
        "context.args.n > 5 // because of five",
        "(((((((((((context.args.n > 5)))))))))))",
        "[" + ", ".join(f'"account-{number}"' for number in range(300)) + "].contains(context.args.s)",
    ],
)
def test_what_can_be_proved_may_stand_in_a_contract(when: str) -> None:
    assert linted(when) == []


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (
            "context.args.open * 2 > 5",
            'args.open has no declared range. Declare one, such as "money(2, 0..10000)"',
        ),
        ("context.args.open + 1 > 5", '"+" is not provable'),
        ("-(context.args.open) > 5", '"-" is not provable'),
        ("context.args.wide * context.args.wide > 5", "outside 64 bits. Declare narrower ranges"),
        ("context.args.wide * 2000 * 2 > 5", "outside 64 bits"),
        ("context.args.n + 9223372036854775807 > 5", "outside 64 bits"),
        ("context.args.b && context.args.wide * context.args.wide > 5", "outside 64 bits"),
        ("(if context.args.b then context.args.open else 1) + 1 > 5", "args.open has no declared range"),
        ("context.args.m > 9223372036854775808", "not a Cedar expression"),
        ("context.args.amuont > 5", "Did you mean context.args.amount?"),
        ("context.args.o == 5", "opaque, never a fact"),
        ("context.facts.paid > 5", "the tool asks for no fact paid. Its facts are: none"),
        ('context.requst == "absent"', "Did you mean context.request?"),
        ('context.request == "abesnt"', "Its words are: absent, asserted, derived, verified"),
        ('context.args.p == "hihg"', "Its words are: high, low"),
        ('context.novel.contains("amuont")', "Did you mean amount?"),
        ('context.args.s2 == "x"', "Ask first: context.args has NAME"),
        ("context.args.n", "expected Bool but saw Long"),
        ("context.args.n > 5 && 1", "expected Bool but saw Long"),
        ("context.args.s > 5", "type"),
        ('context.args.n == "5"', "type"),
        ("5", "expected Bool"),
        ("", "not a Cedar expression"),
        ("// nothing", "not a Cedar expression"),
        ("context.args.n >", "not a Cedar expression"),
        ("principal == resource", "Var has no place"),
        ('principal == Agent::"bot"', "has no place"),
        ("context == context", "has no place"),
        ("context.args == context.args", "context.args is not a fact"),
        ("context has args", '"has" asks for one optional argument'),
        ("{a: 1} has a", '"has" asks'),
        ("context is Agent", "has no place"),
        ("ip(context.args.s).isLoopback()", "not available"),
        ('decimal("1.5").lessThan(decimal("2.5"))', "not available"),
        ('context.args.d.offset(duration("1d")) > context.args.d', "not available"),
        ("datetime(context.args.s) > context.args.d", "datetime takes a written date"),
        ('datetime("2026-02-31") > context.args.d', "datetime"),
        ("context.args.n in [1]", "not available"),
        ('principal.hasTag("x")', "not available"),
    ],
)
def test_what_cannot_be_proved_is_refused_with_what_to_write(when: str, said: str) -> None:
    found = linted(when)
    assert len(found) == 1
    assert said in found[0]
    assert "test.yaml:" in found[0]


def test_an_unprovable_clause_is_told_as_problem_place_reason_and_mend() -> None:
    text = one_tool("{paid: int}", clauses=clause("context.args.paid * 2 > 10", name="over-refund"))
    with pytest.raises(contracts.BrokenContract) as refusal:
        contracts.load(text, name="contracts/refund-bot.yaml")
    assert str(refusal.value) == (
        "contract one-tool v1 not adopted: clause over-refund could fail.\n"
        "  contracts/refund-bot.yaml:11   context.args.paid * 2 > 10\n"
        '  "*" is not provable: args.paid has no declared range. '
        'Declare one, such as "money(2, 0..10000)", or compare without arithmetic.'
    )
    assert refusal.value.code == "contract"
    assert refusal.value.findings[0].line == 11


@pytest.mark.parametrize(
    "when",
    [
        "context.args.n > 100",
        "context.args.amount > 2000000",
        "context.args.n < 0 || context.args.m > 5",
        "context.args.n > 50 && context.args.n > 100",
        "!(context.args.n <= 100)",
        "context.args.n * 2 > 200",
        "context.args.n == 101",
        "false",
    ],
)
def test_a_clause_that_no_declared_value_reaches_is_pointed_out(when: str) -> None:
    assert any("never holds for act" in said for said in warnings(one_tool(ARGUMENTS, clauses=clause(when))))


@pytest.mark.parametrize(
    "when", ["context.args.n > 99", "context.args.n == 100", "context.args.n >= 100", "context.args.n != 5"]
)
def test_a_clause_that_one_value_reaches_is_not(when: str) -> None:
    assert warnings(one_tool(ARGUMENTS, clauses=clause(when))) == []


def test_a_clause_on_novelty_alone_sleeps_without_a_baseline() -> None:
    said = warnings(one_tool(ARGUMENTS, clauses=clause('context.novel.contains("s")')))
    assert "sleeps until a baseline is locked" in said[0]
