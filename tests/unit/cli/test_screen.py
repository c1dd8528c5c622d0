"""What reaches a terminal: nothing that it would obey, and exit codes that mean what they say."""

from __future__ import annotations

import io
import json
import unicodedata
from typing import Literal

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from failwell.cli.screen import Answer, Screen, door, exit_code, fail, give, plural, safe, span
from failwell.core.errors import (
    ContractError,
    Corrupt,
    FailwellError,
    InputError,
    NotFound,
    Refused,
    Unhealthy,
    Unreachable,
)

ATTACKS = [
    "\x1b[2J\x1b[H", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\link", "\x9b31m", "over\rwrite", "a\x08b",
    "\u202egpj.exe", "zero\u200bwidth", "\u2028line", "\ud800", "\x00", "\x7f",
]  # fmt: skip


def screen(width: int = 80, color: Literal["standard"] | None = "standard") -> tuple[Screen, io.StringIO]:
    """A screen on a terminal of its own, where every control would work."""
    out = io.StringIO()
    made = Screen()
    made._console = Console(
        file=out, force_terminal=True, width=width, markup=False, highlight=False, emoji=False, color_system=color
    )
    return made, out


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_a_terminal_would_obey_is_shown_instead(attack: str) -> None:
    shown = safe(attack)
    assert all(unicodedata.category(letter)[0] not in "C" for letter in shown)
    assert "\\" in shown


@given(st.text(alphabet=st.characters(codec=None)))
def test_shown_text_is_printable_and_stays_as_it_is_when_shown_again(text: str) -> None:
    shown = safe(text)
    assert safe(shown) == shown
    assert "\n" not in shown
    assert shown.encode("utf-8") is not None
    assert "\n" not in safe(text.replace("\n", ""), lines=True)


@pytest.mark.parametrize("attack", [*ATTACKS, "[bold red]x[/]", "[link=http://x]y[/link]", ":warning:"])
def test_an_agents_words_style_nothing_in_a_table_a_line_or_the_lead(attack: str) -> None:
    made, out = screen()
    made.say(attack)
    made.table(("who", "what"), [(attack, "x")])
    made.command(attack)
    plain = out.getvalue()
    for own in ("\x1b[2m", "\x1b[0m"):  # the heading's own style
        plain = plain.replace(own, "")
    assert "\x1b" not in plain
    assert plain.count(safe(attack)) == 3


def test_every_line_fits_and_none_ends_in_blanks() -> None:
    made, out = screen(width=40, color=None)
    made.say("  a finding whose text is longer than what the line of this terminal can hold")
    made.table(("entry", "says"), [(1, "words " * 30), (1204, "x" * 100)], right=("entry",))
    lines = out.getvalue().splitlines()
    assert max(len(line) for line in lines) <= 40
    assert [line for line in lines if line != line.rstrip()] == []
    assert lines[1].startswith("  ")


def test_a_cell_with_blanks_wraps_before_a_word_is_broken() -> None:
    made, out = screen(width=40, color=None)
    made.table(("tool", "effect", "how"), [("payments.refund", "irreversible", "as the door of it can")])
    assert [line for line in out.getvalue().splitlines() if "payments.refund  irreversible" in line]
    assert max(len(line) for line in out.getvalue().splitlines()) <= 40


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), 2), (NotFound("x"), 2), (ContractError("x"), 1), (Refused("x"), 1), (Corrupt("x"), 1),
        (Unhealthy("x"), 3), (Unreachable("x"), 3), (FailwellError("x"), 3),
        (Refused("x", code="passphrase"), 2), (InputError("x", code="contract"), 1),
        (FailwellError("x", code="denied"), 1),
    ],
)  # fmt: skip
def test_errors_end_with_their_code(error: FailwellError, code: int) -> None:
    assert exit_code(error) == code


def test_an_answer_and_a_failure_are_one_object_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    give("agent-list", Answer(fields={"name": "\x1b\ud800"}, show=lambda screen: None), as_json=True)
    fail("input", "no\x1b", None, as_json=True)
    one, two = capsys.readouterr().out.splitlines()
    assert json.loads(one) == {"schema": "failwell/agent-list/1", "name": "\x1b\ud800"}
    assert json.loads(two) == {"error": {"code": "input", "message": "no\x1b", "hint": None}}
    assert (one + two).isascii()


def test_a_failure_is_told_on_standard_error_with_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    fail("input", "no \x1b[31mway", "Do this.", as_json=False)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "no \\x1b[31mway\n  Do this.\n"


def test_figures_read_well() -> None:
    spans = (0, 9_949, 17_400, 1_999_000, 3_200_000, 125_000_000, 90_000_000_000, 200_000_000_000)
    assert [span(microseconds) for microseconds in spans] == [
        "0.0 ms", "9.9 ms", "17 ms", "1999 ms", "3.2 s", "2 min", "25 h", "2 days",
    ]  # fmt: skip
    assert (plural(1, "entry", "entries"), plural(1204, "entry", "entries")) == ("1 entry", "1,204 entries")


def test_who_stops_a_command_is_told_so() -> None:
    """An interruption that reaches typer ends the command without a word."""

    @door("slow")
    def slow() -> Answer:
        raise KeyboardInterrupt

    with pytest.raises(typer.Abort):
        slow()
