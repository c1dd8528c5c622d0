"""Nobody writes a page off that somebody is still to be told by, and no attempt stands where there was none."""

from __future__ import annotations

from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.errors import Corrupt
from failwell.core.records import Draft
from tests.unit.gate.house import House
from tests.unit.response.asking import MINUTE_US, after, opened, path, step
from tests.unit.response.given import findings


def attempted(house: House, page: int = 1, **changes: Any) -> None:
    fields: dict[str, Any] = {
        "page": page, "attempt": 1, "accepted": False, "detail": "550", "checkpoint": 1, "permanent": False,
        "next_due_us": house.state.last_at_us + MINUTE_US, "token": None, "provider": "the mail server", **changes,
    }  # fmt: skip
    house.write(Draft(body=kinds.PageAttempted2(**fields), actor="node"))


def wrong(house: House) -> list[str]:
    return findings(house, code="page.tried")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"next_due_us": None, "permanent": True}, "is given up, and olga is still to be told"),
        ({"attempt": 3}, "attempt 3 of page 1 stands behind 0"),
        ({"accepted": True}, "was taken over, and is tried again"),
    ],
    ids=["given up", "left out before it", "taken and tried"],
)
@pytest.mark.requirement("R10.90")
def test_an_attempt_that_no_outbox_would_have_written_is_found(changes: Any, says: str) -> None:
    house = opened()
    attempted(house, **changes)
    (found,) = wrong(house)
    assert says in found


def test_what_an_outbox_does_write_is_not() -> None:
    house = opened(path(step("owner", ack_within_s=60), step("person:rita", ack_within_s=60)))
    attempted(house)
    after(house, 2 * MINUTE_US)
    later = max(house.state.page)
    attempted(house, page=later)
    house.acknowledge("piet")
    attempted(house, page=later, attempt=2, next_due_us=None)
    attempted(house, attempt=2, accepted=True, next_due_us=None)
    assert wrong(house) == []


@pytest.mark.parametrize("hidden", ["the first page", "of another person"])
def test_a_page_that_waits_for_no_other_is_told_by_none(hidden: str) -> None:
    """Attack: the first page of a case is hidden behind a letter about something else."""
    house = opened(path(step("owner"), step("role:approver")))
    body = kinds.PageQueued4(
        page=house.state.pages + 1, incident=1, person="olga" if hidden == "the first page" else "piet",
        channel="email", step=1, due_us=house.state.last_at_us, why="a task", ticket=None, about="task", cycle=0,
        round=1, persons=(), digest=None,
    )  # fmt: skip
    house.write(Draft(body=body, actor="node"))
    pages = (1,) if hidden == "the first page" else (body.page,)
    into = body.page if hidden == "the first page" else 1
    with pytest.raises(Corrupt, match="waits for none"):
        house.write(Draft(body=kinds.PageBundled(pages=pages, into=into), actor="node"))
