"""Answers without a key, told otherwise in the record: by others, of what was never sent, too late, or left out."""

from __future__ import annotations

from itertools import product
from typing import Any

import msgspec
import pytest

from failwell.core import kinds
from failwell.core.errors import Corrupt
from failwell.core.escalation.answered import GOOD_FOR_US
from failwell.core.records import Draft
from failwell.response import answers
from tests.attacks.test_answers_forged import KEYS, PATH, asked, carry, heard, link, page_of
from tests.unit.gate.house import AGENT, HOUR_US, MINUTE_US, House
from tests.unit.response.asking import after, opened
from tests.unit.response.given import later
from tests.unit.verify.test_cases import HEALTHY, found, told

replace = msgspec.structs.replace
ANSWERED, TAKEN, ATTEMPTED = kinds.PageAnswered, kinds.Acknowledged2, kinds.PageAttempted2


@pytest.fixture(scope="module")
def lived() -> House:
    """Taken by a link, asked anew after two hours, taken by the word of an on-call service."""
    house = asked()
    link(house, "quan")()
    after(house, 2 * HOUR_US)
    after(house, MINUTE_US)
    for page in list(house.state.page):
        carry(house, page)
    heard(house)()
    later(house, 0)
    return house


def test_honest_answers_have_no_finding(lived: House) -> None:
    assert found(lived) == set()
    assert [body.how for body in lived.bodies(ANSWERED)] == ["link", "pagerduty"]


@pytest.mark.parametrize(
    ("kind", "number", "fields"),
    [
        (ANSWERED, 0, {"person": "olga"}),
        (ANSWERED, 0, {"token": "0" * 64}),
        (ANSWERED, 0, {"page": 1}),
        (ANSWERED, 0, {"how": "pagerduty"}),
        (ANSWERED, 0, {"how": "said so"}),
        (ANSWERED, 1, {"how": "link"}),
        (ANSWERED, 1, {"person": "nobody"}),
        (ATTEMPTED, 1, {"token": None}),
        (ATTEMPTED, 1, {"token": "0" * 64}),
        (TAKEN, 0, {"person": "olga"}),
        (TAKEN, 0, {"by": "order"}),
        (TAKEN, 0, {"page": 1}),
    ],
)
def test_an_answer_told_otherwise_is_found(lived: House, kind: type, number: int, fields: dict[str, Any]) -> None:
    seq, body = told(lived, kind, number)
    assert found(lived, {seq: replace(body, **fields)})


@pytest.mark.parametrize(("kind", "number"), [(ANSWERED, 0), (ANSWERED, 1), (TAKEN, 0), (TAKEN, 1), (ATTEMPTED, 1)])
def test_an_entry_of_it_that_says_something_else_is_found(lived: House, kind: type, number: int) -> None:
    seq, _ = told(lived, kind, number)
    assert found(lived, {seq: HEALTHY})


def answer(house: House, **changes: Any) -> Draft:
    page = page_of(house, "quan")
    plain: dict[str, Any] = {
        "page": page, "how": "link", "token": KEYS.digest(page), "person": "quan", "detail": "", "actor": "node",
    }  # fmt: skip
    fields = {**plain, **changes}
    actor = fields.pop("actor")
    return Draft(body=ANSWERED(**fields), actor=actor, agent=AGENT)


@pytest.mark.parametrize("actor", ["person:quan", "response", "host:shop"])
def test_an_answer_by_anybody_but_the_node_that_took_it_is_found(actor: str) -> None:
    house = asked()
    house.write(answer(house, actor=actor))
    assert found(house)


@pytest.mark.requirement("R10.97")
def test_an_incident_that_was_taken_by_nobodys_answer_is_found() -> None:
    """Attack: whoever keeps the log writes that somebody took it by a link, and nobody is asked any more."""
    for actor, by in product(("response", "node", "person:quan", "host:shop"), ("link", "order")):
        house = asked()
        body = TAKEN(incident=1, person="quan", by=by, page=page_of(house, "quan"))
        house.write(Draft(body=body, actor=actor, agent=AGENT))
        assert found(house), actor


def test_an_answer_to_what_never_travelled_does_not_even_fold() -> None:
    house = opened(PATH)
    page = page_of(house, "olga")
    body = ANSWERED(page=page, how="link", token=KEYS.digest(page), person="olga", detail="")
    with pytest.raises(Corrupt, match="did not carry"):
        house.write(Draft(body=body, actor="node", agent=AGENT))


@pytest.mark.requirement("R10.98")
def test_a_link_that_was_answered_when_it_was_too_old_is_found() -> None:
    house = asked()
    house.clock.skip(GOOD_FOR_US + HOUR_US)
    house.write(answer(house))
    assert found(house)
    assert "page.answer" in {code for code, _ in found(house)}


@pytest.mark.requirement("R10.96")
def test_a_page_that_came_back_by_nobodys_report_is_found() -> None:
    """Attack: the owner's page is said to have come back, and their time is cut short."""
    house = asked()
    body = kinds.PageBounced(page=page_of(house, "olga"), permanent=True, detail="550", message="ab" * 32)
    house.do(answers.bounce(body, "bm90aWNl"))
    assert found(house) == set()
    for actor in ("person:quan", "host:shop"):
        forged = asked()
        forged.write(Draft(body=body, actor=actor, agent=AGENT))
        assert found(forged)
