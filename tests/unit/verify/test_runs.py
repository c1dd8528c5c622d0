"""What a record says of runs and of looks at the world, forged entry by entry with every hash made anew."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.core.contract import Looked
from failwell.core.records import Draft
from failwell.gate import registry, runs
from failwell.gate.ensured import Seen, end_check
from failwell.gate.verdicts import Asked, Proposal, Verdict
from failwell.identity import keys, names, persons
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace

OTHER = "spiffe://shop.example/agent/other-bot"
DECLARED = runs.Declared(model="a" * 64)
MINUTE_US = 60_000_000


FACTS = '    facts: {paid: {lookup: orders.paid, with: [order_id], type: "money(2, 0..10000)"}}\n'


def contract(agent: str, version: int, more: str = "") -> str:
    booked = "{lookup: payments.booked, with: [order_id], type: bool, is: true, within: 30s}"
    asks = f"{FACTS}    ensure: {{booked: {booked}}}\nclauses:"
    text = ledgers.CONTRACT.replace("clauses:", asks, 1).replace("refund-bot", agent)
    return text.replace("version: 1", f"version: {version}\n{more}", 1)


def refund(made: ledgers.Made, run: int, call: str, order: str, agent: str = ledgers.AGENT) -> Verdict:
    """A refund whose source says that enough was paid."""
    given = json.dumps({"customer_id": f"c-{order}", "order_id": order, "amount": "5.00"}).encode()
    proposal = Proposal(agent=agent, run=run, call=call, tool="payments.refund", arguments=given, reason=None)
    unanswered = made.do(made.gate.decide(proposal))
    answers = {
        each.fact: Looked(source=each.source, state="answered", elapsed_us=9, value="50.00")
        for each in unanswered.questions
    }
    verdict: Verdict = made.do(made.gate.decide(proposal, Asked(answers=answers, contract=unanswered.contract)))
    assert verdict.verdict == "ALLOW"
    return verdict


def work(made: ledgers.Made) -> None:
    """A run of each kind, with a decision in each; acts whose checks held, were missed, and are still owed."""
    made.write(
        Draft(body=kinds.NodeStarted(software="t", pid=1, separation="", self_test={}, recovered=0), actor="node")
    )
    public = base64.b64encode(keys.from_seed(b"o" * 32).public).decode()
    register = orders.AgentRegister(agent=OTHER, key=public, owner="olga")
    signed = made.sign("olga", "agent.register", register)
    made.do(registry.register_agent(signed, "other-bot", persons.verify_order, names.check_distinct))
    ledgers.adopt(made, contract("other-bot", 1))
    ledgers.adopt(made, contract("refund-bot", 2, "delegates: [other-bot]"))
    hosted = made.do(
        runs.open_run(
            ledgers.AGENT, principal="customer:1", request="refund", host="shop", declared=DECLARED, evaluator="test/1"
        )
    )
    refund(made, hosted, "c1", "A-1")
    handed = made.do(runs.open_run(OTHER, principal=None, request=None, host=None, parent=hosted))
    refund(made, handed, "c2", "A-2", OTHER)
    own = made.run()
    for number in range(3):
        verdict = refund(made, own, f"d{number}", f"B-{number}")
        made.settle(verdict)
        if number == 1:
            made.clock.skip(MINUTE_US)
        if number < 2:
            seen = Seen(state="missed" if number else "held", tries=1, saw=not number, answered=True)
            assert made.do(end_check(f"{verdict.entry}/booked", seen)) is not None
    made.clock.skip(20 * MINUTE_US)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    path = tmp_path_factory.mktemp("ledger") / "w"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        work(made)
    return Image(path)


def nth(image: Image, kind: type, number: int) -> Any:
    return [entry for entry in Forger(image).entries() if isinstance(entry.body, kind)][number]


def changed(image: Image, entry: Any, **fields: Any) -> Any:
    forger = Forger(image)
    forger.change(entry.seq, lambda e: replace(e, body=replace(e.body, **fields)), resign=True)
    return forger.verify()


def test_an_honest_record_of_all_that_verifies(image: Image) -> None:
    assert Forger(image).verify().ok


@pytest.mark.requirement("R14.6")
@pytest.mark.parametrize(
    ("run", "fields"),
    [
        (0, {"principal_provenance": "asserted"}),
        (0, {"host": None}),
        (0, {"host": "nobody"}),
        (1, {"principal_provenance": "verified"}),
        (1, {"request_provenance": "verified"}),
        (1, {"chain": ()}),
        (1, {"chain": (OTHER,)}),
        (1, {"principal": "p-ff"}),
        (1, {"parent": None}),
        (1, {"parent": 1}),
        (2, {"principal_provenance": "verified"}),
        (2, {"request_provenance": "absent"}),
        (2, {"request": None}),
        (2, {"chain": (OTHER,)}),
    ],
    ids=str,
)
def test_a_run_that_says_what_it_cannot_be_is_found(image: Image, run: int, fields: dict[str, Any]) -> None:
    """Attack: the operator rewrites whose word it was, or through whom the work went."""
    entry = nth(image, kinds.RunOpened2, run)
    report = changed(image, entry, **fields)
    assert "run.standing" in report.counts
    assert report.first_bad == entry.seq


@pytest.mark.parametrize(
    ("number", "fields", "code"),
    [
        (0, {"principal_provenance": "asserted"}, "decision.principal"),
        (2, {"principal_provenance": "verified"}, "decision.principal"),
        (1, {"chain": ("owner:olga", f"agent:{OTHER}")}, "decision.chain"),
        (0, {"chain": ("owner:piet", f"agent:{ledgers.AGENT}")}, "decision.chain"),
        (0, {"posture": 1}, "decision.posture"),
        (0, {"evaluator": "another/1"}, "decision.posture"),
    ],
    ids=str,
)
def test_a_decision_that_says_otherwise_than_its_run_is_found(
    image: Image, number: int, fields: dict[str, Any], code: str
) -> None:
    entry = nth(image, kinds.Decision2, number)
    report = changed(image, entry, **fields)
    assert code in report.counts
    assert report.first_bad == entry.seq


def _facts(**changed: Any) -> Callable[[Any], Any]:
    """Other facts or lookups of a decision; None takes one away."""

    def change(entry: Any) -> Any:
        body = entry.body
        facts = {**body.facts, **changed.get("facts", {})}
        lookups = tuple(replace(each, **changed.get("lookup", {})) for each in body.lookups)
        if changed.get("unasked"):
            lookups = ()
        kept = {name: fact for name, fact in facts.items() if fact is not None}
        return replace(entry, body=replace(body, facts=kept, lookups=lookups))

    return change


VERIFIED = kinds.Fact(value=None, public=False, provenance="verified")


@pytest.mark.requirement("R14.6")
@pytest.mark.parametrize(
    "changed",
    [
        {"facts": {"order_id": VERIFIED}},
        {"facts": {"facts.paid": replace(VERIFIED, provenance="asserted")}},
        {"facts": {"facts.paid": None}},
        {"facts": {"facts.other": VERIFIED}},
        {"lookup": {"state": "late"}},
        {"lookup": {"source": "orders.unpaid"}},
        {"unasked": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("number", [0, 1])
def test_what_was_not_asked_of_a_source_and_answered_is_no_verified_fact(
    image: Image, number: int, changed: dict[str, Any]
) -> None:
    """Attack: the agent's word becomes verified, or an ALLOW is shown to rest on an answer that never came."""
    entry = nth(image, kinds.Decision2, number)
    forger = Forger(image)
    forger.change(entry.seq, _facts(**changed), resign=True)
    report = forger.verify()
    assert "decision.fact" in report.counts
    assert report.first_bad == entry.seq


@pytest.mark.parametrize("field", ["contract_digest", "configuration", "floors"])
def test_a_posture_of_something_else_is_found_where_a_decision_cites_it(image: Image, field: str) -> None:
    entry = nth(image, kinds.Decision2, 0)
    cited = next(each for each in Forger(image).entries() if each.seq == entry.body.posture)
    assert "decision.posture" in changed(image, cited, **{field: "f" * 64}).counts


def _to(state: str) -> Callable[[Any], Any]:
    return lambda e: replace(e, body=replace(e.body, state=state))


@pytest.mark.requirement("R5.4")
@pytest.mark.parametrize(("number", "state"), [(0, "missed"), (0, "unknown"), (1, "held")])
def test_a_check_that_is_said_to_have_ended_otherwise_is_found(image: Image, number: int, state: str) -> None:
    """Attack: a missed check is made to have held: the signal that followed from it does not follow any more."""
    forger = Forger(image)
    forger.change(nth(image, kinds.Ensured, number).seq, _to(state), resign=True)
    report = forger.verify()
    assert not report.ok
    assert {"reaction.uncaused", "reaction.missing", "entry.fold", "reaction.changed"} & set(report.counts)


def test_a_check_that_fell_due_while_a_node_ran_and_never_ended_is_found(image: Image) -> None:
    """Attack: the looks at the world are switched off; a record in which every check is pending looks quiet."""
    forger = Forger(image)
    assert forger.verify().ok, "a node that ended before the time was over owes nothing yet"
    last = [entry for entry in forger.entries() if isinstance(entry.body, kinds.Outcome)][-1]
    forger.append(kinds.Health(part="storage", state="ok", detail="late"), "node", later_us=40 * MINUTE_US)
    report = forger.verify()
    assert "check.missing" in report.counts
    assert any(found.entry == last.body.decision for found in report.findings)
