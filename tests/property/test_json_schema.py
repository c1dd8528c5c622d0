"""What an agent is shown of a tool's arguments: a JSON Schema judge never refuses by it what contract and server take,
and refuses what the contract's types refuse wherever JSON Schema can say so."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from failwell.core.contract import model
from failwell.core.contract.argument import Mismatch, parse_type
from failwell.core.contract.json_schema import tightened
from failwell.core.contract.type_schema import schema_of_type

TYPES = (
    "string", "string(2..4)", "id", "int", "int(-3..5)", "bool", "money(2)", "money(2, 0..10.5)", "money(0)",
    "decimal(3, -1..1)", "date", "enum(a, b, low)", "email", "url", "path", "iban", 'pattern("[a-c]{2}x?", 1..9)',
    'pattern("\\\\pL+", 1..4)', "list(id, max 2)", "list(any, max 3)", "list(enum(a, b), max 2)", "any", "object",
)  # fmt: skip
#: Of these a schema says all.
EXACT = ("string", "string(2..4)", "id", "int", "int(-3..5)", "bool", "enum(a, b, low)", "path", "list(id, max 2)",
         'pattern("[a-c]{2}x?", 1..9)', "list(any, max 3)", "object", "list(enum(a, b), max 2)")  # fmt: skip

_TEXTS = st.one_of(
    st.sampled_from(
        ["", "a", "ab", "aax", "low", "A-1", "#1", "2026-02-28", "2026-02-30", "a@b.example", "a..b@c.example", "1.50",
         "-0", "0.125", "http://x.example/a?b", "https://a@b", "/srv/a", "../a", "a//b", "~x", "/", "a/", "a/.../b",
         "GB82 WEST 1234 5698 7654 32", "gb82west12345698765432", "a\nb", "\u2028"]
    ),
    st.text(alphabet="abcx./~@-#0129 \\é\n", max_size=6),
)  # fmt: skip
_PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-12, 12), st.sampled_from([2**53 - 1, 2**53, -(2**53), 10**30]),
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([1.5, 98.7, 0.1, 0.125, 10.5, 10.51, 5.0]),
    _TEXTS,
)  # fmt: skip
_VALUES = st.one_of(_PLAIN, st.lists(_PLAIN, max_size=4), st.dictionaries(_TEXTS, _PLAIN, max_size=2))


def _takes(type_text: str, value: Any) -> bool:
    try:
        parse_type(type_text).read(value)
    except Mismatch:
        return False
    return True


def _valid(schema: Any, value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


@given(st.sampled_from(TYPES), _VALUES)
@example("money(2)", 98.7)
@example("url", "https://a-b.example:1/[x]")
def test_a_schema_never_refuses_what_its_type_takes(type_text: str, value: Any) -> None:
    if _takes(type_text, value):
        assert _valid(schema_of_type(parse_type(type_text)), value)
        assert _valid(schema_of_type(parse_type(type_text), optional=True), value)


@given(st.sampled_from(EXACT), _VALUES)
def test_a_schema_refuses_what_its_type_refuses(type_text: str, value: Any) -> None:
    # Python's $ stands before a last line feed too, which that of ECMA-262 does not.
    texts = value if isinstance(value, list) else [value]
    if not _takes(type_text, value) and not any(isinstance(each, str) and each.endswith("\n") for each in texts):
        assert not _valid(schema_of_type(parse_type(type_text)), value)


_LEAVES = st.sampled_from(
    [True, False, {}, {"type": "string"}, {"type": "string", "minLength": 3}, {"type": "integer", "maximum": 4},
     {"type": "number", "exclusiveMinimum": 0}, {"type": ["string", "null"]}, {"type": "boolean", "default": False},
     {"enum": ["a", "low", 3, None]}, {"const": "ab"}, {"type": "array", "items": {"type": "string", "maxLength": 3}},
     {"type": "array", "items": False}, {"$ref": "#/$defs/short"}, {"type": "object", "required": ["a"]},
     {"pattern": "a"}, {"not": {"type": "string"}}, {"type": "string", "format": "uri"}, {"$ref": "#"},
     {"$ref": "https://schemas.example/x"}]
)  # fmt: skip
_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"anyOf": parts, "title": "T"}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"oneOf": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"allOf": [part], "default": "a"}, inner),
        st.builds(lambda part: {"type": "array", "items": part}, inner),
    ),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(["one", "two"]), _SCHEMAS), st.lists(st.sampled_from(["one", "two"]), unique=True),
    st.sampled_from([None, True, False, {"type": "string"}]), st.sampled_from(TYPES), st.booleans(),
    st.dictionaries(st.sampled_from(["one", "two", "other"]), _VALUES, max_size=3),
)  # fmt: skip
def test_a_narrowed_schema_never_refuses_what_contract_and_server_take(
    properties: Any, required: list[str], other: Any, type_text: str, optional: bool, arguments: dict[str, Any]
) -> None:
    theirs: dict[str, Any] = {"type": "object", "properties": properties, "required": required,
                              "$defs": {"short": {"type": "string", "maxLength": 2}}}  # fmt: skip
    if other is not None:
        theirs["additionalProperties"] = other
    tool = model.Tool(
        tool="s.t", effect="read", custody="broker",
        arguments=(model.Argument(name="one", type=type_text, optional=optional),),
    )  # fmt: skip
    shown = tightened(theirs, tool)
    jsonschema.Draft202012Validator.check_schema(shown)
    assert set(shown["properties"]) <= {"one"}
    if set(arguments) - {"one"}:
        assert not _valid(shown, arguments)
        return
    given_null = optional and arguments.get("one") is None
    ours = given_null or ("one" in arguments and _takes(type_text, arguments["one"]))
    if "https://" in str(theirs):
        return  # nobody fetches it, so nobody can say what it takes
    if ours and _valid(theirs, arguments):
        assert _valid(shown, arguments)


def _tool(**arguments: str) -> model.Tool:
    declared = tuple(
        model.Argument(name=name.removesuffix("_opt"), type=of, optional=name.endswith("_opt"))
        for name, of in arguments.items()
    )
    return model.Tool(tool="s.t", effect="read", custody="broker", arguments=declared)


@pytest.mark.requirement("R2.14")
def test_what_the_contract_does_not_declare_is_not_offered() -> None:
    theirs = {"type": "object", "properties": {"path": {"type": "string"}, "force": {"type": "boolean"}},
              "required": ["path", "force"]}  # fmt: skip
    shown = tightened(theirs, _tool(path="enum(a, b)"))
    assert shown == {
        "type": "object", "properties": {"path": {"type": "string", "enum": ["a", "b"]}}, "required": ["path"],
        "additionalProperties": False,
    }  # fmt: skip


def test_the_words_of_the_server_stay_and_its_alternatives_are_narrowed() -> None:
    theirs = {
        "type": "object", "title": "Args",
        "properties": {"n": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": 50, "description": "How"}},
    }  # fmt: skip
    assert tightened(theirs, _tool(n_opt="int(1..10)"))["properties"]["n"] == {
        "description": "How",
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": 10}, {"type": "null"}],
    }


def test_what_nothing_can_be_is_said_and_a_list_is_narrowed_within() -> None:
    theirs = {
        "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "string", "title": "B"}}}
    }
    shown = tightened(theirs, _tool(a="int", b="list(id, max 2)"))
    assert shown["properties"]["a"] == {"not": {}}
    assert shown["properties"]["b"]["items"]["title"] == "B"
    assert shown["properties"]["b"]["items"]["maxLength"] == 128


@pytest.mark.parametrize("reference", ["#", "#/properties/b", "https://evil.example/schema", "file:///etc/passwd"])
def test_a_reference_to_elsewhere_is_not_passed_on(reference: str) -> None:
    theirs = {"type": "object", "properties": {"a": {"allOf": [{"$ref": reference}], "description": "A"}},
              "anyOf": [{"$ref": reference}]}  # fmt: skip
    shown = tightened(theirs, _tool(a="int(0..9)"))
    assert "$ref" not in str(shown)
    assert shown["properties"]["a"] == {"description": "A", "type": "integer", "minimum": 0, "maximum": 9}


@pytest.mark.parametrize("theirs", [{}, {"properties": 3, "required": "a"}, {"properties": {"a": 7}, "$defs": 1}])
def test_a_malformed_schema_leaves_what_the_contract_says(theirs: Any) -> None:
    assert tightened(theirs, _tool(a="bool"))["properties"] == {"a": {"type": "boolean"}}


def test_a_schema_nested_thousandfold_is_no_trouble() -> None:
    deep: Any = {"type": "string"}
    for _ in range(20_000):
        deep = {"anyOf": [deep]}
    assert tightened({"properties": {"a": deep}}, _tool(a="id"))["required"] == ["a"]
