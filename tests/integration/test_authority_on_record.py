"""What bounds an action and what the record says about it: identity, contract, verdict, outcome (R1 to R3, R14).

Real ledgers and gate; only the clock is the tests' own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import contract, kinds, orders
from failwell.core.errors import FailwellError, Refused
from failwell.core.records import Entry, decode_entry
from failwell.execute.survivors import Found
from failwell.gate import outcomes, registry, runs
from failwell.gate.verdicts import Proposal
from failwell.identity import keys, names, persons
from failwell.node import audit
from failwell.node.recovery import recover
from failwell.verify.finding import KEPT
from tests.unit.verify import ledgers

AGENT = ledgers.AGENT
STRANGER = "spiffe://shop.example/agent/stranger"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[ledgers.Made]:
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
        yield made


def entries(made: ledgers.Made) -> list[Entry[Any]]:
    return [decode_entry(row.data) for row in made.book.storage.entries(0, 10_000)]


def entry(made: ledgers.Made, seq: int) -> Entry[Any]:
    return entries(made)[seq]


def register(made: ledgers.Made, owner: str) -> None:
    key = base64.b64encode(keys.from_seed(b"s" * 32).public).decode()
    details = orders.AgentRegister(agent=STRANGER, key=key, owner=owner)
    signed = made.sign("olga", "agent.register", details)
    made.do(registry.register_agent(signed, "stranger", persons.verify_order, names.check_distinct))


# ---- who may ask -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R1.5")
def test_an_unknown_agent_and_one_without_a_contract_are_denied_on_record(made: ledgers.Made) -> None:
    unknown = made.ask(None, "c1", "orders.read", {"order_id": "A-1"}, agent=STRANGER)
    ledgers.vouch(made, "olga", "piet")
    register(made, "piet")
    run = made.do(runs.open_run(STRANGER, principal=None, request=None, host=None))
    without = made.ask(run, "c2", "orders.read", {"order_id": "A-1"}, agent=STRANGER)
    for verdict, clause in ((unknown, "agent.unknown"), (without, "contract.absent")):
        assert (verdict.verdict, verdict.clauses) == ("DENY", (clause,))
        written = entry(made, verdict.entry)
        assert (written.kind, written.agent, written.body.verdict) == ("decision", STRANGER, "DENY")


@pytest.mark.requirement("R3.4")
def test_an_agent_is_registered_only_with_an_enrolled_person_who_was_reached_as_its_owner(made: ledgers.Made) -> None:
    for owner in ("nobody", "olga.piet"):
        with pytest.raises(FailwellError):
            register(made, owner)
    with pytest.raises(Refused, match="verified contact"):
        register(made, "piet")
    assert STRANGER not in made.book.state.agent
    ledgers.vouch(made, "olga", "piet")
    register(made, "piet")
    assert made.book.state.agent[STRANGER].owner == "piet"
    with pytest.raises(Refused, match="registered already"):
        register(made, "olga")


@pytest.mark.requirement("R12.1")
def test_a_response_rule_changed_after_the_signatures_is_not_adopted(made: ledgers.Made) -> None:
    loaded, softened = (
        contract.load(ledgers.CONTRACT.replace("version: 1", "version: 2").replace(rule, said), name="c.yaml")
        for rule, said in (
            ("[interrupt, suspend, hold, notify]",) * 2,
            ("[interrupt, suspend, hold, notify]", "[record]"),
        )
    )
    named: dict[str, Any] = {"contract": "refund-bot", "version": 2, "digest": contract.digest(loaded)}
    by_owner = made.sign("olga", "contract.sign", orders.ContractSign(**named))
    cited = orders.order_digest(orders.parse_order(by_owner.order))
    by_approver = made.sign("piet", "contract.adopt", orders.ContractAdopt(**named, signed=cited))
    document = contract.to_canonical(softened)
    with pytest.raises(Refused, match="another contract"):
        made.do(registry.adopt_contract(by_owner, by_approver, document, persons.verify_order, "test/1"))
    in_force = made.book.state.contract_of(AGENT)
    assert in_force is not None
    assert in_force.version == 1


@pytest.mark.requirement("R2.4")
def test_a_count_limit_holds_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        run = made.run()
        for number in range(4):
            assert made.refund(run, f"c{number}", f"A-{number}").verdict == "ALLOW"
        clock = made.clock
    with ledgers.reopened(path, clock) as made:
        verdicts = [made.refund(run, f"d{number}", f"B-{number}") for number in range(3)]
        assert [verdict.verdict for verdict in verdicts] == ["ALLOW", "ALLOW", "DENY"]
        assert verdicts[-1].clauses == ("refunds",)
        clock.skip(3_700_000_000)
        assert made.refund(run, "later", "C-1").verdict == "ALLOW"


# ---- what a decision says ----------------------------------------------------------------------------------------


@pytest.mark.requirement("R3.5", "R14.2")
def test_owner_and_principal_of_an_action_follow_from_its_entries_with_where_they_come_from(made: ledgers.Made) -> None:
    asserted = made.run("customer:8841")
    verified = made.do(runs.open_run(AGENT, principal="customer:8841", request="refund please", host="shop"))
    absent = made.do(runs.open_run(AGENT, principal=None, request=None, host=None))
    for run, provenance in ((asserted, "asserted"), (verified, "verified"), (absent, "absent")):
        decided = entry(made, made.ask(run, f"c{run}", "orders.read", {"order_id": "A-1"}).entry)
        opened = entry(made, decided.run or 0)
        assert isinstance(opened.body, kinds.RunOpened)
        assert opened.body.principal_provenance == provenance
        assert decided.body.principal == opened.body.principal
        assert (decided.body.principal is None) == (provenance == "absent")
        assert decided.body.chain == ("owner:olga", f"agent:{AGENT}")
    tokens = {entry(made, run).body.principal for run in (asserted, verified)}
    assert len(tokens) == 1, "the same person is the same token in every run"


@pytest.mark.requirement("R14.1")
def test_a_decision_cites_the_posture_in_force_also_after_another_contract(made: ledgers.Made) -> None:
    run = made.run()
    first = entry(made, made.ask(run, "c1", "orders.read", {"order_id": "A-1"}).entry)
    ledgers.adopt(made, ledgers.CONTRACT.replace("version: 1", "version: 2"))
    second = entry(made, made.ask(run, "c2", "orders.read", {"order_id": "A-1"}).entry)
    for decided, version in ((first, 1), (second, 2)):
        posture = entry(made, decided.body.posture)
        adopted = entry(made, posture.seq - 1).body
        assert isinstance(posture.body, kinds.Posture)
        assert isinstance(adopted, kinds.ContractAdopted)
        assert decided.agent == posture.agent == AGENT
        assert posture.body.contract == decided.body.contract == f"refund-bot@{version}"
        assert (adopted.version, posture.body.evaluator) == (version, "test/1")
        assert posture.body.configuration == made.book.state.configuration != ""
        assert decided.body.evaluator == "test/1"
        assert decided.refs[0].seq == posture.seq


@pytest.mark.requirement("R14.3")
def test_a_decision_holds_its_verdict_and_exactly_what_decided(made: ledgers.Made) -> None:
    run = made.run()
    made.refund(run, "c1", "A-1")
    said = {
        call: entry(made, made.refund(run, call, "A-1", amount).entry).body
        for call, amount in (("c2", "10.00"), ("c3", "150.00"), ("c4", "900.00"))
    }
    told = {call: (body.verdict, [(clause.id, clause.then) for clause in body.clauses]) for call, body in said.items()}
    assert told == {
        "c2": ("ALLOW", [("once", "record")]),
        "c3": ("ESCALATE", [("large", "escalate"), ("once", "record")]),
        "c4": ("DENY", [("refund-ceiling", "deny"), ("large", "escalate"), ("once", "record")]),
    }
    assert [(use.limit, use.used, use.reserved) for use in said["c2"].uses] == [("refunds", 1, True), ("once", 1, True)]


@pytest.mark.requirement("R14.4")
@pytest.mark.parametrize("reason", [None, "", "because the customer asked\nfor it \u2014 twice"])
def test_the_agents_reason_is_kept_as_given_or_is_null(made: ledgers.Made, reason: str | None) -> None:
    proposal = made.gate.decide(
        Proposal(
            agent=AGENT, run=made.run(), call="c1", tool="orders.read", arguments=b'{"order_id": "A-1"}', reason=reason
        )
    )
    seq = made.do(proposal).entry
    body = entry(made, seq).body
    blob = made.book.storage.blob(seq)
    assert blob is not None
    secret = made.book.vault.open(blob)
    assert secret["reason"] == reason
    assert body.reason_provenance == ("absent" if reason is None else "asserted")
    if reason is None:
        assert body.reason is None
    else:
        salted = bytes.fromhex(secret["salt"]) + reason.encode()
        assert body.reason == hashlib.sha256(salted).hexdigest()


@pytest.mark.requirement("R14.5")
def test_an_action_has_one_outcome_at_most_and_one_that_nobody_saw_end_is_unknown(
    made: ledgers.Made, tmp_path: Path
) -> None:
    run = made.run()
    verdict = made.refund(run, "c1", "A-1")
    again = made.refund(run, "c1", "A-1")
    assert (again.entry, again.repeated, again.state) == (verdict.entry, True, "open")
    made.settle(verdict)
    assert made.refund(run, "c1", "A-1").state == "completed"
    with pytest.raises(FailwellError):
        made.settle(verdict, "failed")
    with pytest.raises(FailwellError):
        made.settle(made.refund(run, "c2", "A-1", "900.00"))
    lost = made.refund(run, "c3", "A-2")
    assert recover(made.writer, tmp_path, Found()) == 1
    found = [each.body for each in entries(made) if isinstance(each.body, kinds.Outcome)]
    assert [(body.decision, body.state) for body in found] == [(verdict.entry, "completed"), (lost.entry, "unknown")]


@pytest.mark.requirement("R14.6")
def test_every_fact_of_a_decision_says_where_it_comes_from(made: ledgers.Made) -> None:
    body = entry(made, made.refund(made.run(), "c1", "A-1").entry).body
    assert {name: (fact.provenance, fact.public) for name, fact in body.facts.items()} == {
        "customer_id": ("asserted", False), "order_id": ("asserted", False), "amount": ("asserted", True),
    }  # fmt: skip
    assert body.reason_provenance == "asserted"
    opened = next(each.body for each in entries(made) if isinstance(each.body, kinds.RunOpened))
    assert (opened.principal_provenance, opened.request_provenance) == ("asserted", "asserted")


# ---- what nobody can read ----------------------------------------------------------------------------------------


@pytest.mark.requirement("R18.4")
def test_no_argument_result_reason_principal_or_customer_stands_readable_in_any_file(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        run = made.run("principal-Quimby")
        ask = {"customer_id": "customer-Zacharias", "order_id": "order-Xenophon", "amount": "12.34"}
        verdict = made.ask(run, "c1", "payments.refund", ask)
        made.ask(run, "c2", "payments.refund", b'{"customer_id": "unread-Yolanda", ')
        settlement = outcomes.Settlement(
            decision=verdict.entry, state="completed", by="supervisor", result=b'"result-Wilhelmina"'
        )
        made.do(outcomes.settle(settlement))
        body = entry(made, verdict.entry).body
        assert body.facts["amount"].value == 1234, "what the contract makes public may be read"
        bytes_while_open = [file.read_bytes() for file in path.rglob("*") if file.is_file()]
    bytes_after = [file.read_bytes() for file in path.rglob("*") if file.is_file()]
    for secret in (
        b"Quimby", b"Zacharias", b"Xenophon", b"Yolanda", b"Wilhelmina", b"refund please", b"as asked",
    ):  # fmt: skip
        assert not any(secret in data for data in (*bytes_while_open, *bytes_after)), secret


@pytest.mark.requirement("R13.1")
def test_every_step_of_an_incident_is_an_entry_of_one_ledger_under_a_signed_checkpoint(tmp_path: Path) -> None:
    path = ledgers.small(tmp_path / "w")
    report = audit.verify_workspace(path)
    assert report.ok, report.findings
    assert {step.state for step in report.checks if step.number != KEPT} == {"proved"}
    told = {shown.entry.kind for shown in audit.tail(path, 10_000) if shown.entry is not None}
    assert told >= {
        "run.opened", "decision", "started", "outcome", "signal", "incident.opened", "interrupt.ordered",
        "interrupt.attempted", "interrupt.confirmed", "authority.changed", "hold.placed", "effect.witnessed",
        "page.queued", "page.attempted", "acknowledged", "release.proposed", "release.approved", "order",
    }  # fmt: skip


@pytest.mark.requirement("R13.8")
def test_what_was_tampered_with_is_found_without_the_logs_private_key(tmp_path: Path) -> None:
    path = ledgers.small(tmp_path / "w")
    kept = next(iter(_notes(path)))
    for file in (path / "keys").rglob("*"):
        if file.is_file() and file.name != "log.pub":
            file.unlink()
    assert audit.verify_workspace(path, checkpoints=[kept]).ok
    ledger = path / "ledger.db"
    data = ledger.read_bytes()
    assert b'"verdict":"DENY"' in data
    # Everywhere: what stands first in the file may be a page that is not in use any more.
    ledger.write_bytes(data.replace(b'"verdict":"DENY"', b'"verdict":"FINE"'))
    report = audit.verify_workspace(path, checkpoints=[kept])
    assert report.first_bad is not None


def _notes(path: Path) -> list[bytes]:
    with ledgers.reopened(path, ledgers.StepClock()) as made:
        checkpoint = made.book.storage.checkpoint()
    return [] if checkpoint is None else [checkpoint]
