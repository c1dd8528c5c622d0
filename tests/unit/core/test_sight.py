"""Sight: a signature covers what stood when it was given, and what moves by the second voids none."""

from __future__ import annotations

import pytest

from failwell.core import orders
from failwell.core.errors import NotFound, Refused
from failwell.core.sight import digest_of, sight, sight_digest
from failwell.identity import persons
from failwell.response import releases
from tests.unit.gate.house import AGENT, FATAL, HOUR_US, House, contract_text, open_house

PROPOSE = orders.ReleasePropose(
    incident=1, agent=AGENT, authority="PROBATION", conditions="the template is fixed", evidence=(3,)
)
ACKNOWLEDGE = orders.IncidentAcknowledge(incident=1)


@pytest.fixture
def house() -> House:
    """With one suspended agent and all that a release needs but the release."""
    house = open_house()
    house.ask(house.run(), FATAL)
    house.accept_page()
    return house


def test_a_sight_names_the_case_the_agent_and_everything_that_is_ordered(house: House) -> None:
    shown = sight(house.state, "release.propose", PROPOSE)
    assert shown["details"]["conditions"] == "the template is fixed"
    assert shown["incident"]["title"] == "refund-bot: denied(fatal)"
    assert shown["agent"] == {"authority": "SUSPENDED", "contract": house.agent().contract, "epoch": 2}
    assert sight_digest(house.state, "release.propose", PROPOSE) == digest_of(shown)


def test_an_order_over_a_case_or_agent_that_there_is_not_shows_nothing(house: House) -> None:
    with pytest.raises(NotFound, match="incident 2"):
        sight(house.state, "incident.acknowledge", orders.IncidentAcknowledge(incident=2))
    with pytest.raises(NotFound, match="nobody"):
        sight(house.state, "release.approve", orders.ReleaseApprove(incident=1, agent="nobody", proposal="0" * 64))


def test_other_details_another_kind_or_another_epoch_is_another_sight(house: House) -> None:
    state = house.state
    other = orders.ReleasePropose(
        incident=1, agent=AGENT, authority="PROBATION", conditions="nothing was fixed", evidence=(3,)
    )
    seen = {sight_digest(state, "release.propose", PROPOSE), sight_digest(state, "release.propose", other)}
    seen.add(sight_digest(state, "incident.acknowledge", ACKNOWLEDGE))
    seen.add(sight_digest(state, "host.register", PROPOSE))
    assert len(seen) == 4
    before = sight_digest(state, "release.propose", PROPOSE)
    house.release()
    assert sight_digest(state, "release.propose", PROPOSE) != before


def test_time_further_signals_and_pages_void_no_signature(house: House) -> None:
    before = sight_digest(house.state, "incident.acknowledge", ACKNOWLEDGE)
    house.clock.skip(HOUR_US // 2)
    house.ask(house.run(), FATAL)
    house.acknowledge("quan")
    assert sight_digest(house.state, "incident.acknowledge", ACKNOWLEDGE) == before


def test_for_a_contract_the_digest_is_the_contract_s_own(house: House) -> None:
    details = orders.ContractSign(contract="refund-bot", version=1, digest="ab" * 32)
    assert sight_digest(house.state, "contract.sign", details) == "ab" * 32


def test_an_order_over_something_else_than_stands_now_is_refused_and_nothing_written(house: House) -> None:
    """Signed before the contract changed, used after: the person saw another agent than the one they give back."""
    house.acknowledge("olga")
    stale = house.sign("olga", "release.propose", PROPOSE)
    house.adopt(contract_text(version=2))
    size = house.state.size
    with pytest.raises(Refused, match="something else"):
        house.do(releases.propose_release(stale, persons.verify_order))
    assert house.state.size == size


def test_a_suspension_is_not_held_back_by_what_it_was_signed_over(house: House) -> None:
    house.release()
    assert house.suspend("piet")
    assert house.agent().authority == "SUSPENDED"
