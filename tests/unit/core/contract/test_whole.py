"""The whole language, read to its records: each field means what the document says."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from failwell.core import contract as contracts
from failwell.core.contract import model
from tests.unit.core.contract.contracts import errors, one_tool, warnings

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "contract.md"
HOUR_US = 3_600_000_000


def documented() -> str:
    found = re.search(r"^```yaml\n(contract: .*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def loaded() -> contracts.Contract:
    return contracts.load(documented(), name="refund-bot.yaml")


def test_people_and_other_agents_are_read() -> None:
    contract = loaded()
    assert contract.principals == ("customer",)
    assert contract.delegates == ("mail-bot",)
    assert contract.oversight == model.Oversight(reviewers=("role:reviewer",), decide_within_us=24 * HOUR_US)
    assert contracts.load(one_tool(), name="x").oversight is None


def test_who_is_not_named_is_everybody_with_the_role_and_a_day_is_the_time() -> None:
    one = contracts.load(one_tool(more="oversight: {decide_within: 2h}\n"), name="x").oversight
    other = contracts.load(one_tool(more="oversight: {reviewers: [anna]}\n"), name="x").oversight
    assert one == model.Oversight(reviewers=("role:reviewer",), decide_within_us=2 * HOUR_US)
    assert other == model.Oversight(reviewers=("anna",), decide_within_us=24 * HOUR_US)
    assert "names nobody" in "\n".join(errors(one_tool(more="oversight: {reviewers: []}\n")))


def test_what_the_gate_asks_before_and_after_is_read() -> None:
    refund = loaded().tools[1]
    assert refund.facts == (
        model.Lookup(name="paid", lookup="orders.paid_amount", type="money(2, 0..1000)", given=("order_id",)),
    )
    assert refund.ensure == (
        model.Ensure(
            name="booked", lookup="payments.booked", type="bool", expected=True, within_us=30_000_000,
            given=("order_id",), severity="major",
        ),
    )  # fmt: skip
    assert (refund.subject, refund.contest) == (None, None)
    assert loaded().tools[2].subject == "customer_id"


@pytest.mark.parametrize(
    ("of", "written", "expected"),
    [
        ("bool", "false", False),
        ("int(0..9)", "3", 3),
        ("money(2)", '"49.90"', "49.90"),
        ("money(2)", "50", 50),
        ("enum(a, b)", "a", "a"),
        ("date", "2026-11-23", "2026-11-23"),
    ],
)
def test_what_must_be_true_can_be_any_value_of_its_type(of: str, written: str, expected: object) -> None:
    tool = f', ensure: {{a: {{lookup: s, type: "{of}", is: {written}, within: 30s}}}}'
    assert contracts.load(one_tool(tool=tool), name="x").tools[0].ensure[0].expected == expected


@pytest.mark.parametrize(
    ("of", "written"),
    [("bool", '"true"'), ("bool", "1"), ("int", '"3"'), ("int", "true"), ("money(2)", "0.001"), ("enum(a, b)", "c"),
     ("int", "4.5"), ("object", "{}"), ("list(id, max 2)", "[a]"), ("date", "2026-02-31")],
)  # fmt: skip
def test_what_could_never_be_true_is_refused(of: str, written: str) -> None:
    assert errors(one_tool(tool=f', ensure: {{a: {{lookup: s, type: "{of}", is: {written}, within: 30s}}}}'))


LIMITS = {
    "{count: act, at_most: 20, per: 1h}": {"kind": "count", "at_most": 20, "per_us": HOUR_US},
    "{count: act, at_most: 20}": {"kind": "count", "at_most": 20, "per_us": 0},
    "{count: act, at_most: 3, each: [run]}": {"kind": "count", "at_most": 3, "per_us": 0, "each": ("run",)},
    "{rate: act, at_most: 30, per: 1m}": {"kind": "rate", "at_most": 30, "per_us": 60_000_000},
    "{concurrent: act, at_most: 2}": {"kind": "concurrent", "at_most": 2, "per_us": 0},
    "{cooldown: act, per: 1h, keys: [to]}": {
        "kind": "cooldown", "at_most": 1, "per_us": HOUR_US, "keys": ("to",),
    },
    "{once_per: act, keys: [to]}": {"kind": "once_per", "at_most": 1, "per_us": 0, "keys": ("to",)},
    "{once_per: act, each: [subject]}": {"kind": "once_per", "at_most": 1, "per_us": 0, "each": ("subject",)},
    "{sequence: act, after: look, keys: [to]}": {
        "kind": "sequence", "at_most": 1, "per_us": 0, "needs": "look", "keys": ("to",),
    },
    "{sum: act.amount, at_most: 200000, per: 1h}": {
        "kind": "sum", "at_most": 200_000, "per_us": HOUR_US, "sums": "amount",
    },
    "{sum: act.amount, at_most: 90000000000000}": {
        "kind": "sum", "at_most": 90_000_000_000_000, "per_us": 0, "sums": "amount",
    },
    "{blast: actions, at_most: 100, per: 1h}": {
        "kind": "blast", "at_most": 100, "per_us": HOUR_US, "tools": (),
    },
    "{blast: amount, at_most: 500000, per: 1h, each: [principal, run]}": {
        "kind": "blast", "at_most": 500_000, "per_us": HOUR_US, "tools": (), "sums": "amount",
        "each": ("principal", "run"),
    },
}  # fmt: skip


def limited(text: str) -> str:
    tool = ", affects: {customer: to, amount: amount}, deadline: 5s, witness: log"
    other = "  - {tool: look, effect: read, custody: broker, arguments: {to: id}}\n"
    limit = text.replace("{", "{id: bound, then: escalate, ", 1)
    arguments = '{to: id, amount: "money(2, 0..100)"}'
    return one_tool(arguments, effect="irreversible", tool=tool, more=f"{other}limits:\n  - {limit}\n")


@pytest.mark.parametrize("text", LIMITS)
def test_every_kind_of_limit_is_read_to_its_record(text: str) -> None:
    assert errors(limited(text)) + warnings(limited(text)) == []
    contract = contracts.load(limited(text), name="x")
    usual = {"id": "bound", "then": "escalate", "severity": "minor", "tools": ("act",)}
    assert contract.limits == (model.Limit(**{**usual, **LIMITS[text]}),)  # type: ignore[arg-type]
    assert contracts.from_canonical(contracts.to_canonical(contract)) == contract
    contracts.compile(contract)


def test_bytes_of_limits_that_no_text_could_spell_do_not_compile() -> None:
    """A contract that never was a text is held to the same rules."""
    contract = contracts.load(limited("{count: act, at_most: 20, per: 1h}"), name="x")
    sound = contract.limits[0]
    replace = msgspec.structs.replace
    for broken in (
        replace(sound, kind="sum"),
        replace(sound, kind="sum", sums="to"),
        replace(sound, sums="amount"),
        replace(sound, kind="blast"),
        replace(sound, kind="blast", tools=(), sums="to"),
        replace(sound, kind="sequence"),
        replace(sound, needs="look"),
        replace(sound, kind="sequence", at_most=1, per_us=0, needs="act"),
        replace(sound, kind="sequence", at_most=1, needs="look"),
        replace(sound, kind="concurrent"),
        replace(sound, kind="cooldown"),
        replace(sound, kind="cooldown", at_most=1, per_us=0),
        replace(sound, kind="once_per", at_most=1),
        replace(sound, kind="rate", per_us=0),
        replace(sound, tools=()),
        replace(sound, at_most=1_000_000_001),
        replace(sound, each=("run", "run")),
    ):
        with pytest.raises(contracts.BrokenContract):
            contracts.compile(replace(contract, limits=(broken,)))


@pytest.mark.parametrize("tool", ["respond", "decide", "chat.respond", "claims.decide"])
def test_whoever_is_told_or_decided_about_is_named(tool: str) -> None:
    arguments = "{who: id}"
    said = "\n".join(errors(one_tool(arguments).replace("tool: act", f"tool: {tool}")))
    assert f"{tool} names no subject" in said
    assert ("cannot be contested" in said) == tool.endswith("decide")
    named = ", subject: who, contest: {to: claims-desk, within: 30d}"
    assert errors(one_tool(arguments, tool=named).replace("tool: act", f"tool: {tool}")) == []
    assert errors(one_tool(arguments).replace("tool: act", "tool: respondents.list")) == []


def test_a_fact_is_public_only_by_its_own_name() -> None:
    """An argument of the same name must not publish what a source said, nor the other way round."""
    tool = ', public: [paid], facts: {paid: {lookup: s, type: "int(0..9)"}}'
    contract = contracts.load(one_tool('{paid: "int(0..9)"}', tool=tool), name="x")
    looked = {"paid": contracts.Looked(source="s", state="answered", elapsed_us=0, value=3)}
    situation = contracts.Situation(
        authority="ACTIVE", now_us=1, request="absent", usage=lambda limit, key: 0, looked=looked
    )
    act = contracts.Proposal(tool="act", arguments=b'{"paid": 5}')
    facts = contracts.compile(contract).judge(act, situation).facts
    assert (facts["paid"].public, facts["facts.paid"].public) == (True, False)
    swapped = contracts.load(one_tool('{paid: "int(0..9)"}', tool=tool.replace("[paid]", "[facts.paid]")), name="x")
    facts = contracts.compile(swapped).judge(act, situation).facts
    assert (facts["paid"].public, facts["facts.paid"].public) == (False, True)
