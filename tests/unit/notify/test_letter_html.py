"""The letter as HTML: the same words as in plain text, every one of them escaped, and one link, which is ours."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failwell.notify.letter_html import letter_html, taken_apart

LINK = "https://failwell.example:8443/a/e30.e30.AAAA"
CHECKPOINT = """----- checkpoint: keep this mail, it is evidence -----
failwell/5d41402abc4b2a76
1326
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— node-1 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurm
----- end of checkpoint -----
"""


def letter(words: str = "refund-bot sent 45 notices") -> str:
    return (
        f"{words}. It is suspended; the record is locked.\n"
        "You are asked to: take it. Run: failwell incident acknowledge 1\n"
        f"From here: {LINK}\nBy mail: answer this one, and begin with ACK and the code 7K2M-9XQD-4TWV-H3ZB.\n"
        "Whoever holds this mail can do that, so do not pass it on. It does no more than that.\n"
        f"\nIncident 1, critical; about {words}.\nEverything: failwell incident show 1\n\n{CHECKPOINT}"
    )


class Seen(HTMLParser):
    """The tags with what they bear, and the text between them."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.text = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


PLAIN = Seen(letter_html("[Failwell] x", letter(), LINK))


def test_a_letter_says_in_html_what_it_says_in_plain_text() -> None:
    """The line of the link is its button; all others are there, in their order."""
    at = 0
    for line in letter().split("\n"):
        if line and not line.startswith("From here: "):
            words = line.partition(". Run: ")
            for part in (words[0], words[2]):
                at = PLAIN.text.index(part, at)


def test_what_is_asked_stands_on_the_button_and_its_command_by_itself() -> None:
    told = taken_apart(letter())
    assert (told.asks, told.run, told.label) == (
        "You are asked to: take it",
        "failwell incident acknowledge 1",
        "Take it",
    )
    assert ("a", (("class", "act"), ("href", LINK), ("rel", "noreferrer"))) in PLAIN.tags
    long = letter().replace("take it.", "stop at its own side what is not confirmed, and take it.")
    assert taken_apart(long).label == "Answer"


HOSTILE = [
    "<script>alert(1)</script>",
    "</p></div><form action=//evil.example><input type=submit>",
    '"><img src=x onerror=alert(1)>',
    "</style><style>.asks{display:none}",
    "</title><meta http-equiv=refresh content='0;url=//evil.example'>",
    "{{ 7 * 7 }}{% raw %}",
    "</pre><a href='https://evil.example/a/x'>Take it</a>",
    "<!-- ",
    "<![CDATA[",
    "&lt;b&gt; &#60;b&#62;",
]


@pytest.mark.parametrize("words", HOSTILE)
@pytest.mark.requirement("R10.59")
def test_what_an_agent_wrote_is_text(words: str) -> None:
    seen = Seen(letter_html(words, letter(words), LINK))
    assert [tag for tag, _ in seen.tags] == [tag for tag, _ in PLAIN.tags]
    assert [each for each in seen.tags if each[0] == "a"] == [each for each in PLAIN.tags if each[0] == "a"]
    assert seen.text.count(words) == 3  # its title, its first line, its case's


@given(st.text(max_size=200).map(lambda words: " ".join(words.split())))
def test_no_words_change_what_the_letter_is_made_of(words: str) -> None:
    seen = Seen(letter_html("x", letter(words), LINK))
    assert seen.tags == PLAIN.tags


@pytest.mark.requirement("R10.60")
def test_a_checkpoint_begins_at_a_line_and_nowhere_within_one() -> None:
    """Attack: a tool's name that begins one, so that what is asked is taken for a part of it."""
    told = taken_apart(letter("x ----- checkpoint: keep this mail, it is evidence -----"))
    assert told.asks == "You are asked to: take it"
    assert told.checkpoint == CHECKPOINT.strip("\n")


@pytest.mark.parametrize("link", [None, "javascript:alert(1)", "data:text/html,x", "//evil.example", " https://x"])
def test_a_link_that_leads_to_no_page_is_none(link: str | None) -> None:
    assert all(tag != "a" for tag, _ in Seen(letter_html("x", letter(), link)).tags)


def test_nothing_is_loaded_and_nothing_runs() -> None:
    document = letter_html("x", letter(), LINK)
    assert not {tag for tag, _ in PLAIN.tags} & {"script", "img", "link", "iframe", "form", "input", "object", "svg"}
    assert not re.search(r"url\(|@import|src=|\bon[a-z]+=", document)
    assert html.unescape(document).count("https://") == 1


@pytest.mark.parametrize(
    "text", ["", "\n", "One line", "One line\n\nAnother\n", f"x\n\n{CHECKPOINT}", "You are asked to: x"]
)
def test_a_letter_of_another_shape_is_told_as_it_is(text: str) -> None:
    seen = Seen(letter_html("x", text, None)).text
    assert all(line in seen for line in text.split("\n"))
