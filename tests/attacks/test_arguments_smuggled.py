"""The adversary writes the arguments of a tool call, or slips a line into a contract, and wants an ALLOW.

What is attacked: reading one text as two values, numbers that are not what they look like, names that only
look listed, arguments named like facts, expressions that close their clause and open a permit, texts that
exhaust the judge.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from failwell.core import contract as contracts
from failwell.core.contract.expression import Unsound, parse_when
from failwell.core.errors import ContractError
from tests.unit.core.contract.contracts import (
    REFUND,
    REFUND_BOT,
    clause,
    compiled,
    decided,
    errors,
    judge,
    one_tool,
    proposal,
    situation,
)

CEILING = one_tool('{amount: "money(2, 0..10000)", note?: string}', clauses=clause("context.args.amount > 20000"))


def denied(text: str | bytes, contract: str = CEILING) -> contracts.Judgment:
    judgment = judge(contract, proposal(text=text))
    assert judgment.verdict == "DENY"
    assert not any(use.taken(judgment.verdict) for use in judgment.uses)
    return judgment


# ---- one text, two values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"amount": 1, "amount": 9000}',
        '{"amount": 1, "\\u0061mount": 9000}',
        '{"amount": NaN}',
        '{"amount": Infinity}',
        '{"amount": -Infinity}',
        '{"amount": 1e999}',
        '{"amount": 1e-999}',
        '{"amount": 1, "note": "\\ud800"}',
        '{"amount": 1} {"amount": 9000}',
        '{"amount": 1,}',
        "{'amount': 1}",
        '{"amount": 01}',
        '{"amount": 0x10}',
        '{"amount": 1} // 9000',
        "",
        "{",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"amount": 1, "note": "\xc0\xaf"}',
    ],
)
def test_text_that_two_readers_read_differently(text: str | bytes) -> None:
    judgment = denied(text)
    assert decided(judgment) == [("arguments", "deny")]
    assert judgment.arguments is None
    assert len(judgment.errors) == 1


def test_two_mebibytes() -> None:
    judgment = denied(json.dumps({"amount": 1, "note": "x" * 2 * 1024 * 1024}))
    assert "2097" in judgment.errors[0]
    assert judgment.arguments is None


@pytest.mark.parametrize(
    "text", ["[" * 1_000_000, '{"note":' * 100_000, '{"amount":1,"note":' + "[" * 40 + "]" * 40 + "}"]
)
def test_deep_nesting(text: str) -> None:
    assert "deep" in denied(text).errors[0]


def test_nesting_just_under_the_depth_is_passed_on_by_an_opaque_argument() -> None:
    text = one_tool("{x: any}")
    assert judge(text, proposal(text='{"x":' + "[" * 31 + "]" * 31 + "}")).verdict == "ALLOW"
    assert judge(text, proposal(text='{"x":' + "[" * 32 + "]" * 32 + "}")).verdict == "DENY"


def test_a_hundred_thousand_unknown_names() -> None:
    judgment = denied(json.dumps({f"name{number}": 1 for number in range(60_000)}))
    assert len(str(judgment.errors)) < 300


# ---- numbers that are not what they look like ----------------------------------------------------------


@pytest.mark.parametrize(
    "amount",
    [
        "1" + "0" * 5000,
        "-1" + "0" * 5000,
        "9007199254740993",
        "18446744073709551616",
        "18446744073709551617",
        "92233720368547758.08",
        "10000.01",
        "-0.01",
        "1e5",
        "0.001",
        "0.30000000000000004",
        "true",
        "null",
        "[1]",
        '{"__extn": {"fn": "decimal", "arg": "1.0"}}',
        '{"__entity": {"type": "Tool", "id": "act"}}',
        '"1e2"',
        '"0x10"',
        '" 1"',
        '"1 "',
        '"1_0"',
        '"\\u0661"',
        '"1,00"',
        '"1.000"',
        '"--1"',
        '"-"',
        '"."',
        '""',
    ],
)
@pytest.mark.requirement("R2.3")
def test_an_amount_that_is_not_exact_in_range_and_scale(amount: str) -> None:
    assert decided(denied(f'{{"amount": {amount}}}'))[0][0] == "arguments"


@pytest.mark.parametrize(
    ("amount", "cents"),
    [
        ("98.7", 9870),
        ("1e2", 10000),
        ("1.0E+2", 10000),
        ("-0", 0),
        ('"98.70"', 9870),
        ("200.00000000000000001", 20000),
    ],
)
def test_an_amount_is_its_shortest_decimal_text(amount: str, cents: int) -> None:
    judgment = judge(CEILING, proposal(text=f'{{"amount": {amount}}}'))
    assert judgment.verdict == "ALLOW"
    assert judgment.facts["amount"].value == cents
    # What the tool is given is the canonical text, so that it reads the number that was judged.
    assert json.loads(judgment.arguments or b"")["amount"] in (cents / 100, "98.70")


@pytest.mark.parametrize("amount", ["200.01", '"200.01"', "200.010000000000001", "2.0001e2", "10000"])
@pytest.mark.requirement("R2.2")
def test_no_spelling_of_a_larger_amount_passes_the_ceiling(amount: str) -> None:
    judgment = judge(CEILING, proposal(text=f'{{"amount": {amount}}}'))
    assert judgment.verdict == "DENY"


# ---- names that look like others -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "tool",
    [
        "аct",  # noqa: RUF001
        "ACT",
        "act ",
        " act",
        "act\x00",
        "act\n",
        "ａct",  # noqa: RUF001
        "a\u200bct",
        "act\u0301",
        "",
        'Tool::"act"',
        'act"; permit',
        "tool.unlisted",
        "a" * 100_000,
    ],
)
@pytest.mark.requirement("R2.1")
def test_a_tool_that_only_looks_listed(tool: str) -> None:
    judgment = judge(one_tool(), proposal(tool))
    assert (judgment.verdict, decided(judgment)) == ("DENY", [("tool.unlisted", "deny")])


@pytest.mark.parametrize("name", ["аct", "act tool", 'act"', "act::b", "ａct", "-act", "a" * 129])  # noqa: RUF001
def test_a_contract_lists_no_look_alike(name: str) -> None:
    found = errors(one_tool().replace("tool: act", f"tool: {json.dumps(name, ensure_ascii=False)}"))
    assert ("not well formed" in str(found)) == (name != "act::b")


@pytest.mark.parametrize(
    "name",
    ["аmount", "Amount", "amount ", "amount\x00", "__extn", "__entity", "args", "constructor"],  # noqa: RUF001
)
def test_an_argument_that_only_looks_declared(name: str) -> None:
    assert decided(denied(json.dumps({"amount": 1, name: 1})))[0][0] == "arguments"


@pytest.mark.parametrize(
    "name", ["facts", "novel", "args", "request", "baseline", "context", "in", "if", "has", "like"]
)
def test_an_argument_named_like_a_fact_shadows_nothing(name: str) -> None:
    text = one_tool(
        f'{{"{name}": "string(0..20)"}}',
        clauses=clause(f'context.args["{name}"] == "x"')
        + clause('context.request == "absent"', name="unasked")
        + clause('context.novel.contains("tool")', name="new"),
    )
    bounded = compiled(text)
    assert bounded.judge(proposal(**{name: "y"}), situation()).verdict == "ALLOW"
    assert decided(bounded.judge(proposal(**{name: "x"}), situation())) == [("rule", "deny")]
    for forged in ("verified", "locked"):
        absent = bounded.judge(proposal(**{name: forged}), situation(request="absent", novel=("tool",)))
        assert decided(absent) == [("unasked", "deny"), ("new", "deny")]


@pytest.mark.parametrize(
    "value",
    [
        '{"__extn":{"fn":"ip","arg":"::1"}}',
        '"; permit(principal,action,resource);',
        "\x00",
        "\\",
        '"',
        "*",
        "\u2028",
        "💥",
    ],
)
def test_a_text_stays_a_text_in_the_evaluation(value: str) -> None:
    text = one_tool("{s: string}", clauses=clause('context.args.s == "secret"'))
    judgment = judge(text, proposal(s=value))
    assert (judgment.verdict, judgment.errors) == ("ALLOW", ())
    assert judgment.facts["s"].value == value


# ---- a line slipped into a contract --------------------------------------------------------------------

INJECTED = [
    "true }; permit(principal, action, resource) when { true",
    "false }; permit(principal, action, resource); forbid(principal, action, resource) when { false",
    "true } when { false",
    "true } unless { true",
    'false }; @id("x") permit(principal, action, resource); //',
    "true }; //",
    "true };",
    "true } ; ; {",
    "}; permit(principal, action, resource); forbid(principal, action, resource) when {",
    "?principal == principal",
    '@id("other") true',
    "true /* } */",
]


@pytest.mark.parametrize("when", INJECTED)
def test_an_expression_that_closes_its_clause_and_opens_another(when: str) -> None:
    with pytest.raises(Unsound):
        parse_when(when)
    assert errors(one_tool(clauses=clause(when.replace("\n", " ")))) != []


@pytest.mark.parametrize("remark", ["\n", "\r", "\r\n"])
def test_code_hidden_behind_a_remark_is_measured_like_any_other(remark: str) -> None:
    with pytest.raises(Unsound):
        parse_when("// (" + remark + "(" * 3000 + "true" + ")" * 3000)


@pytest.mark.parametrize(
    "when",
    [
        "(" * 4000 + "true" + ")" * 4000,
        "[" * 4000 + "]" * 4000,
        "{a:" * 2000 + "1" + "}" * 2000,
        "true && " * 900 + "true",
        "context" + ".a" * 4000,
        "1 + " * 1900 + "1 > 2",
        "!" * 8000 + "true",
        "if true then true else " * 300 + "true",
        '"' + "(" * 4000,
        "-" * 8000 + "1 > 2",
        "x" * 9000,
    ],
)
def test_an_expression_that_would_end_the_process_by_its_depth_alone(when: str) -> None:
    with pytest.raises(Unsound):
        parse_when(when)


def test_the_deepest_expression_that_is_read_survives_the_stack_of_a_small_thread() -> None:
    """In a process of its own: what this guards against is the end of the process."""
    code = """
import threading
from failwell.core.contract import compile, load
text = '''contract: a
version: 1
agent: b
owner: c
purpose: d
tools: [{tool: t, effect: read, custody: broker, arguments: {n: "int(0..9)"}}]
clauses: [{id: x, deny: t, when: "%s"}]
'''
def work():
    nested, chained = "(" * 12 + "context.args.n > 1" + ")" * 12, "context.args.n > 1 && " * 28 + "true"
    for when in (nested, chained, "1 + " * 90 + "1 > 2"):
        compile(load(text % when, name="x"))
    done.append(True)
done = []
threading.stack_size(1024 * 1024)
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(done)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "[True]"), ran.stderr


def test_a_billion_laughs() -> None:
    laughs = "a0: &a0 [ha, ha]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
    began = time.monotonic()
    assert "anchors and aliases" in str(contracts.lint(laughs + REFUND_BOT, name="x")[0])
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a: " * 50_000, "- " * 50_000, "a: " + "x" * 300_000, "a: 1\n" * 40_000]
)
def test_a_text_made_to_exhaust_its_reader(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(ContractError):
        contracts.load(text, name="x")
    assert time.monotonic() - began < 20


def test_a_pattern_made_to_be_slow_is_refused_where_the_text_has_no_bound() -> None:
    slow = clause(f'context.args.s like "*{"a" * 200}b*"')
    assert "could take long" in str(errors(one_tool("{s: string}", clauses=slow)))
    assert errors(one_tool('{s: "string(0..2000)"}', clauses=slow)) == []


def test_stored_bytes_with_an_injected_clause_do_not_compile() -> None:
    data = contracts.to_canonical(contracts.load(CEILING, name="x"))
    members = json.loads(data)
    members["clauses"][0]["when"] = "false }; permit(principal, action, resource) when { true"
    forged = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(ContractError):
        contracts.compile(contracts.from_canonical(forged))


def test_the_same_action_spelled_otherwise_meets_the_same_limit() -> None:
    """once_per is per value: neither the spelling of a number nor the order of members makes another key."""
    text = one_tool(
        '{to: email, amount: "money(2, 0..100)"}',
        more="limits:\n  - {id: once, once_per: act, keys: [to, amount], then: deny}\n",
    )
    spellings: list[Any] = [
        '{"to":"a@x.example","amount":5}',
        '{"amount":5.00,"to":"A@X.example"}',
        '{"amount":"5.0","to":"a@x.exampl\\u0065"}',
    ]
    keys = {judge(text, proposal(text=spelling)).uses for spelling in spellings}
    assert len(keys) == 1


def test_an_iban_with_one_digit_changed() -> None:
    changed = {**REFUND, "iban": "GB82 WEST 1234 5698 7654 33"}
    judgment = judge(REFUND_BOT, contracts.Proposal(tool="payments.refund", arguments=json.dumps(changed).encode()))
    assert judgment.errors == ("iban is not an iban",)
