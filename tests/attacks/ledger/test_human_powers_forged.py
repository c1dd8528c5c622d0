"""Human powers forged: the attacker has the file and the log key, but no person's key, and writes what only people can.

The log key signs checkpoints, not orders: an order, and every entry that an order leads to, stands under the key of
the person who gave it (I7).
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.records import Entry
from failwell.identity import keys
from tests.attacks.ledger.judging import Ground, caught
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import replace


def last(ground: Ground, kind: type) -> Entry[Any]:
    return [entry for entry in ground.entries if isinstance(entry.body, kind)][-1]


def test_an_order_nobody_signed(ground: Ground) -> None:
    for entry in ground.entries:
        if not isinstance(entry.body, kinds.Order):
            continue
        text = entry.body.text.replace('"at":"2026', '"at":"2025')
        forger = ground.forger()
        forger.change(entry.seq, lambda e: replace(e, body=replace(e.body, text=text)), resign=True)  # noqa: B023
        report = forger.verify()
        caught(report, code="order.signature")
        assert report.first_bad == entry.seq


def test_an_old_order_played_a_second_time(ground: Ground) -> None:
    for entry in ground.entries:
        if isinstance(entry.body, kinds.Order):
            forger = ground.forger()
            seq = forger.append(entry.body, entry.actor, entry.agent)
            report = forger.verify()
            caught(report)
            assert report.first_bad == seq


def test_what_an_order_leads_to_written_without_one(ground: Ground) -> None:
    mallory = base64.b64encode(keys.from_seed(b"m" * 32).public).decode()
    adopted = last(ground, kinds.ContractAdopted).body
    looser = adopted.document.replace('"at_most":6', '"at_most":600')
    assert looser != adopted.document
    released = kinds.ReleaseApproved(incident=1, person="quan", digest="0" * 64, authority="PROBATION")
    given = kinds.AuthorityChanged(
        was="PROBATION", now="ACTIVE", epoch=9, why="fine", incident=None, by="person:piet"
    )  # fmt: skip
    forged: list[tuple[Any, str, str | None]] = [
        (kinds.PersonEnrolled(person="mallory", key=mallory, roles=("approver",)), "person:olga", None),
        (kinds.HostRegistered(host="evil", key=mallory, agents=(ledgers.AGENT,)), "person:olga", None),
        (kinds.AgentRegistered(name="twin", owner="olga"), "person:olga", "spiffe://shop.example/agent/twin"),
        (kinds.AgentKey(key=mallory, status="active"), "person:olga", ledgers.AGENT),
        (replace(adopted, version=2, digest="0" * 64, document=looser), "person:piet", ledgers.AGENT),
        (kinds.Config(digest="0" * 64, text="{}"), "person:olga", None),
        (kinds.Acknowledged(incident=1, person="quan"), "person:quan", ledgers.AGENT),
        (released, "person:quan", ledgers.AGENT),
        (given, "person:piet", ledgers.AGENT),
    ]
    for body, actor, agent in forged:
        forger = ground.forger()
        seq = forger.append(body, actor, agent)
        report = forger.verify()
        caught(report, code="order.effect")
        assert report.first_bad == seq, (body, report.findings)
        ground.hold(forger)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (kinds.PersonEnrolled, "roles", ("approver", "operator")),
        (kinds.HostRegistered, "agents", ()),
        (kinds.AgentRegistered, "owner", "piet"),
        (kinds.ContractAdopted, "version", 3),
        (kinds.ContractAdopted, "mode", "backtest"),
        (kinds.Config, "digest", "1" * 64),
        (kinds.Acknowledged, "person", "piet"),
        (kinds.ReleaseProposed, "conditions", "none at all"),
        (kinds.ReleaseApproved, "person", "olga"),
    ],
)
def test_an_effect_that_says_something_else_than_the_order_that_was_signed(
    ground: Ground, kind: type, field: str, value: Any
) -> None:
    entry = last(ground, kind)
    forger = ground.forger()
    forger.change(entry.seq, lambda e: replace(e, body=replace(e.body, **{field: value})), resign=True)
    report = forger.verify()
    caught(report, code="order.effect")
    assert report.first_bad == entry.seq


def test_a_contract_loosened_under_its_signatures(ground: Ground) -> None:
    entry = last(ground, kinds.ContractAdopted)
    for was, now in (('"at_most":6', '"at_most":600'), ('"then":"deny"', '"then":"escalate"')):
        document = entry.body.document.replace(was, now)
        assert document != entry.body.document
        forger = ground.forger()
        forger.change(entry.seq, lambda e: replace(e, body=replace(e.body, document=document)), resign=True)  # noqa: B023
        report = forger.verify()
        caught(report)
        assert report.first_bad == entry.seq


def test_a_person_whose_key_was_exchanged_cannot_have_signed_what_they_signed(ground: Ground) -> None:
    enrolled = next(entry for entry in ground.entries if isinstance(entry.body, kinds.PersonEnrolled))
    stranger = base64.b64encode(keys.from_seed(b"z" * 32).public).decode()
    forger = ground.forger()
    forger.change(enrolled.seq, lambda e: replace(e, body=replace(e.body, key=stranger)), resign=True)
    caught(forger.verify(), code="order.signature")
