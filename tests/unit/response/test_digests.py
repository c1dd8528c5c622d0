"""Early indicators reach their owner once a day: all of them, once, and whoever has them says so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from failwell.core import kinds, orders
from failwell.core.errors import Corrupt, Refused
from failwell.core.escalation import digests as early
from failwell.core.escalation.digests import APART, LINES
from failwell.core.escalation.digests import early as told_of
from failwell.core.records import Draft
from failwell.identity import persons
from failwell.response import digests
from failwell.response.answers import Given
from failwell.response.digests import digest_letter
from failwell.response.said import Said
from tests.property.lives import verified
from tests.unit.gate.house import AGENT, DAY_US, HOUR_US, House, folded, open_house
from tests.unit.response.asking import BIG, configure, house_of
from tests.unit.response.given import findings

#: The clock of a house stands at 11:06 UTC.
MORNING = {"escalation": {"digest": "08:00"}}
TO_MORNING_US = 21 * HOUR_US

RECORDED = """
clauses:
  - {id: big, deny: payments.refund, when: context.args.amount == 200, severity: major}
limits:
  - {id: repeat, once_per: payments.refund, keys: [order_id], then: record, severity: minor}
"""


def noticed(times: int = 3, settings: Any = MORNING) -> House:
    """An agent repeats itself, which is only written down."""

    house = open_house(RECORDED)
    configure(house, settings)
    house.write(Draft(body=kinds.ResponseRules(version=3), actor="node"))
    run = house.run()
    for _ in range(times + 1):
        house.ask(run, order="o-same")
    return house


def morning(house: House, us: int = TO_MORNING_US) -> list[kinds.DigestMade]:
    """So much later, with what the clock does then."""
    house.clock.skip(us)
    house.do(digests.make_digests)
    return house.bodies(kinds.DigestMade)


def receive(house: House, person: str, number: int = 1) -> Any:
    signed = house.sign(person, "digest.receive", orders.DigestReceive(digest=number))
    return house.do(digests.JOBS["digest.receive"](signed, persons.verify_order, Said()))


def sent(house: House, page: int = 1) -> str:
    """The digest went out with something that answers it; answers the secret's digest."""
    token = hashlib.sha256(b"what travels").hexdigest()
    body = kinds.PageAttempted2(
        page=page, attempt=1, accepted=True, detail="250", checkpoint=1, next_due_us=None, permanent=False,
        token=token, provider="the mail server",
    )  # fmt: skip
    house.write(Draft(body=body, actor="node"))
    return token


def given(token: str, person: str = "olga", how: Any = "link") -> Given:
    return Given(how=how, digest=token, page=1, person=person, detail="")


@pytest.mark.requirement("R4.5")
def test_what_was_noticed_and_nothing_was_done_for_is_told_to_the_owner_in_the_morning_and_once() -> None:
    house = noticed()
    (made,) = morning(house)
    assert (made.person, made.counts, made.more, made.since) == ("olga", ((AGENT, "recorded(repeat)", 3),), 0, 0)
    page = house.bodies(kinds.PageQueued4)[-1]
    assert (page.person, page.about, page.digest, page.cycle, page.incident) == ("olga", "digest", 1, 0, None)
    assert len(morning(house, DAY_US)) == 1
    house.ask(house.run(), order="o-same")
    again = morning(house, DAY_US)[-1]
    assert (again.digest, again.since) == (2, made.until)
    assert folded((entry, house.book.leaf(entry.seq)) for entry in house.entries())[1] == house.stored()
    assert verified(house) + findings(house, code="digest.made") == []


def test_nobody_is_told_at_another_time_or_where_the_settings_say_none() -> None:
    house = noticed()
    assert morning(house, HOUR_US) == []
    house = noticed(settings={"escalation": {}})
    assert morning(house) == []


def test_a_node_that_did_not_run_in_the_morning_tells_it_later() -> None:
    assert len(morning(noticed(), TO_MORNING_US + 5 * HOUR_US)) == 1


def test_what_has_a_case_is_told_by_it_and_a_catch_as_such() -> None:
    house = house_of(MORNING)
    house.ask(house.run(), BIG)
    assert [made.counts for made in morning(house)] == [((AGENT, "near-miss", 1),)]


def test_who_follows_an_owner_who_left_is_told() -> None:
    house = noticed()
    house.reached("piet")
    house.write(Draft(body=kinds.PersonLeft(person="olga", successor="piet", why="retired"), actor="person:olga"))
    (made,) = morning(house)
    assert made.person == "piet"


def test_a_flood_of_different_signals_makes_no_entry_that_is_too_long() -> None:
    house = noticed()
    row = house.state.agent[AGENT]
    for number in range(3 * APART):
        row = msgspec.structs.replace(row, **early.noted(row, f"recorded(limit-{number})", 1))
    assert len(row.early) == APART + 1
    house.state.agent[AGENT] = row
    house.state.agent.update(
        {f"{AGENT}-{number}": msgspec.structs.replace(row, name=f"a{number}") for number in range(3)}
    )
    counts, more = told_of(house.state, "olga")
    assert (len(counts), len(counts) + more) == (LINES, 4 * (APART + 1))
    assert counts[0][2] == max(times for _, _, times in counts)


# ---- received ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R4.7")
def test_only_whom_it_was_made_for_receives_it_and_once() -> None:
    house = noticed()
    morning(house)
    with pytest.raises(Refused, match="was made for olga"):
        receive(house, "piet")
    receive(house, "olga")
    assert house.state.digest[1].received is not None
    with pytest.raises(Refused, match="already"):
        receive(house, "olga")
    assert verified(house) + findings(house, code="digest.made") == []


@pytest.mark.parametrize("how", ["link", "reply"])
def test_what_travelled_with_it_receives_it_once_and_looking_at_it_does_not(how: str) -> None:
    house = noticed()
    morning(house)
    token = sent(house)
    assert house.do(digests.receive_answer(given(token, how=how), True))["digest"] == 1
    assert house.state.digest[1].received is None
    house.do(digests.receive_answer(given(token, how=how), False))
    assert house.bodies(kinds.DigestReceived)[-1].how == how
    with pytest.raises(Refused, match="already"):
        house.do(digests.receive_answer(given(token, how=how), False))
    assert verified(house) + findings(house, code="digest.made") == []


@pytest.mark.parametrize("wrong", ["another secret", "another person", "who left"])
def test_what_does_not_answer_it_receives_nothing(wrong: str) -> None:
    house = noticed()
    morning(house)
    token = sent(house)
    if wrong == "who left":
        house.reached("piet")
        house.write(Draft(body=kinds.PersonLeft(person="olga", successor="piet", why="x"), actor="person:olga"))
    token, person = ("0" * 64, "olga") if wrong == "another secret" else (token, "olga")
    with pytest.raises(Refused):
        house.do(digests.receive_answer(given(token, "piet" if wrong == "another person" else person), False))
    assert house.bodies(kinds.DigestReceived) == []


# ---- forged ------------------------------------------------------------------------------------------------------


def _made(house: House, **changes: Any) -> Draft:
    draft = early.drafted(house.state, "olga", 0, house.state.size)
    return msgspec.structs.replace(draft, body=msgspec.structs.replace(draft.body, **changes))


@pytest.mark.parametrize(
    "forge",
    [
        lambda house: _made(house, counts=((AGENT, "recorded(repeat)", 2),)),
        lambda house: _made(house, counts=()),
        lambda house: _made(house, person="piet"),
        lambda house: _made(house, since=5),
        lambda house: _made(house, digest=2),
        lambda house: _made(house, until=3),
    ],
    ids=["fewer", "nothing", "of another", "since later", "out of turn", "of another time"],
)
@pytest.mark.requirement("R4.6")
def test_a_digest_that_tells_something_else_than_was_noticed_does_not_follow(forge: Callable[[House], Draft]) -> None:
    house = noticed()
    house.clock.skip(TO_MORNING_US)
    with pytest.raises(Corrupt, match="early indicators"):
        house.write(forge(house))


def test_a_digest_that_nobody_was_owed_and_one_that_nobody_received_are_found() -> None:
    house = noticed()
    house.write(_made(house))
    assert [each for each in findings(house, code="digest.made") if "was due" in each]
    house = noticed()
    morning(house)
    sent(house)
    forged = kinds.DigestReceived(digest=1, person="olga", how="order", token="")
    house.write(Draft(body=forged, actor="person:olga"))
    assert [each for each in findings(house, code="order.effect") if "digest.receive" in each]


def test_a_receipt_by_what_was_never_sent_does_not_follow() -> None:
    house = noticed()
    morning(house)
    with pytest.raises(Corrupt, match="not sent with it"):
        house.write(Draft(body=kinds.DigestReceived(digest=1, person="olga", how="link", token=""), actor="node"))


# ---- the letter --------------------------------------------------------------------------------------------------


def test_the_letter_says_what_was_noticed_and_what_is_asked_in_its_first_lines() -> None:
    (made,) = morning(noticed())
    letter = digest_letter(made, {AGENT: "refund-bot"}, 1_795_000_000_000_000, b"")
    first, second, *rest = letter.text.split("\n")
    assert first == "3 early indicators of 1 of your agents since you were told last."
    assert second.endswith("Run: failwell digest receive 1")
    assert "- refund-bot: recorded(repeat), 3 times" in rest
