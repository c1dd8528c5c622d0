"""Two versions of a floor told apart in words: "tighter" only where nothing more gets through."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from failwell.core import contract as contracts
from failwell.core.contract import Situation
from tests.unit.core.contract.contracts import NOON_US
from tests.unit.gate.house import RULES, contract_text

OLD = """\
floor: company
version: 1
scope: organisation
purpose: Bounds.
never: [shell.*]
witnessed: true
custody: [broker]
clauses:
  - {id: c, deny: pay, when: context.args.amount > 100}
  - {id: gone, escalate: pay}
limits:
  - {id: l, count: pay, at_most: 3, per: 1h, then: deny}
"""
NEW = """\
floor: company
version: 2
scope: organisation
purpose: Other bounds.
stoppable: true
custody: [broker, network]
clauses:
  - {id: c, deny: pay, when: context.args.amount > 50}
limits:
  - {id: l, count: pay, at_most: 5, per: 1h, then: deny}
  - {id: new, sum: pay.amount, at_most: 9, per: 1d, then: record}
restricted: {irreversible: deny}
"""


def told(old: str | None, new: str) -> list[str]:
    was = None if old is None else contracts.load_floor(old, name="old")
    changes = contracts.floor_diff(was, contracts.load_floor(new, name="new"))
    return [f"{change.means} {change.about}: {change.says}" for change in changes]


def test_each_difference_is_told_with_what_it_means_looser_ones_first() -> None:
    assert told(OLD, NEW) == [
        "looser never: shell.* is not denied by the floor any more.",
        "looser witnessed: Every tool with an effect needs no witness any more.",
        "looser custody: The credential of a tool with an effect may be held by: broker or network.",
        "looser gone: The clause is gone. It said: escalate pay.",
        ("looser l: It said: count of pay: at most 3 per 1h, beyond it deny. "
        "It says: count of pay: at most 5 per 1h, beyond it deny."),
        "tighter stoppable: Every tool with an effect needs a deadline.",
        "tighter restricted: A restricted agent: deny what cannot be undone.",
        ("tighter c: It said: deny pay when context.args.amount > 100. "
        "It says: deny pay when context.args.amount > 50."),
        "words new: New: sum of pay: at most 9 per 1d, beyond it record.",
        "words purpose: It says now: Other bounds.",
    ]  # fmt: skip


def test_a_new_floor_only_tightens_and_the_same_one_changes_nothing() -> None:
    assert {line.split()[0] for line in told(None, OLD)} == {"tighter"}
    assert told(OLD, OLD.replace("version: 1", "version: 2")) == []


def test_patterns_that_change_are_for_people_to_read() -> None:
    lines = told(OLD, OLD.replace("deny: pay", 'deny: "pay*"'))
    assert [line.split()[0] for line in lines] == ["unclear"]


@st.composite
def floors(draw: st.DrawFn) -> str:
    head = "floor: f\nversion: 1\nscope: organisation\npurpose: Bounds.\nstoppable: true\n"
    never = draw(st.sampled_from(["", "never: [payments.refund]\n"]))
    word = draw(st.sampled_from(["", *(f"restricted: {{irreversible: {w}}}\n" for w in ("allow", "escalate", "deny"))]))
    then, sign = draw(st.sampled_from(["deny", "escalate"])), draw(st.sampled_from([">", "<"]))
    clause = f"clauses:\n  - {{id: c, {then}: payments.refund, when: context.args.amount {sign} {draw(amounts)}}}\n"
    limit = f"limits:\n  - {{id: l, count: payments.refund, at_most: {draw(counts)}, per: 1h, then: {then}}}\n"
    return head + never + word + draw(st.sampled_from(["", clause])) + draw(st.sampled_from(["", limit]))


amounts, counts = st.integers(0, 1000), st.integers(1, 5)
STRICT = ("ALLOW", "ESCALATE", "DENY")


@settings(max_examples=60, deadline=None)
@given(floors(), floors(), st.integers(0, 11), st.integers(0, 5), st.sampled_from(["ACTIVE", "RESTRICTED"]))
def test_what_is_said_to_be_tighter_lets_nothing_more_through(
    old: str, new: str, amount: int, used: int, authority: str
) -> None:
    was, now = (contracts.load_floor(text, name="f") for text in (old, new))
    if {change.means for change in contracts.floor_diff(was, now)} - {"tighter", "words"}:
        was, now = now, was
        if {change.means for change in contracts.floor_diff(was, now)} - {"tighter", "words"}:
            return
    contract = contracts.load(contract_text(RULES), name="c")
    situation = Situation(
        authority=authority, now_us=NOON_US, request="verified", novel=(), baseline="absent",
        usage=lambda limit, key: used,
    )  # fmt: skip
    arguments = b'{"customer_id":"c","order_id":"o","amount":"%d.00"}' % amount
    proposal = contracts.Proposal(tool="payments.refund", arguments=arguments, reason=None)
    before, after = (contracts.compile(contract, (each,)).judge(proposal, situation) for each in (was, now))
    assert STRICT.index(after.verdict) >= STRICT.index(before.verdict), (was, now)
