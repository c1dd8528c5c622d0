"""Pages go out by their own way: what hangs delays no other, what fails is tried again, nothing goes out twice."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.records import Draft
from failwell.node.flood import AT_MOST
from failwell.node.outbox import FIRST_PAUSE_US, LATEST_S, Outbox, _Lane
from failwell.node.posting import HOPELESS_PAUSE_US
from failwell.ports.notifier import Mail, NotifyFailed
from tests.unit.gate.house import FATAL, MINUTE_US, ORIGIN, SECOND_US, House
from tests.unit.node.posts import Box, Room, failing, letter_of, outbox_of, post
from tests.unit.response.asking import after, configure, house_of, opened, path, row, step

ROOM = {"channels": [["room", {"kind": "slack"}]]}
SHARED = path(step("owner", by=["email", "room"], ack_within_s=60)) | ROOM


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody has one."""
    honest = House.enrol

    def enrol(self: House, person: str, *roles: str, **more: Any) -> None:
        honest(self, person, *roles, **{**more, "email": f"{person}@shop.example"})

    monkeypatch.setattr(House, "enrol", enrol)


def attempts(house: House) -> list[kinds.PageAttempted2]:
    return house.bodies(kinds.PageAttempted2)


def eventually(done: object, within_s: float = 10) -> None:
    """Wait until `done()`; real threads are at work."""
    until = time.monotonic() + within_s
    while not done():  # type: ignore[operator]
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.005)


def settled(house: House) -> None:
    """The moment in which a first page waits for the stops that it tells of is over."""
    house.clock.skip(2 * SECOND_US)


# ---- each by its own way -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("hanging", ["room", "mail"])
@pytest.mark.requirement("R10.76")
def test_a_way_that_hangs_delays_no_other(hanging: str) -> None:
    house = opened(SHARED)
    settled(house)
    box, room, gate = Box(), Room(), threading.Event()
    slow, quick = (room, box.mails) if hanging == "room" else (box, room.told)
    slow.hangs = gate
    writer = house.writer()
    outbox = Outbox(writer, box, letter_of, ORIGIN, channels={"room": room})
    try:
        outbox.start()
        outbox.wake()
        eventually(lambda: quick)
        assert not (room.told and box.mails)
    finally:
        gate.set()
        outbox.close()
        writer.close()
    assert len(box.mails) + len(room.told) >= 2


@pytest.mark.requirement("R10.77")
def test_several_workers_of_one_way_send_nothing_twice() -> None:
    """Attack: one looks up what is due while another has just sent it."""
    house = house_of(path(step("owner")))
    run = house.run()
    for _ in range(3):
        house.ask(run, FATAL)
    for number in range(30):
        house.write(_page(house, number, about="next-step"))
    settled(house)
    box = Box()
    waiting = sum(each.due_us <= house.clock.wall for each in house.state.page.values())
    writer = house.writer()
    outbox = Outbox(writer, box, letter_of, ORIGIN)
    try:
        outbox.start()
        for _ in range(100):
            outbox.wake()
            time.sleep(0.002)
        eventually(lambda: len(box.mails) >= waiting)
    finally:
        outbox.close()
        writer.close()
    assert len({mail.message_id for mail in box.mails}) == len(box.mails) == waiting


def test_a_channel_that_several_read_is_told_once_by_its_name_and_with_no_answer_in_it() -> None:
    house = opened(SHARED)
    settled(house)
    box, room = Box(), Room()
    outbox = outbox_of(house, box, room=room)
    assert (post(outbox), post(outbox, "room")) == (1, 1)
    (message,) = room.told
    assert (message.incident, message.action, message.link, message.persons) == (1, "trigger", None, ("olga",))
    assert message.key != box.mails[0].message_id.strip("<>").partition("@")[0]
    assert [body.provider for body in attempts(house)] == ["the mail server", "a room"]


def test_a_channel_that_the_settings_know_no_more_is_a_failure_on_record_and_the_path_goes_on() -> None:
    house = opened(path(step("owner", by=["room"], ack_within_s=900), step("person:rita")) | ROOM)
    settled(house)
    outbox = outbox_of(house, Box())
    post(outbox)
    assert [(body.accepted, body.permanent) for body in attempts(house) if "channel" in body.detail] == [(False, True)]
    assert (after(house, 0), row(house).step) == (1, 2)


# ---- again, or not -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("R10.78")
def test_every_attempt_bears_the_same_key_also_after_a_crash_between_sending_and_recording(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = opened()
    settled(house)
    box = Box()
    seen: list[str] = []
    outbox = outbox_of(house, box)

    def refuse(mail: Mail) -> None:
        seen.append(mail.message_id)
        failing(temporary=True)(mail)

    box.fails = refuse
    post(outbox)
    with monkeypatch.context() as dying:
        dying.setattr(Outbox, "_record", lambda *_: (_ for _ in ()).throw(SystemExit))
        box.fails = lambda mail: seen.append(mail.message_id)
        house.clock.skip(FIRST_PAUSE_US + SECOND_US)
        with pytest.raises(SystemExit):  # it was sent, and nothing says so
            post(outbox)
    assert post(outbox_of(house, box)) == 1
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert [body.attempt for body in attempts(house)] == [1, 2]


def test_what_fails_for_a_while_is_tried_again_with_growing_pauses_for_ever() -> None:
    house = opened(path(step("owner", ack_within_s=100_000)))
    settled(house)
    box = Box()
    box.fails = failing(temporary=True)
    outbox, pauses = outbox_of(house, box), []
    for _ in range(12):
        assert post(outbox) == 1
        pauses.append(house.state.page[1].due_us - house.state.last_at_us)
        house.clock.skip(pauses[-1])
    assert pauses[:3] == [FIRST_PAUSE_US, 2 * FIRST_PAUSE_US, 4 * FIRST_PAUSE_US]
    assert pauses[-1] == pauses[-2] == 300 * SECOND_US


@pytest.mark.parametrize(("said_s", "obeyed_s"), [(120, 120), (86_400, LATEST_S)])
@pytest.mark.requirement("R10.81")
def test_who_asks_to_be_left_alone_is_and_not_for_long(said_s: int, obeyed_s: int) -> None:
    house = opened()
    settled(house)
    box = Box()
    box.fails = failing(temporary=True, retry_after_s=said_s)
    post(outbox_of(house, box))
    assert house.state.page[1].due_us - house.state.last_at_us == obeyed_s * SECOND_US


@pytest.mark.requirement("R10.79", "R10.80")
def test_what_will_not_do_makes_the_next_step_due_at_once_and_is_tried_again_once_people_mended_it() -> None:
    house = opened(path(step("owner", ack_within_s=3600), step("person:rita", ack_within_s=3600)))
    settled(house)
    box = Box()
    box.fails = failing(temporary=False)
    outbox = outbox_of(house, box)
    post(outbox)
    assert house.state.page[1].due_us - house.state.last_at_us == HOPELESS_PAUSE_US
    assert (after(house, 0), row(house).step) == (1, 2)
    post(outbox)
    assert after(house, SECOND_US) == 1
    post(outbox)
    assert post(outbox) == 0
    box.fails = None
    outbox.take_settings(box, {})
    house.clock.skip(SECOND_US)
    post(outbox)
    assert {mail.to for mail in box.mails} == {"olga@shop.example", *_reached(house)}


def _reached(house: House) -> set[str]:
    """The addresses of all who were asked by the last step."""
    found = set()
    for person in (*row(house).asked[-1], "rita"):
        secret = house.secret(house.state.person[person].enrolled)
        found.add(str(secret["email"]))
    return found


def test_without_a_mail_server_the_path_does_not_wait_and_nothing_is_given_up() -> None:
    house = opened(path(step("owner", ack_within_s=3600), step("person:rita", ack_within_s=3600)))
    settled(house)
    outbox = outbox_of(house, None)
    for _ in range(4):
        post(outbox)
        after(house, SECOND_US)
    assert row(house).last_resort
    box = Box()
    outbox.take_settings(box, {})
    assert post(outbox) >= 3
    assert house.state.page == {}


# ---- what nobody has to be told any more --------------------------------------------------------------------------


@pytest.mark.requirement("R10.83")
def test_who_took_it_ends_the_asking_of_others_and_the_owner_is_told_all_the_same() -> None:
    house = opened(path(step("owner", ack_within_s=60), step("person:rita", ack_within_s=60)))
    settled(house)
    box = Box()
    box.fails = failing(temporary=True)
    outbox = outbox_of(house, box)
    post(outbox)
    after(house, 61 * SECOND_US)
    post(outbox)
    house.acknowledge("piet")
    box.fails = None
    house.clock.skip(10 * MINUTE_US)
    post(outbox)
    assert [mail.to for mail in box.mails] == ["olga@shop.example"]
    assert attempts(house)[-1].next_due_us is None
    assert house.state.page == {}


@pytest.mark.requirement("R10.99")
def test_pages_that_a_later_one_stands_for_take_no_turn_from_it_once_the_way_works_again() -> None:
    """Seen: each page that nobody needs any more was the one that tries the way, and the newest waited behind all."""
    house = opened(path(step("owner", ack_within_s=1, repeat=2)))
    settled(house)
    box = Box()
    box.fails = failing(temporary=True)
    outbox = outbox_of(house, box)
    for _ in range(3):
        post(outbox)
        after(house, SECOND_US + 1)
    post(outbox)
    box.fails = None
    house.clock.skip(10 * MINUTE_US)
    lane = _Lane("email")
    taken = []
    while (due := outbox._next(lane)) is not None:
        taken.append(due)
        outbox._attempt(due)
    assert len([each for each in taken if each.over]) > 1
    assert [mail.to for mail in box.mails].count("olga@shop.example") == 1


def test_a_page_that_never_went_out_is_ended_by_a_later_one_to_the_same_person_only() -> None:
    house = opened(path(step("role:approver", ack_within_s=60, repeat=1)))
    settled(house)
    box = Box()
    box.fails = failing(temporary=True)
    outbox = outbox_of(house, box)
    post(outbox)
    after(house, 61 * SECOND_US)
    box.fails = None
    house.clock.skip(MINUTE_US)
    post(outbox)
    told = [mail.to for mail in box.mails]
    assert sorted(told) == sorted(set(told)), "somebody got two letters about one thing"
    assert len(told) == 4  # three approvers, and the owner in any case


def test_a_trigger_that_comes_too_late_is_not_sent_behind_what_ends_it() -> None:
    """Attack: the on-call service was down, hears first that it is taken, and rings then."""
    house = opened(SHARED)
    settled(house)
    room = Room()
    room.fails = failing(temporary=True)
    outbox = outbox_of(house, Box(), room=room)
    post(outbox, "room")
    house.acknowledge("olga")
    room.fails = None
    house.clock.skip(MINUTE_US)
    post(outbox, "room")
    assert [message.action for message in room.told] == ["acknowledge"]


# ---- too much ----------------------------------------------------------------------------------------------------


def _page(house: House, number: int, about: str = "task", beside: int = 0) -> Draft:
    body = kinds.PageQueued4(
        page=house.state.pages + 1 + beside, incident=1, person="olga", channel="email", step=1,
        due_us=house.state.last_at_us, why=f"task {number}", ticket=None, about=about, cycle=0, round=1, persons=(),
        digest=None,
    )  # fmt: skip
    return Draft(body=body, actor="node")


@pytest.mark.requirement("R10.84")
def test_beyond_ten_letters_one_a_minute_tells_the_rest_and_nothing_is_left_out() -> None:
    house = opened()
    settled(house)
    box = Box()
    outbox = outbox_of(house, box)
    outbox._flood._now_s = lambda: house.clock.mono / SECOND_US
    post(outbox)
    for number in range(40):
        house.write(_page(house, number))
    post(outbox)
    assert len(box.mails) == 1 + AT_MOST
    assert box.mails[-1].text.count("incident 1") == 40 - AT_MOST
    for number in range(5):
        house.write(_page(house, number))
    assert post(outbox) == 0
    house.clock.skip(MINUTE_US)
    assert post(outbox) == 1
    assert box.mails[-1].text.count("incident 1") == 4
    assert house.state.page == {}


@pytest.mark.requirement("R10.85")
def test_the_first_page_of_an_incident_and_a_failed_stop_are_never_held_up() -> None:
    house = house_of()
    run = house.run()
    house.ask(run, FATAL)
    settled(house)
    box = Box()
    outbox = outbox_of(house, box)
    for number in range(40):
        house.write(_page(house, number))
    post(outbox)
    before = len(box.mails)
    house.write(_page(house, 1, about=""), _page(house, 2, about="next-step", beside=1))
    assert post(outbox) == 2
    assert len(box.mails) == before + 2


@pytest.mark.requirement("R10.86")
def test_what_one_letter_tells_is_kept_when_that_one_is_told_by_another() -> None:
    house = opened()
    first = [house.state.pages + number for number in range(1, 5)]
    for number in range(4):
        house.write(_page(house, number))
    bundled = kinds.PageBundled(pages=(first[1],), into=first[0])
    for body in (bundled, kinds.PageBundled(pages=(first[0], first[2]), into=first[3])):
        house.write(_draft(body))
    assert [why for _, why in house.state.page[first[3]].bundled] == ["task 0", "task 1", "task 2"]


def _draft(body: kinds.PageBundled) -> Draft:
    return Draft(body=body, actor="node")


def test_a_server_that_is_down_uses_up_nobodys_letters() -> None:
    house = opened()
    settled(house)
    box = Box()
    box.fails = failing(temporary=True)
    outbox = outbox_of(house, box)
    for number in range(5):
        house.write(_page(house, number))
    for _ in range(4):
        post(outbox)
        house.clock.skip(5 * MINUTE_US)
    box.fails = None
    assert post(outbox) >= 6
    assert len(box.mails) >= 6


# ---- what is told of the ways -------------------------------------------------------------------------------------


def test_what_a_mail_server_repeats_of_an_address_stands_in_no_entry() -> None:
    house = opened()
    settled(house)
    box = Box()

    def tell(mail: object) -> None:
        raise NotifyFailed("550 <OLGA@shop.example> is unknown", temporary=False)

    box.fails = tell
    outbox = outbox_of(house, box)
    post(outbox)
    assert attempts(house)[-1].detail == "550 <the recipient> is unknown"
    assert (outbox.ways["email"].failed, outbox.ways["email"].accepted_us) == (1, 0)
    box.fails = None
    configure(house, path(step("owner")))
    outbox.take_settings(box, {})
    house.clock.skip(SECOND_US)
    post(outbox)
    assert outbox.ways["email"].failed == 0
    assert outbox.ways["email"].accepted_us > 0


@pytest.mark.requirement("R10.82")
def test_while_a_way_is_down_one_page_tries_it_and_what_was_never_tried_is_not_held_up() -> None:
    house = opened()
    settled(house)
    box = Box()
    box.fails = failing(temporary=True)
    outbox = outbox_of(house, box)
    for number in range(8):
        house.write(_page(house, number))
    post(outbox)
    house.clock.skip(10 * MINUTE_US)
    lane = _Lane("email")
    assert [outbox._next(lane) is None for _ in range(3)] == [False, True, True]
    house.write(_page(house, 9))
    fresh = outbox._next(lane)
    assert fresh is not None
    assert fresh.page.attempts == 0
    box.fails = None
    outbox._attempt(fresh)
    assert [outbox._next(lane) is None for _ in range(3)] == [False, False, False]
