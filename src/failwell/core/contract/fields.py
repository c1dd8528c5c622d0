"""The fields of one mapping of a contract's text: each is read as what it must be, each unknown one refused.

Fields of the format that this version does not enforce are refused by name. Accepting and ignoring them
would fail open: the owner would believe in a bound that nobody keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args

from failwell.core.contract.document import Node
from failwell.core.contract.duration import parse_duration
from failwell.core.contract.nearest import nearest
from failwell.core.contract.notes import Notes
from failwell.core.contract.vocabulary import LATER, PARTS
from failwell.core.errors import InputError

NOT_ENFORCED = "This version does not enforce it, and a bound that nobody keeps is worse than none."

T = TypeVar("T")


class Fields:
    """The fields of one mapping, a `part` of `PARTS`; each getter takes its field, notes what is wrong with it and
    gives a stand-in. `what` names it in messages."""

    def __init__(self, notes: Notes, node: Node, what: str, part: str) -> None:
        self.notes = notes
        self.node = node
        self.what = what
        if node.kind != "mapping":
            notes.error(node, f"{what} is not a mapping.", f"It is {a(node.kind)}.", "Write fields: `name: value`.")
        known = PARTS[part]
        for name, value in node.members:
            if name in LATER.get(part, ()):
                notes.error(value, f'{what}: "{name}" is not enforced yet.', NOT_ENFORCED, "Leave it out.")
            elif name not in known:
                meant = nearest(name, known)
                mend = f"Did you mean {meant}?" if meant else f"Fields are: {', '.join(known)}."
                notes.error(value, f'{what}: unknown field "{name}".', "Unknown fields are never ignored.", mend)

    def wrong(self, node: Node, name: str, expected: str, mend: str) -> None:
        """Note a value of the wrong kind."""
        self.notes.error(node, f"{self.what}: {name} is not {expected}.", f"It is {a(node.kind)}.", mend)

    def get(self, name: str, *, required: bool = False) -> Node | None:
        node = self.node.get(name)
        if node is not None and node.kind == "null":
            self.notes.error(node, f"{self.what}: {name} is empty.", "Empty says nothing.", "Fill it or leave it out.")
            return None
        if node is None and required and self.node.kind == "mapping":
            self.notes.error(self.node, f"{self.what}: {name} is missing.", "It is required.", f"Add {name}.")
        return node

    def text(self, name: str, *, required: bool = False) -> str | None:
        node = self.get(name, required=required)
        return None if node is None else self.scalar_text(node, name)

    def scalar_text(self, node: Node, name: str) -> str:
        if node.kind != "text":
            mend = "Write it in quotes." if node.raw else "Write a text."
            self.wrong(node, name, "a text", mend)
        return node.raw

    def expression(self, name: str) -> str | None:
        """A Cedar expression: `when: true` is one too, although YAML takes it for a boolean."""
        node = self.get(name)
        if node is not None and node.kind not in ("text", "boolean"):
            self.wrong(node, name, "an expression", "Write it in quotes.")
        return None if node is None else node.raw

    def integer(self, name: str, *, required: bool = False) -> int:
        node = self.get(name, required=required)
        if node is None:
            return 0
        if node.kind != "integer":
            self.wrong(node, name, "a whole number", "Write digits without quotes.")
            return 0
        return node.integer()

    def boolean(self, name: str) -> bool:
        node = self.get(name)
        if node is not None and node.kind != "boolean":
            self.wrong(node, name, "true or false", "Write true or false without quotes.")
        return node is not None and node.raw.lower() == "true"

    def choice(self, name: str, options: Any, default: str | None = None, *, required: bool = False) -> Any:
        """`options` is a Literal type; a stand-in after an error is its first word."""
        words: tuple[str, ...] = get_args(options)
        node = self.get(name, required=required)
        if node is None:
            return words[0] if required else default
        if node.kind == "text" and node.raw in words:
            return node.raw
        meant = nearest(node.raw, words)
        mend = f"Did you mean {meant}?" if meant else f"Write one of: {', '.join(words)}."
        self.notes.error(node, f'{self.what}: {name} cannot be "{node.raw}".', f"It is {a(node.kind)}.", mend)
        return words[0]

    def choices(self, name: str, options: Any) -> Any:
        """A list of words of a Literal type."""
        words: tuple[str, ...] = get_args(options)
        found = []
        for item in self.children(name):
            if item.kind == "text" and item.raw in words:
                found.append(item.raw)
            else:
                mend = f"Write any of: {', '.join(words)}."
                self.notes.error(item, f'{self.what}: {name} cannot hold "{item.raw}".', "It is not known.", mend)
        return tuple(found)

    def duration_us(self, name: str, *, required: bool = False) -> int | None:
        text = self.text(name, required=required)
        return None if text is None else self.parsed(name, text, parse_duration, 1)

    def parsed(self, name: str, text: str, parse: Callable[[str], T], stand_in: T) -> T:
        """What `parse` makes of a text."""
        try:
            return parse(text)
        except InputError as error:
            self.notes.error(
                self.node.get(name), f"{self.what}: {name} is wrong.", f"{error.message}.", error.hint or ""
            )
            return stand_in

    def texts(self, name: str, *, required: bool = False, single: bool = False) -> tuple[str, ...]:
        """A list of texts; with `single`, one text may stand without brackets."""
        node = self.get(name, required=required)
        if node is None:
            return ()
        if single and node.kind == "text":
            return (node.raw,)
        return tuple(self.scalar_text(item, name) for item in self._items(node, name))

    def children(self, name: str, *, required: bool = False) -> tuple[Node, ...]:
        node = self.get(name, required=required)
        return () if node is None else self._items(node, name)

    def _items(self, node: Node, name: str) -> tuple[Node, ...]:
        if node.kind != "list":
            self.wrong(node, name, "a list", "Write it in brackets or as dashed lines.")
        return node.items

    def members(self, name: str) -> tuple[tuple[str, Node], ...]:
        node = self.get(name)
        if node is not None and node.kind != "mapping":
            self.wrong(node, name, "a mapping", "Write `name: value`.")
        return () if node is None else node.members

    def fields(self, name: str, part: str) -> Fields | None:
        """The mapping below, read as `part`."""
        node = self.get(name)
        return None if node is None else Fields(self.notes, node, f"{self.what}: {name}", part)

    def named(self, name: str, what: str, part: str) -> tuple[tuple[str, Fields], ...]:
        """The mappings below by their names, each read as `part`."""
        return tuple(
            (key, Fields(self.notes, node, f"{self.what}: {what} {key}", part)) for key, node in self.members(name)
        )


def a(kind: str) -> str:
    """The words for a kind of value."""
    return "empty" if kind == "null" else f"an {kind}" if kind == "integer" else f"a {kind}"


def called(node: Node, field: str, what: str) -> str:
    """What to call a mapping in messages: by its name, where it has one."""
    name = node.get(field)
    return f"{what} {name.raw}" if name is not None and name.raw else what
