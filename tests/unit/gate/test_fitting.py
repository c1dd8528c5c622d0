"""Verdicts that no entry has room for: a denial on record, which is answered like any other (I4, I8)."""

from __future__ import annotations

import pytest

from failwell.core import asking, kinds
from failwell.core.records import MAX_ENTRY_BYTES, Draft
from failwell.gate.fitting import MAX_SPOKEN, TOO_MUCH
from tests.property.lives import verified
from tests.unit.gate.house import AGENT, ASK, FINE, House, contract_text, open_house


def clauses(count: int, then: str, severity: str = "minor") -> str:
    """So many clauses that all speak."""
    return "\nclauses:\n" + "".join(
        f"  - {{id: c{number}, {then}: payments.refund, when: context.args.amount > {number}, severity: {severity}}}\n"
        for number in range(count)
    )


@pytest.mark.parametrize("then", ["deny", "escalate"])
def test_as_many_rules_as_an_entry_has_room_for_all_stand_in_it(then: str) -> None:
    house = open_house(clauses(MAX_SPOKEN, then, "critical"))
    verdict = house.ask(house.run())
    assert len(verdict.clauses) == MAX_SPOKEN
    assert house.agent().authority == ("SUSPENDED" if then == "deny" else "ACTIVE")
    assert verified(house) == []
    house.close()


def test_a_denial_by_more_rules_than_that_is_on_record_and_answered_as_the_gravest_of_them() -> None:
    """Attack: rules without end; their signals fitted no commit, so that the denial was lost and nobody suspended."""
    house = open_house(clauses(MAX_SPOKEN + 1, "deny", "critical"))
    verdict = house.ask(house.run())
    assert (verdict.verdict, verdict.clauses, verdict.because) == ("DENY", ("evaluation.error",), TOO_MUCH)
    assert house.agent().authority == "SUSPENDED"
    assert verified(house) == []
    house.close()


@pytest.mark.parametrize(("limits", "said"), [(40, "ALLOW"), (60, "DENY")])
def test_a_chain_of_many_limits_is_allowed_while_its_decision_fits_an_entry_and_denied_on_record_beyond(
    limits: int, said: str
) -> None:
    """Attack: work handed on until its decision fits no entry; each try dropped a whole batch, and left no trace."""
    names = ["planner-one", "planner-two", "planner-three", "planner-four", "refund-bot"]
    agents = [f"spiffe://shop.example/team-of-refunds-and-returns/agent/{name}" for name in names]
    rules = "\nlimits:\n" + "".join(
        f"  - {{id: customers-and-orders-{number}, count: payments.refund, at_most: 9, per: 1h, keys: [order_id], "
        "then: deny}\n"
        for number in range(limits)
    )
    house = House()
    house.people()
    run = None
    for agent in agents:
        house.register(agent)
    for agent, after in zip(agents, [*names[1:], None], strict=True):
        house.adopt(contract_text(rules + (f"delegates: [{after}]\n" if after else ""), agent=agent))
        run = house.run(agent, parent=run)
    verdict = house.ask(run, agent=agents[-1])
    stored = house.storage.entry(verdict.entry)
    assert stored is not None
    assert len(stored.data) <= MAX_ENTRY_BYTES
    assert (verdict.verdict, verdict.clauses) == (said, () if said == "ALLOW" else ("evaluation.error",))
    assert verified(house) == []
    house.close()


@pytest.mark.parametrize("observed", [False, True])
def test_a_floor_or_contract_that_cannot_be_read_denies_on_record(observed: bool) -> None:
    """Attack: what an older release put in force and this one cannot read; the denial itself could not be written."""
    house = open_house()
    floor = kinds.FloorAdopted(
        floor="company", version=1, digest="cd" * 32, scope="organisation", signer="olga", approver="piet", document="{"
    )
    contract = kinds.ContractAdopted(
        contract="refund-bot", version=2, digest="ab" * 32, owner="olga", approver="piet", document="{", mode="live"
    )
    run = house.run()
    if observed:
        house.write(Draft(body=contract, actor="eve", agent=AGENT))
        house.state.change("agent", AGENT, authority="OBSERVED", observed_until_us=house.state.last_at_us + 10**12)
    else:
        house.write(Draft(body=floor, actor="eve"))
    verdict = house.ask(run, FINE)
    assert (verdict.verdict, verdict.clauses) == ("DENY", ("evaluation.error",))
    assert (verdict.may_start, verdict.irreversible) == (observed, observed)
    assert house.bodies(kinds.Decision2)[-1].governed is not observed
    house.close()


def test_a_question_to_thousands_of_reviewers_fits_its_entry_and_some_of_them_answer_it() -> None:
    """The names of all of them had no room in the ticket's entry, and the whole decision was lost with it."""
    house = open_house()
    many = [f"reviewer-of-the-claims-desk-{number:04}" for number in range(2500)]
    house.write(
        *(
            Draft(body=kinds.PersonEnrolled(person=name, key="k", roles=("reviewer",)), actor="person:olga")
            for name in many
        )
    )
    verdict = house.ask(house.run(), ASK)
    assert (verdict.verdict, verdict.ticket) == ("ESCALATE", str(verdict.entry))
    row = house.state.ticket[verdict.entry]
    assert row.asked == tuple(many[: asking.ASKED_AT_ONCE])
    assert asking.may_answer(house.state, row, many[0])
    assert not asking.may_answer(house.state, row, many[-1])
    assert verified(house) == []
    house.close()
