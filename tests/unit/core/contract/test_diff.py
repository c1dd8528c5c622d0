"""Two versions of a contract: what a change means; "tighter" is never said of what lets more through."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from failwell.core import contract as contracts
from failwell.core.contract import model
from failwell.core.contract.argument import Mismatch, parse_type
from failwell.core.contract.comparing import by_type, by_when
from failwell.core.contract.diff import Change, diff, loosened
from tests.unit.core.contract.contracts import REFUND_BOT, clause, compiled, one_tool, proposal, situation

OLD = contracts.load(REFUND_BOT, name="old")
replace = msgspec.structs.replace


def changes(**fields: Any) -> tuple[Change, ...]:
    return diff(OLD, replace(OLD, version=8, **fields))


def one(**fields: Any) -> tuple[str, str, str]:
    (change,) = changes(**fields)
    assert loosened((change,)) is (change.means in ("looser", "unclear"))
    return change.means, change.about, change.says


def refund(**fields: Any) -> dict[str, Any]:
    return {"tools": (OLD.tools[0], replace(OLD.tools[1], **fields))}


def with_argument(name: str, **fields: Any) -> dict[str, Any]:
    changed = (replace(a, **fields) if a.name == name else a for a in OLD.tools[1].arguments)
    return refund(arguments=tuple(changed))


def ceiling(**fields: Any) -> dict[str, Any]:
    return {"clauses": (replace(OLD.clauses[0], **fields), OLD.clauses[1])}


def per_hour(**fields: Any) -> dict[str, Any]:
    return {"limits": (replace(OLD.limits[0], **fields), OLD.limits[1])}


def test_another_version_number_alone_is_no_change() -> None:
    assert changes() == ()


READ = model.Tool(tool="orders.list", effect="read", custody="broker")
HOUR_US = 3_600_000_000

MEANT: list[tuple[dict[str, Any], str, str]] = [
    ({"tools": (*OLD.tools, READ)}, "looser", "Newly allowed, as far as clauses and limits let it: read."),
    (refund(deadline_us=20_000_000), "looser", "It could run for 10s and can for 20s."),
    (refund(deadline_us=5_000_000), "tighter", "It could run for 10s and can for 5s."),
    (refund(deadline_us=None), "looser", "It could run for 10s and can for no bound."),
    (refund(custody="none"), "looser", "It was broker and is none."),
    (refund(custody="network"), "unclear", "It was broker and is network."),
    (refund(effect="reversible"), "looser", "It was irreversible and is reversible."),
    (refund(executor="unstoppable"), "unclear", "It was supervised and is unstoppable."),
    (refund(idempotent=True), "looser", "A retry may run it again."),
    (refund(witness=None), "looser", "It was payments-log and is not said."),
    (refund(compensate=model.Compensate(tool="payments.cancel", within_us=30_000_000)), "tighter",
     "An action that was stopped was not undone and is undone by payments.cancel within 30s."),
    (refund(public=()), "unclear", "It was amount and is nothing."),
    (with_argument("amount", type="money(2, 0..200)"), "tighter",
     "Its type was money(2, 0..10000) and is money(2, 0..200)."),
    (with_argument("amount", type="money(3, 0..200)"), "unclear",
     "Its type was money(2, 0..10000) and is money(3, 0..200)."),
    (with_argument("note", optional=False), "tighter", "It has to be given now."),
    (with_argument("iban", optional=True), "looser", "It may be left out now."),
    (with_argument("note", optional=False, type="string(1..9)"), "tighter",
     "It has to be given now. Its type was string and is string(1..9)."),
    (with_argument("iban", optional=True, type="id"), "unclear",
     "It may be left out now. Its type was iban and is id."),
    ({"clauses": OLD.clauses[1:]}, "looser",
     "The clause is gone. It said: payments.refund: denied when amount is more than 200.00."),
    ({"clauses": (*OLD.clauses, model.Clause(id="new", then="escalate", tools=("orders.read",), severity="minor"))},
     "tighter", "Newly asked of a person: orders.read: for a person to decide."),
    (ceiling(when="context.args.amount > 10000"), "tighter",
     ("It said: payments.refund: denied when amount is more than 200.00. "
     "It says: payments.refund: denied when amount is more than 100.00.")),
    (ceiling(then="escalate"), "looser",
     ("It said: payments.refund: denied when amount is more than 200.00. "
     "It says: payments.refund: for a person to decide when amount is more than 200.00.")),
    (ceiling(severity="critical"), "tighter",
     ("It said: payments.refund: denied when amount is more than 200.00. "
     "It says: payments.refund: denied when amount is more than 200.00. Its severity was major and is critical.")),
    (ceiling(because="Ask a person."), "words", "Its words for people are others."),
    (ceiling(severity="critical", when="context.args.amount > 30000"), "unclear",
     ("It said: payments.refund: denied when amount is more than 200.00. "
     "It says: payments.refund: denied when amount is more than 300.00. Its severity was major and is critical.")),
    ({"limits": OLD.limits[1:]}, "looser",
     "The limit is gone. It said: payments.refund: At most 20 times in any 1h, beyond it denied."),
    (per_hour(at_most=10), "tighter", ("It said: payments.refund: At most 20 times in any 1h, beyond it denied. "
     "It says: payments.refund: At most 10 times in any 1h, beyond it denied.")),
    (per_hour(per_us=2 * HOUR_US), "tighter",
     ("It said: payments.refund: At most 20 times in any 1h, beyond it denied. "
     "It says: payments.refund: At most 20 times in any 2h, beyond it denied.")),
    (per_hour(per_us=2 * HOUR_US, at_most=30), "unclear",
     ("It said: payments.refund: At most 20 times in any 1h, beyond it denied. "
     "It says: payments.refund: At most 30 times in any 2h, beyond it denied.")),
    (per_hour(each=("principal",)), "unclear",
     ("It said: payments.refund: At most 20 times in any 1h, beyond it denied. "
     "It says: payments.refund: At most 20 times for the same principal in any 1h, beyond it denied.")),
    (per_hour(then="record"), "looser", ("It said: payments.refund: At most 20 times in any 1h, beyond it denied. "
     "It says: payments.refund: At most 20 times in any 1h, beyond it noted.")),
    ({"principals": ("customer",)}, "tighter", "It could act for anybody and can for customer."),
    ({"delegates": ("helper-bot",)}, "looser", "It could hand a run to nothing and can to helper-bot."),
    ({"valid": model.Validity(since="2026-11-01", until="2028-05-01")}, "looser",
     "It was valid from 2026-11-01 until 2027-05-01 and is valid from 2026-11-01 until 2028-05-01."),
    ({"valid": model.Validity(since="2026-12-01", until="2028-05-01")}, "unclear",
     "It was valid from 2026-11-01 until 2027-05-01 and is valid from 2026-12-01 until 2028-05-01."),
    ({"restricted": model.Restricted(irreversible="deny", limits="half")}, "tighter",
     "It was irreversible escalate, limits half and is irreversible deny, limits half."),
    ({"response": ()}, "unclear",
     ("It was signal denied(refund-ceiling), at_least 3, within 10m, do interrupt, suspend, hold and notify and "
     "is nothing.")),
    ({"stopping": model.Stopping(harm="major", because="Nobody refunds.")}, "looser",
     "The harm of a stop was not said and is major (Nobody refunds)."),
    ({"owner": "someone-else"}, "unclear", "It was payments-owner and is someone-else."),
    ({"purpose": "Refund."}, "words", f"It was: {OLD.purpose} It is: Refund."),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "means", "says"), MEANT, ids=range(len(MEANT)))
def test_what_a_change_means_and_how_it_is_told(fields: dict[str, Any], means: str, says: str) -> None:
    found = one(**fields)
    assert (found[0], found[2]) == (means, says)


def test_looser_changes_stand_first() -> None:
    found = changes(purpose="Other.", limits=(), principals=("customer",), owner="other")
    assert [change.means for change in found] == ["looser", "looser", "unclear", "tighter", "words"]


def test_every_field_that_a_contract_can_have_is_told_when_it_changes() -> None:
    """A field that a later version adds must not pass unseen."""
    for field in model.Contract.__struct_fields__:
        if field not in ("contract", "version", "tools", "clauses", "limits"):
            assert diff(OLD, msgspec.structs.replace(OLD, **{field: _other(getattr(OLD, field), field)})), field


def _other(value: Any, field: str) -> Any:
    given = {
        "valid": None, "applies_to": {"suite": "x"}, "principals": ("a",), "delegates": ("a",), "unfinished_runs": None,
        "oversight": model.Oversight(reviewers=("a",), decide_within_us=1), "response": (), "escalation": (),
        "restricted": model.Restricted(irreversible="deny", limits="same"),
        "stopping": model.Stopping(harm="major", because="x"),
    }  # fmt: skip
    return given.get(field, f"{value}x")


# ---- "tighter" is never said of what lets more through -------------------------------------------------------

TYPES = (
    "money(2)", "money(2, 0..100)", "money(2, 1..50)", "money(3, 0..100)", "decimal(2, 0..100)", "int", "int(0..5)",
    "string", "string(1..3)", "string(0..2)", "enum(a, b)", "enum(a)", "id", "email", "any", "object",
    "list(id, max 2)", "list(id, max 3)", "list(string(0..2), max 2)", "bool", "date", "path",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    0, 1, 3, 5, 6, 49, 99, 101, 0.5, 1.234, "0.5", "1.234", "50", "", "a", "ab", "abc", "abcd", "b", True, None, {},
    [], ["a"], ["a", "b"], ["a", "b", "c"], ["abc"], "a@b.example", "2026-11-01",
)  # fmt: skip


def accepted(text: str) -> dict[int, Any]:
    found = {}
    for number, value in enumerate(VALUES):
        try:
            found[number] = parse_type(text).read(value)
        except Mismatch:
            continue
    return found


def test_a_type_is_tighter_only_where_each_of_its_values_was_the_same_fact_before() -> None:
    for was, now in itertools.permutations(TYPES, 2):
        old, new, said = accepted(was), accepted(now), by_type(was, now)
        if said == "tighter":
            assert new.items() <= old.items(), (was, now)
        if said == "looser":
            assert old.items() <= new.items(), (was, now)


WHENS = [
    f"context.args.amount {op} {number}" for op in ("<", "<=", ">", ">=", "==", "!=") for number in (1, 2, 3)
]  # fmt: skip
WHENS += [
    "context.args.amount > 1 && context.args.amount < 3", "context.args.amount > 1 || context.args.amount == 0",
    "!(context.args.amount > 2)", "3 > context.args.amount", "true",
]  # fmt: skip


def test_an_expression_is_tighter_only_where_it_speaks_whenever_the_older_one_did() -> None:
    spoke = {}
    for when in WHENS:
        judged = compiled(one_tool("{amount: int}", clauses=clause(when)))
        spoke[when] = {n for n in range(5) if judged.judge(proposal(amount=n), situation()).verdict == "DENY"}
    told = {"tighter": 0, "looser": 0, "unclear": 0}
    for was, now in itertools.permutations(WHENS, 2):
        said = by_when(was, now)
        told[said] += 1
        if said == "tighter":
            assert spoke[was] <= spoke[now], (was, now)
        if said == "looser":
            assert spoke[now] <= spoke[was], (was, now)
    assert told["tighter"] == told["looser"] > 10
    assert (by_when("context.args.amount > 1", None), by_when(None, "true")) == ("tighter", "looser")
