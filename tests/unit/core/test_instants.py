"""Instants: microseconds and their one text, and nothing else that a date library would take for one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from failwell.core.errors import InputError
from failwell.core.instants import format_at, parse_at

LAST_US = 253_402_300_799_999_999
FIRST_US = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
TEXT = "2026-11-23T05:11:18.000123Z"


@given(st.integers(FIRST_US, LAST_US))
@example(0)
@example(-1)
@example(LAST_US)
def test_an_instant_survives_its_text_to_the_microsecond(at_us: int) -> None:
    assert parse_at(format_at(at_us)) == at_us


@given(st.integers(FIRST_US, LAST_US), st.integers(FIRST_US, LAST_US))
def test_texts_sort_as_their_instants_do(a: int, b: int) -> None:
    assert (a < b) == (format_at(a) < format_at(b))


@given(st.integers(FIRST_US, LAST_US), st.integers(0, 26), st.sampled_from("0123456789-:.TZWz +,\u0660"))
def test_a_text_is_either_refused_or_the_only_one_of_its_instant(at_us: int, place: int, letter: str) -> None:
    text = format_at(at_us)
    text = text[:place] + letter + text[place + 1 :]
    try:
        parsed = parse_at(text)
    except InputError:
        return
    assert format_at(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT[:-1],
        TEXT[:-1] + "z",
        TEXT.replace("T", " "),
        TEXT.replace("T", "t"),
        TEXT.replace(".", ","),
        "2026-W48-1T05:11:18.000123Z",
        "2026-11-23T051118.00012345Z",
        "2026-11-23T05:11:18.000+1Z",
        "2026-11-23T05:11:18.00012Z",
        "2026-11-23T05:11:18.0001234Z",
        "2026-11-23T05:11:18.000123+00:00",
        "2026-02-30T05:11:18.000123Z",
        "2026-11-23T24:00:00.000000Z",
        "2026-11-23T05:11:60.000000Z",
        "2026-11-23T05:60:00.000000Z",
        "0000-11-23T05:11:18.000123Z",
        "2026-11-23T05:11:18.00012\u0663Z",
        "2026-11-23T05:11:18.-00123Z",
        "2026-11-23T05:11:18.000 12Z",
        TEXT + "\n",
        " " + TEXT[:-1],
    ],
)
def test_no_second_spelling_and_no_impossible_day_is_an_instant(text: str) -> None:
    with pytest.raises(InputError):
        parse_at(text)
