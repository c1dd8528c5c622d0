"""YAML 1.2 text to a tree of nodes with places; the part of YAML that a contract may use, and no more.

Scalars are resolved by the core schema (YAML 1.2.2, section 10.3), so `on` and `1:30` are text. Refused:
duplicate keys, anchors, aliases, merge keys, tags, directives of other versions, several documents. It
knows nothing of contracts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from ruamel.yaml import YAML, events
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from failwell.core.errors import InputError

Kind = Literal["mapping", "list", "text", "integer", "float", "boolean", "null"]

MAX_TEXT_LENGTH = 262_144
#: Attack: letters that turn what follows them around on the screen, or break a line in one reader and not in the other,
#: so that whoever signs sees a clause where a comment stands. (Written as an escape in quotes they are seen.)
_UNSEEN = re.compile("[\x85\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069]|(?!\\A)\ufeff|\r(?!\n)")
_MAX_DEPTH = 16
_MAX_NODES = 8_000

_NULL = re.compile(r"(?:null|Null|NULL|~|)")
_BOOLEAN = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INTEGER = re.compile(r"(?:[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15})")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


class Misread(InputError):
    """The text is not such YAML. `line` and `column` count from 1."""

    def __init__(self, message: str, line: int, column: int, *, mend: str = "") -> None:
        super().__init__(message, hint=mend or None)
        self.line = line
        self.column = column
        self.mend = mend


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One value of the document. `raw` is the text of a scalar; `items` and `members` the children."""

    kind: Kind
    line: int
    column: int
    raw: str = ""
    items: tuple[Node, ...] = ()
    members: tuple[tuple[str, Node], ...] = ()

    def get(self, key: str) -> Node | None:
        """Return the member `key` of a mapping, or None."""
        return next((node for name, node in self.members if name == key), None)

    def integer(self) -> int:
        """Return the number of an `integer` node (decimal, 0o octal or 0x hexadecimal)."""
        base = {"0o": 8, "0x": 16}.get(self.raw[:2], 10)
        return int(self.raw, base)

    def value(self) -> Any:
        """Return what the node stands for as a JSON value; InputError for a number that JSON does not have."""
        if self.kind == "mapping":
            return {name: node.value() for name, node in self.members}
        if self.kind == "list":
            return [node.value() for node in self.items]
        if self.kind == "float":
            return _finite(self.raw)
        plain = {"null": None, "boolean": self.raw.lower() == "true", "text": self.raw}
        return self.integer() if self.kind == "integer" else plain[self.kind]


def read_document(text: str) -> Node:
    """Return the root node of the only document in `text`; Misread with the place otherwise."""
    if len(text) > MAX_TEXT_LENGTH:
        raise Misread(f"the text has {len(text)} characters, at most {MAX_TEXT_LENGTH} are read", 1, 1)
    if (unseen := _UNSEEN.search(text)) is not None:
        before, letter = text[: unseen.start()], ord(unseen.group())
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise Misread(f"the letter U+{letter:04X} stands here, which is not seen", *place, mend="Take it out.")
    reader = _Reader(text)
    try:
        return reader.document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        raise Misread(f"not YAML: {error.problem}", *place) from None
    except (YAMLError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise Misread(f"not YAML: {reason}", 1, 1) from None


class _Reader:
    """Builds nodes from parser events, so that an alias is refused before anything could be expanded from
    it."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(text))
        self._nodes = 0

    def document(self) -> Node:
        next(self._events)  # the start of the stream
        start = next(self._events)
        if not isinstance(start, events.DocumentStartEvent):
            raise Misread("the text is empty", 1, 1)
        if start.version not in (None, (1, 2)) or start.tags:
            raise _misread(start, "only YAML 1.2 without tags is read", "Leave the directives out.")
        root = self._node(next(self._events), 0)
        next(self._events)  # the end of the document
        after = next(self._events)
        if not isinstance(after, events.StreamEndEvent):
            raise _misread(after, "a second document begins here", "Keep one contract per file.")
        return root

    def _node(self, event: Any, depth: int) -> Node:
        self._nodes += 1
        if self._nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise _misread(event, f"more than {_MAX_NODES} values, or nested more than {_MAX_DEPTH} deep")
        if isinstance(event, events.AliasEvent) or getattr(event, "anchor", None) is not None:
            # Attack: ten aliases of ten aliases of ... is a gigabyte from a kilobyte (billion laughs).
            raise _misread(event, "anchors and aliases are not read", "Write the value out.")
        if event.tag is not None:
            raise _misread(event, f"the tag {event.tag} is not read", "A text that begins with ! needs quotes.")
        if isinstance(event, events.ScalarEvent):
            return _scalar(event)
        if isinstance(event, events.SequenceStartEvent):
            return self._list(event, depth)
        return self._mapping(event, depth)

    def _list(self, start: Any, depth: int) -> Node:
        items = []
        while not isinstance(event := next(self._events), events.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        line, column = _place(start)
        return Node(kind="list", line=line, column=column, items=tuple(items))

    def _mapping(self, start: Any, depth: int) -> Node:
        members: dict[str, Node] = {}
        while not isinstance(event := next(self._events), events.MappingEndEvent):
            key = self._node(event, depth + 1)
            if key.kind in ("mapping", "list"):
                raise Misread("a list or mapping cannot be a key", key.line, key.column)
            if key.raw == "<<":
                raise Misread("merge keys are not read", key.line, key.column, mend="Write the fields out.")
            if key.raw in members:
                raise Misread(
                    f"the key {key.raw!r} stands twice",
                    key.line,
                    key.column,
                    mend="Keep the one that you mean.",
                )
            members[key.raw] = self._node(next(self._events), depth + 1)
        line, column = _place(start)
        return Node(kind="mapping", line=line, column=column, members=tuple(members.items()))


def _scalar(event: Any) -> Node:
    line, column = _place(event)
    plain = event.style is None
    return Node(kind=_resolve(event.value) if plain else "text", line=line, column=column, raw=event.value)


def _resolve(text: str) -> Kind:
    if _NULL.fullmatch(text):
        return "null"
    if _BOOLEAN.fullmatch(text):
        return "boolean"
    if _INTEGER.fullmatch(text):
        return "integer"
    return "float" if _FLOAT.fullmatch(text) else "text"


def _finite(raw: str) -> float:
    number = float(raw.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(number):
        raise InputError(f"{raw} is no number of JSON", hint="Write digits.")
    return number


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _misread(event: Any, message: str, mend: str = "") -> Misread:
    return Misread(message, *_place(event), mend=mend)
