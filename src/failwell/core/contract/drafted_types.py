"""JSON Schema of one argument -> the argument type that a contract draft proposes for it, and what of that is guessed.

What a type cannot say is said in words and not enforced; what has no type becomes `any`, which is passed on unread. It
never proposes a bound that the schema or the argument's name gives no reason for, except where the contract language
asks for one (how many values, how many decimals).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from failwell.core.contract.argument import parse_type
from failwell.core.contract.casing import in_words
from failwell.core.contract.type_schema import is_portable
from failwell.core.errors import InputError

#: Where the language asks for a number and the schema says none.
MOST_VALUES, PLACES = 1000, 6
_SAFE = 2**53
_DEEPEST = 8
_PATH_NAME = re.compile(r"(?:.*[_-])?(?:path|filename|filepath|directory|folder|dir)")
_FORMATS = {"date": "date", "email": "email", "uri": "url", "url": "url"}


class Drafted(NamedTuple):
    """`type` as contracts spell it; `optional` where null is taken too; `notes` are for the person who reads it."""

    type: str
    optional: bool = False
    notes: tuple[str, ...] = ()


def drafted_type(name: str, schema: Any, definitions: Mapping[str, Any]) -> Drafted:
    """What to propose for the argument `name`. `definitions` are the schema's own, by reference (`#/$defs/X`)."""
    found = _drafted(name, schema, definitions, 0)
    try:
        parse_type(found.type)
    except InputError:  # it is too long, or too dear to match, for the language
        return Drafted("any", found.optional, (*found.notes, f"its schema makes {found.type[:40]}, which is too much"))
    return found


def _drafted(name: str, schema: Any, definitions: Mapping[str, Any], depth: int) -> Drafted:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return Drafted("any", notes=("passed on unread: its schema says nothing",))
    if isinstance(reference := schema.get("$ref"), str):
        if reference not in definitions:
            return Drafted("any", notes=(f"passed on unread: its schema refers to {reference[:80]}",))
        return _drafted(name, definitions[reference], definitions, depth + 1)
    for word in ("anyOf", "oneOf", "allOf"):
        branches = schema.get(word)
        if isinstance(branches, list) and branches and "type" not in schema:
            return _of_branches(name, branches, definitions, depth, every=word == "allOf")
    named = schema.get("type")
    kinds = [named] if isinstance(named, str) else [each for each in named or () if isinstance(each, str)]
    optional = "null" in kinds
    kinds = [each for each in kinds if each != "null"]
    if not kinds and (isinstance(schema.get("enum"), list) or "const" in schema):
        kinds = ["string"]
    if len(kinds) != 1:
        said = f"it may be {' or '.join(kinds)}" if kinds else "its schema names no type"
        return Drafted("any", optional, (f"passed on unread: {said[:100]}",))
    made = _BY_KIND.get(kinds[0], _any)(name, schema, definitions, depth)
    return Drafted(made.type, optional or made.optional, made.notes)


def _of_branches(name: str, branches: list[Any], definitions: Mapping[str, Any], depth: int, *, every: bool) -> Drafted:
    """One branch beside null is that one; several are more than a type can say."""
    others = [each for each in branches if not (isinstance(each, Mapping) and each.get("type") == "null")]
    optional = len(others) < len(branches) and not every
    if len(others) == 1:
        made = _drafted(name, others[0], definitions, depth + 1)
        return Drafted(made.type, optional or made.optional, made.notes)
    return Drafted("any", optional, (f"passed on unread: its schema joins {len(others)} others",))


# ---- text ------------------------------------------------------------------------------------------------------


def _string(name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> Drafted:
    listed = _listed(schema)
    if listed is not None and (not listed.notes or listed.type == "any"):
        return listed
    notes = [] if listed is None else list(listed.notes)
    low, high = _count(schema, "minLength", 0), _count(schema, "maxLength", None)
    if isinstance(given := schema.get("format"), str):
        if given in _FORMATS:
            only = ("http and https only",) if _FORMATS[given] == "url" else ()
            return Drafted(_FORMATS[given], notes=(*notes, *only))
        notes.append(f"not checked: format {given[:40]}")
    if isinstance(pattern := schema.get("pattern"), str):
        made = _pattern(pattern, low or 0, high)
        if made is not None:
            return Drafted(made, notes=tuple(notes))
        notes.append("not checked: its pattern")
    if high is None and not low:
        if _PATH_NAME.fullmatch(in_words(name)):
            return Drafted("path", notes=(*notes, 'guess, from its name: a path, which has no "..", "." or "~" in it'))
        return Drafted("string", notes=tuple(notes))
    return Drafted(f"string({low or 0}..{high if high is not None else 1_000_000})", notes=tuple(notes))


def _listed(schema: Mapping[str, Any]) -> Drafted | None:
    """The type of texts that a schema lists; None where it lists none, a type with notes where an enum cannot."""
    words = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if not isinstance(words, list) or not words:
        return None
    texts = all(isinstance(each, str) for each in words)
    enum = f"enum({', '.join(map(str, words))})"
    if texts and _is_type(enum):
        return Drafted(enum)
    return Drafted("string" if texts else "any", notes=("the schema lists its values, which an enum cannot spell",))


def _pattern(pattern: str, low: int, high: int | None) -> str | None:
    """The type of texts that a pattern describes from their first to their last letter; None where it does not."""
    whole = pattern.startswith("^") and pattern.endswith("$") and not pattern.endswith("\\$")
    inside = pattern[1:-1]
    if not whole or not inside or not is_portable(inside) or "|" in re.sub(r"\([^()]*\)|\[[^\]]*\]", "", inside):
        return None
    made = f'pattern("{inside}", {low}..{256 if high is None else high})'
    return made if _is_type(made) else None


# ---- numbers and the rest --------------------------------------------------------------------------------------


def _integer(name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> Drafted:
    low, high = _bound(schema, "minimum", "exclusiveMinimum", 1), _bound(schema, "maximum", "exclusiveMaximum", -1)
    if low is None and high is None:
        return Drafted("int")
    made = f"int({1 - _SAFE if low is None else low}..{_SAFE - 1 if high is None else high})"
    return Drafted(made) if _is_type(made) else Drafted("int", notes=("not checked: its range",))


def _bound(schema: Mapping[str, Any], inclusive: str, exclusive: str, step: int) -> int | None:
    for word, by in ((inclusive, 0), (exclusive, step)):
        value = schema.get(word)
        if isinstance(value, int | float) and not isinstance(value, bool) and -_SAFE < value < _SAFE:
            whole = int(value)
            return whole + by if whole == value else whole + (step > 0) * (value > 0) - (step < 0) * (value < 0)
    return None


def _number(name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> Drafted:
    note = f"guess: at most {PLACES} decimals, and below {_SAFE // 10**PLACES:,}"
    low, high = (schema.get(word) for word in ("minimum", "maximum"))
    ranged = f"decimal({PLACES}, {low}..{high})"
    return Drafted(ranged if _is_type(ranged) else f"decimal({PLACES})", notes=(note,))


def _array(name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> Drafted:
    most = _count(schema, "maxItems", None)
    notes = () if most else (f"guess: at most {MOST_VALUES:,} values",)
    most = min(most or MOST_VALUES, 9_999_999)
    of = _drafted(name.removesuffix("s"), schema.get("items"), definitions, depth + 1)
    made = f"list({of.type}, max {most})"
    if of.optional or not _is_type(made):
        return Drafted(f"list(any, max {most})", notes=(*notes, "its values are passed on unread"))
    return Drafted(made, notes=(*of.notes, *notes))


def _boolean(name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> Drafted:
    return Drafted("bool")


def _object(name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> Drafted:
    return Drafted("object", notes=("passed on unread: what stands in it",))


def _any(name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> Drafted:
    return Drafted("any", notes=("passed on unread: its type is none of JSON's",))


_BY_KIND = {
    "string": _string, "integer": _integer, "number": _number, "boolean": _boolean, "array": _array, "object": _object,
}  # fmt: skip


def _count(schema: Mapping[str, Any], word: str, otherwise: int | None) -> int | None:
    value = schema.get(word)
    return value if type(value) is int and 0 <= value <= 9_999_999 else otherwise


def _is_type(text: str) -> bool:
    try:
        parse_type(text)
    except InputError:
        return False
    return True
