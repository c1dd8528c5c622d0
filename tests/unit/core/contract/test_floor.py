"""Floors: what a text may ask, and what keeps a contract from standing on one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failwell.core import contract as contracts
from failwell.core.errors import ContractError
from tests.unit.core.contract.contracts import REFUND_BOT, decided, judge, one_tool, proposal, situation

COMPANY = """\
floor: company
version: 1
scope: organisation
purpose: What no agent of this company may do.
never: [shell.*]
clauses:
  - {id: small, escalate: "payments.*", when: context.args.amount > 10000, because: Above 100 EUR a person decides.}
limits:
  - {id: slow, rate: "*", at_most: 30, per: 1m, then: deny}
  - {id: budget, sum: "payments.*.amount", at_most: 100000, per: 1d, then: deny}
  - {id: harm, blast: amount, at_most: 500000, per: 7d, then: escalate}
restricted: {irreversible: deny}
witnessed: true
stoppable: true
custody: [broker, network]
"""


def errors(text: str) -> str:
    return "\n".join(str(finding) for finding in contracts.lint_floor(text, name="floor.yaml"))


def stand(contract: str, floor: str) -> list[str]:
    loaded = contracts.load(contract, name="c"), contracts.load_floor(floor, name="floor.yaml")
    return [f"{finding.level}: {finding}" for finding in contracts.floor_findings(*loaded)]


def test_a_whole_floor_loads_as_it_is_written_and_has_one_digest() -> None:
    floor = contracts.load_floor(COMPANY, name="floor.yaml")
    assert contracts.lint_floor(COMPANY, name="floor.yaml") == ()
    assert contracts.check_floor(floor) == ()
    assert (floor.floor, floor.scope, floor.never) == ("company", "organisation", ("shell.*",))
    assert floor.limits[1].sums == "amount"
    assert floor.limits[1].tools == ("payments.*",)
    assert (floor.limits[2].tools, floor.limits[2].sums) == ((), "amount")
    assert (floor.witnessed, floor.stoppable, floor.custody) == (True, True, ("broker", "network"))
    assert contracts.floor_from_canonical(contracts.floor_to_canonical(floor)) == floor
    spaced = COMPANY.replace("never: [shell.*]", "never:   [ shell.* ] # none")
    assert contracts.floor_digest(contracts.load_floor(spaced, name="y")) == contracts.floor_digest(floor)


def test_a_floor_is_told_from_a_contract() -> None:
    assert contracts.is_floor(COMPANY)
    assert not contracts.is_floor(REFUND_BOT)
    assert not contracts.is_floor("a: [")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("floor: company", "floor: Company!"), "floor's name is not well formed"),
        (("version: 1", "version: 0"), "Versions count from 1"),
        (("scope: organisation", "scope: everybody"), "The scope is not known"),
        (("scope: organisation", "scope: group:"), "cannot be read"),
        (("scope: organisation", "scope: 'group:'"), "The scope is not known"),
        (("purpose: What", "purpse: What"), "Did you mean purpose?"),
        (("never: [shell.*]", "never: [shell.*, shell.*]"), "never names a tool twice"),
        (("never: [shell.*]", "never: ['sh*ll']"), "a star stands at the end alone"),
        (("never: [shell.*]", "never: ['p\u0430yments.*']"), "No tool can have this name"),
        (("id: small", "id: never"), "The id never is taken"),
        (("id: slow", "id: small"), "The id small is taken"),
        (("id: slow", "id: facts"), "The id facts is taken"),
        (("id: slow", "id: a/b"), "not well formed"),
        (("context.args.amount > 10000", "'context.args.amount >'"), "clause small could fail"),
        (("at_most: 30, per: 1m", "at_most: 30"), "per is missing"),
        (("at_most: 30", "at_most: 0"), "at_most is out of range"),
        (("custody: [broker, network]", "custody: [broker, broker]"), "a word twice"),
        (("custody: [broker, network]", "custody: [brokr]"), "custody cannot hold"),
        (("witnessed: true", "witnessed: maybe"), "witnessed is not true or false"),
        (("never: [shell.*]", "tools: []"), 'unknown field "tools"'),
        (("because: Above 100 EUR a person decides.", "because: ''"), "because is empty"),
    ],
)
def test_what_is_wrong_with_a_floor_is_found_and_placed(change: tuple[str, str], said: str) -> None:
    assert change[0] in COMPANY
    text = COMPANY.replace(*change, 1)
    assert said in errors(text)
    assert "floor.yaml:" in errors(text)
    with pytest.raises(ContractError):
        contracts.load_floor(text, name="floor.yaml")


def test_a_floor_that_asks_nothing_is_refused() -> None:
    assert "asks nothing" in errors(COMPANY.split("never:", maxsplit=1)[0])
    assert "cannot be read" in errors("floor: [")


# ---- standing on it ----------------------------------------------------------------------------------------


def test_a_contract_that_meets_everything_stands_and_is_judged_under_the_floor() -> None:
    assert stand(REFUND_BOT, COMPANY) == []
    compiled = contracts.compile(contracts.load(REFUND_BOT, name="c"), [contracts.load_floor(COMPANY, name="f")])
    amount: dict[str, Any] = {"customer_id": "8", "order_id": "A", "amount": 150, "iban": "GB82WEST12345698765432"}
    assert decided(compiled.judge(proposal("payments.refund", **amount), situation())) == [
        ("company/small", "escalate")
    ]
    restricted = compiled.judge(proposal("payments.refund", **(amount | {"amount": 5})), situation("RESTRICTED"))
    assert decided(restricted) == [("authority.restricted", "deny")]
    assert judge(REFUND_BOT, proposal("payments.refund", **amount)).verdict == "ALLOW"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("    witness: payments-log\n", ""), "payments.refund has no witness.\n"),
        (("    deadline: 10s\n", ""), "payments.refund has no deadline.\n"),
        (("    custody: broker\n", "    custody: none\n"), "The floor company asks for broker or network"),
        (
            (', amount: "money(2, 0..10000)"', ', amuont: "money(2, 0..10000)", amount: "string(1..9)"'),
            "clause company/small of the floor cannot be judged for payments.refund",
        ),
        (
            ('amount: "money(2, 0..10000)"', 'amount: "money(2, -5..10000)"'),
            "limit company/budget of the floor adds up",
        ),
        ((", amount: amount}\n    public", "}\n    public"), "payments.refund says no affects.amount"),
    ],
)
def test_what_keeps_a_contract_from_standing_names_floor_and_tool(change: tuple[str, str], said: str) -> None:
    text = REFUND_BOT.replace("    when: context.args.amount > 20000\n", "")
    assert change[0] in text
    found = [one for one in stand(text.replace(*change, 1), COMPANY) if one.startswith("error")]
    assert any(said in one for one in found), found
    with pytest.raises(contracts.BrokenContract) as refusal:
        contracts.compile(contracts.load(text.replace(*change, 1), name="c"), [contracts.load_floor(COMPANY, name="f")])
    assert "refund-bot v7 on floor company v1" in str(refusal.value)


def test_a_tool_that_the_floor_denies_may_be_listed_and_never_runs() -> None:
    text = one_tool().replace("tool: act", "tool: shell.run")
    assert any("warning: shell.run can never run" in one for one in stand(text, COMPANY))
    compiled = contracts.compile(contracts.load(text, name="c"), [contracts.load_floor(COMPANY, name="f")])
    assert ("company/never", "deny") in decided(compiled.judge(proposal("shell.run"), situation()))


def test_a_limit_per_subject_or_after_another_tool_needs_both() -> None:
    floor = COMPANY.split("never:", maxsplit=1)[0] + (
        'limits:\n  - {id: each, count: "*", at_most: 5, each: [subject], then: deny}\n'
        '  - {id: read-first, sequence: "*", after: papers.read, keys: [order_id], then: deny}\n'
    )
    found = "\n".join(stand(REFUND_BOT, floor))
    assert "orders.read names neither affects.customer nor subject" in found
    assert "limit company/read-first of the floor names papers.read.\n" in found


def test_bytes_of_a_floor_that_makes_no_sense_are_found_without_its_text() -> None:
    floor = contracts.load_floor(COMPANY, name="f")
    replace = msgspec.structs.replace
    for broken in (
        replace(floor, version=0),
        replace(floor, never=("*x",)),
        replace(floor, clauses=floor.clauses * 2),
        replace(floor, limits=(replace(floor.limits[0], at_most=0),)),
        replace(floor, custody=("nobody",)),
    ):
        assert [finding.level for finding in contracts.check_floor(broken)] != []


def test_every_tool_after_one_does_not_make_that_one_wait_for_itself() -> None:
    floor = COMPANY.split("never:", maxsplit=1)[0] + (
        'limits:\n  - {id: read-first, sequence: "*", after: orders.read, then: deny}\n'
    )
    compiled = contracts.compile(contracts.load(REFUND_BOT, name="c"), [contracts.load_floor(floor, name="f")])
    read = proposal("orders.read", order_id="A-1")
    assert compiled.judge(read, situation()).verdict == "ALLOW"
    amount = {"customer_id": "8", "order_id": "A", "amount": 5, "iban": "GB82WEST12345698765432"}
    assert decided(compiled.judge(proposal("payments.refund", None, **amount), situation())) == [
        ("company/read-first", "deny")
    ]
