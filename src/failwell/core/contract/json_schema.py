"""What an agent is shown of a tool's arguments: the tool server's JSON Schema, narrowed to what the contract allows.

It is help and no bound: arguments are judged by the contract's types, whatever was shown. Nothing is refused by it that
the contract's types and the server's schema both take; where one cannot say what both mean together, it says less.
The server's own words (descriptions, titles) pass as they are. Nothing is fetched: a reference to anything but the
schema's own definitions is left out, and with it what else the schema says beside plain facts about its values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from failwell.core.contract import model
from failwell.core.contract.argument import Listed, Type, parse_type
from failwell.core.contract.type_schema import Schema, alternatives
from failwell.core.errors import InputError

#: Keywords of the root that speak of arguments by name in ways that tightening says anew, or would make wrong.
_SAID_ANEW = frozenset(
    {"type", "properties", "required", "additionalProperties", "patternProperties", "unevaluatedProperties",
     "$defs", "definitions", "default", "examples"}
)  # fmt: skip
#: What keeps its meaning wherever it stands: kept where a schema refers to more than its own definitions.
_PLAIN = frozenset(
    {"type", "title", "description", "enum", "const", "default", "examples", "minLength", "maxLength", "pattern",
     "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems",
     "uniqueItems", "deprecated", "$schema"}
)  # fmt: skip
_LARGER = frozenset({"minLength", "minimum", "minItems"})
_SMALLER = frozenset({"maxLength", "maximum", "maxItems"})
_NOTHING: Schema = {"not": {}}
#: Alternatives within alternatives that are looked into; deeper ones are kept as they are.
_DEEPEST = 4


def tightened(schema: Mapping[str, Any], tool: model.Tool) -> Schema:
    """The schema of a tool's arguments as the agent is shown it: `schema` is the server's `inputSchema`.

    An argument that the contract does not declare, or that the server refuses by name, is none of its properties, and
    nothing is added to them.
    """
    own = _is_own(schema)
    shown = {name: value for name, value in schema.items() if name not in _SAID_ANEW and (own or name in _PLAIN)}
    given = schema.get("properties")
    theirs: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    other = schema.get("additionalProperties", True) if not schema.get("patternProperties") else True
    properties: Schema = {}
    required = {name for name in _listed(schema.get("required")) if isinstance(name, str)}
    needed = []
    for argument in tool.arguments:
        said = theirs.get(argument.name, other)
        if said is False:
            continue
        if not isinstance(said, Mapping):
            said = {}
        if not own:
            said = {name: value for name, value in said.items() if name in _PLAIN}
        properties[argument.name] = _narrowed(said, parse_type(argument.type), optional=argument.optional)
        if argument.name in required or not argument.optional:
            needed.append(argument.name)
    shown |= {"type": "object", "properties": properties, "additionalProperties": False}
    if needed:
        shown["required"] = needed
    if own and _refers(shown):
        shown |= {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    return shown


# ---- both at once ----------------------------------------------------------------------------------------------


def _narrowed(said: Mapping[str, Any], of: Type, *, optional: bool) -> Schema:
    """What both say. `said` is the server's schema of one argument."""
    both = _both(said, of, optional=optional)
    if both is None:
        return {name: said[name] for name in ("title", "description") if name in said} | _NOTHING
    return both


def _both(said: Mapping[str, Any], of: Type, *, optional: bool, depth: int = 0) -> Schema | None:
    """What both say; None where no value is both."""
    word = next((word for word in ("anyOf", "oneOf") if isinstance(said.get(word), list)), None)
    rest = _readable({name: value for name, value in said.items() if name != word}, of, optional=optional)
    if rest is None:
        return None
    if word is not None and depth < _DEEPEST:
        # (A or B) and C is (A and C) or (B and C).
        branches = [{} if each is True else each for each in said[word] if each is True or isinstance(each, Mapping)]
        possible = [_both(each, of, optional=optional, depth=depth + 1) for each in branches]
        left = [each for each in possible if each is not None]
        if not left:
            return None
        return rest | left[0] if len(left) == 1 and not set(left[0]) & set(rest) else {**rest, word: left}
    if word is not None:
        rest[word] = said[word]
    ours = [each for each in alternatives(of, optional=optional) if _meet(said.get("type"), each.get("type"))]
    if not ours:
        return None
    return _beside(rest, ours[0], of) if len(ours) == 1 else _beside(rest, {"anyOf": ours}, of)


def _beside(said: Schema, ours: Schema, of: Type) -> Schema:
    """Their keywords and ours in one schema; what cannot stand in one place twice stands under allOf."""
    # Until draft 2019-09 nothing beside a $ref counts.
    apart = {"$ref": said["$ref"]} if "$ref" in said else {}
    shown = {name: value for name, value in said.items() if name not in apart}
    further = {}
    for name, value in ours.items():
        was = shown.get(name)
        if name not in shown or was == value:
            shown[name] = value
        elif name == "type":
            shown[name] = _met(was, value)
        elif name in _LARGER | _SMALLER and _is_number(was):
            shown[name] = max(was, value) if name in _LARGER else min(was, value)
        elif name == "enum" and isinstance(was, list):
            shown[name] = [each for each in was if each in value]
        elif name == "items" and isinstance(of, Listed) and isinstance(was, Mapping):
            shown[name] = _narrowed(was, of.of, optional=False)
        else:
            further[name] = value
    if parts := [each for each in (apart, further) if each]:
        shown["allOf"] = [*_listed(shown.get("allOf")), *parts]
    return shown


def _readable(said: Mapping[str, Any], of: Type, *, optional: bool) -> Schema | None:
    """`said` without the values that the contract's type does not take; None where it listed only such."""
    shown = dict(said)
    if "const" in shown and not _takes(of, shown["const"], optional=optional):
        return None
    for name in ("enum", "examples"):
        if isinstance(shown.get(name), list):
            shown[name] = [each for each in shown[name] if _takes(of, each, optional=optional)]
            if not shown[name]:
                if name == "enum":
                    return None
                del shown[name]
    # A client that fills it in by itself would be denied.
    if "default" in shown and not _takes(of, shown["default"], optional=optional):
        del shown["default"]
    return shown


def _takes(of: Type, value: Any, *, optional: bool) -> bool:
    if value is None and optional:
        return True
    try:
        of.read(value)
    except InputError:
        return False
    return True


# ---- types of JSON -------------------------------------------------------------------------------------------


def _meet(theirs: Any, ours: str | None) -> bool:
    return ours is None or theirs is None or bool(_kinds(theirs) & _kinds(ours))


def _met(theirs: Any, ours: str) -> str:
    """The type that both name; `ours` is one word, and they meet."""
    return "integer" if ours == "number" and "number" not in [*_listed(theirs), theirs] else ours


def _kinds(named: Any) -> frozenset[str]:
    found = frozenset(each for each in [*_listed(named), named] if isinstance(each, str))
    return found | {"integer"} if "number" in found else found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


# ---- references ------------------------------------------------------------------------------------------------

_ANCHORS = frozenset({"$id", "id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$recursiveAnchor"})


def _is_own(schema: Mapping[str, Any]) -> bool:
    """Whether every reference in a schema is to its own definitions.

    Attack: a reference to the root would mean the narrowed root; one to an address has the agent's side fetch it.
    """
    for name, value in _members(schema):
        if name == "$ref" and not str(value).startswith(("#/$defs/", "#/definitions/")):
            return False
        if name in _ANCHORS and isinstance(value, str | bool):
            return False
    return True


def _refers(schema: Mapping[str, Any]) -> bool:
    return any(name == "$ref" for name, _ in _members(schema))


def _members(schema: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Every member of every object in it, however deep."""
    waiting: list[Any] = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            yield from value.items()
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
