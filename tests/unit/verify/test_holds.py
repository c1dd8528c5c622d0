"""Holds in a record that was rewritten: who placed and lifted them, what was preserved, what passed before its time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.core.instants import format_at, parse_at
from failwell.core.records import Draft, Entry
from failwell.gate import registry
from failwell.identity import persons
from failwell.node import settings
from failwell.response import cases, holds
from failwell.response import orders as response
from failwell.response.copies import Copied, keep_copy
from failwell.response.said import Said
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace
from tests.unit.verify.ledgers import AGENT, CONTRACT, Made

SETTINGS = '[preserve.bot]\nagent = "refund-bot"\ndirectories = ["/srv/bot"]\n[keepers]\n"payments.*" = "quan"\n'
LOOSER = CONTRACT.replace("version: 1", "version: 2").replace("at_most: 6", "at_most: 7")
LOOSEST = CONTRACT.replace("version: 1", "version: 3").replace("at_most: 6", "at_most: 8")


def give(made: Made, person: str, kind: str, details: orders.Details) -> str:
    """Carry out an order; its digest."""
    signed = made.sign(person, kind, details)
    jobs = {**cases.JOBS, **holds.JOBS}
    made.do(jobs[kind](signed, persons.verify_order, Said()))
    return orders.order_digest(orders.parse_order(signed.order))


def life(made: Made) -> None:
    """A suspension, a serious incident and its authority, a looser contract; a hold of a person, lifted by two."""
    ledgers.begin(made)
    made.write(Draft(body=kinds.ResponseRules(version=2), actor="node"))
    text = settings.settings_text(settings.parse_settings(SETTINGS))
    digest = hashlib.sha256(text.encode()).hexdigest()
    change = orders.ConfigApply(settings=digest, previous=made.book.state.configuration)
    made.do(registry.apply_config(made.sign("olga", "config.apply", change), text, digest, persons.verify_order))
    made.run()
    stop = orders.AgentSuspend(agent=AGENT, reason="it harms")
    made.do(response.suspend(made.sign("quan", "agent.suspend", stop), persons.verify_order, source="node"))
    give(made, "quan", "incident.serious", orders.IncidentSerious(incident=1, reason="health data"))
    told = orders.IncidentInform(
        incident=1, authority="the authority", at=format_at(made.book.state.last_at_us), complete=False, words=None
    )
    give(made, "olga", "incident.inform", told)
    ledgers.adopt(made, LOOSER)
    copied = Copied(
        hold=1, directory="/srv/bot", files=1, bytes=5, digest="ab" * 32, listing="cd" * 32,
        secret={"key": "0" * 64, "salt": "0" * 32}, missing=("1 files that could not be read",), took_us=7,
    )  # fmt: skip
    made.do(keep_copy(copied))
    give(made, "quan", "hold.place", orders.HoldPlace(agent=AGENT, incident=None, reason="a lawyer wrote"))
    proposal = give(made, "olga", "hold.propose", orders.HoldPropose(hold=2, reason="it is settled"))
    give(made, "piet", "hold.lift", orders.HoldLift(hold=2, proposal=proposal))
    ledgers.adopt(made, LOOSEST)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    path: Path = tmp_path_factory.mktemp("holds") / "shop"
    with ledgers.fresh(path) as made:
        life(made)
    return Image(path)


def nth(image: Image, kind: type, number: int = 0) -> Entry[Any]:
    return [entry for entry in Forger(image).entries() if isinstance(entry.body, kind)][number]


def found(image: Image, entry: Entry[Any], how: Callable[[Entry[Any]], Entry[Any]]) -> set[tuple[str, int | None]]:
    """What is found in a record in which an entry says something else, all hashes made new."""
    forger = Forger(image)
    forger.change(entry.seq, how, resign=True)
    return {(finding.code, finding.entry) for finding in forger.verify().findings}


def said(**fields: Any) -> Callable[[Entry[Any]], Entry[Any]]:
    return lambda entry: replace(entry, body=replace(entry.body, **fields))


def test_an_honest_record_of_holds_has_no_finding(image: Image) -> None:
    report = Forger(image).verify()
    assert report.ok, report.findings
    assert {"hold.placed", "hold.described", "preservation.asked", "directory.preserved", "hold.proposed",
            "hold.lifted", "authority.informed"} <= {entry.kind for entry in Forger(image).entries()}  # fmt: skip


@pytest.mark.parametrize("kind", [kinds.HoldDescribed, kinds.PreservationAsked])
def test_what_a_hold_says_by_rule_is_not_said_otherwise(image: Image, kind: type) -> None:
    entry = nth(image, kind)
    changed = {"authority": "ACTIVE"} if kind is kinds.HoldDescribed else {"person": "piet"}
    placed = nth(image, kinds.HoldPlaced).seq
    assert ("reaction.changed", placed) in found(image, entry, said(**changed))
    by_another = found(image, entry, lambda each: replace(each, actor="node"))
    assert ("hold", entry.seq) in by_another


@pytest.mark.parametrize(
    "how", [said(why="nothing in particular"), said(first=9), lambda entry: replace(entry, actor="person:piet")]
)
@pytest.mark.requirement("R9.20")
def test_a_hold_that_nobody_ordered_so_is_found(image: Image, how: Callable[[Entry[Any]], Entry[Any]]) -> None:
    entry = nth(image, kinds.HoldPlaced, 1)
    assert ("hold", entry.seq) in found(image, entry, how)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (kinds.HoldProposed, {"why": "it is in the way"}),
        (kinds.HoldProposed, {"person": "quan"}),
        (kinds.HoldLifted, {"person": "quan"}),
        (kinds.AuthorityInformed, {"authority": "nobody"}),
        (kinds.AuthorityInformed, {"informed_at": format_at(parse_at("2020-01-01T00:00:00.000000Z"))}),
        (kinds.AuthorityInformed, {"complete": True}),
    ],
)
def test_what_people_said_of_a_hold_or_an_authority_is_what_their_order_says(
    image: Image, kind: type, fields: dict[str, Any]
) -> None:
    entry = nth(image, kind)
    assert ("order.effect", entry.seq) in found(image, entry, said(**fields))


@pytest.mark.requirement("R9.17")
def test_a_looser_contract_of_before_the_authority_was_informed_is_found(image: Image) -> None:
    """Attack: the lock was opened by nothing; the entry that opened it is put in place of another word afterwards."""
    entry = nth(image, kinds.AuthorityInformed)
    seen = kinds.Seen(incident=1, person="olga", what="show")
    wrong = found(image, entry, lambda each: replace(each, body=seen, kind="seen"))
    adopted = [each.seq for each in Forger(image).entries() if isinstance(each.body, kinds.ContractAdopted)]
    assert {("hold", adopted[1]), ("hold", adopted[2]), ("hold", nth(image, kinds.HoldLifted).seq)} <= wrong


@pytest.mark.parametrize(
    "fields", [{"missing": None}, {"complete": True}, {"digest": None}, {"listing": None}, {"files": -1}]
)
def test_a_copy_that_says_of_itself_what_cannot_be_is_found(image: Image, fields: dict[str, Any]) -> None:
    entry = nth(image, kinds.DirectoryPreserved)
    assert ("hold", entry.seq) in found(image, entry, said(**fields))


def test_a_copy_of_nothing_that_was_owed_does_not_follow(image: Image) -> None:
    entry = nth(image, kinds.DirectoryPreserved)
    assert ("entry.fold", entry.seq) in found(image, entry, said(name="/etc"))
