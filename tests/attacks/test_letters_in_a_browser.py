"""Letters with hostile words in them, shown in a real browser: light and dark, wide and as narrow as a telephone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from failwell.notify.letter_html import letter_html
from failwell.response.answerable import Answerable, answered_by
from failwell.response.letters import Letter, sealed
from tests.browser import CHROMIUM, WITHOUT, Tab, browsing
from tests.unit.notify.test_letter_html import CHECKPOINT, HOSTILE, LINK

pytestmark = [pytest.mark.ci_must_run, pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT)]
#: The address that hostile words would have loaded; nothing listens there.
EVIL = "http://127.0.0.1:9/"
WORDS = (
    *HOSTILE, f"<img src={EVIL}img>", f"<link rel=stylesheet href={EVIL}css>", f"<svg onload=fetch('{EVIL}svg')>",
    f"<iframe srcdoc='<script>parent.hit=1</script>' src={EVIL}frame>", f"<body background={EVIL}body onload=hit=1>",
    "x" * 300, "\u202eneddih\u202c", f"{EVIL}take-it www.evil.example mailto:eve@evil.example",
)  # fmt: skip
#: What of the text stands too weakly on what is behind it (WCAG 2.2, 1.4.3: 4.5 to 1).
WEAK = """
(() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (each) => {
    for (; each; each = each.parentElement) {
      const found = parse(getComputedStyle(each).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const own = (each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  return [...document.body.querySelectorAll('*')].filter(own).map((each) => {
    const [a, b] = [light(parse(getComputedStyle(each).color)), light(behind(each))];
    return [each.className || each.tagName, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  }).filter(([, contrast]) => contrast < 4.5);
})()
"""
ELEMENTS = "[...document.querySelectorAll('body *')].map((each) => each.tagName).join(' ')"


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with browsing() as browser:
        yield browser.tab()


def letter(words: str) -> Letter:
    story = [
        f"refund-bot tried {words}, which its contract does not list. It is suspended; the record is locked.",
        "You are asked to: take it. Run: failwell incident acknowledge 1",
        "",
        f"Incident 1, critical; agent spiffe://shop.example/agent/{words}, owner olga; nobody has taken it yet.",
        "Everything: failwell incident show 1",
    ]
    note = CHECKPOINT.split("\n", 1)[1].partition("-----")[0].encode()
    made = Letter("[Failwell] refund-bot suspended", sealed(story, note), 1326)
    return answered_by(made, Answerable(LINK, "7K2M-9XQD-4TWV-H3ZB", "0" * 64))


def show(tab: Tab, words: str, where: Path) -> None:
    told = letter(words)
    tab.show(letter_html(f"{words} {told.subject}", told.text, LINK), where)


def test_hostile_words_are_shown_as_words_and_do_nothing(tab: Tab, tmp_path: Path) -> None:
    tab.look(width=360)
    show(tab, "a tool", tmp_path)
    plain = tab.run(ELEMENTS)
    for words in WORDS:
        tab.asked.clear()
        show(tab, words, tmp_path)
        assert tab.asked == [(tmp_path / "shown.html").as_uri()], words
        assert tab.run(ELEMENTS) == plain, words
        assert tab.run("[...document.links].map((each) => each.href)") == [LINK]
        assert tab.run("[window.hit, document.scripts.length, document.styleSheets.length]") == [None, 0, 1]
        assert tab.run("document.documentElement.scrollWidth") <= 360, words
    show(tab, WORDS[0], tmp_path)
    assert f"refund-bot tried {WORDS[0]}," in tab.run("document.body.innerText")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 800])
@pytest.mark.requirement("R10.61")
def test_it_can_be_read_and_answered_on_a_telephone_and_in_the_dark(
    tab: Tab, tmp_path: Path, width: int, dark: bool
) -> None:
    tab.look(width=width, height=740, dark=dark)
    show(tab, "payments.refund", tmp_path)
    assert tab.run("matchMedia('(prefers-color-scheme: dark)').matches") is dark
    assert tab.run(WEAK) == []
    assert tab.run("document.documentElement.scrollWidth") == width
    button = tab.run("(({top, bottom, height}) => [top, bottom, height])(document.links[0].getBoundingClientRect())")
    assert button[1] <= 740, "what is asked stands on the first screen"
    assert button[2] >= 44, "a thumb hits it"
    backdrop = tab.run("getComputedStyle(document.querySelector('.card')).backgroundColor")
    assert backdrop == ("rgb(29, 33, 39)" if dark else "rgb(255, 255, 255)")
    if place := os.environ.get("FAILWELL_PICTURES"):
        tab.picture(Path(place) / f"letter-{'dark' if dark else 'light'}-{width}.png")


def test_without_its_style_it_still_says_everything_in_order(tab: Tab, tmp_path: Path) -> None:
    """Some mail programs take the style away."""
    tab.look(width=360)
    show(tab, "payments.refund", tmp_path)
    tab.run("document.querySelector('style').remove()")
    text = tab.run("document.body.innerText")
    wanted = ("refund-bot tried", "You are asked to: take it", "failwell incident acknowledge 1", "Take it", "By mail:")
    assert sorted(wanted, key=text.index) == list(wanted)
    assert tab.run("document.documentElement.scrollWidth") <= 360
