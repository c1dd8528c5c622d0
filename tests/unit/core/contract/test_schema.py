"""The JSON Schema for editors: current, true of every contract we have, and of exactly the fields that are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import contract as contracts
from failwell.core.contract.document import read_document
from failwell.core.contract.vocabulary import LATER, PARTS
from tests.unit.core.contract.contracts import REFUND_BOT, clause, one_tool
from tests.unit.core.contract.test_floor import COMPANY

ROOT = Path(__file__).resolve().parents[4]
EXAMPLES = sorted((ROOT / "examples" / "contracts").glob("*.yaml"))
DOCUMENTED = ROOT / "docs" / "contract.md"

KINDS = {
    "object": dict, "array": list, "string": str, "integer": int, "boolean": bool,
}  # fmt: skip


def faults(value: Any, shape: dict[str, Any], whole: dict[str, Any], at: str = "$") -> Iterator[str]:
    """What is wrong with a value, by the words of JSON Schema 2020-12 that ours uses; AssertionError for others."""
    known = {"$ref", "$schema", "$defs", "title", "description", "type", "enum", "const", "pattern", "minimum",
             "minItems", "items", "properties", "required", "additionalProperties", "propertyNames", "anyOf",
             "oneOf"}  # fmt: skip
    assert set(shape) <= known, set(shape) - known
    if "$ref" in shape:
        yield from faults(value, whole["$defs"][shape["$ref"].removeprefix("#/$defs/")], whole, at)
    if "type" in shape:
        names = [shape["type"]] if isinstance(shape["type"], str) else shape["type"]
        if not any(type(value) is KINDS[name] for name in names):
            yield f"{at}: not {names}"
            return
    if "enum" in shape and value not in shape["enum"]:
        yield f"{at}: not one of {shape['enum']}"
    if "const" in shape and value != shape["const"]:
        yield f"{at}: not {shape['const']}"
    if "pattern" in shape and not re.search(shape["pattern"], value):
        yield f"{at}: not {shape['pattern']}"
    if "minimum" in shape and value < shape["minimum"]:
        yield f"{at}: below {shape['minimum']}"
    for word, right in (("anyOf", range(1, 99)), ("oneOf", range(1, 2))):
        if word in shape and sum(not list(faults(value, one, whole)) for one in shape[word]) not in right:
            yield f"{at}: {word}"
    yield from below(value, shape, whole, at)


def below(value: Any, shape: dict[str, Any], whole: dict[str, Any], at: str) -> Iterator[str]:
    if isinstance(value, list):
        if len(value) < shape.get("minItems", 0):
            yield f"{at}: too few"
        for number, item in enumerate(value):
            yield from faults(item, shape.get("items", {}), whole, f"{at}[{number}]")
    if isinstance(value, dict):
        properties, others = shape.get("properties", {}), shape.get("additionalProperties", {})
        yield from (f"{at}: {name} is missing" for name in shape.get("required", []) if name not in value)
        for name, item in value.items():
            yield from faults(name, shape.get("propertyNames", {}), whole, f"{at}: the name {name}")
            if name not in properties and others is False:
                yield f"{at}: {name} is not known"
            else:
                yield from faults(item, properties.get(name, others or {}), whole, f"{at}.{name}")


def found(text: str, document: Any = "contract") -> list[str]:
    whole = contracts.schema_of(document)
    return list(faults(read_document(text).value(), whole, whole))


@pytest.mark.parametrize(("document", "option"), [("contract", ""), ("floor", " --floor")])
def test_the_file_in_the_documents_is_current(document: Any, option: str) -> None:
    kept = json.loads((ROOT / "docs" / f"{document}.schema.json").read_text())
    command = f"failwell contract schema{option} > docs/{document}.schema.json"
    assert kept == contracts.schema_of(document), f"write it anew: {command}"


def documented() -> list[str]:
    return re.findall(r"^```yaml\n((?:contract|floor): .*?)^```", DOCUMENTED.read_text(), re.DOTALL | re.MULTILINE)


def test_every_contract_that_we_have_fits_it() -> None:
    shown = documented()
    assert len(shown) == 2
    texts = [path.read_text() for path in EXAMPLES] + [REFUND_BOT, one_tool(clauses=clause("true")), shown[0]]
    assert len(texts) == 8
    for text in texts:
        assert found(text) == []
    for text in (COMPANY, shown[1]):
        assert found(text, "floor") == []


@pytest.mark.parametrize("part", PARTS)
def test_the_documents_say_every_field_in_the_same_words(part: str) -> None:
    text = DOCUMENTED.read_text()
    for name, field in PARTS[part].items():
        cell = f"**`{name}`**" if field.required else f"`{name}`"
        assert f"| {cell} | {field.says} |\n" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("owner: payments-owner", "ower: payments-owner"), "ower is not known"),
        (("owner: payments-owner", ""), "owner is missing"),
        (("effect: irreversible", "effect: final"), "not one of"),
        (("version: 7", 'version: "7"'), "not ['integer']"),
        (("deadline: 10s", "deadline: soon"), "not ^"),
        (("deny: payments.refund", "deny: payments.refund\n    escalate: payments.refund"), "oneOf"),
        (("count: payments.refund", "count: payments.refund, rate: payments.refund"), "oneOf"),
        (("do: [suspend]", "do: []"), "too few"),
        (("note?: string", "no.te?: string"), "the name no.te?: not ^"),
    ],
)
def test_an_editor_sees_what_is_wrong(change: tuple[str, str], said: str) -> None:
    assert change[0] in REFUND_BOT
    assert any(said in fault for fault in found(REFUND_BOT.replace(*change, 1)))


#: A text for each part, with `@` where a field of it can stand.
PLACES = {
    "contract": "{@}",
    "floor": "{@}",
    **{part: f"{{{part}: {{@}}}}" for part in ("valid", "oversight", "restricted", "on_suspend", "stopping")},
    **{
        part: f"{{{name}: [{{@}}]}}"
        for part, name in (
            ("tool", "tools"), ("clause", "clauses"), ("limit", "limits"), ("response", "response"),
            ("escalation", "escalation"), ("example", "examples"),
        )
    },
    "earlier": "{examples: [{after: [{@}]}]}",
    "affects": "{tools: [{affects: {@}}]}",
    "contest": "{tools: [{contest: {@}}]}",
    "compensate": "{tools: [{compensate: {@}}]}",
    "fact": "{tools: [{facts: {a: {@}}}]}",
    "ensure": "{tools: [{ensure: {a: {@}}}]}",
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_every_field_of_it_is_read_and_no_other(part: str) -> None:
    """A field that the schema has and the reader passes over would bound nothing, and nobody would notice."""
    lint = contracts.lint_floor if part == "floor" else contracts.lint

    def said(field: str, value: str) -> list[str]:
        beside = ", sequence: act" if (part, field) == ("limit", "after") else ""
        text = PLACES[part].replace("@", f'"{field}": {value}{beside}') + "\n"
        return [finding.problem for finding in lint(text, name="t")]

    for field in PARTS[part]:
        # Of each kind of value, some are wrong for every field: a field that takes them all is not read.
        told = {value: said(field, value) for value in ("5", "-1.5", "[[5]]", "{a: 5}", "null", "text")}
        assert not any(f'unknown field "{field}"' in problem for problems in told.values() for problem in problems)
        assert len({tuple(problems) for problems in told.values()}) > 1, field
    assert any("unknown field" in problem for problem in said("nonsense", "5"))
    for field in LATER.get(part, ()):
        assert any("not enforced" in problem for problem in said(field, "5"))


def test_every_part_is_reached_and_every_field_says_what_it_means() -> None:
    reached = set(contracts.schema_of("contract")["$defs"]) | set(contracts.schema_of("floor")["$defs"])
    assert reached == set(PARTS) == set(PLACES)
    for part, fields in PARTS.items():
        assert set(contracts.schema_of("floor" if part == "floor" else "contract")["$defs"][part]["properties"]) == set(
            fields
        )
        assert all(field.says.endswith(".") for field in fields.values())
