"""Argument types: what is taken, as which fact, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from failwell.core.contract.argument import Mismatch, parse_type
from failwell.core.errors import InputError


@pytest.mark.parametrize(
    ("text", "given", "fact"),
    [
        ("money(2)", 98.7, 9870),
        ("money(2)", 98, 9800),
        ("money(2)", "98.70", 9870),
        ("money(2)", "0", 0),
        ("money(2, -5..5)", -4.99, -499),
        ("money(0)", 1e3, 1000),
        ("money(2)", 1.1, 110),
        ("decimal(3, -1..1)", "0.125", 125),
        ("decimal(9)", 1.5e-05, 15000),
        ("int", 100.0, 100),
        ("int(0..100)", 100, 100),
        ("int", -0.0, 0),
        ("string", "", ""),
        ("string(1..3)", "äöü", "äöü"),
        ("id", "mia_li_3668", "mia_li_3668"),
        ("id", "#W2611340", "#W2611340"),
        ("bool", False, False),
        ("date", "2028-02-29", "2028-02-29"),
        ("enum(low, very high)", "very high", "very high"),
        ("email", "Ann.B+x@Shop.Example", "ann.b+x@shop.example"),
        ("url", "HTTPS://Shop.Example:8443/A?b#C", "https://shop.example:8443/A?b#C"),
        ("path", "/srv/data/a.txt", "/srv/data/a.txt"),
        ("path", "bill-december-2023.txt", "bill-december-2023.txt"),
        ("iban", "de89 3704 0044 0532 0130 00", "DE89370400440532013000"),
        ("list(id, max 2)", ["a", "b"], ("a", "b")),
        ("list(date, max 2)", ["2026-01-01"], ("2026-01-01",)),
        ("list(any, max 2)", [1, None], None),
        ("any", None, None),
        ("object", {"a": 1}, None),
    ],
)
def test_a_value_of_the_type_becomes_its_fact(text: str, given: Any, fact: Any) -> None:
    value = parse_type(text).read(given)
    assert value == fact
    assert type(value) is type(fact)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("money(2)", 0.1 + 0.2),
        ("money(2)", "98.700"),
        ("money(2)", "1e3"),
        ("money(2)", "+5"),
        ("money(2)", " 5"),
        ("money(2)", "05"),
        ("money(2)", "1,000"),
        ("money(2)", "5."),
        ("money(2)", ".5"),
        ("money(2)", "٥"),  # noqa: RUF001  an Arabic digit
        ("money(2)", ""),
        ("money(2)", "NaN"),
        ("money(2)", 1e21),
        ("money(2)", 10**30),
        ("money(2)", -(10**30)),
        ("money(2)", 2**53),
        ("money(2)", "90071992547409.92"),
        ("money(2, 0..10)", 10.01),
        ("money(2, 0..10)", -0.01),
        ("money(2)", True),
        ("money(2)", None),
        ("money(2)", [5]),
        ("int", "5"),
        ("int", 5.5),
        ("int", True),
        ("int(1..3)", 4),
        ("int(1..3)", 0),
        ("int", 2**53),
        ("string(1..3)", ""),
        ("string(1..3)", "abcd"),
        ("string", 5),
        ("string", None),
        ("id", "a b"),
        ("id", "оrder-1"),  # noqa: RUF001  begins with a Cyrillic letter
        ("id", "../x"),
        ("id", ""),
        ("id", "a" * 129),
        ("id", "a\n"),
        ("bool", 0),
        ("bool", "true"),
        ("date", "2026-02-30"),
        ("date", "2026-2-3"),
        ("date", "20260203"),
        ("date", "2026-01-01T00:00:00"),
        ("date", "2026-01-01\n"),
        ("enum(a, b)", "A"),
        ("enum(a, b)", "a, b"),
        ("email", "ann"),
        ("email", "@shop.example"),
        ("email", "ann@shop"),
        ("email", "ann@shop.example, eve@evil.example"),
        ("email", "ann@shop.example\nBcc: eve@evil.example"),
        ("email", "Ann <ann@shop.example>"),
        ("email", "a..b@shop.example"),
        ("email", "ann@-shop.example"),
        ("url", "shop.example/a"),
        ("url", "file:///etc/passwd"),
        ("url", "javascript:alert(1)"),
        ("url", "https://shop.example@evil.example/"),
        ("url", "https://shop.example\\@evil.example/"),
        ("url", "https://shop.example/\nHost: evil"),
        ("url", "https://shop..example/"),
        ("url", "https://shöp.example/"),
        ("url", "https:///a"),
        ("path", "../secret"),
        ("path", "/srv/public/../secret"),
        ("path", "/srv//secret"),
        ("path", "//server/share"),
        ("path", "./a"),
        ("path", "~/secret"),
        ("path", "a\\b"),
        ("path", "a\x00.txt"),
        ("path", ""),
        ("iban", "DE89370400440532013001"),
        ("iban", "UK12345678901234567890"),
        ("iban", "DE"),
        ("list(id, max 2)", ["a", "b", "c"]),
        ("list(id, max 2)", ["a", 5]),
        ("list(id, max 2)", "a"),
        ("list(id, max 2)", {"a": 1}),
        ("object", []),
        ("object", None),
    ],
)
@pytest.mark.requirement("R2.3")
def test_everything_else_is_refused_without_showing_it(text: str, given: Any) -> None:
    with pytest.raises(Mismatch) as refusal:
        parse_type(text).read(given)
    if isinstance(given, str) and len(given) > 4:
        assert given not in refusal.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "strin",
        "String",
        "string()",
        "string(5)",
        "string(3..1)",
        "string(0..0)",
        "string(1.5..2)",
        "string(-1..2)",
        "int(5..1)",
        "int(0.5..2)",
        "int(a..b)",
        "int(1..)",
        "money",
        "money()",
        "money(7)",
        "money(-1)",
        "money(2, 1)",
        "money(2, 0..0.001)",
        "money(2, 10..1)",
        "money(2, 0..1, 2)",
        "money(2, 0..99999999999999999)",
        "decimal(10)",
        "enum",
        "enum()",
        "enum(a, a)",
        "enum(a,)",
        "enum(\x07)",
        "id(5)",
        "bool()",
        "any(x)",
        "list",
        "list(id)",
        "list(id, 5)",
        "list(id, max 0)",
        "list(int, max 5)",
        "list(bool, max 5)",
        "list(list(id, max 2), max 2)",
        "list(" * 5000,
        "pattern",
        "pattern()",
        'pattern("a")',
        "pattern(a, 1..2)",
        'pattern("a", 2..1)',
        'pattern("a", 0..0)',
        'pattern("a", 1..)',
        'pattern("", 1..2)',
        'pattern("(", 1..2)',
        'pattern("(a)\\1", 1..2)',
        'pattern("(?=a)b", 1..2)',
        'pattern("a{1001}", 1..2)',
        'pattern("[\\pL]{1,100}", 1..100)',
        'pattern("\\C+", 1..2)',
        'pattern("' + "a" * 501 + '", 1..2)',
        'pattern("((a{9}){9}){9}", 1..9999)',
        'list(pattern("((a{9}){9}){9}", 1..2000), max 9)',
        "list(nope, max 3)",
        "string(1..3) ; permit",
        "date(2026)",
        "string(1...3)",
    ],
)
def test_what_is_no_type_is_refused_with_a_mend(text: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_type(text)
    assert refusal.value.hint


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("  money( 2 ,0..5 ) ", "money(2, 0..5)"),
        ("enum(b,a)", "enum(b, a)"),
        ("list( id ,max 3)", "list(id, max 3)"),
        (' pattern( "a,"b",1..2" , 1..3)', 'pattern("a,"b",1..2", 1..3)'),
        ('list(pattern("a,b",0..3),max 3)', 'list(pattern("a,b", 0..3), max 3)'),
    ],
)
def test_a_type_has_one_spelling_that_reads_back(text: str, spelled: str) -> None:
    assert parse_type(text).text == spelled
    assert parse_type(spelled).text == spelled


@pytest.mark.parametrize(
    ("regex", "value", "fits"),
    [
        ("[A-Z]{2}[0-9]{6}", "AB123456", True),
        ("[A-Z]{2}[0-9]{6}", "AB1234567", False),
        ("[A-Z]{2}[0-9]{6}", "xAB123456", False),
        ("[A-Z]{2}[0-9]{6}", "AB123456\n", False),
        ("^[A-Z]+$", "AB", True),
        ("^[A-Z]+$", "AB\n", False),
        ("a|ab", "ab", True),
        ("[A-Z]+", "\u0410\u0412", False),
        (r"\pL+", "\u0410\u0412", True),
        (r"\d+", "\u0663", False),
        (".", "\U0001f600", True),
        (".", "\n", False),
        (".", "\ud800", False),
        (".+", "a" * 21, False),
        (".*", "", False),
        (".+", 5, False),
        (".+", None, False),
        (".+", ["a"], False),
    ],
)
def test_a_pattern_matches_the_whole_text_or_none_of_it(regex: str, value: object, fits: bool) -> None:
    of = parse_type(f'pattern("{regex}", 1..20)')
    if fits:
        assert of.read(value) == value
    else:
        with pytest.raises(Mismatch) as refusal:
            of.read(value)
        assert str(value) not in refusal.value.message or value in (None, "", 5)


@pytest.mark.timeout(10)
def test_a_pattern_that_holds_a_backtracking_matcher_for_hours_is_done_at_once() -> None:
    """Attack: `(x+x+)+y` met by a long text of x."""
    of = parse_type('pattern("(x+x+)+y", 1..5000)')
    with pytest.raises(Mismatch):
        of.read("x" * 5000)


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("enum()", "lists the words", "low, normal, high"),
        ("enum(a, b, a)", "'a' twice", "low, normal, high"),
        ("enum(/srv/x)", "'/srv/x' cannot stand in an enum", "Certain paths"),
        ("enum(a,)", "'' cannot stand", "other texts"),
    ],
)
def test_what_is_wrong_with_an_enum_is_said_as_it_is(text: str, problem: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        parse_type(text)
    assert problem in error.value.message
    assert hint in str(error.value.hint)
