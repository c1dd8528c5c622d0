"""The JSON Schema (2020-12) of a contract's or a floor's text, for editors: fields, words, shapes, meanings.

It is made of the vocabulary that the reader refuses unknown fields by. An editor that finds nothing has not linted:
types, expressions and what names what are judged by `checks.py` alone.
"""

from __future__ import annotations

from typing import Any, Literal

from failwell.core.contract.rule_reader import LIMITS
from failwell.core.contract.vocabulary import PARTS, Shape

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SAYS = {
    "contract": "What bounds an agent; check it with: failwell contract lint FILE",
    "floor": "What an organisation or a group asks of every contract; check it with: failwell contract lint FILE",
}
#: Parts of which exactly one of these fields stands.
_ONE_OF = {"clause": ("deny", "escalate"), "limit": tuple(LIMITS)}


def schema_of(document: Literal["contract", "floor"]) -> dict[str, Any]:
    """The schema of a whole document, as a JSON value."""
    return {
        "$schema": _DIALECT,
        "title": f"Failwell {document}",
        "description": _SAYS[document],
        "$ref": f"#/$defs/{document}",
        "$defs": {part: _part(part) for part in PARTS if part in _reached(document)},
    }


def _part(part: str) -> Shape:
    fields = PARTS[part]
    shape: Shape = {
        "type": "object",
        "properties": {name: {"description": field.says, **field.shape} for name, field in fields.items()},
        "additionalProperties": False,
    }
    if required := [name for name, field in fields.items() if field.required]:
        shape["required"] = required
    if part in _ONE_OF:
        shape["oneOf"] = [{"required": [name]} for name in _ONE_OF[part]]
    return shape


def _reached(part: str) -> set[str]:
    """The parts that a part is made of, itself among them."""
    found: set[str] = set()
    waiting = [part]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [below for field in PARTS[name].values() for below in _named_in(field.shape)]
    return found


def _named_in(shape: Any) -> list[str]:
    if isinstance(shape, list):
        return [name for item in shape for name in _named_in(item)]
    if not isinstance(shape, dict):
        return []
    own = [shape["$ref"].removeprefix("#/$defs/")] if "$ref" in shape else []
    return own + [name for value in shape.values() for name in _named_in(value)]
