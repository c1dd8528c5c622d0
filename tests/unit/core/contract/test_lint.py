"""A contract's text: what loads, what is refused and where, what is pointed out; and its canonical bytes."""

from __future__ import annotations

import json

import msgspec
import pytest

from failwell.core import canonical
from failwell.core import contract as contracts
from failwell.core.contract.explain import explain
from failwell.core.errors import ContractError
from tests.unit.core.contract.contracts import REFUND_BOT, clause, errors, one_tool, warnings


def said(text: str) -> str:
    return "\n".join(errors(text))


def test_a_whole_contract_loads_as_it_is_written() -> None:
    contract = contracts.load(REFUND_BOT, name="refund-bot.yaml")
    assert (contract.contract, contract.version, contract.owner) == ("refund-bot", 7, "payments-owner")
    assert contract.valid == contracts.Validity(since="2026-11-01", until="2027-05-01")
    assert [tool.tool for tool in contract.tools] == ["orders.read", "payments.refund"]
    refund = contract.tools[1]
    assert (refund.executor, refund.custody, refund.deadline_us) == ("supervised", "broker", 10_000_000)
    assert refund.arguments[4] == contracts.Argument(name="note", type="string", optional=True)
    assert refund.affects == contracts.Affects(customer="customer_id", resource="order_id", amount="amount")
    assert contract.limits[1] == contracts.Limit(
        id="one-per-order",
        kind="once_per",
        tools=("payments.refund",),
        at_most=1,
        per_us=0,
        then="deny",
        severity="minor",
        keys=("order_id",),
    )
    assert contract.response == (
        contracts.Rule(
            signal="denied(refund-ceiling)",
            at_least=3,
            within_us=600_000_000,
            do=("interrupt", "suspend", "hold", "notify"),
        ),
    )
    assert contract.unfinished_runs == "team:payments"
    assert contract.escalation == (contracts.Step(notify="owner", by=("email",)),)


def test_what_is_left_out_is_the_cautious_default() -> None:
    contract = contracts.load(one_tool(), name="x")
    assert contract.restricted == contracts.Restricted(irreversible="escalate", limits="half")
    assert contract.valid is None
    assert contracts.load(one_tool().replace("custody: broker, ", ""), name="x").tools[0].custody == "none"


def test_a_rule_may_be_about_several_tools() -> None:
    text = REFUND_BOT.replace("count: payments.refund,", "count: [payments.refund, orders.read],")
    assert contracts.load(text, name="x").limits[0].tools == ("payments.refund", "orders.read")


def test_when_true_is_an_expression_and_no_boolean() -> None:
    contract = contracts.load(one_tool(clauses="  - {id: ask, escalate: act, when: true}\n"), name="x")
    assert contract.clauses[0].when == "true"


# ---- every field is known ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("owner: payments-owner", "ower: payments-owner"), 'unknown field "ower"'),
        (("owner: payments-owner", "ower: payments-owner"), "Did you mean owner?"),
        (("owner: payments-owner", ""), "owner is missing"),
        (("severity: major", "serverity: major"), "Did you mean severity?"),
        (("severity: major", "severity: huge"), "Write one of: minor, major, critical"),
        (("version: 7", 'version: "7"'), "version is not a whole number"),
        (("version: 7", "version: 7.0"), "version is not a whole number"),
        (("version: 7", "version: 0"), "Versions count from 1"),
        (("version: 7", "version:"), "version is empty"),
        (("contract: refund-bot", "contract: 12"), "It is an integer. Write it in quotes"),
        (("contract: refund-bot", "contract: Refund Bot"), "Write it like refund-bot"),
        (
            ("agent: spiffe://shop.example/agent/refund-bot", "agent: spiffe://shop.example"),
            "The agent is not well",
        ),
        (("effect: irreversible", "effect: irreversble"), "Did you mean irreversible?"),
        (("    effect: irreversible\n", ""), "effect is missing"),
        (("deadline: 10s", "deadline: 10"), "deadline is not a text"),
        (("deadline: 10s", 'deadline: "10"'), "such as 10m"),
        (("executor: supervised", "executor: super"), "executor cannot be"),
        (("custody: broker\n", "custody: brokr\n"), "Did you mean broker?"),
        (("from: 2026-11-01", "from: 2026-13-01"), "valid: from is not a day"),
        (("from: 2026-11-01", "from: 2027-05-01"), "never valid"),
        (('"money(2, 0..10000)"', "money"), "has no usable type"),
        (('"money(2, 0..10000)"', '"money(2, 10..0)"'), "is empty. Write the lower end first"),
        (("note?: string", "_note?: string"), "argument _note is not well formed"),
        (("note?: string", "n\u043ete?: string"), "is not well formed"),
        (("note?: string", "IBAN?: string"), "argument IBAN reads like another one"),
        (("note?: string", "__entity: string"), "argument __entity is not well formed"),
        (("note?: string", "note?: string, note: string"), "argument note is declared twice"),
        (("    witness:", "    compensate: payments.refund\n    witness:"), "payments.refund undoes itself"),
        (("    witness:", "    compensate: [payments.cancel]\n    witness:"), "compensate is not a mapping"),
        (("    witness:", "    compensate: {within: 5s}\n    witness:"), "compensate: tool is missing"),
        (("    witness:", "    compensate: {tool: a, wihtin: 5s}\n    witness:"), "Did you mean within?"),
        (("    witness:", "    compensate: {tool: a, within: 5}\n    witness:"), "within is not a text"),
        (("    witness:", "    compensate: {tool: a, within: 2h}\n    witness:"), "within is out of range"),
        (("    witness:", "    compensate: pay cancel\n    witness:"), "not well formed"),
        (("    witness:", "    compensate: 7\n    witness:"), "compensate is not a mapping"),
        (("denied(refund-ceiling) >= 3", "compensate(orders.read) >= 3"), "No such tool is ever undone"),
        (("public: [amount]", "public: [amuont]"), "Did you mean amount?"),
        (("public: [amount]", "public: [note]"), "has no greatest length"),
        (("public: [amount]", "public: amount"), "public is not a list"),
        (("customer: customer_id", "customer: customer"), "Did you mean customer_id?"),
        (("customer: customer_id", "custmer: customer_id"), "Did you mean customer?"),
        (("tool: orders.read", "tool: payments.refund"), "payments.refund is listed twice"),
        (("tool: orders.read", "tool: payments refund"), "not well formed"),
        (("deny: payments.refund", "deny: payments.refunds"), "Did you mean payments.refund?"),
        (("deny: payments.refund", "forbid: payments.refund"), "write either deny or escalate"),
        (
            ("deny: payments.refund", "deny: payments.refund\n    escalate: payments.refund"),
            "Found 2 of them",
        ),
        (("deny: payments.refund", "deny: []"), "names no tool"),
        (("id: unknown-account", "id: refund-ceiling"), "The id refund-ceiling is taken"),
        (("id: refunds-per-hour", "id: refund-ceiling"), "The id refund-ceiling is taken"),
        (("id: unknown-account", "id: arguments"), "The id arguments is taken"),
        (("id: unknown-account", "id: tool.unlisted"), "not well formed"),
        (("at_most: 20", "at_most: 0"), "at_most is out of range"),
        (("at_most: 20", "at_most: -1"), "at_most is out of range"),
        (("count: payments.refund, at_most: 20, per: 1h", "rate: payments.refund, at_most: 20"), "per is missing"),
        (("count: payments.refund, at_most: 20, per: 1h", "cooldown: payments.refund"), "per is missing"),
        (("at_most: 20, per: 1h", "per: 1h"), "at_most is missing"),
        (("keys: [order_id]", "keys: [oder_id]"), "Did you mean order_id?"),
        (("keys: [order_id], ", ""), "keys are missing"),
        (("keys: [order_id]", "keys: [order_id], at_most: 2"), "at_most has no meaning here"),
        (("at_most: 20", "at_most: 20, after: orders.read"), "after has no meaning here"),
        (("at_most: 20", "at_most: 20, sum: payments.refund.amount"), "Found 2 of them"),
        (("count: payments.refund, at_most: 20", "sum: amount, at_most: 20"), "sum does not name one argument"),
        (("keys: [order_id], then: deny", "keys: [order_id]"), "then is missing"),
        (("then: deny}\n  - {id: one", "then: block}\n  - {id: one"), "then cannot be"),
        (("denied(refund-ceiling)", "denied(refund-cieling)"), "Did you mean refund-ceiling?"),
        (("denied(refund-ceiling)", "recorded(refund-ceiling)"), "Write denied(refund-ceiling)"),
        (("denied(refund-ceiling)", "denied(unknown-account)"), "Write escalated(unknown-account)"),
        (("denied(refund-ceiling)", "escalated(tool.unlisted)"), "Write denied(tool.unlisted)"),
        (("do: [suspend]", "do: []"), "does nothing"),
        (("do: [suspend]", "do: [supend]"), "is not a response"),
        (("limits: half", "limits: third"), "limits cannot be"),
        (
            ('unfinished_runs: "team:payments"', 'unfinished_runs: "Team Payments"'),
            "unfinished runs is not well",
        ),
        (("purpose: Refund", "purpose: " + "x" * 2001), "empty or too long"),
    ],
)
@pytest.mark.requirement("R2.16")
def test_what_is_wrong_is_found_and_placed(change: tuple[str, str], expected: str) -> None:
    assert change[0] in REFUND_BOT
    found = errors(REFUND_BOT.replace(*change, 1))
    assert any(expected in one for one in found), found
    assert all("test.yaml:" in one for one in found)
    with pytest.raises(contracts.BrokenContract):
        contracts.load(REFUND_BOT.replace(*change, 1), name="test.yaml")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (("purpose:", "baseline: {learn: 1000 actions}\npurpose:"), "baseline"),
        (('"denied(refund-ceiling) >= 3 in 10m"', "drift.alarm"), "drift.alarm"),
    ],
)
def test_what_this_version_does_not_enforce_is_refused_and_never_ignored(change: tuple[str, str], field: str) -> None:
    assert change[0] in REFUND_BOT
    found = said(REFUND_BOT.replace(*change, 1))
    assert field in found
    assert "not enforced" in found or "never raises" in found


def test_a_tool_says_by_which_step_it_is_undone_and_how_long_that_may_take() -> None:
    """Both spellings of a step are one contract; without one the canonical bytes are those of earlier releases."""
    before = contracts.load(REFUND_BOT, name="x")
    assert b"compensate" not in contracts.to_canonical(before)

    def step(spelled: str) -> contracts.Contract:
        return contracts.load(REFUND_BOT.replace("    witness:", f"    compensate: {spelled}\n    witness:"), name="x")

    short, whole = step("payments.cancel"), step("{tool: payments.cancel, within: 30s}")
    assert contracts.digest(short) == contracts.digest(whole) != contracts.digest(before)
    refund = next(tool for tool in step("{tool: a, within: 5m}").tools if tool.tool == "payments.refund")
    assert refund.compensate == contracts.Compensate(tool="a", within_us=300_000_000)
    data = contracts.to_canonical(short)
    assert contracts.from_canonical(data) == short
    with pytest.raises(ContractError):  # a default that is left out would be a second spelling
        contracts.from_canonical(data.replace(b',"within_us":30000000}', b"}"))


def test_a_rule_suspends_a_whole_group_and_each_of_what_that_implies() -> None:
    contract = contracts.load(REFUND_BOT.replace("do: [suspend]", "do: [suspend_group]"), name="x")
    assert contract.response[0].do == ("interrupt", "suspend", "suspend_group", "hold", "notify")


STOPPING = "stopping: {harm: major, because: Nobody answers the emergency line., cover: 'team:night'}\n"


def test_a_contract_says_what_it_harms_to_stop_its_agent() -> None:
    before = contracts.load(REFUND_BOT, name="x")
    assert b"stopping" not in contracts.to_canonical(before)
    contract = contracts.load(REFUND_BOT + STOPPING, name="x")
    told = contracts.Stopping(harm="major", because="Nobody answers the emergency line.", cover="team:night")
    assert contract.stopping == told
    assert contracts.from_canonical(contracts.to_canonical(contract)) == contract
    lines = explain(contract)[-1].lines
    assert "Stopping it does major harm: Nobody answers the emergency line." in lines
    assert any("What is critical always suspends it." in line for line in lines)
    assert "Meanwhile team:night does the work." in lines


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("harm: major, ", ""), "harm is missing"),
        (("harm: major", "harm: grave"), "harm cannot be"),
        (("because: Nobody answers the emergency line., ", ""), "because is missing"),
        (("'team:night'", "'Night Team'"), "Who covers for the agent is not well formed"),
        (("Nobody answers the emergency line.", "x" * 2001), "empty or too long"),
    ],
)
def test_harm_that_nobody_could_weigh_is_refused(change: tuple[str, str], expected: str) -> None:
    assert change[0] in STOPPING
    assert expected in said(REFUND_BOT + STOPPING.replace(*change, 1))


@pytest.mark.parametrize(
    "signal",
    [
        "failed(payments.refund)", "unknown(payments.refund)", "overdue(orders.read)", "noticed(answer-off-topic)",
        "delegate(mail-bot)", "objective(resolve)", "ticket.denied", "reported",
    ],
)  # fmt: skip
def test_a_rule_can_be_about_everything_that_is_noticed(signal: str) -> None:
    text = REFUND_BOT.replace("denied(refund-ceiling) >= 3 in 10m", f"{signal} >= 2 in 5m") + "delegates: [mail-bot]\n"
    assert contracts.load(text, name="x").response[0].signal == signal


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        ("failed(payments.refnd)", "Did you mean payments.refund?"),
        ("unknown(shell.run)", "The tool is not listed."),
        ("delegate(mail-bot)", "It hands work to no such agent."),
        ("objective(celebrate)", "There is no such objective."),
        ("noticed(Off Topic)", "is not well formed"),
        ("health(guard)", "is not a signal"),
        ("reported(anna)", "is not a signal"),
        ("failed", "is not a signal"),
    ],
)
def test_a_rule_on_what_is_never_raised_is_refused(signal: str, expected: str) -> None:
    assert expected in said(REFUND_BOT.replace("denied(refund-ceiling) >= 3 in 10m", signal))


def test_undoing_what_only_reads_is_pointed_out() -> None:
    text = one_tool(effect="read", tool=", compensate: undo")
    assert "undone without need" in warnings(text)[0]
    contracts.load(text, name="x")


def test_every_mistake_is_told_at_once_in_order_of_place() -> None:
    text = REFUND_BOT.replace("severity: major", "severity: hgue").replace("version: 7", "version: x")
    findings = [finding for finding in contracts.lint(text, name="t") if finding.level == "error"]
    assert [finding.line for finding in findings] == [2, 23]
    assert findings[0].column == 10
    assert findings[1].excerpt == "severity: hgue"


def test_public_facts_fit_an_entry() -> None:
    assert "may not fit" in said(one_tool('{a: "string(0..6000)"}', tool=", public: [a]"))
    assert said(one_tool('{a: "string(0..5000)"}', tool=", public: [a]")) == ""


def test_opaque_arguments_are_neither_public_nor_affected_nor_keys() -> None:
    assert "opaque" in said(one_tool("{a: any}", tool=", public: [a]"))
    assert "opaque" in said(one_tool("{a: object}", tool=", affects: {customer: a}"))
    limit = "limits:\n  - {id: once, once_per: act, keys: [a], then: deny}\n"
    assert "no value to compare" in said(one_tool("{a: any}", more=limit))


def test_a_contract_without_tools_is_refused() -> None:
    assert "No tool is listed" in said(REFUND_BOT.split("tools:")[0] + "tools: []\n")


# ---- what is weak --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("    deadline: 10s\n", ""), "payments.refund has no deadline"),
        (("    witness: payments-log\n", ""), "payments.refund has no witness"),
        (("    custody: broker\n", "    custody: none\n"), "payments.refund is advisory"),
        (("    custody: broker\n", ""), "payments.refund is advisory"),
    ],
)
def test_what_is_weak_is_pointed_out_and_may_be_adopted(change: tuple[str, str], expected: str) -> None:
    assert warnings(REFUND_BOT) == []
    text = REFUND_BOT.replace(*change, 1)
    assert expected in warnings(text)[0]
    contracts.load(text, name="test.yaml")


def test_an_irreversible_tool_that_nothing_bounds_is_pointed_out() -> None:
    bounds = ", deadline: 1s, witness: log"
    assert "irreversible and unbounded" in warnings(one_tool(effect="irreversible", tool=bounds))[0]
    assert warnings(one_tool(effect="irreversible", tool=bounds, clauses=clause("true"))) == []


# ---- canonical bytes -----------------------------------------------------------------------------------


def test_canonical_bytes_read_back_and_have_one_digest() -> None:
    contract = contracts.load(REFUND_BOT, name="x")
    data = contracts.to_canonical(contract)
    assert contracts.from_canonical(data) == contract
    assert canonical.encode(canonical.decode(data)) == data
    spaced = REFUND_BOT.replace("{id: one-per-order, once_per", "{  id: one-per-order,   once_per") + "# a remark\n"
    assert contracts.digest(contracts.load(spaced, name="y")) == contracts.digest(contract)
    other = contracts.load(REFUND_BOT.replace("at_most: 20", "at_most: 21"), name="x")
    assert contracts.digest(other) != contracts.digest(contract)


@pytest.mark.parametrize(
    "change",
    [
        {"deadline": 5},
        {"clauses": []},
        {"valid": None},
        {"version": "7"},
        {"version": True},
        {"restricted": {"irreversible": "maybe", "limits": "half"}},
        {"applies_to": {"suite": 5}},
        {"tools": {}},
    ],
)
def test_bytes_that_are_no_contract_or_spelled_twice_are_refused(change: dict[str, object]) -> None:
    members = json.loads(contracts.to_canonical(contracts.load(one_tool(), name="x")))
    with pytest.raises(ContractError):
        contracts.from_canonical(canonical.encode(members | change))


def test_bytes_of_a_contract_that_makes_no_sense_do_not_compile() -> None:
    contract = contracts.load(one_tool("{n: int}", clauses=clause("context.args.n > 1")), name="x")
    replace = msgspec.structs.replace
    for broken in (
        replace(contract, version=0),
        replace(contract, tools=contract.tools * 2),
        replace(contract, clauses=contract.clauses * 2),
        replace(contract, clauses=(replace(contract.clauses[0], tools=("gone",)),)),
        replace(contract, clauses=(replace(contract.clauses[0], when="context.args.gone > 1"),)),
        replace(
            contract,
            response=(contracts.Rule(signal="denied(rule)", at_least=3, within_us=0, do=("record",)),),
        ),
        replace(
            contract,
            response=(contracts.Rule(signal="denied(rule)", at_least=1, within_us=0, do=("suspend",)),),
        ),
    ):
        with pytest.raises(contracts.BrokenContract):
            contracts.compile(contracts.from_canonical(contracts.to_canonical(broken)))


def test_a_contract_over_48_kib_is_refused() -> None:
    rules = "".join(
        f'  - {{id: rule-{number}, deny: act, when: "true", because: "{"x" * 1900}"}}\n' for number in range(30)
    )
    assert "The contract is too large" in said(one_tool(clauses=rules))
