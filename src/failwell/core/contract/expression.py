"""One `when` expression: parsed by Cedar, proved to be nothing but one boolean expression over declared
facts.

`parse_when` guards the parser itself: Cedar's recursive descent has no depth limit of its own, and a
thousand open brackets would end the process. `analyze` then walks the parsed tree with abstract values
(intervals for numbers, sets for words, what is possible for truth) and shows before adoption that no
arithmetic can leave 64 bits, which at run time would be an error in a rule that Cedar then skips (D22).
Types are left to Cedar's strict validation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from cedarpy import PolicySet, pst

from failwell.core.canonical import MAX_ARGUMENT_BYTES
from failwell.core.contract.argument import Choice, Type
from failwell.core.contract.nearest import meant
from failwell.core.errors import InputError

#: What a clause may read besides the arguments, with every value that it can have.
REQUEST_WORDS = frozenset({"absent", "asserted", "derived", "verified"})
BASELINE_WORDS = frozenset({"absent", "learning", "locked"})
CONTEXT_TYPES = {"baseline": "String", "novel": "Set<String>", "principal": "String", "request": "String"}

#: Names that `context.novel` can hold besides those of arguments.
NOVEL_WORDS = frozenset({"target", "tool"})

MAX_WHEN_LENGTH = 8192
# Measured: on a thread's stack of 1 MiB Cedar overruns it at 100 nested brackets or 200 chained operators, on
# the 8 MiB that Linux gives at 800. What these bounds let through runs on 1 MiB; smaller stacks are not
# supported.
_MAX_BRACKETS = 12
_MAX_TOKENS = 256
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n\r]*|[A-Za-z0-9_]+|\S', re.DOTALL)

#: Characters of a pattern times characters of the longest text: about 20 ms.
_MAX_LIKE_STEPS = 2**24

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


class Unsound(InputError):
    """The expression may not stand in a contract; `hint` says what to write instead."""


class Reads(NamedTuple):
    """What an expression reads: names of arguments, of looked-up facts, and of `CONTEXT_TYPES`.

    `holds` is what it can be.
    """

    arguments: frozenset[str]
    looked: frozenset[str]
    context: frozenset[str]
    holds: Truth


class Truth(NamedTuple):
    """Whether an expression can be true, and whether it can be false."""

    possible: bool
    avoidable: bool


class _Span(NamedTuple):
    low: int
    high: int
    undeclared: str | None = None  # the fact without a declared range that this number is made of


class _Words(NamedTuple):
    words: frozenset[str] | None  # None: any text
    literal: bool = False


class _Other(NamedTuple):
    pass


_Abstract = Truth | _Span | _Words | _Other

_EITHER = Truth(True, True)
_OTHER = _Other()


@lru_cache(maxsize=256)
def parse_when(text: str) -> pst.Expr:
    """Return the tree of one expression; Unsound if `text` is anything else, or too large or deep to parse
    safely."""
    _refuse_oversize(text)
    probe = f"forbid(principal, action, resource) when {{\n{text}\n}};"
    try:
        parsed = PolicySet.from_str(probe).to_pst()
    except ValueError as error:
        raise Unsound(f"not a Cedar expression: {error}", hint='Compare facts, such as "context.args.n > 5".') from None
    # INVARIANT: of the parsed text only the expression inside one `when` is ever used. Attack: the text
    # `false }; permit(principal, action, resource) when { true` closes our clause and opens a permit of
    # its own.
    policies = list(parsed.static_policies.values())
    only = policies[0] if len(policies) == 1 and not parsed.templates and not parsed.template_links else None
    if (
        only is None
        or (only.effect, only.principal, only.action, only.resource, dict(only.annotations))
        != ("forbid", pst.ScopeAny(), pst.ScopeAny(), pst.ScopeAny(), {})
        or len(only.clauses) != 1
        or not isinstance(only.clauses[0], pst.When)
    ):
        raise Unsound("more than one expression", hint="Write one boolean expression, without braces or policies.")
    return only.clauses[0].expr


def _refuse_oversize(text: str) -> None:
    if len(text) > MAX_WHEN_LENGTH:
        raise Unsound(f"longer than {MAX_WHEN_LENGTH} characters", hint="Split it into several clauses.")
    depth = tokens = 0
    for token in _TOKEN.findall(text):
        if token[0] in '"/,' and token != "/":
            continue  # texts, comments and commas nest nothing, so that a list of accounts may be long
        tokens += 1
        depth += (token in "([{") - (token in ")]}")
        if tokens > _MAX_TOKENS or depth > _MAX_BRACKETS:
            raise Unsound(
                f"more than {_MAX_TOKENS} words and signs, or brackets more than {_MAX_BRACKETS} deep",
                hint="Split it into several clauses.",
            )


def analyze(expr: pst.Expr, arguments: Mapping[str, tuple[Type, bool]], looked: Mapping[str, Type]) -> Reads:
    """Return what `expr` reads and whether it can hold, for a tool's arguments (name -> (type, optional)) and
    looked-up facts (name -> type).

    Raises Unsound for undeclared names, for constructs outside contracts (entities, records, other
    extensions), and for arithmetic that interval analysis cannot prove to stay within 64 bits.
    """
    walk = _Walk(arguments, looked)
    holds = walk.value(expr)
    return Reads(
        frozenset(walk.arguments), frozenset(walk.looked), frozenset(walk.context),
        holds if isinstance(holds, Truth) else _EITHER,
    )  # fmt: skip


class _Walk:
    """One pass over a tree; remembers what was read."""

    def __init__(self, declared: Mapping[str, tuple[Type, bool]], asked: Mapping[str, Type]) -> None:
        self._declared = declared
        self._asked = asked
        self.arguments: set[str] = set()
        self.looked: set[str] = set()
        self.context: set[str] = set()
        self._of: dict[type, Callable[[Any], _Abstract]] = {
            pst.BoolLit: lambda lit: Truth(lit.value, not lit.value),
            pst.LongLit: lambda lit: _Span(lit.value, lit.value),
            pst.StringLit: lambda lit: _Words(frozenset({lit.value}), literal=True),
            pst.GetAttr: self._attribute,
            pst.HasAttr: self._presence,
            pst.UnaryOp: self._unary,
            pst.BinaryOp: self._binary,
            pst.Like: self._like,
            pst.IfThenElse: self._choice,
            pst.Set: self._set,
        }

    def value(self, expr: pst.Expr) -> _Abstract:
        of = self._of.get(type(expr))
        if of is None:
            raise Unsound(
                f"{type(expr).__name__} has no place in a clause",
                hint=f"Use context.args.NAME, context.facts.NAME and context.{', context.'.join(CONTEXT_TYPES)}.",
            )
        return of(expr)

    # ---- names -------------------------------------------------------------------------------------------

    def _attribute(self, expr: pst.GetAttr) -> _Abstract:
        base = expr.base
        if base == pst.Var("context"):
            return self._of_context(expr.attr)
        if base == pst.GetAttr(pst.Var("context"), "args"):
            return self._of_argument(expr.attr)
        if base == pst.GetAttr(pst.Var("context"), "facts"):
            return self._of_looked(expr.attr)
        if isinstance(base, pst.GetAttr) and base.base == pst.Var("context"):
            self._of_context(base.attr)  # says what is wrong with it
        raise Unsound(f'"{expr.attr}" is not declared', hint="Facts are context.args.NAME, without further parts.")

    def _of_context(self, name: str) -> _Abstract:
        if name not in CONTEXT_TYPES:
            raise Unsound(
                f"context.{name} is not a fact",
                hint=meant(name, CONTEXT_TYPES, "context.") or "Use context.args.NAME.",
            )
        self.context.add(name)
        words = {"request": REQUEST_WORDS, "principal": REQUEST_WORDS, "baseline": BASELINE_WORDS}
        return _Words(words[name]) if name in words else _OTHER

    def _of_looked(self, name: str) -> _Abstract:
        of = self._asked.get(name)
        if of is None:
            listed = ", ".join(self._asked) or "none"
            raise Unsound(
                f"the tool asks for no fact {name}",
                hint=meant(name, self._asked, "context.facts.") or f"Its facts are: {listed}.",
            )
        self.looked.add(name)
        return _domain(of, f"facts.{name}")

    def _of_argument(self, name: str) -> _Abstract:
        declared = self._declared.get(name)
        if declared is None:
            listed = ", ".join(self._declared) or "none"
            raise Unsound(
                f"the tool has no argument {name}",
                hint=meant(name, self._declared, "context.args.") or f"Its arguments are: {listed}.",
            )
        of = declared[0]
        if of.cedar is None:
            raise Unsound(f"{name} is {of.text}: opaque, never a fact", hint="Declare a type that can be judged.")
        self.arguments.add(name)
        return _domain(of, f"args.{name}")

    def _presence(self, expr: pst.HasAttr) -> Truth:
        if expr.base != pst.GetAttr(pst.Var("context"), "args") or len(expr.attrs) != 1:
            raise Unsound('"has" asks for one optional argument', hint='Write "context.args has NAME".')
        self._of_argument(expr.attrs[0])
        return _EITHER if self._declared[expr.attrs[0]][1] else Truth(True, False)

    # ---- operators ---------------------------------------------------------------------------------------

    def _unary(self, expr: pst.UnaryOp) -> _Abstract:
        if expr.op == "datetime":
            if not isinstance(expr.arg, pst.StringLit):
                raise Unsound("datetime takes a written date", hint='Write datetime("2026-11-01").')
            return _OTHER
        arg = self.value(expr.arg)
        if expr.op == "not":
            return Truth(arg.avoidable, arg.possible) if isinstance(arg, Truth) else _EITHER
        if expr.op == "neg":
            return _proved("-", arg, _Span(0, 0), lambda low, high, _0, _1: (-high, -low))
        if expr.op == "is_empty":
            return _EITHER
        raise Unsound(f"{expr.op} is not available in clauses", hint="Decide on numbers, words, dates and lists.")

    def _binary(self, expr: pst.BinaryOp) -> _Abstract:
        combine = _BINARY.get(expr.op)
        if combine is None:
            raise Unsound(f"{expr.op} is not available in clauses", hint="Decide on numbers, words, dates and lists.")
        if expr.op in ("contains", "contains_all", "contains_any"):
            self._check_novel(expr)
        return combine(self.value(expr.left), self.value(expr.right))

    def _check_novel(self, expr: pst.BinaryOp) -> None:
        if expr.left != pst.GetAttr(pst.Var("context"), "novel"):
            return
        asked = expr.right.elements if isinstance(expr.right, pst.Set) else (expr.right,)
        for word in asked:
            if isinstance(word, pst.StringLit) and word.value not in self._declared and word.value not in NOVEL_WORDS:
                raise Unsound(
                    f'context.novel never holds "{word.value}"',
                    hint=meant(word.value, self._declared, "") or "It holds names of arguments.",
                )

    def _like(self, expr: pst.Like) -> Truth:
        self.value(expr.base)
        longest = None
        if isinstance(expr.base, pst.GetAttr):
            if expr.base.base == pst.GetAttr(pst.Var("context"), "facts"):
                longest = self._asked[expr.base.attr].longest
            elif expr.base.attr in self._declared:
                longest = self._declared[expr.base.attr][0].longest
        # Cedar backtracks to the last "*": at worst every character meets every character of the pattern.
        if len(expr.pattern) * (longest or MAX_ARGUMENT_BYTES) > _MAX_LIKE_STEPS:
            raise Unsound("matching this pattern could take long", hint='Declare a length: "string(0..2000)".')
        return _EITHER

    def _choice(self, expr: pst.IfThenElse) -> _Abstract:
        self.value(expr.cond)
        first, second = self.value(expr.then_expr), self.value(expr.else_expr)
        if isinstance(first, _Span) and isinstance(second, _Span):
            return _Span(
                min(first.low, second.low),
                max(first.high, second.high),
                first.undeclared or second.undeclared,
            )
        if isinstance(first, Truth) and isinstance(second, Truth):
            return Truth(first.possible or second.possible, first.avoidable or second.avoidable)
        return _Words(None) if isinstance(first, _Words) else _OTHER

    def _set(self, expr: pst.Set) -> _Abstract:
        for element in expr.elements:
            self.value(element)
        return _OTHER


def _domain(of: Type, name: str) -> _Abstract:
    """What a fact of a type can be."""
    if of.cedar == "Long":
        return _Span(*of.bounds) if of.bounds else _Span(_LOWEST, _HIGHEST, undeclared=name)
    if of.cedar == "Bool":
        return _EITHER
    return _Words(of.words if isinstance(of, Choice) else None) if of.cedar == "String" else _OTHER


def _and(left: _Abstract, right: _Abstract) -> Truth:
    if isinstance(left, Truth) and isinstance(right, Truth):
        return Truth(left.possible and right.possible, left.avoidable or right.avoidable)
    return _EITHER


def _or(left: _Abstract, right: _Abstract) -> Truth:
    if isinstance(left, Truth) and isinstance(right, Truth):
        return Truth(left.possible or right.possible, left.avoidable and right.avoidable)
    return _EITHER


def _equal(left: _Abstract, right: _Abstract) -> Truth:
    if isinstance(left, _Span) and isinstance(right, _Span):
        return Truth(
            left.low <= right.high and right.low <= left.high,
            not left.low == left.high == right.low == right.high,
        )
    if isinstance(left, _Words) and isinstance(right, _Words) and left.literal != right.literal:
        literal, domain = (left, right) if left.literal else (right, left)
        if literal.words and domain.words and not literal.words & domain.words:
            raise Unsound(
                f'it never is "{next(iter(literal.words))}"',
                hint=f"Its words are: {', '.join(sorted(domain.words))}.",
            )
    return _EITHER


def _unequal(left: _Abstract, right: _Abstract) -> Truth:
    same = _equal(left, right)
    return Truth(same.avoidable, same.possible)


def _less(left: _Abstract, right: _Abstract) -> Truth:
    if isinstance(left, _Span) and isinstance(right, _Span):
        return Truth(left.low < right.high, left.high >= right.low)
    return _EITHER


def _less_or_equal(left: _Abstract, right: _Abstract) -> Truth:
    if isinstance(left, _Span) and isinstance(right, _Span):
        return Truth(left.low <= right.high, left.high > right.low)
    return _EITHER


def _proved(
    sign: str, left: _Abstract, right: _Abstract, combine: Callable[[int, int, int, int], tuple[int, int]]
) -> _Abstract:
    if not isinstance(left, _Span) or not isinstance(right, _Span):
        return _OTHER  # a type error, which Cedar's validation words better
    undeclared = left.undeclared or right.undeclared
    if undeclared is not None:
        raise Unsound(
            f'"{sign}" is not provable: {undeclared} has no declared range',
            hint='Declare one, such as "money(2, 0..10000)", or compare without arithmetic.',
        )
    low, high = combine(left.low, left.high, right.low, right.high)
    if low < _LOWEST or high > _HIGHEST:
        raise Unsound(
            f'"{sign}" is not provable: the result can be from {low} to {high}, outside 64 bits',
            hint="Declare narrower ranges.",
        )
    return _Span(low, high)


def _product(a: int, b: int, c: int, d: int) -> tuple[int, int]:
    corners = (a * c, a * d, b * c, b * d)
    return min(corners), max(corners)


_BINARY: dict[str, Callable[[_Abstract, _Abstract], _Abstract]] = {
    "and": _and,
    "or": _or,
    "eq": _equal,
    "not_eq": _unequal,
    "less": _less,
    "less_eq": _less_or_equal,
    "greater": lambda left, right: _less(right, left),
    "greater_eq": lambda left, right: _less_or_equal(right, left),
    "add": lambda left, right: _proved("+", left, right, lambda a, b, c, d: (a + c, b + d)),
    "sub": lambda left, right: _proved("-", left, right, lambda a, b, c, d: (a - d, b - c)),
    "mul": lambda left, right: _proved("*", left, right, _product),
    "contains": lambda _left, _right: _EITHER,
    "contains_all": lambda _left, _right: _EITHER,
    "contains_any": lambda _left, _right: _EITHER,
}
