"""Of two bounds of the same kind, which lets less through: numbers, sets, argument types, expressions.

Answers "tighter" and "looser" only where one set of what is let through holds the other; else "unclear".
"""

from __future__ import annotations

from typing import Literal

from cedarpy import pst

from failwell.core.contract.argument import Choice, Listed, Scaled, Text, Type, parse_type
from failwell.core.contract.expression import parse_when

Direction = Literal["looser", "tighter", "unclear"]

#: Beyond every number that a contract can have.
UNBOUNDED = 2**62

#: Whether a larger number in `x OP number` makes the clause speak for less (looser), or for more.
_LESS_OFTEN = {"greater": True, "greater_eq": True, "less": False, "less_eq": False}


def by_range(was: int, now: int) -> Direction:
    """Of two upper bounds."""
    return "unclear" if was == now else "tighter" if now < was else "looser"


def by_set(was: frozenset[str], now: frozenset[str], *, more: Literal["looser", "tighter"]) -> Direction:
    """Of two sets, where having more is `more`."""
    if now > was:
        return more
    if now < was:
        return "tighter" if more == "looser" else "looser"
    return "unclear"


def by_type(was: str, now: str) -> Direction:
    """Of two types of one argument: tighter where each value of the newer one is the same fact under the older."""
    old, new = parse_type(was), parse_type(now)
    if _within(new, old):
        # Another spelling of the same type lets the same through: neither word is true of it.
        return "unclear" if _within(old, new) else "tighter"
    return "looser" if _within(old, new) else "unclear"


def _within(inner: Type, outer: Type) -> bool:
    if isinstance(inner, Choice) and isinstance(outer, Choice):
        return inner.words <= outer.words
    if isinstance(inner, Scaled) and isinstance(outer, Scaled):
        # Of other places it would be another fact, which clauses and limits read otherwise.
        same = inner.name == outer.name and inner.places == outer.places
        return same and inner.low >= outer.low and inner.high <= outer.high
    if isinstance(inner, Text) and isinstance(outer, Text):
        return inner.low >= outer.low and inner.high <= outer.high
    if isinstance(inner, Listed) and isinstance(outer, Listed):
        return inner.most <= outer.most and (inner.of.text == outer.of.text or _within(inner.of, outer.of))
    return inner.text == outer.text


def by_when(was: str | None, now: str | None) -> Direction:
    """Of two expressions of a clause that denies or escalates when it holds; None: always."""
    if was is None or now is None:
        return "tighter" if now is None else "looser"
    old, new = parse_when(was), parse_when(now)
    if old == new:
        return "unclear"  # written otherwise, the same when parsed: nobody should have to trust that
    found = _by_number(old, new)
    if found != "unclear":
        return found
    if new in _parts(old, "and") or old in _parts(new, "or"):
        return "tighter"
    return "looser" if old in _parts(new, "and") or new in _parts(old, "or") else "unclear"


def _by_number(old: pst.Expr, new: pst.Expr) -> Direction:
    """The same comparison with another number: `context.args.amount > 20000` and `> 10000`."""
    if not isinstance(old, pst.BinaryOp) or not isinstance(new, pst.BinaryOp):
        return "unclear"
    same = old.op == new.op and old.left == new.left
    if not same or old.op not in _LESS_OFTEN:
        return "unclear"
    if not isinstance(old.right, pst.LongLit) or not isinstance(new.right, pst.LongLit):
        return "unclear"
    return "looser" if (new.right.value > old.right.value) is _LESS_OFTEN[old.op] else "tighter"


def _parts(expr: pst.Expr, op: str) -> list[pst.Expr]:
    """The sides of a chain of one operator."""
    if isinstance(expr, pst.BinaryOp) and expr.op == op:
        return [*_parts(expr.left, op), *_parts(expr.right, op)]
    return [expr]
