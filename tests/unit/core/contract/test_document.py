"""YAML 1.2 as a contract may use it: the core schema, and none of the machinery around it."""

from __future__ import annotations

import pytest

from failwell.core.contract.document import Misread, read_document


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("on", "text"),
        ("yes", "text"),
        ("1:30", "text"),
        ("2026-11-01", "text"),
        ("10s", "text"),
        ("0b11", "text"),
        ("1_000", "text"),
        ('"5"', "text"),
        ("'true'", "text"),
        ("|-\n  5", "text"),
        ("0777", "integer"),
        ("5", "integer"),
        ("-5", "integer"),
        ("0x1f", "integer"),
        ("0o17", "integer"),
        ("1e3", "float"),
        ("1.0", "float"),
        (".inf", "float"),
        (".nan", "float"),
        ("9" * 40, "float"),
        ("true", "boolean"),
        ("FALSE", "boolean"),
        ("~", "null"),
        ("null", "null"),
        ("[]", "list"),
        ("{}", "mapping"),
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text: str, kind: str) -> None:
    value = read_document(f"a: {text}\n").get("a")
    assert value is not None
    assert value.kind == kind


@pytest.mark.parametrize(("text", "number"), [("0x1f", 31), ("0o17", 15), ("0777", 777), ("-5", -5), ("+5", 5)])
def test_integers_are_read_in_their_base(text: str, number: int) -> None:
    value = read_document(f"a: {text}\n").get("a")
    assert value is not None
    assert value.integer() == number


@pytest.mark.parametrize("letter", ["\u202e", "\u2066", "\u2028", "\u2029", "\x85", "\u200b", "\u200f", "\ufeff", "\r"])
def test_letters_that_make_the_text_look_otherwise_than_it_reads_are_refused(letter: str) -> None:
    """Attack: a comment that an editor shows as a clause, a clause that it shows as part of a comment."""
    with pytest.raises(Misread, match="not seen") as caught:
        read_document(f"a: 1\nb: 2  # as ever{letter}c: 3\n")
    assert (caught.value.line, caught.value.column) == (2, 16)
    assert read_document('\ufeffa: "\\u202e"\r\n').get("a") is not None, "an escape is seen, and so is no mark"


def test_places_count_from_one() -> None:
    root = read_document("a: 1\nb:\n  - {c: x}\n")
    items = root.get("b")
    assert items is not None
    assert (items.items[0].line, items.items[0].column) == (3, 5)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "stands twice"),
        ("a: {b: 1, b: 2}\n", 1, "stands twice"),
        ("a: 1\n'a': 3\n", 2, "stands twice"),
        ("a: &x [1]\n", 1, "anchors and aliases"),
        ("&x a: 1\n", 1, "anchors and aliases"),
        ("a: *x\n", 1, "anchors and aliases"),
        ("<<: {a: 1}\n", 1, "merge keys"),
        ("a: !!python/object:os.system x\n", 1, "tag"),
        ("a: !x b\n", 1, "tag"),
        ("a: !(context.args.x)\n", 1, "begins with ! needs quotes"),
        ("%YAML 1.1\n---\na: 1\n", 2, "only YAML 1.2"),
        ("%TAG ! tag:x,2000:\n---\na: 1\n", 2, "only YAML 1.2"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("? [a]\n: 1\n", 1, "cannot be a key"),
        ("", 1, "empty"),
        ("# only a remark\n", 1, "empty"),
        ("a: [1\n", 2, "not YAML"),
        ("a: b: c\n", 1, "not YAML"),
        ("a:\t- b\n  - c\n", 1, "not YAML"),
        ("a: \x01\n", 1, "not YAML"),
        ("a: \x00\n", 1, "not YAML"),
        ('a: "\ud800"\n', 1, "not YAML"),
    ],
)
def test_everything_beyond_plain_data_is_refused_with_its_place(text: str, line: int, said: str) -> None:
    with pytest.raises(Misread) as refusal:
        read_document(text)
    assert said in f"{refusal.value.message} {refusal.value.mend}"
    assert refusal.value.line == line
