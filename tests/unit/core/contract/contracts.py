"""Contract texts for the tests of the contract: one whole one, and one cut to a single tool."""

from __future__ import annotations

import json
from typing import Any

from failwell.core import contract as contracts

NOON_US = 1_796_126_400_000_000  # 2026-12-01T12:00:00Z, inside the validity of REFUND_BOT

REFUND_BOT = """\
contract: refund-bot
version: 7
agent: spiffe://shop.example/agent/refund-bot
owner: payments-owner
purpose: Refund customers of the web shop, on a support ticket, up to 200 EUR.
valid: {from: 2026-11-01, until: 2027-05-01}
tools:
  - {tool: orders.read, effect: read, custody: broker, arguments: {order_id: "string(1..40)"}}
  - tool: payments.refund
    effect: irreversible
    executor: supervised
    custody: broker
    deadline: 10s
    arguments:
      {customer_id: id, order_id: "string(1..40)", amount: "money(2, 0..10000)", iban: iban, note?: string}
    affects: {customer: customer_id, resource: order_id, amount: amount}
    public: [amount]
    witness: payments-log
clauses:
  - id: refund-ceiling
    deny: payments.refund
    when: context.args.amount > 20000
    severity: major
    because: "Above 200 EUR a human refunds."
  - id: unknown-account
    escalate: payments.refund
    when: context.novel.contains("iban") || context.baseline == "learning"
limits:
  - {id: refunds-per-hour, count: payments.refund, at_most: 20, per: 1h, then: deny}
  - {id: one-per-order, once_per: payments.refund, keys: [order_id], then: deny}
response:
  - {signal: "denied(refund-ceiling) >= 3 in 10m", do: [suspend]}
examples:
  - {tool: payments.transfer, expect: DENY, by: [tool.unlisted]}
restricted: {irreversible: escalate, limits: half}
on_suspend: {unfinished_runs: "team:payments"}
escalation:
  - {notify: owner, by: [email]}
"""

REFUND: dict[str, Any] = {
    "customer_id": "8841",
    "order_id": "A-1009",
    "amount": "49.90",
    "iban": "GB82 WEST 1234 5698 7654 32",
}

_HEAD = """\
contract: one-tool
version: 1
agent: bot
owner: owner
purpose: Show one tool.
"""


def one_tool(arguments: str = "{}", *, effect: str = "read", tool: str = "", clauses: str = "", more: str = "") -> str:
    """The text of a contract with the single tool `act`; the parts are YAML flow text."""
    text = f"{_HEAD}tools:\n  - {{tool: act, effect: {effect}, custody: broker, arguments: {arguments}{tool}}}\n"
    if clauses:
        text += f"clauses:\n{clauses}"
    return text + more + "examples: [{tool: other, expect: DENY}]\n"


def clause(when: str, then: str = "deny", name: str = "rule") -> str:
    """One clause about `act`, its expression in a block scalar so that nothing needs quotes."""
    return f"  - id: {name}\n    {then}: act\n    when: |-\n      {when}\n"


def compiled(text: str) -> contracts.Compiled:
    return contracts.compile(contracts.load(text, name="test.yaml"))


def proposal(tool: str = "act", text: str | bytes | None = None, **arguments: Any) -> contracts.Proposal:
    raw = json.dumps(arguments) if text is None else text
    return contracts.Proposal(tool=tool, arguments=raw.encode() if isinstance(raw, str) else raw)


def situation(authority: str = "ACTIVE", **other: Any) -> contracts.Situation:
    usual: dict[str, Any] = {"now_us": NOON_US, "request": "asserted", "usage": lambda *_: 0}
    return contracts.Situation(authority=authority, **(usual | other))


def judge(text: str, act: contracts.Proposal, **other: Any) -> contracts.Judgment:
    return compiled(text).judge(act, situation(**other))


def decided(judgment: contracts.Judgment) -> list[tuple[str, str]]:
    return [(clause.id, clause.then) for clause in judgment.clauses]


def errors(text: str) -> list[str]:
    return [str(finding) for finding in contracts.lint(text, name="test.yaml") if finding.level == "error"]


def warnings(text: str) -> list[str]:
    return [str(finding) for finding in contracts.lint(text, name="test.yaml") if finding.level == "warning"]
