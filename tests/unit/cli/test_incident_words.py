"""Incidents at the terminal: what is asked first, and words that hostile names cannot turn."""

from __future__ import annotations

import pytest

from failwell.cli.incident import worst_of
from failwell.response.headline import happened


@pytest.mark.requirement("R22.11")
def test_who_is_called_is_sent_to_the_worst_first_and_to_a_rehearsal_last() -> None:
    """Attack: a flood of minor cases, or a drill, so that the one that matters is read last."""
    waiting = [
        {"incident": 7, "kind": "real", "severity": "minor"}, {"incident": 8, "kind": "drill", "severity": "critical"},
        {"incident": 9, "kind": "real", "severity": "major"}, {"incident": 10, "kind": "real", "severity": "major"},
    ]  # fmt: skip
    assert worst_of(waiting) == 9
    assert worst_of(waiting[1:2]) == 8


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("bot: denied(per-minute)", "bot was denied what it tried, by per-minute of its contract"),
        ("bot: denied(tool.unlisted)", "bot tried a tool, which its contract does not list"),
        ("bot: executor.unconfirmed", "a tool of bot could not be shown to have stopped"),
        ("bot: failed(mail.send)", "mail.send of bot failed"),
        ("bot: suspended by anna: it looks wrong.", "bot was suspended by anna: it looks wrong"),
        ("A stranger called", "bot: A stranger called"),
        ("bot: new.signal(x)", "bot: new.signal(x)"),
        ("bot: {tool} {0} {name.__class__}", "bot: {tool} {0} {name.__class__}"),
        ("bot: a\nb\u2028c", "bot: a b c"),
    ],
)
def test_titles_become_sentences_and_what_is_not_known_stays_as_it_was(title: str, said: str) -> None:
    """Attack: a title that is filled in as a pattern, or that breaks the first line."""
    assert happened("bot", title) == said


def test_a_rehearsed_case_says_so_first() -> None:
    assert happened("bot", "bot: bypass", "drill").startswith("DRILL: bot went round the gate")
