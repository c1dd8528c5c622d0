"""Each argument type as JSON Schema (2020-12): what a client is shown, so that it asks for what can be allowed.

It refuses nothing that the type takes, and what the type refuses wherever JSON Schema can say so. It cannot say: the
range and the places of an amount that is written as text, the days of a month, a checksum, an expression in RE2 that
other readers take differently. It decides nothing: `argument.py` does.
"""

from __future__ import annotations

import re
from typing import Any

from failwell.core.contract.argument import Choice, Listed, Pattern, Scaled, Text, Type
from failwell.core.contract.formats import FORMATS, SHAPES

Schema = dict[str, Any]

#: Expressions that RE2, ECMA-262 and Python read alike: literals, plain classes, groups, one counter after each.
_ESCAPED = r"\\[$^\\.*+?()\[\]{}|/"
_ATOM = rf"[A-Za-z0-9 _:@#,;=~/<>!%&'\"-]|{_ESCAPED}]|\[\^?(?:[A-Za-z0-9 _:@#,;=/<>!%'\".*+?(){{}}$-]|{_ESCAPED}-])+\]"
_COUNTER = r"(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})\??"
_PORTABLE = re.compile(rf"(?:(?:{_ATOM}|\))(?:{_COUNTER})?|\((?:\?:)?|\|)+")


def alternatives(of: Type, *, optional: bool) -> tuple[Schema, ...]:
    """The schemas of which a value of the type meets exactly one; optional: null and absent mean the same."""
    if isinstance(of, Scaled):
        found = _number(of)
    elif of.name == "any":
        return ({},)
    else:
        found = (_single(of),)
    return (*found, {"type": "null"}) if optional else found


def schema_of_type(of: Type, *, optional: bool = False) -> Schema:
    """The schema of a type."""
    found = alternatives(of, optional=optional)
    return found[0] if len(found) == 1 else {"anyOf": list(found)}


def _single(of: Type) -> Schema:
    if isinstance(of, Text):
        lengths: Schema = {"minLength": of.low} if of.low else {}
        return {"type": "string", **lengths, "maxLength": of.high}
    if isinstance(of, Choice):
        return {"type": "string", "enum": sorted(of.words)}
    if isinstance(of, Pattern):
        # As a whole, as the type matches it.
        said = {"pattern": f"^(?:{of.regex})$"} if is_portable(of.regex) else {}
        lengths = {"minLength": of.low} if of.low else {}
        return {"type": "string", **lengths, "maxLength": of.longest, **said}
    if isinstance(of, Listed):
        return {"type": "array", "items": schema_of_type(of.of), "maxItems": of.most}
    if of.name in FORMATS:
        return {"type": "string", "maxLength": of.longest, "pattern": f"^(?:{SHAPES[of.name]})$"}
    return {"type": {"bool": "boolean"}.get(of.name, of.name)}


def _number(of: Scaled) -> tuple[Schema, ...]:
    bounds = {"minimum": _major(of.low, of.places), "maximum": _major(of.high, of.places)}
    # No multipleOf: 98.7 is no multiple of 0.01 for whoever divides binary floating point numbers.
    number: Schema = {"type": "number" if of.places else "integer", **bounds}
    if of.name == "int":
        return (number,)
    places = rf"(?:\.[0-9]{{1,{of.places}}})?" if of.places else ""
    return number, {"type": "string", "pattern": f"^-?(?:0|[1-9][0-9]{{0,15}}){places}$"}


def _major(smallest: int, places: int) -> int | float:
    """An amount in major units. Shortest decimal text and binary value are in the same order, so nothing is lost."""
    unit: int = 10**places
    return smallest // unit if smallest % unit == 0 else smallest / unit


def is_portable(regex: str) -> bool:
    """Whether every reader of JSON Schema takes an expression as RE2 does."""
    if "--" in regex or not _PORTABLE.fullmatch(regex):  # two dashes in a class are a difference to some
        return False
    try:
        re.compile(regex)
    except re.error:
        return False
    return True
