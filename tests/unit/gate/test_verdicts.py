"""The verdict before the act: whoever asks, whatever is asked, an entry says DENY unless everything permits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from failwell.core import contract as contracts
from failwell.core import kinds
from failwell.core.errors import Refused
from failwell.core.records import Draft
from failwell.gate import outcomes, runs
from failwell.gate.fitting import MAX_REASON_BYTES, MAX_TOOL_NAME
from failwell.gate.verdicts import Proposal, Verdict, check_call_id
from failwell.ledger.vault import commitment
from tests.unit.gate.house import (
    AGENT,
    ASK,
    BIG,
    FINE,
    OTHER,
    RULES,
    SMALL,
    House,
    contract_text,
    open_house,
)


@pytest.fixture
def house() -> House:
    return open_house()


def decision(house: House, verdict: Verdict) -> kinds.Decision:
    body = house.entries(verdict.entry)[0].body
    assert isinstance(body, kinds.Decision)
    return body


def denied_as(house: House, verdict: Verdict, clause: str) -> kinds.Decision:
    """The recorded denial, which says what the caller was told."""
    body = decision(house, verdict)
    assert (verdict.verdict, body.verdict) == ("DENY", "DENY")
    assert [each.id for each in body.clauses] == [clause] == list(verdict.clauses)
    assert not any(use.reserved for use in body.uses)
    assert verdict.because
    return body


# ---- who asks ----------------------------------------------------------------------------------------------------


def test_an_agent_that_nobody_registered_is_denied_on_record(house: House) -> None:
    ghost = "spiffe://shop.example/agent/ghost"
    body = denied_as(house, house.ask(house.run(), agent=ghost), "agent.unknown")
    assert (body.authority, body.epoch, body.contract, body.posture) == ("UNREGISTERED", 0, None, None)
    assert (body.chain, body.principal) == ((), None)


def test_an_agent_without_a_contract_is_denied_on_record(house: House) -> None:
    house.register(OTHER)
    body = denied_as(house, house.ask(house.run(OTHER), agent=OTHER), "contract.absent")
    assert body.authority == "REGISTERED"


@pytest.mark.parametrize("run", [None, 0, 5, 10**9, -1])
def test_an_action_outside_every_run_is_denied_and_names_none(house: House, run: int | None) -> None:
    verdict = house.ask(run)
    denied_as(house, verdict, "run.unknown")
    assert house.entries(verdict.entry)[0].run is None


def test_a_closed_run_permits_nothing_more(house: House) -> None:
    run = house.run()
    first = house.ask(run, call="a").entry
    house.settle(first)
    house.do(runs.close_run(run, AGENT, "done"))
    denied_as(house, house.ask(run, call="a"), "run.unknown")


def test_another_agent_s_run_is_neither_used_nor_entered(house: House) -> None:
    """Attack: take call ids in a foreign run, so that its own agent's calls are answered with somebody's denials."""
    house.register(OTHER)
    house.adopt(contract_text(agent=OTHER))
    theirs = house.run(principal="customer:8841", request="please")
    squatted = house.proposal(theirs, call="squatted", agent=OTHER)
    verdict = house.decide(squatted)
    body = denied_as(house, verdict, "run.unknown")
    assert body.principal is None
    assert house.entries(verdict.entry)[0].run is None
    assert house.ask(theirs, call="squatted").verdict == "ALLOW"


@pytest.mark.parametrize("authority", ["suspended", "restricted"])
def test_what_an_agent_may_do_follows_its_authority(authority: str) -> None:
    rule = "response:\n  - {signal: denied(small), do: [%s]}\n"
    house = open_house(RULES + rule % {"suspended": "suspend", "restricted": "restrict"}[authority])
    run = house.run()
    house.ask(run, SMALL)
    verdict = house.ask(run)
    assert verdict.clauses == (f"authority.{authority}",)
    assert verdict.verdict == {"suspended": "DENY", "restricted": "ESCALATE"}[authority]
    assert decision(house, verdict).epoch == 2


# ---- what is asked -----------------------------------------------------------------------------------------------


def test_an_allowed_action_names_everything_it_was_judged_on(house: House) -> None:
    run = house.run(principal="customer:1", request="Refund me")
    verdict = house.ask(run, order="A-1", customer="c-1", reason="the ticket says so")
    body = decision(house, verdict)
    assert (verdict.verdict, verdict.state, verdict.repeated, verdict.epoch) == ("ALLOW", "open", False, 1)
    assert (body.contract, body.evaluator, body.authority, body.epoch) == ("refund-bot@1", "test/1", "ACTIVE", 1)
    assert body.chain == ("owner:olga", f"agent:{AGENT}")
    assert body.posture == house.agent().posture
    assert body.principal == house.bodies(kinds.RunOpened)[0].principal
    assert body.reason_provenance == "asserted"
    assert [(use.limit, use.used, use.at_most, use.reserved) for use in body.uses] == [
        ("per-hour", 0, 6, True),
        ("repeat", 0, 1, True),
    ]
    entry = house.entries(verdict.entry)[0]
    assert [ref.seq for ref in entry.refs] == [body.posture]
    assert (entry.actor, entry.agent, entry.run) == ("gate", AGENT, run)


@pytest.mark.parametrize(
    "arguments",
    [
        b"",
        b"null",
        b"[]",
        b'{"customer_id":"c","order_id":"o","amount":"5.00"',
        b'{"customer_id":"c","order_id":"o","amount":"5.00","amount":"1.00"}',
        b'{"customer_id":"c","order_id":"o","amount":"5.001"}',
        b'{"customer_id":"c","order_id":"o","amount":NaN}',
        b'{"customer_id":"c","order_id":"o","amount":1e400}',
        b'{"customer_id":"c","order_id":"o","amount":"5.00","more":1}',
        b'{"customer_id":"c","order_id":"o"}',
        b'{"customer_id":7,"order_id":"o","amount":"5.00"}',
        b'{"customer_id":"\\ud800","order_id":"o","amount":"5.00"}',
        b"\xff\xfe{}",
        b"[" * 5000,
        b'{"a":' * 200 + b"1" + b"}" * 200,
        b'"' + b"x" * 2_097_152 + b'"',
    ],
    ids=lambda text: repr(text[:40]),
)
def test_arguments_that_cannot_be_read_exactly_are_denied_with_their_digest(house: House, arguments: bytes) -> None:
    verdict = house.ask(house.run(), arguments=arguments)
    body = denied_as(house, verdict, "arguments")
    assert body.arguments_bytes == len(arguments)
    assert house.secret(verdict.entry)["received"] == hashlib.sha256(arguments).hexdigest()


def test_a_tool_that_no_contract_lists_is_denied(house: House) -> None:
    denied_as(house, house.ask(house.run(), tool="payments.drain"), "tool.unlisted")


@pytest.mark.parametrize("tool", ["x" * 100_000, "payments.refund" + "\U0001f600" * 30_000, "\x00" * 70_000])
def test_a_tool_s_name_that_no_entry_has_room_for_is_denied_on_record_all_the_same(house: House, tool: str) -> None:
    run = house.run()
    asked = house.proposal(run, tool=tool)
    body = denied_as(house, house.decide(asked), "tool.unlisted")
    assert len(body.tool) < MAX_TOOL_NAME + 50
    assert house.decide(asked).repeated


def test_clauses_and_limits_speak_in_their_own_words(house: House) -> None:
    run = house.run()
    assert house.ask(run, ASK).verdict == "ESCALATE"
    assert house.ask(run, ASK).state == "escalated"
    denied_as(house, house.ask(run, BIG), "big")


# ---- what cannot be judged ---------------------------------------------------------------------------------------


def test_a_contract_that_does_not_compile_denies_every_action(house: House) -> None:
    """Adopted by force (a backtest ledger checks nothing else), as a damaged release would have it."""
    broken = json.loads(contracts.to_canonical(contracts.load(contract_text(version=2), name="x")))
    broken["clauses"][0]["when"] = "context.args.nothing == 100"
    document = json.dumps(broken, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(document.encode()).hexdigest()
    adopted = kinds.ContractAdopted(
        contract="refund-bot", version=2, digest=digest, owner="olga", approver="piet", document=document, mode="live"
    )
    house.write(house_draft(adopted))
    run = house.run()
    for _ in range(2):  # also when it was tried before
        denied_as(house, house.ask(run), "evaluation.error")


def test_a_contract_that_cannot_even_be_read_denies_every_action(house: House) -> None:
    adopted = kinds.ContractAdopted(
        contract="refund-bot", version=2, digest="ab" * 32, owner="olga", approver="piet", document="{", mode="live"
    )
    run = house.run()
    size = house.state.size
    house.write(house_draft(adopted))
    denied_as(house, house.ask(run), "evaluation.error")
    assert house.state.size == size + 4  # contract, the posture that it changes, denial, its signal


def test_a_judge_that_breaks_denies_on_record_and_names_only_the_fault(house: House) -> None:
    """The judge asks the state how far a limit is used; here that memory is damaged."""
    run = house.run()
    house.state.windows[AGENT, "per-hour", None] = object()  # type: ignore[assignment]
    verdict = house.ask(run, customer="Anna")
    body = denied_as(house, verdict, "evaluation.error")
    assert verdict.because == "AttributeError while judging"
    assert "Anna" not in str(body)
    del house.state.windows[AGENT, "per-hour", None]
    assert house.ask(run).verdict == "ALLOW"


def house_draft(body: kinds.ContractAdopted) -> Draft:
    return Draft(body=body, actor="eve", agent=AGENT)


# ---- a call that was decided before ------------------------------------------------------------------------------


def again(house: House, asked: Proposal) -> Verdict:
    return house.decide(asked)


@pytest.mark.parametrize("restarted", [False, True])
def test_an_identical_retry_gets_the_first_decision_and_what_came_of_it(house: House, restarted: bool) -> None:
    run = house.run()
    for amount, state in ((FINE, "open"), (ASK, "escalated"), (SMALL, "denied")):
        asked = house.proposal(run, amount)
        first = again(house, asked)
        if restarted:
            house.reopen()
        size = house.state.size
        retry = again(house, asked)
        assert (retry.entry, retry.verdict, retry.repeated, retry.state) == (first.entry, first.verdict, True, state)
        assert house.state.size == size
        assert retry.epoch == 0  # no permit is granted by it: what may have run never runs again
    assert house.state.used(AGENT, "per-hour", None, house.state.last_at_us, 0) == 1


@pytest.mark.parametrize("state", ["completed", "failed", "unknown", "blocked", "interrupted_unconfirmed"])
def test_a_retry_after_the_end_hears_how_it_ended(house: House, state: str) -> None:
    asked = house.proposal(house.run())
    first = again(house, asked)
    house.settle(first.entry, state)
    assert again(house, asked).state == state
    house.reopen()
    assert (again(house, asked).state, again(house, asked).entry) == (state, first.entry)


@pytest.mark.parametrize("amount", [FINE, SMALL, ASK])
def test_a_retry_that_shares_the_first_one_s_commit_is_the_same_call(house: House, amount: str) -> None:
    """A caller that timed out asks again while its first question waits for the disk."""
    asked = house.proposal(house.run(), amount)
    first, second = house.batch(house.gate.decide(asked), house.gate.decide(asked))
    assert (second.entry, second.repeated, second.verdict) == (first.entry, True, first.verdict)


@pytest.mark.parametrize("change", [{"arguments": b"{}"}, {"tool": "orders.read"}, {"amount": ASK}])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_call_id_used_for_something_else_is_denied_and_never_takes_its_place(
    house: House, change: dict[str, Any], restarted: bool
) -> None:
    run = house.run()
    asked = house.proposal(run, call="once", order="A-1", customer="c-1")
    first = again(house, asked)
    denied_as(house, house.ask(run, **{"call": "once", "order": "A-1", "customer": "c-1", **change}), "call.reused")
    if restarted:
        house.reopen()
    assert (again(house, asked).entry, again(house, asked).repeated) == (first.entry, True)


def test_the_same_meaning_in_other_bytes_is_another_call(house: House) -> None:
    run = house.run()
    asked = house.proposal(run, call="once")
    again(house, asked)
    spaced = asked.arguments.replace(b":", b" :")
    denied_as(house, house.ask(run, call="once", arguments=spaced), "call.reused")


def test_a_call_id_is_its_run_s_own(house: House) -> None:
    first, second = house.run(), house.run()
    assert house.ask(first, call="a").entry != house.ask(second, call="a").entry
    assert house.ask(second, call="b").verdict == "ALLOW"


@pytest.mark.parametrize("call", ["", "a" * 129, "a\n", "\u00e9", "a\x7f", "\x00"])
def test_a_call_id_that_would_not_stand_in_the_record_is_refused(call: str) -> None:
    with pytest.raises(Refused):
        check_call_id(call)


def test_call_ids_of_every_printable_kind_pass() -> None:
    for call in ("a", "a" * 128, "~!@ #", "018f-uuid"):
        assert check_call_id(call) == call


# ---- what is personal --------------------------------------------------------------------------------------------

PLANTED = "Anna-Planted-Person-8841"


def everything(house: House) -> bytes:
    """All bytes that lie on the disk for this ledger."""
    return b"".join(Path(f"{house.path}{suffix}").read_bytes() for suffix in ("", "-wal", "-shm"))


def test_nothing_personal_lies_in_clear_anywhere_in_the_file(house: House) -> None:
    """Arguments, reasons, principals, requests, customers, results, addresses, last words: each only encrypted."""
    planted = [f"{PLANTED}-{number}" for number in range(12)]
    run = house.run(principal=f"customer:{planted[0]}", request=f"I am {planted[1]}")
    verdict = house.ask(run, customer=planted[2], order=planted[3], reason=f"for {planted[4]}")
    house.ask(run, SMALL, customer=planted[2], order=planted[3], reason=planted[4])
    house.ask(run, arguments=f'{{"name": "{planted[5]}"'.encode())
    house.ask(run, arguments=json.dumps({planted[6]: planted[6]}).encode())
    house.ask(None, customer=planted[2], reason=planted[4])
    house.ask(run, agent="spiffe://shop.example/agent/ghost", customer=planted[2])
    house.settle(verdict.entry, "failed", result=planted[7].encode(), words=f"no such customer {planted[8]}")
    seen = outcomes.Witnessed(
        witness="log", ref="1", tool="payments.refund", at=None, customer=planted[9], action=verdict.entry,
        line="ab" * 32,
    )  # fmt: skip
    house.do(outcomes.record_effects(AGENT, (seen,)))
    house.enrol("sara", "reviewer", email=f"{planted[10]}@shop.example")
    house.do(runs.close_run(run, AGENT, f"finished with {planted[11]}"))
    data = everything(house)
    house.close()
    data += house.path.read_bytes()
    assert PLANTED.encode() not in data
    assert PLANTED.encode("utf-16-le") not in data
    assert b"refund-bot" in data  # the search does find what lies there


def test_facts_stand_by_value_only_where_the_contract_lists_them(house: House) -> None:
    verdict = house.ask(house.run(), "7.25", order="A-1", customer="c-1")
    facts = decision(house, verdict).facts
    assert {name: (fact.value, fact.public) for name, fact in facts.items()} == {
        "amount": (725, True),
        "customer_id": (None, False),
        "order_id": (None, False),
    }
    assert house.secret(verdict.entry)["facts"] == {"customer_id": "c-1", "order_id": "A-1"}


def test_a_customer_keeps_one_token_over_calls_tools_and_restarts_and_two_have_two(house: House) -> None:
    run = house.run()
    first = decision(house, house.ask(run, customer="c-1")).customer
    other = decision(house, house.ask(run, customer="c-2")).customer
    house.reopen()
    assert decision(house, house.ask(run, customer="c-1")).customer == first
    seen = outcomes.Witnessed(
        witness="log", ref="1", tool="payments.refund", at=None, customer="c-1", action=None, line="ab" * 32
    )
    house.do(outcomes.record_effects(AGENT, (seen,)))
    assert house.bodies(kinds.EffectWitnessed)[0].customer == first
    assert first is not None
    assert first != other
    assert len(first) == 34  # random: it tells nothing of whom it stands for


def test_two_ledgers_know_a_customer_by_different_tokens() -> None:
    one, two = open_house(), open_house()
    tokens = [decision(house, house.ask(house.run(), customer="c-1")).customer for house in (one, two)]
    assert tokens[0] != tokens[1]


def test_the_key_of_a_limit_is_a_token_of_that_limit_alone(house: House) -> None:
    run = house.run()
    body = decision(house, house.ask(run, order="A-1", customer="A-1"))
    keys = {use.limit: use.key for use in body.uses}
    assert keys["per-hour"] is None
    assert keys["repeat"] not in (None, body.customer, body.resource)
    assert decision(house, house.ask(run, order="A-1")).uses[1].key == keys["repeat"]


# ---- commitments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [FINE, SMALL, ASK])
def test_arguments_and_reason_are_proved_by_the_blob_of_their_entry(house: House, amount: str) -> None:
    text = b'{"amount":"%s" , "customer_id":"caf\\u00e9","order_id":"o"}' % amount.encode()
    verdict = house.ask(house.run(), arguments=text, reason="gr\u00fc\u00dfe")
    body, secret = decision(house, verdict), house.secret(verdict.entry)
    salt = bytes.fromhex(secret["salt"])
    assert len(salt) == 16
    assert body.arguments == commitment(salt, secret["arguments"].encode())
    assert body.reason == commitment(salt, secret["reason"].encode())
    assert json.loads(secret["arguments"]) == json.loads(text)
    assert secret["reason"] == "gr\u00fc\u00dfe"


def test_equal_arguments_have_different_commitments(house: House) -> None:
    """Else a commitment would be a fingerprint: the same customer's calls could be told without any key."""
    run = house.run()
    bodies = [decision(house, house.ask(run, SMALL, order="o", customer="c")) for _ in range(2)]
    assert bodies[0].arguments != bodies[1].arguments


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u20ac", "\U0001f600", "\ud800"])
def test_a_reason_that_was_cut_is_still_proved_by_its_blob(house: House, letter: str) -> None:
    verdict = house.ask(house.run(), reason="a" + letter * MAX_REASON_BYTES)
    secret = house.secret(verdict.entry)
    kept = secret["reason"].encode()
    assert decision(house, verdict).reason == commitment(bytes.fromhex(secret["salt"]), kept)
    assert MAX_REASON_BYTES - 4 < len(kept) <= MAX_REASON_BYTES


def test_a_reason_that_was_not_given_is_absent_and_an_empty_one_is_not(house: House) -> None:
    run = house.run()
    assert decision(house, house.ask(run)).reason_provenance == "absent"
    assert decision(house, house.ask(run, reason="")).reason_provenance == "asserted"


# ---- contracts come into force by two persons --------------------------------------------------------------------


def test_a_new_contract_decides_from_its_entry_on_and_the_old_one_before(house: House) -> None:
    run = house.run()
    first = house.ask(run, SMALL)
    house.adopt(contract_text(RULES.replace("amount == 100", "amount == 101"), version=2))
    second = house.ask(run, SMALL)
    assert (first.verdict, second.verdict) == ("DENY", "ALLOW")
    assert decision(house, second).contract == "refund-bot@2"
    assert decision(house, second).posture == house.agent().posture


def test_one_gate_judges_two_agents_each_by_its_own_contract(house: House) -> None:
    house.register(OTHER)
    house.adopt(contract_text(RULES.replace("amount == 100", "amount == 500"), agent=OTHER))
    assert house.ask(house.run(), FINE).verdict == "ALLOW"
    assert house.ask(house.run(OTHER), FINE, agent=OTHER).verdict == "DENY"


def test_an_older_version_never_comes_back(house: House) -> None:
    house.adopt(contract_text(version=3))
    for version in (1, 2, 3):
        with pytest.raises(Refused):
            house.adopt(contract_text(version=version))
    assert decision(house, house.ask(house.run())).contract == "refund-bot@3"
