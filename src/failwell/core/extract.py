"""The extract: what one agent did, in one file that proves itself, and proves that nothing of it is left out (D15).

Canonical JSON (RFC 8785 under the ledger's profile) with these members, and no others:

    schema           failwell/extract/1
    agent            whose entries these are
    checkpoint       the text of a C2SP signed note (tlog-checkpoint): the tree head that everything here stands under
    entries          by number: {data: base64 of the entry's stored bytes, seq}. Those of the agent; and entry 0, the
                     heads entry, entries that change the log's key or name, and maybe entries that are cited
    heads            the newest heads entry's number (`entry`), and the `places` in its tree that show how many entries
                     of the agent it counts (`core.heads`)
    nodes            the tree hashes of all inclusion proofs (RFC 9162, 2.1.3), each once: "LEVEL.INDEX": base64, named
                     as in `core.merkle`. A path that several entries share is not repeated, and yet each entry is
                     proved alone, so that one that was changed is the one that fails
    consistent_with  sizes of older trees that this one is shown to continue (2.1.4): their proofs' hashes are in nodes

Of k entries spread evenly over n the nodes are about k * (2 + log2(n / k)); k in a row need about 2k + 2 log2(n).
Blobs (arguments, reasons, results) and what people wrote are not in it. Reads and writes the format strictly and
verifies nothing (`verify.extract`). Standard library only.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from failwell.core import canonical
from failwell.core.errors import InputError
from failwell.core.heads import Line, Place
from failwell.core.merkle import HASH_BYTES
from failwell.core.note import from_base64, to_base64

SCHEMA: Final = "failwell/extract/1"
MAX_EXTRACT_BYTES: Final = 1 << 28

_NODE: Final = re.compile(r"(0|[1-9][0-9]?)\.(0|[1-9][0-9]{0,18})")
_Members = dict[str, type | tuple[type, ...]]
_TOP: Final[_Members] = {
    "agent": str, "checkpoint": str, "consistent_with": list, "entries": list, "heads": dict,
    "nodes": dict, "schema": str,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Extract:
    """One extract. `checkpoint`: the note's bytes; `entries`: (number, stored bytes) by number, each number once;

    `heads`: the heads entry's number, and the places, None while the log has none: then it has no text; `nodes`:
    (level, index) -> hash; `consistent_with`: by size.
    """

    agent: str
    checkpoint: bytes
    entries: tuple[tuple[int, bytes], ...]
    heads: tuple[int, tuple[Place, ...]] | None
    nodes: Mapping[tuple[int, int], bytes]
    consistent_with: tuple[int, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Extract:
        """Read an extract strictly, so that `parse(data).encode() == data`. Raises InputError (code "extract")."""
        try:
            value = canonical.decode(data, max_bytes=MAX_EXTRACT_BYTES)
            members = _members(value, _TOP, "an extract")
            if members["schema"] != SCHEMA:
                raise InputError(f"the schema is not {SCHEMA}")
            return cls(
                agent=members["agent"],
                checkpoint=members["checkpoint"].encode(),
                entries=_ascending([_entry(each) for each in members["entries"]], "entries"),
                heads=_heads(members["heads"]),
                nodes=dict(_node(name, text) for name, text in members["nodes"].items()),
                consistent_with=_sizes(members["consistent_with"]),
            )
        except InputError as error:
            raise InputError(f"this is not an extract: {error.message}", hint=error.hint, code="extract") from error

    def encode(self) -> bytes:
        """The one text of this extract. Raises InputError for one that could not be read again."""
        if self.heads is None:
            raise InputError("without a heads entry nothing shows that no entry is left out", code="extract")
        value = {
            "agent": self.agent,
            "checkpoint": self.checkpoint.decode(),
            "consistent_with": list(self.consistent_with),
            "entries": [{"data": to_base64(data), "seq": seq} for seq, data in self.entries],
            "heads": {"entry": self.heads[0], "places": [_place_value(place) for place in self.heads[1]]},
            "nodes": {f"{level}.{index}": to_base64(node) for (level, index), node in self.nodes.items()},
            "schema": SCHEMA,
        }
        try:
            return canonical.encode(value, max_bytes=MAX_EXTRACT_BYTES)
        except InputError as error:
            hint = "The whole log has no such bound: failwell ledger export --tiles DIR"
            raise InputError(f"this cannot be one extract: {error.message}", hint=hint, code="extract") from error


def _members(value: Any, wanted: _Members, what: str) -> dict[str, Any]:
    """The members of an object that has these and no others, each of its type."""
    if type(value) is not dict or value.keys() != wanted.keys():
        raise InputError(f"{what} has the members {', '.join(wanted)} and no others")
    for name, types in wanted.items():
        if type(value[name]) not in (types if isinstance(types, tuple) else (types,)):
            raise InputError(f"{name} of {what} is of the wrong type")
    return value


def _entry(value: Any) -> tuple[int, bytes]:
    members = _members(value, {"data": str, "seq": int}, "an entry")
    return _number(members["seq"], "seq"), from_base64(members["data"], "an entry", code="extract")


def _heads(value: Any) -> tuple[int, tuple[Place, ...]]:
    members = _members(value, {"entry": int, "places": list}, "heads")
    return _number(members["entry"], "entry"), tuple(_place(each) for each in members["places"])


def _place(value: Any) -> Place:
    wanted: _Members = {"agent": str, "count": int, "index": int, "leaf": str, "path": list}
    members = _members(value, wanted, "a place")
    line = Line(members["agent"], _number(members["count"], "count"), members["leaf"])
    return Place(_number(members["index"], "index"), line, tuple(_hash(each, "a path") for each in members["path"]))


def _place_value(place: Place) -> dict[str, Any]:
    line = place.line
    path = [to_base64(node) for node in place.path]
    return {"agent": line.agent, "count": line.count, "index": place.index, "leaf": line.leaf, "path": path}


def _node(name: str, text: Any) -> tuple[tuple[int, int], bytes]:
    found = _NODE.fullmatch(name)
    if found is None:
        raise InputError(f"{name!r} names no node: a level and an index are needed")
    return (int(found[1]), int(found[2])), _hash(text, f"node {name}")


def _hash(text: Any, what: str) -> bytes:
    node = from_base64(text, what, code="extract") if type(text) is str else b""
    if len(node) != HASH_BYTES:
        raise InputError(f"{what} holds something else than {HASH_BYTES} bytes")
    return node


def _sizes(values: list[Any]) -> tuple[int, ...]:
    return tuple(size for size, _ in _ascending([(_number(each, "a size"), b"") for each in values], "consistent_with"))


def _number(value: Any, what: str) -> int:
    if type(value) is not int or value < 0:
        raise InputError(f"{what} is not a number from 0 on")
    return value


def _ascending(rows: list[tuple[int, bytes]], what: str) -> tuple[tuple[int, bytes], ...]:
    """The same, if each number is larger than the one before: one extract has one spelling."""
    if any(after[0] <= before[0] for before, after in itertools.pairwise(rows)):
        raise InputError(f"{what} are not each once, in the order of their numbers")
    return tuple(rows)
