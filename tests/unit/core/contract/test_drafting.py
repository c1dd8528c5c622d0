"""The draft of a contract: whatever a tool server says of itself becomes text that is read as a contract, or is said to
be left out; never more than the server claimed, and never a clause."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failwell.core import contract as contracts
from failwell.core.contract.drafted_types import drafted_type
from failwell.core.contract.drafting import Draft, OfferedServer, draft


def _draft(*definitions: dict[str, Any], **more: Any) -> Draft:
    server = OfferedServer("files", "files-server 1.0", definitions, **more)
    return draft(contract="desk", agent="desk", owner="anna", day="2026-11-23", servers=[server])


def _tool(name: str = "read", properties: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object", "properties": properties or {}}, **more}


def _loaded(made: Draft) -> contracts.Contract:
    return contracts.load(made.text, name="draft")


@pytest.mark.parametrize(
    ("name", "schema", "expected"),
    [
        ("x", {"type": "string"}, "string"),
        ("x", {"type": "string", "maxLength": 5}, "string(0..5)"),
        ("x", {"enum": ["a", "b c"]}, "enum(a, b c)"),
        ("x", {"type": "string", "enum": ["", "b"]}, "string"),
        ("x", {"const": "on"}, "enum(on)"),
        ("x", {"enum": [1, 2]}, "any"),
        ("x", {"type": "string", "format": "email"}, "email"),
        ("x", {"type": "string", "format": "uri", "minLength": 1}, "url"),
        ("x", {"type": "string", "pattern": "^[a-z]{2}$"}, 'pattern("[a-z]{2}", 0..256)'),
        ("x", {"type": "string", "pattern": "^a|b$"}, "string"),
        ("x", {"type": "string", "pattern": "[a-z]"}, "string"),
        ("x", {"type": "string", "pattern": "^(a+)+\\1$"}, "string"),
        ("repo_path", {"type": "string"}, "path"),
        ("repoPath", {"type": "string"}, "path"),
        ("outputDir", {"type": "string"}, "path"),
        ("xpath", {"type": "string"}, "string"),
        ("x", {"type": "integer", "minimum": 1, "exclusiveMaximum": 10}, "int(1..9)"),
        ("x", {"type": "integer", "minimum": 0.5, "maximum": 9.5}, "int(1..9)"),
        ("x", {"type": "integer", "minimum": 10**40}, "int"),
        ("x", {"type": "number"}, "decimal(6)"),
        ("x", {"type": "number", "minimum": 0, "maximum": 1.5}, "decimal(6, 0..1.5)"),
        ("x", {"type": "boolean"}, "bool"),
        ("files", {"type": "array", "items": {"type": "string"}, "maxItems": 3}, "list(string, max 3)"),
        ("x", {"type": "array", "items": {"type": "integer"}}, "list(any, max 1000)"),
        ("x", {"type": "array", "items": {"type": "array"}}, "list(any, max 1000)"),
        ("x", {"type": "object"}, "object"),
        ("x", {"type": ["string", "integer"]}, "any"),
        ("x", {"$ref": "#/$defs/e"}, "enum(up, down)"),
        ("x", {"$ref": "https://evil.example/"}, "any"),
        ("x", {"anyOf": [{"type": "string"}, {"type": "integer"}]}, "any"),
        ("x", True, "any"),
    ],
)
def test_a_schema_becomes_the_type_that_says_the_same_or_one_that_passes_it_on(
    name: str, schema: Any, expected: str
) -> None:
    assert drafted_type(name, schema, {"#/$defs/e": {"enum": ["up", "down"]}}).type == expected


def test_what_may_be_null_may_be_left_out() -> None:
    schema = {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 9}, {"type": "null"}], "default": None}
    assert drafted_type("x", schema, {})[:2] == ("int(0..9)", True)


def test_a_definition_that_goes_in_circles_ends() -> None:
    assert drafted_type("x", {"$ref": "#/$defs/a"}, {"#/$defs/a": {"$ref": "#/$defs/a"}}).type == "any"


@pytest.mark.requirement("R2.15")
def test_only_what_a_server_claims_to_read_is_proposed_as_reading_and_it_says_that_this_is_a_claim() -> None:
    made = _draft(
        _tool("look", annotations={"readOnlyHint": True}),
        _tool("write", annotations={"readOnlyHint": False, "destructiveHint": False}),
        _tool("both", annotations={"readOnlyHint": True, "destructiveHint": True}),
        _tool("odd", annotations={"readOnlyHint": "true"}),
        _tool("bare"),
    )
    effects = {tool.tool: tool.effect for tool in _loaded(made).tools}
    assert effects.pop("files.look") == "read"
    assert set(effects.values()) == {"irreversible"}
    assert made.claimed == ("files.look",)
    assert "effect: read  # claimed by its server" in made.text


def test_no_rule_is_made_up_and_nothing_is_idempotent_or_in_custody_by_a_servers_word() -> None:
    made = _draft(_tool(annotations={"idempotentHint": True}), secrets=True)
    read = _loaded(made)
    assert (read.clauses, read.limits, read.response, read.principals) == ((), (), (), ())
    assert [(tool.custody, tool.idempotent, tool.executor) for tool in read.tools] == [("none", False, "supervised")]
    assert _loaded(_draft(_tool(), elsewhere=True)).tools[0].executor == "unstoppable"


def test_a_name_that_contracts_cannot_spell_is_left_out_and_said() -> None:
    made = _draft(
        _tool("edit", {"$dryRun": {"type": "boolean"}, "path": {"type": "string"}}),
        {"name": "need", "inputSchema": {"properties": {"page id": {}}, "required": ["page id"]}},
        _tool("re\u0430d"),
        _tool("edit"),
    )
    assert [tool.tool for tool in _loaded(made).tools] == ["files.edit"]
    assert [each.tool for each in made.left_out] == [
        "files.edit: $dryRun",
        "files.need",
        "files.re\u0430d",
        "files.edit",
    ]
    assert "# left out: files.need: contracts cannot spell its argument page id" in made.text


def test_names_with_capital_letters_are_drafted_as_the_server_spells_them() -> None:
    schema = {"properties": {"entityNames": {"type": "array"}, "dryRun": {"type": "boolean"}}, "required": ["dryRun"]}
    made = _draft({"name": "edit", "inputSchema": schema})
    (tool,) = _loaded(made).tools
    assert [(each.name, each.optional) for each in tool.arguments] == [("entityNames", True), ("dryRun", False)]
    assert made.left_out == ()


@pytest.mark.parametrize(
    ("required", "drafted", "left_out"),
    [
        ([], ["pageid"], ["files.edit: pageId"]),
        (["pageId"], ["pageId"], ["files.edit: pageid"]),
        (["pageid", "pageId"], [], ["files.edit"]),
    ],
)
def test_of_names_that_a_person_reads_as_one_one_is_drafted_and_a_tool_that_needs_both_is_left_out(
    required: list[str], drafted: list[str], left_out: list[str]
) -> None:
    schema = {"properties": {"pageid": {"type": "string"}, "pageId": {"type": "string"}}, "required": required}
    made = _draft({"name": "edit", "inputSchema": schema}, _tool("read"))
    by_name = {tool.tool: [argument.name for argument in tool.arguments] for tool in _loaded(made).tools}
    assert by_name.get("files.edit", []) == drafted
    assert [each.tool for each in made.left_out] == left_out
    assert "reads like page" in made.left_out[0].why


@pytest.mark.parametrize("said", ["\u202eevil", "a\n  - tool: x\n", "a\r- tool: y", "\ufeff\x85\x00", "x" * 99_999])
def test_the_words_of_a_server_stay_in_their_comment(said: str) -> None:
    made = _draft(_tool("read", description=said))
    assert [tool.tool for tool in _loaded(made).tools] == ["files.read"]
    assert all(len(line) < 1000 for line in made.text.splitlines())


def test_requests_of_the_protocol_are_actions_of_their_own() -> None:
    made = _draft(_tool("resources/read"), methods=("resources/read", "prompts/get", "sampling/createMessage"))
    assert [tool.tool for tool in _loaded(made).tools] == ["files.resources/read", "files.prompts/get"]


_WORDS = st.text(st.characters(), max_size=12)
_ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_WORDS, inner, max_size=3)),
    max_leaves=6,
)
_KEYWORDS = st.sampled_from(
    ["type", "enum", "const", "minLength", "maxLength", "pattern", "format", "minimum", "exclusiveMaximum", "items",
     "maxItems", "anyOf", "$ref"]
)  # fmt: skip
_VALUES = st.one_of(
    _ANY,
    st.sampled_from(["string", "integer", "number", "array", "object", "uri", "date", "^a$", "^[a-z]+$", "#/$defs/a"]),
    st.lists(st.sampled_from(["string", "null", "a b", "(", "integer"]), max_size=3),
)
_ARGUMENTS = st.sampled_from(["a", "A", "path", "aPath", "apath"])
_SCHEMAS = st.recursive(
    st.dictionaries(_KEYWORDS, _VALUES, max_size=4),
    lambda inner: st.dictionaries(_KEYWORDS, st.one_of(inner, st.lists(inner, max_size=2), _VALUES), max_size=4),
    max_leaves=5,
)


@given(st.lists(st.fixed_dictionaries(
    {"name": st.one_of(_WORDS, st.sampled_from(["read", "write"]))},
    optional={
        "inputSchema": st.one_of(_ANY, st.fixed_dictionaries(
            {"properties": st.dictionaries(st.one_of(_WORDS, _ARGUMENTS), _SCHEMAS, max_size=3)},
            optional={"required": st.one_of(_ANY, st.lists(_ARGUMENTS)), "$defs": _ANY},
        )),
        "description": _ANY, "annotations": _ANY,
    },
), max_size=4))  # fmt: skip
def test_whatever_servers_say_the_draft_is_a_contract_or_lists_no_tool(definitions: list[dict[str, Any]]) -> None:
    made = _draft(*definitions)
    errors = [each for each in contracts.lint(made.text, name="draft", today="2026-11-23") if each.level == "error"]
    if made.tools:
        assert not errors, made.text
        assert tuple(tool.tool for tool in _loaded(made).tools) == made.tools
    else:
        assert [each.problem for each in errors] == ["No tool is listed."]
