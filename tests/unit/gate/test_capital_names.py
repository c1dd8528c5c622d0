"""Arguments with capital letters from the contract to the record: judged, counted and asked by their names, recorded
under keys that entries take, verified again from the record alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from failwell.core import canonical, kinds
from failwell.core import contract as contracts
from failwell.core.contract import Looked
from failwell.core.contract.diff import diff
from failwell.core.contract.explain import explain, outline
from failwell.core.contract.json_schema import tightened
from failwell.gate.ensured import owed_besides
from failwell.gate.verdicts import Asked, Proposal, Unanswered, Verdict
from tests.unit.gate.house import AGENT, House, contract_text, open_house
from tests.unit.verify.test_uses import decisions, forge, found, replace

#: `factsPaid` and `facts.paid`, `argsDryRun` and `dryRun`: what a looser spelling would take for the same.
TOOLS = """
  - tool: entities.delete
    effect: irreversible
    executor: supervised
    custody: none
    deadline: 10s
    arguments:
      {ownerId: "string(1..40)", entityNames: "list(string(1..40), max 9)", totalAmount: "money(2, 0..1000)",
       dryRun: bool, factsPaid: "money(2, 0..1000)", argsDryRun?: "string(1..9)", note?: "string(1..9)"}
    affects: {customer: ownerId, amount: totalAmount}
    public: [totalAmount, dryRun, factsPaid, facts.paid]
    subject: ownerId
    facts: {paid: {lookup: orders.paid, with: [ownerId, dryRun, argsDryRun], type: "money(2, 0..1000)"}}
    ensure:
      {gone: {lookup: entities.gone, with: [entityNames, dryRun], type: bool, is: true, within: 30s, severity: minor}}
"""
RULES = """
clauses:
  - {id: for-real, escalate: entities.delete, when: "!context.args.dryRun", severity: minor}
  - {id: over-paid, deny: entities.delete, when: context.args.factsPaid > context.facts.paid, severity: minor}
  - id: told
    deny: entities.delete
    when: context.args has argsDryRun && context.args.argsDryRun == "no"
limits:
  - {id: worth, sum: entities.delete.totalAmount, at_most: 3000, per: 1h, keys: [ownerId], each: [subject], then: deny}
  - {id: once, once_per: entities.delete, keys: [entityNames], then: record}
  - {id: blast, blast: amount, at_most: 90000, per: 1d, then: deny}
"""


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    made = open_house(RULES, tools=TOOLS)
    yield made
    made.close()


def propose(house: House, **changed: Any) -> Proposal:
    house.calls += 1
    arguments = {
        "ownerId": f"o-{house.calls}", "entityNames": [f"e-{house.calls}"], "totalAmount": "10.00", "dryRun": True,
        "factsPaid": "20.00", **changed,
    }  # fmt: skip
    return Proposal(
        agent=AGENT, run=house.run(), call=f"call-{house.calls}", tool="entities.delete",
        arguments=json.dumps(arguments).encode(), reason=None,
    )  # fmt: skip


def ask(house: House, *, paid: str = "50.00", **changed: Any) -> tuple[Verdict, Unanswered]:
    proposal = propose(house, **changed)
    asked = house.do(house.gate.decide(proposal))
    assert isinstance(asked, Unanswered)
    answer = Looked(source="orders.paid", state="answered", elapsed_us=900, value=paid)
    verdict = house.do(house.gate.decide(proposal, Asked(answers={"paid": answer}, contract=asked.contract)))
    assert isinstance(verdict, Verdict)
    return verdict, asked


def body(house: House, verdict: Verdict) -> kinds.Decision2:
    found: kinds.Decision2 = house.entries(verdict.entry)[0].body
    return found


@pytest.mark.requirement("R14.7")
def test_a_decision_on_names_with_capital_letters_is_recorded_under_keys_that_entries_take(house: House) -> None:
    verdict, asked = ask(house, ownerId="o-1")
    assert verdict.verdict == "ALLOW"
    assert asked.questions[0].arguments == {"ownerId": "o-1", "dryRun": True, "argsDryRun": None}
    facts = body(house, verdict).facts
    assert {key: (fact.value, fact.provenance) for key, fact in facts.items()} == {
        "args.owner.id": (None, "asserted"), "args.entity.names": (None, "asserted"),
        "args.total.amount": (1000, "asserted"), "args.dry.run": (True, "asserted"),
        "args.facts.paid": (2000, "asserted"), "args.args.dry.run": (None, "absent"), "note": (None, "absent"),
        "facts.paid": (5000, "verified"),
    }  # fmt: skip
    data = house.storage.entry(verdict.entry)
    assert data is not None
    assert canonical.decode(data.data)["body"]["facts"].keys() == facts.keys()
    assert house.secret(verdict.entry)["facts"]["args.owner.id"] == "o-1"
    assert body(house, verdict).customer is not None


def test_clauses_and_limits_read_them_by_their_names(house: House) -> None:
    assert ask(house, dryRun=False)[0].clauses == ("for-real",)
    assert ask(house, argsDryRun="no")[0].clauses == ("told",)
    assert ask(house, factsPaid="50.01")[0].clauses == ("over-paid",)
    # Attack: the agent's own word in the place of what the source said.
    assert ask(house, factsPaid="50.01", paid="0.00")[0].clauses == ("over-paid",)
    assert house.decide(propose(house, dryrun=False)).clauses == ("arguments",)
    assert house.decide(propose(house, **{"args.dry.run": "False"})).clauses == ("arguments",)
    first, second = ask(house, ownerId="two", totalAmount="25.00")[0], ask(house, ownerId="two", totalAmount="6.00")[0]
    assert (first.verdict, second.verdict, second.clauses) == ("ALLOW", "DENY", ("worth",))
    assert ask(house, entityNames=["x"])[0].clauses == ()
    assert ask(house, entityNames=["x"])[0].clauses == ("once",)


def test_what_was_owed_after_the_act_is_asked_with_the_names_of_the_tool(house: House) -> None:
    verdict, _ = ask(house, entityNames=["a", "b"])
    house.settle(verdict.entry)
    (owing,) = [each for each in house.do(owed_besides(frozenset())) if each.key.startswith(str(verdict.entry))]
    assert owing.arguments == {"entityNames": ["a", "b"], "dryRun": True}


@pytest.mark.requirement("R14.8")
def test_the_record_of_it_verifies_and_a_second_spelling_or_another_amount_is_found(house: House) -> None:
    """Attack: with all hashes made anew, a fact is renamed, or said to be what a source said."""
    verdict, _ = ask(house, ownerId="nine")
    assert found(house, house.entries()) == []
    facts = body(house, verdict).facts
    (entry,) = [each for each in decisions(house) if each.seq == verdict.entry]
    (worth,) = [use for use in entry.body.uses if use.limit == "worth"]
    assert worth.adds == 1000

    def moved(old: str, new: str, **changed: Any) -> dict[str, kinds.Fact]:
        kept = {key: fact for key, fact in facts.items() if key != old}
        return kept | {new: replace(facts[old], **changed)}

    for forged in (
        moved("note", "args.note"), moved("args.dry.run", "args.dry.run."), moved("args.dry.run", "dry.run"),
        moved("args.facts.paid", "facts.spent"), moved("args.facts.paid", "args.facts.paid", provenance="verified"),
        moved("facts.paid", "args.facts.paid"), {**facts, "args.amount": facts["note"]},
    ):  # fmt: skip
        assert "decision.fact" in {code for code, _, _ in forge(house, verdict.entry, facts=forged)}, forged
    more = moved("args.total.amount", "args.total.amount", value=1)
    assert any("limit worth does not take 1000" in said for _, _, said in forge(house, verdict.entry, facts=more))


def test_people_and_agents_read_the_names_of_the_tool() -> None:
    contract = contracts.load(contract_text(RULES, tools=TOOLS), name="contract.yaml")
    wider = contracts.load(
        contract_text(
            RULES,
            tools=TOOLS.replace("dryRun: bool", "dryRun?: bool")
            .replace("with: [ownerId, dryRun, argsDryRun]", "with: [ownerId]")
            .replace("[entityNames, dryRun]", "[entityNames]")
            .replace("[totalAmount, dryRun, ", "[totalAmount, "),
        ).replace("!context.args.dryRun", "false"),
        name="x",
    )
    assert contracts.from_canonical(contracts.to_canonical(contract)) == contract
    read = "\n".join(line for part in explain(contract) for line in part.lines)
    outlined, changes = "\n".join(outline(contract)), {each.about for each in diff(contract, wider)}
    for name in ("dryRun", "entityNames", "argsDryRun", "totalAmount", "factsPaid"):
        assert name in read + outlined
    assert "args." not in read
    assert "entities.delete: argument dryRun" in changes
    (tool,) = contract.tools
    shown = tightened({"properties": {"dryRun": {"type": "boolean"}, "other": {}}}, tool)
    assert list(shown["properties"]) == [argument.name for argument in tool.arguments]
    assert "dryRun" in shown["required"]


def test_what_looks_personal_or_like_another_name_is_told_with_capital_letters_too() -> None:
    text = contract_text(
        "",
        tools=TOOLS.replace("public: [", "public: [userEmail, ").replace("note?:", 'userEmail: "string(1..9)", note?:'),
    )
    warned = [each.problem for each in contracts.lint(text, name="x", today="2026-11-23")]
    assert "entities.delete: userEmail is public and looks personal." in warned
    close = contract_text(RULES.replace("!context.args.dryRun", "!context.args.dryrun"), tools=TOOLS)
    found = [each.mend for each in contracts.lint(close, name="x", today="2026-11-23") if each.level == "error"]
    assert found == ["Did you mean context.args.dryRun?"]
