"""What people ordered about an incident, left out of the record, done twice, or without the words that belong to it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failwell.core import kinds, orders
from failwell.core.records import Body, Draft
from failwell.identity import persons
from failwell.response import releases
from failwell.response.said import Said
from tests.unit.gate.house import AGENT, House
from tests.unit.response import casework
from tests.unit.response.casework import SALT, opened, words
from tests.unit.verify.test_cases import found, told

WORDS = {"text": "it looped", "salt": SALT.hex()}
NOTE = orders.IncidentNote(incident=1, sort="note", words=words("it looped"), cites=())
LEFT_OUT: list[tuple[str, orders.Details]] = [
    ("incident.serious", orders.IncidentSerious(incident=1, reason="health data")),
    ("incident.note", NOTE),
    ("incident.acknowledge", orders.IncidentAcknowledge(incident=1)),
    ("hold.place", orders.HoldPlace(agent=None, incident=None, reason="keep it")),
    ("incident.report", orders.IncidentReport(
        agent=None, report="real", severity="major", title="a customer called", words=None, aware=None, first=None,
        last=None,
    )),
]  # fmt: skip


def said(house: House, kind: str, details: orders.Details, *effects: Body, secret: Any = None, cites: int = 0) -> int:
    """A genuine order of rita as a node carries it out that leaves out, or does twice; the order's entry."""
    signed = house.sign("rita", kind, details)
    order = kinds.Order(
        order=kind, person="rita", key=signed.key, text=signed.order, signature=signed.signature, source="node"
    )
    seq = house.state.size
    drafts = (
        Draft(body=body, actor="person:rita", agent=AGENT, refs=(cites or seq,), secret=secret) for body in effects
    )
    house.write(Draft(body=order, actor="person:rita", agent=AGENT), *drafts)
    return seq


def note(number: int) -> kinds.IncidentNoted:
    return kinds.IncidentNoted(
        incident=1, note=number, sort="note", person="rita", words=words("it looped"), cites=()
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "details"), LEFT_OUT)
@pytest.mark.requirement("R22.12")
def test_an_order_that_nothing_came_of_is_found(kind: str, details: orders.Details) -> None:
    """Attack: the mark with legal consequence is ordered, and whoever runs the node leaves out the mark."""
    house = opened()
    seq = said(house, kind, details)
    assert found(house) == {("order.followed", seq + 1)}
    house.acknowledge("quan")
    assert found(house) == {("order.followed", seq + 1)}


@pytest.mark.requirement("R22.13")
def test_an_order_that_was_carried_out_twice_or_under_anothers_entry_is_found() -> None:
    house = opened()
    seq = said(house, "incident.note", NOTE, note(1), secret=WORDS)
    assert found(house) == set()
    again = said(house, "incident.note", NOTE, note(2), note(3), secret=WORDS)
    assert found(house) == {("order.followed", again + 2)}
    other = said(house, "incident.note", NOTE, note(4), secret=WORDS, cites=seq)
    assert ("order.followed", other + 1) in found(house)


def test_words_that_were_left_out_of_what_a_person_wrote_are_found() -> None:
    house = opened()
    seq = said(house, "incident.note", NOTE, note(1))
    assert found(house) == {("order.followed", seq + 1)}


@pytest.mark.parametrize("fields", [{"incident": 2}, {"epoch": 9}, {"why": "two persons released it"}])
@pytest.mark.requirement("R23.24")
def test_authority_that_one_alone_gave_back_told_otherwise_is_found(fields: dict[str, Any]) -> None:
    house = opened()
    casework.end_actions(house)
    details = orders.ReleaseBreak(incident=1, agent=AGENT, reason="the shop is down", minutes=10)
    house.do(releases.break_release(house.sign("olga", "release.break", details), persons.verify_order, Said()))
    assert found(house) == set()
    seq, body = told(house, kinds.AuthorityChanged)
    assert found(house, {seq: msgspec.structs.replace(body, **fields)})


def test_who_took_a_case_told_otherwise_is_found() -> None:
    house = opened()
    house.acknowledge("rita")
    seq, body = told(house, kinds.IncidentUpdated)
    assert found(house, {seq: msgspec.structs.replace(body, note="taken by quan")})
