"""Whether a channel reaches a person is shown by what comes back, by them, in time, and once."""

from __future__ import annotations

from typing import Any

import pytest

from failwell.core import canonical, kinds, orders
from failwell.core.errors import Corrupt, NotFound, Refused
from failwell.core.escalation.paging import over
from failwell.core.records import Draft
from failwell.identity import keys, persons
from failwell.identity.answer_keys import AnswerKeys, digest_of_code
from failwell.response import proofs
from failwell.response.answers import Given
from tests.unit.gate.house import House
from tests.unit.response.asking import configure, house_of, path, step

DAY_US = 86_400_000_000
KEYS = AnswerKeys(keys.from_seed(b"a" * 32), "failwell/x")
CHANNELS: dict[str, Any] = {
    **path(step("owner", by=["email", "pager"])), "channels": [["pager", {"kind": "pagerduty"}]],
    "mail": {"host": "127.0.0.1"},
}  # fmt: skip


def give(house: House, person: str, kind: str, details: orders.Details, code: str | None = None) -> Any:
    signed = house.sign(person, kind, details)
    if kind == "channel.ask":
        return house.do(proofs.ask(signed, persons.verify_order, KEYS.digest))
    return house.do(proofs.confirm(signed, persons.verify_order, digest_of_code(code)))


def ask(house: House, person: str = "olga", by: str = "olga", channel: str = "pager") -> str:
    """Have something sent; the code that travels with it."""
    give(house, by, "channel.ask", orders.ChannelAsk(channel=channel, person=person))
    return KEYS.code(house.state.channel[f"{channel} {person}"].page)


def confirm(house: House, code: str, person: str = "olga", channel: str = "pager") -> Any:
    return give(house, person, "channel.confirm", orders.ChannelConfirm(channel=channel, person=person), code)


def due(house: House, *reached: tuple[str, str]) -> int:
    asked: int = house.do(lambda turn: proofs.ask_due(turn, frozenset(reached), KEYS.digest))
    return asked


def test_what_comes_back_shows_that_a_channel_reaches_its_person_once() -> None:
    house = house_of(CHANNELS)
    code = ask(house)
    page = house.bodies(kinds.PageQueued4)[-1]
    assert (page.about, page.channel, page.person, page.cycle) == ("proof", "pager", "olga", 0)
    confirm(house, code.lower())
    row = house.state.channel["pager olga"]
    assert (row.how, row.asked, row.token) == ("code", None, None)
    assert row.proven_us == house.state.last_at_us
    with pytest.raises(Refused, match="nothing waits"):
        confirm(house, code)


@pytest.mark.parametrize("code", ["", "0000-0000-0000-0000", "nonsense"])
@pytest.mark.requirement("R12.11")
def test_another_code_shows_nothing(code: str) -> None:
    house = house_of(CHANNELS)
    ask(house)
    with pytest.raises(Refused, match="not the code"):
        confirm(house, code)
    assert house.state.channel["pager olga"].proven is None


def test_a_code_is_its_persons_its_channels_and_in_time() -> None:
    house = house_of(CHANNELS)
    code = ask(house, "piet")
    with pytest.raises(Refused, match="nothing waits"):
        confirm(house, code)  # olga, with what went to piet
    with pytest.raises(Refused, match="theirs to give back"):
        give(house, "olga", "channel.confirm", orders.ChannelConfirm(channel="pager", person="piet"), code)
    other = ask(house, "olga", channel="email")
    ask(house)
    with pytest.raises(Refused, match="not the code"):
        confirm(house, other)
    key = "pager olga"
    row = house.state.channel[key]
    house.clock.skip(8 * DAY_US)
    body = kinds.ChannelProven(channel="pager", person="olga", how="code", asked=row.asked or 0, token=row.token or "")
    with pytest.raises(Corrupt, match="too late"):
        house.write(Draft(body=body, actor="node"))


@pytest.mark.parametrize(
    ("by", "person", "channel", "wrong"),
    [
        ("piet", "olga", "pager", Refused), ("olga", "nobody", "pager", NotFound),
        ("olga", "piet", "carrier", NotFound),
    ],
)  # fmt: skip
def test_who_may_not_ask_or_cannot_be_asked_is_refused(by: str, person: str, channel: str, wrong: type) -> None:
    house = house_of(CHANNELS)
    with pytest.raises(wrong):
        ask(house, person, by, channel)


def test_a_link_or_reply_counts_for_whom_it_was_sent_to_and_looking_changes_nothing() -> None:
    house = house_of(CHANNELS)
    ask(house, channel="email")
    digest = KEYS.digest(house.state.channel["email olga"].page)
    before = house.state.size
    given = Given("link", digest, 0, "olga", "")
    assert house.do(proofs.answer(given, True))["channel"] == "email"
    for wrong in (given._replace(person="piet"), given._replace(digest="0" * 64)):
        with pytest.raises(Refused):
            house.do(proofs.answer(wrong, False))
    assert house.state.size == before
    house.do(proofs.answer(given, False))
    assert house.state.channel["email olga"].how == "link"
    with pytest.raises(Refused):
        house.do(proofs.answer(given, False))


@pytest.mark.requirement("R12.12")
def test_whoever_was_not_shown_to_be_reached_for_long_is_asked_by_the_clock() -> None:
    house = house_of(CHANNELS)
    ways = (("pager", "olga"), ("email", "olga"))
    assert [due(house, *ways) for _ in range(3)] == [1, 1, 0], "they wait to come back"
    for channel, person in ways:
        confirm(house, KEYS.code(house.state.channel[f"{channel} {person}"].page), person, channel)
    house.clock.skip(26 * DAY_US)
    assert due(house, *ways) == 0
    house.clock.skip(DAY_US + 60_000_000)  # before it is too old, so that there is time for it to come back
    assert [due(house, *ways) for _ in range(3)] == [1, 1, 0]
    house.clock.skip(3 * DAY_US)
    assert due(house, *ways) == 1, "nothing came back: it is asked again"


def test_nobody_is_asked_in_quiet_hours_or_where_no_escalation_is_declared() -> None:
    quiet = canonical.decode(canonical.encode(CHANNELS))
    quiet["escalation"]["quiet"] = "00:00-24:00"
    house = house_of(quiet)
    assert due(house, ("pager", "olga")) == 0
    assert due(house_of(), ("pager", "olga")) == 0


def test_an_asking_or_a_proof_told_otherwise_does_not_fold() -> None:
    house = house_of(CHANNELS)
    ask(house)
    row = house.state.channel["pager olga"]
    soon, page = house.state.last_at_us + DAY_US, house.state.pages + 1
    bodies: list[Any] = [
        kinds.ChannelProven(channel="pager", person="olga", how="link", asked=1, token=row.token or ""),
        kinds.ChannelProven(channel="pager", person="olga", how="link", asked=row.asked or 0, token="0" * 64),
        kinds.ChannelProven(channel="pager", person="piet", how="link", asked=row.asked or 0, token=row.token or ""),
        kinds.ChannelProven(channel="pager", person="olga", how="said", asked=row.asked or 0, token=row.token or ""),
        kinds.ChannelAsked(channel="pager", person="nobody", page=page, token="", due_us=soon),
        kinds.ChannelAsked(channel="pager", person="olga", page=1, token="", due_us=soon),
        kinds.ChannelAsked(channel="pager", person="olga", page=page, token="", due_us=soon + 7 * DAY_US),
        kinds.ChannelAsked(channel="pager", person="olga", page=page, token="", due_us=soon - DAY_US),
    ]
    for body in bodies:
        with pytest.raises(Corrupt):
            house.write(Draft(body=body, actor="node"))


def test_settings_of_another_house_are_not_needed() -> None:
    house = house_of()
    configure(house, CHANNELS)
    assert ask(house)


@pytest.mark.requirement("R12.15")
def test_nobody_is_asked_twice_in_a_minute_whoever_orders_it() -> None:
    """Attack: one order after the other, until somebody switches the channel off."""
    house = house_of(CHANNELS)
    ask(house)
    with pytest.raises(Refused, match="just now"):
        ask(house)
    ask(house, channel="email")
    house.clock.skip(60_000_000)
    ask(house)


def heard(house: House, person: str = "olga", event: str = "e" * 64, at_us: int | None = None) -> Any:
    return house.do(proofs.from_service("pager", person, event, house.clock.wall_us() if at_us is None else at_us))


@pytest.mark.requirement("R12.13")
def test_an_on_call_service_shows_it_for_whom_it_says_once_and_need_not_ring_any_more() -> None:
    house = house_of(CHANNELS)
    with pytest.raises(Refused, match="nothing waits"):
        heard(house)
    ask(house)
    said_us = house.clock.wall_us()
    heard(house)
    assert house.state.channel["pager olga"].how == "pagerduty"
    page = house.bodies(kinds.PageQueued4)[-1]
    assert (page.about, page.channel, page.person) == ("proven", "pager", "olga")
    house.clock.skip(120_000_000)
    ask(house)
    with pytest.raises(Refused, match="before it was asked"):
        heard(house, at_us=said_us)
    heard(house, event="f" * 64)


@pytest.mark.requirement("R12.14")
def test_a_code_given_back_ends_the_ringing_too() -> None:
    house = house_of(CHANNELS)
    confirm(house, ask(house))
    assert house.bodies(kinds.PageQueued4)[-1].about == "proven"
    confirm(house, ask(house, channel="email"), channel="email")
    assert house.bodies(kinds.PageQueued4)[-1].about == "proof"


def test_a_service_speaks_for_no_channel_that_is_none() -> None:
    house = house_of({**CHANNELS, "channels": [["pager", {"kind": "slack"}]]})
    ask(house)
    with pytest.raises(Corrupt):
        heard(house)
    assert house.state.channel["pager olga"].proven is None


def test_what_came_back_or_is_asked_anew_does_not_go_out_any_more() -> None:
    house = house_of(CHANNELS)
    code = ask(house)
    first = house.state.page[house.state.channel["pager olga"].page]
    assert not over(house.state, first)
    house.clock.skip(120_000_000)
    code = ask(house)
    second = house.state.page[house.state.channel["pager olga"].page]
    assert over(house.state, first)
    assert not over(house.state, second)
    confirm(house, code)
    assert over(house.state, second)
    assert over(house.state, first)


def test_the_letter_says_how_it_is_given_back_and_nothing_that_is_wrong() -> None:
    letter = proofs.proof_letter("olga", "pager", "AAAA-BBBB-CCCC-DDDD", b"")
    assert letter.text.splitlines()[1] == (
        "You are asked to: give it back. Run: failwell escalation confirm AAAA-BBBB-CCCC-DDDD --as olga"
    )


def test_a_verified_address_is_proven_in_todays_records_and_makes_no_row_in_older_ones() -> None:
    for rules, known in ((3, True), (2, False)):
        house = house_of(CHANNELS, rules)
        contact = kinds.ContactVerified(person="olga", contact="c" * 64, how="code", by="olga")
        house.write(Draft(body=contact, actor="person:olga"))
        assert ("email olga" in house.state.channel) is known
