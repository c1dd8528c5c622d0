"""A slow judge of its own: what an action's verdict must be, from plain values, by the words of DESIGN alone.

It reads arguments with `json` and `decimal`, evaluates drawn expressions as Python, and looks through everything that
ever happened for each limit. It knows no window, no token, no Cedar and none of our contract code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.property.drawn import WORDS, Argument, Expr

Facts = dict[str, Any]
HALVED = ("count", "sum", "rate", "concurrent", "blast")
MOST = 2**53 - 1


class NotTyped(Exception):
    """The arguments are not what is declared."""


# ---- typing ----------------------------------------------------------------------------------------------------------


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise NotTyped
    return dict(pairs)


def _no_constant(word: str) -> None:
    raise NotTyped(word)


def _no_rounded(digits: str) -> int:
    """Attack: a number that another reader rounds to another one (2**53 + 1)."""
    if abs(int(digits)) >= 2**53 and int(float(digits)) != int(digits):
        raise NotTyped
    return int(digits)


def parsed(raw: bytes) -> Any:
    """The JSON value; NotTyped where it is not strict JSON."""
    try:
        return json.loads(raw.decode(), object_pairs_hook=_no_twins, parse_constant=_no_constant, parse_int=_no_rounded)
    except ValueError as error:
        raise NotTyped from error


def facts_of(raw: bytes, arguments: list[Argument]) -> Facts:
    """The value of every argument that is there; NotTyped where anything is not as declared."""
    given = parsed(raw)
    if type(given) is not dict or set(given) - {each.name for each in arguments}:
        raise NotTyped
    facts = {}
    for each in arguments:
        if given.get(each.name) is None and each.optional:
            continue
        if each.name not in given:
            raise NotTyped
        value = _typed(given[each.name], each)
        if each.kind != "any":
            facts[each.name] = value
    return facts


def looked_up(answers: dict[str, tuple[str, Any]], asked: list[Argument]) -> Facts:
    """What trusted sources say; NotTyped where one gave no answer, or none of the type that is declared."""
    if any(answers.get(each.name, ("",))[0] != "answered" for each in asked):
        raise NotTyped
    return {each.name: _typed(answers[each.name][1], each) for each in asked}


def _typed(value: Any, of: Argument) -> Any:
    if of.kind in ("int", "money", "decimal"):
        return _number(value, of)
    if of.kind == "any":
        return None
    if of.kind == "bool":
        good = value is True or value is False
    elif of.kind == "list":
        good = type(value) is list and len(value) <= of.high and all(map(_is_id, value))
        value = frozenset(value) if good else None
    elif of.kind == "date":
        good = type(value) is str and _is_date(value)
    elif of.kind == "id":
        good = _is_id(value)
    elif of.kind == "enum":
        good = type(value) is str and value in WORDS
    else:
        good = type(value) is str and of.low <= len(value) <= of.high
    if not good:
        raise NotTyped
    return value


def _number(value: Any, of: Argument) -> int:
    """In smallest units, by decimal text."""
    if type(value) is str:
        if of.kind == "int" or not re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", value, re.ASCII):
            raise NotTyped
        if len(value.partition(".")[2]) > of.places:
            raise NotTyped
    elif type(value) not in (int, float):
        raise NotTyped
    try:
        scaled = Decimal(repr(value) if type(value) is float else str(value)).scaleb(of.places)
    except InvalidOperation as error:
        raise NotTyped from error
    if scaled != scaled.to_integral_value() or not of.low * 10**of.places <= scaled <= of.high * 10**of.places:
        raise NotTyped
    return int(scaled)


def _is_id(value: Any) -> bool:
    return type(value) is str and re.fullmatch(r"[A-Za-z0-9#][A-Za-z0-9._:@+#-]{0,127}", value, re.ASCII) is not None


def _is_date(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


# ---- expressions -----------------------------------------------------------------------------------------------------

_COMPARE = {
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b, "+": lambda a, b: a + b, "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}  # fmt: skip


def holds(expr: Expr, facts: Facts, context: dict[str, Any]) -> Any:
    """The value of an expression."""
    op, *rest = expr
    leaves: dict[str, Callable[[], Any]] = {
        "int": lambda: rest[0], "str": lambda: rest[0], "day": lambda: rest[0], "arg": lambda: facts[rest[0]],
        "has": lambda: rest[0] in facts, "context": lambda: context[rest[0]],
        "novel": lambda: rest[0] in context["novel"],
    }  # fmt: skip
    if op in leaves:
        return leaves[op]()
    first = holds(rest[0], facts, context)
    if op == "!":
        return not first
    if op == "like":
        return re.fullmatch(".*".join(map(re.escape, rest[1].split("*"))), first, re.DOTALL) is not None
    # What need not be looked at may read an argument that is not there.
    if op in ("&&", "||"):
        return holds(rest[1], facts, context) if first is (op == "&&") else first
    if op == "if":
        return holds(rest[1 if first else 2], facts, context)
    second = holds(rest[1], facts, context)
    return second in first if op == "contains" else _COMPARE[op](first, second)


def fired(rules: list[dict[str, Any]], tool: str, facts: Facts, context: dict[str, Any]) -> list[tuple[str, str]]:
    """(id, then) of the clauses that speak."""
    return [
        (rule["id"], rule["then"])
        for rule in rules
        if tool in rule["tools"] and (rule["when"] is None or holds(rule["when"], facts, context))
    ]


def strictest(said: list[tuple[str, str]]) -> str:
    words = {then for _, then in said}
    return "DENY" if "deny" in words else "ESCALATE" if "escalate" in words else "ALLOW"


# ---- contracts under floors ------------------------------------------------------------------------------------------


def bound_by(contract: dict[str, Any], floors: list[dict[str, Any]]) -> dict[str, Any]:
    """A contract's own rules and those of its floors, each under its own name."""
    all_of = dict(contract)
    for floor in floors:
        names = [tool["tool"] for tool in contract["tools"]]
        own = {"id": f"{floor['floor']}/never", "then": "deny", "tools": floor["never"], "when": None}
        for field, more in (("clauses", [own, *named(floor, "clauses")]), ("limits", named(floor, "limits"))):
            spread = [{**rule, "tools": [tool for tool in names if _about(rule["tools"], tool)]} for rule in more]
            all_of[field] = [*all_of[field], *spread]
        order = ("allow", "escalate", "deny")
        all_of["irreversible"] = order[max(order.index(each["irreversible"]) for each in (all_of, floor))]
        all_of["halves"] = all_of["halves"] or floor["halves"]
    return all_of


def named(floor: dict[str, Any], field: str) -> list[dict[str, Any]]:
    return [{**rule, "id": f"{floor['floor']}/{rule['id']}"} for rule in floor[field]]


def _about(patterns: list[str], tool: str) -> bool:
    return any(tool == each or (each.endswith("*") and tool.startswith(each[:-1])) for each in patterns)
