"""Argument types: what a tool call's argument must be, and the fact that it becomes.

    string  string(1..40)  id  int  int(0..100)  bool  money(2)  money(2, 0..10000)  decimal(3, -1..1)
    date  enum(a, b, c)  email  url  path  iban  pattern("[A-Z]{2}[0-9]{6}", 1..8)  list(TYPE, max n)  any  object

`money(places, range)` and `decimal(places, range)` take a JSON number or string whose decimal text has at
most that many places; the range is in major units, the fact an integer of the smallest unit. `id` is
ASCII, so that no look-alike passes for another one. A fact is what clauses and limits see: e-mail
addresses and the scheme and host of a URL in lower case, IBANs without spaces. `any` and `object` are
opaque: passed on, never a fact. It does not fetch, resolve or normalise anything else: each check here is
linear in the length of the value (no regular expression backtracks over unbounded parts; those of a contract
are RE2's).
"""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import Any, Literal

from failwell.core import canonical
from failwell.core.contract.formats import FORMATS
from failwell.core.contract.pattern import compile_pattern
from failwell.core.errors import InputError

Value = int | str | bool | tuple[str, ...]
CedarType = Literal["Long", "String", "Bool", "datetime", "Set<String>", "Set<datetime>"]

_SAFE = canonical.SAFE_INTEGER_LIMIT
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,15})(?:\.([0-9]{1,9}))?")


class Mismatch(InputError):
    """A value that is not of the declared type; the message never shows the value (it may be personal)."""


class Type:
    """One argument type. `text` is its canonical spelling; `cedar` None means opaque: never a fact."""

    __slots__ = ("bounds", "cedar", "longest", "name", "text")

    def __init__(
        self,
        text: str,
        cedar: CedarType | None,
        *,
        bounds: tuple[int, int] | None = None,
        longest: int | None = None,
    ) -> None:
        self.text = text
        self.name = text.partition("(")[0]
        self.cedar = cedar
        #: Declared range of the fact, smallest units; None: none declared.
        self.bounds = bounds
        #: Most characters that the fact can have; None: as many as the arguments may.
        self.longest = longest

    @abstractmethod
    def read(self, value: Any) -> Value | None:
        """Return the fact of a JSON value (None for an opaque one); Mismatch if the value is not of this
        type."""


def _an(name: str) -> str:
    shown = {"int": "whole number", "money": "amount", "decimal": "decimal number"}.get(name, name)
    return f"an {shown}" if shown[0] in "aeiou" and not shown.startswith("url") else f"a {shown}"


class Scaled(Type):
    """`int` has no places and takes JSON numbers only; `money` and `decimal` take decimal text too."""

    __slots__ = ("_unit", "high", "low", "places")

    def __init__(self, name: str, places: int, declared: tuple[str, str] | None) -> None:
        shown = [] if name == "int" else [str(places)]
        bounds = None
        if declared is not None:
            bounds = (_scaled(declared[0], places), _scaled(declared[1], places))
            if bounds[0] > bounds[1]:
                raise InputError(f"the range {declared[0]}..{declared[1]} is empty", hint="Write the lower end first.")
            shown.append(f"{declared[0]}..{declared[1]}")
        text = f"{name}({', '.join(shown)})" if shown else name
        super().__init__(text, "Long", bounds=bounds, longest=20)
        #: Decimals; the fact counts the smallest unit.
        self.places = places
        self.low, self.high = bounds or (1 - _SAFE, _SAFE - 1)
        self._unit = 10**places

    def read(self, value: Any) -> int:
        if type(value) is int:
            number = value * self._unit if -_SAFE < value < _SAFE else _SAFE
        else:
            number = self._from_text(value)
        if not self.low <= number <= self.high:
            raise Mismatch(f"outside {self.text}")
        return number

    def _from_text(self, value: Any) -> int:
        if type(value) is float:
            text = canonical.number_text(value)
        elif type(value) is str and self.name != "int":
            text = value
        else:
            raise Mismatch(f"not {_an(self.name)}")
        # By decimal text, never by binary value: 98.7 is 9870 cents, and 0.1 + 0.2 has seventeen places.
        try:
            return _scaled(text, self.places)
        except InputError:
            raise Mismatch(f"not exact at {self.places} places" if self.places else f"not {_an(self.name)}") from None


class Text(Type):
    """Text between two lengths, in characters."""

    __slots__ = ("high", "low")

    def __init__(self, declared: tuple[int, int] | None) -> None:
        low, high = declared or (0, canonical.MAX_ARGUMENT_BYTES)
        text = "string" if declared is None else f"string({low}..{high})"
        super().__init__(text, "String", longest=None if declared is None else high)
        self.low, self.high = low, high

    def read(self, value: Any) -> str:
        if type(value) is not str:
            raise Mismatch("not a string")
        if not self.low <= len(value) <= self.high:
            raise Mismatch(f"outside {self.text}")
        return value


class Pattern(Type):
    """Text that a regular expression matches as a whole, between two lengths."""

    __slots__ = ("_matches", "high", "low", "regex")

    def __init__(self, regex: str, low: int, high: int) -> None:
        super().__init__(f'pattern("{regex}", {low}..{high})', "String", longest=high)
        self.low, self.high = low, high
        self.regex = regex
        self._matches = compile_pattern(regex, high)

    def read(self, value: Any) -> str:
        if type(value) is not str:
            raise Mismatch("not a string")
        if not self.low <= len(value) <= self.high or not self._matches(value):
            raise Mismatch(f"not of its pattern, {self.low} to {self.high} characters")
        return value


class _Formatted(Type):
    """Text of one of the fixed formats in `FORMATS`."""

    __slots__ = ("_normal",)

    def __init__(self, name: str) -> None:
        cedar: CedarType = "datetime" if name == "date" else "String"
        normal, longest = FORMATS[name]
        super().__init__(name, cedar, longest=longest)
        self._normal = normal

    def read(self, value: Any) -> str:
        if type(value) is not str or len(value) > (self.longest or 0):
            raise Mismatch(f"not {_an(self.name)}")
        normal: str | None = self._normal(value)
        if normal is None:
            raise Mismatch(f"not {_an(self.name)}")
        return normal


class _Boolean(Type):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("bool", "Bool", longest=5)

    def read(self, value: Any) -> bool:
        if type(value) is not bool:
            raise Mismatch("not true or false")
        return value


class Choice(Type):
    """One of the listed words."""

    __slots__ = ("words",)

    def __init__(self, words: tuple[str, ...]) -> None:
        super().__init__(f"enum({', '.join(words)})", "String", longest=max(map(len, words)))
        self.words = frozenset(words)

    def read(self, value: Any) -> str:
        if type(value) is not str or value not in self.words:
            raise Mismatch(f"not one of {self.text}")
        return value


class _Opaque(Type):
    __slots__ = ()

    def __init__(self, name: Literal["any", "object"]) -> None:
        super().__init__(name, None)

    def read(self, value: Any) -> None:
        if self.name == "object" and type(value) is not dict:
            raise Mismatch("not an object")


class Listed(Type):
    """At most `most` values of one type; opaque if they are."""

    __slots__ = ("most", "of")

    def __init__(self, of: Type, most: int) -> None:
        sets: dict[str | None, CedarType] = {"String": "Set<String>", "datetime": "Set<datetime>"}
        cedar = sets.get(of.cedar)
        longest = None if of.longest is None else of.longest * most
        super().__init__(f"list({of.text}, max {most})", cedar, longest=longest)
        self.of = of
        self.most = most

    def read(self, value: Any) -> tuple[str, ...] | None:
        if type(value) is not list:
            raise Mismatch("not a list")
        if len(value) > self.most:
            raise Mismatch(f"more than {self.most} values")
        read = self.of.read
        facts = tuple([read(item) for item in value])
        return None if self.cedar is None else facts  # type: ignore[return-value]


# ---- the grammar -------------------------------------------------------------------------------------------

_CALL = re.compile(r"([a-z]+)(?:\((.*)\))?", re.DOTALL)
_RANGE = re.compile(r"(-?[0-9][0-9.]{0,25})\.\.(-?[0-9][0-9.]{0,25})")
_PATTERN = re.compile(r'"(.*)"\s*,\s*([0-9]+\.\.[0-9]+)', re.DOTALL)
_COUNT = re.compile(r"0|[1-9][0-9]{0,6}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:/+-]{0,63}")
_MOST_PLACES = {"money": 6, "decimal": 9}
TYPE_NAMES = (
    "any",
    "bool",
    "date",
    "decimal",
    "email",
    "enum",
    "iban",
    "id",
    "int",
    "list",
    "money",
    "object",
    "path",
    "pattern",
    "string",
    "url",
)


def parse_type(text: str) -> Type:
    """Return the type that `text` spells; InputError (with what to write instead) if it spells none."""
    match = _CALL.fullmatch(text.strip())
    if match is None or match[1] not in TYPE_NAMES:
        raise InputError(f"{text!r} is not a type", hint=f"Types are: {', '.join(TYPE_NAMES)}.")
    name, inside = match[1], match[2]
    if name == "list":
        return _parse_list(text, inside)
    parts = [] if inside is None else [part.strip() for part in inside.split(",")]
    if name == "enum":
        return _parse_enum(parts)
    if name in _MOST_PLACES:
        return _parse_scaled(name, parts)
    if name == "pattern":
        return _parse_pattern(inside or "")
    if name in ("int", "string"):
        return _parse_ranged(name, inside)
    if inside is not None:
        raise InputError(f"{name} takes nothing in brackets", hint=f"Write {name}.")
    if name == "bool":
        return _Boolean()
    return _Opaque(name) if name in ("any", "object") else _Formatted(name)  # type: ignore[arg-type]


def _parse_list(text: str, inside: str | None) -> Type:
    of_text, _, most = (inside or "").rpartition(",")
    most = most.strip()
    if not of_text.strip() or not most.startswith("max ") or not _COUNT.fullmatch(most[4:]) or most[4:] == "0":
        raise InputError(f"{text!r} is not a list type", hint='Write "list(TYPE, max n)", such as list(email, max 20).')
    of = None if of_text.lstrip().startswith("list") else parse_type(of_text)  # no recursion on a stranger's text
    if of is None or of.cedar in ("Long", "Bool"):
        raise InputError(f"{text!r} is not a fact", hint="Write list(any, max n) to pass it on unread.")
    listed = Listed(of, int(most[4:]))
    if isinstance(of, Pattern):
        compile_pattern(of.regex, listed.longest or 0)  # all of them together are bounded too
    return listed


def _parse_pattern(inside: str) -> Type:
    match = _PATTERN.fullmatch(inside.strip())
    lengths = None if match is None else _lengths(match[2])
    if match is None or lengths is None:
        hint = """Write pattern("[A-Z]{2}[0-9]{6}", 8..8): the expression in double quotes, then the lengths."""
        raise InputError("a pattern needs its expression and its lengths", hint=hint)
    return Pattern(match[1], *lengths)


def _lengths(text: str) -> tuple[int, int] | None:
    """Fewest and most characters, of `1..40`; None if they are not two lengths."""
    low, dots, high = text.partition("..")
    if not dots or not _COUNT.fullmatch(low) or not _COUNT.fullmatch(high) or int(low) > int(high) or high == "0":
        return None
    return int(low), int(high)


def _parse_enum(parts: list[str]) -> Type:
    hint = 'Write "enum(low, normal, high)".'
    if not parts or parts == [""]:
        raise InputError("an enum lists the words that it allows", hint=hint)
    for number, word in enumerate(parts):
        if not _WORD.fullmatch(word):
            spelled = "a word of an enum begins with a letter or digit; then come letters, digits, spaces and _.:/+-"
            other = (
                'Certain paths: "path" and a clause that denies all others; other texts: pattern("[#@][a-z]+", 1..40).'
            )
            raise InputError(f"{word[:70]!r} cannot stand in an enum: {spelled}, 64 in all", hint=other)
        if word in parts[:number]:
            raise InputError(f"an enum lists {word!r} twice", hint=hint)
    return Choice(tuple(parts))


def _parse_scaled(name: str, parts: list[str]) -> Type:
    places = int(parts[0]) if parts and re.fullmatch(r"[0-9]", parts[0]) else -1
    if not 0 <= places <= _MOST_PLACES[name] or len(parts) > 2:
        raise InputError(
            f"{name} needs its decimal places, 0 to {_MOST_PLACES[name]}",
            hint=f'Write "{name}(2, 0..10000)".',
        )
    return Scaled(name, places, _parse_range(parts[1]) if len(parts) == 2 else None)


def _parse_ranged(name: str, inside: str | None) -> Type:
    declared = None if inside is None else _parse_range(inside.strip())
    if name == "int":
        return Scaled("int", 0, declared)
    if declared is None:
        return Text(None)
    if not all(map(_COUNT.fullmatch, declared)) or int(declared[0]) > int(declared[1]) or declared[1] == "0":
        raise InputError(f"{inside!r} are not lengths", hint='Write "string(1..40)".')
    return Text((int(declared[0]), int(declared[1])))


def _parse_range(text: str) -> tuple[str, str]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise InputError(f"{text!r} is not a range", hint="Write lowest and highest with two dots: 0..10000.")
    return match[1], match[2]


def _scaled(text: str, places: int) -> int:
    match = _DECIMAL.fullmatch(text)
    if match is None or len(match[1] or "") > places:
        raise InputError(f"{text!r} is not exact at {places} places", hint="Write it with fewer decimals.")
    number = int(text.replace(".", "") + "0" * (places - len(match[1] or "")))
    if not -_SAFE < number < _SAFE:
        raise InputError(f"{text!r} is too large at {places} places", hint="Keep below 2^53 of the smallest unit.")
    return number
