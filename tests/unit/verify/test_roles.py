"""Real signatures of people who could not have given the order: a role they lack, an agent they do not own (I7).

Attack: whoever writes the ledger has one or two people's keys, but not those of an owner and an approver.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from failwell.core import contract as contracts
from failwell.core import kinds, orders
from failwell.core.records import Draft
from failwell.identity import keys, persons
from failwell.response import orders as response
from failwell.response import releases
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image
from tests.unit.verify.ledgers import AGENT, Made


def said_of(path: Path, made: Made, signed: Sequence[orders.SignedOrder], body: Any, agent: str | None = None) -> str:
    """What verification says after these orders and what they led to were written past every door."""
    drafts = []
    for one in signed:
        order = orders.parse_order(one.order)
        entry = kinds.Order(
            order=order.order, person=order.person, key=one.key, text=one.order, signature=one.signature, source="node"
        )
        drafts.append(Draft(body=entry, actor=f"person:{order.person}", agent=agent))
    made.write(*drafts, Draft(body=body, actor=drafts[-1].actor, agent=agent))
    made.writer.close()
    return " ".join(finding.message for finding in Forger(Image(path)).verify().findings)


@pytest.mark.parametrize(
    ("signer", "approver", "owner", "said"),
    [
        ("olga", "quan", "olga", "quan, who ordered contract.adopt, is no approver"),
        ("quan", "piet", "quan", "quan, who signed it, does not own the agent"),
        ("quan", "piet", "olga", "quan, who signed it, does not own the agent"),
        ("olga", "piet", "quan", "names another owner or approver"),
    ],
)
def test_a_contract_that_its_owner_and_an_approver_did_not_sign_is_found(
    tmp_path: Path, signer: str, approver: str, owner: str, said: str
) -> None:
    path = tmp_path / "shop"
    text = ledgers.CONTRACT.replace("version: 1", "version: 2").replace("owner: olga", f"owner: {owner}")
    loaded = contracts.load(text, name="contract.yaml")
    named: dict[str, Any] = {"contract": loaded.contract, "version": 2, "digest": contracts.digest(loaded)}
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        first = made.sign(signer, "contract.sign", orders.ContractSign(**named))
        cited = orders.order_digest(orders.parse_order(first.order))
        second = made.sign(approver, "contract.adopt", orders.ContractAdopt(**named, signed=cited))
        body = kinds.ContractAdopted(
            **named, owner=owner, approver=approver, document=contracts.to_canonical(loaded).decode(), mode="live"
        )
        assert said in said_of(path, made, (first, second), body, AGENT)


def test_what_takes_an_operator_and_was_ordered_by_another_is_found(tmp_path: Path) -> None:
    key = keys.from_seed(b"z" * 32)
    public = base64.b64encode(key.public).decode()
    for number, kind in enumerate(("person.enrol", "host.register", "config.apply")):
        path = tmp_path / f"shop{number}"
        with ledgers.fresh(path) as made:
            ledgers.begin(made)
            details: orders.Details
            body: Any
            if kind == "person.enrol":
                proof = persons.prove_enrolment(persons.Signer("zoe", key), made.origin)
                details = orders.PersonEnrol(person="zoe", key=public, proof=proof, roles=("approver",), contact=None)
                body = kinds.PersonEnrolled(person="zoe", key=public, roles=("approver",))
            elif kind == "host.register":
                details = orders.HostRegister(host="web", key=public, agents=(AGENT,))
                body = kinds.HostRegistered(host="web", key=public, agents=(AGENT,))
            else:
                was = made.book.state.configuration
                details = orders.ConfigApply(settings="ab" * 32, previous=str(was))
                body = kinds.Config(digest="ab" * 32, text="{}")
            signed = made.sign("quan", kind, details)
            assert f"quan, who ordered {kind}, is no operator" in said_of(path, made, (signed,), body)


def test_a_release_that_no_approver_gave_or_the_one_who_suspended_is_found(tmp_path: Path) -> None:
    for number, (approver, said) in enumerate(
        (("quan", "quan, who ordered release.approve, is no approver"), ("piet", "piet suspended the agent"))
    ):
        path = tmp_path / f"shop{number}"
        with ledgers.fresh(path) as made:
            ledgers.begin(made)
            stop = made.sign("piet", "agent.suspend", orders.AgentSuspend(agent=AGENT, reason="mine"), shown="0" * 64)
            made.do(response.suspend(stop, persons.verify_order, source="node"))
            attempt = kinds.PageAttempted(
                page=1, attempt=1, accepted=True, detail="250 ok", checkpoint=9, next_due_us=None
            )
            made.write(Draft(body=attempt, actor="node", agent=AGENT))
            taken = made.sign("olga", "incident.acknowledge", orders.IncidentAcknowledge(incident=1))
            made.do(response.acknowledge(taken, persons.verify_order))
            propose = orders.ReleasePropose(
                incident=1, agent=AGENT, authority="PROBATION", conditions="mended", evidence=(3,)
            )
            proposed = made.sign("olga", "release.propose", propose)
            made.do(releases.propose_release(proposed, persons.verify_order))
            cited = orders.order_digest(orders.parse_order(proposed.order))
            details = orders.ReleaseApprove(incident=1, agent=AGENT, proposal=cited)
            signed = made.sign(approver, "release.approve", details)
            body = kinds.ReleaseApproved(incident=1, person=approver, digest=cited, authority="PROBATION")
            assert said in said_of(path, made, (signed,), body, AGENT)
