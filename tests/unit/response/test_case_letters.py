"""The letters after the first: why this person is written to, what happened, what they are asked, in two lines."""

from __future__ import annotations

import msgspec
import pytest

from failwell.core.rows import Page
from failwell.response.case_letters import case_letter
from failwell.response.case_steps import PAGES
from failwell.response.letters import BEGIN, END
from tests.unit.gate.house import FATAL, House, open_house
from tests.unit.response.test_account import told
from tests.unit.response.test_letters import cut_out, newest

#: What the reactions say, and what is asked because of it.
ASKED = {
    "next-step": ("refund-bot may go on: nobody can confirm that action 7 has stopped", "stop report --incident 1"),
    "step": ("nobody has taken it in time", "incident acknowledge 1"),
    "work": ("refund-bot was stopped and leaves 2 runs unfinished", "incident work 1"),
    "preserve": ("Hold 1 locks the record of refund-bot: keep your own records of payments.refund", "incident show 1"),
    "objective": ("incident 1, critical: the time agreed is over, and nobody took it", "incident acknowledge 1"),
    "offer": ("anna asks you to take incident 1 over", "incident acknowledge 1 --as rita"),
    "break-glass": ("sara alone gave refund-bot its authority back", "incident show 1"),
    "task": ("anna gave you task 1 of incident 1", "incident show 1"),
    "group": ("its whole group is stopped with refund-bot: refund-bot, other-bot", "incident show 1"),
}


@pytest.fixture
def house() -> House:
    house = open_house()
    house.ask(house.run(), FATAL)
    return house


def page(about: str, why: str, person: str = "rita") -> Page:
    return Page(
        incident=1, agent="a", ticket=None, person=person, channel="email", step=1, state="queued", attempts=0,
        due_us=0, why=why, about=about,
    )  # fmt: skip


def test_every_page_that_a_reaction_queues_has_a_letter_of_its_own() -> None:
    assert set(ASKED) == set(PAGES) - {""}


@pytest.mark.parametrize("about", ASKED)
@pytest.mark.requirement("R10.10")
def test_two_lines_say_why_they_are_written_to_what_happened_what_was_done_and_what_is_asked(
    house: House, about: str
) -> None:
    why, command = ASKED[about]
    letter = case_letter(told(house), page(about, why), newest(house))
    first, second = letter.text.split("\n")[:2]
    assert first.lower().startswith(why.lower())
    assert "What happened: refund-bot tried payments.refund against its contract (clause fatal)." in first
    assert "It is suspended; the record is locked." in first
    assert second.startswith("You are asked to: ")
    assert second.endswith(f"failwell {command}")
    assert letter.subject.endswith("(incident 1, critical)")
    assert "refund-bot" in letter.subject
    assert cut_out(letter.text) == newest(house)


@pytest.mark.parametrize("about", ["", *ASKED])
@pytest.mark.parametrize("text", ["fine\nYou are asked to: nothing.", f"x\n{BEGIN}\nforged\n{END}\ny", "a\u2028b\x85c"])
@pytest.mark.requirement("R10.12")
def test_hostile_words_stay_in_their_line(house: House, about: str, text: str) -> None:
    """Attack: a reason or a title with line ends, to push what is asked out of sight or to forge a checkpoint."""
    account = msgspec.structs.replace(told(house), happened=text, owner=text, done=(text,))
    letter = case_letter(account, page(about, text, person=text), newest(house))
    lines = letter.text.splitlines()
    assert lines[1].startswith("You are asked to: ")
    assert not lines[1].startswith("You are asked to: nothing")
    assert cut_out(letter.text) == newest(house)


@pytest.mark.requirement("R10.13")
def test_who_follows_reads_who_has_it_and_is_not_asked_to_take_what_is_taken(house: House) -> None:
    early = case_letter(told(house), page("", ""), newest(house))
    assert early.text.split("\n")[1] == "You are asked to: take it. Run: failwell incident acknowledge 1"
    assert "nobody has taken it yet" in early.text
    house.acknowledge("olga")
    late = case_letter(told(house), page("", ""), newest(house))
    assert late.text.split("\n")[1] == "You are asked to: know of it; olga has taken it. Run: failwell incident show 1"
    assert "olga has it" in late.text


def test_a_review_is_asked_only_while_the_agent_still_acts(house: House) -> None:
    why = "sara alone gave refund-bot its authority back"
    acts = msgspec.structs.replace(told(house), authority="PROBATION")
    asked = case_letter(acts, page("break-glass", why), newest(house)).text.split("\n")[1]
    assert "failwell agent release review refund-bot --incident 1" in asked
    over = case_letter(told(house), page("break-glass", why), newest(house)).text.split("\n")[1]
    assert "it acts no more" in over


@pytest.mark.requirement("R10.11")
def test_a_rehearsal_says_so_before_anything_else(house: House) -> None:
    for kind, mark in (
        ("drill", "[Failwell] DRILL: "),
        ("canary", "[Failwell] CANARY: "),
        ("real", "[Failwell] refund"),
    ):
        letter = case_letter(msgspec.structs.replace(told(house), kind=kind), page("", ""), newest(house))
        assert letter.subject.startswith(mark)
