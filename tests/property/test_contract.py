"""What must hold for every contract and every action: the verdict equals that of a slow, separately
written judge.

The reference keeps its own list of what was allowed, reads numbers with `decimal` and never calls Cedar.
"""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from cedarpy import PolicySet, Schema
from hypothesis import given, settings
from hypothesis import strategies as st

from failwell.core import contract as contracts
from failwell.core.contract.argument import Mismatch, parse_type
from failwell.core.contract.expression import Unsound, analyze, parse_when
from failwell.core.contract.policy import Policy

MINUTE_US = 60_000_000
START_US = 1_796_126_400_000_000

# ---- types against `decimal` and `datetime` ------------------------------------------------------------


def exact(given: Any, places: int) -> int | None:
    """The value in smallest units, by shortest decimal text, or None. Independent of the product's parser."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    text = repr(given) if isinstance(given, float) else str(given)
    if isinstance(given, str):
        digits = text[1:] if text[:1] == "-" else text
        whole, dot, fraction = digits.partition(".")
        plain = whole.isascii() and whole.isdigit() and (not dot or (fraction.isascii() and fraction.isdigit()))
        if not plain or (len(whole) > 1 and whole[0] == "0"):
            return None
        if len(fraction) > places:
            return None
    scaled = Decimal(text).scaleb(places)
    if scaled != scaled.to_integral_value() or abs(scaled) >= 2**53:
        return None
    return int(scaled)


numbers = st.one_of(
    st.integers(-(10**6), 10**6),
    st.integers(),
    st.decimals(-1000, 1000, places=2).map(float),
    st.decimals(-1000, 1000, places=4).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(-1000, 1000, places=2).map(str),
    st.from_regex(r"-?[0-9]{0,3}(\.[0-9]{0,4})?", fullmatch=True),
    st.sampled_from([True, None, "", "NaN", "1e3", " 1", "+1", "٣", [], {}]),
)


@settings(max_examples=400)
@given(given_=numbers, places=st.integers(0, 3), bounds=st.tuples(st.integers(-900, 900), st.integers(0, 900)))
def test_amounts_are_read_as_a_decimal_would(given_: Any, places: int, bounds: tuple[int, int]) -> None:
    low, high = bounds[0], bounds[0] + bounds[1]
    expected = exact(given_, places)
    if expected is not None and not low * 10**places <= expected <= high * 10**places:
        expected = None
    try:
        found: Any = parse_type(f"money({places}, {low}..{high})").read(given_)
    except Mismatch:
        found = None
    assert found == expected


@settings(max_examples=300)
@given(text=st.one_of(st.text(max_size=12), st.dates().map(str), st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")))
def test_dates_are_those_of_the_calendar(text: str) -> None:
    try:
        expected: str | None = text if date.fromisoformat(text).isoformat() == text else None
    except ValueError:
        expected = None
    try:
        found: Any = parse_type("date").read(text)
    except Mismatch:
        found = None
    assert found == expected


@settings(max_examples=300)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    text=st.sampled_from(
        [
            "string",
            "string(1..5)",
            "id",
            "int",
            "int(0..9)",
            "bool",
            "money(2)",
            "decimal(3, 0..1)",
            "date",
            "enum(a, b)",
            "email",
            "url",
            "path",
            "iban",
            "list(id, max 3)",
            "list(object, max 3)",
            "any",
            "object",
        ]
    ),
)
def test_any_json_value_is_a_fact_or_a_mismatch_and_nothing_else(value: Any, text: str) -> None:
    kind = parse_type(text)
    try:
        fact = kind.read(value)
    except Mismatch:
        return
    if kind.cedar is None:
        assert fact is None
    elif kind.cedar == "Long":
        assert type(fact) is int
        assert abs(fact) < 2**53
    elif kind.cedar == "Bool":
        assert type(fact) is bool
    elif kind.cedar.startswith("Set"):
        assert type(fact) is tuple
    else:
        assert type(fact) is str


# ---- a day of actions against a slow judge -------------------------------------------------------------

DAY = """\
contract: day
version: 1
agent: bot
owner: owner
purpose: A day of notices.
tools:
  - {tool: notice, effect: irreversible, custody: broker, arguments: {to: id, n: "int(0..9)", urgent?: bool}}
  - {tool: read, effect: read, custody: broker, arguments: {to?: id}}
clauses:
  - {id: too-many, deny: notice, when: context.args.n > 7}
  - id: several
    escalate: notice
    when: context.args.n > 4 && !(context.args has urgent && context.args.urgent)
limits:
  - {id: rate, count: [notice, read], at_most: %d, per: %dm, then: %s}
  - {id: repeat, once_per: notice, keys: [to, n], then: %s}
  - {id: lately, once_per: notice, keys: [to], per: %dm, then: %s}
"""

words = st.sampled_from(["deny", "escalate", "record"])
acts = st.tuples(
    st.integers(0, 3 * MINUTE_US),
    st.sampled_from(["notice", "notice", "notice", "read", "erase"]),
    st.fixed_dictionaries(
        {},
        optional={
            "to": st.sampled_from(["a", "b", "", 5]),
            "n": st.integers(-1, 10),
            "urgent": st.sampled_from([True, None]),
        },
    ),
    st.sampled_from(["ACTIVE"] * 6 + ["RESTRICTED", "PROBATION", "SUSPENDED"]),
)


class Slow:
    """The reference: a list of everything allowed so far, looked through from the start for each question."""

    def __init__(self, at_most: int, per_min: int, rate: str, repeat: str, late_min: int, lately: str) -> None:
        self.at_most, self.per_us, self.late_us = at_most, per_min * MINUTE_US, late_min * MINUTE_US
        self.rate, self.repeat, self.lately = rate, repeat, lately
        self.allowed: list[tuple[int, str, dict[str, Any]]] = []

    def judge(self, now: int, tool: str, args: dict[str, Any], authority: str) -> str:
        if authority == "SUSPENDED" or not self.well_formed(tool, args):
            return "DENY"
        said = set()
        tightened = authority != "ACTIVE"
        if tool == "notice":
            if tightened:
                said.add("escalate")
            if args["n"] > 7:
                said.add("deny")
            if args["n"] > 4 and not args.get("urgent"):
                said.add("escalate")
            same = [at for at, past, given in self.allowed if past == "notice" and given["to"] == args["to"]]
            if any(at > now - self.late_us for at in same):
                said.add(self.lately)
            if any(
                past == "notice" and (given["to"], given["n"]) == (args["to"], args["n"])
                for _, past, given in self.allowed
            ):
                said.add(self.repeat)
        window = [at for at, _, _ in self.allowed if at > now - self.per_us]
        if len(window) >= (self.at_most // 2 if tightened else self.at_most):
            said.add(self.rate)
        verdict = "DENY" if "deny" in said else "ESCALATE" if "escalate" in said else "ALLOW"
        if verdict == "ALLOW":
            self.allowed.append((now, tool, args))
        return verdict

    @staticmethod
    def well_formed(tool: str, args: dict[str, Any]) -> bool:
        to = "to" in args and args["to"] in ("a", "b")
        if tool == "notice":
            return to and 0 <= args.get("n", -1) <= 9
        return tool == "read" and (to or "to" not in args) and not {"n", "urgent"} & args.keys()


class Ledger:
    """Reservations as the state keeps them: (limit, key) -> times."""

    def __init__(self) -> None:
        self.now_us = START_US
        self.held: dict[tuple[str, tuple[str, ...]], list[int]] = {}

    def usage(self, limit: contracts.Limit, key: tuple[str, ...]) -> int:
        held = self.held.get((limit.id, key), [])
        return sum(1 for at in held if not limit.per_us or at > self.now_us - limit.per_us)


@settings(max_examples=150)
@given(
    at_most=st.integers(1, 5),
    per=st.integers(1, 5),
    late=st.integers(1, 9),
    then=st.tuples(words, words, words),
    day=st.lists(acts, max_size=30),
)
def test_a_day_of_verdicts_equals_the_slow_judge(
    at_most: int, per: int, late: int, then: tuple[str, str, str], day: list[Any]
) -> None:
    text = DAY % (at_most, per, then[0], then[1], late, then[2])
    bounded = contracts.compile(contracts.load(text, name="day.yaml"))
    slow = Slow(at_most, per, then[0], then[1], late, then[2])
    ledger = Ledger()
    for pause_us, tool, args, authority in day:
        ledger.now_us += pause_us
        judgment = bounded.judge(
            contracts.Proposal(tool=tool, arguments=json.dumps(args).encode()),
            contracts.Situation(authority=authority, now_us=ledger.now_us, request="asserted", usage=ledger.usage),
        )
        assert judgment.verdict == slow.judge(ledger.now_us, tool, args, authority)
        taken = [use for use in judgment.uses if use.taken(judgment.verdict)]
        assert bool(taken) == (judgment.verdict == "ALLOW")
        for use in taken:
            ledger.held.setdefault((use.limit.id, use.key), []).append(ledger.now_us)
    # INVARIANT: at most N allowed in any window of the rate, whichever window is looked at.
    if then[0] != "record":
        times = [at for at, _, _ in slow.allowed]
        for first in times:
            assert sum(1 for at in times if first <= at < first + per * MINUTE_US) <= at_most


# ---- interval analysis against evaluation --------------------------------------------------------------


def arithmetic() -> st.SearchStrategy[str]:
    leaves = (
        st.sampled_from(["context.args.x", "context.args.y", "context.args.z"])
        | st.integers(-(2**62), 2**62).map(str)
        | st.integers(-3, 3).map(str)
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda parts: "({} {} {})".format(*parts))
            | inner.map(lambda part: f"(-{part})" if part[0] != "-" else part)
        ),
        max_leaves=5,
    )


TYPES = {
    "x": (parse_type("int(-100..100)"), False),
    "y": (parse_type("int(0..4000000000000000)"), False),
    "z": (parse_type("money(2, -5000000000000..5000000000000)"), False),
}
ARITHMETIC = Schema.from_str(
    'entity Agent; entity Tool; action "call" appliesTo { principal: Agent, resource: Tool, '
    'context: { args?: { "x"?: Long, "y"?: Long, "z"?: Long } } };'
)


@settings(max_examples=300)
@given(
    data=st.data(),
    left=arithmetic(),
    right=arithmetic(),
    sign=st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
)
def test_what_the_analysis_lets_through_never_overflows(data: Any, left: str, right: str, sign: str) -> None:
    expr = parse_when(f"{left} {sign} {right}")
    try:
        reads = analyze(expr, TYPES, {})
    except Unsound:
        return
    policy = Policy(agent="bot", tool="act", expressions={"rule": expr}, schema=ARITHMETIC, reads=reads)
    for _ in range(4):
        args = {}
        for name in sorted(reads.arguments):
            low, high = TYPES[name][0].bounds or (0, 0)
            args[name] = data.draw(st.sampled_from([low, high]) | st.integers(low, high))
        fired = policy.evaluate(args, {})  # an overflow would raise
        assert reads.holds.possible or not fired
        assert reads.holds.avoidable or fired


# ---- one text, one contract, one digest ----------------------------------------------------------------

names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
types = st.sampled_from(["string", "string(1..40)", "id", "int(0..9)", "money(2, 0..100)", "bool", "date", "object"])


@st.composite
def contracts_drawn(draw: Any) -> contracts.Contract:
    tools = tuple(
        contracts.Tool(
            tool=tool,
            effect=draw(st.sampled_from(["read", "reversible", "irreversible"])),
            custody=draw(st.sampled_from(["broker", "network", "none"])),
            deadline_us=draw(st.none() | st.integers(1, 10**9)),
            idempotent=draw(st.booleans()),
            arguments=tuple(
                contracts.Argument(name=name, type=draw(types), optional=draw(st.booleans()))
                for name in draw(st.lists(names, max_size=4, unique=True))
            ),
        )
        for tool in draw(st.lists(names, min_size=1, max_size=4, unique=True))
    )
    limits = tuple(
        contracts.Limit(
            id=f"limit-{number}",
            kind="count",
            tools=(tool.tool,),
            at_most=draw(st.integers(1, 99)),
            per_us=draw(st.integers(1, 10**12)),
            then=draw(words),
            severity="minor",
            because=draw(st.none() | st.text(min_size=1, max_size=20)),
        )
        for number, tool in enumerate(tools)
    )
    return contracts.Contract(
        contract="drawn",
        version=draw(st.integers(1, 99)),
        agent="bot",
        owner="owner",
        purpose=draw(st.text(min_size=1, max_size=50)),
        tools=tools,
        limits=limits,
        restricted=contracts.Restricted(irreversible="escalate", limits="half"),
        applies_to=draw(st.dictionaries(names, names, max_size=2)),
    )


@settings(max_examples=200)
@given(contract=contracts_drawn())
def test_canonical_bytes_give_the_same_contract_back(contract: contracts.Contract) -> None:
    data = contracts.to_canonical(contract)
    again = contracts.from_canonical(data)
    assert again == contract
    assert contracts.to_canonical(again) == data
    assert contracts.digest(again) == contracts.digest(contract)
    contracts.compile(again)


@settings(max_examples=200)
@given(text=st.text(max_size=60) | st.text(alphabet="{}()[];\"'/\\!&|<>=.,permitforbdwhunls ", max_size=60))
def test_whatever_the_text_an_expression_is_one_expression_or_refused(text: str) -> None:
    try:
        expr = parse_when(text)
    except Unsound:
        return
    # What was taken, written out again by Cedar inside one clause, is one clause.
    again = PolicySet.from_str(f"forbid(principal, action, resource) when {{\n{text}\n}};").to_pst()
    (policy,) = again.static_policies.values()
    assert [clause.expr for clause in policy.clauses] == [expr]


@settings(max_examples=150)
@given(text=st.text(max_size=200) | st.text(alphabet="abc:{}[]-\n \"'&*!|>#,?%", max_size=120))
def test_whatever_the_text_a_contract_is_refused_with_findings(text: str) -> None:
    # No contract is that short: what else than a refusal comes out would be a traceback for a user's mistake.
    with pytest.raises(contracts.BrokenContract) as refusal:
        contracts.load(text, name="x")
    assert refusal.value.findings
    assert all(str(finding) for finding in refusal.value.findings)
