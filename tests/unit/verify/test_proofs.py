"""That channels reach people, told otherwise in the record: by others' word, by what was not asked, never asked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failwell.core import kinds, orders
from failwell.core.records import Draft
from failwell.identity import persons
from failwell.ledger.jobs import Plan, Turn
from failwell.ledger.orders import admit
from tests.unit.gate.house import House
from tests.unit.response.asking import house_of
from tests.unit.response.test_proofs import CHANNELS, DAY_US, KEYS, ask, confirm, due, heard
from tests.unit.verify.test_cases import HEALTHY, found, told

replace = msgspec.structs.replace
ASKED, PROVEN, PAGE = kinds.ChannelAsked, kinds.ChannelProven, kinds.PageQueued4


@pytest.fixture(scope="module")
def lived() -> House:
    """Asked by order and given back; asked for another by an operator; asked by the clock; taken at a service."""
    house = house_of(CHANNELS)
    confirm(house, ask(house, channel="email"), channel="email")
    ask(house, "piet")
    due(house, ("pager", "olga"))
    heard(house)
    return house


def test_honest_proofs_have_no_finding(lived: House) -> None:
    assert found(lived) == set()
    assert [body.how for body in lived.bodies(PROVEN)] == ["code", "pagerduty"]


@pytest.mark.parametrize(
    ("kind", "number", "fields"),
    [
        (ASKED, 0, {"person": "piet"}),
        (ASKED, 0, {"channel": "pager"}),
        (ASKED, 0, {"due_us": 2**53}),
        (ASKED, 0, {"page": 77}),
        (ASKED, 1, {"person": "olga"}),
        (ASKED, 2, {"person": "nobody"}),
        (ASKED, 2, {"channel": "room"}),
        (PROVEN, 0, {"person": "piet"}),
        (PROVEN, 0, {"how": "link"}),
        (PROVEN, 0, {"how": "said so"}),
        (PROVEN, 0, {"token": "0" * 64}),
        (PROVEN, 0, {"asked": 1}),
        (PROVEN, 1, {"how": "code"}),
        (PROVEN, 1, {"person": "piet"}),
        (PAGE, 0, {"person": "piet"}),
        (PAGE, 3, {"about": "proof"}),
    ],
)
def test_a_proof_told_otherwise_is_found(lived: House, kind: type, number: int, fields: dict[str, Any]) -> None:
    seq, body = told(lived, kind, number)
    assert found(lived, {seq: replace(body, **fields)})


@pytest.mark.parametrize(("kind", "number"), [(ASKED, 0), (ASKED, 2), (PROVEN, 0), (PROVEN, 1), (PAGE, 0)])
def test_an_entry_of_it_that_says_something_else_is_found(lived: House, kind: type, number: int) -> None:
    seq, _ = told(lived, kind, number)
    assert found(lived, {seq: HEALTHY})


@pytest.mark.parametrize("actor", ["node", "person:olga", "response"])
def test_a_code_that_nobody_gave_back_is_found(actor: str) -> None:
    """Attack: a channel that reaches nobody is made to look proven."""
    house = house_of(CHANNELS)
    ask(house)
    row = house.state.channel["pager olga"]
    body = PROVEN(channel="pager", person="olga", how="code", asked=row.asked or 0, token=row.token or "")
    house.write(Draft(body=body, actor=actor))
    assert found(house)


@pytest.mark.requirement("R12.17")
def test_an_asking_that_no_clock_and_nobody_ordered_is_found() -> None:
    house = house_of(CHANNELS)
    confirm(house, ask(house))
    now, page = house.state.last_at_us, house.state.pages + 1
    body = ASKED(channel="pager", person="olga", page=page, token=KEYS.digest(page), due_us=now + DAY_US)
    house.write(Draft(body=body, actor="node"))
    assert {code for code, _ in found(house)} == {"channel.asked"}


@pytest.mark.requirement("R12.16")
@pytest.mark.parametrize("by", ["olga", "piet"])
def test_whoever_gives_back_for_another_is_found_although_they_signed_it(by: str) -> None:
    """Attack: a node that was changed lets an operator say that everybody was reached."""
    house = house_of(CHANNELS)
    ask(house, "piet")
    row = house.state.channel["pager piet"]
    signed = house.sign(by, "channel.confirm", orders.ChannelConfirm(channel="pager", person="piet"))
    body = PROVEN(channel="pager", person="piet", how="code", asked=row.asked or 0, token=row.token or "")

    def job(turn: Turn) -> Plan[None]:
        order, draft = admit(turn, signed, persons.verify_order, wanted="channel.confirm", source="node")
        proven = Draft(body=body, actor=f"person:{order.person}", refs=(turn.seq, body.asked))
        return Plan((draft, proven), lambda entries: None)

    house.do(job)
    assert bool(found(house)) is (by == "olga")
