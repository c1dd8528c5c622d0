"""A page that came back: it has reached nobody, the next step is due, and it is on record once."""

from __future__ import annotations

import pytest

from failwell.core import kinds
from failwell.core.errors import Corrupt, Unhealthy
from failwell.core.records import Draft
from failwell.response import answers
from tests.unit.gate.house import MINUTE_US, House
from tests.unit.response import asking
from tests.unit.response.asking import after, opened, path, step

PATH = path(step("owner", ack_within_s=900), step("person:quan", ack_within_s=900))


def sent() -> tuple[House, int]:
    """An incident, whose owner's page was taken over by a mail server."""
    house = opened(PATH)
    (page,) = [body.page for body in house.bodies(kinds.PageQueued4)]
    asking.attempt(house, page, accepted=True)
    return house, page


def came_back(page: int, *, permanent: bool = True) -> kinds.PageBounced:
    return kinds.PageBounced(page=page, permanent=permanent, detail="5.1.1 no such user", message="ab" * 32)


def give(house: House, body: kinds.PageBounced) -> bool:
    found: bool = house.do(answers.bounce(body, "bm90aWNl"))
    return found


def test_the_next_step_is_taken_at_once() -> None:
    house, page = sent()
    after(house, MINUTE_US)
    assert len(house.bodies(kinds.EscalationStepped)) == 1
    assert give(house, came_back(page))
    after(house, 0)
    assert house.bodies(kinds.EscalationStepped)[-1].persons == ("quan",)


def test_one_that_is_late_is_on_record_and_hurries_nobody() -> None:
    house, page = sent()
    assert give(house, came_back(page, permanent=False))
    after(house, MINUTE_US)
    assert len(house.bodies(kinds.EscalationStepped)) == 1
    assert len(house.bodies(kinds.PageBounced)) == 1


@pytest.mark.requirement("R10.70")
def test_the_same_report_again_says_nothing_new() -> None:
    house, page = sent()
    assert give(house, came_back(page))
    assert not give(house, came_back(page))
    assert len(house.bodies(kinds.PageBounced)) == 1


def test_a_report_that_is_faster_than_the_outbox_is_judged_after_it() -> None:
    house = opened(PATH)
    (page,) = [body.page for body in house.bodies(kinds.PageQueued4)]
    with pytest.raises(Unhealthy, match="on its way"):
        give(house, came_back(page))
    asking.attempt(house, page, accepted=True)
    assert give(house, came_back(page))


@pytest.mark.parametrize("page", [0, 99, 1])
def test_no_record_says_that_a_page_came_back_which_was_never_sent(page: int) -> None:
    house = opened(PATH)  # page 1 still waits to be sent
    with pytest.raises(Corrupt, match="which was not sent"):
        house.write(Draft(body=came_back(page), actor="node"))
