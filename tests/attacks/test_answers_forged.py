"""Answers without a key: a link or code that was forged, kept too long, played again, passed on, or is of another page.

None of them takes an incident, and none leaves an entry. What goes on at the door and in browsers: `tests/e2e`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.errors import FailwellError, NotFound, Refused, Unhealthy
from failwell.core.escalation.answered import GOOD_FOR_US
from failwell.core.records import Draft
from failwell.identity import answer_keys, keys
from failwell.identity.answer_keys import AnswerKeys, Claims, read_code
from failwell.ledger.jobs import Plan
from failwell.response import answers
from failwell.response.answers import Given
from tests.unit.gate.house import FATAL, HOUR_US, MINUTE_US, ORIGIN, House
from tests.unit.response import asking
from tests.unit.response.asking import after, opened, path, step

KEYS = AnswerKeys(keys.from_seed(b"k" * 32), ORIGIN)
PATH = path(
    step("owner", ack_within_s=60), step("person:quan", by=["email", "pager"], ack_within_s=60),
    acknowledgment_lasts_s=7200,
) | {"channels": [["pager", {"kind": "pagerduty"}]]}  # fmt: skip


def carry(house: House, page: int) -> None:
    """What the outbox writes of an attempt by which a page's answer travelled."""
    row = house.state.page[page]
    body = kinds.PageAttempted2(
        page=page, attempt=row.attempts + 1, accepted=True, detail="250", checkpoint=1, next_due_us=None,
        permanent=False, token=KEYS.digest(page) if row.channel == "email" else None, provider="the mail server",
    )  # fmt: skip
    house.write(Draft(body=body, actor="node"))


def asked() -> House:
    """An incident of which the owner (olga) and then quan were mailed, and a pager told."""
    house = opened(PATH)
    after(house, MINUTE_US)
    for page in list(house.state.page):
        carry(house, page)
    return house


def page_of(house: House, person: str, channel: str = "email") -> int:
    found: int = next(
        body.page
        for body in reversed(house.bodies(kinds.PageQueued4))
        if (body.person, body.channel) == (person, channel)
    )
    return found


def link(house: House, whose: str, keys_used: AnswerKeys = KEYS, **changes: Any) -> Callable[[], Any]:
    """Open the link that `whose` mail carried, with claims changed, as the node takes it."""
    page = page_of(house, whose)
    plain: dict[str, Any] = {
        "origin": ORIGIN, "purpose": "acknowledge", "page": page, "person": whose, "incident": 1, "cycle": 1,
        "expires_us": house.clock.wall_us() + GOOD_FOR_US,
    }  # fmt: skip
    return opening(house, keys_used.token(Claims(**(plain | changes))))


def opening(house: House, token: str) -> Callable[[], Any]:
    def go() -> Any:
        claims = KEYS.read(token, house.clock.wall_us())
        given = Given("link", KEYS.digest(claims.page), claims.page, claims.person, "by the link that was sent")
        return house.do(answers.acknowledge(given))

    return go


def nothing(house: House, given: Callable[[], Any], wrong: type[FailwellError] = Refused) -> str:
    """It is refused and leaves nothing; why."""
    size, taken = house.state.size, house.state.escalation[1].acknowledged
    with pytest.raises(wrong) as refused:
        given()
    assert (house.state.size, house.state.escalation[1].acknowledged) == (size, taken)
    return refused.value.message


@pytest.mark.requirement("R10.91")
def test_what_was_sent_takes_the_incident_once_for_whom_it_was_sent_to() -> None:
    house = asked()
    open_link = link(house, "quan")
    took = open_link()
    assert (took.incident, took.person) == (1, "quan")
    (taken,) = house.bodies(kinds.Acknowledged2)
    assert (taken.person, taken.by, taken.page) == ("quan", "link", page_of(house, "quan"))
    assert house.state.incident[1].state == "TRIAGED"
    assert "answered already" in nothing(house, open_link), "played again"
    assert len(house.bodies(kinds.Acknowledged2)) == 1


def test_it_gives_nothing_back_and_closes_nothing() -> None:
    house = asked()
    before = house.agent().authority
    link(house, "olga")()
    allowed = (kinds.PageAnswered, kinds.Acknowledged2, kinds.IncidentUpdated, kinds.EscalationEnded, kinds.PageQueued4)
    entries = house.entries()
    answer = next(entry.seq for entry in entries if isinstance(entry.body, kinds.PageAnswered))
    assert all(isinstance(entry.body, allowed) for entry in entries if entry.seq >= answer)
    assert house.agent().authority == before == "SUSPENDED"


@pytest.mark.requirement("R10.92")
@pytest.mark.parametrize(
    "changes",
    [{"person": "sara"}, {"person": "olga"}, {"page": 10_000}, {"page": 0}],
    ids=["another person", "the owner", "no page", "page 0"],
)
def test_even_a_signed_token_is_its_pages_and_its_persons(changes: dict[str, Any]) -> None:
    """Attack: a fault of ours signs what does not fit together."""
    house = asked()
    nothing(house, link(house, "quan", **changes))


def test_a_link_of_another_workspace_key_or_purpose_takes_nothing() -> None:
    house = asked()
    other = AnswerKeys(keys.generate(), ORIGIN)
    nothing(house, link(house, "quan", other))
    nothing(house, link(house, "quan", AnswerKeys(keys.from_seed(b"k" * 32), "failwell.test/other"),
                        origin="failwell.test/other"))  # fmt: skip


@pytest.mark.requirement("R10.95")
def test_a_link_that_has_expired_takes_nothing_although_nobody_has_it() -> None:
    house = asked()
    token = link(house, "quan")
    house.clock.skip(GOOD_FOR_US)
    assert "too old" in nothing(house, token)


def test_a_token_signed_by_nobody_or_under_another_header_takes_nothing() -> None:
    house = asked()
    page = page_of(house, "quan")
    claims = Claims(origin=ORIGIN, purpose="acknowledge", page=page, person="quan", incident=1, cycle=1,
                    expires_us=house.clock.wall_us() + HOUR_US)  # fmt: skip
    _, body, signature = KEYS.token(claims).split(".")

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    for header in ({"alg": "none", "typ": "page+jwt"}, {"alg": "HS256", "typ": "page+jwt"}, {"alg": "EdDSA"}):
        for last in ("", signature, "A" * 86):
            nothing(house, opening(house, f"{part(header)}.{body}.{last}"))


@pytest.mark.requirement("R10.94")
def test_whoever_has_left_takes_nothing_by_what_lies_in_their_mailbox() -> None:
    house = asked()
    house.reached("piet")
    house.write(Draft(body=kinds.PersonLeft(person="quan", successor="piet", why="gone"), actor="person:olga"))
    assert "has left" in nothing(house, link(house, "quan"))


def test_what_another_took_is_told_and_not_taken_again() -> None:
    house = asked()
    house.acknowledge("sara")
    assert "sara took incident 1 already" in nothing(house, link(house, "quan"))


def test_a_link_of_a_cycle_that_is_over_takes_nothing_of_the_next_one() -> None:
    """Attack: the link of the night in which it was taken and forgotten, opened by a preview days later."""
    house = asked()
    old = link(house, "quan")
    house.acknowledge("sara")
    after(house, 2 * HOUR_US + MINUTE_US)
    assert asking.row(house).cycle == 2
    assert "asked anew" in nothing(house, old)


@pytest.mark.requirement("R10.93")
def test_what_is_not_on_record_as_sent_is_looked_at_and_not_taken() -> None:
    """Attack: a secret that was computed, and of which no entry says that it was sent."""
    house = opened(PATH)
    page = page_of(house, "olga")
    given = Given("link", KEYS.digest(page), page, "olga", "")
    assert house.do(answers.look(given)).incident == 1
    assert "not on record" in nothing(house, lambda: house.do(answers.acknowledge(given)), Unhealthy)
    carry(house, page)
    house.do(answers.acknowledge(given))


def test_an_attempt_that_carried_nothing_takes_no_secret_back() -> None:
    """What a mail server took and did not confirm may have arrived: it answers after a further attempt failed too."""
    house = opened(PATH)
    page = page_of(house, "olga")
    for attempt, token in ((1, KEYS.digest(page)), (2, None)):
        body = kinds.PageAttempted2(
            page=page, attempt=attempt, accepted=False, detail="timed out", checkpoint=1,
            next_due_us=house.state.last_at_us + MINUTE_US, permanent=False, token=token, provider="the mail server",
        )  # fmt: skip
        house.write(Draft(body=body, actor="node"))
    assert link(house, "olga")().person == "olga"


# ---- codes ---------------------------------------------------------------------------------------------------


def replied(house: House, code: str) -> Callable[[], Any]:
    """A reply with a code, as the node takes it once the sender's address was held against it."""

    def go() -> Any:
        digest = answer_keys.digest_of(read_code(code) or "")
        page, person = house.do(lambda turn: plan(answers.sent_with(turn, digest)))
        return house.do(answers.acknowledge(Given("reply", digest, page, person, "")))

    return go


def plan(found: Any) -> Plan[Any]:
    return Plan((), lambda entries: found)


def test_a_code_takes_it_once_and_no_other_code_does() -> None:
    house = asked()
    code = KEYS.code(page_of(house, "quan"))
    for wrong in ("", "0" * 16, code[:-1], code[:-1] + ("A" if code[-1] != "A" else "B"), code + "0",
                  KEYS.code(9_999), AnswerKeys(keys.generate(), ORIGIN).code(page_of(house, "quan"))):  # fmt: skip
        nothing(house, replied(house, wrong))
    assert replied(house, code.lower())().person == "quan"
    nothing(house, replied(house, code))


def test_the_code_of_one_incident_takes_no_other() -> None:
    house = asked()
    house.release()
    house.ask(house.run(), FATAL)
    assert set(house.state.escalation) == {1, 2}
    page = next(body.page for body in house.bodies(kinds.PageQueued4) if body.incident == 2 and body.channel == "email")
    carry(house, page)
    took = replied(house, KEYS.code(page))()
    assert took.incident == 2
    with pytest.raises(Refused):
        replied(house, KEYS.code(page))()


# ---- an on-call service --------------------------------------------------------------------------------------


def heard(house: House, person: str = "quan", event: str = "e1", channel: str = "pager") -> Callable[[], Any]:
    digest = answer_keys.digest_of(event)
    return lambda: house.do(answers.from_service(channel, 1, person, digest, "user P1 of pager"))


def test_a_service_takes_it_only_by_the_channel_that_was_told_and_each_event_counts_once() -> None:
    house = asked()
    nothing(house, heard(house, channel="room"), NotFound)
    nothing(house, heard(house, "nobody"))
    assert heard(house)().person == "quan"
    nothing(house, heard(house))
    nothing(house, heard(house, event="e2"))


def test_a_service_takes_nothing_that_another_has_or_that_was_never_told_it() -> None:
    house = asked()
    house.acknowledge("sara")
    nothing(house, heard(house))
    untold = opened(PATH)
    nothing(untold, heard(untold), NotFound)
