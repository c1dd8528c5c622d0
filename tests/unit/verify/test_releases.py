"""What was given back, told otherwise in the record: who by, of what, for how long, and that it went on (R23)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failwell.core import kinds, orders
from failwell.core.errors import Refused
from failwell.core.incidents import probation
from failwell.core.records import Draft
from tests.unit.gate.house import (
    AGENT,
    FATAL,
    MINUTE_US,
    House,
    open_house,
)
from tests.unit.response.given import break_glass, contain, findings, given_back, last, review, suspended

replace = msgspec.structs.replace


def refused(match: str) -> pytest.RaisesExc[Refused]:
    return pytest.raises(Refused, match=match)


def _forged(house: House, kind: type[Any], **fields: Any) -> list[str]:
    entry = last(house, kind)
    return findings(house, edit={entry.seq: replace(entry.body, **fields)})


@pytest.mark.parametrize(
    "fields", [{"bound": "0" * 64}, {"notified": "olga"}, {"probation_us": 1}, {"authority": "ACTIVE"}]
)
@pytest.mark.requirement("R23.19")
def test_a_proposal_that_is_told_otherwise_than_it_was_ordered_is_found(fields: dict[str, Any]) -> None:
    house = given_back()
    assert _forged(house, kinds.ReleaseProposed2, **fields)


@pytest.mark.parametrize(
    "fields", [{"separated": "yes"}, {"until_us": 7}, {"authority": "ACTIVE"}, {"person": "rita"}, {"incident": 9}]
)
def test_an_approval_that_is_told_otherwise_is_found(fields: dict[str, Any]) -> None:
    house = suspended()
    house.approve("piet", house.propose("olga", user="uid:1"), user="uid:1")
    assert findings(house) == []
    assert _forged(house, kinds.ReleaseApproved2, **fields)


@pytest.mark.parametrize("fields", [{"until_us": 2**52}, {"why": "it was agreed"}, {"person": "olga"}])
def test_a_broken_glass_that_is_told_otherwise_is_found(fields: dict[str, Any]) -> None:
    house = suspended()
    break_glass(house, "piet")
    assert findings(house) == []
    assert _forged(house, kinds.ReleaseBroken, **fields)


def test_a_review_that_is_told_as_upheld_is_found() -> None:
    house = suspended()
    break_glass(house, "piet")
    review(house, "quan", upheld=False)
    assert _forged(house, kinds.ReleaseReviewed, upheld=True)


@pytest.mark.requirement("R23.20")
def test_authority_that_nobody_gave_back_is_found() -> None:
    house = suspended()
    house.write(
        Draft(
            body=kinds.AuthorityChanged(
                was="SUSPENDED", now="PROBATION", epoch=3, why="", incident=1, by="person:piet"
            ),
            actor="person:piet", agent=AGENT,
        )
    )  # fmt: skip
    assert any("nobody gave it back" in each for each in findings(house))


@pytest.mark.requirement("R23.18")
def test_what_went_on_after_its_time_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: the node's own code is bent so that nothing ends."""
    house = suspended()
    break_glass(house, "piet", 1)
    run = house.run()
    house.clock.skip(2 * MINUTE_US)
    with monkeypatch.context() as bent:
        bent.setattr(probation, "over", lambda row, now_us: False)
        assert house.ask(run, tool="orders.read", arguments=b'{"order_id":"o"}').verdict == "ALLOW"
    assert any("was over" in each for each in findings(house))


def test_who_enrolled_somebody_cannot_be_told_otherwise_later() -> None:
    house = suspended()
    details = orders.PersonEnrol(
        person="tess", key="A" * 43 + "=", proof="A" * 86 + "==", roles=("approver",), contact=None
    )  # fmt: skip
    signed = house.sign("olga", "person.enrol", details)
    order = kinds.Order(
        order="person.enrol", person="olga", key=signed.key, text=signed.order, signature=signed.signature,
        source="node",
    )  # fmt: skip
    body = kinds.PersonEnrolled(person="tess", key="A" * 43 + "=", roles=("approver",))
    house.write(Draft(body=order, actor="person:olga"), Draft(body=body, actor="person:rita"))
    assert any("was enrolled by olga" in each for each in findings(house))


def test_a_proposal_by_the_words_of_an_earlier_release_is_no_proposal_here() -> None:
    house = suspended()
    old = kinds.ReleaseProposed(incident=1, person="olga", digest="ab" * 32, conditions="")
    house.write(Draft(body=old, actor="person:olga", agent=AGENT))
    with refused("stands otherwise"):
        house.approve("piet", "ab" * 32)
    assert any("earlier version" in each for each in findings(house))


def test_agents_on_probation_by_earlier_rules_begin_their_time_with_these() -> None:
    house = open_house()
    house.ask(house.run(), FATAL)
    contain(house)
    house.approve("piet", house.propose("olga"))
    row = house.agent()
    house.state.change("agent", AGENT, probation=None)  # as the fold of version 1 left it
    house.write(Draft(body=kinds.ResponseRules(version=2), actor="node"))
    assert row.probation is not None
    given = house.agent().probation
    assert given is not None
    assert given.incident == 1
