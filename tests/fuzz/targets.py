"""What reads a stranger's text, each as one function of bytes: it returns, or fails an assertion, and nothing else.

A refusal is one of our own errors with what to do about it; what is accepted comes back byte for byte through its
canonical form, judges without an error of ours, and says the same twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from failwell.core import canonical
from failwell.core import contract as contracts
from failwell.core.contract import Situation
from failwell.core.contract.argument import Mismatch, parse_type
from failwell.core.contract.expression import Unsound, analyze, parse_when
from failwell.core.contract.vocabulary import PARTS
from failwell.core.errors import ContractError, InputError

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = sorted((ROOT / "examples" / "contracts").glob("*.yaml"))
PLANTED = sorted((ROOT / "tests" / "unit" / "core" / "contract" / "planted").glob("*.yaml"))
NOON_US = 1_796_126_400_000_000

#: One tool with an argument of every type, for arguments and expressions.
EVERYTHING = """\
contract: everything
version: 1
agent: bot
owner: owner
purpose: Show every type.
tools:
  - tool: act
    effect: irreversible
    custody: broker
    arguments:
      text: "string(0..50)"
      id?: id
      int?: "int(-5..100)"
      flag?: bool
      amount: "money(2, 0..1000)"
      share?: "decimal(3, -1..1)"
      day?: date
      word?: "enum(low, high)"
      mail?: email
      page?: url
      file?: path
      account?: iban
      code?: 'pattern("[A-Z]{2}[0-9]{2,6}", 1..8)'
      days?: "list(date, max 3)"
      ids?: "list(id, max 5)"
      rest?: any
      more?: object
    affects: {customer: id, amount: amount}
    facts: {paid: {lookup: orders.paid, with: [text], type: "money(2, 0..1000)"}}
clauses:
  - {id: over, deny: act, when: context.args.amount > context.facts.paid}
  - {id: low, escalate: act, when: context.args has word && context.args.word == "low"}
  - {id: mail, deny: act, when: context.args has mail && context.args.mail like "*@evil.example"}
limits:
  - {id: budget, sum: act.amount, at_most: 1000, per: 1d, each: [subject], then: deny}
  - {id: once, once_per: act, keys: [ids, code, day], then: record}
"""

FLOOR = """\
floor: company
version: 1
scope: group:payments
purpose: What no agent may do.
never: [shell.*]
clauses:
  - {id: small, escalate: "*", when: context.args.amount > 10000}
limits:
  - {id: slow, rate: "*", at_most: 30, per: 1m, then: deny}
restricted: {irreversible: deny}
witnessed: true
custody: [broker]
"""

ARGUMENTS = json.dumps(
    {
        "text": "a", "id": "A-1", "int": 5, "flag": True, "amount": "9.99", "share": 0.5, "day": "2026-11-23",
        "word": "high", "mail": "a@b.example", "page": "https://a.example/x", "file": "a/b", "code": "AB12",
        "account": "GB82 WEST 1234 5698 7654 32", "days": ["2026-11-23"], "ids": ["x"], "rest": [None], "more": {},
    }
)  # fmt: skip


#: Seconds of processor time that one call may take, and whether that is looked at: a campaign does, a test does not.
LONGEST_S = 1.0
looking = False


def timed(call: Callable[[], T]) -> T:
    """What `call` answers; AssertionError where it took too long."""
    started = time.thread_time()
    answer = call()
    assert not looking or time.thread_time() - started < LONGEST_S, "it took too long"
    return answer


@cache
def everything() -> contracts.Compiled:
    """The contract of every type, compiled."""
    return contracts.compile(contracts.load(EVERYTHING, name="everything"))


def _text(data: bytes) -> str:
    # Lone surrogates are kept: a text can reach us with them, from a file name or from JSON.
    return data.decode("utf-8", "surrogateescape")


def contract_text(data: bytes) -> None:
    """The text of a contract or a floor."""
    text = _text(data)
    findings = timed(lambda: contracts.lint(text, name="fuzz", today="2026-11-23"))
    assert findings == contracts.lint(text, name="fuzz", today="2026-11-23")
    for finding in findings:
        str(finding)
    try:
        contract, examples = contracts.load_whole(text, name="fuzz")
    except ContractError:
        assert any(finding.level == "error" for finding in findings)
    else:
        assert not any(finding.level == "error" for finding in findings)
        kept = contracts.to_canonical(contract)
        assert contracts.from_canonical(kept) == contract
        compiled = timed(lambda: contracts.compile(contract))
        contracts.try_all(compiled, examples)
    _floor_text(text)


def _floor_text(text: str) -> None:
    findings = timed(lambda: contracts.lint_floor(text, name="fuzz"))
    try:
        floor = contracts.load_floor(text, name="fuzz")
    except ContractError:
        assert any(finding.level == "error" for finding in findings)
        return
    assert contracts.is_floor(text)
    assert contracts.floor_from_canonical(contracts.floor_to_canonical(floor)) == floor
    assert not any(finding.level == "error" for finding in contracts.check_floor(floor))
    for finding in timed(lambda: contracts.floor_findings(everything().contract, floor)):
        str(finding)


def canonical_bytes(data: bytes) -> None:
    """Bytes that are said to be a contract, or a floor, as they are signed."""
    try:
        contract = contracts.from_canonical(data)
    except ContractError:
        pass
    else:
        assert contracts.to_canonical(contract) == data
        try:
            timed(lambda: contracts.compile(contract))
        except ContractError:
            assert any(finding.level == "error" for finding in contracts.check(contract))
    try:
        floor = contracts.floor_from_canonical(data)
    except ContractError:
        return
    assert contracts.floor_to_canonical(floor) == data


def arguments(data: bytes) -> None:
    """The arguments of an action, as an agent gives them."""
    looked = {"paid": contracts.Looked(source="orders.paid", state="answered", elapsed_us=0, value=500)}
    situation = Situation(
        authority="ACTIVE", now_us=NOON_US, request="absent", usage=lambda limit, key: 0, looked=looked
    )
    proposal = contracts.Proposal(tool="act", arguments=data)
    judgment = timed(lambda: everything().judge(proposal, situation))
    assert judgment == everything().judge(proposal, situation)
    if judgment.arguments is not None:
        assert canonical.jcs(canonical.parse(judgment.arguments)) == judgment.arguments
    if judgment.verdict == "ALLOW":
        assert judgment.arguments is not None
        assert not judgment.errors
        told = judgment.facts
        assert {name.removeprefix("facts.") for name in told} >= {"text", "amount", "paid"}
        assert 0 <= _number(told["amount"].value) <= _number(told["facts.paid"].value) <= 100_000
    for fact in judgment.facts.values():
        canonical.encode(list(fact.value) if isinstance(fact.value, tuple) else fact.value)


def _told(refusal: InputError) -> None:
    """Whoever is refused is told why, and what to do."""
    assert refusal.message
    assert refusal.hint


def _number(value: Any) -> int:
    assert type(value) is int
    return value


def types(data: bytes) -> None:
    """A type, and after a line's end a JSON value to read by it."""
    text, _, value = _text(data).partition("\n")
    try:
        kind = parse_type(text)
    except InputError as error:
        _told(error)
        return
    assert parse_type(kind.text).text == kind.text
    try:
        given = canonical.parse(value.encode("utf-8", "surrogateescape"))
    except InputError:
        return
    try:
        read = timed(lambda: kind.read(given))
    except Mismatch:
        return
    assert (read is None) == (kind.cedar is None)
    if isinstance(read, str) and kind.longest is not None:
        assert len(read) <= kind.longest
        assert kind.read(read) == read, "the normal form of a text is its own"


def expressions(data: bytes) -> None:
    """The `when` of a clause."""
    text = _text(data)
    declared = {one.name: (parse_type(one.type), one.optional) for one in everything().contract.tools[0].arguments}
    looked = {"paid": parse_type("money(2, 0..1000)")}
    try:
        timed(lambda: analyze(parse_when(text), declared, looked))
    except Unsound as error:
        _told(error)


def _canonical_seeds() -> list[bytes]:
    loaded = [contracts.load(path.read_text(), name=path.name) for path in CONTRACTS]
    loaded.append(everything().contract)
    floor = contracts.load_floor(FLOOR, name="floor")
    return [*(contracts.to_canonical(contract) for contract in loaded), contracts.floor_to_canonical(floor)]


def _type_seeds() -> list[bytes]:
    declared = [argument.type for argument in everything().contract.tools[0].arguments]
    given = list(json.loads(ARGUMENTS).values())
    return [f"{text}\n{json.dumps(given[number % len(given)])}".encode() for number, text in enumerate(declared)]


def _when_seeds() -> list[bytes]:
    loaded = [contracts.load(path.read_text(), name=path.name) for path in CONTRACTS]
    whens = [clause.when or "true" for contract in (*loaded, everything().contract) for clause in contract.clauses]
    return [when.encode() for when in whens]


#: Name -> (the function, what to begin with).
TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "text": (
        contract_text,
        lambda: [path.read_bytes() for path in (*CONTRACTS, *PLANTED)] + [EVERYTHING.encode(), FLOOR.encode()],
    ),
    "bytes": (canonical_bytes, _canonical_seeds),
    "arguments": (arguments, lambda: [ARGUMENTS.encode(), b'{"text":"","amount":1}']),
    "types": (types, _type_seeds),
    "expressions": (expressions, _when_seeds),
}


def words() -> list[str]:
    """Words of the language, for a campaign to put together."""
    fields = {name for fields in PARTS.values() for name in fields}
    values = ("irreversible", "broker", "ALLOW", "escalate", "1h", "role:reviewer", "context.args.", "context.facts.")
    signs = (
        "&x",
        "*x",
        "<<:",
        "!!str ",
        "? ",
        "|-\n",
        "{",
        "}",
        "[",
        "]",
        "~",
        "- ",
        "\n  - ",
        "\\u0000",
        "e308",
        "1e-9",
    )
    kinds = ("money(2, 0..1)", 'pattern("', "list(", ", max 3)", "string(0..", "enum(", "decimal(9")
    return sorted(fields) + list(values) + list(signs) + list(kinds)
