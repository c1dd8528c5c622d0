"""Clauses and limits in words: what a reviewer reads is what is judged."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failwell.core.contract.argument import parse_type
from failwell.core.contract.expression import parse_when
from failwell.core.contract.limit_words import bound, wait
from failwell.core.contract.model import Affects, Argument, Clause, Limit, Tool
from failwell.core.contract.words import Names, amount, because, condition, what_would_pass

NAMES = Names(
    {
        name: parse_type(text)
        for name, text in {
            "amount": "money(2, 0..10000)", "fee": "money(2, 0..100)", "rate": "decimal(3, 0..1)", "n": "int(0..9)",
            "iban": "iban", "note": "string(0..80)", "day": "date", "insured": "bool", "tags": "list(id, max 9)",
        }.items()
    },
    {"paid": (parse_type("money(2, 0..10000)"), "orders.paid_amount")},
)  # fmt: skip

SAID = {
    "context.args.amount > 20000": ("amount is more than 200.00", "amount is at most 200.00"),
    "20000 < context.args.amount": ("amount is more than 200.00", "amount is at most 200.00"),
    "context.args.amount >= 5": ("amount is at least 0.05", "amount is less than 0.05"),
    "context.args.amount == -1": ("amount is -0.01", "amount is not -0.01"),
    "context.args.rate < 250": ("rate is less than 0.250", "rate is at least 0.250"),
    "context.args.n != 3": ("n is not 3", "n is 3"),
    "context.args.amount > context.facts.paid": (
        "amount is more than paid (asked of orders.paid_amount)",
        "amount is at most paid (asked of orders.paid_amount)",
    ),
    "context.args.amount + context.args.fee > 2 * context.args.fee - 100": (
        "(amount + fee) is more than ((2 x fee) - 1.00)",
        "(amount + fee) is at most ((2 x fee) - 1.00)",
    ),
    # Of different scales the smallest units are compared: told with decimals that would be another sentence.
    "context.args.amount > context.args.n": (
        "amount in its smallest unit is more than n",
        "amount in its smallest unit is at most n",
    ),
    "context.args.amount * context.args.n > 20000": (
        "(amount in its smallest unit x n) is more than 20000",
        "(amount in its smallest unit x n) is at most 20000",
    ),
    'context.args.day < datetime("2026-11-01")': ("day is before 2026-11-01", "day is on or after 2026-11-01"),
    "context.args.insured": ("insured is true", "insured is false"),
    "context.args.insured == false": ("insured is false", "insured is true"),
    'context.args.iban == "DE1"': ('iban is "DE1"', 'iban is not "DE1"'),
    '["a", "b"].contains(context.args.note)': ('note is one of "a", "b"', 'note is none of "a", "b"'),
    '["a"].contains(context.args.note)': ('note is "a"', 'note is not "a"'),
    'context.args.tags.contains("x")': ('tags has "x"', 'tags does not have "x"'),
    'context.args.tags.containsAny(["x", "y"])': ('tags has any of "x", "y"', 'tags does not have any of "x", "y"'),
    '["x", "y"].containsAll(context.args.tags)': (
        'tags has nothing but "x", "y"',
        'tags has something else than "x", "y"',
    ),
    "context.args.tags.isEmpty()": ("tags is empty", "tags is not empty"),
    'context.args.note like "*x*"': ('note contains "x"', 'note does not contain "x"'),
    'context.args.note like "x*"': ('note begins with "x"', 'note does not begin with "x"'),
    'context.args.note like "*x"': ('note ends with "x"', 'note does not end with "x"'),
    'context.args.note like "x"': ('note is "x"', 'note is not "x"'),
    'context.args.note like "a*b\\*"': ('note is like "a*b\\\\*"', 'note is not like "a*b\\\\*"'),
    "context.args has note": ("note is given", "note is not given"),
    'context.novel.contains("iban")': ("iban was never seen before", "iban was seen before"),
    'context.novel.containsAny(["iban", "tool"])': (
        "iban or the tool was never seen before",
        "iban and the tool was seen before",
    ),
    'context.args.insured && context.novel.containsAll(["iban", "tool"])': (
        "insured is true and (iban and the tool was never seen before)",
        "insured is false or (iban or the tool was seen before)",
    ),
    'context.baseline != "locked"': ("no baseline is locked", "the baseline is locked"),
    'context.request == "absent"': ("no request is on record", "a request is on record"),
    'context.principal == "verified"': (
        "on whose behalf it is, is verified",
        "on whose behalf it is, is not verified",
    ),
    "context.args.n > 1 && (context.args.insured || !(context.args.n < 5))": (
        "n is more than 1 and (insured is true or n is at least 5)",
        "n is at most 1 or (insured is false and n is less than 5)",
    ),
    "if context.args.insured then context.args.n > 1 else context.args.n > 2": (
        "where insured is true: n is more than 1, and otherwise: n is more than 2",
        "where insured is true: n is at most 1, and otherwise: n is at most 2",
    ),
    "(if context.args.insured then context.args.amount else context.args.fee) > 100": (
        "(amount where insured is true, otherwise fee) is more than 1.00",
        "(amount where insured is true, otherwise fee) is at most 1.00",
    ),
    "true": ("always", "never"),
}


@pytest.mark.parametrize(("text", "said"), SAID.items(), ids=range(len(SAID)))
def test_an_expression_and_its_opposite_in_words(text: str, said: tuple[str, str]) -> None:
    expr = parse_when(text)
    assert (condition(expr, NAMES), condition(expr, NAMES, holds=False)) == said
    assert condition(parse_when(f"!({text})"), NAMES) == said[1]


@pytest.mark.parametrize(("value", "shown"), [(20000, "200.00"), (5, "0.05"), (0, "0.00"), (-100, "-1.00")])
def test_money_is_told_in_major_units(value: int, shown: str) -> None:
    assert amount(value, parse_type("money(2)")) == shown


def rule(when: str | None, then: Any = "deny") -> Clause:
    return Clause(id="rule", then=then, tools=("act",), severity="minor", when=when)


def test_a_clause_without_words_of_its_own_says_when_it_speaks_and_what_would_pass() -> None:
    ceiling = rule("context.args.amount > 20000")
    assert because(ceiling, NAMES) == "This is denied when amount is more than 200.00."
    assert what_would_pass(ceiling, NAMES) == "It would pass rule if amount is at most 200.00."
    asked = rule("context.args.n == 1", "escalate")
    assert because(asked, NAMES) == "This is for a person to decide when n is 1."
    assert because(rule(None), NAMES) == because(rule("true"), NAMES) == "This is denied."
    assert what_would_pass(rule(None), NAMES) is what_would_pass(rule("true"), NAMES) is None


def test_a_clause_of_many_conditions_is_not_turned_round() -> None:
    assert what_would_pass(rule(" && ".join(["context.args.n == 1"] * 5)), NAMES) is None


REFUND = Tool(
    tool="refund", effect="irreversible", custody="broker", affects=Affects(amount="amount"),
    arguments=(Argument(name="amount", type="money(2)"), Argument(name="iban", type="iban")),
)  # fmt: skip
COUNT = Limit(
    id="rule", kind="count", tools=("refund",), at_most=20, per_us=3_600_000_000, then="deny", severity="minor"
)

BOUNDS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "At most 20 times in any 1h.", "Wait until earlier ones are older than 1h."),
    ({"per_us": 0, "at_most": 1}, "At most 1 time ever.", "Only a new version of the contract changes that."),
    ({"per_us": 0, "each": ("run",)}, "At most 20 times in one run.", "Another run may."),
    ({"each": ("principal",), "keys": ("iban",)}, "At most 20 times for the same iban and principal in any 1h.",
     "Wait until earlier ones are older than 1h."),
    ({"kind": "sum", "sums": "amount", "at_most": 200_000}, "At most 2000.00 of amount together in any 1h.",
     "Wait until earlier ones are older than 1h."),
    ({"kind": "blast", "at_most": 9}, "At most 9 irreversible actions in any 1h.",
     "Wait until earlier ones are older than 1h."),
    ({"kind": "blast", "sums": "amount", "at_most": 900}, "At most 9.00 of irreversible effect together in any 1h.",
     "Wait until earlier ones are older than 1h."),
    ({"kind": "rate"}, "Asked for at most 20 times in any 1h, allowed or not.",
     "Wait until earlier ones are older than 1h."),
    ({"kind": "concurrent", "at_most": 2, "per_us": 0}, "At most 2 at a time.", "Wait until one has ended."),
    ({"kind": "cooldown", "keys": ("iban",)}, "Not within 1h of the one before for the same iban.",
     "Wait until earlier ones are older than 1h."),
    ({"kind": "once_per", "keys": ("iban",), "per_us": 0}, "Only once for the same iban.",
     "Only a new version of the contract changes that."),
    ({"kind": "sequence", "needs": "read", "per_us": 0}, "Only after read was completed in the same run.",
     "Complete read first, in the same run."),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "said", "mend"), BOUNDS, ids=range(len(BOUNDS)))
def test_a_limit_in_words_and_what_it_takes_to_pass_it(changed: dict[str, Any], said: str, mend: str) -> None:
    limit = msgspec.structs.replace(COUNT, **changed)
    assert bound(limit, REFUND) == said
    assert wait(limit) == mend
