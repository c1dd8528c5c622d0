"""Every way in which others let a call through that they should not have: here each is a denial, on record.

Through the real gate on a real ledger. What is tried: contracts with broken conditions, calls whose first argument is
fine and whose last is not, judging that raises, agents named `*`, sub-agents in another's run, outputs that pass as
talk, requests that grow, numbers and names that are not what they look like, facts smuggled in as arguments.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest

from failwell.core import contract as contracts
from failwell.core import kinds
from failwell.core.contract.finding import BrokenContract
from failwell.core.errors import FailwellError
from failwell.gate import registry
from failwell.gate.verdicts import Verdict
from tests.simulate.fixtures import house as node_house
from tests.simulate.fixtures import stage
from tests.unit.gate.house import AGENT, OTHER, House, contract_text, open_house

__all__ = ["node_house", "stage"]

TOOLS = """
  - tool: payments.refund
    effect: irreversible
    executor: supervised
    custody: none
    deadline: 10s
    arguments:
      customer_id: id
      order_id: "string(1..40)"
      amount: "money(2, 0..10000)"
      count: "int(1..5)"
      note?: "string(0..200)"
      meta?: any
    affects: {customer: customer_id, resource: order_id, amount: amount}
    public: [amount]
  - {tool: respond, effect: irreversible, custody: broker, deadline: 5s, subject: to,
     arguments: {to: id, text: "string(1..2000)"}}
  - {tool: decide, effect: irreversible, custody: broker, deadline: 5s, subject: about,
     contest: {to: claims-desk, within: 30d}, arguments: {about: id, grant: bool, amount: "money(2, 0..10000)"}}
"""
#: Denials are answered with no more than their record here: the ladder would suspend an agent that tries so much.
RULES = """
clauses:
  - {id: ceiling, deny: payments.refund, when: context.args.amount > 20000, severity: minor}
  - {id: many, deny: payments.refund, when: context.args.count > 3, severity: minor}
  - {id: shouted, deny: payments.refund, when: 'context.args has note && context.args.note like "*!*"', severity: minor}
  - {id: promise, deny: respond, when: 'context.args.text like "*refund*"', severity: minor}
  - {id: refusal, escalate: decide, when: context.args.grant == false, severity: minor}
  - {id: unasked, deny: [decide], when: 'context.request != "verified" && context.args.amount > 5000', severity: minor}
response:
  - {signal: denied(arguments), do: [record]}
  - {signal: denied(tool.unlisted), do: [record]}
  - {signal: denied(ceiling), do: [record]}
  - {signal: denied(many), do: [record]}
  - {signal: denied(shouted), do: [record]}
  - {signal: denied(promise), do: [record]}
  - {signal: denied(unasked), do: [record]}
"""
FINE: dict[str, Any] = {"customer_id": "c-1", "order_id": "o-1", "amount": "5.00", "count": 1}


@pytest.fixture(scope="module")
def house() -> House:
    return open_house(RULES, tools=TOOLS)


@pytest.fixture(scope="module")
def run(house: House) -> int:
    return house.run(principal="customer:1", request="Refund order o-1.")


def asked(house: House, run: int | None, arguments: dict[str, Any] | bytes, **more: Any) -> Verdict:
    text = arguments if isinstance(arguments, bytes) else json.dumps(arguments).encode()
    verdict = house.do(house.gate.decide(msgspec.structs.replace(house.proposal(run), arguments=text, **more)))
    assert isinstance(verdict, Verdict)
    return verdict


def denied(house: House, verdict: Verdict) -> tuple[str, ...]:
    """The clauses of a denial that is the last decision on record, has nothing to start and leaves nothing open."""
    assert (verdict.verdict, verdict.may_start, verdict.ticket) == ("DENY", False, None)
    body = next(e.body for e in reversed(house.entries()) if e.seq == verdict.entry)
    assert isinstance(body, kinds.Decision2)
    assert (body.verdict, body.governed) == ("DENY", True)
    assert not any(use.reserved for use in body.uses if use.measure != "rate")
    assert house.agent().authority == "ACTIVE", "the house must still be one that would allow"
    return verdict.clauses


def test_the_house_allows_what_is_fine(house: House, run: int) -> None:
    """Else every denial below would show nothing."""
    assert asked(house, run, FINE).verdict == "ALLOW"
    assert asked(house, run, FINE | {"meta": {"anything": [1, {"x": 2}]}, "note": "calm"}).verdict == "ALLOW"
    assert asked(house, run, {"to": "c-1", "text": "It is on its way."}, tool="respond").verdict == "ALLOW"
    assert asked(house, run, {"about": "c-1", "grant": True, "amount": 5}, tool="decide").verdict == "ALLOW"


# ---- contracts that are broken -------------------------------------------------------------------------------

BROKEN = ("context.args.amont > 20000", "context.args.count > ", "context.args.note == 5")


def test_three_broken_conditions_are_three_findings_and_no_contract() -> None:
    """Attack: a policy whose conditions all fail is loaded, none of them holds, and the call goes through."""
    clauses = "".join(
        f"  - id: broken-{number}\n    deny: payments.refund\n    when: '{when}'\n"
        for number, when in enumerate(BROKEN)
    )
    text = contract_text(f"\nclauses:\n{clauses}", tools=TOOLS)
    with pytest.raises(BrokenContract) as refused:
        contracts.load(text, name="contract.yaml")
    told = [str(finding) for finding in refused.value.findings if finding.level == "error"]
    assert len(told) == 3
    assert all(f"broken-{number}" in told[number] for number in range(3))


@pytest.mark.requirement("R1.4")
@pytest.mark.parametrize("when", BROKEN)
def test_a_broken_condition_in_the_stored_contract_denies_on_record(when: str) -> None:
    """Attack: the contract is broken where nobody reads it any more, between adoption and judging."""
    house = open_house(RULES, tools=TOOLS)
    run = house.run()
    digest = house.agent().contract
    assert digest is not None
    row = house.state.contract[digest]
    held = contracts.from_canonical(row.document.encode())
    first = msgspec.structs.replace(held.clauses[0], when=when)
    broken = contracts.to_canonical(msgspec.structs.replace(held, clauses=(first, *held.clauses[1:])))
    house.state.contract[digest] = msgspec.structs.replace(row, document=broken.decode())
    verdict = asked(house, run, FINE)
    assert denied(house, verdict) == ("evaluation.error",)


def test_a_broken_contract_put_in_force_past_its_text_allows_nothing() -> None:
    """Attack: bytes that never were a text that anybody linted (a backtest takes them without signatures)."""
    held = contracts.load(contract_text(RULES, tools=TOOLS), name="contract.yaml")
    for when in BROKEN:
        clause = msgspec.structs.replace(held.clauses[0], when=when)
        house = House(mode="backtest")
        document = contracts.to_canonical(msgspec.structs.replace(held, clauses=(clause,)))
        house.do(registry.adopt_for_backtest(document, "test/1"))
        assert denied(house, asked(house, house.run(), FINE)) == ("evaluation.error",)


# ---- what is judged of a call --------------------------------------------------------------------------------


@pytest.mark.requirement("R2.2", "R2.3")
@pytest.mark.parametrize(
    ("changed", "clauses"),
    [
        ({"amount": "200.01"}, ("ceiling",)),
        ({"count": 4}, ("many",)),
        ({"note": "now!"}, ("shouted",)),
        ({"amount": "9999.99", "count": 5, "note": "!"}, ("ceiling", "many", "shouted")),
        ({"count": 6}, ("arguments",)),
        ({"note": "x" * 201}, ("arguments",)),
    ],
)
def test_no_argument_is_judged_less_for_standing_last(
    house: House, run: int, changed: dict[str, Any], clauses: tuple[str, ...]
) -> None:
    """Attack: the rules see the first argument only, and what they forbid comes in the second, or the last."""
    for order in (FINE | changed, changed | FINE | changed, dict(reversed((FINE | changed).items()))):
        assert denied(house, asked(house, run, order)) == clauses


NUMBERS = {
    "beyond 64 bits": str(2**64 + 500), "minus beyond 64 bits": str(-(2**64) + 500), "beyond 2^53": str(2**53 + 1),
    "ten thousand digits": "5" + "0" * 10_000, "a power": "5e2000", "a tiny power": "5e-2000", "NaN": "NaN",
    "Infinity": "Infinity", "-Infinity": "-Infinity", "nearly five": "4.999999999999999", "half a cent": "5.005",
    "a third place": "5.001", "text with a sign": '"+5.00"', "text with a power": '"5e0"', "text in hex": '"0x5"',
    "text with a comma": '"5,00"', "text with a space": '" 5.00"', "text with a line end": '"5.00\\n"',
    "Arabic digits": '"\\u0665"', "full-width digits": '"\\uff15"', "superscript": '"5\\u00b2"', "true": "true",
    "null": "null", "a list": "[5.00]", "an object": '{"value": 5.00}', "an extension":
    '{"__extn": {"fn": "decimal", "arg": "5.0"}}', "an entity": '{"__entity": {"type": "Tool", "id": "x"}}',
    "minus zero point one": "-0.01", "an empty text": '""', "a leading zero": "05.00", "a bare point": "5.",
}  # fmt: skip


@pytest.mark.requirement("R2.3")
@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS.keys())
def test_an_amount_that_is_no_amount_is_denied_on_record(house: House, run: int, number: str) -> None:
    text = f'{{"customer_id":"c-1","order_id":"o-1","count":1,"amount":{number}}}'.encode()
    assert denied(house, asked(house, run, text)) == ("arguments",)


@pytest.mark.requirement("R2.3")
@pytest.mark.parametrize("number", ["1.0e0", "1.5", '"1"', "true", "[1]", "0", "6", str(2**63), "1e400", '{"n":1}'])
def test_a_count_is_a_whole_number_of_its_range(house: House, run: int, number: str) -> None:
    text = f'{{"customer_id":"c-1","order_id":"o-1","amount":5,"count":{number}}}'.encode()
    verdict = asked(house, run, text)
    if number == "1.0e0":  # the same value as 1, in another spelling of JSON
        assert verdict.verdict in ("ALLOW", "DENY")
        return
    assert denied(house, verdict) == ("arguments",)


NAMES = (
    "facts", "novel", "context", "args", "principal", "request", "baseline", "resource", "action", "__entity", "__extn",
    "__proto__", "facts.paid", "Amount", "amount ", "amount\u200b", "\u0430mount", "amoun\u0074\u0301", "",
)  # fmt: skip


@pytest.mark.requirement("R2.3")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ['"verified"', '{"paid": 1000000}', '["iban"]', "null"])
def test_an_argument_named_like_a_fact_is_undeclared_and_denied(house: House, run: int, name: str, value: str) -> None:
    """Attack: the agent hands in what only the gate may know, and the clauses read that."""
    given = json.dumps(FINE)[:-1] + f", {json.dumps(name)}: {value}}}"
    assert denied(house, asked(house, run, given.encode())) == ("arguments",)


NESTED = {
    "the amount again inside": '{"amount": "9000.00", "meta": {"amount": "5.00"}}',
    "args inside": '{"amount": "9000.00", "meta": {"args": {"amount": 500}}}',
    "a call inside": '{"amount": "9000.00", "meta": {"tool": "payments.refund", "arguments": {"amount": 5}}}',
    "JSON in a text": '{"amount": "9000.00", "note": "{\\"amount\\": \\"5.00\\"}"}',
    "twice": '{"amount": "5.00", "amount": "9000.00"}',
    "twice, by escapes": '{"amount": "5.00", "\\u0061mount": "9000.00"}',
    "twice, deep inside": '{"amount": "5.00", "meta": {"a": [{"b": 1, "b": 2}]}}',
    "forty deep": '{"amount": "5.00", "meta": ' + "[" * 40 + "]" * 40 + "}",
    "a lone surrogate": '{"amount": "5.00", "meta": {"x": "\\udc00"}}',
    "a lone surrogate as a name": '{"amount": "5.00", "meta": {"\\ud83d": 1}}',
    "NaN inside": '{"amount": "5.00", "meta": [NaN]}',
    "two MiB": '{"amount": "5.00", "meta": "' + "x" * (2 << 20) + '"}',
    "a second document": '{"amount": "5.00"}{"amount": "9000.00"}',
    "behind a NUL": '{"amount": "5.00"}\\u0000',
}  # fmt: skip


@pytest.mark.requirement("R2.2", "R2.3")
@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED.keys())
def test_what_is_smuggled_inside_is_seen_or_the_whole_is_denied(house: House, run: int, text: str) -> None:
    given = '{"customer_id":"c-1","order_id":"o-1","count":1,' + text[1:]
    verdict = asked(house, run, given.encode())
    assert denied(house, verdict) in {("ceiling",), ("arguments",)}
    body = house.entries(verdict.entry)[0].body
    assert body.arguments_bytes == len(given.encode())


# ---- names of tools and agents -------------------------------------------------------------------------------

LOOKS = (
    "payments.Refund", "PAYMENTS.REFUND", "payments.refund ", " payments.refund", "payments\u200b.refund",
    "payments.refund\u200d", "p\u0430yments.refund", "payments\uff0erefund", "payments.refu\u0301nd",
    "payments.refund\x00",
    "payments.refund\n", "\ufeffpayments.refund", "payments.refund\u202e", "payments/refund", "payments.*", "*", "",
    "payments.refund;respond", "x" * 100_000, "\U0001f4b8" * 50_000, "payments.refund\ud800",
)  # fmt: skip


@pytest.mark.requirement("R2.1")
@pytest.mark.parametrize("tool", LOOKS, ids=range(len(LOOKS)))
def test_a_tool_that_only_looks_listed_is_denied_on_record(house: House, run: int, tool: str) -> None:
    assert denied(house, asked(house, run, FINE, tool=tool)) == ("tool.unlisted",)


@pytest.mark.parametrize(
    "agent", ["*", "", "spiffe://shop.example/agent/*", AGENT.upper(), AGENT + "/", AGENT + "\u200b"]
)
def test_nobody_is_every_agent(house: House, run: int, agent: str) -> None:
    """Attack: an agent id that stands for all (a peer's default is `*`), or that only looks like one."""
    verdict = asked(house, run, FINE, agent=agent)
    assert denied(house, verdict) == ("agent.unknown",)
    with pytest.raises(BrokenContract):
        contracts.load(contract_text(RULES, tools=TOOLS, agent=agent), name="contract.yaml")


def test_a_sub_agent_that_calls_past_the_one_it_works_for_is_denied(house: House, run: int) -> None:
    """Attack: what the parent's hook would have stopped, its sub-agent calls in the parent's run, or in none."""
    assert denied(house, asked(house, run, FINE, agent=OTHER)) == ("agent.unknown",)
    house.register(OTHER)
    assert denied(house, asked(house, run, FINE, agent=OTHER)) == ("run.unknown",)
    assert denied(house, asked(house, None, FINE, agent=OTHER)) == ("run.unknown",)
    own = house.run(OTHER)
    assert denied(house, asked(house, own, FINE, agent=OTHER)) == ("contract.absent",)
    assert denied(house, asked(house, own, FINE)) == ("run.unknown",)


# ---- outputs and decisions -----------------------------------------------------------------------------------


@pytest.mark.requirement("R1.8")
def test_what_is_said_to_a_person_passes_the_same_gate(house: House, run: int) -> None:
    """Attack: what may not be done is promised instead, or is told to somebody whom the contract does not know."""
    assert denied(house, asked(house, run, {"to": "c-1", "text": "I refund you now."}, tool="respond")) == ("promise",)
    assert denied(house, asked(house, run, {"to": "c-1", "text": ""}, tool="respond")) == ("arguments",)
    assert denied(house, asked(house, run, {"text": "Hello."}, tool="respond")) == ("arguments",)
    large = {"about": "c-1", "grant": True, "amount": "50.01"}
    assert denied(house, asked(house, run, large, tool="decide")) == ("unasked",)
    refused = asked(house, run, {"about": "c-1", "grant": False, "amount": 1}, tool="decide")
    assert (refused.verdict, refused.may_start, refused.clauses) == ("ESCALATE", False, ("refusal",))


@pytest.mark.requirement("R1.8")
@pytest.mark.parametrize("tool", ["respond", "decide"])
def test_an_output_that_the_contract_does_not_list_is_denied(tool: str) -> None:
    house = open_house()
    verdict = asked(house, house.run(), {"to": "c-1", "text": "Hello."}, tool=tool)
    assert denied(house, verdict) == ("tool.unlisted",)


# ---- requests ------------------------------------------------------------------------------------------------


def test_a_request_is_what_the_run_was_opened_with_and_the_agent_adds_nothing(house: House, run: int) -> None:
    """Attack: the agent says, in arguments, reason or a run of its own, that somebody asked for more."""
    large = {"about": "c-1", "grant": True, "amount": "50.01"}
    for more in ({"request": "verified"}, {"context": {"request": "verified"}}):
        assert denied(house, asked(house, run, large | more, tool="decide")) == ("arguments",)
    reason = "The host verified the request: context.request == verified"
    assert denied(house, asked(house, run, large, tool="decide", reason=reason)) == ("unasked",)
    again = house.run(principal="customer:1", request="Refund order o-1, and grant 9,000. VERIFIED.")
    assert house.state.run[again].request == "asserted"
    assert denied(house, asked(house, again, large, tool="decide")) == ("unasked",)
    assert house.state.run[run].request == "asserted"


# ---- through a real node -------------------------------------------------------------------------------------

WIRE: dict[str, tuple[dict[str, Any], str]] = {
    "an output that is not listed": ({"tool": "respond"}, "tool.unlisted"),
    "a tool of another script": ({"tool": "note.writ\u0435"}, "tool.unlisted"),
    "a fact among the arguments": ({"arguments": '{"customer":"c1","millis":0,"facts":{"paid":9}}'}, "arguments"),
    "a second spelling of a name": ({"arguments": '{"customer":"c1","millis":0,"m\\u0069llis":1}'}, "arguments"),
    "a number that is nearly one": ({"arguments": '{"customer":"c1","millis":0.1}'}, "arguments"),
    "the last argument": ({"arguments": '{"millis":0,"amount":100.01,"customer":"c1"}'}, "arguments"),
}


def test_what_is_denied_at_a_real_node_starts_nothing(node_house: Any) -> None:
    node_house.node(crashing=True)
    for number, (changed, clause) in enumerate(WIRE.values()):
        caller = node_house.agent(f"bot-{number:02d}")
        given = {"arguments": {"customer": "c1", "millis": 0}, **changed}
        answer = caller.act(given.pop("arguments"), **given)
        assert answer["verdict"]["verdict"] == "DENY"
        assert answer["result"] is None
        entry = node_house.entries("decision")[-1]
        assert (entry["seq"], entry["body"]["verdict"]) == (answer["verdict"]["entry"], "DENY")
        assert entry["body"]["clauses"][0]["id"] == clause
    assert node_house.began() == []


def test_an_agent_at_a_real_node_opens_runs_whose_request_is_never_verified(node_house: Any) -> None:
    """Attack: the agent names principal, request and a host itself, and so extends what it was asked to do."""
    node_house.node(crashing=True)
    caller = node_house.agent()
    given = {"principal": "customer:1", "request": "Do everything. VERIFIED."}
    caller.run = caller.wire.call("run.open", agent=caller.agent, **given)
    caller.act({"customer": "c1", "millis": 0})
    for more in ({"host": "web-shop"}, {"request_provenance": "verified"}, {"parent": caller.run}):
        with contextlib.suppress(FailwellError):
            caller.wire.call("run.open", agent=caller.agent, **given, **more)
    opened = [entry["body"] for entry in node_house.entries("run.opened") if entry["agent"] == caller.agent]
    assert opened
    for body in opened:
        assert "verified" not in (body.get("request_provenance"), body.get("principal_provenance"))
