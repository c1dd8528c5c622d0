"""Expressions and clauses in the words that a reviewer reads; amounts in major units, as people write them.

`context.args.amount > 20000` of a `money(2)` is "amount is more than 200.00". What is said is what is judged, no more
and no less: a construct without words of its own is told as it is written. Values of an action never appear here, only
what stands in the contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cedarpy import pst

from failwell.core.contract.argument import Scaled, Type, parse_type
from failwell.core.contract.expression import parse_when
from failwell.core.contract.model import Clause, Tool

_CONTEXT = pst.Var("context")
_ARGS, _FACTS, _NOVEL = (pst.GetAttr(_CONTEXT, name) for name in ("args", "facts", "novel"))

#: Operator -> (in words, of dates, the operator of the opposite).
_COMPARED = {
    "eq": ("is", "is", "not_eq"),
    "not_eq": ("is not", "is not", "eq"),
    "less": ("is less than", "is before", "greater_eq"),
    "less_eq": ("is at most", "is on or before", "greater"),
    "greater": ("is more than", "is after", "less_eq"),
    "greater_eq": ("is at least", "is on or after", "less"),
}
_MIRRORED = {"less": "greater", "less_eq": "greater_eq", "greater": "less", "greater_eq": "less_eq"}
_SIGNS = {"add": "+", "sub": "-", "mul": "x"}

#: What `context` says of a run, as (it is so, it is not).
_STATED = {
    ("request", "absent"): ("no request is on record", "a request is on record"),
    ("request", "asserted"): ("the request is asserted only", "the request is not merely asserted"),
    ("request", "derived"): ("the request was handed over", "the request was not handed over"),
    ("request", "verified"): ("the request is verified", "the request is not verified"),
    ("principal", "absent"): ("nobody is named on whose behalf it is", "it is named on whose behalf it is"),
    ("principal", "asserted"): (
        "on whose behalf it is, is asserted only", "on whose behalf it is, is not merely asserted",
    ),
    ("principal", "derived"): (
        "on whose behalf it is, was handed over", "on whose behalf it is, was not handed over",
    ),
    ("principal", "verified"): (
        "on whose behalf it is, is verified", "on whose behalf it is, is not verified",
    ),
    ("baseline", "absent"): ("there is no baseline", "there is a baseline"),
    ("baseline", "learning"): ("the baseline is being learned", "the baseline is not being learned"),
    ("baseline", "locked"): ("the baseline is locked", "no baseline is locked"),
}  # fmt: skip
_NAMED = {
    "request": "the standing of the request", "principal": "the standing of the principal",
    "baseline": "the baseline", "novel": "what is new",
}  # fmt: skip

#: A clause with more conditions than this is not turned round for a hint: its own words are clearer.
_MOST_TURNED = 4


class Names(NamedTuple):
    """What a tool's expressions can name: arguments with their types, and facts with (type, source)."""

    arguments: Mapping[str, Type]
    facts: Mapping[str, tuple[Type, str]]


def names_of(tool: Tool) -> Names:
    """The names of a tool whose contract is sound."""
    return Names(
        {argument.name: parse_type(argument.type) for argument in tool.arguments},
        {ask.name: (parse_type(ask.type), ask.lookup) for ask in tool.facts},
    )


class _Said(NamedTuple):
    """A part in words. `joined` is the word between its own parts: inside another one it needs brackets."""

    text: str
    joined: str = ""


def condition(expr: pst.Expr, names: Names, *, holds: bool = True) -> str:
    """When `expr` is true, in words; with `holds` false, when it is not."""
    return _Telling(names).truth(expr, holds).text


def count_conditions(expr: pst.Expr) -> int:
    """How many conditions `expr` puts together."""
    if isinstance(expr, pst.UnaryOp) and expr.op == "not":
        return count_conditions(expr.arg)
    if isinstance(expr, pst.BinaryOp) and expr.op in ("and", "or"):
        return count_conditions(expr.left) + count_conditions(expr.right)
    return _MOST_TURNED + 1 if isinstance(expr, pst.IfThenElse) else 1


def amount(value: int, of: Type | None) -> str:
    """A number of a type, amounts in major units: 20000 of money(2) is 200.00."""
    return str(value) if of is None else _scaled(value, _places(of))


def _places(of: Type) -> int:
    return of.places if isinstance(of, Scaled) else 0


def _scaled(value: int, places: int) -> str:
    if places == 0:
        return str(value)
    digits = str(abs(value)).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def quoted(text: str) -> str:
    """A text of the contract, marked as one."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def listed(words: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else "nothing"


class _Telling:
    """One walk over one expression."""

    def __init__(self, names: Names) -> None:
        self._names = names

    # ---- what is true or false ---------------------------------------------------------------------------

    def truth(self, expr: pst.Expr, holds: bool) -> _Said:
        if isinstance(expr, pst.BoolLit):
            return _Said("always" if expr.value is holds else "never")
        if isinstance(expr, pst.UnaryOp):
            return self._unary(expr, holds)
        if isinstance(expr, pst.BinaryOp):
            return self._binary(expr, holds)
        if isinstance(expr, pst.HasAttr):
            return _Said(f"{expr.attrs[0]} is {'' if holds else 'not '}given")
        if isinstance(expr, pst.Like):
            return self._like(expr, holds)
        if isinstance(expr, pst.IfThenElse):
            parts = [self._inside(expr.cond, True), *(self._inside(e, holds) for e in (expr.then_expr, expr.else_expr))]
            return _Said(f"where {parts[0]}: {parts[1]}, and otherwise: {parts[2]}", "if")
        return _Said(f"{self.value(expr)} is {'true' if holds else 'false'}")

    def _inside(self, expr: pst.Expr, holds: bool, within: str = "") -> str:
        said = self.truth(expr, holds)
        return f"({said.text})" if said.joined and said.joined != within else said.text

    def _unary(self, expr: pst.UnaryOp, holds: bool) -> _Said:
        if expr.op == "not":
            return self.truth(expr.arg, not holds)
        if expr.op == "is_empty":
            if expr.arg == _NOVEL:
                return _Said("nothing in it is new" if holds else "something in it is new")
            return _Said(f"{self.value(expr.arg)} is {'' if holds else 'not '}empty")
        return _Said(f"{self.value(expr)} is {'true' if holds else 'false'}")

    def _binary(self, expr: pst.BinaryOp, holds: bool) -> _Said:
        if expr.op in ("and", "or"):
            word = expr.op if holds else {"and": "or", "or": "and"}[expr.op]
            return _Said(f" {word} ".join(self._inside(e, holds, word) for e in (expr.left, expr.right)), word)
        if expr.op in _COMPARED:
            return self._compared(expr, holds)
        return self._contained(expr, holds)

    # ---- comparisons -------------------------------------------------------------------------------------

    def _compared(self, expr: pst.BinaryOp, holds: bool) -> _Said:
        op: str = expr.op
        left, right = expr.left, expr.right
        if _is_literal(left) and not _is_literal(right):
            op, left, right = _MIRRORED.get(op, op), right, left
        if not holds:
            op = _COMPARED[op][2]
        if (stated := _stated(op, left, right)) is not None:
            return _Said(stated)
        if isinstance(right, pst.BoolLit):
            return self.truth(left, right.value is (op == "eq"))
        places = self._shared_places(left, right)
        word = _COMPARED[op][1 if self._is_date(left) or self._is_date(right) else 0]
        return _Said(f"{self.value(left, places)} {word} {self.value(right, places)}")

    def _contained(self, expr: pst.BinaryOp, holds: bool) -> _Said:
        left, right = expr.left, expr.right
        if left == _NOVEL:
            return _new(expr, holds)
        if isinstance(left, pst.Set) and expr.op == "contains":
            one = "is" if len(left.elements) == 1 else "is one of"
            other = "is not" if len(left.elements) == 1 else "is none of"
            return _Said(f"{self.value(right)} {one if holds else other} {self._several(left)}")
        if isinstance(left, pst.Set) and expr.op == "contains_all":
            only = f"{self.value(right)} has nothing but {self._several(left)}"
            return _Said(only if holds else f"{self.value(right)} has something else than {self._several(left)}")
        if isinstance(left, pst.Set):
            left, right = right, left
        word = {"contains": "", "contains_all": "all of ", "contains_any": "any of "}.get(expr.op)
        if word is None:
            return _Said(f"{self.value(expr)} is {'true' if holds else 'false'}")
        has = "has" if holds else "does not have"
        said = self._several(right) if isinstance(right, pst.Set) else self.value(right)
        return _Said(f"{self.value(left)} {has} {word}{said}")

    def _several(self, written: pst.Set) -> str:
        return ", ".join(self.value(element) for element in written.elements) or "nothing"

    def _like(self, expr: pst.Like, holds: bool) -> _Said:
        parts = [""]
        for piece in expr.pattern:
            if isinstance(piece, pst.Wildcard):
                parts.append("")
            else:
                parts[-1] += piece.value
        what = self.value(expr.base)
        spelled: dict[tuple[bool, ...], tuple[str, str]] = {
            (True,): ("is", "is not"),
            (True, False): ("begins with", "does not begin with"),
            (False, True): ("ends with", "does not end with"),
            (False, True, False): ("contains", "does not contain"),
        }
        word = spelled.get(tuple(bool(part) for part in parts))
        if word is None:
            word, parts = ("is like", "is not like"), ["*".join(part.replace("*", "\\*") for part in parts)]
        return _Said(f"{what} {word[0 if holds else 1]} {quoted(''.join(parts))}")

    # ---- values ------------------------------------------------------------------------------------------

    def value(self, expr: pst.Expr, places: int | None = None) -> str:
        """A value in words; `places`: how many decimals a written number has here (None: it is told as it stands)."""
        of = _VALUES.get(type(expr))
        return of(self, expr, places) if of is not None else "what is written there"

    def _name(self, expr: pst.GetAttr, places: int | None) -> str:
        if expr.base == _FACTS and expr.attr in self._names.facts:
            said = f"{expr.attr} (asked of {self._names.facts[expr.attr][1]})"
        elif expr.base == _CONTEXT:
            said = _NAMED.get(expr.attr, expr.attr)
        else:
            said = expr.attr
        # Compared with something of another scale, it is the smallest unit that is compared.
        own = self._places_of(expr)
        return f"{said} in its smallest unit" if own and places == 0 else said

    def _calculated(self, expr: pst.BinaryOp, places: int | None) -> str:
        sign = _SIGNS.get(expr.op)
        if sign is None:
            return f"({self.truth(expr, True).text})"
        left, right = (self._operand(e, expr.op, places) for e in (expr.left, expr.right))
        return f"({left} {sign} {right})"

    def _operand(self, expr: pst.Expr, op: str, places: int | None) -> str:
        # Of a product one side is the amount, the other only how many times: a written number there has no decimals.
        return self.value(expr, None if op == "mul" and isinstance(expr, pst.LongLit) else places)

    def _single(self, expr: pst.UnaryOp, places: int | None) -> str:
        if expr.op == "datetime" and isinstance(expr.arg, pst.StringLit):
            return expr.arg.value
        if expr.op == "neg":
            return f"-{self.value(expr.arg, places)}"
        return f"({self.truth(expr, True).text})"

    def _chosen(self, expr: pst.IfThenElse, places: int | None) -> str:
        first, second = self.value(expr.then_expr, places), self.value(expr.else_expr, places)
        return f"({first} where {self.truth(expr.cond, True).text}, otherwise {second})"

    # ---- scales ------------------------------------------------------------------------------------------

    def _shared_places(self, left: pst.Expr, right: pst.Expr) -> int:
        """The decimals of both sides, where they agree; 0 (smallest units) where they do not."""
        known = {places for places in (self._places_of(left), self._places_of(right)) if places is not None}
        return known.pop() if len(known) == 1 else 0

    def _places_of(self, expr: pst.Expr) -> int | None:
        """How many decimals a number has; None for a written one, which has those of its neighbour."""
        if isinstance(expr, pst.GetAttr):
            if expr.base == _ARGS:
                of = self._names.arguments.get(expr.attr)
            else:
                of = self._names.facts[expr.attr][0] if expr.attr in self._names.facts else None
            return None if of is None or of.cedar != "Long" else _places(of)
        if isinstance(expr, pst.UnaryOp):
            return self._places_of(expr.arg) if expr.op == "neg" else None
        if isinstance(expr, pst.IfThenElse):
            return self._agreed(expr.then_expr, expr.else_expr)
        if isinstance(expr, pst.BinaryOp) and expr.op == "mul":
            sides = [places for places in map(self._places_of, (expr.left, expr.right)) if places is not None]
            return sides[0] if len(sides) == 1 else 0
        return self._agreed(expr.left, expr.right) if isinstance(expr, pst.BinaryOp) else None

    def _agreed(self, left: pst.Expr, right: pst.Expr) -> int | None:
        known = {places for places in map(self._places_of, (left, right)) if places is not None}
        return None if not known else known.pop() if len(known) == 1 else 0

    def _is_date(self, expr: pst.Expr) -> bool:
        if isinstance(expr, pst.UnaryOp):
            return expr.op == "datetime"
        if isinstance(expr, pst.GetAttr):
            of = self._names.arguments.get(expr.attr) if expr.base == _ARGS else None
            if expr.base == _FACTS and expr.attr in self._names.facts:
                of = self._names.facts[expr.attr][0]
            return of is not None and of.cedar == "datetime"
        return False


_VALUES: dict[type, Callable[[_Telling, Any, int | None], str]] = {
    pst.LongLit: lambda _, expr, places: _scaled(expr.value, places or 0),
    pst.StringLit: lambda _, expr, places: quoted(expr.value),
    pst.BoolLit: lambda _, expr, places: "true" if expr.value else "false",
    pst.Set: lambda telling, expr, places: f"[{telling._several(expr)}]",
    pst.GetAttr: _Telling._name,
    pst.BinaryOp: _Telling._calculated,
    pst.UnaryOp: _Telling._single,
    pst.IfThenElse: _Telling._chosen,
    pst.HasAttr: lambda telling, expr, places: f"({telling.truth(expr, True).text})",
    pst.Like: lambda telling, expr, places: f"({telling.truth(expr, True).text})",
}


def _is_literal(expr: pst.Expr) -> bool:
    if isinstance(expr, pst.UnaryOp):
        return expr.op in ("datetime", "neg") and _is_literal(expr.arg)
    return isinstance(expr, pst.LongLit | pst.StringLit | pst.BoolLit)


def _stated(op: str, left: pst.Expr, right: pst.Expr) -> str | None:
    """What is said of request, principal and baseline."""
    if isinstance(left, pst.GetAttr) and left.base == _CONTEXT and isinstance(right, pst.StringLit):
        said = _STATED.get((left.attr, right.value))
        if said is not None and op in ("eq", "not_eq"):
            return said[op == "not_eq"]
    return None


def _new(expr: pst.BinaryOp, holds: bool) -> _Said:
    """What is said of `context.novel`: tools, targets and values of arguments never seen before."""
    asked = expr.right.elements if isinstance(expr.right, pst.Set) else (expr.right,)
    names = [word.value for word in asked if isinstance(word, pst.StringLit)]
    if not names or len(names) != len(asked):
        return _Said(f"what is new {'has' if holds else 'does not have'} what is listed")
    said = [{"tool": "the tool", "target": "the target"}.get(name, name) for name in names]
    word = "and" if (expr.op == "contains_all") is holds else "or"
    # Several of them are brackets' own: "x and (iban or the tool was never seen before)".
    return _Said(f"{listed(said, word)} was {'never seen' if holds else 'seen'} before", "names" if said[1:] else "")


# ---- clauses ------------------------------------------------------------------------------------------------


def because(clause: Clause, names: Names, expr: pst.Expr | None = None) -> str:
    """Why a clause without words of its own speaks. `expr`: its expression, where it is parsed already."""
    word = "denied" if clause.then == "deny" else "for a person to decide"
    if clause.when is None:
        return f"This is {word}."
    said = condition(expr if expr is not None else parse_when(clause.when), names)
    return f"This is {word}." if said == "always" else f"This is {word} when {said}."


def what_would_pass(clause: Clause, names: Names, expr: pst.Expr | None = None) -> str | None:
    """What an action would have to be so that this clause does not speak; None where no few words say it."""
    if clause.when is None:
        return None
    expr = expr if expr is not None else parse_when(clause.when)
    if count_conditions(expr) > _MOST_TURNED:
        return None
    said = condition(expr, names, holds=False)
    return None if said in ("never", "always") else f"It would pass {clause.id} if {said}."
