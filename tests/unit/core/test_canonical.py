"""Canonical JSON: one spelling per value, and nothing that two readers could read differently."""

from __future__ import annotations

import enum
import math
import sys
from collections import OrderedDict
from typing import Any

import pytest

from failwell.core.canonical import decode, encode, jcs, number_text, parse
from failwell.core.errors import InputError

SAFE = 2**53 - 1
ENTRY = {
    "kind": "decision",
    "seq": 7,
    "body": {"verdict": "DENY", "clauses": ["a", "b"], "x": None, "y": True},
}


def refusal(call: Any, *args: Any, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    return caught.value


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


# ---- the profile


def test_an_entry_is_written_with_sorted_keys_and_without_spaces() -> None:
    assert encode(ENTRY) == (
        b'{"body":{"clauses":["a","b"],"verdict":"DENY","x":null,"y":true},"kind":"decision","seq":7}'
    )
    assert decode(encode(ENTRY)) == ENTRY


def test_tuples_are_arrays() -> None:
    assert encode((1, ("a",))) == b'[1,["a"]]'


@pytest.mark.parametrize("number", [0, -1, SAFE, -SAFE])
def test_integers_up_to_the_safe_limit_pass(number: int) -> None:
    assert decode(encode([number])) == [number]


@pytest.mark.parametrize("number", [2**53, -(2**53), 10**400])
def test_integers_from_2_to_the_53_are_refused_both_ways(number: int) -> None:
    assert refusal(encode, [number]).code == "canonical"
    assert "2^53" in refusal(decode, f"[{number}]".encode()).message


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        math.nan,
        b"bytes",
        {1, 2},
        pytest.param(object(), id="object"),
        Colour.RED,
        OrderedDict(a=1),
        {"A": 1},
        {"": 1},
        {"a b": 1},
        {"é": 1},
        {"a\n": 1},
        {1: 1},
        {"a": 1, 2: 2},
        {None: 1},
        {"a" * 65 + "!": 1},
        "\ud800",
        ["\udfff"],
        "\ud83d\ude00",
    ],
    ids=ascii,
)
def test_values_outside_the_profile_are_refused(value: object) -> None:
    assert refusal(encode, value).code == "canonical"


def test_a_refused_key_stays_refused_when_asked_again() -> None:
    for _ in range(3):
        refusal(encode, {"Bad": 1})


def test_long_keys_are_judged_like_short_ones() -> None:
    assert decode(encode({"k" * 500: 1})) == {"k" * 500: 1}


def test_thirty_two_levels_pass_and_thirty_three_do_not() -> None:
    assert decode(encode(nested(32))) == nested(32)
    assert "32 deep" in refusal(encode, nested(33)).message
    assert "32 deep" in refusal(decode, b"[" * 33 + b"]" * 33).message


def test_a_value_that_holds_itself_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    refusal(encode, ring)
    refusal(jcs, ring)


def test_what_could_not_be_read_again_is_not_written() -> None:
    assert len(encode("x" * 65_533)) == 65_535
    assert "at most 65535" in refusal(encode, "x" * 65_534).message
    assert "at most 65535" in refusal(decode, b'"' + b"x" * 65_534 + b'"').message
    assert decode(encode("x" * 65_534, max_bytes=70_000), max_bytes=70_000) == "x" * 65_534


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1,"a":1}', "twice"),
        (b'{"a":1,"a":2}', "twice"),
        (b'{"b":1,"a":2}', "order of keys"),
        (b'{"a": 1}', "spaces"),
        (b"[1]\n", "spaces"),
        (b" [1]", "spaces"),
        (b"[1.0]", "floats"),
        (b"[1e2]", "floats"),
        (b"[-0.0]", "floats"),
        (b"[-0]", "spelling of a number"),
        (b"[NaN]", "floats"),
        (b"[Infinity]", "floats"),
        (b"[-Infinity]", "floats"),
        (b'"\\u0041"', "escapes"),
        (b'"\\/"', "escapes"),
        (b'"\\u000A"', "escapes"),
        (b'"\\ud83d\\ude00"', "escapes"),
        (b'"\\ud800"', "surrogate"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'"\xc0\xaf"', "UTF-8"),
        (b"\xef\xbb\xbf[1]", "byte order mark"),
        ('["é"]'.encode("utf-16"), "UTF-8"),
        ("[1]".encode("utf-16-le"), "not JSON"),
        (b'{"A":1}', "key 'A'"),
        (b"", "not JSON"),
        (b"[1] x", "not JSON"),
        (b"[1,]", "not JSON"),
        (b"[01]", "not JSON"),
        (b'"\t"', "not JSON"),
        (b"'a'", "not JSON"),
        (b"9" * 5000, "not JSON"),
        (b"[" * 60_000, "deep"),
    ],
    ids=lambda each: ascii(each)[:30],
)
def test_a_second_spelling_is_refused_with_its_reason(data: bytes, why: str) -> None:
    error = refusal(decode, data)
    assert error.code == "canonical"
    assert why in error.message


# ---- RFC 8785 in full


def test_keys_beyond_the_basic_plane_sort_by_their_surrogates() -> None:
    assert jcs({"\ufb33": 1, "\U0001f600": 2, "a": 3}) == '{"a":3,"\U0001f600":2,"\ufb33":1}'.encode()


def test_any_key_is_allowed_and_escaped() -> None:
    assert jcs({"": 0, '"': 1, "\n": 2, "A b": 3}) == b'{"":0,"\\n":2,"\\"":1,"A b":3}'


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, "\ud800", {"\udc00": 1}, {1: 2}, {"a": 1, 2: 2}, b"", set(), nested(33)],
    ids=lambda each: ascii(each)[:20],
)
def test_values_without_rfc8785_text_are_refused(value: object) -> None:
    assert refusal(jcs, value).code == "json"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (1e16, "10000000000000000"),
        (-1.5e20, "-150000000000000000000"),
        (1e21, "1e+21"),
        (1.25e-7, "1.25e-7"),
        (1e-6, "0.000001"),
        (-1.5e-5, "-0.000015"),
        (0.0001, "0.0001"),
        (SAFE, "9007199254740991"),
        (2**53, "9007199254740992"),
        (10**20, "100000000000000000000"),
        (-(10**22), "-1e+22"),
        (15 * 10**20, "1.5e+21"),
        (2.0**68, "295147905179352830000"),
    ],
)
def test_numbers_are_written_as_ecmascript_writes_them(number: float, text: str) -> None:
    assert number_text(number) == text


@pytest.mark.parametrize(
    "number",
    [
        2**53 + 1,
        -(2**53) - 1,
        2**60,  # a double, but its text is another integer
        2**68,
        295147905179352830000,  # the text of a double, but another integer than that double
        10**23,
        10**309,
        -(10**5000),
    ],
    ids=lambda each: f"{each.bit_length()} bits",
)
def test_an_integer_that_its_text_would_change_is_refused(number: int) -> None:
    assert refusal(number_text, number).code == "json"
    assert refusal(jcs, [number]).code == "json"


@pytest.mark.parametrize("value", [True, None, "1", Colour.RED])
def test_only_numbers_have_number_text(value: Any) -> None:
    refusal(number_text, value)


# ---- JSON from a stranger


def test_arguments_keep_whole_numbers_and_fractions_apart() -> None:
    value = parse(b' {"a": 1, "b": 1.0, "c": 1e2, "d": "\\u00e9\\ud83d\\ude00", "e": [true, null]} ')
    assert value == {"a": 1, "b": 1.0, "c": 100.0, "d": "é\U0001f600", "e": [True, None]}
    assert [type(value[key]) for key in "abc"] == [int, float, float]


@pytest.mark.parametrize(
    "text",
    [
        '{"amount": 1, "amount": 9000}',
        '{"a": {"b": [{"c": 1, "c": 1}]}}',
        '{"a": 1, "\\u0061": 2}',
    ],
)
def test_a_smuggled_second_key_is_refused_at_any_level(text: str) -> None:
    assert "twice" in refusal(parse, text).message


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        '{"a": -Infinity}',
        "1e309",
        "-1e400",
        "9" * 400,
        "9" * 5000,
        "1e-400",
        "-0.1e-999",
    ],
    ids=lambda each: each[:20],
)
def test_numbers_that_no_double_holds_are_refused(text: str) -> None:
    assert refusal(parse, text).code == "arguments"


def test_a_literal_of_thousands_of_digits_is_refused_before_it_is_read() -> None:
    """Reading decimal digits takes quadratic time: a mebibyte of them would hold the gate for minutes."""
    assert "2^53" in refusal(parse, "9" * 5_000).message
    assert "2^53" in refusal(parse, "-" + "9" * 1_000_000).message


@pytest.mark.parametrize("text", ["0.0", "-0.0", "0e5", "0.000e-999"])
def test_a_written_zero_is_zero(text: str) -> None:
    assert parse(text) == 0
    assert jcs(parse(text)) == b"0"


@pytest.mark.parametrize(
    "text",
    [
        "9007199254740993",
        "-9007199254740993",
        "1152921504606846976",
        "295147905179352830000",
        "12345678901234567890",
        "1.5e18,1731234567890123456",
        "2.9514790517935283e20",
    ],
)
def test_numbers_that_exact_readers_and_doubles_read_differently_are_refused(text: str) -> None:
    error = refusal(parse, f"[{text}]")
    assert error.code == "arguments"
    assert error.hint == "Send it as a string."


@pytest.mark.parametrize(
    "text", ["9007199254740992", "100000000000000000000", "1e20", "1e23", "1.7976931348623157e308"]
)
def test_large_numbers_pass_where_their_text_gives_them_back(text: str) -> None:
    value = parse(text)
    assert parse(jcs(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        '"\\ud800"',
        '"\\udc00x"',
        '["\\ud800\\u0041"]',
        '{"\\udfff": 1}',
        '"\\ude00\\ud83d"',
        "\ud800",
        '"\udfff"',
    ],
    ids=ascii,
)
def test_lone_surrogates_are_refused(text: str) -> None:
    assert refusal(parse, text).code == "arguments"


def test_an_escaped_backslash_before_a_surrogates_letters_is_no_surrogate() -> None:
    assert parse('"\\\\ud800"') == "\\ud800"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1,]",
        b"[1] [2]",
        b"{'a':1}",
        b'"\x01"',
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"tru",
        b"\xff",
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf1",
        "1".encode("utf-16"),
        b"/* */ 1",
        b"0x10",
        b"\xc2\xa01",
        "\u0661".encode(),
    ],
    ids=ascii,
)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    assert refusal(parse, data).code == "arguments"


def test_depth_is_counted_through_objects_and_arrays() -> None:
    assert parse(jcs(nested(32))) == nested(32)
    too_deep = "[" * 33 + "]" * 33
    assert "32 deep" in refusal(parse, too_deep).message
    assert "32 deep" in refusal(parse, '{"a":' * 33 + "1" + "}" * 33).message
    assert parse(too_deep, max_depth=33) == parse(too_deep, max_depth=40)
    assert parse("1", max_depth=0) == 1
    refusal(parse, "[]", max_depth=0)


def test_brackets_in_strings_and_side_by_side_are_not_depth() -> None:
    assert parse(jcs(["[" * 100])) == ["[" * 100]
    assert len(parse("[" + ",".join(["[]"] * 100) + "]")) == 100


@pytest.mark.parametrize("bracket", ["[", '{"a":'])
def test_two_mebibytes_of_open_brackets_neither_crash_nor_pass(bracket: str) -> None:
    bomb = bracket * (2_097_152 // len(bracket))
    assert "bytes" in refusal(parse, bomb).message
    assert "deep" in refusal(parse, bomb, max_bytes=4_194_304).message
    assert "deep" in refusal(parse, bomb.encode(), max_bytes=4_194_304).message


def test_a_raised_recursion_limit_does_not_raise_the_depth() -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(5_000)
    try:
        assert "deep" in refusal(parse, "[" * 3_000 + "]" * 3_000).message
    finally:
        sys.setrecursionlimit(limit)


def test_size_counts_utf8_bytes() -> None:
    assert parse('"é"', max_bytes=4) == "é"
    refusal(parse, '"é"', max_bytes=3)
    refusal(parse, b'"ab"', max_bytes=3)
    assert parse('"' + "x" * 1_048_574 + '"') == "x" * 1_048_574
    refusal(parse, '"' + "x" * 1_048_575 + '"')


def test_messages_do_not_repeat_arguments() -> None:
    secret = "DE89370400440532013000"
    for text in (
        f'{{"{secret}":1,"{secret}":2}}',
        f'["{secret}"',
        f'["{secret}", NaN]',
        f'["{secret}\\ud800"]',
    ):
        error = refusal(parse, text)
        assert secret not in f"{error.message} {error.hint}"
