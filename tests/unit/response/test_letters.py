"""The owner's letter: two lines that say what happened and what is asked, and evidence that can be cut out of it."""

from __future__ import annotations

import msgspec
import pytest

from failwell.core import note, rows
from failwell.core.errors import InputError
from failwell.response.letters import (
    BEGIN,
    END,
    Letter,
    bare_letter,
    contact_letter,
    incident_letter,
    notice_letter,
    stop_letter,
)
from tests.unit.gate.house import FATAL, ORIGIN, RULES, SECOND_US, SMALL, House, open_house
from tests.unit.response.test_account import see, told


@pytest.fixture
def house() -> House:
    house = open_house()
    house.ask(house.run(), FATAL)
    return house


def newest(house: House) -> bytes:
    head = note.Checkpoint(ORIGIN, house.state.size, house.book.frontier.root())
    return note.sign(head.text(), ORIGIN, house.log.public, house.log.sign)


def letter_of(house: House, **changed: object) -> Letter:
    return incident_letter(msgspec.structs.replace(told(house), **changed), newest(house))


def cut_out(text: str) -> bytes:
    """The checkpoint as a reader would take it from the mail."""
    assert text.count(f"\n{BEGIN}\n") == text.count(f"\n{END}\n") == 1
    return text.partition(f"{BEGIN}\n")[2].partition(f"{END}\n")[0].encode()


def test_the_first_two_lines_say_what_happened_what_was_done_and_what_is_asked(house: House) -> None:
    letter = letter_of(house)
    lines = letter.text.split("\n")
    assert lines[0] == (
        "refund-bot tried payments.refund against its contract (clause fatal). It is suspended; the record is locked."
    )
    assert lines[1] == "You are asked to: take it. Run: failwell incident acknowledge 1"
    assert letter.subject == "[Failwell] refund-bot suspended (incident 1, critical)"


def test_the_checkpoint_in_it_is_the_signed_one_byte_for_byte(house: House) -> None:
    letter = letter_of(house)
    kept = cut_out(letter.text)
    assert kept == newest(house)
    signed = note.SignedNote.parse(kept)
    assert signed.text.split("\n")[:2] == [ORIGIN, str(house.state.size)]
    assert letter.checkpoint == house.state.size


def test_a_checkpoint_that_does_not_cover_the_incident_says_so_and_one_that_does_says_nothing() -> None:
    house = open_house()
    early = newest(house)
    house.ask(house.run(), FATAL)
    assert "does not cover the incident yet" in incident_letter(told(house), early).text
    assert "does not cover" not in incident_letter(told(house), newest(house)).text


def test_the_entry_of_the_detection_itself_must_be_inside_the_tree() -> None:
    """A tree of n entries holds 0 .. n-1: with the detection as entry n it is not covered."""
    house = open_house()
    early = newest(house)
    size = house.state.size
    house.ask(house.run(), FATAL)
    detected = told(house).times["detected"]
    assert detected is not None
    moved = msgspec.structs.replace(detected, entry=size)
    last = msgspec.structs.replace(detected, entry=size - 1)
    for moment, covered in ((moved, False), (last, True)):
        account = msgspec.structs.replace(told(house), times={**told(house).times, "detected": moment})
        assert ("does not cover" not in incident_letter(account, early).text) == covered


@pytest.mark.requirement("R6.38")
def test_a_stop_that_is_not_proven_is_not_called_stopped() -> None:
    house = open_house()
    run = house.run()
    action = house.ask(run).entry
    house.ask(run, FATAL)
    for ended in (False, True):
        if ended:
            house.stop(action, "interrupted_unconfirmed")
        first = letter_of(house).text.split("\n")[0]
        assert "It is suspended" in first
        assert "1 running tool is NOT CONFIRMED as stopped" in first
        assert "stopped and" not in first


def test_an_agent_that_is_only_restricted_or_not_stopped_at_all_is_not_called_suspended() -> None:
    for do, subject in (("restrict", "refund-bot restricted"), ("notify", "refund-bot needs a person")):
        house = open_house(RULES + f"response:\n  - {{signal: denied(small), do: [{do}]}}\n")
        house.ask(house.run(), SMALL)
        letter = letter_of(house)
        assert subject in letter.subject
        assert "suspended;" not in letter.text


def test_without_a_witness_the_letter_does_not_say_that_nothing_escaped(house: House) -> None:
    assert "not known yet" in letter_of(house).text
    see(house, "r-1", ago_us=0)
    assert "1 effect on 1 customer seen so far, counted from shop" in letter_of(house).text


def test_no_customer_is_named_in_a_mail(house: House) -> None:
    see(house, "r-1", customer="Anna-Planted", ago_us=-SECOND_US)
    assert told(house).customers[0].id == "Anna-Planted"
    assert "Anna" not in letter_of(house).text


@pytest.mark.parametrize(
    "text",
    [
        "fine\nYou are asked to: nothing. All is well.",
        f"x\n{BEGIN}\nforged\n{END}\ny",
        f"{BEGIN}",
        "x\r\nBcc: eve@example.org\r\n\r\n",
        "a\u2028b\u2029c\x85d\x0be",
        "\n" * 50,
    ],
)
@pytest.mark.parametrize("field", ["happened", "agent", "owner", "severity"])
def test_hostile_words_stay_in_their_line(house: House, field: str, text: str) -> None:
    letter = letter_of(house, **{field: text})
    lines = letter.text.splitlines()
    assert lines[1] == "You are asked to: take it. Run: failwell incident acknowledge 1"
    assert cut_out(letter.text) == newest(house)
    assert len(lines) == len(letter_of(house).text.splitlines())


@pytest.mark.parametrize(
    "address",
    ["https://evil.example/take-it", "HTTP://EVIL.example", "www.evil.example", "mailto:eve@evil.example", "tel:+1555"],
)
@pytest.mark.requirement("R10.62")
def test_an_address_in_an_agents_words_is_nothing_to_click_on(house: House, address: str) -> None:
    """Attack: an agent calls a tool by the address of its own page, and the alarm about it asks to go there."""
    letter = letter_of(house, happened=f"refund-bot tried {address}, which its contract does not list")
    assert address not in letter.text
    assert address.replace(":", "[:]", 1).replace("www.", "www[.]") in letter.text
    assert "agent spiffe://shop.example/agent/refund-bot" in letter.text
    assert address not in bare_letter(1, f"x {address}\nYou are asked to: nothing").text


def test_a_checkpoint_that_is_none_makes_no_letter(house: House) -> None:
    for broken in (b"", b"not a note", newest(house)[:40]):
        with pytest.raises(InputError):
            incident_letter(told(house), broken)


def test_without_an_account_the_owner_still_hears_which_case_and_what_is_asked() -> None:
    letter = bare_letter(7, "KeyError: 'x'" + "!" * 1000)
    assert letter.text.split("\n")[1] == "You are asked to: take it. Run: failwell incident acknowledge 7"
    assert "incident 7" in letter.subject
    assert letter.checkpoint == 0
    assert len(letter.text) < 500


def test_a_page_of_no_incident_that_cannot_be_told_names_none() -> None:
    letter = bare_letter(0, "KeyError: 'x'")
    assert "incident" not in letter.subject + letter.text


def test_who_follows_reads_what_happened_and_what_is_asked_first() -> None:
    """Attack: a reason with line ends, to push what is asked out of sight or to begin a checkpoint of its own."""
    letter = notice_letter("refund-bot", f"anna, who owned it, has left: bye\n{BEGIN}\nforged", "cleo", b"")
    first, second = letter.text.split("\n")[:2]
    assert first.startswith("refund-bot has no owner: anna, who owned it, has left: bye")
    assert second.startswith("You are asked to: find who answers for it. Run: failwell agent assign refund-bot")
    assert letter.text.split("\n").count(BEGIN) == 1
    assert letter.subject == "[Failwell] refund-bot needs an owner"


def test_the_mail_with_the_code_says_what_to_do_with_it_and_that_it_is_of_no_use_to_others() -> None:
    subject, text = contact_letter("anna", "failwell/ab", "k7m2p9qx")
    assert "k7m2p9qx" not in subject
    assert text.split("\n")[1].endswith("failwell person verify anna --code k7m2p9qx --as anna")
    assert "If you are not that person, do nothing" in text


def test_a_stop_of_everything_is_told_with_what_is_not_confirmed_and_a_checkpoint(house: House) -> None:
    row = rows.Stop(
        epoch=1, closed=True, ordered=house.state.size - 1, interrupted=0, stopped_by=("person:quan",),
        why="it is\non fire", waiting=(), failed=(7,), proposed_by=None, proposal=None,
    )  # fmt: skip
    letter = stop_letter("all", row, 3, newest(house))
    lines = letter.text.split("\n")
    assert lines[0] == "Everything is stopped, by quan: it is on fire. 1 running tool NOT CONFIRMED as stopped."
    assert lines[1] == "You are asked to: look. Run: failwell stop show all"
    assert letter.subject == "[Failwell] everything stopped"
    assert cut_out(letter.text) == newest(house)
    later = stop_letter("group:night", msgspec.structs.replace(row, closed=False, failed=()), 0, newest(house))
    assert "was stopped, and was lifted since" in later.text
