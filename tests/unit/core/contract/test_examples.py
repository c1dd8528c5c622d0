"""A contract's own examples: read, judged by the real judge, and told apart when they fail."""

from __future__ import annotations

import pytest

from failwell.core import contract as contracts
from failwell.core.contract.document import read_document
from failwell.core.contract.examples import Tried, read_examples, try_all
from failwell.core.contract.notes import Notes

CONTRACT = """\
contract: refund-bot
version: 1
agent: refund-bot
owner: olga
purpose: Refund customers of the web shop.
valid: {from: 2026-11-01, until: 2027-05-01}
principals: [customer]
restricted: {irreversible: escalate, limits: same}
tools:
  - {tool: orders.read, effect: read, custody: broker, arguments: {order_id: id}}
  - tool: refund
    effect: irreversible
    custody: broker
    arguments: {order_id: id, amount: "money(2, 0..10000)"}
    affects: {resource: order_id, amount: amount}
    facts: {paid: {lookup: orders.paid, with: [order_id], type: "money(2, 0..10000)"}}
clauses:
  - {id: ceiling, deny: refund, when: context.args.amount > 20000}
  - {id: over, deny: refund, when: context.args.amount > context.facts.paid}
  - {id: new-order, escalate: refund, when: 'context.novel.contains("order_id")'}
limits:
  - {id: per-hour, count: refund, at_most: 2, per: 1h, then: deny}
  - {id: budget, sum: refund.amount, at_most: 30000, per: 1d, then: escalate}
  - {id: at-once, concurrent: refund, at_most: 1, then: deny}
  - {id: read-first, sequence: refund, after: orders.read, keys: [order_id], then: deny}
examples:
"""

READ = "{tool: orders.read, arguments: {order_id: A-1}, ago: 9h}"


def refund(amount: str = "50.00", paid: str = "100.00", by: str = "customer:1") -> str:
    arguments = f'{{order_id: A-1, amount: "{amount}"}}'
    return f'tool: refund, arguments: {arguments}, principal: "{by}", facts: {{paid: "{paid}"}}'


def before(amount: str, ago: str, more: str = "") -> str:
    return f'{{tool: refund, arguments: {{order_id: A-1, amount: "{amount}"}}, ago: {ago}{more}}}'


def tried(example: str) -> Tried:
    text = CONTRACT + f"  - {{{example}}}\n"
    notes = Notes(text, "test.yaml")
    read = read_examples(read_document(text), notes)
    assert not notes.findings, notes.findings
    (found,) = try_all(contracts.compile(contracts.load(text, name="test.yaml")), read)
    return found


EXAMPLES = (
    f"{refund()}, after: [{READ}], expect: ALLOW",
    f"{refund()}, expect: DENY, by: [read-first]",
    f"{refund()}, after: [{READ.replace('A-1', 'A-2')}], expect: DENY, by: read-first",
    f"{refund()}, after: [{READ.replace('ago', 'run: 2, ago')}], expect: DENY",
    f"{refund()}, after: [{READ}], novel: [order_id], expect: ESCALATE, by: [new-order]",
    f"{refund()}, after: [{READ}], novel: [order_id], approved: [new-order], expect: ALLOW, by: [new-order]",
    f"{refund()}, after: [{READ}], authority: RESTRICTED, expect: ESCALATE, by: [authority.restricted]",
    f"{refund()}, at: 2027-05-01, expect: DENY, by: [contract.valid]",
    f"{refund(paid='49.99')}, after: [{READ}], expect: DENY, by: [over]",
    f"{refund().partition(', facts')[0]}, after: [{READ}], expect: DENY, by: [facts]",
    f"{refund(by='user:1')}, expect: DENY, by: [principal]",
    # Two within the hour are the bound; one that is an hour old does not count.
    f"{refund()}, after: [{READ}, {before('1.00', '1m', ', times: 2')}], expect: DENY, by: [per-hour]",
    f"{refund()}, after: [{READ}, {before('1.00', '1h')}, {before('1.00', '59m')}], expect: ALLOW",
    f"{refund('150.01', '200.00')}, after: [{READ}, {before('150.00', '3h')}], expect: ESCALATE, by: budget",
    f"{refund('150.00', '200.00')}, after: [{READ}, {before('150.00', '3h')}], expect: ALLOW",
    f"{refund()}, after: [{READ}, {before('1.00', '1m', ', running: true')}], expect: DENY, by: [at-once]",
    "tool: refund, arguments: '{\"amount\": NaN}', principal: 'customer:1', expect: DENY, by: arguments",
    "tool: payments.wire, expect: DENY, by: tool.unlisted",
)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_what_is_expected_comes_true(example: str) -> None:
    assert tried(example).problem is None


def test_what_comes_otherwise_is_told_with_the_reason() -> None:
    found = tried(f"about: A small one, {refund()}, expect: ALLOW")
    assert (found.about, found.verdict, found.by) == ("A small one", "DENY", ("read-first",))
    assert found.problem == (
        "expected ALLOW, it is DENY: read-first: "
        "Only after orders.read was completed in the same run for the same order_id."
    )
    found = tried(f"{refund()}, expect: DENY, by: [ceiling, read-first]")
    assert str(found.problem).startswith("DENY, but not by ceiling: read-first:")


def test_what_could_not_have_been_done_before_is_no_before() -> None:
    found = tried(f"{refund()}, after: [{READ}, {before('1.00', '1m', ', times: 3')}], expect: DENY")
    assert str(found.problem).startswith("what it comes after, refund (3 of 3), is DENY: per-hour: ")


@pytest.mark.parametrize(
    ("example", "problem"),
    [
        ("{tool: refund}", "expect is missing"),
        ("{expect: DENY}", "tool is missing"),
        ("{tool: refund, expect: DENIED}", 'expect cannot be "DENIED"'),
        ("{tool: refund, expect: DENY, argument: {}}", 'unknown field "argument"'),
        ("{tool: refund, expect: DENY, at: 2027-02-30}", "at is wrong"),
        ("{tool: refund, expect: DENY, arguments: {n: .inf}}", "no JSON value"),
        ("{tool: refund, expect: DENY, after: [{tool: refund, ago: soon}]}", "ago is wrong"),
    ],
)
def test_an_example_that_says_nothing_clear_is_refused_with_its_place(example: str, problem: str) -> None:
    text = CONTRACT + f"  - {example}\n"
    notes = Notes(text, "test.yaml")
    read_examples(read_document(text), notes)
    assert problem in notes.findings[0].problem
    assert notes.findings[0].line == len(text.splitlines())


def test_examples_are_no_part_of_what_is_signed() -> None:
    alone = contracts.load(CONTRACT.removesuffix("examples:\n"), name="a")
    told = contracts.load(CONTRACT + f"  - {{{refund()}, expect: DENY}}\n", name="b")
    assert contracts.digest(alone) == contracts.digest(told)
