"""Outcomes and runs: each action ends once, only what never started gives back, and who says what is on record."""

from __future__ import annotations

import base64
import json

import pytest

from failwell.core import kinds, orders
from failwell.core.errors import Refused
from failwell.core.machines import OUTCOMES
from failwell.gate import outcomes, registry, runs
from failwell.gate.outcomes import MAX_RESULT_BYTES, MAX_WORDS
from failwell.identity import keys, persons
from failwell.ledger.vault import commitment
from tests.unit.gate.house import AGENT, ASK, FINE, HOUR_US, OTHER, SMALL, House, contract_text, open_house


@pytest.fixture
def house() -> House:
    return open_house()


# ---- outcomes ----------------------------------------------------------------------------------------------------


def used(house: House) -> int:
    return house.state.used(AGENT, "per-hour", None, house.state.limit_us(house.state.last_at_us), HOUR_US)


@pytest.mark.parametrize("state", sorted(OUTCOMES))
@pytest.mark.parametrize("restarted", [False, True])
def test_only_what_was_proved_not_to_have_started_gives_its_reservation_back(
    house: House, state: str, restarted: bool
) -> None:
    verdict = house.ask(house.run())
    assert used(house) == 1
    house.settle(verdict.entry, state)
    if restarted:
        house.reopen()
    assert used(house) == (0 if state == "blocked" else 1)


def test_an_action_ends_once_and_only_if_it_was_allowed(house: House) -> None:
    run = house.run()
    allowed = house.ask(run).entry
    house.settle(allowed)
    others = [house.ask(run, SMALL).entry, house.ask(run, ASK).entry, 0, run, -1, 10**9]
    for decision in (allowed, *others):
        size = house.state.size
        with pytest.raises(Refused) as refused:
            house.settle(decision, "blocked")
        assert refused.value.code == "not-open"
        assert house.state.size == size
    assert used(house) == 1


@pytest.mark.parametrize("state", ["", "open", "denied", "BLOCKED", "blocked\n", "interrupted"])
def test_an_end_that_is_none_is_refused_and_the_action_stays_open(house: House, state: str) -> None:
    decision = house.ask(house.run()).entry
    with pytest.raises(Refused):
        house.settle(decision, state)
    assert house.state.running(AGENT) == (decision,)


@pytest.mark.parametrize("result", [b"", b'{"ok":true}', "gr\u00fc\u00dfe".encode(), b"\xff\x00\xfe", b"x" * 70_000])
def test_a_result_is_proved_by_the_blob_of_its_entry(house: House, result: bytes) -> None:
    seq = house.settle(house.ask(house.run()).entry, result=result)
    body, secret = house.entries(seq)[0].body, house.secret(seq)
    kept = base64.b64decode(secret["result_base64"]) if "result_base64" in secret else secret["result"].encode()
    assert kept == result
    assert body.result == commitment(bytes.fromhex(secret["salt"]), kept)
    assert (body.result_bytes, body.truncated) == (len(result), False)


@pytest.mark.parametrize("letter", [b"x", "\u20ac".encode()])
def test_a_result_beyond_its_bound_is_cut_marked_and_still_proved(house: House, letter: bytes) -> None:
    seq = house.settle(house.ask(house.run()).entry, result=letter * (MAX_RESULT_BYTES // len(letter) + 2))
    body, secret = house.entries(seq)[0].body, house.secret(seq)
    kept = base64.b64decode(secret["result_base64"]) if "result_base64" in secret else secret["result"].encode()
    assert (body.result_bytes, body.truncated, len(kept)) == (MAX_RESULT_BYTES, True, MAX_RESULT_BYTES)
    assert body.result == commitment(bytes.fromhex(secret["salt"]), kept)


def test_no_result_is_null_and_an_empty_one_is_not(house: House) -> None:
    run = house.run()
    none = house.entries(house.settle(house.ask(run).entry))[0]
    empty = house.entries(house.settle(house.ask(run).entry, result=b""))[0]
    assert (none.body.result, none.blob) == (None, None)
    assert empty.body.result is not None


def test_what_the_tool_s_side_says_of_its_failure_lies_in_the_blob(house: House) -> None:
    seq = house.settle(house.ask(house.run()).entry, "failed", words="no customer Anna" + "!" * MAX_WORDS, why="exit 1")
    assert house.entries(seq)[0].body.why == "exit 1"
    assert len(house.secret(seq)["words"]) == MAX_WORDS


def test_an_outcome_cites_its_decision_and_who_says_so(house: House) -> None:
    run = house.run()
    decision = house.ask(run).entry
    entry = house.entries(house.settle(decision, by="recovery"))[0]
    assert ([ref.seq for ref in entry.refs], entry.actor, entry.agent, entry.run) == (
        [decision],
        "recovery",
        AGENT,
        run,
    )
    assert entry.refs[0].leaf == house.book.leaf(decision)


def test_a_start_that_is_overtaken_by_its_end_is_left_out(house: House) -> None:
    decision = house.ask(house.run()).entry
    house.do(outcomes.started(decision, "supervised", 4242, 99, ("python", "-m", "refund", "--to", "Anna")))
    house.settle(decision)
    size = house.state.size
    house.do(outcomes.started(decision, "supervised", 4242, 99))
    assert house.state.size == size
    entry = next(entry for entry in house.entries() if isinstance(entry.body, kinds.Started))
    secret = house.secret(entry.seq)
    command = json.dumps(secret["command"], separators=(",", ":"), ensure_ascii=False).encode()
    assert entry.body.command == commitment(bytes.fromhex(secret["salt"]), command)
    assert "Anna" not in str(entry)


def test_effects_are_counted_by_their_log_and_only_the_newest_cursor_is_kept(house: House) -> None:
    action = house.ask(house.run()).entry
    for cursor in ("7", None, "9"):
        seen = outcomes.Witnessed(
            witness="log", ref=str(cursor), tool="payments.refund", at=None, customer=None, action=action,
            line="ab" * 32, cursor=cursor,
        )  # fmt: skip
        house.do(outcomes.record_effects(AGENT, (seen,)))
    row = house.state.witness["log"]
    assert (row.cursor, row.effects) == ("9", 3)


# ---- runs --------------------------------------------------------------------------------------------------------


def host(house: House, *agents: str) -> None:
    public = base64.b64encode(keys.from_seed(b"h" * 32).public).decode()
    details = orders.HostRegister(host="shop", key=public, agents=agents)
    house.do(registry.register_host(house.sign("olga", "host.register", details), persons.verify_order))


def test_principal_and_request_are_verified_only_when_a_host_proved_its_own_key(house: House) -> None:
    host(house, AGENT)
    by_host = house.run(principal="customer:1", request="Refund me", host="shop")
    by_agent = house.run(principal="customer:1", request="Refund me")
    nobody = house.run(host="shop")
    told = [(body.principal_provenance, body.request_provenance) for body in house.bodies(kinds.RunOpened)]
    assert told == [("verified", "verified"), ("asserted", "asserted"), ("absent", "absent")]
    tokens = [body.principal for body in house.bodies(kinds.RunOpened)]
    assert tokens[0] == tokens[1] is not None
    assert tokens[2] is None
    actors = [entry.actor for entry in house.entries() if isinstance(entry.body, kinds.RunOpened)]
    assert actors == ["host:shop", f"agent:{AGENT}", "host:shop"]
    assert [house.state.run[run].request for run in (by_host, by_agent, nobody)] == ["verified", "asserted", "absent"]


@pytest.mark.parametrize("name", ["nobody", "shop"])
def test_a_host_opens_no_run_for_an_agent_that_is_not_its_own(house: House, name: str) -> None:
    house.register(OTHER)
    host(house, OTHER)
    with pytest.raises(Refused, match="may not open runs"):
        house.run(host=name, principal="customer:1")


def test_a_clause_can_tell_a_verified_request_from_an_asserted_one() -> None:
    rules = """
clauses:
  - {id: unasked, deny: payments.refund, when: context.request != "verified", severity: minor}
"""
    house = open_house(rules)
    host(house, AGENT)
    assert house.ask(house.run(request="x", host="shop")).verdict == "ALLOW"
    assert house.ask(house.run(request="x")).clauses == ("unasked",)
    assert house.ask(house.run(host="shop")).clauses == ("unasked",)


def test_a_request_is_committed_to_and_lies_in_the_blob(house: House) -> None:
    run = house.run(request="Refund \u20ac 5, I am Anna")
    secret = house.secret(run)
    assert house.bodies(kinds.RunOpened)[0].request == commitment(
        bytes.fromhex(secret["salt"]), secret["request"].encode()
    )


def test_closing_a_run_ends_what_was_never_started_as_blocked_and_leaves_what_runs(house: House) -> None:
    run = house.run()
    unused, running = house.ask(run).entry, house.ask(run).entry
    other = house.ask(house.run()).entry
    house.do(runs.close_run(run, AGENT, "done", frozenset({running})))
    assert [(body.decision, body.state) for body in house.bodies(kinds.Outcome)] == [(unused, "blocked")]
    assert house.state.running(AGENT) == (running, other)
    assert used(house) == 2
    house.reopen()
    house.settle(running)
    assert used(house) == 2


def test_closing_a_run_gives_nothing_back_of_what_its_caller_had_leave_to_do_by_itself(house: House) -> None:
    run = house.run()
    told, unused = house.ask(run).entry, house.ask(run).entry
    house.do(runs.close_run(run, AGENT, "done", told=frozenset({told, 3})))
    assert {body.decision: body.state for body in house.bodies(kinds.Outcome)} == {told: "unknown", unused: "blocked"}
    assert used(house) == 1


def test_closing_a_run_with_hundreds_of_unused_actions_ends_them_all() -> None:
    house = open_house("")
    run = house.run()
    house.batch(*(house.gate.decide(house.proposal(run)) for _ in range(600)))
    house.do(runs.close_run(run, AGENT, "done"))
    assert len(house.bodies(kinds.Outcome)) == 600
    assert not house.state.action


def test_a_run_is_closed_once_and_by_its_own_agent(house: House) -> None:
    run = house.run()
    for wrong, agent in ((run, OTHER), (run + 1, AGENT), (0, AGENT)):
        with pytest.raises(Refused):
            house.do(runs.close_run(wrong, agent, "done"))
    house.do(runs.close_run(run, AGENT, "done"))
    with pytest.raises(Refused):
        house.do(runs.close_run(run, AGENT, "done"))


def test_what_an_agent_says_when_it_closes_lies_in_the_blob_however_much_it_is(house: House) -> None:
    run = house.run()
    house.do(runs.close_run(run, AGENT, "served Anna" + "!" * 100_000))
    entry = house.entries()[-1]
    assert entry.body.reason == "other"
    assert house.secret(entry.seq)["reason"].startswith("served Anna")


def test_call_ids_of_a_closed_run_leave_memory(house: House) -> None:
    run = house.run()
    house.settle(house.ask(run, FINE).entry)
    house.do(runs.close_run(run, AGENT, "done"))
    assert (house.state.calls, house.state.run, house.state.action) == ({}, {}, {})
    house.adopt(contract_text(version=2))
